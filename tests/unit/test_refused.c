/* Updates whose bytes cannot be used: whom a round counts all the same, what is still merged, and
 * what their workers and the innocent are told.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>

#include "tests/lib/caught_log.h"
#include "tests/unit/engine.h"
#include "tests/unit/round_fixture.h"

#define LAST (ENGINE_PARAMETERS - 1) /* a parameter that no update is counted with */

/* ---- the machine ---- */

/* Who was refused is not one of the K, and K shrinks to those who still can be. */
static void test_a_barred_member(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 3, 2);
    struct fixture fixture;
    struct kofn_stamp stamp;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 2);
    stamp = fixture_stamp(&fixture, 1, 1, 0, 2);
    CU_ASSERT(kofn_round_counts(&fixture.round, 1, &stamp));
    CU_ASSERT_EQUAL(kofn_round_refuse(&fixture.round, 1, &stamp, fixture.now),
                    KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3);
    CU_ASSERT_EQUAL(fixture.round.reached, 1);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 3), KOFN_VERDICT_REFUSED);
    CU_ASSERT_EQUAL(fixture.round.members[1].refused, 3);
    fixture_publish(&fixture, 2, 1, 0, 2);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    stamp = fixture_stamp(&fixture, 3, 1, 0, 2);
    kofn_round_refuse(&fixture.round, 3, &stamp, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 2);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_READY);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3); /* a new round, a new chance */
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 2, 0, 2), KOFN_VERDICT_HOLD);
    CU_ASSERT_EQUAL(fixture.round.reached, 1);
    fixture_close(&fixture);
}

/* What a refused member had published before is kept and merged. */
static void test_what_is_held_is_kept(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 1, 2);
    struct fixture fixture;
    struct kofn_stamp stamp;

    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 1, 1, 0, 1);
    stamp = fixture_stamp(&fixture, 1, 1, 0, 2);
    CU_ASSERT_EQUAL(kofn_round_refuse(&fixture.round, 1, &stamp, fixture.now), KOFN_VERDICT_KEPT);
    CU_ASSERT_EQUAL(fixture_publish(&fixture, 1, 1, 0, 3), KOFN_VERDICT_KEPT);
    CU_ASSERT_EQUAL(fixture.round.members[1].held.updates, 1);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    fixture_publish(&fixture, 0, 1, 0, 2);
    fixture_next(&fixture);
    CU_ASSERT_EQUAL(fixture.round.members[1].merged, 1);
    CU_ASSERT_EQUAL(fixture.round.members[1].refused, 0);
    stamp = fixture_stamp(&fixture, 1, 1, 1, 3);
    kofn_round_refuse(&fixture.round, 1, &stamp, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.members[1].refused, 2);
    CU_ASSERT(!fixture.round.members[1].barred); /* that was an earlier round */
    fixture_close(&fixture);
}

/* Late updates whose sum cannot be merged are refused, and the account says so. */
static void test_reject_late(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 1, 2);
    struct fixture fixture;
    struct kofn_stamp stamp;
    float factor = 0;

    config.staleness_weight = 1;
    fixture_open(&fixture, &config);
    fixture_publish(&fixture, 0, 1, 0, 2);
    fixture_next(&fixture);
    stamp = fixture_stamp(&fixture, 1, 1, 0, 2);
    CU_ASSERT(kofn_round_sums(&fixture.round, 1, &stamp, &factor));
    CU_ASSERT_EQUAL(factor, 0.5f);
    CU_ASSERT_EQUAL(kofn_round_arrive(&fixture.round, 1, &stamp, fixture.now), KOFN_VERDICT_LATE);
    CU_ASSERT(!kofn_round_sums(&fixture.round, 1, &stamp, &factor));
    fixture_publish(&fixture, 2, 1, 0, 1);
    fixture_publish(&fixture, 0, 2, 0, 2);
    kofn_round_reject_sum(&fixture.round);
    CU_ASSERT_EQUAL(fixture.round.late_count, 0);
    CU_ASSERT_EQUAL(fixture.round.late_updates, 0);
    CU_ASSERT_EQUAL(fixture.round.refused, 2);
    CU_ASSERT_EQUAL(kofn_round_weight(&fixture.round, 0), 1);
    CU_ASSERT_EQUAL(fixture.round.members[1].late, 0);
    CU_ASSERT_EQUAL(fixture.round.members[1].refused, 2);
    CU_ASSERT_EQUAL(fixture.round.members[2].refused, 1);
    fixture_close(&fixture);
}

