/* Rounds: when they close, whom they wait for, and what they do with what arrives. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "base/random.h"
#include "tests/unit/round_fixture.h"

/* Eager: the publication that makes K workers reach U closes the round, and none before it. */
static void test_eager_closes_at_the_kth_publication(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 2, 3);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 2);
    fixture_publish(&fixture, 1, 1, 0, 3);
    fixture_publish(&fixture, 1, 1, 0, 5);
    fixture_beat(&fixture, 2, 1, 4); /* a beat is not a publication */
    fixture_publish(&fixture, 3, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    CU_ASSERT_EQUAL(fixture.round.reached, 1);
    fixture_wait(&fixture, 5);
    fixture_publish(&fixture, 0, 1, 0, 3);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    CU_ASSERT_EQUAL(fixture.round.close, KOFN_CLOSE_REACHED);
    CU_ASSERT_EQUAL(fixture.round.closed_ns, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.holding, 3);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture.round.number, 2);
    CU_ASSERT_EQUAL(fixture.round.members[1].merged, 5);
    CU_ASSERT_EQUAL(fixture.round.members[1].first_k, 1);
    CU_ASSERT_EQUAL(fixture.round.members[3].merged, 1);
    CU_ASSERT_EQUAL(fixture.round.members[3].first_k, 0);
    fixture_close(&fixture);
}

/* On-close: beats close the round; then exactly those with finished work are waited for. */
static void test_on_close_collects_who_owes(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 2, 2);
    struct fixture fixture;

    config.publish = KOFN_PUBLISH_ON_CLOSE;
    fixture_open(&fixture, &config);
    fixture_beat(&fixture, 0, 1, 2);
    fixture_beat(&fixture, 1, 1, 1);
    fixture_beat(&fixture, 2, 1, 0);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_beat(&fixture, 3, 1, 2);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_COLLECTING);
    CU_ASSERT_EQUAL(fixture.round.expected, 3);
    fixture_publish(&fixture, 0, 1, 0, 2);
    fixture_publish(&fixture, 3, 1, 0, 3);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_COLLECTING);
    fixture_publish(&fixture, 1, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    fixture_close(&fixture);
}

/* On-close: nobody is waited for longer than the grace, nor once it is gone. */
static void test_on_close_waits_no_longer_than_the_grace(void)
{
    struct kofn_round_config config = fixture_config("local", 3, 3, 1);
    struct fixture fixture;

    config.publish = KOFN_PUBLISH_ON_CLOSE;
    fixture_open(&fixture, &config);
    for (uint32_t rank = 0; rank < 3; rank++)
        fixture_beat(&fixture, rank, 1, 1);
    fixture_publish(&fixture, 0, 1, 0, 1);
    fixture_wait(&fixture, 9);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_COLLECTING);
    CU_ASSERT_EQUAL(kofn_round_next_tick(&fixture.round, fixture.now),
                    fixture.now + KOFN_NS_PER_MS);
    kofn_round_leave(&fixture.round, 1, false, 0, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.expected, 1);
    fixture_wait(&fixture, 1);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3); /* the K with which it closed */
    fixture_close(&fixture);
}

/* On-close: a death that closes the round does not cut its grace short, though it was noticed after
 * the time of the tick that follows.
 */
static void test_on_close_a_tick_of_before_the_close(void)
{
    struct kofn_round_config config = fixture_config("local", 3, 3, 1);
    struct fixture fixture;

    config.publish = KOFN_PUBLISH_ON_CLOSE;
    fixture_open(&fixture, &config);
    fixture_beat(&fixture, 0, 1, 1);
    fixture_beat(&fixture, 1, 1, 1);
    kofn_round_leave(&fixture.round, 2, false, 0, fixture.now + 5);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_COLLECTING);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_COLLECTING);
    CU_ASSERT_EQUAL(fixture.round.expected, 2);
    fixture_close(&fixture);
}

/* On-close: a worker that said it was done and died before it could publish is not one of the K,
 * whether it joins again or not; those behind it move up.
 */
