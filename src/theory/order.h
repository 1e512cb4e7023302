/* order.h: mean and variance of the K-th smallest of N independent draws: the time of a round that
 * waits for K.
 *
 * Errors as in prediction.h; KOFN_INVALID unless 1 <= K <= N <= KOFN_THEORY_COUNT_MAX and the
 * distribution is valid. Sums here have terms of one sign only, so they are good to some 1e-13 for
 * every N. Sources: Dutta et al. 2018, section 3; David and Nagaraja, Order Statistics, for the
 * moments.
 */
#ifndef KOFN_THEORY_ORDER_H
#define KOFN_THEORY_ORDER_H

#include "theory/distribution.h"
#include "theory/prediction.h"

/* The mean.
 *
 *     EXP, SHIFTED_EXP  shift + mean (1/(N-K+1) + ... + 1/N)
 *     PARETO            scale times the product over j = N-K+1 .. N of j / (j - 1/shape);
 *                       infinite if shape (N-K+1) <= 1: for K < N, shape <= 1 alone is not enough
 *     UNIFORM           lo + (hi - lo) K/(N+1)
 *     STEPS             a finite sum; needs GSL
 *     CDF               quadrature; needs GSL. INFINITY where the tail shows it, as
 *                       kofn_kth_mean() says
 */
int kofn_order_mean(const struct kofn_distribution *distribution, uint32_t workers,
                    uint32_t wait_for, struct kofn_prediction *mean);

/* The variance, in closed form; infinite for PARETO if shape (N-K+1) <= 2; none for CDF and STEPS.
 * Needs no GSL. */
int kofn_order_variance(const struct kofn_distribution *distribution, uint32_t workers,
                        uint32_t wait_for, struct kofn_prediction *variance);

/* True if 1 <= K <= N <= KOFN_THEORY_COUNT_MAX. */
static inline bool kofn_order_counts(uint32_t workers, uint32_t wait_for)
{
    return wait_for >= 1 && wait_for <= workers && workers <= KOFN_THEORY_COUNT_MAX;
}

#endif
