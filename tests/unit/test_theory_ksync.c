/* The K-sync family: time of a model update and staleness. */
#include "tests/unit/theory_fixture.h"

#include "theory/ksync.h"

static struct kofn_prediction time_of(enum kofn_ksync_scheme scheme,
                                      const struct kofn_distribution *batch, uint32_t n, uint32_t k)
{
    struct kofn_prediction time = {.value = -1};

    CU_ASSERT_EQUAL(kofn_ksync_time(scheme, batch, n, k, &time), 0);
    return time;
}

static double staleness_of(enum kofn_ksync_scheme scheme, uint32_t n, uint32_t k)
{
    struct kofn_prediction staleness = {.value = -1};

    CU_ASSERT_EQUAL(kofn_ksync_staleness(scheme, n, k, &staleness), 0);
    return staleness.value;
}

static const struct kofn_distribution exponential = EXP(1), shifted = SHIFTED_EXP(1, 1),
                                      pareto = PARETO(2, 1), uniform = UNIFORM(0, 2),
                                      constant = UNIFORM(3, 3);

/* What is known in closed form. */
static void test_known_times(void)
{
    static const struct {
        enum kofn_ksync_scheme scheme;
        const struct kofn_distribution *batch;
        uint32_t n, k;
        double time;
    } cases[] = {
        {KOFN_KSYNC, &exponential, 8, 4, 0.6345238095238095},
        {KOFN_KSYNC, &shifted, 8, 4, 1.6345238095238095},
        {KOFN_KSYNC, &pareto, 8, 4, 1.392385392385392},
        {KOFN_KBATCH_SYNC, &exponential, 8, 4, 0.5},
        {KOFN_KBATCH_SYNC, &exponential, 8, 20, 2.5},
        {KOFN_KBATCH_SYNC, &shifted, 1, 20, 40},
        {KOFN_KBATCH_SYNC, &shifted, 8, 1, 1.125},
        {KOFN_KBATCH_SYNC, &constant, 8, 17, 9},
        {KOFN_KASYNC, &exponential, 8, 1, 0.125},
        {KOFN_KASYNC, &exponential, 8, 4, 0.6345238095238095},
        {KOFN_KASYNC, &exponential, 8, 8, 2.717857142857143},
        {KOFN_KASYNC, &pareto, 8, 1, 0.25},
        {KOFN_KBATCH_ASYNC, &exponential, 8, 1, 0.125},
        {KOFN_KBATCH_ASYNC, &exponential, 8, 4, 0.5},
        {KOFN_KBATCH_ASYNC, &shifted, 8, 1, 0.25},
        {KOFN_KBATCH_ASYNC, &shifted, 8, 4, 1},
        {KOFN_KBATCH_ASYNC, &pareto, 8, 12, 3},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn_prediction time =
            time_of(cases[i].scheme, cases[i].batch, cases[i].n, cases[i].k);

        CU_ASSERT(near(time.value, cases[i].time, 1e-12));
        CU_ASSERT_EQUAL(time.method, KOFN_METHOD_CLOSED_FORM);
        CU_ASSERT(!time.upper_bound);
    }
}

/* How much waiting for everybody costs against waiting for nobody: N H(N), and N (1 + H(N)) / 2. */
static void test_ratios(void)
{
    CU_ASSERT(near(time_of(KOFN_KSYNC, &exponential, 8, 8).value /
                       time_of(KOFN_KASYNC, &exponential, 8, 1).value,
                   21.742857142857143, 1e-12));
    CU_ASSERT(
        near(time_of(KOFN_KSYNC, &shifted, 8, 8).value / time_of(KOFN_KASYNC, &shifted, 8, 1).value,
             14.871428571428571, 1e-12));
    CU_ASSERT(near(time_of(KOFN_KASYNC, &exponential, 8, 4).value /
                       time_of(KOFN_KBATCH_ASYNC, &exponential, 8, 4).value,
                   1.269047619047619, 1e-12));
}

/* K mini-batches from anyone, each with a least time: values from the convolution of counts, with
 * 25 digits. */
static void test_kbatch_sync_quadrature(void)
{
    static const struct kofn_distribution half = SHIFTED_EXP(0.5, 0.5), none = SHIFTED_EXP(0, 1);
    struct kofn_prediction time;

    NEEDS_GSL();
    time = time_of(KOFN_KBATCH_SYNC, &shifted, 8, 4);
    CU_ASSERT(near(time.value, 1.6312348590557, 1e-8));
    CU_ASSERT_EQUAL(time.method, KOFN_METHOD_QUADRATURE);
    CU_ASSERT(near(time_of(KOFN_KBATCH_SYNC, &half, 3, 7).value, 2.5844949441856, 1e-8));
    /* no shift: the exponential's K/N */
    CU_ASSERT(near(time_of(KOFN_KBATCH_SYNC, &none, 7, 3).value, 3.0 / 7, 1e-8));
    CU_ASSERT(near(time_of(KOFN_KBATCH_SYNC, &none, 7, 300).value, 300.0 / 7, 1e-8));
}

/* Never later than K distinct workers, never sooner than nobody waiting; later for every further
 * mini-batch. */
