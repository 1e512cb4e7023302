/* Weights: what each member and each late update is worth in a merge. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>

#include "base/random.h"
#include "tests/unit/round_fixture.h"

/* On-time members of uniform weight share 1 equally, however much each has done. */
static void test_uniform_weights_share_one(void)
{
    for (uint32_t members = 1; members <= FIXTURE_WORKERS; members++) {
        struct kofn_round_config config = fixture_config("stsyn", FIXTURE_WORKERS, members, 2);
        struct fixture fixture;
        double sum = 0;

        fixture_open(&fixture, &config);
        for (uint32_t rank = 0; rank < members; rank++)
            fixture_publish(&fixture, rank, 1, 0, 2 + rank);
        CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
        for (uint32_t rank = 0; rank < members; rank++) {
            CU_ASSERT_DOUBLE_EQUAL(kofn_round_weight(&fixture.round, rank), 1.0 / members, 1e-15);
            sum += kofn_round_weight(&fixture.round, rank);
        }
        CU_ASSERT_DOUBLE_EQUAL(sum, 1, 1e-12);
        fixture_close(&fixture);
    }
}

/* A late update of staleness s is worth 1/(1+s)^W of an equal share; its worker counts among the
 * merged ones unless it is there on time anyway.
 */
static void test_late_updates_are_worth_less(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 1, 2);
    struct fixture fixture;

    config.staleness_weight = 0.5;
    fixture_open(&fixture, &config);
    for (int i = 0; i < 3; i++) {
        fixture_publish(&fixture, 0, fixture.round.number, 0, 2);
        fixture_next(&fixture);
    }
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 1), KOFN_VERDICT_LATE);
    CU_ASSERT_EQUAL(fixture.round.age, 3);
    CU_ASSERT_DOUBLE_EQUAL(fixture.round.factor, 0.5, 1e-7);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 2, 4, 0, 1), KOFN_VERDICT_HOLD);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_weight(&fixture.round, 2), 0.5, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_late_scale(&fixture.round), 0.5, 1e-15);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 4, 0, 1), KOFN_VERDICT_HOLD);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_weight(&fixture.round, 2), 0.5, 1e-15);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 0, 4, 0, 2), KOFN_VERDICT_HOLD);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_late_scale(&fixture.round), 1.0 / 3, 1e-15);
    fixture_close(&fixture);
}

/* A round that merges nobody has no weights to speak of, and divides by nothing. */
static void test_an_empty_round_has_no_weight(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 2, 2, 1);
    struct fixture fixture;

    for (int weights = KOFN_WEIGHTS_UNIFORM; weights <= KOFN_WEIGHTS_FEDNOVA; weights++) {
        config.weights = (enum kofn_weights)weights;
        fixture_open(&fixture, &config);
        CU_ASSERT_EQUAL(kofn_round_late_scale(&fixture.round), 0);
        kofn_round_stop(&fixture.round, fixture.now);
        CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
        CU_ASSERT_EQUAL(kofn_round_late_scale(&fixture.round), 0);
        fixture_close(&fixture);
    }
}

/* A refused member leaves its share to the others. */
static void test_a_refused_member_has_no_share(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    for (uint32_t rank = 0; rank < 3; rank++)
        fixture_publish(&fixture, rank, 1, 0, 1);
    kofn_round_reject(&fixture.round, 1);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_weight(&fixture.round, 0), 0.5, 1e-15);
    kofn_round_reject(&fixture.round, 1);
    CU_ASSERT_EQUAL(fixture.round.holding, 2);
    CU_ASSERT_EQUAL(fixture.round.refused, 1);
    CU_ASSERT_EQUAL(fixture.round.members[1].refused, 1);
    fixture_close(&fixture);
}

/* The model at which rounds of tau_m steps of gradient descent on (x - b_m)^2 / 2 stand still. */
static double fixed_point(enum kofn_weights weights)
{
    static const uint32_t tau[] = {1, 3, 10};
    static const double b[] = {0, 1, 4};
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 1);
    struct fixture fixture;
    double x = 0;

    config.weights = weights;
    fixture_open(&fixture, &config);
    for (int i = 0; i < 2000; i++) {
        double change = 0;

        for (uint32_t rank = 0; rank < 3; rank++)
            fixture_publish(&fixture, rank, fixture.round.number, 0, tau[rank]);
        for (uint32_t rank = 0; rank < 3; rank++) {
            double y = x;

            for (uint32_t step = 0; step < tau[rank]; step++)
                y -= 0.1 * (y - b[rank]);
            change += kofn_round_weight(&fixture.round, rank) * (y - x);
        }
        x += change;
        fixture_next(&fixture);
    }
    fixture_close(&fixture);
    return x;
}

/* Plain averaging of unequal numbers of local updates is biased, and by exactly so much. */
static void test_uniform_fixed_point(void)
{
    CU_ASSERT_DOUBLE_EQUAL(fixed_point(KOFN_WEIGHTS_UNIFORM), 2.81348, 5e-6);
}

/* FedNova's normalisation has another fixed point, nearer to the optimum of 5/3. */
static void test_fednova_fixed_point(void)
{
    CU_ASSERT_DOUBLE_EQUAL(fixed_point(KOFN_WEIGHTS_FEDNOVA), 1.37342, 5e-6);
}

/* Under FedNova a late update weighs per local update it carries, as one on time does. */
static void test_fednova_of_late_updates(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 2, 1, 4);
    struct fixture fixture;

    config.weights = KOFN_WEIGHTS_FEDNOVA;
    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 4);
    fixture_next(&fixture);
    fixture_publish(&fixture, 1, 1, 0, 2);
    fixture_publish(&fixture, 0, 2, 0, 6);
    CU_ASSERT_DOUBLE_EQUAL(fixture.round.factor, 0.5, 1e-7);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_late_scale(&fixture.round), 6.0 / 2, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_weight(&fixture.round, 0), 6.0 / 2 / 6, 1e-12);
    fixture_close(&fixture);
}

void kofn_suite_merge(void)
{
    CU_pSuite suite = CU_add_suite("merge", NULL, NULL);

    CU_add_test(suite, "uniform weights share one", test_uniform_weights_share_one);
    CU_add_test(suite, "late updates are worth less", test_late_updates_are_worth_less);
    CU_add_test(suite, "an empty round has no weight", test_an_empty_round_has_no_weight);
    CU_add_test(suite, "a refused member has no share", test_a_refused_member_has_no_share);
    CU_add_test(suite, "uniform fixed point", test_uniform_fixed_point);
    CU_add_test(suite, "FedNova fixed point", test_fednova_fixed_point);
    CU_add_test(suite, "FedNova of late updates", test_fednova_of_late_updates);
}
