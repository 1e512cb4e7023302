/* stsyn_round.h: STSyn where a worker draws once a round: x for each of its updates. Inside
 * src/theory.
 *
 * Its n-th update is finished within the round if n x <= U Y, Y being the K-th (n <= U) or K-1-th
 * draw of the other workers. The models are valid, with N > 1; for uploads K < N.
 */
#ifndef KOFN_THEORY_STSYN_ROUND_H
#define KOFN_THEORY_STSYN_ROUND_H

#include "theory/stsyn.h"

/* What stsyn.h says of R; 0 or KOFN_UNSUPPORTED. */
int kofn__stsyn_round_updates(const struct kofn_stsyn_model *model,
                              struct kofn_prediction *updates);
int kofn__stsyn_round_uploads(const struct kofn_stsyn_model *model,
                              struct kofn_prediction *uploads);

#endif