static void test_on_close_a_dead_worker_is_not_done(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 2, 1);
    struct fixture fixture;

    config.publish = KOFN_PUBLISH_ON_CLOSE;
    fixture_open(&fixture, &config);
    fixture_beat(&fixture, 0, 1, 1);
    kofn_round_leave(&fixture.round, 0, false, 0, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.reached, 0);
    kofn_round_join(&fixture.round, 0, 2, fixture.now);
    fixture_beat(&fixture, 0, 1, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    CU_ASSERT_EQUAL(fixture.round.reached, 1);
    fixture_beat(&fixture, 1, 1, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_COLLECTING);
    CU_ASSERT_EQUAL(fixture.round.members[0].place, 0);
    CU_ASSERT_EQUAL(fixture.round.members[1].place, 1);
    fixture_close(&fixture);
}

/* Eager: what a worker has published stays and counts when it dies, and K shrinks with those who
 * can still answer, so that the round closes.
 */
static void test_eager_the_work_of_the_dead_counts(void)
{
    struct kofn_round_config config = fixture_config("local", 3, 3, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    kofn_round_leave(&fixture.round, 0, false, 0, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3);
    kofn_round_leave(&fixture.round, 1, false, 0, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 2);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    kofn_round_leave(&fixture.round, 2, false, 0, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    kofn_round_settle(&fixture.round);
    CU_ASSERT_EQUAL(fixture.round.members[0].merged, 1);
    fixture_close(&fixture);
}

/* A deadline closes a round only with a quorum, and then at the very event that makes it one. */
static void test_deadline_needs_a_quorum(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 4, 3);
    struct fixture fixture;

    config.deadline = 20 * KOFN_NS_PER_MS;
    config.quorum = 2;
    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    fixture_publish(&fixture, 1, 1, 0, 1);
    fixture_wait(&fixture, 19);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_wait(&fixture, 1);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.close, KOFN_CLOSE_DEADLINE);
    fixture_next(&fixture);

    fixture_publish(&fixture, 0, 2, 0, 1);
    fixture_wait(&fixture, 100);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_publish(&fixture, 3, 2, 0, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    CU_ASSERT_EQUAL(fixture.round.close, KOFN_CLOSE_DEADLINE);
    fixture_close(&fixture);
}

/* A deadline with nothing to merge does not close a round, whatever the quorum; one so long that it
 * lies behind the end of time never comes.
 */
static void test_deadline_needs_something_to_merge(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 2, 2, 3);
    struct fixture fixture;

    config.quorum = 0;
    config.deadline = KOFN_NS_PER_MS;
    fixture_open(&fixture, &config);
    fixture_wait(&fixture, 500);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_close(&fixture);

    config.deadline = UINT64_MAX;
    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_close(&fixture);
}

/* Rounds of four workers that take 10 or 30 ms for each update of a round, as it falls; those who
 * have not finished when an adaptive deadline comes are cut off. Returns the share that was, late
 * in a long run.
 */
static double share_cut_off(uint32_t local_steps)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 4, local_steps);
    struct kofn_random random;
    struct fixture fixture;
    uint32_t reached = 0;

    kofn_random_seed(&random, 1, 0);
    config.deadline_adaptive = true;
    config.suspect_after = 60 * KOFN_NS_PER_S;
    fixture_open(&fixture, &config);
    for (int i = 0; i < 600; i++) {
        uint32_t number = fixture.round.number, pace[4], done[4] = {0};

        for (int rank = 0; rank < 4; rank++)
            pace[rank] = kofn_random_below(&random, 2) ? 10 : 30;
        for (uint32_t ms = 1; fixture.round.phase == KOFN_PHASE_OPEN; ms++) {
            fixture_wait(&fixture, 1);
            for (uint32_t rank = 0; rank < 4; rank++)
                if (ms % pace[rank] == 0)
                    fixture_publish(&fixture, rank, number, 0, done[rank] = ms / pace[rank]);
            kofn_round_tick(&fixture.round, fixture.now);
        }
        reached += i >= 300 ? fixture.round.reached : 0;
        fixture_next(&fixture);
        fixture_wait(&fixture, 10);
        for (uint32_t rank = 0; rank < 4; rank++)
            if (!done[rank])
                fixture_publish(&fixture, rank, number, 0, 1);
    }
    fixture_close(&fixture);
    return 1 - reached / 1200.0;
}

