/* The two engines together, over the self transport: single scenes with a fixed script. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/unit/engine.h"

static void say_nothing(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg, (void)level, (void)message;
}

static struct kofn_member_report member(const struct engine *engine, uint32_t rank)
{
    struct kofn_member_report report = {.size = sizeof(report)};

    CU_ASSERT_EQUAL(kofn_server_member(engine->server, rank, &report), 0);
    return report;
}

/* The last receipt that @rank has read. */
static struct kofn_receipt last_receipt(const struct engine *engine, uint32_t rank)
{
    const struct engine_worker *worker = &engine->workers[rank];

    CU_ASSERT_FATAL(worker->receipt_count > 0);
    return worker->receipts[worker->receipt_count - 1];
}

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
    CU_ASSERT_EQUAL(last_receipt(&engine, 1).outcome, KOFN_OUTCOME_MERGED);
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
    receipt = last_receipt(&engine, 1);
    CU_ASSERT_EQUAL(receipt.outcome, KOFN_OUTCOME_LATE);
    CU_ASSERT_EQUAL(receipt.made_in, 1);
    CU_ASSERT_EQUAL(receipt.merged_in, 2);
    CU_ASSERT_EQUAL(receipt.staleness, 1);
    CU_ASSERT_EQUAL(receipt.updates, 2);
    CU_ASSERT_EQUAL(member(&engine, 1).merged, 1);
    CU_ASSERT_EQUAL(member(&engine, 1).late, 1);
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
    CU_ASSERT_EQUAL(member(&engine, 1).late, sent + 1);
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
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_TIMEOUT);
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
        engine_deliver(engine);
        CU_ASSERT_EQUAL(engine_take(engine, 0), 0);
    }
    engine_skip(engine, 3 * KOFN_NS_PER_S);
    engine_serve(engine);
    CU_ASSERT_EQUAL(member(engine, 1).state, KOFN_MEMBER_SUSPECT);
    engine_update(engine, 0);
    engine_deliver(engine);
    CU_ASSERT_EQUAL(engine_step(engine, NULL), 0);
    engine_deliver(engine);
    CU_ASSERT_EQUAL(engine_update(engine, 1), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(engine, 1), 0);
    CU_ASSERT_EQUAL(engine->workers[1].round, 7);
    engine_deliver(engine);
    engine_serve(engine);
    CU_ASSERT_EQUAL(member(engine, 1).state, KOFN_MEMBER_READY);
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
    CU_ASSERT_EQUAL(last_receipt(&engine, 1).outcome, KOFN_OUTCOME_LATE);
    CU_ASSERT_EQUAL(last_receipt(&engine, 1).staleness, 6);
    CU_ASSERT_EQUAL(member(&engine, 1).late, 1);
    engine_close(&engine);
}

/* The same with --late refuse: it is told, and nothing of it is in the model. */
static void test_comeback_is_refused(void)
{
    struct engine engine;

    come_back(&engine, KOFN_LATE_REFUSE);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0);
    CU_ASSERT_EQUAL(last_receipt(&engine, 1).outcome, KOFN_OUTCOME_REFUSED);
    CU_ASSERT_EQUAL(last_receipt(&engine, 1).merged_in, 0);
    CU_ASSERT_EQUAL(member(&engine, 1).refused, 1);
    engine_close(&engine);
}

/* An update with a NaN or an infinity anywhere is refused, on time or late, and the others are
 * merged as if it had never come.
 */
static void test_updates_that_are_not_finite(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(bad); i++)
        for (uint32_t late = 0; late < 2; late++) {
            struct kofn_server_attr attr = engine_attr("stsyn", 2, 2 - late, 1);
            struct kofn_round_report report;
            struct engine engine;

            engine_open(&engine, &attr);
            engine_take_all(&engine);
            engine.workers[1].model[ENGINE_PARAMETERS - 1 - i] = bad[i];
            engine_update(&engine, 0);
            if (late) {
                engine_deliver(&engine);
                CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
            }
            engine_update(&engine, 1);
            engine_deliver(&engine);
            if (late) {
                engine_take(&engine, 0);
                engine_update(&engine, 0);
                engine_deliver(&engine);
            }
            CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
            CU_ASSERT_EQUAL(report.merged, 1);
            CU_ASSERT_EQUAL(report.late, 0);
            CU_ASSERT_EQUAL(report.refused, 1);
            CU_ASSERT_EQUAL(member(&engine, 1).refused, 1);
            CU_ASSERT_EQUAL(engine_merged(&engine, 0, late), 1);
            CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0);
            for (size_t p = 0; p < ENGINE_PARAMETERS; p++)
                CU_ASSERT_FATAL(isfinite(kofn_server_model(engine.server)[p]));
            engine_deliver(&engine);
            engine_take(&engine, 1);
            CU_ASSERT_EQUAL(last_receipt(&engine, 1).outcome, KOFN_OUTCOME_REFUSED);
            engine_close(&engine);
        }
}

