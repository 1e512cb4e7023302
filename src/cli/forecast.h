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

    /* Of the simulation, if there was one; else NaN. */
    double merged_per_second; /* local updates merged, late ones included */
    double bias;              /* kofn_bias() of what is merged of each worker */
};

/* Foretells @job. Returns 0; KOFN_INVALID if the mean round time is infinite; KOFN_NO_MEMORY,
 * KOFN_GONE; logged. @events: of a simulation, if there is one; its result depends on this.
 */
int kofn_forecast(const struct kofn_case *job, uint64_t events, const struct kofn_log *log,
                  struct kofn_forecast *forecast);

/* The same by simulation alone. */
int kofn_forecast_simulated(const struct kofn_case *job, uint64_t events,
                            const struct kofn_log *log, struct kofn_forecast *forecast);

/* ---- forecast_theory.c ---- */

/* Sets in @forecast what theory knows of @job, and leaves the rest alone. */
void kofn_forecast_theory(const struct kofn_case *job, struct kofn_forecast *forecast);

#endif
