/* result.h: what came out of a job: the quantities that every way of finding them out (measured,
 * simulated, predicted) reports under the same names, so that they can stand side by side.
 *
 * NaN in a number says that it does not apply or is not known; it becomes null in JSON and "-" in
 * tables, and so does infinity.
 */
#ifndef KOFN_CLI_RESULT_H
#define KOFN_CLI_RESULT_H

#include <kofn/kofn.h>

#include <stdio.h>

#include "base/histogram.h"
#include "base/log.h"

/* The model on held-out data, at one moment of the job. */
struct kofn_point {
    double seconds; /* since the start of the job */
    uint64_t round; /* rounds closed by then */
    double accuracy, loss;
};

struct kofn_curve {
    struct kofn_point *points; /* owned, in order of time */
    size_t count, capacity;
};

/* A violation of the conservation law that rounding in f32 explains. */
#define KOFN_CONSERVED 1e-4

/* Why a job is over. */
enum kofn_ended {
    KOFN_ENDED_NOT, /* it is not, or was none, or an error says why */
    KOFN_ENDED_ROUNDS,
    KOFN_ENDED_SECONDS,
    KOFN_ENDED_TARGET,
    KOFN_ENDED_INTERRUPTED,
    KOFN_ENDED_DIVERGED,
    KOFN_ENDED_WORKERS_LOST,
    KOFN_ENDED_ROOT_LOST,
};

#define KOFN_ENDED_TEXT 160

/* For programs ("workers-lost"; NULL if it is not) and for people ("no worker is left"). */
const char *kofn_ended_name(enum kofn_ended ended);
const char *kofn_ended_text(enum kofn_ended ended);

struct kofn_result {
    const char *method;            /* "measured" */
    const char *command, *version; /* as typed; of the library */
    uint64_t seed;

    const char *algorithm;
    const char *transport; /* NULL where there is none */
    uint32_t workers, wait_for, local_steps;
    bool peers;             /* there is no server, no K, and a round is an activation of the root */
    uint32_t wait_for_last; /* the K in force of the last round; 0 = there was none */

    enum kofn_ended ended;
    char
        ended_by[KOFN_ENDED_TEXT]; /* for people, where more is known than `ended` says; or empty */
    uint64_t rounds;
    double seconds;                                         /* the job took */
    double round_time_mean, round_time_p50, round_time_p99; /* from model to model */
    double updates_per_worker_mean; /* finished local updates a worker and round, whatever became of
                                       them */
    double uploads_mean;            /* workers merged on time a round */
    double publications_mean, bytes_mean; /* that travelled a round */
    double staleness_mean;                /* model versions, over merged publications */
    double loss, accuracy;                /* of the last model, on held-out data */
    double conservation_error; /* of peers that track: kofn_peers_violation(), at the end */
    double idle_fraction_mean; /* over workers: 1 - (compute + injected delay) / wall time */

    struct kofn_member_report *members; /* owned; `workers` of them, or NULL */
    struct kofn_curve curve;
};

/* Seconds of a local update of a worker, those cut off included where that is known; NaN before it
 * has finished one. */
double kofn_member_update_time(const struct kofn_member_report *member);

/* What is added up while rounds close. Zeroed: nothing yet. */
struct kofn_tally {
    uint64_t rounds;
    uint32_t wait_for; /* of the last one */
    double round_seconds, uploads, publications, bytes;
    double staleness, merged;          /* sum over, and number of, merged publications */
    struct kofn_histogram round_times; /* ns */
};

void kofn_tally_add(struct kofn_tally *tally, const struct kofn_round_report *report);

/* Sets the means of @result from @tally and result->members. */
void kofn_result_finish(struct kofn_result *result, const struct kofn_tally *tally);

/* A result in which nothing is known. */
void kofn_result_init(struct kofn_result *result);
void kofn_result_free(struct kofn_result *result);

/* Appends a point; KOFN_NO_MEMORY, not logged. */
int kofn_curve_add(struct kofn_curve *curve, const struct kofn_point *point);

/* For people: the table of workers; a few sentences about the job, and about workers that were
 * slow. */
void kofn_result_print_workers(const struct kofn_result *result, FILE *stream);
void kofn_result_print_summary(const struct kofn_result *result, FILE *stream);

/* For programs: one JSON object. KOFN_NO_MEMORY or KOFN_SYSTEM, logged. */
int kofn_result_write_json(const struct kofn_result *result, FILE *stream,
                           const struct kofn_log *log);

#endif
