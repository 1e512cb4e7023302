/* close.h: when a round closes, and what of it is still on its way then.
 *
 * Threads: as the round.
 */
#ifndef KOFN_ROUND_CLOSE_H
#define KOFN_ROUND_CLOSE_H

#include "round/round.h"

/* Closes the round if it is open and complete, can no more be, or its deadline has been met. To be
 * called after whatever can have changed that.
 */
void kofn_close_check(struct kofn_round *round, uint64_t now);

/* Closes the open round, which is then READY, or COLLECTING. */
void kofn_close_now(struct kofn_round *round, enum kofn_close why, uint64_t now);

/* The round is closed: it is collected from whoever owes a publication, and READY if nobody does.
 */
void kofn_close_collect(struct kofn_round *round);

/* While the round collects: @member may owe something now, or no more. */
void kofn_close_collect_from(struct kofn_round *round, struct kofn_member *member);

#endif
