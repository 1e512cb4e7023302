#include "base/backoff.h"

#include <sched.h>

#include "base/clock.h"

#define ALONE_NS 1000    /* a yield that nobody makes use of takes less */
#define POLLER_NS 100000 /* who polls has the core for less: this is somebody who computes */
#define SENTENCE 64u     /* waits, doubled each time in a row */
#define SENTENCE_MAX (1u << 16)

void kofn_backoff_init(struct kofn_backoff *backoff, uint64_t spin_ns, uint32_t yields)
{
    uint64_t batch = KOFN_MIN(spin_ns / KOFN_BACKOFF_TURN_NS + 1, (uint64_t)KOFN_BACKOFF_BATCH);

    backoff->spin_ns = spin_ns;
    backoff->yields = yields;
    backoff->batch = spin_ns ? (uint32_t)batch : 0;
    backoff->clock = kofn_now_ns;
    backoff->crowded = false;
    backoff->refrain = 0;
    backoff->sentence = SENTENCE;
    kofn_backoff_reset(backoff);
}

/* Who has taken the core while it was offered can only be told by the time, @ns. */
static void learn(struct kofn_backoff *backoff, uint64_t ns)
{
    backoff->crowded = ns > ALONE_NS;
    if (ns <= POLLER_NS) {
        backoff->sentence = SENTENCE;
        return;
    }
    backoff->crowded = false;
    backoff->refrain = backoff->sentence;
    backoff->sentence = KOFN_MIN(2 * backoff->sentence, SENTENCE_MAX);
    backoff->end = KOFN_BACKOFF_ENDED;
}

/* Offers the core to others if there is time for another batch. The first look at the clock starts
 * the budget: a wait that ends before reads no clock at all.
 */
static bool offer_core(struct kofn_backoff *backoff)
{
    uint64_t now;

    if (backoff->spin_ns == 0 || backoff->end == KOFN_BACKOFF_ENDED)
        return false;
    now = backoff->clock();
    if (backoff->end == 0)
        backoff->end = kofn_deadline(now, backoff->spin_ns);
    if (now >= backoff->end)
        return false;
    sched_yield();
    learn(backoff, backoff->clock() - now);
    return true;
}

enum kofn_backoff_stage kofn__backoff_turn(struct kofn_backoff *backoff)
{
    if (backoff->yielded == 0 && offer_core(backoff)) {
        if (!backoff->crowded && !backoff->refrain)
            backoff->turns = backoff->batch - 1; /* this turn is one of them */
        return KOFN_BACKOFF_SPIN;
    }
    if (backoff->yielded < backoff->yields) {
        backoff->yielded++;
        sched_yield();
        return KOFN_BACKOFF_YIELD;
    }
    return KOFN_BACKOFF_SLEEP;
}
