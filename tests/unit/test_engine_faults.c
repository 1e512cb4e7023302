/* The two engines together when something fails, or ends: single scenes with a fixed script. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>

#include "tests/unit/engine.h"

static void say_nothing(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg, (void)level, (void)message;
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
            CU_ASSERT_EQUAL(engine_member(&engine, 1).refused, 1);
            CU_ASSERT_EQUAL(engine_merged(&engine, 0, late), 1);
            CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0);
            for (size_t p = 0; p < ENGINE_PARAMETERS; p++)
                CU_ASSERT_FATAL(isfinite(kofn_server_model(engine.server)[p]));
            engine_deliver(&engine);
            engine_take(&engine, 1);
            CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_REFUSED);
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
    engine_take_all(&engine);
    for (uint32_t rank = 0; rank < 2; rank++)
        CU_ASSERT_EQUAL(engine_receipt(&engine, rank).outcome, KOFN_OUTCOME_REFUSED);
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
    CU_ASSERT_EQUAL(engine_member(&engine, 0).state, KOFN_MEMBER_GONE);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0); /* it does not know yet, and publishes */
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(kofn_worker_check(engine.workers[0].handle), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), KOFN_EPOCH);
    CU_ASSERT(kofn_fabric_counts(engine.fabric)->discarded > 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).publications, 1);
    CU_ASSERT_EQUAL(engine_join(&engine, 0), KOFN_AGAIN); /* what it published is still to merge */
    CU_ASSERT_EQUAL(engine.server->round.wait_for, 1);
    engine_update(&engine, 1);
    engine_update(&engine, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 0), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 1), 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).merged, 1);
    CU_ASSERT_EQUAL(engine_join(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).epoch, 2);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    CU_ASSERT_EQUAL(engine.workers[0].round, 2);
    engine_close(&engine);
}

/* A connection that breaks is made again: with a new epoch, the newest model and a clean slate.
 * What was published before and has arrived is merged; what has not is lost, and counted as that,
 * and so is what was finished while nobody knew yet.
 */
static void test_a_broken_connection(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 2);
    struct kofn_member_report member;
    struct engine engine;

    engine_open(&engine, &attr);
    engine_reconnects(&engine);
    engine_take_all(&engine);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    engine_serve(&engine); /* 1 update is here */
    engine_update(&engine, 0);
    kofn_fabric_cut(engine.fabric, 0);                           /* 1 is lost on its way */
    CU_ASSERT_EQUAL(engine_update(&engine, 0), KOFN_ROUND_OVER); /* as is 1 that cannot leave */
    CU_ASSERT_EQUAL(kofn_worker_check(engine.workers[0].handle), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(kofn_worker_pause(engine.workers[0].handle, KOFN_NS_PER_S), KOFN_ROUND_OVER);
    /* the first one is yet to be merged, from where the next connection will write */
    CU_ASSERT_EQUAL(engine_take(&engine, 0), KOFN_INTERRUPTED);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).state, KOFN_MEMBER_GONE);
    engine_update(&engine, 1);
    engine_update(&engine, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), KOFN_INTERRUPTED); /* joined; no model yet */
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    CU_ASSERT_EQUAL(engine.workers[0].round, 2);
    CU_ASSERT_EQUAL(kofn_worker_job(engine.workers[0].handle)->epoch, 2);
    member = engine_member(&engine, 0);
    CU_ASSERT_EQUAL(member.rejoins, 1);
    CU_ASSERT_EQUAL(member.epoch, 2);
    CU_ASSERT_EQUAL(member.finished, 3);
    CU_ASSERT_EQUAL(member.merged, 1);
    CU_ASSERT_EQUAL(member.lost, 2);
    for (int i = 0; i < 2; i++)
        for (uint32_t rank = 0; rank < 2; rank++)
            engine_update(&engine, rank);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).merged, 3);
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(engine_merged(&engine, 0, i), i == 1 || i == 2 ? 0 : 0.5f);
    engine_close(&engine);
}

/* Who was thrown out for what it did cannot come back as the same membership; nor can anybody else,
 * or somebody of another job.
 */
static void test_who_may_return(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 2);
    struct engine engine;

    engine_open(&engine, &attr);
    CU_ASSERT_PTR_NOT_NULL(kofn__admit_return(engine.server, 0, 2, 0, "here", 0));
    CU_ASSERT_PTR_NOT_NULL(kofn__admit_return(engine.server, 0, 1, 0, "there", 0));
    CU_ASSERT_PTR_NOT_NULL(kofn__admit_return(engine.server, 0, 1, 0, "here", 1));
    CU_ASSERT_EQUAL(engine_member(&engine, 0).state, KOFN_MEMBER_JOINING);
    kofn__admit_evict(engine.server, 1, "a reason of the test's");
    CU_ASSERT_PTR_NOT_NULL(kofn__admit_return(engine.server, 1, 1, 0, "here", 0));
    CU_ASSERT_PTR_NULL(kofn__admit_return(engine.server, 0, 1, 5, "here", 0));
    CU_ASSERT_EQUAL(engine_member(&engine, 0).state, KOFN_MEMBER_GONE);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).lost, 5);
    engine_close(&engine);
}

/* What a worker said it had finished is counted, also if the server looks at it only after its
 * death.
 */
