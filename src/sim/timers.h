/* timers.h: one timer a worker, and which of them runs out next.
 *
 * A heap of all ranks in which every rank always has a place; a timer that is not set runs out at
 * KOFN_FOREVER. Equal times are ordered by rank, so that a simulation is the same every time.
 * When most of the timers change at once (a round closes and everybody starts again), changing them
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
    bool batch;              /* between begin and end: the heap is not in order */
    struct kofn_timer *heap; /* of four children each; heap[0] runs out first */
    uint32_t *place;         /* of a rank in the heap */
};

/* No timer is set. KOFN_NO_MEMORY; not logged. */
int kofn_timers_open(struct kofn_timers *timers, uint32_t workers);
void kofn_timers_close(struct kofn_timers *timers);

/* Sets the timer of @rank, whether it was set or not; KOFN_FOREVER: it does not run. */
void kofn_timers_set(struct kofn_timers *timers, uint32_t rank, uint64_t time);

void kofn_timers_begin(struct kofn_timers *timers);
void kofn_timers_end(struct kofn_timers *timers);

/* The time of @rank; the timer that runs out first. */
static inline uint64_t kofn_timers_time(const struct kofn_timers *timers, uint32_t rank)
{
    return timers->heap[timers->place[rank]].time;
}

static inline struct kofn_timer kofn_timers_first(const struct kofn_timers *timers)
{
    return timers->heap[0];
}

#endif
