/* ksync.h: the K-sync family of Dutta et al. (Slow and Stale Gradients Can Win the Race, arXiv
 * 1803.01113): time of a model update and staleness; and AdaSync's K.
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

/* AdaSync (Dutta et al., arXiv 2003.10579): the K that lets the loss fall fastest now, from the one
 * that did when the loss was @first_loss. The asynchronous schemes and KBATCH_SYNC, whose time
 * grows like K: K0 sqrt(first loss / loss). KSYNC, whose time grows like ln(N / (N - K)): the root
 * of K^2/(N-K) = K0^2/(N-K0) first loss / loss. At most N; N for a loss of 0. Below K0 where the
 * loss has grown: a caller whose K must not fall keeps the largest.
 *
 * @exact     NULL, or out: before rounding
 * @wait_for  out: rounded, 1 to N
 *
 * KOFN_INVALID unless 1 <= @first_wait_for <= @workers <= KOFN_THEORY_COUNT_MAX, @first_loss > 0,
 * @loss >= 0, both finite. Needs no GSL.
 */
int kofn_ksync_adapt(enum kofn_ksync_scheme scheme, uint32_t workers, uint32_t first_wait_for,
                     double first_loss, double loss, double *exact, uint32_t *wait_for);

#endif
