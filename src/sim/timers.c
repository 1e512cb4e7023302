#include "sim/timers.h"

#include <stdlib.h>

#include "base/clock.h"

int kofn_timers_open(struct kofn_timers *timers, uint32_t workers)
{
    uint32_t leaves = 1;

    while (leaves < workers)
        leaves *= 2;
    timers->workers = workers;
    timers->leaves = leaves;
    timers->batch = false;
    timers->nodes = aligned_alloc(
        KOFN_CACHE_LINE, kofn_round_up(2 * leaves * sizeof(*timers->nodes), KOFN_CACHE_LINE));
    if (!timers->nodes)
        return KOFN_NO_MEMORY;
    for (uint32_t leaf = 0; leaf < leaves; leaf++)
        timers->nodes[leaves + leaf] =
            (struct kofn_timer){KOFN_FOREVER, KOFN_MIN(leaf, workers - 1)};
    kofn_timers_end(timers);
    return 0;
}

void kofn_timers_close(struct kofn_timers *timers)
{
    free(timers->nodes);
    timers->nodes = NULL;
}

/* The one that runs out first; of equal times that of the left, whose ranks are lower. */
static inline struct kofn_timer winner(struct kofn_timer left, struct kofn_timer right)
{
    bool second = right.time < left.time;

    return (struct kofn_timer){second ? right.time : left.time, second ? right.rank : left.rank};
}

void kofn_timers_set(struct kofn_timers *timers, uint32_t rank, uint64_t time)
{
    struct kofn_timer *nodes = timers->nodes;
    uint32_t node = timers->leaves + rank;

    nodes[node].time = time;
    if (timers->batch)
        return;
    for (node /= 2; node; node /= 2)
        nodes[node] = winner(nodes[2 * node], nodes[2 * node + 1]);
}

void kofn_timers_begin(struct kofn_timers *timers)
{
    timers->batch = true;
}

void kofn_timers_end(struct kofn_timers *timers)
{
    timers->batch = false;
    for (uint32_t node = timers->leaves - 1; node; node--)
        timers->nodes[node] = winner(timers->nodes[2 * node], timers->nodes[2 * node + 1]);
}