/* Updates that are finite but whose sum is not leave the model as it was. */
static void test_an_overflow_leaves_the_model(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 1);
    struct kofn_round_report report;
    struct engine engine;

    attr.weights = KOFN_WEIGHTS_UNIFORM;
    engine_open(&engine, &attr);
    for (int i = 0; i < 4; i++) {
        engine_take_all(&engine);
        for (uint32_t rank = 0; rank < 2; rank++) {
            engine.workers[rank].model[ENGINE_PARAMETERS - 1] += i ? 3e38f : 0;
            engine_update(&engine, rank);
        }
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    }
    CU_ASSERT_EQUAL(report.merged, 0);
    CU_ASSERT_EQUAL(report.refused, 2);
    CU_ASSERT_EQUAL(kofn_server_model(engine.server)[ENGINE_PARAMETERS - 1], 3e38f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 1), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 3), 0);
    engine_close(&engine);
}

/* A worker that breaks the rules is evicted: it learns so, what it sent before and what it writes
 * afterwards changes nothing, and it can join again.
 */
static void test_eviction(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 2);
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    engine_serve(&engine);
    engine.workers[0].handle->version = 99;
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    kofn_fabric_deliver(engine.fabric, 0, KOFN_CHANNEL_DATA);
    kofn_fabric_deliver(engine.fabric, 0, KOFN_CHANNEL_DATA);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(member(&engine, 0).state, KOFN_MEMBER_GONE);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0); /* it does not know yet, and publishes */
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(kofn_worker_check(engine.workers[0].handle), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), KOFN_EPOCH);
    CU_ASSERT(kofn_fabric_counts(engine.fabric)->discarded > 0);
    CU_ASSERT_EQUAL(member(&engine, 0).publications, 1);
    CU_ASSERT_EQUAL(engine_join(&engine, 0), KOFN_AGAIN); /* what it published is still to merge */
    CU_ASSERT_EQUAL(engine.server->round.wait_for, 1);
    engine_update(&engine, 1);
    engine_update(&engine, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 0), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 1), 0);
    CU_ASSERT_EQUAL(member(&engine, 0).merged, 1);
    CU_ASSERT_EQUAL(engine_join(&engine, 0), 0);
    CU_ASSERT_EQUAL(member(&engine, 0).epoch, 2);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    CU_ASSERT_EQUAL(engine.workers[0].round, 2);
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
    engine_skip(&engine, KOFN_NS_PER_S);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 1);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    kofn_fabric_tick(engine.fabric);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(member(&engine, 1).late, 1);
    CU_ASSERT_EQUAL(member(&engine, 1).publications, 1);
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
    CU_ASSERT_EQUAL(member(&engine, 0).updates, 5); /* by its beat */
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
    CU_ASSERT_EQUAL(member(&engine, 0).late, 2);
    CU_ASSERT_EQUAL(member(&engine, 0).merged, 1);
    engine_close(&engine);
}

/* The end of the job merges what the open round has; what arrives afterwards is refused. */
static void test_the_end_merges_the_open_round(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 3);
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    engine_update(&engine, 1);
    CU_ASSERT_EQUAL(kofn_server_stop(engine.server, 0), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 0), 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), KOFN_JOB_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_JOB_OVER);
    engine_leave(&engine, 0);
    engine_leave(&engine, 1);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0);
    CU_ASSERT_EQUAL(member(&engine, 0).merged, 1);
    CU_ASSERT_EQUAL(member(&engine, 0).lost, 1);
    CU_ASSERT_EQUAL(member(&engine, 1).refused, 1);
    CU_ASSERT_EQUAL(member(&engine, 1).finished, 1);
    engine_close(&engine);
}

