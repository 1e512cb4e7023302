/* fit.h: how long the local updates of each worker take, estimated from a trace in which some were
 * cut off.
 *
 * A cancelled update is a censored observation: it would have taken at least so long. Kaplan and
 * Meier's estimator gives every finished time the probability that it has in view of those; what is
 * left behind the longest finished time is spread there exponentially, with the mean that an update
 * still had to go on average (total time over finished updates, from the median on). A worker with
 * fewer than KOFN_FIT_FEW finished updates takes the distribution of all workers, scaled to its own
 * mean where it has one (time over finished updates; if none was finished, at least so long, taken
 * to be half way).
 *
 * Source: Kaplan, Meier: Nonparametric Estimation from Incomplete Observations (1958).
 */
#ifndef KOFN_SIM_FIT_H
#define KOFN_SIM_FIT_H

#include "sim/delay.h"
#include "sim/trace.h"

#define KOFN_FIT_QUANTILES 512u /* of equal probability, that stand for a distribution */
#define KOFN_FIT_FEW 8u

/* What was found of one worker; times in ns. */
struct kofn_fit_worker {
    uint64_t finished, cancelled;
    double mean;          /* of an update, those cut off included */
    double naive;         /* mean of the finished alone: what it would look like without them */
    double low, p50, p99; /* smallest time, quantiles */
    double compute_share; /* computing, of computing and injected delay */
    double publish;       /* mean time a publication took the worker; 0: none is recorded */
    bool borrowed;        /* the shape is that of all workers */
};

struct kofn_fit {
    uint32_t workers;
    struct kofn_fit_worker *list;  /* by rank; owned */
    double *quantiles;             /* KOFN_FIT_QUANTILES of each, ascending; owned */
    double compute_share, publish; /* over all workers */
};

/* Fits @trace; ranks without any record take what all workers have. Returns 0; KOFN_INVALID if no
 * update was finished in it; KOFN_NO_MEMORY; logged.
 */
int kofn_fit_trace(const struct kofn_trace *trace, const struct kofn_log *log,
                   struct kofn_fit *fit);
void kofn_fit_free(struct kofn_fit *fit);

/* Makes @delay draw from @fit: worker r as rank r was, modulo the trace's workers. @delay is zeroed
 * or open; kofn_delay_close() frees it. KOFN_NO_MEMORY, logged.
 */
int kofn_fit_delay(const struct kofn_fit *fit, const struct kofn_log *log,
                   struct kofn_delay *delay);

#endif
