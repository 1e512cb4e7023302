/* Who is slow, and who is not waited for: by silence, against what is known of its pace and of the
 * others.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "tests/unit/round_fixture.h"

/* @ms pass, and the clock ticks all the while. */
static void tick_for(struct fixture *fixture, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 5) {
        fixture_wait(fixture, 5);
        kofn_round_tick(&fixture->round, fixture->now);
    }
}

static uint32_t count_suspects(const struct fixture *fixture)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < fixture->round.config.workers; rank++)
        count += fixture->round.members[rank].state == KOFN_MEMBER_SUSPECT;
    return count;
}

/* Local updates that take longer than any silence may, in the first round, of which nothing is
 * known: nobody is suspect, and the round waits for all K.
 */
static void first_updates_are_long(enum kofn_publish publish)
{
    struct kofn_round_config config = fixture_config("sync", 4, 4, 1);
    struct fixture fixture;

    config.publish = publish;
    fixture_open(&fixture, &config);
    for (uint32_t rank = 0; rank < 4; rank++)
        fixture_beat(&fixture, rank, 1, 0);
    tick_for(&fixture, 5000);
    CU_ASSERT_EQUAL(fixture.round.available, 4);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 4);
    for (uint32_t rank = 0; rank < 4; rank++) {
        CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
        if (publish == KOFN_PUBLISH_EAGER) {
            struct kofn_stamp stamp = fixture_stamp(&fixture, rank, 1, 0, 1);

            stamp.compute_ns = 5 * KOFN_NS_PER_S;
            kofn_round_arrive(&fixture.round, rank, &stamp, fixture.now);
        } else {
            fixture_beat(&fixture, rank, 1, 1);
        }
        tick_for(&fixture, 3000);
    }
    CU_ASSERT_EQUAL(fixture.round.reached, 4);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 4);
    fixture_close(&fixture);
}

static void test_first_updates_are_long(void)
{
    first_updates_are_long(KOFN_PUBLISH_EAGER);
    first_updates_are_long(KOFN_PUBLISH_ON_CLOSE);
}

/* Somebody of whom nothing is known has as much time as twenty updates take the others. */
static void test_who_is_not_known_is_measured_by_the_others(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    for (uint32_t rank = 0; rank < 3; rank++)
        fixture_beat(&fixture, rank, 1, 0);
    for (uint32_t i = 1; i <= 20; i++) {
        CU_ASSERT_EQUAL(count_suspects(&fixture), 0);
        tick_for(&fixture, 100);
        for (uint32_t rank = 0; rank < 2; rank++)
            fixture_beat(&fixture, rank, 1, i);
    }
    tick_for(&fixture, 5);
    CU_ASSERT_EQUAL(fixture.round.members[2].state, KOFN_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 1);
    fixture_close(&fixture);
}

/* All stand still (the machine slept, the disk was full): nobody is suspect for it, K stays, and
 * when one is back the others have the same time to follow. Who does not is suspect then.
 */
static void test_a_machine_that_stands_still(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 4, 100);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    for (uint32_t i = 1; i <= 10; i++) {
        tick_for(&fixture, 10);
        for (uint32_t rank = 0; rank < 4; rank++)
            fixture_publish(&fixture, rank, 1, 0, i);
    }
    tick_for(&fixture, 30000);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 0);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 4);
    for (uint32_t i = 11; i <= 105; i++) {
        fixture_publish(&fixture, 0, 1, 0, i);
        tick_for(&fixture, 10);
        CU_ASSERT_EQUAL(count_suspects(&fixture), 0);
        if (i == 50)
            for (uint32_t rank = 1; rank < 3; rank++)
                fixture_publish(&fixture, rank, 1, 0, 11);
    }
    tick_for(&fixture, 100);
    CU_ASSERT_EQUAL(fixture.round.members[3].state, KOFN_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 1);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3);
    fixture_close(&fixture);
}

/* Whatever the silences are, they never leave a round without anybody to wait for. */
static void test_the_last_one_is_waited_for(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 2, 1000);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_wait(&fixture, 10);
    for (uint32_t rank = 0; rank < 3; rank++)
        fixture_publish(&fixture, rank, 1, 0, 1);
    for (uint32_t last = 0; last < 3; last++) {
        for (uint32_t i = 2; i < 200; i++) {
            for (uint32_t rank = last; rank < 3; rank++)
                fixture_publish(&fixture, rank, 1, 0, 200 * last + i);
            tick_for(&fixture, 10);
        }
        CU_ASSERT_EQUAL(count_suspects(&fixture), last);
    }
    tick_for(&fixture, 60000);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 2);
    CU_ASSERT_EQUAL(fixture.round.available, 1);
    fixture_close(&fixture);
}

/* A few updates that fell long make nobody slow, and a moment's silence does not either; many do,
 * and so does a long one.
 */
static void test_slow_needs_evidence(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 1);
    struct fixture fixture;
    uint32_t slow_from = 0;

    fixture_open(&fixture, &config);
    for (uint32_t round = 1; round <= 20 && !slow_from; round++) {
        tick_for(&fixture, 10);
        fixture_publish(&fixture, 0, round, 0, 1);
        fixture_publish(&fixture, 1, round, 0, 1);
        tick_for(&fixture, 20);
        for (uint32_t rank = 0; rank < 2; rank++)
            fixture_publish(&fixture, rank, round, 0, 3);
        fixture_publish(&fixture, 2, round, 0, 1);
        fixture_next(&fixture);
        kofn_round_tick(&fixture.round, fixture.now);
        if (fixture.round.members[2].state == KOFN_MEMBER_SLOW)
            slow_from = round;
    }
    CU_ASSERT(slow_from >= 8); /* 24 of the others' updates */
    fixture_beat(&fixture, 0, fixture.round.number, 1);
    fixture_beat(&fixture, 1, fixture.round.number, 1);
    tick_for(&fixture, 200);
    CU_ASSERT_NOT_EQUAL(fixture.round.members[0].state, KOFN_MEMBER_SLOW);
    tick_for(&fixture, 200);
    CU_ASSERT_EQUAL(fixture.round.members[0].state, KOFN_MEMBER_SLOW);
    fixture_close(&fixture);
}

void kofn_suite_watch(void)
{
    CU_pSuite suite = CU_add_suite("watch", NULL, NULL);

    CU_add_test(suite, "first updates are long", test_first_updates_are_long);
    CU_add_test(suite, "who is not known is measured by the others",
                test_who_is_not_known_is_measured_by_the_others);
    CU_add_test(suite, "a machine that stands still", test_a_machine_that_stands_still);
    CU_add_test(suite, "the last one is waited for", test_the_last_one_is_waited_for);
    CU_add_test(suite, "slow needs evidence", test_slow_needs_evidence);
}
