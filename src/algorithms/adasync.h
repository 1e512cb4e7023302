/* adasync.h: which K lets the loss fall fastest now.
 *
 * AdaSync (Dutta et al., arXiv 2003.10579) chooses K to minimise, over the next interval t,
 * 2 F E[T_K] / (eta t) + L eta sigma^2 / (K m): the first term wants rounds that are short, the
 * second ones that many take part in. As the loss F falls the second one weighs more, and K grows.
 */
#ifndef KOFN_ALGORITHMS_ADASYNC_H
#define KOFN_ALGORITHMS_ADASYNC_H

#include "base/base.h"

/* How the mean time of a round grows with K. */
enum kofn_growth {
    KOFN_GROWTH_LINEAR, /* like K: K-batch-sync, and the asynchronous two */
    KOFN_GROWTH_LOG,    /* like ln(N / (N - K)): K-sync */
};

/* K for the loss @loss, from the one, @first, that was right at @first_loss. LINEAR: K0 sqrt(first
 * loss / loss). LOG: the root of K^2/(N-K) = K0^2/(N-K0) first loss / loss. At most N; N for a loss
 * of 0. Below K0 where the loss has grown: a caller whose K must not fall keeps the largest.
 *
 * @exact     NULL, or out: before rounding
 * @wait_for  out: rounded, 1 to N
 *
 * KOFN_INVALID unless 1 <= @first <= @workers, @first_loss > 0, @loss >= 0, both finite.
 */
int kofn_adasync_wait_for(enum kofn_growth growth, uint32_t workers, uint32_t first,
                          double first_loss, double loss, double *exact, uint32_t *wait_for);

#endif
