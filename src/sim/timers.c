#include "sim/timers.h"

#include <stdlib.h>

#include "base/clock.h"

#define CHILDREN 4u

int kofn_timers_open(struct kofn_timers *timers, uint32_t workers)
{
    timers->workers = workers;
    timers->batch = false;
    timers->heap = calloc(workers, sizeof(*timers->heap));
    timers->place = calloc(workers, sizeof(*timers->place));
    if (!timers->heap || !timers->place) {
        kofn_timers_close(timers);
        return KOFN_NO_MEMORY;
    }
    for (uint32_t rank = 0; rank < workers; rank++) {
        timers->heap[rank] = (struct kofn_timer){KOFN_FOREVER, rank};
        timers->place[rank] = rank;
    }
    return 0;
}

void kofn_timers_close(struct kofn_timers *timers)
{
    free(timers->heap);
    free(timers->place);
    timers->heap = NULL;
    timers->place = NULL;
}

static bool before(struct kofn_timer a, struct kofn_timer b)
{
    return a.time < b.time || (a.time == b.time && a.rank < b.rank);
}

static void put(struct kofn_timers *timers, uint32_t place, struct kofn_timer timer)
{
    timers->heap[place] = timer;
    timers->place[timer.rank] = place;
}

static void move_up(struct kofn_timers *timers, uint32_t place, struct kofn_timer timer)
{
    while (place) {
        uint32_t parent = (place - 1) / CHILDREN;

        if (!before(timer, timers->heap[parent]))
            break;
        put(timers, place, timers->heap[parent]);
        place = parent;
    }
    put(timers, place, timer);
}

/* The child of @place that runs out first; timers->workers if there is none. */
static uint32_t first_child(const struct kofn_timers *timers, uint32_t place)
{
    uint32_t first = CHILDREN * place + 1, best = first;
    uint32_t last = KOFN_MIN(first + CHILDREN, timers->workers);

    if (first >= timers->workers)
        return timers->workers;
    for (uint32_t child = first + 1; child < last; child++)
        if (before(timers->heap[child], timers->heap[best]))
            best = child;
    return best;
}

static void move_down(struct kofn_timers *timers, uint32_t place, struct kofn_timer timer)
{
    for (;;) {
        uint32_t child = first_child(timers, place);

        if (child == timers->workers || before(timer, timers->heap[child]))
            break;
        put(timers, place, timers->heap[child]);
        place = child;
    }
    put(timers, place, timer);
}

void kofn_timers_set(struct kofn_timers *timers, uint32_t rank, uint64_t time)
{
    uint32_t place = timers->place[rank];
    struct kofn_timer timer = {time, rank};

    if (timers->batch)
        timers->heap[place].time = time;
    else if (time < timers->heap[place].time)
        move_up(timers, place, timer);
    else
        move_down(timers, place, timer);
}

void kofn_timers_begin(struct kofn_timers *timers)
{
    timers->batch = true;
}

void kofn_timers_end(struct kofn_timers *timers)
{
    timers->batch = false;
    for (uint32_t place = timers->workers / CHILDREN + 1; place-- > 0;)
        if (place < timers->workers)
            move_down(timers, place, timers->heap[place]);
}
