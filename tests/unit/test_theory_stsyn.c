/* Rounds of STSyn: their time, the updates and the uploads in them. */
#include "tests/unit/theory_fixture.h"

#include "base/random.h"
#include "theory/order.h"
#include "theory/stsyn.h"

/* All three of a model; a call that fails gives -1. */
struct means {
    struct kofn_prediction time, updates, uploads;
};

static struct means means_of(const struct kofn_stsyn_model *model)
{
    struct means means = {{.value = -1}, {.value = -1}, {.value = -1}};

    CU_ASSERT_EQUAL(kofn_stsyn_time(model, &means.time), 0);
    CU_ASSERT_EQUAL(kofn_stsyn_updates(model, &means.updates), 0);
    CU_ASSERT_EQUAL(kofn_stsyn_uploads(model, &means.uploads), 0);
    return means;
}

/* Values computed independently, by conditioning on the K-th time and with 25 digits. */
static void test_known_values(void)
{
    static const struct kofn_distribution exponential = EXP(1), half = SHIFTED_EXP(0.5, 1),
                                          quarter = SHIFTED_EXP(0.25, 0.5);
    static const struct {
        const struct kofn_distribution *update;
        uint32_t n, k, u;
        double time, updates, uploads;
    } cases[] = {
        {&exponential, 4, 3, 3, 3.3080812305089, 3.3080812305089, 3.8786711516204},
        {&exponential, 20, 5, 10, 7.5677330673526, 7.5677330673526, 19.987067933106},
        {&exponential, 20, 10, 10, 9.5032153961443, 9.5032153961443, 19.998217671815},
        {&exponential, 20, 20, 10, 16.776050009975, 16.776050009975, 20},
        {&exponential, 20, 1, 10, 5.0491332530987, 5.0491332530987, 19.793923790194},
        {&exponential, 8, 4, 1, 0.63452380952381, 0.63452380952381, 4},
        {&half, 4, 3, 3, 4.8080812305089, 3.0009917121037, 3.9553656110601},
        {&quarter, 8, 5, 4, 3.0164541846657, 3.7802020310444, 7.9678831428123},
        {&quarter, 8, 8, 4, 4.6157341767716, 5.9149597616768, 8},
        {&quarter, 8, 1, 4, 1.8409395461588, 2.20471117704, 7.6239499830929},
    };

    NEEDS_GSL();
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct means means = means_of(&(struct kofn_stsyn_model){.update = cases[i].update,
                                                                 .workers = cases[i].n,
                                                                 .wait_for = cases[i].k,
                                                                 .local_steps = cases[i].u});

        CU_ASSERT(near(means.time.value, cases[i].time, 1e-10));
        CU_ASSERT(near(means.updates.value, cases[i].updates, 1e-10));
        CU_ASSERT(near(means.uploads.value, cases[i].uploads, 1e-10));
        CU_ASSERT_EQUAL(means.time.method,
                        cases[i].u > 1 ? KOFN_METHOD_QUADRATURE : KOFN_METHOD_CLOSED_FORM);
        CU_ASSERT(means.time.error < 1e-8 * cases[i].time);
        CU_ASSERT(means.updates.error < 1e-8 * cases[i].updates);
        CU_ASSERT(means.uploads.error < 1e-8 * cases[i].uploads);
    }
}

/* One draw a worker and round: closed forms for exponentials, which need no GSL; fast workers
 * finish, in the mean, infinitely many updates. */
