#include "base/histogram.h"

#include <math.h>
#include <string.h>

void kofn_histogram_reset(struct kofn_histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

void kofn_histogram_merge(struct kofn_histogram *histogram, const struct kofn_histogram *other)
{
    if (other->count == 0)
        return;
    histogram->min = histogram->count ? KOFN_MIN(histogram->min, other->min) : other->min;
    histogram->max = histogram->count ? KOFN_MAX(histogram->max, other->max) : other->max;
    histogram->count += other->count;
    for (uint32_t i = 0; i < KOFN_HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
}

/* The value in the middle of bucket @index; the inverse of kofn_histogram_bucket(). */
static uint64_t middle(uint32_t index)
{
    uint32_t shift, width = 1u << KOFN_HISTOGRAM_BITS;

    if (index < 2 * width)
        return index;
    shift = (index >> KOFN_HISTOGRAM_BITS) - 1;
    return ((uint64_t)(width + index % width) << shift) + (UINT64_C(1) << (shift - 1));
}

uint64_t kofn_nearest_rank(uint64_t count, double percent)
{
    /* 99.9 % of 1000 is 999, though 99.9 is a little more than that in binary */
    double rank = ceil(percent * (double)count / 100 * (1 - 1e-12));

    return rank < 1 ? 1 : KOFN_MIN((uint64_t)rank, count);
}

uint64_t kofn_histogram_percentile(const struct kofn_histogram *histogram, double percent)
{
    uint64_t seen = 0, rank;
    uint32_t i = 0;

    if (histogram->count == 0)
        return 0;
    if (!(percent > 0))
        return histogram->min;
    if (percent >= 100)
        return histogram->max;
    rank = kofn_nearest_rank(histogram->count, percent);
    while (i < KOFN_HISTOGRAM_BUCKETS - 1 && (seen += histogram->buckets[i]) < rank)
        i++;
    return KOFN_MIN(KOFN_MAX(middle(i), histogram->min), histogram->max);
}
