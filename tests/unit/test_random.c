/* Random numbers: repeatable, independent between streams, and distributed as they say. Bounds are
 * about five standard errors of the seeded draws.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>

#include "base/random.h"

#define DRAWS 200000

/* The same seed and stream give the same numbers; another of either gives others. */
static void test_repeatable(void)
{
    struct kofn_random a, b, other_seed, other_stream, swapped;
    int same_seed = 0, same_stream = 0, same_swapped = 0;

    kofn_random_seed(&a, 3, 5);
    kofn_random_seed(&b, 3, 5);
    kofn_random_seed(&other_seed, 4, 5);
    kofn_random_seed(&other_stream, 3, 6);
    kofn_random_seed(&swapped, 5, 3);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = kofn_random_next(&a);

        CU_ASSERT_EQUAL(x, kofn_random_next(&b));
        same_seed += x == kofn_random_next(&other_seed);
        same_stream += x == kofn_random_next(&other_stream);
        same_swapped += x == kofn_random_next(&swapped);
    }
    CU_ASSERT_EQUAL(same_seed, 0);
    CU_ASSERT_EQUAL(same_stream, 0);
    CU_ASSERT_EQUAL(same_swapped, 0);
}

/* The generator is xoshiro256**: from the state 1, 2, 3, 4 it must give the published first
 * numbers. */
static void test_known_numbers(void)
{
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    struct kofn_random random = {{1, 2, 3, 4}};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(expected); i++)
        CU_ASSERT_EQUAL(kofn_random_next(&random), expected[i]);
}

/* Neighbouring streams are not correlated: workers do not draw alike. */
static void test_streams_are_independent(void)
{
    struct kofn_random a, b;
    double sum = 0;

    kofn_random_seed(&a, 1, kofn_stream_of(KOFN_STREAM_DELAY, 0));
    kofn_random_seed(&b, 1, kofn_stream_of(KOFN_STREAM_DELAY, 1));
    for (int i = 0; i < DRAWS; i++)
        sum += (kofn_random_uniform(&a) - 0.5) * (kofn_random_uniform(&b) - 0.5);
    CU_ASSERT_DOUBLE_EQUAL(sum / DRAWS, 0, 5 * (1.0 / 12) / sqrt(DRAWS));
}

/* Every value below a bound that is no power of two comes up equally often, and none beyond it. */
static void test_below_is_unbiased(void)
{
    int counts[7] = {0};
    struct kofn_random random;

    kofn_random_seed(&random, 1, 0);
    for (int i = 0; i < 70000; i++) {
        uint64_t x = kofn_random_below(&random, 7);

        CU_ASSERT_FATAL(x < 7);
        counts[x]++;
    }
    for (int i = 0; i < 7; i++)
        CU_ASSERT_DOUBLE_EQUAL(counts[i], 10000, 500);
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(kofn_random_below(&random, 1), 0);
    /* of a bound of 3/4 of the range, a modulo would put half of all draws into the first quarter
     */
    for (int i = counts[0] = 0; i < 10000; i++)
        counts[0] += kofn_random_below(&random, UINT64_C(3) << 62) < UINT64_C(1) << 62;
    CU_ASSERT_DOUBLE_EQUAL(counts[0], 10000 / 3.0, 240);
}

struct moments {
    double mean, variance, least;
};

static struct moments measure(double (*draw)(struct kofn_random *random, double shape),
                              double shape)
{
    struct moments moments = {0, 0, INFINITY};
    struct kofn_random random;
    double square = 0;

    kofn_random_seed(&random, 7, 1);
    for (int i = 0; i < DRAWS; i++) {
        double x = draw(&random, shape);

        moments.mean += x / DRAWS;
        square += x * x / DRAWS;
        moments.least = fmin(moments.least, x);
    }
    moments.variance = square - moments.mean * moments.mean;
    return moments;
}

static double uniform(struct kofn_random *random, double shape)
{
    return (void)shape, kofn_random_uniform(random);
}

static double exponential(struct kofn_random *random, double shape)
{
    return (void)shape, kofn_random_exponential(random);
}

static double normal(struct kofn_random *random, double shape)
{
    return (void)shape, kofn_random_normal(random);
}

/* Each distribution has the mean and the variance of its definition. */
static void test_moments(void)
{
    static const struct {
        double (*draw)(struct kofn_random *random, double shape);
        double shape, mean, variance, variance_error;
    } cases[] = {
        {uniform, 0, 0.5, 1.0 / 12, 0.001},
        {exponential, 0, 1, 1, 0.04},
        {normal, 0, 0, 1, 0.02},
        {kofn_random_gamma, 0.1, 0.1, 0.1, 0.01},
        {kofn_random_gamma, 1, 1, 1, 0.04},
        {kofn_random_gamma, 2.5, 2.5, 2.5, 0.08},
        {kofn_random_gamma, 100, 100, 100, 2},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct moments moments = measure(cases[i].draw, cases[i].shape);

        CU_ASSERT_DOUBLE_EQUAL(moments.mean, cases[i].mean, 5 * sqrt(cases[i].variance / DRAWS));
        CU_ASSERT_DOUBLE_EQUAL(moments.variance, cases[i].variance, cases[i].variance_error);
        CU_ASSERT(cases[i].draw == normal || moments.least >= 0);
    }
}

/* However small the shape, a gamma draw is a finite number, never NaN. */
static void test_tiny_gamma_is_finite(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 1, 1);
    for (int i = 0; i < 10000; i++) {
        double x = kofn_random_gamma(&random, 1e-6);

        CU_ASSERT(x >= 0 && isfinite(x));
    }
}

void kofn_suite_random(void)
{
    CU_pSuite suite = CU_add_suite("random", NULL, NULL);

    CU_add_test(suite, "repeatable", test_repeatable);
    CU_add_test(suite, "known numbers", test_known_numbers);
    CU_add_test(suite, "streams are independent", test_streams_are_independent);
    CU_add_test(suite, "below is unbiased", test_below_is_unbiased);
    CU_add_test(suite, "moments", test_moments);
    CU_add_test(suite, "tiny gamma is finite", test_tiny_gamma_is_finite);
}
