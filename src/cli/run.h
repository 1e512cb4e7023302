/* run.h: the parts of `kofn run`: run.c prepares a job and cleans up after it, run_job.c lets it
 * run, run_workers.c starts its processes.
 */
#ifndef KOFN_CLI_RUN_H
#define KOFN_CLI_RUN_H

#include "cli/children.h"
#include "cli/display.h"
#include "cli/evaluator.h"
#include "cli/job_files.h"
#include "cli/option.h"
#include "cli/terms.h"
#include "cli/worker_loop.h"
#include "place/place.h"

/* A whole job on this machine. Zeroed parts are not there yet. */
struct kofn_run {
    struct kofn_options options;
    const struct kofn_conf *conf;
    struct kofn_display display;
    const struct kofn_log *log;
    struct kofn_terms terms;
    struct kofn_workload workload;

    struct kofn_job_files files;

    struct kofn_topology *topology;
    struct kofn_place_map map;
    struct kofn_server *server;
    struct kofn_worker_task task; /* of every worker */
    struct kofn_busy *busy;       /* by rank; shared with them; NULL = not there yet */
    char *address;                /* of the server, behind it; empty until there is one */
    struct kofn_children children;
    struct kofn_evaluator *evaluator;

    struct kofn_tally tally;
    struct kofn_result result;
    struct kofn_point score;    /* the latest */
    bool scored, reached;       /* there is one; it is as good as was asked for */
    uint64_t start_ns;          /* of the first round; 0 = not yet */
    uint64_t show_ns, score_ns; /* when the display, an evaluation is due */
};

/* ---- run_workers.c ---- */

/* Chooses who runs where, and whether anybody may spin. */
int kofn_run_place(struct kofn_run *run);

/* What is shared with the workers, what they say of their time and where the server is: made before
 * they are started, freed when they have ended. */
int kofn_run_share_memory(struct kofn_run *run);
void kofn_run_unshare_memory(struct kofn_run *run);

/* Starts the worker processes, which wait for the server; binds this thread, the server's, after
 * that. */
int kofn_run_start_workers(struct kofn_run *run);

/* Opens the server and lets the workers go to it. They were forked before it was there, so nothing
 * of it is in their hands. */
int kofn_run_open_server(struct kofn_run *run);

/* ---- run_job.c ---- */

/* Runs the job from the first round to its end, and fills in the result. Returns 0, also when a
 * signal has ended it; or what has gone wrong (logged), with as much of the result as there is.
 */
int kofn_run_job(struct kofn_run *run);

#endif
