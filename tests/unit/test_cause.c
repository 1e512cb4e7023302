/* Why a worker is late, and how late it is: only where it is, from what has been seen. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>

#include "tests/unit/watch_fixture.h"

/* A worker is late because of what differs from the others. */
static void test_cause_of_lateness(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 5, 3, 1);
    struct crew crew;

    crew_open(&crew, &config, 10);
    crew.worker[1].pace = 50;
    crew.worker[2].post_ns = 8 * KOFN_NS_PER_MS;
    crew.worker[3].wait_ns = 8 * KOFN_NS_PER_MS;
    crew_run(&crew, 3000);
    CU_ASSERT_EQUAL(crew_report(&crew, 0).cause, KOFN_CAUSE_NONE);
    CU_ASSERT_EQUAL(crew_report(&crew, 1).cause, KOFN_CAUSE_COMPUTE);
    CU_ASSERT_EQUAL(crew_report(&crew, 2).cause, KOFN_CAUSE_NETWORK);
    CU_ASSERT_EQUAL(crew_report(&crew, 3).cause, KOFN_CAUSE_SERVER);
    kofn_round_leave(&crew.fixture.round, 4, false, 0, crew.fixture.now);
    CU_ASSERT_EQUAL(crew_report(&crew, 4).cause, KOFN_CAUSE_DEAD);
    crew_close(&crew);
}

/* A few updates say nothing of anybody, however long one of them took. */
static void test_cause_needs_evidence(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 3, 1);
    struct crew crew;

    crew_open(&crew, &config, 10);
    crew.worker[1].pace = 30;
    crew.worker[2].post_ns = crew.worker[3].wait_ns = 20 * KOFN_NS_PER_MS;
    crew_run(&crew, 65);
    for (uint32_t rank = 0; rank < 4; rank++) {
        CU_ASSERT(crew_report(&crew, rank).finished > 0);
        CU_ASSERT_EQUAL(crew_report(&crew, rank).cause, KOFN_CAUSE_NONE);
    }
    crew_close(&crew);
}

/* What holds up everybody alike makes nobody late. */
static void test_a_server_that_is_slow(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 2, 1);
    struct crew crew;

    crew_open(&crew, &config, 10);
    for (uint32_t rank = 0; rank < 3; rank++)
        crew.worker[rank].post_ns = crew.worker[rank].wait_ns = 80 * KOFN_NS_PER_MS;
    crew_run(&crew, 3000);
    for (uint32_t rank = 0; rank < 3; rank++)
        CU_ASSERT_EQUAL(crew_report(&crew, rank).cause, KOFN_CAUSE_NONE);
    crew_close(&crew);
}

/* A worker that becomes a straggler in mid-job is judged by what it takes lately, its mean tells of
 * both times; once it keeps up again its state says so, and its cause what it has cost.
 */
static void test_a_straggler_from_the_middle(const char *algorithm, uint32_t wait_for)
{
    struct kofn_round_config config = fixture_config(algorithm, 4, wait_for, 1);
    struct kofn_member_report report;
    struct crew crew;

    crew_open(&crew, &config, 20);
    crew_run(&crew, 3000);
    CU_ASSERT_EQUAL(crew_report(&crew, 2).cause, KOFN_CAUSE_NONE);
    crew.worker[2].pace = 200;
    crew_run(&crew, 6000);
    report = crew_report(&crew, 2);
    CU_ASSERT_EQUAL(report.state, KOFN_MEMBER_SLOW);
    CU_ASSERT_EQUAL(report.cause, KOFN_CAUSE_COMPUTE);
    CU_ASSERT(report.pace > 0.18 && report.pace < 0.22);
    CU_ASSERT(report.pace_mean > 0.035 && report.pace_mean < 0.15);
    crew.worker[2].pace = 20;
    crew_run(&crew, 3000);
    report = crew_report(&crew, 2);
    CU_ASSERT_EQUAL(report.state, KOFN_MEMBER_READY);
    CU_ASSERT(report.pace < 0.03);
    CU_ASSERT_EQUAL(crew.turned_slow, 1);
    for (uint32_t rank = 0; rank < 4; rank++)
        if (rank != 2)
            CU_ASSERT_EQUAL(crew_report(&crew, rank).cause, KOFN_CAUSE_NONE);
    crew_close(&crew);
}

static void test_stragglers_from_the_middle(void)
{
    test_a_straggler_from_the_middle("stsyn", 3);
    test_a_straggler_from_the_middle("sync", 4);
    test_a_straggler_from_the_middle("kasync", 2);
}

/* What was lost stays lost: a worker that was far behind for half of the job has a cause though it
 * keeps up at the end.
 */
