/* AdaSync: its two formulas, the loss it runs on, and what its rounds do with the K it chooses. */
#include "algorithms/adasync.h"

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>

#include "tests/unit/round_fixture.h"

/* Rows C1 and C2; and the root against its equation. */
static void test_formulas(void)
{
    static const struct {
        enum kofn_growth growth;
        uint32_t first;
        double loss, exact;
        uint32_t rounded;
    } cases[] = {
        {KOFN_GROWTH_LINEAR, 1, 2.3, 1, 1},
        {KOFN_GROWTH_LINEAR, 1, 1, 1.51658, 2},
        {KOFN_GROWTH_LINEAR, 1, 0.1, 4.79583, 5},
        {KOFN_GROWTH_LOG, 2, 2.3, 2, 2},
        {KOFN_GROWTH_LOG, 2, 1, 2.81864, 3},
        {KOFN_GROWTH_LOG, 2, 0.1, 5.80346, 6},
        {KOFN_GROWTH_LINEAR, 1, 1e-9, 8, 8},
        {KOFN_GROWTH_LINEAR, 1, 0, 8, 8},
        {KOFN_GROWTH_LOG, 2, 0, 8, 8},
        {KOFN_GROWTH_LOG, 8, 2.3, 8, 8},
        {KOFN_GROWTH_LINEAR, 2, 2.3e6, 0.002, 1},
    };
    double exact, q;
    uint32_t k;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(kofn_adasync_wait_for(cases[i].growth, 8, cases[i].first, 2.3,
                                              cases[i].loss, &exact, &k),
                        0);
        CU_ASSERT_DOUBLE_EQUAL(exact, cases[i].exact, 5e-6);
        CU_ASSERT_EQUAL(k, cases[i].rounded);
    }
    for (double loss = 10; loss > 1e-12; loss /= 3) {
        CU_ASSERT_EQUAL(kofn_adasync_wait_for(KOFN_GROWTH_LOG, 10000, 2, 2.3, loss, &exact, &k), 0);
        q = 4.0 / 9998 * 2.3 / loss;
        CU_ASSERT(fabs(exact * exact - q * (10000 - exact)) <= 1e-9 * exact * exact ||
                  exact > 9999.9);
    }
    CU_ASSERT_EQUAL(kofn_adasync_wait_for(KOFN_GROWTH_LINEAR, 8, 1, 2.3, 1, NULL, &k), 0);
}

/* Rows C1 and C2, from where they come: K is where the bound on the error, F E[T(K)] + c / K, is
 * least, with the c that makes the first K so at the first loss. E[T(K)] grows like K where workers
 * are not waited for, like log(N / (N - K)) where they are.
 */
static void test_formulas_are_minima(void)
{
    static const struct {
        enum kofn_growth growth;
        uint32_t first;
        double loss;
    } cases[] = {{KOFN_GROWTH_LINEAR, 1, 2.3}, {KOFN_GROWTH_LINEAR, 1, 1},
                 {KOFN_GROWTH_LINEAR, 1, 0.1}, {KOFN_GROWTH_LOG, 2, 2.3},
                 {KOFN_GROWTH_LOG, 2, 1},      {KOFN_GROWTH_LOG, 2, 0.1}};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        bool linear = cases[i].growth == KOFN_GROWTH_LINEAR;
        double first = cases[i].first, c = 2.3 * first * first / (linear ? 1 : 8 - first);
        double exact, least = INFINITY, best = 0;
        uint32_t k;

        CU_ASSERT_EQUAL(kofn_adasync_wait_for(cases[i].growth, 8, cases[i].first, 2.3,
                                              cases[i].loss, &exact, &k),
                        0);
        for (double at = 0.001; at < 8; at += 0.001) {
            double bound = cases[i].loss * (linear ? at : log(8 / (8 - at))) + c / at;

            if (bound < least) {
                least = bound;
                best = at;
            }
        }
        CU_ASSERT_DOUBLE_EQUAL(exact, best, 0.002);
    }
}

static void test_bad_arguments(void)
{
    uint32_t k = 99;

    CU_ASSERT_EQUAL(kofn_adasync_wait_for(KOFN_GROWTH_LINEAR, 8, 0, 2, 1, NULL, &k), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_adasync_wait_for(KOFN_GROWTH_LOG, 8, 9, 2, 1, NULL, &k), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_adasync_wait_for(KOFN_GROWTH_LINEAR, 8, 1, 0, 1, NULL, &k), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_adasync_wait_for(KOFN_GROWTH_LINEAR, 8, 1, 2, -1, NULL, &k), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_adasync_wait_for(KOFN_GROWTH_LOG, 8, 1, 2, NAN, NULL, &k), KOFN_INVALID);
    CU_ASSERT_EQUAL(k, 99);
}

/* The first loss is the mean over the first N updates; the running one forgets; what is no number
 * says nothing.
 */