static void test_kbatch_sync_between_its_neighbours(void)
{
    double before = 0;

    NEEDS_GSL();
    for (uint32_t k = 1; k <= 8; k++) {
        double time = time_of(KOFN_KBATCH_SYNC, &shifted, 8, k).value;

        CU_ASSERT(time <= time_of(KOFN_KSYNC, &shifted, 8, k).value * (1 + 1e-9));
        CU_ASSERT(time >= time_of(KOFN_KBATCH_ASYNC, &shifted, 8, k).value);
        CU_ASSERT(time > before);
        before = time;
    }
}

static void test_kbatch_sync_many_workers(void)
{
    static const struct kofn_distribution none = SHIFTED_EXP(0, 1);
    static const uint32_t wait_for[] = {2, 100, 5000, 10000};

    NEEDS_GSL();
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(wait_for); i++) {
        double start = cpu_ms();
        struct kofn_prediction time = time_of(KOFN_KBATCH_SYNC, &shifted, 10000, wait_for[i]);

        CU_ASSERT(cpu_ms() - start < QUICK_MS);
        CU_ASSERT(time.value > 1 && time.error < 1e-8 * time.value);
        CU_ASSERT(near(time_of(KOFN_KBATCH_SYNC, &none, 10000, wait_for[i]).value,
                       wait_for[i] / 10000.0, 1e-8));
    }
}

/* Where the papers know no more than a bound, or nothing, it is said so. */
static void test_not_known(void)
{
    struct kofn_prediction time = time_of(KOFN_KASYNC, &shifted, 8, 4);

    CU_ASSERT(time.upper_bound);
    CU_ASSERT(near(time.value, 1.6345238095238095, 1e-12));
    CU_ASSERT(time_of(KOFN_KASYNC, &uniform, 8, 4).upper_bound);
    /* all wait for all: that is K-sync */
    CU_ASSERT(!time_of(KOFN_KASYNC, &shifted, 8, 8).upper_bound);
    CU_ASSERT_EQUAL(time_of(KOFN_KASYNC, &pareto, 8, 4).method, KOFN_METHOD_NONE);
    CU_ASSERT(isnan(time_of(KOFN_KASYNC, &pareto, 8, 4).value));
    CU_ASSERT_EQUAL(time_of(KOFN_KBATCH_SYNC, &pareto, 8, 4).method, KOFN_METHOD_NONE);
}

static void test_infinite_times(void)
{
    static const struct kofn_distribution heavy = PARETO(1, 1);

    CU_ASSERT(isinf(time_of(KOFN_KSYNC, &heavy, 8, 8).value));
    CU_ASSERT(isfinite(time_of(KOFN_KSYNC, &heavy, 8, 7).value));
    CU_ASSERT(isinf(time_of(KOFN_KASYNC, &heavy, 8, 1).value));
    CU_ASSERT(isinf(time_of(KOFN_KBATCH_ASYNC, &heavy, 8, 4).value));
}

static void test_staleness(void)
{
    CU_ASSERT_EQUAL(staleness_of(KOFN_KSYNC, 8, 4), 0);
    CU_ASSERT_EQUAL(staleness_of(KOFN_KBATCH_SYNC, 8, 40), 0);
    CU_ASSERT_EQUAL(staleness_of(KOFN_KASYNC, 8, 1), 7);
    CU_ASSERT_EQUAL(staleness_of(KOFN_KASYNC, 8, 4), 1);
    CU_ASSERT_EQUAL(staleness_of(KOFN_KASYNC, 8, 8), 0);
    CU_ASSERT_EQUAL(staleness_of(KOFN_KBATCH_ASYNC, 8, 1), 7);
    CU_ASSERT_EQUAL(staleness_of(KOFN_KBATCH_ASYNC, 8, 4), 1.75);
}

static void test_bad_arguments(void)
{
    static const struct kofn_distribution bad = EXP(0);
    struct kofn_prediction out = {.value = 17};

    CU_ASSERT_EQUAL(kofn_ksync_time(KOFN_KSYNC, &bad, 8, 4, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_time(KOFN_KSYNC, NULL, 8, 4, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_time(KOFN_KSYNC, &exponential, 8, 9, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_time(KOFN_KASYNC, &exponential, 8, 9, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_time(KOFN_KBATCH_SYNC, &exponential, 0, 1, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_time(KOFN_KBATCH_ASYNC, &exponential, 8, 0, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_time((enum kofn_ksync_scheme)9, &exponential, 8, 4, &out),
                    KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_staleness(KOFN_KASYNC, 8, 9, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_ksync_staleness(KOFN_KBATCH_ASYNC, 8, 0, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(out.value, 17);
}

void kofn_suite_theory_ksync(void)
{
    CU_pSuite suite = CU_add_suite("theory_ksync", NULL, NULL);

    CU_add_test(suite, "known times", test_known_times);
    CU_add_test(suite, "ratios", test_ratios);
    CU_add_test(suite, "K-batch-sync by quadrature", test_kbatch_sync_quadrature);
    CU_add_test(suite, "K-batch-sync between its neighbours",
                test_kbatch_sync_between_its_neighbours);
    CU_add_test(suite, "K-batch-sync of many workers", test_kbatch_sync_many_workers);
    CU_add_test(suite, "not known", test_not_known);
    CU_add_test(suite, "infinite times", test_infinite_times);
    CU_add_test(suite, "staleness", test_staleness);
    CU_add_test(suite, "bad arguments", test_bad_arguments);
}
