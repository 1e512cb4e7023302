/* forecast.h: what a job will be like, before it runs: from theory where theory knows it, else from
 * a simulation without gradients; each quantity says which.
 */
#ifndef KOFN_CLI_FORECAST_H
#define KOFN_CLI_FORECAST_H

#include "cli/result.h"
#include "cli/terms.h"
#include "sim/sim.h"

enum kofn_quantity {
    KOFN_ROUND_TIME, /* seconds */
    KOFN_UPDATES,    /* finished, a worker and round */
    KOFN_UPLOADS,
    KOFN_PUBLICATIONS,
    KOFN_BYTES,
    KOFN_STALENESS,
    KOFN_IDLE,
    KOFN_QUANTITIES
};

/* A quantity's JSON key. */
const char *kofn_quantity_key(enum kofn_quantity quantity);

/* What is to be foretold. */
struct kofn_case {
    const struct kofn_algorithm *algorithm;
    uint32_t workers, wait_for, local_steps; /* N, K, U */
    enum kofn_publish publish;
    const struct kofn_conf *conf;   /* late, weights, deadline, network, seed, learning rate */
    const struct kofn_terms *terms; /* stragglers, suspect_after */
    const struct kofn_delay *delay;
    double compute_share, publish_ns; /* as in kofn_sim_attr */
    uint64_t payload_bytes;
};

struct kofn_forecast {
    double value[KOFN_QUANTITIES]; /* INFINITY where the mean is; NaN where there is none */
    double error[KOFN_QUANTITIES]; /* standard error, or of quadrature */
    const char *method[KOFN_QUANTITIES];
    const char *weakest; /* of these: "simulation" if any is simulated */

    double merged_per_second;        /* local updates, late ones included */
    double bias;                     /* kofn_bias() of what is merged of each worker */
    double merged_error, bias_error; /* standard errors; 0 without a simulation */
};

/* How long a simulation goes on: until every standard error is at most @precision of its mean (of 1
 * where that is less, for what may be 0), or, if that does not come about, for about @events
 * events. A round counts as some events too, the more the more workers there are. What is found
 * depends on both, and on the seed, and on nothing else.
 */
struct kofn_effort {
    uint64_t events;
    double precision; /* 0: all of the events */
};

/* Foretells @job; of one whose mean round time is infinite, nothing is simulated. Returns 0;
 * KOFN_NO_MEMORY, KOFN_GONE; logged.
 */
int kofn_forecast(const struct kofn_case *job, const struct kofn_effort *effort,
                  const struct kofn_log *log, struct kofn_forecast *forecast);

/* ---- forecast_theory.c ---- */

/* Sets in @forecast what theory knows of @job, and leaves the rest alone. */
void kofn_forecast_theory(const struct kofn_case *job, struct kofn_forecast *forecast);

/* ---- forecast_sim.c ---- */

/* Whether a job of this kind has that quantity: peers merge nothing, so nothing is stale. */
bool kofn_case_has(const struct kofn_case *job, enum kofn_quantity quantity);

/* Sets in @forecast what a simulation says of all that has no method yet. KOFN_NO_MEMORY,
 * KOFN_GONE; logged. */
int kofn_forecast_simulate(const struct kofn_case *job, const struct kofn_effort *effort,
                           const struct kofn_log *log, struct kofn_forecast *forecast);

/* kofn_forecast() by simulation alone. */
int kofn_forecast_simulated(const struct kofn_case *job, const struct kofn_effort *effort,
                            const struct kofn_log *log, struct kofn_forecast *forecast);

#endif