static void test_one_draw_a_round(void)
{
    static const struct kofn_distribution exponential = EXP(1), pareto = PARETO(2, 1);
    struct kofn_stsyn_model model = {
        .update = &exponential, .per_round = true, .workers = 20, .wait_for = 5, .local_steps = 10};
    struct means means = means_of(&model);

    CU_ASSERT(near(means.time.value, 2.795106639146887, 1e-12));
    CU_ASSERT(near(means.uploads.value, 18.0417, 1e-5));
    CU_ASSERT(isinf(means.updates.value));
    CU_ASSERT_EQUAL(means.uploads.method, KOFN_METHOD_CLOSED_FORM);

    /* who waits for the first alone stops it at U */
    model.wait_for = 1;
    means = means_of(&model);
    CU_ASSERT(near(means.time.value, 0.5, 1e-12));
    CU_ASSERT(means.updates.value > 0.5 && means.updates.value < 10);
    CU_ASSERT(near(means.uploads.value, 20 - 20 * 19.0 / 29, 1e-12));

    /* of a Pareto, U times is as unlikely everywhere */
    model.update = &pareto;
    CU_ASSERT_EQUAL(kofn_stsyn_uploads(&model, &means.uploads), 0);
    CU_ASSERT(near(means.uploads.value, 20 - 19 * 0.01, 1e-12));
}

static double drawn(const struct kofn_distribution *d, struct kofn_random *random)
{
    double u = kofn_random_uniform(random);

    switch (d->kind) {
    case KOFN_DISTRIBUTION_PARETO:
        return d->first * pow(1 - u, -1 / d->second);
    case KOFN_DISTRIBUTION_UNIFORM:
        return d->first + (d->second - d->first) * u;
    default:
        return d->first - d->second * log1p(-u);
    }
}

#define ROUNDS 20000

/* Plays rounds with one draw a worker; adds up updates and uploads, and the squares of each
 * round's. */
static void play(const struct kofn_stsyn_model *model, double sums[2], double squares[2])
{
    struct kofn_random random;

    kofn_random_seed(&random, 7, 0);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        double x[8], updates = 0, uploads = 0, end = INFINITY;

        for (uint32_t i = 0; i < model->workers; i++)
            x[i] = drawn(model->update, &random);
        for (uint32_t i = 0; i < model->workers; i++) {
            uint32_t rank = 0;

            for (uint32_t j = 0; j < model->workers; j++)
                rank += x[j] <= x[i];
            if (rank == model->wait_for)
                end = x[i] * model->local_steps * (1 + 1e-14);
        }
        for (uint32_t i = 0; i < model->workers; i++) {
            updates += floor(end / x[i]) / model->workers;
            uploads += x[i] <= end;
        }
        sums[0] += updates;
        sums[1] += uploads;
        squares[0] += updates * updates;
        squares[1] += uploads * uploads;
    }
}

/* Where quadrature is all there is, the game itself, played 20,000 times, agrees within 5 standard
 * errors. */
static void test_one_draw_a_round_played(void)
{
    static const struct kofn_distribution half = SHIFTED_EXP(0.5, 1), uniform = UNIFORM(0.5, 1.5),
                                          from_zero = UNIFORM(0, 1), pareto = PARETO(2, 1);
    static const struct kofn_stsyn_model models[] = {
        {&half, true, 4, 3, 3},    {&half, true, 8, 8, 4},    {&half, true, 8, 1, 4},
        {&uniform, true, 8, 4, 3}, {&uniform, true, 8, 8, 3}, {&from_zero, true, 8, 1, 3},
        {&pareto, true, 8, 4, 3},
    };

    NEEDS_GSL();
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(models); i++) {
        struct means means = means_of(&models[i]);
        const double values[] = {means.updates.value, means.uploads.value};
        double sums[2] = {0}, squares[2] = {0};

        play(&models[i], sums, squares);
        for (size_t j = 0; j < 2; j++) {
            double mean = sums[j] / ROUNDS;
            double variance = fmax(0, squares[j] / ROUNDS - mean * mean);

            CU_ASSERT(fabs(mean - values[j]) <= 5 * sqrt(variance / ROUNDS) + 1e-9);
        }
    }
}

/* An unknown cdf takes the same round time and uploads as the closed form of its law; its updates
 * nobody knows. */
