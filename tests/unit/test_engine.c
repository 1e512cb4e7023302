/* The two engines together, over the self transport: single scenes with a fixed script. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/unit/engine.h"

/* A worker that finishes one more update after the close sends exactly that one, and it arrives
 * with staleness 1; what was merged on time is not sent again.
 */
static void test_late_remainder(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 2);
    struct kofn_round_report report;
    struct kofn_receipt receipt;
    struct engine engine;

    attr.staleness_weight = 1;
    engine_open(&engine, &attr);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), KOFN_TIMEOUT);
    engine_update(&engine, 0);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.close, KOFN_CLOSE_REACHED);
    CU_ASSERT_EQUAL(report.merged, 2);
    CU_ASSERT_EQUAL(report.updates, 3);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0.5f);

    engine_deliver(&engine); /* the gate */
    CU_ASSERT_EQUAL(engine_update(&engine, 1), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_MERGED);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), KOFN_TIMEOUT);
    engine_take(&engine, 0);
    engine_update(&engine, 0);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 1);
    CU_ASSERT_EQUAL(report.late, 1);
    CU_ASSERT_EQUAL(report.updates, 3);
    CU_ASSERT_EQUAL(report.staleness, 0.5);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 1), 0.25f); /* 1/2 of 1/(1+1) */
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    receipt = engine_receipt(&engine, 1);
    CU_ASSERT_EQUAL(receipt.outcome, KOFN_OUTCOME_LATE);
    CU_ASSERT_EQUAL(receipt.made_in, 1);
    CU_ASSERT_EQUAL(receipt.merged_in, 2);
    CU_ASSERT_EQUAL(receipt.staleness, 1);
    CU_ASSERT_EQUAL(receipt.updates, 2);
    CU_ASSERT_EQUAL(receipt.weight, 0.25f); /* as it was merged */
    CU_ASSERT_EQUAL(engine_member(&engine, 1).merged, 1);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).late, 1);
    engine_close(&engine);
}

/* The round closes while `sent` publications of rank 1 are under way, behind which it has finished
 * an update more: the first is merged late as it is, the rest follows as a remainder.
 */
static void check_under_way(uint32_t sent)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 9);
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    kofn_fabric_delay(engine.fabric, 1, KOFN_CHANNEL_DATA, 1);
    for (uint32_t i = 0; i < sent; i++)
        CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    for (int i = 0; i < 9; i++) {
        engine_update(&engine, 0);
        engine_deliver(&engine);
        engine_serve(&engine);
        engine_deliver(&engine);
    }
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), sent < 2 ? 0 : KOFN_INTERRUPTED);
    kofn_fabric_tick(engine.fabric);
    engine_deliver(&engine);
    engine_serve(&engine);
    engine_deliver(&engine);
    if (sent >= 2) /* the credit for the remainder is there now */
        CU_ASSERT_EQUAL(engine_take(&engine, 1), 0);
    kofn_fabric_tick(engine.fabric);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(kofn_server_stop(engine.server, 0), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).late, sent + 1);
    for (uint32_t i = 0; i <= sent; i++)
        CU_ASSERT_EQUAL(engine_merged(&engine, 1, i), 1);
    CU_ASSERT_EQUAL(kofn_fabric_counts(engine.fabric)->refilled, 0);
    engine_close(&engine);
}

static void test_publications_under_way_at_the_close(void)
{
    check_under_way(0);
    check_under_way(1);
    check_under_way(2);
}

/* A worker whose gate is ahead of the model it can see waits for the newer one; it does not start
 * its old round again. What is late has been sent by then, and is not sent twice.
 */
static void test_an_old_model_is_not_taken_again(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 2);
    struct kofn_stamp *stamp;
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    engine_update(&engine, 1);
    for (int i = 0; i < 2; i++) {
        engine_update(&engine, 0);
        engine_update(&engine, 0);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        engine_deliver(&engine);
        engine_take(&engine, 0);
    }
    CU_ASSERT_EQUAL(engine_update(&engine, 1), KOFN_ROUND_OVER);
    stamp = kofn_slot_stamp(&engine.server->hub->model, engine.server->hub->models, 3);
    stamp->sequence = 0;
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_INTERRUPTED);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_INTERRUPTED);
    stamp->sequence = 3;
    CU_ASSERT_EQUAL(engine_take(&engine, 1), 0);
    CU_ASSERT_EQUAL(engine.workers[1].round, 3);
    CU_ASSERT_EQUAL(engine.workers[1].handle->sequence, 2);
    engine_close(&engine);
}

