/* ksync.h: the K-sync family of Dutta et al. (Slow and Stale Gradients Can Win the Race, arXiv
 * 1803.01113): time of a model update and staleness.
 *
 * X is the time of one mini-batch, N the workers, K what is waited for. Errors as in prediction.h.
 */
#ifndef KOFN_THEORY_KSYNC_H
#define KOFN_THEORY_KSYNC_H

#include "theory/distribution.h"
#include "theory/prediction.h"

enum kofn_ksync_scheme {
    KOFN_KSYNC,        /* K distinct workers; the others are cancelled */
    KOFN_KBATCH_SYNC,  /* K mini-batches from anyone, all at the same model; the unfinished are
                          cancelled */
    KOFN_KASYNC,       /* K distinct workers, who then wait; the others go on at their old model */
    KOFN_KBATCH_ASYNC, /* K mini-batches from anyone; nobody waits */
};

/* The mean time of a model update, in the long run for the asynchronous two.
 *
 *     KSYNC         the K-th of N (order.h), for every distribution
 *     KBATCH_SYNC   EXP: K mean / N. SHIFTED_EXP: quadrature. N = 1, K = 1, a constant: closed.
 *                   Else none
 *     KASYNC        K = 1: E[X]/N. K = N, EXP: the K-th of N. SHIFTED_EXP and UNIFORM, which are
 *                   new longer than used: at most that, upper_bound. Else none
 *     KBATCH_ASYNC  K E[X] / N, for every distribution
 *
 * KOFN_INVALID unless the distribution is valid and 1 <= K, N <= KOFN_THEORY_COUNT_MAX; K <= N
 * where workers are counted (KSYNC, KASYNC).
 */
int kofn_ksync_time(enum kofn_ksync_scheme scheme, const struct kofn_distribution *batch,
                    uint32_t workers, uint32_t wait_for, struct kofn_prediction *time);

/* The mean staleness of a merged update, in model versions; the same for every distribution: 0, 0,
 * N/K - 1 and (N-1)/K. Needs no GSL. KOFN_INVALID as above. */
int kofn_ksync_staleness(enum kofn_ksync_scheme scheme, uint32_t workers, uint32_t wait_for,
                         struct kofn_prediction *staleness);

#endif