/* The end of a job that publishes on close waits for its workers no longer than it was told to, and
 * merges what has come.
 */
static void test_the_end_of_a_round_that_collects(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 1);
    struct engine engine;

    attr.publish = KOFN_PUBLISH_ON_CLOSE;
    engine_open(&engine, &attr);
    engine_take_all(&engine);
    engine_update(&engine, 0);
    engine_update(&engine, 1);
    engine_deliver(&engine);
    engine_serve(&engine);
    engine_deliver(&engine);
    engine_take(&engine, 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(kofn_server_stop(engine.server, 0), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 0), 1);
    CU_ASSERT_EQUAL(member(&engine, 0).merged, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_JOB_OVER);
    engine_close(&engine);
}

/* A connection that breaks in the middle of a publication: nothing of that is ever merged, the
 * worker is told, what was complete counts, and the rank can be taken again.
 */
static void test_a_torn_publication(void)
{
    for (size_t bytes = 0; bytes <= ENGINE_PARAMETERS * sizeof(float); bytes += 509) {
        struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 2);
        struct engine engine;

        engine_open(&engine, &attr);
        engine_take_all(&engine);
        engine_update(&engine, 0);
        engine_deliver(&engine);
        engine_update(&engine, 0);
        CU_ASSERT_EQUAL(kofn_fabric_tear(engine.fabric, 0, KOFN_CHANNEL_DATA, bytes, false), 0);
        kofn_fabric_cut(engine.fabric, 0);
        engine_serve(&engine);
        engine_serve(&engine);
        CU_ASSERT_EQUAL(member(&engine, 0).state, KOFN_MEMBER_GONE);
        CU_ASSERT_EQUAL(engine_update(&engine, 0), KOFN_GONE);
        engine_update(&engine, 1);
        engine_update(&engine, 1);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        CU_ASSERT_EQUAL(engine_merged(&engine, 0, 0), 0.5f);
        CU_ASSERT_EQUAL(engine_merged(&engine, 0, 1), 0);
        CU_ASSERT_EQUAL(engine_merged(&engine, 1, 1), 0.5f);
        CU_ASSERT_EQUAL(engine_join(&engine, 0), 0);
        CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
        engine_close(&engine);
    }
}

/* Workers of a server that never starts are told when it gives up. */
static void test_a_server_that_never_starts(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 1);
    struct kofn_fabric_attr fabric = {.workers = 2};
    struct engine engine = {0};

    attr.join_timeout = 1;
    attr.quorum = 2;
    engine.log = (struct kofn_log){KOFN_LOG_ERROR, say_nothing, NULL};
    attr.log = &engine.log;
    CU_ASSERT_EQUAL_FATAL(kofn_fabric_open(&fabric, &engine.fabric), 0);
    CU_ASSERT_EQUAL_FATAL(
        kofn__server_open(&attr, kofn_transport_find("self"), engine.fabric, &engine.server), 0);
    CU_ASSERT_EQUAL(engine_join(&engine, 1), 0);
    CU_ASSERT_EQUAL(kofn_server_start(engine.server, engine.workers[1].model), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(kofn_server_stop(engine.server, 0), KOFN_TIMEOUT);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_JOB_OVER);
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
    CU_add_test(suite, "updates that are not finite", test_updates_that_are_not_finite);
    CU_add_test(suite, "an overflow leaves the model", test_an_overflow_leaves_the_model);
    CU_add_test(suite, "eviction", test_eviction);
    CU_add_test(suite, "sync is sequential SGD", test_sync_is_sequential_sgd);
    CU_add_test(suite, "on-close", test_on_close);
    CU_add_test(suite, "grace", test_grace);
    CU_add_test(suite, "credits run out", test_credits_run_out);
    CU_add_test(suite, "an interrupted report counts once", test_an_interrupted_report_counts_once);
    CU_add_test(suite, "the end merges the open round", test_the_end_merges_the_open_round);
    CU_add_test(suite, "the end of a round that collects", test_the_end_of_a_round_that_collects);
    CU_add_test(suite, "a torn publication", test_a_torn_publication);
    CU_add_test(suite, "a server that never starts", test_a_server_that_never_starts);
}
