/* Deadlines: the median is the median, and an adaptive deadline is what its definition says, of all
 * arrivals.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "round/deadline.h"

#define MOST 300

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_by_sorting(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* A few distinct values (many duplicates), or as many as there are; sorted, reversed or neither. */
static void draw_values(struct kofn_random *random, double *values, size_t count)
{
    uint64_t kinds = 1 + kofn_random_below(random, kofn_random_below(random, 2) ? 4 : 1000000);
    uint64_t order = kofn_random_below(random, 3);

    for (size_t i = 0; i < count; i++)
        values[i] = (double)kofn_random_below(random, kinds) - (double)(kinds / 2);
    if (order)
        qsort(values, count, sizeof(*values), ascending);
    for (size_t i = 0; order == 2 && i < count / 2; i++) {
        double keep = values[i];

        values[i] = values[count - 1 - i];
        values[count - 1 - i] = keep;
    }
}

/* The median of any array is that of the sorted array, whatever its order and its duplicates, and
 * the array still holds the same values.
 */
static void test_median_is_that_of_the_sorted_array(void)
{
    struct kofn_random random;
    double values[MOST], sorted[MOST];

    kofn_random_seed(&random, 1, 0);
    for (int i = 0; i < 20000; i++) {
        size_t count = 1 + kofn_random_below(&random, i % 100 ? 12 : MOST);
        double expected, found;

        draw_values(&random, values, count);
        memcpy(sorted, values, sizeof(values));
        expected = median_by_sorting(sorted, count);
        found = kofn_median(values, count);
        CU_ASSERT_EQUAL_FATAL(found, expected);
        qsort(values, count, sizeof(*values), ascending);
        CU_ASSERT_FATAL(!memcmp(values, sorted, count * sizeof(*values)));
    }
}

/* No values have the median 0. */
static void test_median_of_nothing(void)
{
    double nothing;

    CU_ASSERT_EQUAL(kofn_median(&nothing, 0), 0);
}

/* A fixed deadline is there from the first round on, and arrivals do not change it. */
static void test_fixed_deadline_stays(void)
{
    struct kofn_deadline deadline;

    kofn_deadline_init(&deadline, 1234, false, 4);
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(kofn_deadline_span(&deadline), 1234);
        kofn_deadline_add(&deadline, i);
    }
    kofn_deadline_init(&deadline, 0, false, 4);
    CU_ASSERT_EQUAL(kofn_deadline_span(&deadline), 0);
}

/* An adaptive deadline is given only when three rounds of all workers have been seen. */
static void test_adaptive_deadline_needs_three_rounds(void)
{
    static const uint32_t workers[] = {1, 2, 5, 40, 100, 60000};

    for (size_t w = 0; w < KOFN_ARRAY_SIZE(workers); w++) {
        struct kofn_deadline deadline;
        uint32_t needed = KOFN_MIN(3 * workers[w], KOFN_DEADLINE_SAMPLES);

        kofn_deadline_init(&deadline, 77, true, workers[w]);
        for (uint32_t i = 0; i < needed; i++) {
            CU_ASSERT_EQUAL(kofn_deadline_span(&deadline), 0);
            kofn_deadline_add(&deadline, 1000);
        }
        CU_ASSERT_EQUAL(kofn_deadline_span(&deadline), 1150); /* the floor: 5 % of the median */
    }
}

static double span_by_definition(const double *newest, size_t count)
{
    double values[KOFN_DEADLINE_SAMPLES], median, mad;

    memcpy(values, newest, count * sizeof(*values));
    median = median_by_sorting(values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = fabs(values[i] - median);
    mad = median_by_sorting(values, count);
    return median + 3 * fmax(mad, median / 20);
}

/* It is median + 3 MAD of the newest samples (MAD at least 5 % of the median), at every moment. */
static void test_adaptive_deadline_is_median_and_mad(void)
{
    double all[700];

    for (uint64_t seed = 0; seed < 20; seed++) {
        struct kofn_random random;
        struct kofn_deadline deadline;
        double spread = seed % 2 ? 1e3 : 1e8;

        kofn_random_seed(&random, seed, 0);
        kofn_deadline_init(&deadline, 0, true, 3);
        for (size_t i = 0; i < KOFN_ARRAY_SIZE(all); i++) {
            size_t first = i + 1 > KOFN_DEADLINE_SAMPLES ? i + 1 - KOFN_DEADLINE_SAMPLES : 0;

            all[i] = 1e6 + spread * kofn_random_exponential(&random);
            kofn_deadline_add(&deadline, all[i]);
            if (i < 8 || i % 7)
                continue;
            CU_ASSERT_DOUBLE_EQUAL((double)kofn_deadline_span(&deadline),
                                   span_by_definition(all + first, i + 1 - first), 1);
        }
    }
}

/* A tenth of the workers that is a hundred times slower moves the deadline by little. */
static void test_adaptive_deadline_withstands_stragglers(void)
{
    struct kofn_deadline without, with;

    kofn_deadline_init(&without, 0, true, 10);
    kofn_deadline_init(&with, 0, true, 10);
    for (int i = 0; i < 200; i++) {
        double time = 1000 + 10 * (i % 10);

        kofn_deadline_add(&without, time);
        kofn_deadline_add(&with, i % 10 ? time : 100 * time);
    }
    CU_ASSERT(kofn_deadline_span(&with) < kofn_deadline_span(&without) * 11 / 10);
}

void kofn_suite_deadline(void)
{
    CU_pSuite suite = CU_add_suite("deadline", NULL, NULL);

    CU_add_test(suite, "median is that of the sorted array",
                test_median_is_that_of_the_sorted_array);
    CU_add_test(suite, "median of nothing", test_median_of_nothing);
    CU_add_test(suite, "fixed deadline stays", test_fixed_deadline_stays);
    CU_add_test(suite, "adaptive deadline needs three rounds",
                test_adaptive_deadline_needs_three_rounds);
    CU_add_test(suite, "adaptive deadline is median and MAD",
                test_adaptive_deadline_is_median_and_mad);
    CU_add_test(suite, "adaptive deadline withstands stragglers",
                test_adaptive_deadline_withstands_stragglers);
}
