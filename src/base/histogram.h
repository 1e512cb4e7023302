/* histogram.h: how often a time of about so many nanoseconds was seen, in a fixed 8 KiB.
 *
 * Every power of two is divided into 16 buckets of equal width, values below 16 have a bucket each;
 * so a bucket's middle is within 1/32 (3.1 %) of every value in it, over all of uint64_t. Nothing
 * is allocated, recording costs a shift and an addition, and a zeroed structure is an empty
 * histogram.
 *
 * Threads: one writer; whoever reads meanwhile must copy under the caller's lock.
 */
#ifndef KOFN_BASE_HISTOGRAM_H
#define KOFN_BASE_HISTOGRAM_H

#include "base/base.h"

#define KOFN_HISTOGRAM_BITS 4 /* a power of two has 2^4 buckets */
#define KOFN_HISTOGRAM_BUCKETS ((64 - KOFN_HISTOGRAM_BITS + 1) << KOFN_HISTOGRAM_BITS)

struct kofn_histogram {
    uint64_t count;
    uint64_t min, max; /* exact; meaningless while count is 0 */
    uint64_t buckets[KOFN_HISTOGRAM_BUCKETS];
};

/* The bucket @value belongs to: its exponent, then the 4 bits behind the leading one. */
static inline uint32_t kofn_histogram_bucket(uint64_t value)
{
    uint32_t shift;

    if (value < UINT64_C(1) << KOFN_HISTOGRAM_BITS)
        return (uint32_t)value;
    shift = 63 - KOFN_HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value);
    return (shift << KOFN_HISTOGRAM_BITS) + (uint32_t)(value >> shift);
}

static inline void kofn_histogram_record(struct kofn_histogram *histogram, uint64_t value)
{
    histogram->buckets[kofn_histogram_bucket(value)]++;
    if (histogram->count++ == 0) {
        histogram->min = histogram->max = value;
        return;
    }
    histogram->min = KOFN_MIN(histogram->min, value);
    histogram->max = KOFN_MAX(histogram->max, value);
}

/* Forgets everything. */
void kofn_histogram_reset(struct kofn_histogram *histogram);

/* Adds all that @other has seen. */
void kofn_histogram_merge(struct kofn_histogram *histogram, const struct kofn_histogram *other);

/* Nearest rank, from 1: how many of @count values, 1 or more, the smallest ones, are @percent % of
 * them.
 */
uint64_t kofn_nearest_rank(uint64_t count, double percent);

/* The smallest value that at least @percent % of all values do not exceed (nearest rank): the
 * middle of its bucket, but never outside of min..max; 0 % is the minimum, 100 % the maximum,
 * exactly. 0 if nothing was recorded.
 */
uint64_t kofn_histogram_percentile(const struct kofn_histogram *histogram, double percent);

#endif
