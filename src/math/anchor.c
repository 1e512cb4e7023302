#include "math/anchor.h"

#include <stdlib.h>
#include <string.h>

#define KOFN_ANCHOR_REAL float
#define KOFN_ANCHOR_MERGE struct kofn_merge
#define KOFN_ANCHOR_NAME(name) f32_##name
#include "math/anchor_steps.h"

int kofn_anchor_open(struct kofn_anchor *anchor, size_t n)
{
    size_t bytes = kofn_round_up(n * sizeof(float), KOFN_CACHE_LINE);

    anchor->velocity = anchor->next = NULL;
    if (anchor->rate == 1 && anchor->momentum == 0)
        return 0;
    anchor->velocity = aligned_alloc(KOFN_CACHE_LINE, bytes);
    anchor->next = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (!anchor->velocity || !anchor->next) {
        kofn_anchor_close(anchor);
        return KOFN_NO_MEMORY;
    }
    memset(anchor->velocity, 0, bytes);
    return 0;
}

void kofn_anchor_close(struct kofn_anchor *anchor)
{
    free(anchor->velocity);
    free(anchor->next);
    anchor->velocity = anchor->next = NULL;
}

bool kofn_anchor_merge(struct kofn_anchor *anchor, kofn_anchor_run run, void *arg, float *out,
                       const float *base, const void **updates, float *weights, size_t count)
{
    struct kofn_merge merge = {
        .out = out, .base = base, .updates = updates, .weights = weights, .count = count};

    if (!anchor->velocity || !count)
        return run(arg, &merge);
    return f32_move(anchor, anchor->velocity, anchor->next, run, arg, out, base, updates, weights,
                    count);
}

void kofn_anchor_commit(struct kofn_anchor *anchor)
{
    float *before = anchor->velocity;

    anchor->velocity = anchor->next;
    anchor->next = before;
}

void kofn_anchor_pull(float *x, float *delta, const float *anchor, double alpha, size_t n)
{
    f32_pull(x, delta, anchor, alpha, n);
}