static void test_the_last_beat(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 4);
    struct kofn_member_report member;
    struct engine engine;

    attr.publish = KOFN_PUBLISH_ON_CLOSE;
    engine_open(&engine, &attr);
    engine_take_all(&engine);
    for (int i = 0; i < 3; i++)
        engine_update(&engine, 0);
    engine_deliver(&engine);
    engine_die(&engine, 0);
    engine_serve(&engine);
    member = engine_member(&engine, 0);
    CU_ASSERT_EQUAL(member.state, KOFN_MEMBER_GONE);
    CU_ASSERT_EQUAL(member.finished, 3);
    CU_ASSERT_EQUAL(member.lost, 3);
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
    CU_ASSERT_EQUAL(engine_member(&engine, 0).merged, 1);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).lost, 1);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).refused, 1);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).finished, 1);
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
    CU_ASSERT_EQUAL(engine_member(&engine, 0).merged, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_JOB_OVER);
    engine_close(&engine);
}

/* A worker that finds no whole model does not spin for one: it waits, and takes it once it is
 * there.
 */
static void test_a_model_that_is_not_whole(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 1, 1, 1);
    struct kofn_stamp stamp = {.round = 1, .version = 1, .sequence = 1};
    struct kofn_hub *hub;
    struct engine engine;

    engine_open(&engine, &attr);
    hub = engine.server->hub;
    stamp.length = hub->model.payload_bytes;
    engine_deliver(&engine);
    kofn_slot_withdraw(&hub->model, hub->models, 1);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(engine_take(&engine, 0), KOFN_INTERRUPTED);
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), 0);
    engine_close(&engine);
}

/* For the test below: whoever is polled for, somebody else has published. */
static uint32_t polls;

static int somebody_else(struct kofn_hub *hub, struct kofn_arrival *arrivals, int max)
{
    (void)hub, (void)max;
    polls++;
    arrivals[0] = (struct kofn_arrival){.rank = 1, .sequence = 99};
    return 1;
}

/* However much the others send, what has arrived of a worker that leaves is taken in, in bounded
 * time.
 */
static void test_the_others_hold_nobody_up(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 2, 3);
    const struct kofn_transport_ops *ops;
    struct kofn_transport_ops busy;
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    kofn__admit_drain(engine.server, 0);
    CU_ASSERT_EQUAL(engine.server->peers[0].sequence, 1);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    ops = engine.server->hub->ops;
    busy = *ops;
    busy.hub_poll = somebody_else;
    engine.server->hub->ops = &busy;
    polls = 0;
    kofn__admit_drain(engine.server, 0);
    CU_ASSERT(polls > 0 && polls < 8);
    polls = 0;
    kofn__admit_drain(engine.server, 1); /* nothing of it is there */
    CU_ASSERT_EQUAL(polls, 1);
    engine.server->hub->ops = ops;
    engine_close(&engine);
}

/* The loss of a remainder is that of the updates it carries. */
static void test_the_loss_of_a_remainder(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 2);
    static const float losses[] = {1, 5, 9};
    struct kofn_round_report report;
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    for (int i = 0; i < 3; i++) {
        struct kofn_update update = {.loss = losses[i], .compute_ns = 1};

        engine.workers[1].model[ENGINE_UPDATES + i] += 1;
        kofn_worker_report(engine.workers[1].handle, engine.workers[1].model, &update);
        if (i) /* both are late */
            continue;
        engine_deliver(&engine);
        engine_update(&engine, 0);
        engine_update(&engine, 0);
        kofn_fabric_delay(engine.fabric, 1, KOFN_CHANNEL_DOWN, 1);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
        CU_ASSERT_EQUAL(report.loss, 1);
    }
    kofn_fabric_delay(engine.fabric, 1, KOFN_CHANNEL_DOWN, 0);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    engine_update(&engine, 0);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.late, 1);
    CU_ASSERT_EQUAL(report.updates, 4);
    CU_ASSERT_EQUAL(report.loss, (1 + 1 + 5 + 9) / 4.0);
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
        CU_ASSERT_EQUAL(engine_member(&engine, 0).state, KOFN_MEMBER_GONE);
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

void kofn_suite_engine_faults(void)
{
    CU_pSuite suite = CU_add_suite("engine_faults", NULL, NULL);

    CU_add_test(suite, "updates that are not finite", test_updates_that_are_not_finite);
    CU_add_test(suite, "an overflow leaves the model", test_an_overflow_leaves_the_model);
    CU_add_test(suite, "eviction", test_eviction);
    CU_add_test(suite, "a broken connection", test_a_broken_connection);
    CU_add_test(suite, "who may return", test_who_may_return);
    CU_add_test(suite, "the last beat", test_the_last_beat);
    CU_add_test(suite, "the end merges the open round", test_the_end_merges_the_open_round);
    CU_add_test(suite, "the end of a round that collects", test_the_end_of_a_round_that_collects);
    CU_add_test(suite, "a model that is not whole", test_a_model_that_is_not_whole);
    CU_add_test(suite, "the others hold nobody up", test_the_others_hold_nobody_up);
    CU_add_test(suite, "the loss of a remainder", test_the_loss_of_a_remainder);
    CU_add_test(suite, "a torn publication", test_a_torn_publication);
    CU_add_test(suite, "a server that never starts", test_a_server_that_never_starts);
}
