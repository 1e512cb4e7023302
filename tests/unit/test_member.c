/* Members: what is known of one worker, and an account that always adds up. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <string.h>

#include "base/random.h"
#include "round/member.h"

static struct kofn_member fresh(void)
{
    struct kofn_member member;

    memset(&member, 0, sizeof(member));
    kofn_member_join(&member, 1, 100);
    return member;
}

static struct kofn_stamp stamp(uint32_t round, uint32_t from, uint32_t updates, uint32_t total,
                               uint64_t compute_ns)
{
    return (struct kofn_stamp){.round = round,
                               .version = round,
                               .from = from,
                               .updates = updates,
                               .total = total,
                               .compute_ns = compute_ns,
                               .sequence = 1};
}

/* Only a later round, or more updates of the same, is progress; a word that arrives late changes
 * nothing.
 */
static void test_progress_never_goes_back(void)
{
    struct kofn_member member = fresh();

    CU_ASSERT(kofn_member_progress(&member, 1, 0, 200));
    CU_ASSERT(!kofn_member_progress(&member, 1, 0, 300));
    CU_ASSERT(kofn_member_progress(&member, 1, 2, 400));
    CU_ASSERT(!kofn_member_progress(&member, 1, 1, 500));
    CU_ASSERT(kofn_member_progress(&member, 3, 0, 600));
    CU_ASSERT(!kofn_member_progress(&member, 1, 3, 700));
    CU_ASSERT(!kofn_member_progress(&member, 2, 9, 800));
    CU_ASSERT_EQUAL(member.progress_ns, 600);
    CU_ASSERT_EQUAL(member.round, 3);
    CU_ASSERT_EQUAL(member.updates, 0);
    CU_ASSERT_EQUAL(member.finished, 2);
}

/* Beats that were overwritten before anybody read them leave a gap in what is known to be finished;
 * the next stamp fills it, also one that arrives behind a beat of the round after.
 */
static void test_stamps_fill_gaps_of_beats(void)
{
    struct kofn_member member = fresh();
    struct kofn_stamp first = stamp(1, 0, 4, 4, 40), second = stamp(2, 0, 3, 7, 30);

    kofn_member_progress(&member, 1, 2, 200);
    kofn_member_progress(&member, 2, 1, 300);
    CU_ASSERT_EQUAL(member.finished, 3); /* 4 + 1 in truth */
    kofn_member_published(&member, &first);
    CU_ASSERT_EQUAL(member.finished, 5);
    kofn_member_progress(&member, 2, 3, 400);
    kofn_member_published(&member, &second);
    CU_ASSERT_EQUAL(member.finished, 7);
    kofn_member_progress(&member, 5, 2, 500);
    CU_ASSERT_EQUAL(member.finished, 9);
}

/* An update is settled once: a publication that carries some of it again adds what is new alone,
 * and one of a round before the last settled one adds nothing.
 */
static void test_settle_counts_once(void)
{
    struct kofn_member member = fresh();

    kofn_member_settle(&member, 3, 2, &member.merged);
    kofn_member_settle(&member, 3, 5, &member.late);
    kofn_member_settle(&member, 3, 5, &member.late);
    kofn_member_settle(&member, 3, 4, &member.refused);
    CU_ASSERT_EQUAL(kofn_member_settled(&member, 3), 5);
    CU_ASSERT_EQUAL(kofn_member_settled(&member, 4), 0);
    CU_ASSERT_EQUAL(kofn_member_settled(&member, 2), UINT32_MAX);
    kofn_member_settle(&member, 2, 7, &member.refused);
    kofn_member_settle(&member, 4, 1, &member.refused);
    CU_ASSERT_EQUAL(member.merged, 2);
    CU_ASSERT_EQUAL(member.late, 3);
    CU_ASSERT_EQUAL(member.refused, 1);
}

/* What has not been settled when a membership ends is lost, what is still held is not, and the next
 * membership goes on with the account.
 */
