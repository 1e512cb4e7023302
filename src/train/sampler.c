#include "train/split.h"

void kofn_sampler_init(struct kofn_sampler *sampler, const struct kofn_split *split, uint32_t rank,
                       uint64_t seed)
{
    sampler->index = split->index + split->start[rank];
    sampler->count = split->start[rank + 1] - split->start[rank];
    sampler->position = 0;
    kofn_random_seed(&sampler->random, seed, kofn_stream_of(KOFN_STREAM_SAMPLER, rank));
}

void kofn_sampler_next(struct kofn_sampler *sampler, uint32_t count, uint32_t *index)
{
    uint32_t *order = sampler->index, at, swapped;

    /* Fisher and Yates' shuffle, a step a sample: no pause at the start of an epoch */
    for (uint32_t i = 0; i < count; i++) {
        at = sampler->position +
             (uint32_t)kofn_random_below(&sampler->random, sampler->count - sampler->position);
        swapped = order[at];
        order[at] = order[sampler->position];
        order[sampler->position] = index[i] = swapped;
        sampler->position = sampler->position + 1 < sampler->count ? sampler->position + 1 : 0;
    }
}
