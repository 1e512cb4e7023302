/* watch.h: who is slow, who is suspect, how late everybody is: the part of a round that looks at
 * times.
 *
 * Slow is whose local updates take more than twice the median, until they take less than 1.5 times
 * as long. A few that fell long, or a moment without the CPU, make nobody slow: what a worker loses
 * beyond twice the median is summed up (and what it gains is taken off) until it is evident, and
 * the same again before it keeps up. So a great lag is known after a few updates, a small one after
 * many.
 */
#ifndef KOFN_ROUND_WATCH_H
#define KOFN_ROUND_WATCH_H

#include "round/round.h"

#define KOFN_SLOW_ENTER 2.0 /* times the median pace: slow from here */
#define KOFN_SLOW_LEAVE 1.5 /* and no longer below this */

/* Members came, went or changed state: how many are available, and the K that follows. */
void kofn_watch_membership(struct kofn_round *round);

/* The round has just closed: lateness and pace of the members, and samples for the adaptive
 * deadline. */
void kofn_watch_closed(struct kofn_round *round, uint64_t now);

/* A publication of an earlier round has arrived: a sample for the adaptive deadline, unless its
 * worker gave one when that round closed.
 */
void kofn_watch_late(struct kofn_round *round, struct kofn_member *member,
                     const struct kofn_stamp *stamp, uint64_t now);

/* Judges every member by its pace and by the time since its last progress. */
void kofn_watch_tick(struct kofn_round *round, uint64_t now);

/* Is a loss (or a gain) of @ns no accident where a local update usually takes @pace ns? False if
 * that is not known.
 */
bool kofn_watch_evident(const struct kofn_round *round, double ns, double pace);

/* Sums up what speaks for another state of @member: @updates local updates have taken it @ns. */
void kofn_watch_weigh(const struct kofn_round *round, struct kofn_member *member, double ns,
                      double updates);

#endif