static void test_unknown_cdf(void)
{
    static const struct kofn_distribution unknown = {.kind = KOFN_DISTRIBUTION_CDF, .cdf = exp_cdf};
    struct kofn_stsyn_model model = {&unknown, true, 20, 5, 10};
    struct means means;

    NEEDS_GSL();
    means = means_of(&model);
    CU_ASSERT(near(means.time.value, 2.795106639146887, 1e-9));
    CU_ASSERT(near(means.uploads.value, 18.041682455476, 1e-8));
    CU_ASSERT_EQUAL(means.updates.method, KOFN_METHOD_NONE);
    model.per_round = false;
    means = means_of(&model);
    CU_ASSERT_EQUAL(means.time.method, KOFN_METHOD_NONE);
    CU_ASSERT(isnan(means.time.value));
    CU_ASSERT_EQUAL(means.uploads.method, KOFN_METHOD_NONE);
}

/* K = N waits for everyone: the longest of N sums; all upload, and nobody has done fewer than U. U
 * = 1 uploads K. */
static void test_ends_of_the_range(void)
{
    static const struct kofn_distribution exponential = EXP(2), half = SHIFTED_EXP(0.5, 1);
    struct kofn_prediction one;
    struct means means;

    NEEDS_GSL();
    means = means_of(&(struct kofn_stsyn_model){&half, false, 6, 6, 3});
    CU_ASSERT_EQUAL(means.uploads.value, 6);
    CU_ASSERT(means.updates.value > 3);
    means = means_of(&(struct kofn_stsyn_model){&exponential, false, 9, 4, 1});
    CU_ASSERT_EQUAL(kofn_order_mean(&exponential, 9, 4, &one), 0);
    CU_ASSERT_EQUAL(means.time.value, one.value);
    CU_ASSERT_EQUAL(means.uploads.value, 4);
    /* a worker alone does U and no more */
    means = means_of(&(struct kofn_stsyn_model){&exponential, false, 1, 1, 7});
    CU_ASSERT(near(means.time.value, 14, 1e-10));
    CU_ASSERT_EQUAL(means.updates.value, 7);
    CU_ASSERT_EQUAL(means.uploads.value, 1);
}

/* Constant updates: all at the same instant, in closed form. */
static void test_constant(void)
{
    static const struct kofn_distribution constant = UNIFORM(0.25, 0.25);

    for (int per_round = 0; per_round < 2; per_round++) {
        struct means means =
            means_of(&(struct kofn_stsyn_model){&constant, per_round != 0, 8, 3, 4});

        CU_ASSERT_EQUAL(means.time.value, 1);
        CU_ASSERT_EQUAL(means.updates.value, 4);
        CU_ASSERT_EQUAL(means.uploads.value, 8);
        CU_ASSERT_EQUAL(means.time.method, KOFN_METHOD_CLOSED_FORM);
    }
}

/* Time grows with K and U, falls with N; a shift adds U times itself; the unit of time is anything;
 * a shift of nothing is none. */
static void test_invariants(void)
{
    static const struct kofn_distribution exponential = EXP(1), slower = EXP(1e9),
                                          shifted = SHIFTED_EXP(3, 1),
                                          almost = SHIFTED_EXP(1e-9, 1);

    NEEDS_GSL();
    for (uint32_t k = 1; k <= 6; k++)
        for (uint32_t u = 2; u <= 4; u++) {
            struct kofn_stsyn_model model = {&exponential, false, 6, k, u}, other = model;
            struct means means = means_of(&model), others;

            CU_ASSERT(means.uploads.value >= k && means.uploads.value <= 6);
            other.workers = 7;
            CU_ASSERT(means_of(&other).time.value < means.time.value);
            other.wait_for = k + 1;
            others = means_of(&other);
            other.wait_for = k;
            CU_ASSERT(others.time.value > means_of(&other).time.value);
            other = model;
            other.local_steps = u + 1;
            CU_ASSERT(means_of(&other).time.value > means.time.value);

            other = model;
            other.update = &slower;
            others = means_of(&other);
            CU_ASSERT(near(others.time.value, 1e9 * means.time.value, 1e-9));
            CU_ASSERT(near(others.updates.value, means.updates.value, 1e-9));
            CU_ASSERT(near(others.uploads.value, means.uploads.value, 1e-9));
            other.update = &shifted;
            CU_ASSERT(near(means_of(&other).time.value, means.time.value + 3 * u, 1e-9));
            other.update = &almost;
            others = means_of(&other);
            CU_ASSERT(near(others.updates.value, means.updates.value, 1e-7));
            CU_ASSERT(near(others.uploads.value, means.uploads.value, 1e-7));
        }
}

