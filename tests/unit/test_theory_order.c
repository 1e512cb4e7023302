/* The K-th of N: what it is expected to take, by formula and by quadrature, for N up to 10,000. */
#include "tests/unit/theory_fixture.h"

#include "theory/order.h"

static double mean_of(const struct kofn_distribution *distribution, uint32_t n, uint32_t k)
{
    struct kofn_prediction mean = {0};

    CU_ASSERT_EQUAL_FATAL(kofn_order_mean(distribution, n, k, &mean), 0);
    return mean.value;
}

static double variance_of(const struct kofn_distribution *distribution, uint32_t n, uint32_t k)
{
    struct kofn_prediction variance = {0};

    CU_ASSERT_EQUAL_FATAL(kofn_order_variance(distribution, n, k, &variance), 0);
    return variance.value;
}

/* Values computed independently, from the definitions and with 25 digits. */
static void test_known_means(void)
{
    static const struct {
        struct kofn_distribution distribution;
        uint32_t n, k;
        double mean;
    } cases[] = {
        {EXP(1), 8, 4, 0.6345238095238095},
        {EXP(1), 8, 8, 2.717857142857143},
        {EXP(1e-4), 20, 5, 2.795106639146887e-5},
        {EXP(1), 3, 2, 0.8333333333333333},
        {EXP(1), 10000, 5000, 0.6930971830599453},
        {EXP(1), 10000, 10000, 9.787606036044382},
        {SHIFTED_EXP(1, 1), 8, 4, 1.6345238095238095},
        {PARETO(2, 1), 8, 4, 1.392385392385392},
        {PARETO(1.5, 1), 10000, 9000, 4.641124669593245},
        {UNIFORM(1, 3), 7, 2, 1.5},
        {UNIFORM(2, 2), 7, 2, 2},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn_prediction mean;

        CU_ASSERT_EQUAL(kofn_order_mean(&cases[i].distribution, cases[i].n, cases[i].k, &mean), 0);
        CU_ASSERT(near(mean.value, cases[i].mean, 1e-12));
        CU_ASSERT_EQUAL(mean.method, KOFN_METHOD_CLOSED_FORM);
        CU_ASSERT_EQUAL(mean.error, 0);
        CU_ASSERT(!mean.upper_bound);
    }
}

static void test_known_variances(void)
{
    static const struct kofn_distribution exponential = EXP(1), twice = SHIFTED_EXP(5, 2),
                                          pareto = PARETO(3, 1), heavy = PARETO(1.5, 1),
                                          uniform = UNIFORM(0, 1), constant = UNIFORM(3, 3);

    CU_ASSERT(near(variance_of(&exponential, 8, 4), 0.1038109410430839, 1e-12));
    CU_ASSERT(near(variance_of(&twice, 8, 4), 4 * 0.1038109410430839, 1e-12));
    CU_ASSERT(near(variance_of(&pareto, 8, 4), 0.02017903456087747, 1e-12));
    /* a difference of two numbers that agree in three digits: nothing may have cancelled */
    CU_ASSERT(near(variance_of(&heavy, 10000, 9000), 0.008619319124326663, 1e-10));
    CU_ASSERT(near(variance_of(&uniform, 1, 1), 1.0 / 12, 1e-14));
    CU_ASSERT(near(variance_of(&uniform, 3, 2), 0.05, 1e-14)); /* Beta(2, 2) */
    CU_ASSERT_EQUAL(variance_of(&constant, 9, 3), 0);
}

/* A tail t^-a of the K-th of N, a = shape (N - K + 1), has a mean for a > 1 and a variance for a >
 * 2, and no sooner. */
static void test_infinite_moments(void)
{
    static const struct kofn_distribution one = PARETO(1, 1), half = PARETO(0.5, 1),
                                          two = PARETO(2, 1);

    CU_ASSERT(isinf(mean_of(&one, 8, 8)));
    CU_ASSERT(near(mean_of(&one, 8, 7), 8, 1e-13));
    CU_ASSERT(isinf(mean_of(&half, 8, 7)));
    CU_ASSERT(isfinite(mean_of(&half, 8, 6)));
    CU_ASSERT(isinf(variance_of(&one, 8, 8)));
    CU_ASSERT(isinf(variance_of(&one, 8, 7)));
    CU_ASSERT(isfinite(variance_of(&one, 8, 6)));
    CU_ASSERT(isfinite(mean_of(&two, 8, 8)));
    CU_ASSERT(isinf(variance_of(&two, 8, 8)));
}

/* Waiting for more takes longer; more workers to choose from take less; twice the unit is twice the
 * time. */
