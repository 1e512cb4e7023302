/* The rounds of the K-sync family: exactly K are merged, whatever cannot be is off K, and a round
 * always closes.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "round/account.h"
#include "tests/unit/round_fixture.h"

/* The next publication of @rank, of @round, cannot be used. */
static enum kofn_verdict refuse(struct fixture *fixture, uint32_t rank, uint32_t round,
                                uint32_t from)
{
    struct kofn_stamp stamp = fixture_stamp(fixture, rank, round, from, from + 1);

    return kofn_round_refuse(&fixture->round, rank, &stamp, fixture->now);
}

/* Mini-batches count by themselves, whoever they are of; no more may be taken in than are missing,
 * and the round closes with the K-th.
 */
static void test_mini_batches_count(void)
{
    struct kofn_round_config config = fixture_config("kbatch-sync", 3, 5, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    CU_ASSERT_EQUAL(kofn_round_room(&fixture.round), 5);
    for (uint32_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(fixture_publish(&fixture, 0, 1, i, i + 1), KOFN_VERDICT_ADD);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    CU_ASSERT_EQUAL(kofn_round_room(&fixture.round), 1);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 1), KOFN_VERDICT_ADD);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    CU_ASSERT_EQUAL(kofn_round_room(&fixture.round), 0);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_late_scale(&fixture.round), 0.2, 1e-15);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture.round.members[0].merged, 4);
    CU_ASSERT_EQUAL(fixture.round.members[1].merged, 1);
    fixture_close(&fixture);
}

/* A mini-batch that cannot be used is missing from the K, and its worker can bring others. */
static void test_spoilt_mini_batches(void)
{
    struct kofn_round_config config = fixture_config("kbatch-sync", 2, 3, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    CU_ASSERT_EQUAL(refuse(&fixture, 0, 1, 0), KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 2);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 0, 1, 1, 2), KOFN_VERDICT_ADD);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 1), KOFN_VERDICT_ADD);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_late_scale(&fixture.round), 0.5, 1e-15);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3);
    CU_ASSERT_EQUAL(fixture.round.members[0].merged, 1);
    CU_ASSERT_EQUAL(fixture.round.members[0].refused, 1);
    fixture_close(&fixture);
}

/* Where nothing can count any more, because all of it was refused, the round closes without. */
static void test_all_is_spoilt(void)
{
    static const char *const names[] = {"ksync", "kasync", "kbatch-sync", "kbatch-async", "stsyn"};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        struct kofn_round_config config = fixture_config(names[i], 3, 2, 1);
        uint32_t needed = kofn_algorithm_adds(config.algorithm) ? 2 : 3;
        struct fixture fixture;

        fixture_open(&fixture, &config);
        for (uint32_t rank = 0; rank < needed; rank++) {
            CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
            refuse(&fixture, rank, 1, 0);
        }
        CU_ASSERT_EQUAL(fixture.round.merging, 0);
        fixture_next(&fixture);
        CU_ASSERT_EQUAL(fixture.round.wait_for, 2);
        CU_ASSERT_EQUAL(fixture.round.merged, 0);
        fixture_close(&fixture);
    }
}

/* A stale gradient that cannot be used does not keep its worker from bringing a fresh one to the
 * same round; a fresh one does.
 */
static void test_stale_and_spoilt(void)
{
    struct kofn_round_config config = fixture_config("kasync", 3, 2, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    fixture_publish(&fixture, 1, 1, 0, 1);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(refuse(&fixture, 2, 1, 0), KOFN_VERDICT_REFUSED);
    CU_ASSERT(!fixture.round.members[2].barred);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 2, 2, 0, 1), KOFN_VERDICT_HOLD);
    CU_ASSERT_EQUAL(refuse(&fixture, 0, 2, 0), KOFN_VERDICT_REFUSED);
    CU_ASSERT(fixture.round.members[0].barred);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 2);
    CU_ASSERT_EQUAL(refuse(&fixture, 1, 2, 0), KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 1);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture.round.members[2].merged, 1);
    fixture_close(&fixture);
}

/* When the last worker is gone, what was added is merged. */
static void test_the_last_one_leaves(void)
{
    struct kofn_round_config config = fixture_config("kbatch-async", 2, 6, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    kofn_round_leave(&fixture.round, 0, false, 0, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 6);
    fixture_publish(&fixture, 1, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    kofn_round_leave(&fixture.round, 1, false, 0, fixture.now);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_late_scale(&fixture.round), 0.5, 1e-15);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture.round.members[0].merged + fixture.round.members[1].merged, 2);
    fixture_close(&fixture);
}

/* A deadline merges what was added, and its quorum are distinct workers. */
static void test_deadline(void)
{
    struct kofn_round_config config = fixture_config("kbatch-async", 3, 20, 1);
    struct fixture fixture;

    config.deadline = 20 * KOFN_NS_PER_MS;
    config.quorum = 2;
    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    fixture_publish(&fixture, 0, 1, 1, 2);
    fixture_wait(&fixture, 21);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_publish(&fixture, 1, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture.round.close, KOFN_CLOSE_DEADLINE);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_late_scale(&fixture.round), 1.0 / 3, 1e-15);
    fixture_next(&fixture);
    fixture_close(&fixture);
}

/* Behind the K, what is taken in because its worker leaves: cancelled where a round cancels, else
 * merged with the others, for nobody could send it again.
 */
static void test_behind_the_k(void)
{
    struct kofn_round_config config = fixture_config("ksync", 3, 1, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 1), KOFN_VERDICT_REFUSED);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 2, 1, 0, 1), KOFN_VERDICT_REFUSED);
    fixture_close(&fixture);
    config.algorithm = &kofn_kasync;
    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 1), KOFN_VERDICT_HOLD);
    CU_ASSERT_DOUBLE_EQUAL(kofn_round_weight(&fixture.round, 1), 0.5, 1e-15);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 2, 1, 0, 1), KOFN_VERDICT_HOLD);
    fixture_close(&fixture);
}