/* N = 10,000: numbers, small errors, and soon. */
static void test_many_workers(void)
{
    static const struct kofn_distribution laws[] = {EXP(1), SHIFTED_EXP(1, 1)};
    static const uint32_t wait_for[] = {1, 2, 5000, 9999, 10000};

    NEEDS_GSL();
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(laws); i++)
        for (size_t k = 0; k < KOFN_ARRAY_SIZE(wait_for); k++)
            for (int per_round = 0; per_round < 2; per_round++) {
                struct kofn_stsyn_model model = {&laws[i], per_round != 0, 10000, wait_for[k], 10};
                double start = cpu_ms();
                struct means means = means_of(&model);

                CU_ASSERT(cpu_ms() - start < 3 * QUICK_MS);
                CU_ASSERT(isfinite(means.time.value) && means.time.value > 0);
                CU_ASSERT(means.time.error <= 1e-8 * means.time.value);
                CU_ASSERT(means.updates.value > 0);
                CU_ASSERT(isinf(means.updates.value) ||
                          means.updates.error <= 1e-8 * means.updates.value);
                CU_ASSERT(means.uploads.value >= wait_for[k] && means.uploads.value <= 10000);
            }
}

/* A round that waits for a worker of infinite mean has none; what else has no law with a name is
 * not known. */
static void test_heavy_tails(void)
{
    static const struct kofn_distribution heavy = PARETO(1, 1), light = PARETO(3, 1);
    struct means means = means_of(&(struct kofn_stsyn_model){&heavy, false, 8, 8, 4});

    CU_ASSERT(isinf(means.time.value));
    means = means_of(&(struct kofn_stsyn_model){&light, false, 8, 8, 4});
    CU_ASSERT_EQUAL(means.time.method, KOFN_METHOD_NONE);
    CU_ASSERT_EQUAL(means.updates.method, KOFN_METHOD_NONE);
    means = means_of(&(struct kofn_stsyn_model){&heavy, true, 8, 8, 4});
    CU_ASSERT(isinf(means.time.value));
    CU_ASSERT(isinf(means.updates.value));
}

static void test_bad_arguments(void)
{
    static const struct kofn_distribution good = EXP(1), bad = EXP(-1);
    static const struct kofn_stsyn_model models[] = {
        {&bad, false, 8, 4, 2},
        {NULL, false, 8, 4, 2},
        {&good, false, 0, 0, 2},
        {&good, false, 8, 0, 2},
        {&good, false, 8, 9, 2},
        {&good, false, 8, 4, 0},
        {&good, false, 8, 4, KOFN_THEORY_COUNT_MAX + 1},
        {&good, true, KOFN_THEORY_COUNT_MAX + 1, 4, 2},
    };
    struct kofn_prediction out = {.value = 17};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(models); i++) {
        CU_ASSERT_EQUAL(kofn_stsyn_time(&models[i], &out), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_stsyn_updates(&models[i], &out), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_stsyn_uploads(&models[i], &out), KOFN_INVALID);
    }
    CU_ASSERT_EQUAL(kofn_stsyn_time(NULL, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(out.value, 17);
}

void kofn_suite_theory_stsyn(void)
{
    CU_pSuite suite = CU_add_suite("theory_stsyn", NULL, NULL);

    CU_add_test(suite, "known values", test_known_values);
    CU_add_test(suite, "one draw a round", test_one_draw_a_round);
    CU_add_test(suite, "one draw a round, played", test_one_draw_a_round_played);
    CU_add_test(suite, "unknown cdf", test_unknown_cdf);
    CU_add_test(suite, "ends of the range", test_ends_of_the_range);
    CU_add_test(suite, "constant", test_constant);
    CU_add_test(suite, "invariants", test_invariants);
    CU_add_test(suite, "many workers", test_many_workers);
    CU_add_test(suite, "heavy tails", test_heavy_tails);
    CU_add_test(suite, "bad arguments", test_bad_arguments);
}
