/* run.h: the parts of `kofn run` and `kofn serve`: run.c prepares a job and cleans up after it,
 * run_server.c opens its server, run_workers.c starts its processes, run_job.c lets it run; serve.c
 * has no processes to start.
 */
#ifndef KOFN_CLI_RUN_H
#define KOFN_CLI_RUN_H

#include "cli/children.h"
#include "cli/display.h"
#include "cli/ending.h"
#include "cli/evaluator.h"
#include "cli/job_files.h"
#include "cli/option.h"
#include "cli/terms.h"
#include "cli/where.h"
#include "cli/worker_loop.h"
#include "place/place.h"

/* A job whose server is in this process. Zeroed parts are not there yet. */
struct kofn_run {
    bool local;                     /* its workers are children of this process */
    char where[KOFN_ADDRESS_BYTES]; /* they are not: where it listens */
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
    struct kofn_point score; /* the latest */
    bool scored;             /* there is one */
    struct kofn_ending ending;
    uint64_t start_ns;          /* of the first round; 0 = not yet */
    uint64_t show_ns, score_ns; /* when the display, an evaluation is due */
};

/* ---- run_server.c ---- */

/* Chooses who runs where, and whether anybody may spin. */
int kofn_run_place(struct kofn_run *run);

/* Opens the server at @address (NULL: a fresh one), and binds this thread to the server's CPU:
 * after workers have been forked, before the evaluator is started, which shares that CPU.
 */
int kofn_run_open_server(struct kofn_run *run, const char *address);

/* ---- run_workers.c ---- */

/* Starts the worker processes, opens the server, and lets them go to it. They are forked before it
 * is there, so nothing of it is in their hands. */
int kofn_run_open(struct kofn_run *run);

/* Frees what was shared with them; they have ended. */
void kofn_run_unshare_memory(struct kofn_run *run);

/* ---- run.c ---- */

/* The whole of a command that has a server: kofn run, kofn serve. */
int kofn_run_command(const struct kofn_command *command, int argc, char **argv);

/* ---- serve.c ---- */

/* Opens the server where workers from anywhere find it, and says where that is. */
int kofn_serve_open(struct kofn_run *run);

/* ---- run_job.c ---- */

/* Runs the job from the first round to its end, and fills in the result. Returns 0, also when a
 * signal has ended it; or what has gone wrong (logged), with as much of the result as there is.
 */
int kofn_run_job(struct kofn_run *run);

/* Takes an evaluation that has ended into the result, if there is one; @wait: if one runs, waits.
 */
void kofn_run_take_score(struct kofn_run *run, bool wait);

#endif
