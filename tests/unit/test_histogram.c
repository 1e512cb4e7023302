/* The histogram of times: bounded error over all of uint64_t, exact ends. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>
#include <string.h>

#include "base/histogram.h"
#include "base/random.h"

/* Values never fall into a lower bucket than smaller values, and every bucket is within the array.
 */
static void test_buckets_are_ordered(void)
{
    uint32_t last = 0;

    CU_ASSERT_EQUAL(kofn_histogram_bucket(0), 0);
    CU_ASSERT_EQUAL(kofn_histogram_bucket(UINT64_MAX), KOFN_HISTOGRAM_BUCKETS - 1);
    for (uint64_t value = 0; value < 1 << 20; value++) {
        uint32_t bucket = kofn_histogram_bucket(value);

        CU_ASSERT(bucket == last || bucket == last + 1);
        last = bucket;
    }
    for (unsigned bit = 5; bit < 64; bit++)
        CU_ASSERT_EQUAL(kofn_histogram_bucket(UINT64_C(1) << bit),
                        kofn_histogram_bucket((UINT64_C(1) << bit) - 1) + 1);
}

/* What comes out for a single kind of value is within 3.2 % of it, whatever its size. */
static void test_error_is_bounded(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 4, 0);
    for (int i = 0; i < 20000; i++) {
        struct kofn_histogram histogram = {0};
        uint64_t value = kofn_random_next(&random) >> kofn_random_below(&random, 64);
        uint64_t got;

        kofn_histogram_record(&histogram, value / 2); /* so that min and max do not give it away */
        kofn_histogram_record(&histogram, value);
        kofn_histogram_record(&histogram, UINT64_MAX);
        got = kofn_histogram_percentile(&histogram, 50);
        CU_ASSERT((double)(got > value ? got - value : value - got) <= 0.032 * (double)value);
    }
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Percentiles are those of the sorted values by nearest rank, but for the width of a bucket; the
 * ends are exact. */
static void test_percentiles(void)
{
    enum { COUNT = 1000 };
    static const struct {
        double percent;
        int rank; /* from 1 */
    } expected[] = {{0.05, 1}, {1, 10},     {50, 500},    {90, 900},
                    {99, 990}, {99.9, 999}, {99.95, 1000}};
    struct kofn_histogram histogram = {0};
    struct kofn_random random;
    uint64_t values[COUNT];

    CU_ASSERT_EQUAL(kofn_histogram_percentile(&histogram, 50), 0);
    kofn_random_seed(&random, 5, 0);
    for (int i = 0; i < COUNT; i++) {
        values[i] = (uint64_t)(1e5 * kofn_random_exponential(&random));
        kofn_histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), ascending);
    CU_ASSERT_EQUAL(histogram.count, COUNT);
    CU_ASSERT_EQUAL(kofn_histogram_percentile(&histogram, 0), values[0]);
    CU_ASSERT_EQUAL(kofn_histogram_percentile(&histogram, 100), values[COUNT - 1]);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(expected); i++) {
        uint64_t exact = values[expected[i].rank - 1];
        uint64_t got = kofn_histogram_percentile(&histogram, expected[i].percent);

        CU_ASSERT_EQUAL(kofn_histogram_bucket(got), kofn_histogram_bucket(exact));
    }
}

/* Merging two histograms gives the one of all values, also where one is empty. */
static void test_merge(void)
{
    struct kofn_histogram all = {0}, parts[2] = {{0}}, empty = {0};
    struct kofn_random random;

    kofn_random_seed(&random, 6, 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = kofn_random_next(&random) >> kofn_random_below(&random, 64);

        kofn_histogram_record(&all, value);
        kofn_histogram_record(&parts[i % 3 == 0], value);
    }
    kofn_histogram_merge(&parts[0], &parts[1]);
    kofn_histogram_merge(&parts[0], &empty);
    CU_ASSERT_EQUAL(memcmp(&parts[0], &all, sizeof(all)), 0);
    kofn_histogram_merge(&empty, &all);
    CU_ASSERT_EQUAL(memcmp(&empty, &all, sizeof(all)), 0);
    kofn_histogram_reset(&all);
    CU_ASSERT_EQUAL(all.count, 0);
    CU_ASSERT_EQUAL(kofn_histogram_percentile(&all, 100), 0);
}

void kofn_suite_histogram(void)
{
    CU_pSuite suite = CU_add_suite("histogram", NULL, NULL);

    CU_add_test(suite, "buckets are ordered", test_buckets_are_ordered);
    CU_add_test(suite, "error is bounded", test_error_is_bounded);
    CU_add_test(suite, "percentiles", test_percentiles);
    CU_add_test(suite, "merge", test_merge);
}
