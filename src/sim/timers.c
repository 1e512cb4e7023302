#include "sim/timers.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

int kofn_timers_open(struct kofn_timers *timers, uint32_t workers)
{
    uint32_t leaves = 1;

    while (leaves < workers)
        leaves *= 2;
    timers->workers = workers;
    timers->leaves = leaves;
    timers->sixteenth = KOFN_MAX(leaves / 16, 1u);
    timers->batch = false;
    timers->nodes = kofn_large_alloc(2 * (size_t)leaves * sizeof(*timers->nodes));
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

void kofn_timers_begin(struct kofn_timers *timers)
{
    timers->batch = true;
}

void kofn_timers_end(struct kofn_timers *timers)
{
    timers->batch = false;
    for (uint32_t node = timers->leaves - 1; node; node--)
        timers->nodes[node] =
            kofn_timers_winner(timers->nodes[2 * node], timers->nodes[2 * node + 1]);
}
