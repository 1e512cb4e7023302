/* watch.h: who is slow, who is suspect, how late everybody is: the part of a round that looks at
 * times. */
#ifndef KOFN_ROUND_WATCH_H
#define KOFN_ROUND_WATCH_H

#include "round/round.h"

/* Members came, went or changed state: how many are available, and the K that follows. */
void kofn_watch_membership(struct kofn_round *round);

/* The round has just closed: lateness of every available member, and samples for the adaptive
 * deadline. */
void kofn_watch_closed(struct kofn_round *round, uint64_t now);

/* A publication of an earlier round has arrived: a sample for the adaptive deadline, unless its
 * worker gave one when that round closed.
 */
void kofn_watch_late(struct kofn_round *round, struct kofn_member *member,
                     const struct kofn_stamp *stamp, uint64_t now);

/* Judges every member by its pace and by the time since its last progress. */
void kofn_watch_tick(struct kofn_round *round, uint64_t now);

#endif
