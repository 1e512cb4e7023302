/* overlap.h: round times of local SGD and of Overlap Local-SGD (Wang, Liang, Joshi, arXiv
 * 2002.09539).
 *
 * Every worker takes U local updates a round; the average of all N models takes a time D. Local SGD
 * waits for it, Overlap uses it one round later. Errors as in prediction.h.
 */
#ifndef KOFN_THEORY_OVERLAP_H
#define KOFN_THEORY_OVERLAP_H

#include "theory/distribution.h"
#include "theory/prediction.h"

struct kofn_overlap_model {
    const struct kofn_distribution *update; /* the time of a local update */
    bool per_round;                         /* one draw for all of a worker's updates in a round */
    uint32_t workers;                       /* N */
    uint32_t local_steps;                   /* U */
    double reduce;                          /* D >= 0, finite */
};

/* The mean time of a round of local SGD: that of the slowest worker's U updates, plus D; methods as
 * kofn_stsyn_time() with K = N. KOFN_INVALID for an invalid distribution, count or D. */
int kofn_local_time(const struct kofn_overlap_model *model, struct kofn_prediction *time);

/* The mean time of a round of Overlap, in the long run. Where updates take a constant c: max(U c,
 * D). Otherwise not known, but at most local SGD's, upper_bound: with the same draws no round of it
 * ends later.
 */
int kofn_overlap_time(const struct kofn_overlap_model *model, struct kofn_prediction *time);

#endif
