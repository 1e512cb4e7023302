/* member.h: what is known of one worker: its progress, its state, and an account of every local
 * update.
 *
 * The account: finished = merged + late + refused + lost + pending. An update is counted once, in
 * the class that settles it; nothing leaves it silently.
 */
#ifndef KOFN_ROUND_MEMBER_H
#define KOFN_ROUND_MEMBER_H

#include "base/base.h"
#include "proto/slot.h"
#include "proto/word.h"

/* What every event looks at comes first and together, a line of the cache each: with thousands of
 * workers, where a member lies is what its events cost.
 */
struct kofn_member {
    KOFN_LINE_ALIGNED enum kofn_member_state state;
    uint32_t epoch;

    /* Where its last beat or stamp says it is. */
    uint32_t round, updates;
    uint64_t progress_ns; /* when it last got further (or joined) */

    /* Local updates (.., settled_updates] of round settled_round have been merged or refused. */
    uint32_t settled_round, settled_updates;

    /* In the open round. */
    bool reached : 1; /* it is one of the K, or of those behind them */
    bool barred : 1; /* what it had to count with was refused: it cannot be one of the K any more */
    bool owing : 1;  /* it is one of those that the closed round still waits for */
    bool summed : 1; /* updates of it are in the sum that goes into this round */
    bool sampled : 1; /* the deadline knows of its arrival in the round that closed last */
    uint32_t place;   /* as the how-manieth it reached its count, from 0 */
    uint32_t timed_round, timed_in_round; /* what of that round the times below hold already */
    uint64_t timed_round_ns;
    uint64_t reached_ns;

    /* Local updates it has finished: in earlier memberships; in this one, before the round it is
     * in; in all. */
    uint64_t epoch_base, round_base, finished;

    /* Times: sums over its life. */
    uint64_t publications, timed_updates, compute_ns, post_ns, wait_ns;

    KOFN_LINE_ALIGNED struct kofn_stamp held; /* newest complete publication of the open round;
                                                 sequence 0 = none */

    /* The account. What is lost is what is left of it when a membership has ended. */
    uint64_t merged, late, refused, lost_before, first_k;
    uint64_t dropped;      /* of what is lost: in former memberships, cancelled with their rounds */
    uint64_t late_updates; /* those that go into the open round, late */
    uint64_t added_updates; /* those that were added to it as they came */

    /* Its pace: what a local update takes it lately; see kofn_member_pace(). */
    double pace_ns; /* 0 = not known yet */
    double paced_ns, paced_updates;
    uint64_t paced_compute_ns, paced_count; /* of the sums above, what the pace knows already */
    uint64_t unpaced_ns; /* computing, in closed rounds, without a sign of life since */
    uint64_t busy_ns;    /* computing, in closed rounds, updates that were cut off included */
    uint64_t joined_ns, left_ns;

    /* How its state is judged: see watch.h. */
    double evidence_ns; /* what speaks for another one: time lost (ready) or gained (slow) */
    uint64_t silent_ns; /* how long it had been silent when its state changed last */
};

KOFN_STATIC_ASSERT(offsetof(struct kofn_member, held) == 2 * KOFN_CACHE_LINE, "two lines and it");

/* How much of a member an event looks at. */
#define KOFN_MEMBER_HOT (offsetof(struct kofn_member, held) + sizeof(struct kofn_stamp))

/* True for a worker that an answer can still be expected of. */
static inline bool kofn_member_available(const struct kofn_member *member)
{
    return member->state == KOFN_MEMBER_JOINING || member->state == KOFN_MEMBER_READY ||
           member->state == KOFN_MEMBER_SLOW;
}

static inline bool kofn_member_connected(const struct kofn_member *member)
{
    return kofn_member_available(member) || member->state == KOFN_MEMBER_SUSPECT;
}

/* Starts a membership; the account of earlier ones is kept. */
void kofn_member_join(struct kofn_member *member, uint32_t epoch, uint64_t now);

/* Takes in a place (round, updates) read from a beat or a stamp. Returns true if it is progress. */
bool kofn_member_progress(struct kofn_member *member, uint32_t round, uint32_t updates,
                          uint64_t now);

/* Takes in what a publication says of counts and times. */
void kofn_member_published(struct kofn_member *member, const struct kofn_stamp *stamp);

/* Updates of @round that are settled already: what a publication of that round must start from.
 * UINT32_MAX if the round lies before the last settled one.
 */
static inline uint32_t kofn_member_settled(const struct kofn_member *member, uint32_t round)
{
    if (round < member->settled_round)
        return UINT32_MAX;
    return round == member->settled_round ? member->settled_updates : 0;
}

/* Settles local updates of @round up to @updates, and adds those not settled before to @count, one
 * of the account's.
 */
void kofn_member_settle(struct kofn_member *member, uint32_t round, uint32_t updates,
                        uint64_t *count);

/* Ends a membership. What it holds can still be merged; what else is not settled by then is lost.
 * @total: what the worker itself counted as finished since it joined, 0 if it could not say.
 */
void kofn_member_leave(struct kofn_member *member, bool in_order, uint64_t total, uint64_t now);

/* Takes one more round into the pace: @updates local updates took @ns. What was known before keeps
 * @keep of its weight. The time of updates that a closing round cut off counts as well: the mean of
 * those that were finished would make a slow worker look fast, because only its quick ones are
 * finished in time.
 */
void kofn_member_pace(struct kofn_member *member, double ns, double updates, double keep);

/* Mean time of a local update, ns; 0 if none is known. */
double kofn_member_compute_mean(const struct kofn_member *member);

/* Finished updates that nothing will come of any more, those cancelled with their rounds included.
 */
uint64_t kofn_member_lost(const struct kofn_member *member);

/* Finished updates of this membership that were dropped with their rounds, where those cancel what
 * misses them: all that are not accounted for, but those of round @open (0: none), which may still
 * come or are lost.
 */
uint64_t kofn_member_dropped(const struct kofn_member *member, uint32_t open);

/* What has not been accounted for is lost: see kofn_round_write_off(). */
void kofn_member_write_off(struct kofn_member *member);

#endif