static void test_running_loss(void)
{
    struct kofn_pursuit pursuit;

    kofn_pursuit_init(&pursuit);
    CU_ASSERT(!kofn_pursuit_due(&pursuit, 0, 5));
    kofn_pursuit_add(&pursuit, 4, 3, 3);
    kofn_pursuit_add(&pursuit, 4, NAN, 10);
    kofn_pursuit_add(&pursuit, 4, INFINITY, 10);
    kofn_pursuit_add(&pursuit, 4, 7, 0);
    CU_ASSERT(isnan(pursuit.loss));
    kofn_pursuit_add(&pursuit, 4, 1, 1);
    CU_ASSERT_DOUBLE_EQUAL(pursuit.first_loss, 2.5, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(pursuit.loss, 2.5, 0.1);
    for (int i = 0; i < 1000; i++)
        kofn_pursuit_add(&pursuit, 4, 0.25, 1);
    CU_ASSERT_DOUBLE_EQUAL(pursuit.first_loss, 2.5, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(pursuit.loss, 0.25, 1e-9);
    CU_ASSERT(kofn_pursuit_due(&pursuit, 10, 10));
    CU_ASSERT(!kofn_pursuit_due(&pursuit, 10, 19));
    CU_ASSERT(kofn_pursuit_due(&pursuit, 10, 20));
}

/* One round in which every worker's gradients, as many as it takes, have @loss. Returns the K by
 * which it was judged.
 */
static uint32_t play(struct fixture *fixture, float loss)
{
    struct kofn_round *round = &fixture->round;
    uint32_t number = round->number, k = round->wait_for, added = 0;

    for (uint32_t rank = 0; round->phase == KOFN_PHASE_OPEN; rank = (rank + 1) % 8) {
        uint32_t from =
            round->members[rank].settled_round == number ? round->members[rank].settled_updates : 0;
        struct kofn_stamp stamp = fixture_stamp(fixture, rank, number, from, from + 1);

        stamp.loss = loss;
        CU_ASSERT_EQUAL(round->asked, k);
        kofn_round_arrive(round, rank, &stamp, fixture->now);
        added++;
    }
    CU_ASSERT_EQUAL(added, k);
    fixture_wait(fixture, 1);
    fixture_next(fixture);
    return k;
}

/* Over each of the four: K begins as asked, grows as the loss falls, does not fall when that rises,
 * ends at N, and every round is judged by the one it opened with.
 */
static void test_growth(void)
{
    static const char *const names[] = {"ksync", "kbatch-sync", "kasync", "kbatch-async"};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        struct kofn_round_config config = fixture_config("adasync", 8, 2, 1);
        uint32_t before = 2, k = 0;
        struct fixture fixture;

        config.algorithm = kofn_algorithm_over(config.algorithm, names[i]);
        CU_ASSERT_STRING_EQUAL_FATAL(config.algorithm->over, names[i]);
        CU_ASSERT_STRING_EQUAL(config.algorithm->name, "adasync");
        fixture_open(&fixture, &config);
        for (int j = 0; j < 10; j++)
            CU_ASSERT_EQUAL(play(&fixture, 2), 2);
        for (int j = 0; j < 200; j++, before = k) {
            k = play(&fixture, 0.5f);
            CU_ASSERT(k >= before);
        }
        CU_ASSERT_EQUAL(k, i == 0 ? 3 : 4); /* the root of K^2/(8 - K) = 4/6 * 4, 3.47; 2 sqrt(4) */
        for (int j = 0; j < 50; j++)
            CU_ASSERT_EQUAL(play(&fixture, 5), k);
        for (int j = 0; j < 400; j++)
            k = play(&fixture, 1e-6f);
        CU_ASSERT_EQUAL(k, 8);
        fixture_close(&fixture);
    }
}

/* K is thought over once an interval; and never where no loss is told. */
static void test_interval(void)
{
    struct kofn_round_config config = fixture_config("adasync", 8, 1, 1);
    struct fixture fixture;

    config.adapt_every = 30 * KOFN_NS_PER_MS;
    fixture_open(&fixture, &config);
    for (int i = 0; i < 9; i++) /* of 1 ms each */
        CU_ASSERT_EQUAL(play(&fixture, 4), 1);
    for (int i = 0; i < 21; i++)
        CU_ASSERT_EQUAL(play(&fixture, 1e-3f), 1);
    CU_ASSERT(play(&fixture, 1e-3f) > 1);
    fixture_close(&fixture);
    config.adapt_every = 0;
    fixture_open(&fixture, &config);
    for (int i = 0; i < 50; i++)
        CU_ASSERT_EQUAL(play(&fixture, NAN), 1);
    fixture_close(&fixture);
}

/* Only adasync is over another one, and only over those four. */
static void test_over(void)
{
    CU_ASSERT_PTR_EQUAL(kofn_algorithm_over(&kofn_stsyn, NULL), &kofn_stsyn);
    CU_ASSERT_PTR_EQUAL(kofn_algorithm_over(&kofn_adasync, ""), &kofn_adasync);
    CU_ASSERT_PTR_EQUAL(kofn_algorithm_over(&kofn_adasync, "kasync"), &kofn_adasync);
    CU_ASSERT_PTR_NULL(kofn_algorithm_over(&kofn_stsyn, "kasync"));
    CU_ASSERT_PTR_NULL(kofn_algorithm_over(&kofn_adasync, "stsyn"));
    CU_ASSERT_PTR_NULL(kofn_algorithm_over(NULL, "kasync"));
}

void kofn_suite_adasync(void)
{
    CU_pSuite suite = CU_add_suite("adasync", NULL, NULL);

    CU_add_test(suite, "formulas: C1 and C2", test_formulas);
    CU_add_test(suite, "formulas are minima: C1 and C2", test_formulas_are_minima);
    CU_add_test(suite, "bad arguments", test_bad_arguments);
    CU_add_test(suite, "the running loss", test_running_loss);
    CU_add_test(suite, "K grows over all four", test_growth);
    CU_add_test(suite, "interval", test_interval);
    CU_add_test(suite, "over", test_over);
}
