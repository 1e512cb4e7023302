/* stsyn.h: rounds of STSyn: N workers compute without a pause until the K-th of them has finished U
 * local updates.
 *
 * Each finished update counts, each unfinished one is lost, whoever finished one uploads (Zhu,
 * Zhang, Wang: STSyn, arXiv 2210.03521). Workers that finish at the same instant all count. With
 * K = N the round time is local SGD's.
 *
 * Let Y(j) be when the j-th of the other N - 1 workers finishes its U-th update, S(n) when a worker
 * finishes its n-th: it finishes its n-th within the round if and only if S(n) <= Y(K) for n <= U,
 * S(n) <= Y(K-1) for n > U. All quantities below are means of that.
 *
 * Errors as in prediction.h; KOFN_INVALID unless 1 <= K <= N, 1 <= U, both N and U <=
 * KOFN_THEORY_COUNT_MAX and the distribution is valid. Methods, for draws of every update (D) and
 * one draw a worker and round (R):
 *
 *                 EXP                SHIFTED_EXP        PARETO     UNIFORM      CDF         STEPS
 *     time D      quadrature         quadrature         none       none         none        none
 *     updates D   quadrature         quadrature         none       none         none        none
 *     uploads D   quadrature         quadrature         none       none         none        none
 *     time R      closed             closed             closed     closed       quadrature  closed
 *     updates R   closed (infinite   quadrature         quadrature quadrature   none        none
 *                 for K > 1)
 *     uploads R   closed             closed             closed     quadrature   quadrature  none
 *
 * More is closed where it is simple: a constant; U = 1 (time as R, uploads = K); K = N
 * (uploads = N).
 */
#ifndef KOFN_THEORY_STSYN_H
#define KOFN_THEORY_STSYN_H

#include "theory/distribution.h"
#include "theory/prediction.h"

struct kofn_stsyn_model {
    const struct kofn_distribution *update; /* the time of a local update */
    bool per_round;                         /* one draw for all of a worker's updates in a round */
    uint32_t workers;                       /* N */
    uint32_t wait_for;                      /* K */
    uint32_t local_steps;                   /* U */
};

/* The mean time of a round. INFINITY for PARETO where order.h says so of a single update. */
int kofn_stsyn_time(const struct kofn_stsyn_model *model, struct kofn_prediction *time);

/* The mean number of local updates that one worker finishes in a round. For EXP without per_round
 * it is the mean time of a round over that of an update. With per_round it is INFINITY for K > 1
 * where times near 0 are possible: fast workers then finish arbitrarily many. None where the sum
 * has too many terms: heavy tails.
 */
int kofn_stsyn_updates(const struct kofn_stsyn_model *model, struct kofn_prediction *updates);

/* The mean number of workers that finish at least one update in a round, and upload. */
int kofn_stsyn_uploads(const struct kofn_stsyn_model *model, struct kofn_prediction *uploads);

#endif