/* Rank 1 computes in round 1 while rank 0 closes five rounds; then it comes back with what it has.
 */
static void come_back(struct engine *engine, enum kofn_late late)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 1);

    attr.late = late;
    attr.staleness_weight = 1;
    engine_open(engine, &attr);
    engine_take_all(engine);
    for (int i = 0; i < 5; i++) {
        engine_update(engine, 0);
        engine_deliver(engine);
        CU_ASSERT_EQUAL(engine_step(engine, NULL), 0);
        if (i == 4)
            engine_skip(engine, 2 * ENGINE_SUSPECT);
        engine_deliver(engine);
        CU_ASSERT_EQUAL(engine_take(engine, 0), 0);
    }
    engine_deliver(engine);
    engine_serve(engine); /* rank 0 gets on, rank 1 does not */
    CU_ASSERT_EQUAL(engine_member(engine, 1).state, KOFN_MEMBER_SUSPECT);
    engine_update(engine, 0);
    engine_deliver(engine);
    CU_ASSERT_EQUAL(engine_step(engine, NULL), 0);
    engine_deliver(engine);
    CU_ASSERT_EQUAL(engine_update(engine, 1), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(engine, 1), 0);
    CU_ASSERT_EQUAL(engine->workers[1].round, 7);
    engine_deliver(engine);
    engine_serve(engine);
    CU_ASSERT_EQUAL(engine_member(engine, 1).state, KOFN_MEMBER_READY);
    engine_take(engine, 0);
    engine_update(engine, 0);
    engine_deliver(engine);
    CU_ASSERT_EQUAL(engine_step(engine, NULL), 0);
    engine_deliver(engine);
    engine_update(engine, 1);
}

/* A frozen worker that comes back after several rounds: its update is merged with the weight of its
 * staleness.
 */
static void test_comeback_is_merged(void)
{
    struct engine engine;

    come_back(&engine, KOFN_LATE_MERGE);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0.5f * (1.0f / 7));
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_LATE);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).staleness, 6);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).late, 1);
    engine_close(&engine);
}

/* The same with --late refuse: it is told, and nothing of it is in the model. */
static void test_comeback_is_refused(void)
{
    struct engine engine;

    come_back(&engine, KOFN_LATE_REFUSE);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_REFUSED);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).merged_in, 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).refused, 1);
    engine_close(&engine);
}

/* sync: the server's trajectory is that of SGD on the mean of all gradients, bit for bit. */
static void test_sync_is_sequential_sgd(void)
{
    struct kofn_server_attr attr = engine_attr("sync", 3, 3, 1);
    float *expected = calloc(ENGINE_PARAMETERS, sizeof(*expected));
    struct kofn_random random;
    struct engine engine;

    attr.learning_rate = 0.1;
    kofn_random_seed(&random, 1, 0);
    engine_open(&engine, &attr);
    for (int round = 0; round < 20; round++) {
        float mean[ENGINE_PARAMETERS];

        CU_ASSERT_EQUAL(engine_take_all(&engine), 3);
        memcpy(mean, expected, sizeof(mean));
        for (uint32_t i = 0; i < 3; i++) {
            uint32_t rank = round % 2 ? 2 - i : i; /* the order of arrival does not matter */
            float *gradient = kofn_worker_gradient(engine.workers[rank].handle);

            CU_ASSERT(!memcmp(engine.workers[rank].model, expected, sizeof(mean)));
            for (size_t p = 0; p < ENGINE_PARAMETERS; p++)
                gradient[p] = (float)kofn_random_normal(&random) + expected[p];
            CU_ASSERT_EQUAL(engine_report(&engine, rank), KOFN_ROUND_OVER);
        }
        for (uint32_t rank = 0; rank < 3; rank++) {
            const struct kofn_worker *handle = engine.workers[rank].handle;
            const float *gradient = kofn_slot_payload(&handle->endpoint->slot,
                                                      handle->endpoint->buffers, handle->sequence);

            for (size_t p = 0; p < ENGINE_PARAMETERS; p++)
                mean[p] += (float)(-0.1 * (1.0 / 3)) * gradient[p];
        }
        memcpy(expected, mean, sizeof(mean));
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        CU_ASSERT(!memcmp(kofn_server_model(engine.server), expected, sizeof(mean)));
    }
    engine_close(&engine);
    free(expected);
}

/* On-close: the gate closes, who has finished something publishes it once, and the round is merged
 * when all is there.
 */
