#include "math/anchor.h"

#include <stdlib.h>
#include <string.h>

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
    float rate = (float)anchor->rate, momentum = (float)anchor->momentum;
    const void *moves[] = {anchor->next, anchor->velocity};
    /* d + momentum v' = (1 + momentum) v' - momentum v */
    const float steps[] = {anchor->nesterov ? rate * (1 + momentum) : rate, -rate * momentum};
    struct kofn_merge merge = {
        .out = out, .base = base, .updates = updates, .weights = weights, .count = count};

    if (!anchor->velocity || !count)
        return run(arg, &merge);
    updates[count] = anchor->velocity;
    weights[count] = momentum;
    merge = (struct kofn_merge){
        .out = anchor->next, .updates = updates, .weights = weights, .count = count + 1};
    if (!run(arg, &merge))
        return false;
    merge = (struct kofn_merge){.out = out,
                                .base = base,
                                .updates = moves,
                                .weights = steps,
                                .count = anchor->nesterov ? 2 : 1};
    return run(arg, &merge);
}

void kofn_anchor_commit(struct kofn_anchor *anchor)
{
    float *before = anchor->velocity;

    anchor->velocity = anchor->next;
    anchor->next = before;
}

void kofn_anchor_pull(float *x, float *delta, const float *anchor, double alpha, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)x[i] + alpha * ((double)anchor[i] - (double)x[i]));
        delta[i] = x[i] - anchor[i];
    }
}