static void test_lost_is_what_is_left(void)
{
    struct kofn_member member = fresh();
    struct kofn_stamp held = stamp(2, 0, 3, 8, 30);

    kofn_member_progress(&member, 1, 5, 200);
    kofn_member_settle(&member, 1, 2, &member.merged);
    kofn_member_settle(&member, 1, 3, &member.late);
    kofn_member_progress(&member, 2, 3, 300);
    kofn_member_published(&member, &held);
    member.held = held;
    CU_ASSERT_EQUAL(kofn_member_lost(&member), 0); /* nothing is, while it is connected */
    kofn_member_leave(&member, false, 0, 400);
    CU_ASSERT_EQUAL(member.state, KOFN_MEMBER_GONE);
    CU_ASSERT_EQUAL(kofn_member_lost(&member), 2);
    kofn_member_settle(&member, 2, 3, &member.merged);
    member.held.sequence = 0;
    CU_ASSERT_EQUAL(kofn_member_lost(&member), 2);

    kofn_member_join(&member, 2, 500);
    CU_ASSERT_EQUAL(kofn_member_lost(&member), 2);
    kofn_member_progress(&member, 4, 1, 600);
    CU_ASSERT_EQUAL(member.finished, 9);
    kofn_member_leave(&member, true, 6, 700); /* it knows of five that no beat told of */
    CU_ASSERT_EQUAL(member.state, KOFN_MEMBER_LEFT);
    CU_ASSERT_EQUAL(member.finished, 14);
    CU_ASSERT_EQUAL(kofn_member_lost(&member), 8);
}

/* Times of a round are cumulative in its stamps: however many publications a round had, and whether
 * its last updates came as a late remainder, every update is timed once.
 */
static void test_times_are_counted_once(void)
{
    struct kofn_member member = fresh();
    struct kofn_stamp stamps[] = {stamp(1, 0, 1, 1, 10), stamp(1, 0, 3, 3, 36),
                                  stamp(1, 3, 4, 4, 50), stamp(2, 0, 2, 6, 20)};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(stamps); i++)
        kofn_member_published(&member, &stamps[i]);
    CU_ASSERT_EQUAL(member.publications, 4);
    CU_ASSERT_EQUAL(member.timed_updates, 6);
    CU_ASSERT_EQUAL(member.compute_ns, 70);
    CU_ASSERT_DOUBLE_EQUAL(kofn_member_compute_mean(&member), 70.0 / 6, 1e-9);
}

/* The pace is that of the first round, then moves with each by what is not kept; a round without a
 * finished update says that one takes at least that long.
 */
static void test_pace_is_a_moving_average(void)
{
    struct kofn_member member = fresh(), silent = fresh();

    CU_ASSERT_EQUAL(member.pace_ns, 0);
    kofn_member_pace(&member, 200, 2, 0.5);
    CU_ASSERT_DOUBLE_EQUAL(member.pace_ns, 100, 1e-9);
    kofn_member_pace(&member, 600, 2, 0.5);
    CU_ASSERT_DOUBLE_EQUAL(member.pace_ns, 700.0 / 3, 1e-9);
    kofn_member_pace(&silent, 200, 0, 0.5);
    CU_ASSERT_DOUBLE_EQUAL(silent.pace_ns, 400, 1e-9);
}

/* A worker whose long updates are always cut off is as slow as it is, not as its finished ones say.
 */
static void test_pace_counts_what_was_cut_off(void)
{
    struct kofn_member member = fresh();
    struct kofn_random random;
    double left;

    kofn_random_seed(&random, 7, 0);
    for (int round = 0; round < 4000; round++) {
        int finished = 0;

        for (left = 1; (left -= kofn_random_exponential(&random)) > 0;)
            finished++;
        kofn_member_pace(&member, 1, finished, 0.999);
    }
    CU_ASSERT_DOUBLE_EQUAL(member.pace_ns, 1, 0.1);
}

void kofn_suite_member(void)
{
    CU_pSuite suite = CU_add_suite("member", NULL, NULL);

    CU_add_test(suite, "progress never goes back", test_progress_never_goes_back);
    CU_add_test(suite, "stamps fill gaps of beats", test_stamps_fill_gaps_of_beats);
    CU_add_test(suite, "settle counts once", test_settle_counts_once);
    CU_add_test(suite, "lost is what is left", test_lost_is_what_is_left);
    CU_add_test(suite, "times are counted once", test_times_are_counted_once);
    CU_add_test(suite, "pace is a moving average", test_pace_is_a_moving_average);
    CU_add_test(suite, "pace counts what was cut off", test_pace_counts_what_was_cut_off);
}