/* The last word of a member that is leaving is for its account, and closes no round. */
static void test_a_last_beat_closes_nothing(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 1, 2);
    struct fixture fixture;

    config.publish = KOFN_PUBLISH_ON_CLOSE;
    fixture_open(&fixture, &config);
    kofn_round_last_beat(&fixture.round, 0, (struct kofn_beat){1, 2}, fixture.now);
    kofn_round_last_beat(&fixture.round, 1, (struct kofn_beat){9, 2}, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    kofn_round_leave(&fixture.round, 0, false, 0, fixture.now);
    CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
    CU_ASSERT_EQUAL(kofn_member_lost(&fixture.round.members[0]), 2);
    CU_ASSERT_EQUAL(fixture.round.members[1].finished, 0);
    fixture_close(&fixture);
}

/* ---- the engines ---- */

static void work(struct engine *engine, uint32_t rank, float last)
{
    engine->workers[rank].model[LAST] += last;
    engine_update(engine, rank);
    engine_deliver(engine);
}

/* Two of three must be in: an update of NaN is not one of them, and it stops nobody. */
static void test_nan_is_not_one_of_the_k(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 3, 2, 1);
    struct kofn_round_report report;
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    work(&engine, 1, NAN);
    work(&engine, 0, 0);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), KOFN_TIMEOUT);
    engine_deliver(&engine);
    engine_take(&engine, 1);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_REFUSED);
    work(&engine, 2, 0);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 2);
    CU_ASSERT_EQUAL(report.refused, 1);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 0), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 2, 0), 0.5f);
    engine_close(&engine);
}

/* A worker whose updates become NaN within a round keeps what it had published of it, and goes on
 * in the next one.
 */
static void test_nan_after_good_updates(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 2);
    struct engine engine;

    engine_open(&engine, &attr);
    for (uint32_t round = 0; round < 3; round++) {
        engine_take_all(&engine);
        work(&engine, 1, 0);
        engine_serve(&engine);
        engine_deliver(&engine);
        work(&engine, 1, NAN);
        engine_serve(&engine);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine.server->round.phase, KOFN_PHASE_OPEN);
        work(&engine, 0, 0);
        work(&engine, 0, 0);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        CU_ASSERT_EQUAL(engine_merged(&engine, 1, 2 * round), 0.5f);
        CU_ASSERT_EQUAL(engine_merged(&engine, 1, 2 * round + 1), 0);
    }
    CU_ASSERT_EQUAL(engine_member(&engine, 1).merged, 3);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).refused, 2); /* the third is still on its way */
    engine_close(&engine);
}

/* A late publication that its writer overwrites while it is added up leaves the sum as it was. */
static void test_a_torn_late_update(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 1);
    struct kofn_geometry *geometry;
    const void *payload;
    struct kofn_stamp stamp;
    struct engine engine;
    void *slot;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    work(&engine, 0, 0);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    engine.workers[1].model[LAST] += 1;
    engine_update(&engine, 1);
    engine_deliver(&engine);
    geometry = &engine.server->hub->slot;
    slot = kofn_hub_slot(engine.server->hub, 1);
    CU_ASSERT_EQUAL_FATAL(kofn_slot_begin(geometry, slot, 1, &payload, &stamp), 0);
    kofn_slot_withdraw(geometry, slot, 1);
    CU_ASSERT_PTR_NOT_NULL(kofn__merge_late(engine.server, 1, &stamp, payload, 1));
    CU_ASSERT(!engine.server->late_any);
    kofn_slot_publish(geometry, slot, &stamp);
    CU_ASSERT_PTR_NULL(kofn__merge_late(engine.server, 1, &stamp, payload, 1));
    CU_ASSERT(engine.server->late_any);
    engine.server->late_any = false;
    engine_close(&engine);
}

/* Rank 0 closes a round, and the others are late with it by as much as they are given. */
static void come_late(struct engine *engine, uint32_t workers, const float *last)
{
    engine_take_all(engine);
    work(engine, 0, 0);
    CU_ASSERT_EQUAL(engine_step(engine, NULL), 0);
    for (uint32_t rank = 1; rank < workers; rank++) {
        work(engine, rank, last[rank]);
        engine_take(engine, rank);
        engine_deliver(engine);
    }
    engine_serve(engine);
    engine_deliver(engine);
}

/* Two late updates that are finite and whose sum is not: the first is merged, the second refused,
 * and nobody else has anything to do with it.
 */
