/* Rounds of local SGD and of Overlap Local-SGD. */
#include "tests/unit/theory_fixture.h"

#include "theory/overlap.h"

static const struct kofn_distribution exponential = EXP(1), one = UNIFORM(1, 1);

/* Constant updates: the average of the models is waited for, or hidden behind the next updates. */
static void test_constant_updates(void)
{
    static const struct {
        double reduce, overlap, local;
    } cases[] = {{0, 2, 2}, {0.5, 2, 2.5}, {3, 3, 5}};
    struct kofn_prediction time;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn_overlap_model model = {
            .update = &one, .workers = 4, .local_steps = 2, .reduce = cases[i].reduce};

        CU_ASSERT_EQUAL(kofn_overlap_time(&model, &time), 0);
        CU_ASSERT_EQUAL(time.value, cases[i].overlap);
        CU_ASSERT_EQUAL(time.method, KOFN_METHOD_CLOSED_FORM);
        CU_ASSERT(!time.upper_bound);
        CU_ASSERT_EQUAL(kofn_local_time(&model, &time), 0);
        CU_ASSERT_EQUAL(time.value, cases[i].local);
    }
}

/* Random updates: local SGD takes the longest of N sums and the average; Overlap at most that. */
static void test_random_updates(void)
{
    NEEDS_GSL();
    for (int reduce = 0; reduce <= 5; reduce++) {
        struct kofn_overlap_model model = {
            .update = &exponential, .workers = 16, .local_steps = 2, .reduce = reduce};
        struct kofn_prediction local, overlap;

        CU_ASSERT_EQUAL(kofn_local_time(&model, &local), 0);
        CU_ASSERT(near(local.value, 5.1742032522328 + reduce, 1e-10));
        CU_ASSERT_EQUAL(local.method, KOFN_METHOD_QUADRATURE);
        CU_ASSERT(!local.upper_bound);
        CU_ASSERT_EQUAL(kofn_overlap_time(&model, &overlap), 0);
        CU_ASSERT_EQUAL(overlap.value, local.value);
        CU_ASSERT(overlap.upper_bound);
    }
}

/* What is not known is no bound either; what is infinite stays so. */
static void test_not_known(void)
{
    static const struct kofn_distribution pareto = PARETO(2, 1), heavy = PARETO(1, 1);
    struct kofn_overlap_model model = {
        .update = &pareto, .workers = 16, .local_steps = 2, .reduce = 1};
    struct kofn_prediction time;

    CU_ASSERT_EQUAL(kofn_overlap_time(&model, &time), 0);
    CU_ASSERT_EQUAL(time.method, KOFN_METHOD_NONE);
    CU_ASSERT(isnan(time.value));
    CU_ASSERT(!time.upper_bound);
    model.update = &heavy;
    CU_ASSERT_EQUAL(kofn_local_time(&model, &time), 0);
    CU_ASSERT(isinf(time.value));
}

static void test_bad_arguments(void)
{
    static const struct kofn_distribution bad = EXP(-1);
    static const struct kofn_overlap_model models[] = {
        {.update = &bad, .workers = 4, .local_steps = 2},
        {.update = NULL, .workers = 4, .local_steps = 2},
        {.update = &one, .workers = 0, .local_steps = 2},
        {.update = &one, .workers = 4, .local_steps = 0},
        {.update = &one, .workers = 4, .local_steps = 2, .reduce = -1},
        {.update = &one, .workers = 4, .local_steps = 2, .reduce = NAN},
        {.update = &one, .workers = 4, .local_steps = 2, .reduce = INFINITY},
    };
    struct kofn_prediction out = {.value = 17};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(models); i++) {
        CU_ASSERT_EQUAL(kofn_local_time(&models[i], &out), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_overlap_time(&models[i], &out), KOFN_INVALID);
    }
    CU_ASSERT_EQUAL(kofn_overlap_time(NULL, &out), KOFN_INVALID);
    CU_ASSERT_EQUAL(out.value, 17);
}

void kofn_suite_theory_overlap(void)
{
    CU_pSuite suite = CU_add_suite("theory_overlap", NULL, NULL);

    CU_add_test(suite, "constant updates", test_constant_updates);
    CU_add_test(suite, "random updates", test_random_updates);
    CU_add_test(suite, "not known", test_not_known);
    CU_add_test(suite, "bad arguments", test_bad_arguments);
}
