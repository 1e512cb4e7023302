/* backoff.h: polling that behaves: spin for a while, then yield a few times, then sleep.
 *
 * Decides when; what sleeping is (a futex, a completion channel, poll(2)) the caller knows. Who
 * spins where there are more threads than cores takes the time of the one it waits for, so the core
 * is offered to others between two batches of turns. Once somebody has taken it, it is offered in
 * every turn: threads that poll for each other then hand it round, faster than by sleeping. But if
 * somebody has kept it for long, he computes, and who yields to such a one is back after his whole
 * time slice: then only sleeping helps, and a while passes before the next wait spins.
 *
 *     kofn_backoff_reset(&backoff);
 *     while (!arrived())
 *         if (kofn_backoff_step(&backoff) == KOFN_BACKOFF_SLEEP)
 *             sleep_until_woken();
 *
 * Threads: one a structure, which is to live as long as its waits. The clock is read every
 * KOFN_BACKOFF_BATCH turns, not in each.
 */
#ifndef KOFN_BASE_BACKOFF_H
#define KOFN_BASE_BACKOFF_H

#include "base/barrier.h"
#include "base/base.h"

#define KOFN_BACKOFF_BATCH 64 /* turns between two looks at the clock, at most */
#define KOFN_BACKOFF_TURN_NS                                                                       \
    40 /* about what a turn takes; budgets shorter than a batch get a shorter batch */

enum kofn_backoff_stage {
    KOFN_BACKOFF_SPIN,  /* has relaxed, or offered, the core for a turn: look again */
    KOFN_BACKOFF_YIELD, /* has given the core to whoever waits for it: look again */
    KOFN_BACKOFF_SLEEP, /* has done nothing: the caller is to sleep; stays so until reset */
};

struct kofn_backoff {
    uint64_t spin_ns;        /* budget of one wait; 0 = never spin */
    uint32_t yields;         /* sched_yield() calls between spinning and sleeping */
    uint32_t batch;          /* turns between two looks at the clock */
    uint64_t (*clock)(void); /* ns; kofn_now_ns() but in tests */

    uint32_t turns;   /* left of this batch */
    uint32_t yielded; /* so far */
    uint64_t end;     /* when spinning ends; 0 = the clock has not been read yet */

    /* What waits teach those after them. */
    bool crowded;      /* the last time the core was offered, somebody took it */
    uint32_t refrain;  /* so many waits are not to spin: somebody computes on this core */
    uint32_t sentence; /* waits to refrain from, the next time that is so */
};

#define KOFN_BACKOFF_ENDED UINT64_C(1) /* as `end`: this wait does not spin */

/* Spins for about @spin_ns a wait (0: not at all; it may be a batch more), then yields @yields
 * times. */
void kofn_backoff_init(struct kofn_backoff *backoff, uint64_t spin_ns, uint32_t yields);

/* Starts a new wait. */
static inline void kofn_backoff_reset(struct kofn_backoff *backoff)
{
    backoff->turns = backoff->crowded ? 0 : backoff->batch;
    backoff->yielded = 0;
    backoff->end = 0;
    if (KOFN_UNLIKELY(backoff->refrain)) {
        backoff->refrain--;
        backoff->turns = 0;
        backoff->end = KOFN_BACKOFF_ENDED;
    }
}

/* Starts a new wait at @now that is not to spin beyond @deadline, which is later. */
static inline void kofn_backoff_begin(struct kofn_backoff *backoff, uint64_t now, uint64_t deadline)
{
    kofn_backoff_reset(backoff);
    if (backoff->end == 0)
        backoff->end = now + KOFN_MIN(backoff->spin_ns, deadline - now);
}

/* The rare part of kofn_backoff_step(): a batch is over. */
enum kofn_backoff_stage kofn__backoff_turn(struct kofn_backoff *backoff);

/* One turn of a wait whose condition does not hold yet. */
static inline enum kofn_backoff_stage kofn_backoff_step(struct kofn_backoff *backoff)
{
    if (KOFN_LIKELY(backoff->turns > 0)) {
        backoff->turns--;
        kofn_cpu_relax();
        return KOFN_BACKOFF_SPIN;
    }
    return kofn__backoff_turn(backoff);
}

#endif