/* Weights are 1/K whatever the staleness; with W they fall with it, added up or held. */
static void test_weights_of_stale_ones(void)
{
    struct kofn_round_config config = fixture_config("kasync", 2, 1, 1);
    struct fixture fixture;

    for (int weighted = 0; weighted < 2; weighted++) {
        config.staleness_weight = weighted;
        config.algorithm = &kofn_kasync;
        fixture_open(&fixture, &config);
        fixture_publish(&fixture, 0, 1, 0, 1);
        fixture_next(&fixture);
        fixture_publish(&fixture, 1, 1, 0, 1);
        CU_ASSERT_DOUBLE_EQUAL(kofn_round_weight(&fixture.round, 1), weighted ? 0.5 : 1, 1e-15);
        fixture_next(&fixture);
        CU_ASSERT_EQUAL(fixture.round.members[1].merged, 1);
        fixture_close(&fixture);
        config.algorithm = &kofn_kbatch_async;
        fixture_open(&fixture, &config);
        fixture_publish(&fixture, 0, 1, 0, 1);
        fixture_next(&fixture);
        fixture_publish(&fixture, 1, 1, 0, 1);
        CU_ASSERT_EQUAL(fixture.round.age, 1);
        CU_ASSERT_EQUAL(fixture.round.factor, weighted ? 0.5f : 1);
        fixture_close(&fixture);
    }
}

static struct kofn_member_report account_of(const struct fixture *fixture, uint32_t rank)
{
    const struct kofn_usual usual = kofn_round_usual(&fixture->round);
    struct kofn_member_report report;

    kofn_round_member(&fixture->round, rank, fixture->now, &usual, &report);
    return report;
}

/* Of four workers of flanp one is the first of its round each time. What the others had done by
 * then is refused, of the open round it is on its way, and of one that dies in it, it is lost; who
 * leaves in order drops it.
 */
static void test_cancelled_updates(void)
{
    struct kofn_round_config config = fixture_config("flanp", 4, 1, 3);
    struct fixture fixture;

    config.small_move = 1;
    fixture_open(&fixture, &config);
    for (uint32_t round = 1; round <= 2; round++) {
        for (uint32_t rank = 1; rank < 4; rank++)
            fixture_beat(&fixture, rank, round, 2);
        CU_ASSERT_EQUAL(account_of(&fixture, 1).refused, 2 * (round - 1));
        CU_ASSERT_EQUAL(fixture_publish(&fixture, 0, round, 0, 3), KOFN_VERDICT_HOLD);
        fixture_next(&fixture);
        CU_ASSERT_EQUAL(account_of(&fixture, 1).refused, 2 * round);
    }
    for (uint32_t rank = 1; rank < 4; rank++)
        fixture_beat(&fixture, rank, 3, 1);
    kofn_round_leave(&fixture.round, 2, false, 0, fixture.now);
    kofn_round_leave(&fixture.round, 3, true, 6, fixture.now);
    CU_ASSERT_EQUAL(account_of(&fixture, 0).merged, 6);
    CU_ASSERT_EQUAL(account_of(&fixture, 0).refused, 0);
    CU_ASSERT_EQUAL(account_of(&fixture, 1).refused, 4);
    CU_ASSERT_EQUAL(account_of(&fixture, 1).lost, 0);
    CU_ASSERT_EQUAL(account_of(&fixture, 2).refused, 4);
    CU_ASSERT_EQUAL(account_of(&fixture, 2).lost, 1);
    CU_ASSERT_EQUAL(account_of(&fixture, 3).refused, 6); /* it said that it had done one more */
    CU_ASSERT_EQUAL(account_of(&fixture, 3).lost, 0);
    kofn_round_join(&fixture.round, 2, 2, fixture.now);
    CU_ASSERT_EQUAL(account_of(&fixture, 2).refused, 4);
    CU_ASSERT_EQUAL(account_of(&fixture, 2).lost, 1);
    kofn_round_stop(&fixture.round, fixture.now);
    kofn_round_settle(&fixture.round);
    kofn_round_end(&fixture.round);
    CU_ASSERT_EQUAL(account_of(&fixture, 1).refused, 5);
    kofn_round_write_off(&fixture.round, 1); /* it does not answer any more */
    CU_ASSERT_EQUAL(account_of(&fixture, 1).refused, 4);
    CU_ASSERT_EQUAL(account_of(&fixture, 1).lost, 1);
    for (uint32_t rank = 0; rank < 4; rank++) {
        const struct kofn_member_report report = account_of(&fixture, rank);

        CU_ASSERT_EQUAL(report.finished,
                        report.merged + report.late + report.refused + report.lost);
    }
    fixture_close(&fixture);
}

void kofn_suite_round_ksync(void)
{
    CU_pSuite suite = CU_add_suite("round_ksync", NULL, NULL);

    CU_add_test(suite, "mini-batches count", test_mini_batches_count);
    CU_add_test(suite, "spoilt mini-batches", test_spoilt_mini_batches);
    CU_add_test(suite, "all is spoilt", test_all_is_spoilt);
    CU_add_test(suite, "stale and spoilt", test_stale_and_spoilt);
    CU_add_test(suite, "the last one leaves", test_the_last_one_leaves);
    CU_add_test(suite, "a deadline", test_deadline);
    CU_add_test(suite, "behind the K", test_behind_the_k);
    CU_add_test(suite, "weights of stale ones", test_weights_of_stale_ones);
    CU_add_test(suite, "cancelled updates", test_cancelled_updates);
}