static void test_monotone_and_in_proportion(void)
{
    static const struct kofn_distribution laws[][2] = {
        {EXP(1), EXP(2)},
        {SHIFTED_EXP(0.5, 1), SHIFTED_EXP(1, 2)},
        {PARETO(2, 1), PARETO(2, 2)},
        {UNIFORM(1, 3), UNIFORM(2, 6)},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(laws); i++)
        for (uint32_t n = 1; n <= 12; n++)
            for (uint32_t k = 1; k <= n; k++) {
                double mean = mean_of(&laws[i][0], n, k);

                CU_ASSERT(k == 1 || mean > mean_of(&laws[i][0], n, k - 1));
                CU_ASSERT(mean > mean_of(&laws[i][0], n + 1, k));
                CU_ASSERT(near(mean_of(&laws[i][1], n, k), 2 * mean, 1e-13));
            }
}

/* The N values of the K-th add up to N times the mean of one draw: no order statistic is off by
 * itself. */
static void test_sum_over_k(void)
{
    static const struct kofn_distribution laws[] = {EXP(1), PARETO(3, 1), UNIFORM(0, 2)};
    static const double means[] = {1, 1.5, 1};
    double sum;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(laws); i++) {
        sum = 0;
        for (uint32_t k = 1; k <= 500; k++)
            sum += mean_of(&laws[i], 500, k);
        CU_ASSERT(near(sum, 500 * means[i], 1e-12));
    }
}

/* Quadrature over a cdf finds what the closed form says, in little time, and knows its error. */
static void test_quadrature_agrees(void)
{
    static const uint32_t counts[][2] = {{1, 1},        {8, 4},        {8, 8},        {10000, 1},
                                         {10000, 5000}, {10000, 9999}, {10000, 10000}};
    static const struct kofn_distribution exponential = EXP(1),
                                          unknown = {.kind = KOFN_DISTRIBUTION_CDF, .cdf = exp_cdf};

    NEEDS_GSL();
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(counts); i++) {
        double expected = mean_of(&exponential, counts[i][0], counts[i][1]), start = cpu_ms();
        struct kofn_prediction mean;

        CU_ASSERT_EQUAL(kofn_order_mean(&unknown, counts[i][0], counts[i][1], &mean), 0);
        CU_ASSERT(cpu_ms() - start < QUICK_MS);
        CU_ASSERT_EQUAL(mean.method, KOFN_METHOD_QUADRATURE);
        CU_ASSERT(near(mean.value, expected, 1e-9));
        CU_ASSERT(fabs(mean.value - expected) <= mean.error + 1e-12 * expected);
    }
}

/* Heavy tails by quadrature: right within the error that is reported, and infinite where the
 * formula is. */
static void test_quadrature_of_heavy_tails(void)
{
    static const double shapes[] = {3, 2, 1.5, 1.2, 1, 0.9, 0.5};

    NEEDS_GSL();
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(shapes); i++)
        for (uint32_t k = 6; k <= 8; k++) {
            struct kofn_distribution unknown = {.kind = KOFN_DISTRIBUTION_CDF,
                                                .first = 1,
                                                .cdf = pareto_cdf,
                                                .arg = &shapes[i]},
                                     pareto = PARETO(shapes[i], 1);
            double expected = mean_of(&pareto, 8, k);
            struct kofn_prediction mean;

            CU_ASSERT_EQUAL(kofn_order_mean(&unknown, 8, k, &mean), 0);
            if (isinf(expected)) {
                CU_ASSERT(isinf(mean.value));
            } else if (mean.method == KOFN_METHOD_NONE) {
                /* only where the tail is hardly light enough */
                CU_ASSERT(shapes[i] * (9 - k) < 1.3);
            } else {
                CU_ASSERT(fabs(mean.value - expected) <= mean.error + 1e-10 * expected);
            }
        }
}

static const double dice[] = {1, 2, 3, 4, 5, 6};

static double die_cdf(const void *arg, double time)
{
    (void)arg;
    return fmin(1, floor(time) / 6);
}

/* What was measured is a sum: of two dice the lower is 91/36, the higher 161/36. */
static void test_steps(void)
{
    static const struct kofn_distribution die = {.kind = KOFN_DISTRIBUTION_STEPS,
                                                 .cdf = die_cdf,
                                                 .steps = dice,
                                                 .step_count = KOFN_ARRAY_SIZE(dice)};
    struct kofn_prediction mean;

    NEEDS_GSL();
    CU_ASSERT(near(mean_of(&die, 2, 1), 91.0 / 36, 1e-13));
    CU_ASSERT(near(mean_of(&die, 2, 2), 161.0 / 36, 1e-13));
    CU_ASSERT(near(mean_of(&die, 10000, 10000), 6, 1e-13));
    CU_ASSERT_EQUAL(kofn_order_mean(&die, 7, 3, &mean), 0);
    CU_ASSERT_EQUAL(mean.method, KOFN_METHOD_CLOSED_FORM);
    CU_ASSERT(isnan(variance_of(&die, 2, 1)));
}