/* An adaptive deadline has those that it cut off among its samples: it does not shrink by itself to
 * the fast half.
 */
static void test_adaptive_deadline_does_not_shrink(void)
{
    CU_ASSERT(share_cut_off(10) < 0.35);
    CU_ASSERT(share_cut_off(1) < 0.35);
}

/* A worker gives one sample a round, however many publications of it come late. */
static void test_one_sample_a_worker_and_round(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 1, 2);
    struct fixture fixture;

    config.deadline_adaptive = true;
    fixture_open(&fixture, &config);
    fixture_wait(&fixture, 10);
    fixture_beat(&fixture, 1, 1, 1);
    fixture_publish(&fixture, 0, 1, 0, 2);
    CU_ASSERT_EQUAL(fixture.round.deadline.count, 2); /* rank 0, and where rank 1 would be */
    CU_ASSERT_EQUAL(fixture.round.deadline.samples[1], 20e6);
    fixture_next(&fixture);
    fixture_publish(&fixture, 0, 1, 2, 3);
    fixture_publish(&fixture, 1, 1, 0, 1);
    fixture_publish(&fixture, 1, 1, 1, 2);
    CU_ASSERT_EQUAL(fixture.round.deadline.count, 2);
    fixture_wait(&fixture, 5);
    fixture_publish(&fixture, 2, 1, 0, 1);
    fixture_publish(&fixture, 2, 1, 1, 2);
    CU_ASSERT_EQUAL(fixture.round.deadline.count, 3);
    CU_ASSERT_EQUAL(fixture.round.deadline.samples[2], 30e6); /* one of two after 15 ms */
    fixture_close(&fixture);
}

/* Nobody waits for a worker that is silent for long; its next sign of life brings it back. */
static void test_suspects_are_not_waited_for_and_come_back(void)
{
    struct kofn_round_config config = fixture_config("local", 3, 3, 2);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    for (uint32_t rank = 0; rank < 3; rank++)
        fixture_beat(&fixture, rank, 1, 0);
    fixture_publish(&fixture, 0, 1, 0, 2);
    fixture_publish(&fixture, 1, 1, 0, 2);
    fixture_wait(&fixture, 999);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    CU_ASSERT_EQUAL(fixture.round.members[2].state, KOFN_MEMBER_SLOW);
    fixture_wait(&fixture, 1);
    kofn_round_tick(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.members[2].state, KOFN_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(fixture.round.available, 2);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 2);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    /* who has done all it may do owes nothing, and is not suspect for waiting */
    CU_ASSERT_EQUAL(fixture.round.members[0].state, KOFN_MEMBER_READY);
    fixture_next(&fixture);
    fixture_beat(&fixture, 2, 1, 1);
    CU_ASSERT_EQUAL(fixture.round.members[2].state, KOFN_MEMBER_READY);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3);
    fixture_close(&fixture);
}

/* Silence goes on over rounds: a worker that is frozen while the others close many short rounds
 * without it becomes suspect all the same.
 */
static void test_silence_goes_on_over_rounds(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 2, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 2, 1, 0, 1);
    for (int i = 0; i < 150; i++) {
        fixture_wait(&fixture, 10);
        fixture_publish(&fixture, 0, fixture.round.number, 0, 1);
        kofn_round_tick(&fixture.round, fixture.now);
        CU_ASSERT_EQUAL(fixture.round.members[2].state == KOFN_MEMBER_SUSPECT, i >= 99);
        fixture_publish(&fixture, 1, fixture.round.number, 0, 1);
        fixture_next(&fixture);
        CU_ASSERT_EQUAL(fixture.round.members[0].state, KOFN_MEMBER_READY);
    }
    CU_ASSERT(kofn_round_silence(&fixture.round, 2, fixture.now) > KOFN_NS_PER_S);
    fixture_close(&fixture);
}

/* What overlaps work that is settled is never taken; the remainder is. */
static void test_overlap_is_covered(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 2, 1, 2);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 1, 1, 0, 1);
    fixture_publish(&fixture, 0, 1, 0, 2);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 2), KOFN_VERDICT_COVERED);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 1, 3), KOFN_VERDICT_LATE);
    CU_ASSERT_EQUAL(fixture.round.late_updates, 2);
    CU_ASSERT_EQUAL(fixture.round.age, 1);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 1, 3), KOFN_VERDICT_COVERED);
    CU_ASSERT_EQUAL(fixture.round.members[1].merged, 1);
    CU_ASSERT_EQUAL(fixture.round.members[1].late, 2);
    fixture_close(&fixture);
}

