/* kbatch.h: when N workers, each with a stream of updates, have finished K between them. Inside
 * src/theory; needs GSL.
 *
 * The counts of the workers are independent; P(fewer than K in all by t) is a sum over the N-th
 * power of the Fourier transform of one worker's count, and the mean time its integral.
 */
#ifndef KOFN_THEORY_KBATCH_H
#define KOFN_THEORY_KBATCH_H

#include "theory/renewal.h"

/* The mean time of the K-th update. None if memory is short or a worker's count takes too many
 * values. */
struct kofn_prediction kofn__kbatch_mean(const struct kofn_renewal *stream, uint32_t workers,
                                         uint32_t wait_for);

#endif