static void test_late_updates_that_overflow_together(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 3, 1, 1);
    struct kofn_round_report report;
    struct engine engine;

    engine_open(&engine, &attr);
    come_late(&engine, 3, (float[]){0, 3e38f, 3e38f});
    engine_take(&engine, 0);
    work(&engine, 0, 0);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 1);
    CU_ASSERT_EQUAL(report.late, 1);
    CU_ASSERT_EQUAL(report.refused, 1);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 1), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 2, 0), 0);
    engine_take_all(&engine);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 0).outcome, KOFN_OUTCOME_MERGED);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_LATE);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).weight, 0.5f);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 2).outcome, KOFN_OUTCOME_REFUSED);
    CU_ASSERT_EQUAL(engine_member(&engine, 2).refused, 1);
    engine_close(&engine);
}

/* A late update with which the model would overflow is refused, its worker is told, and those on
 * time are merged without it.
 */
static void test_a_late_update_that_overflows_the_model(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 1);
    struct kofn_round_report report;
    struct engine engine;

    engine_open(&engine, &attr);
    for (uint32_t round = 0; round < 2; round++) {
        come_late(&engine, 2, (float[]){0, 3.3e38f});
        engine_take(&engine, 0);
        work(&engine, 0, 3.3e38f);
        CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
        engine_take_all(&engine);
        if (round == 0)
            CU_ASSERT_EQUAL(report.late, 1);
        engine.workers[0].model[LAST] = 0;
    }
    CU_ASSERT_EQUAL(report.late, 0);
    CU_ASSERT_EQUAL(report.staleness, 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).late, 1);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).refused, 1);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_REFUSED);
    CU_ASSERT(isfinite(kofn_server_model(engine.server)[LAST]));
    engine_close(&engine);
}

/* A gradient that has no place yet: a signal ends the wait, nothing is counted, and the same call
 * again gets its place once there is one.
 */
static void test_a_gradient_without_a_place(void)
{
    struct kofn_server_attr attr = engine_attr("sync", 2, 2, 1);
    struct kofn_worker *worker;
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    worker = engine.workers[0].handle;
    worker->sequence += KOFN_DEPTH; /* as if both were on their way */
    CU_ASSERT_PTR_NULL(kofn_worker_gradient(worker));
    CU_ASSERT_EQUAL(engine_report(&engine, 0), KOFN_INTERRUPTED);
    CU_ASSERT_EQUAL(worker->total, 0);
    worker->sequence -= KOFN_DEPTH;
    CU_ASSERT_EQUAL(engine_report(&engine, 0), KOFN_INTERRUPTED); /* it was not filled */
    CU_ASSERT_EQUAL(engine_update(&engine, 0), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(worker->total, 1);
    engine_close(&engine);
}

/* A worker that was silent and comes back slow is said to be back. */
static void test_back_and_slow(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 1);
    struct kofn_caught caught;
    struct engine engine;

    engine_open(&engine, &attr);
    kofn_caught_reset(&caught);
    engine.log = caught.log;
    engine.server->peers[1].announced = KOFN_MEMBER_SUSPECT;
    engine.server->round.members[1].state = KOFN_MEMBER_SLOW;
    kofn__report_states(engine.server);
    CU_ASSERT_EQUAL(caught.count, 2); /* both */
    engine.server->peers[1].announced = KOFN_MEMBER_SUSPECT;
    engine.server->round.members[1].state = KOFN_MEMBER_READY;
    caught.count = 0;
    kofn__report_states(engine.server);
    CU_ASSERT(kofn_caught_one(&caught, "is back"));
    engine_close(&engine);
}

void kofn_suite_refused(void)
{
    CU_pSuite suite = CU_add_suite("refused", NULL, NULL);

    CU_add_test(suite, "a barred member", test_a_barred_member);
    CU_add_test(suite, "what is held is kept", test_what_is_held_is_kept);
    CU_add_test(suite, "reject late", test_reject_late);
    CU_add_test(suite, "a last beat closes nothing", test_a_last_beat_closes_nothing);
    CU_add_test(suite, "NaN is not one of the K", test_nan_is_not_one_of_the_k);
    CU_add_test(suite, "NaN after good updates", test_nan_after_good_updates);
    CU_add_test(suite, "a torn late update", test_a_torn_late_update);
    CU_add_test(suite, "late updates that overflow together",
                test_late_updates_that_overflow_together);
    CU_add_test(suite, "a late update that overflows the model",
                test_a_late_update_that_overflows_the_model);
    CU_add_test(suite, "a gradient without a place", test_a_gradient_without_a_place);
    CU_add_test(suite, "back and slow", test_back_and_slow);
}
