#include "base/backoff.h"

#include <sched.h>

#include "base/clock.h"

void kofn_backoff_init(struct kofn_backoff *backoff, uint64_t spin_ns, uint32_t yields)
{
    uint64_t batch = KOFN_MIN(spin_ns / KOFN_BACKOFF_TURN_NS + 1, (uint64_t)KOFN_BACKOFF_BATCH);

    backoff->spin_ns = spin_ns;
    backoff->yields = yields;
    backoff->batch = spin_ns ? (uint32_t)batch : 0;
    backoff->clock = kofn_now_ns;
    kofn_backoff_reset(backoff);
}

/* True if there is time for another batch. The first look at the clock starts the budget: a wait
 * that ends before reads no clock at all.
 */
static bool spin_on(struct kofn_backoff *backoff)
{
    uint64_t now;

    if (backoff->spin_ns == 0)
        return false;
    now = backoff->clock();
    if (backoff->end == 0)
        backoff->end = kofn_deadline(now, backoff->spin_ns);
    return now < backoff->end;
}

enum kofn_backoff_stage kofn__backoff_turn(struct kofn_backoff *backoff)
{
    if (backoff->yielded == 0 && spin_on(backoff)) {
        backoff->turns = backoff->batch - 1; /* this turn is the first of them */
        kofn_cpu_relax();
        return KOFN_BACKOFF_SPIN;
    }
    if (backoff->yielded < backoff->yields) {
        backoff->yielded++;
        sched_yield();
        return KOFN_BACKOFF_YIELD;
    }
    return KOFN_BACKOFF_SLEEP;
}
