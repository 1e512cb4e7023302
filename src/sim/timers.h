/* timers.h: one timer a worker, and which of them runs out next.
 *
 * A tournament: every rank has a leaf, and every node above knows which of its leaves runs out
 * first. To set a timer is to play the matches on the way from its leaf to the top again: log2(N)
 * of them, with no branch that depends on who wins. A timer that is not set runs out at
 * KOFN_FOREVER; equal times are ordered by rank, so that a simulation is the same every time. When
 * most of the timers change at once (a round closes and everybody starts again), changing them
 * between kofn_timers_begin() and kofn_timers_end() costs O(workers) in all.
 *
 * Threads: one. Nothing is allocated after kofn_timers_open().
 */
#ifndef KOFN_SIM_TIMERS_H
#define KOFN_SIM_TIMERS_H

#include "base/base.h"

struct kofn_timer {
    uint64_t time;
    uint32_t rank;
};

struct kofn_timers {
    uint32_t workers;
    uint32_t leaves;          /* a power of two */
    uint32_t sixteenth;       /* of them: leaves below each of so many nodes; at least 1 */
    bool batch;               /* between begin and end: only the leaves are right */
    struct kofn_timer *nodes; /* nodes[1] is the top; below i are 2i and 2i + 1; leaves come last */
};

/* No timer is set. KOFN_NO_MEMORY; not logged. */
int kofn_timers_open(struct kofn_timers *timers, uint32_t workers);
void kofn_timers_close(struct kofn_timers *timers);

/* The one that runs out first; of equal times that of the left, whose ranks are lower. */
static inline struct kofn_timer kofn_timers_winner(struct kofn_timer left, struct kofn_timer right)
{
    bool second = right.time < left.time;

    return (struct kofn_timer){second ? right.time : left.time, second ? right.rank : left.rank};
}

/* Sets the timer of @rank, whether it was set or not; KOFN_FOREVER: it does not run. */
static inline void kofn_timers_set(struct kofn_timers *timers, uint32_t rank, uint64_t time)
{
    struct kofn_timer *nodes = timers->nodes, first = {time, rank};
    uint32_t node = timers->leaves + rank;

    nodes[node].time = time;
    if (timers->batch)
        return;
    for (; node > 1; node /= 2) {
        struct kofn_timer other = nodes[node ^ 1];

        first = node & 1 ? kofn_timers_winner(other, first) : kofn_timers_winner(first, other);
        nodes[node / 2] = first;
    }
}

void kofn_timers_begin(struct kofn_timers *timers);
void kofn_timers_end(struct kofn_timers *timers);

/* The time of @rank; the timer that runs out first. */
static inline uint64_t kofn_timers_time(const struct kofn_timers *timers, uint32_t rank)
{
    return timers->nodes[timers->leaves + rank].time;
}

static inline struct kofn_timer kofn_timers_first(const struct kofn_timers *timers)
{
    return timers->nodes[1];
}

/* Whose timer now runs out first in the sixteenth of the ranks that @rank belongs to: it is likely
 * to be among the next sixteen.
 */
static inline uint32_t kofn_timers_soon(const struct kofn_timers *timers, uint32_t rank)
{
    uint32_t node = (timers->leaves + rank) / timers->sixteenth;

    return timers->nodes[KOFN_MAX(node, 1u)].rank;
}

#endif