static void test_a_straggler_of_before(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 3, 1);
    struct kofn_member_report report;
    struct crew crew;

    crew_open(&crew, &config, 10);
    crew.worker[2].pace = 100;
    crew_run(&crew, 4000);
    crew.worker[2].pace = 10;
    crew_run(&crew, 1000);
    report = crew_report(&crew, 2);
    CU_ASSERT_EQUAL(report.state, KOFN_MEMBER_READY);
    CU_ASSERT_EQUAL(report.cause, KOFN_CAUSE_COMPUTE);
    CU_ASSERT(report.pace_mean > 2 * crew_report(&crew, 0).pace_mean);
    crew_close(&crew);
}

/* A worker that freezes is silent: it has no other cause, and its frozen time does not go into its
 * pace.
 */
static void test_a_frozen_worker_has_no_cause(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 3, 1);
    struct kofn_member_report report;
    struct crew crew;

    crew_open(&crew, &config, 20);
    crew_run(&crew, 1000);
    crew.worker[2].frozen = true;
    crew_run(&crew, 4000);
    report = crew_report(&crew, 2);
    CU_ASSERT_EQUAL(report.state, KOFN_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(report.cause, KOFN_CAUSE_NONE);
    CU_ASSERT_DOUBLE_EQUAL(report.silence, 4, 0.03);
    CU_ASSERT_DOUBLE_EQUAL(report.pace_mean, 0.02, 0.002);
    CU_ASSERT(report.late_p99 < 0.05);
    CU_ASSERT_EQUAL(crew_report(&crew, 0).silence < 0.03, true);
    kofn_round_stop(&crew.fixture.round, crew.fixture.now);
    kofn_round_settle(&crew.fixture.round);
    kofn_round_next(&crew.fixture.round, crew.fixture.now);
    kofn_round_end(&crew.fixture.round);
    fixture_wait(&crew.fixture, 5000); /* the end of the job takes its time, too */
    CU_ASSERT_DOUBLE_EQUAL(crew_report(&crew, 2).silence, 4, 0.03);
    crew_close(&crew);
}

/* What is usual is looked up once for a look at all the workers, and again as soon as something has
 * come.
 */
static void test_usual_is_looked_up_once(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 100000);
    const struct kofn_round *round;
    const struct kofn_usual *usual;
    struct crew crew;

    crew_open(&crew, &config, 10);
    round = &crew.fixture.round;
    crew_run(&crew, 100);
    usual = kofn_round_recent(round, crew.fixture.now);
    CU_ASSERT_EQUAL(usual->wait, 0);
    for (uint32_t rank = 0; rank < 3; rank++) {
        round->members[rank].busy_ns = 100;
        round->members[rank].wait_ns = 7 * round->members[rank].publications;
    }
    CU_ASSERT_EQUAL(kofn_round_recent(round, crew.fixture.now)->wait, 0);
    CU_ASSERT_EQUAL(kofn_round_recent(round, crew.fixture.now + KOFN_NS_PER_S)->wait, 7);
    crew.worker[0].wait_ns = crew.worker[1].wait_ns = crew.worker[2].wait_ns = 1000;
    crew_run(&crew, 10);
    CU_ASSERT(kofn_round_recent(round, crew.fixture.now)->wait > 7);
    crew_close(&crew);
}

/* Nobody can be later than has been seen: not by more than what is left of the round, and one
 * update. One that never finished anything is late by the rounds it missed, whatever U is.
 */
static void test_lateness_is_what_was_seen(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 2, 10);
    struct crew crew;

    crew_open(&crew, &config, 10);
    crew.worker[1].pace = 12;
    crew.worker[2].pace = 50;
    crew.worker[3].pace = 1e6;
    crew_run(&crew, 5000);
    CU_ASSERT(crew_report(&crew, 0).late_p99 < 0.01);
    CU_ASSERT(crew_report(&crew, 1).late_p99 < 0.03);
    CU_ASSERT(crew_report(&crew, 2).late_p50 > 0.02);
    CU_ASSERT(crew_report(&crew, 2).late_p99 < 0.12);
    CU_ASSERT(crew_report(&crew, 3).late_p99 < 0.13);
    CU_ASSERT(isnan(crew_report(&crew, 3).pace_mean));
    crew_close(&crew);
}

void kofn_suite_cause(void)
{
    CU_pSuite suite = CU_add_suite("cause", NULL, NULL);

    CU_add_test(suite, "cause of lateness", test_cause_of_lateness);
    CU_add_test(suite, "cause needs evidence", test_cause_needs_evidence);
    CU_add_test(suite, "a server that is slow", test_a_server_that_is_slow);
    CU_add_test(suite, "stragglers from the middle", test_stragglers_from_the_middle);
    CU_add_test(suite, "a straggler of before", test_a_straggler_of_before);
    CU_add_test(suite, "a frozen worker has no cause", test_a_frozen_worker_has_no_cause);
    CU_add_test(suite, "usual is looked up once", test_usual_is_looked_up_once);
    CU_add_test(suite, "lateness is what was seen", test_lateness_is_what_was_seen);
}