static double nonsense_cdf(const void *arg, double time)
{
    (void)arg, (void)time;
    return NAN;
}

static double unfinished_cdf(const void *arg, double time)
{
    (void)arg;
    return time < 1 ? 0 : 0.5;
}

/* A function that is no cdf gives no prediction, and ends. */
static void test_broken_functions(void)
{
    struct kofn_distribution broken = {.kind = KOFN_DISTRIBUTION_CDF, .cdf = nonsense_cdf};
    struct kofn_prediction mean;

    NEEDS_GSL();
    CU_ASSERT_EQUAL(kofn_order_mean(&broken, 8, 4, &mean), 0);
    CU_ASSERT_EQUAL(mean.method, KOFN_METHOD_NONE);
    CU_ASSERT(isnan(mean.value));
    broken.cdf = unfinished_cdf;
    CU_ASSERT_EQUAL(kofn_order_mean(&broken, 8, 8, &mean), 0);
    CU_ASSERT_EQUAL(mean.method, KOFN_METHOD_NONE);
}

/* Without GSL the forms that need none are there, and the others say that they are not. */
static void test_without_gsl(void)
{
    static const struct kofn_distribution unknown = {.kind = KOFN_DISTRIBUTION_CDF, .cdf = exp_cdf};
    struct kofn_prediction mean = {.value = 17};
    int rc = kofn_order_mean(&unknown, 8, 4, &mean);

    CU_ASSERT_EQUAL(rc, kofn_special_available() ? KOFN_OK : KOFN_UNSUPPORTED);
    CU_ASSERT((mean.value == 17) == (rc != 0));
}

/* Whatever is outside the contract is refused, and the output stays as it was. */
static void test_bad_arguments(void)
{
    static const double falling[] = {2, 1};
    static const struct kofn_distribution
        good = EXP(1),
        bad[] = {
            EXP(0),
            EXP(-1),
            EXP(NAN),
            EXP(INFINITY),
            SHIFTED_EXP(-1, 1),
            SHIFTED_EXP(INFINITY, 1),
            SHIFTED_EXP(1, 0),
            PARETO(0, 1),
            PARETO(2, 0),
            PARETO(NAN, 1),
            UNIFORM(-1, 1),
            UNIFORM(2, 1),
            UNIFORM(0, INFINITY),
            UNIFORM(NAN, 1),
            {.kind = KOFN_DISTRIBUTION_CDF},
            {.kind = KOFN_DISTRIBUTION_CDF, .cdf = exp_cdf, .first = -1},
            {.kind = KOFN_DISTRIBUTION_STEPS, .cdf = die_cdf},
            {.kind = KOFN_DISTRIBUTION_STEPS, .cdf = die_cdf, .steps = dice},
            {.kind = KOFN_DISTRIBUTION_STEPS, .cdf = die_cdf, .steps = falling, .step_count = 2},
            {.kind = KOFN_DISTRIBUTION_STEPS, .steps = dice, .step_count = 6},
            {.kind = (enum kofn_distribution_kind)99, .second = 1},
        };
    static const uint32_t counts[][2] = {
        {0, 0}, {1, 0}, {0, 1}, {4, 5}, {KOFN_THEORY_COUNT_MAX + 1, 1}, {UINT32_MAX, UINT32_MAX}};
    struct kofn_prediction out = {.value = 17};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(bad); i++) {
        CU_ASSERT_EQUAL(kofn_order_mean(&bad[i], 8, 4, &out), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_order_variance(&bad[i], 8, 4, &out), KOFN_INVALID);
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(counts); i++) {
        CU_ASSERT_EQUAL(kofn_order_mean(&good, counts[i][0], counts[i][1], &out), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_order_variance(&good, counts[i][0], counts[i][1], &out), KOFN_INVALID);
    }
    CU_ASSERT_EQUAL(kofn_order_mean(NULL, 8, 4, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(out.value, 17);
}

void kofn_suite_theory_order(void)
{
    CU_pSuite suite = CU_add_suite("theory_order", NULL, NULL);

    CU_add_test(suite, "known means", test_known_means);
    CU_add_test(suite, "known variances", test_known_variances);
    CU_add_test(suite, "infinite moments", test_infinite_moments);
    CU_add_test(suite, "monotone and in proportion", test_monotone_and_in_proportion);
    CU_add_test(suite, "sum over K", test_sum_over_k);
    CU_add_test(suite, "quadrature agrees", test_quadrature_agrees);
    CU_add_test(suite, "quadrature of heavy tails", test_quadrature_of_heavy_tails);
    CU_add_test(suite, "steps", test_steps);
    CU_add_test(suite, "broken functions", test_broken_functions);
    CU_add_test(suite, "without GSL", test_without_gsl);
    CU_add_test(suite, "bad arguments", test_bad_arguments);
}