static void test_on_close(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 3, 1, 2);
    struct kofn_round_report report;
    struct engine engine;

    attr.publish = KOFN_PUBLISH_ON_CLOSE;
    engine_open(&engine, &attr);
    engine_take_all(&engine);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(engine.server->round.phase, KOFN_PHASE_COLLECTING);
    CU_ASSERT_EQUAL(engine.server->round.expected, 2);
    engine_deliver(&engine);
    for (uint32_t rank = 0; rank < 3; rank++)
        CU_ASSERT_EQUAL(engine_take(&engine, rank), KOFN_INTERRUPTED);
    CU_ASSERT_EQUAL(kofn_fabric_pending(engine.fabric, 2, KOFN_CHANNEL_DATA), 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 2);
    CU_ASSERT_EQUAL(report.publications, 2);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 1), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0.5f);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 3);
    engine_close(&engine);
}

/* On-close: who does not publish within the grace is not waited for, and is merged late. */
static void test_grace(void)
{
    struct kofn_server_attr attr = engine_attr("local", 2, 2, 1);
    struct kofn_round_report report;
    struct engine engine;

    attr.publish = KOFN_PUBLISH_ON_CLOSE;
    engine_open(&engine, &attr);
    engine_take_all(&engine);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), KOFN_ROUND_OVER);
    engine_deliver(&engine);
    engine_serve(&engine);
    engine_deliver(&engine);
    engine_take(&engine, 0);
    engine_take(&engine, 1);
    kofn_fabric_delay(engine.fabric, 1, KOFN_CHANNEL_DATA, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), KOFN_TIMEOUT);
    engine_skip(&engine, 2 * ENGINE_GRACE);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 1);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    kofn_fabric_tick(engine.fabric);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).late, 1);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).publications, 1);
    engine_close(&engine);
}

/* A server that does not look for a while: workers skip publications, and the next one carries the
 * work.
 */
static void test_credits_run_out(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 1, 1, 6);
    struct kofn_round_report report;
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
        engine_deliver(&engine);
    }
    CU_ASSERT_EQUAL(engine.workers[0].handle->sequence, KOFN_DEPTH);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).updates, 5); /* by its beat */
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine.workers[0].handle->sequence, KOFN_DEPTH + 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.publications, 3);
    CU_ASSERT_EQUAL(report.updates, 6);
    CU_ASSERT_EQUAL(kofn_fabric_counts(engine.fabric)->refilled, 0);
    for (uint32_t i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(engine_merged(&engine, 0, i), 1);
    engine_close(&engine);
}

/* local: who waits for its credit when it is interrupted goes on with the same update. */
static void test_an_interrupted_report_counts_once(void)
{
    struct kofn_server_attr attr = engine_attr("local", 2, 2, 1);
    struct engine engine;

    attr.deadline = 1;
    engine_open(&engine, &attr);
    engine_take_all(&engine);
    kofn_fabric_delay(engine.fabric, 0, KOFN_CHANNEL_DATA, 1);
    for (int i = 0; i < 2; i++) { /* rank 1 closes two rounds by the deadline; rank 0 is late */
        CU_ASSERT_EQUAL(engine_update(&engine, 0), KOFN_ROUND_OVER);
        engine_update(&engine, 1);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    }
    CU_ASSERT_EQUAL(engine_update(&engine, 0), KOFN_INTERRUPTED);
    CU_ASSERT_EQUAL(engine_report(&engine, 0), KOFN_INTERRUPTED);
    CU_ASSERT_EQUAL(engine.workers[0].handle->total, 3);
    kofn_fabric_tick(engine.fabric);
    engine_deliver(&engine);
    engine_serve(&engine);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_report(&engine, 0), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine.workers[0].handle->total, 3);
    kofn_fabric_tick(engine.fabric);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).late, 2);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).merged, 1);
    engine_close(&engine);
}

void kofn_suite_engine(void)
{
    CU_pSuite suite = CU_add_suite("engine", NULL, NULL);

    CU_add_test(suite, "late remainder", test_late_remainder);
    CU_add_test(suite, "publications under way at the close",
                test_publications_under_way_at_the_close);
    CU_add_test(suite, "an old model is not taken again", test_an_old_model_is_not_taken_again);
    CU_add_test(suite, "comeback is merged", test_comeback_is_merged);
    CU_add_test(suite, "comeback is refused", test_comeback_is_refused);
    CU_add_test(suite, "sync is sequential SGD", test_sync_is_sequential_sgd);
    CU_add_test(suite, "on-close", test_on_close);
    CU_add_test(suite, "grace", test_grace);
    CU_add_test(suite, "credits run out", test_credits_run_out);
    CU_add_test(suite, "an interrupted report counts once", test_an_interrupted_report_counts_once);
}