/* With --late refuse everything late is refused, and counted once. */
static void test_late_work_can_be_refused(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 2, 1, 2);
    struct fixture fixture;

    config.late = KOFN_LATE_REFUSE;
    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 1, 1, 0, 1);
    fixture_publish(&fixture, 0, 1, 0, 2);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 2), KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 1, 3), KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture.round.members[1].refused, 2);
    CU_ASSERT_EQUAL(fixture.round.late_count, 0);
    fixture_close(&fixture);
}

/* The end of the job closes the open round with what is there; what still arrives is refused, also
 * what was computed on the last model.
 */
static void test_the_end_refuses_what_is_behind_it(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 2);
    struct fixture fixture;

    config.publish = KOFN_PUBLISH_ON_CLOSE;
    fixture_open(&fixture, &config);
    fixture_beat(&fixture, 0, 1, 1);
    kofn_round_stop(&fixture.round, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.close, KOFN_CLOSE_STOP);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_COLLECTING);
    kofn_round_stop(&fixture.round, fixture.now);
    fixture_next(&fixture);
    kofn_round_end(&fixture.round);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 0, 1, 0, 1), KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 2, 0, 2), KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture.round.members[0].refused, 1);
    CU_ASSERT_EQUAL(fixture.round.members[1].refused, 2);
    CU_ASSERT_EQUAL(fixture.round.members[1].held.sequence, 0);
    fixture_close(&fixture);
}

/* A rank that joins again begins without what its former membership held or had reached. */
static void test_a_new_membership_starts_afresh(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 2, 2, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 1);
    kofn_round_leave(&fixture.round, 0, true, 1, fixture.now);
    kofn_round_join(&fixture.round, 0, 2, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.reached, 0);
    CU_ASSERT_EQUAL(fixture.round.holding, 0);
    CU_ASSERT_EQUAL(kofn_member_lost(&fixture.round.members[0]), 1);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 2);
    fixture_publish(&fixture, 0, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_publish(&fixture, 1, 1, 0, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    fixture_close(&fixture);
}

void kofn_suite_round(void)
{
    CU_pSuite suite = CU_add_suite("round", NULL, NULL);

    CU_add_test(suite, "eager closes at the K-th publication",
                test_eager_closes_at_the_kth_publication);
    CU_add_test(suite, "on-close collects who owes", test_on_close_collects_who_owes);
    CU_add_test(suite, "on-close waits no longer than the grace",
                test_on_close_waits_no_longer_than_the_grace);
    CU_add_test(suite, "on-close: a tick of before the close",
                test_on_close_a_tick_of_before_the_close);
    CU_add_test(suite, "on-close: a dead worker is not done",
                test_on_close_a_dead_worker_is_not_done);
    CU_add_test(suite, "eager: the work of the dead counts",
                test_eager_the_work_of_the_dead_counts);
    CU_add_test(suite, "deadline needs a quorum", test_deadline_needs_a_quorum);
    CU_add_test(suite, "deadline needs something to merge", test_deadline_needs_something_to_merge);
    CU_add_test(suite, "adaptive deadline does not shrink", test_adaptive_deadline_does_not_shrink);
    CU_add_test(suite, "one sample a worker and round", test_one_sample_a_worker_and_round);
    CU_add_test(suite, "suspects are not waited for and come back",
                test_suspects_are_not_waited_for_and_come_back);
    CU_add_test(suite, "silence goes on over rounds", test_silence_goes_on_over_rounds);
    CU_add_test(suite, "overlap is covered", test_overlap_is_covered);
    CU_add_test(suite, "late work can be refused", test_late_work_can_be_refused);
    CU_add_test(suite, "the end refuses what is behind it", test_the_end_refuses_what_is_behind_it);
    CU_add_test(suite, "a new membership starts afresh", test_a_new_membership_starts_afresh);
}
