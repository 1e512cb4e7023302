/* places.h: who is one of the K of a round, in which place, and what is held of whom.
 *
 * Threads: as the round.
 */
#ifndef KOFN_ROUND_PLACES_H
#define KOFN_ROUND_PLACES_H

#include "round/round.h"

/* @updates local updates of @member are here, as a publication (eager) or a beat (on-close): gives
 * it the next place, if the round is open, they are enough, and it has none.
 */
void kofn_place_count(struct kofn_round *round, struct kofn_member *member, uint32_t updates,
                      uint64_t now);

/* @member, which has a place, is not one of the K after all; those behind it move up. Where
 * publications are summed up nothing happens: what it has sent is in the sum.
 */
void kofn_place_leave(struct kofn_round *round, struct kofn_member *member);

/* The same, unless it is not one of them, or the round has closed. */
void kofn_place_lose(struct kofn_round *round, struct kofn_member *member);

/* Nothing of @member is held any more. */
void kofn_place_let_go(struct kofn_round *round, struct kofn_member *member);

#endif
