/* What comes from outside the engines: attributes that cannot be, workers that break every rule,
 * signals. Nobody but their author suffers from them.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/lib/caught_log.h"
#include "tests/unit/engine.h"

static struct kofn_server_attr good(void)
{
    return engine_attr("stsyn", 4, 3, 2);
}

/* A server with one attribute that cannot be is refused, with one message that names it. */
static void test_attributes_are_checked(void)
{
    struct kofn_server_attr wrong[11];
    static const char *const words[KOFN_ARRAY_SIZE(wrong)] = {
        "N = 0", "N = 70000", "K = 5",       "quorum", "U = 16777216", "stale",
        "rate",  "publish",   "cannot read", "nosuch", "0 parameters"};
    struct kofn_transport_ops blind = *kofn_transport_find("self");

    blind.capabilities &= ~(uint32_t)KOFN_CAP_READ;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(wrong); i++)
        wrong[i] = good();
    wrong[0].workers = 0;
    wrong[1].workers = 70000;
    wrong[2].wait_for = 5;
    wrong[3].quorum = 5;
    wrong[4].local_steps = 1u << 24;
    wrong[5].staleness_weight = NAN;
    wrong[6].learning_rate = -INFINITY;
    wrong[7].publish = (enum kofn_publish)9;
    wrong[8].publish = KOFN_PUBLISH_PULL;
    wrong[9].algorithm = "nosuch";
    wrong[10].parameters = 0;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(wrong); i++) {
        struct kofn_fabric_attr attr = {.workers = 4};
        struct kofn_server *server = NULL;
        struct kofn_fabric *fabric;
        struct kofn_caught caught;
        int rc;

        CU_ASSERT_EQUAL_FATAL(kofn_fabric_open(&attr, &fabric), 0);
        kofn_caught_reset(&caught);
        wrong[i].log = &caught.log;
        rc = kofn__server_open(&wrong[i], &blind, fabric, &server);
        CU_ASSERT_EQUAL(rc, i == 8 ? KOFN_UNSUPPORTED : KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, words[i]));
        CU_ASSERT_PTR_NULL(server);
        kofn_fabric_close(fabric);
    }
}

/* A stamp of which every field may be anything. */
static struct kofn_stamp draw_stamp(struct kofn_random *random, const struct engine *engine)
{
    const struct kofn_worker *handle = engine->workers[0].handle;
    static const uint32_t odd[] = {0, 1, 2, 3, 1u << 24, UINT32_MAX - 1, UINT32_MAX};
    struct kofn_stamp stamp = {.epoch = handle->endpoint->epoch,
                               .round = engine->server->round.number,
                               .version = engine->server->round.number,
                               .updates = 1,
                               .total = 1,
                               .length = handle->endpoint->slot.payload_bytes,
                               .sequence = handle->sequence + 1};
    uint32_t *fields[] = {&stamp.epoch, &stamp.round,   &stamp.version, &stamp.from,
                          &stamp.total, &stamp.updates, &stamp.post_ns, &stamp.wait_ns};

    for (uint64_t changes = kofn_random_below(random, 4); changes; changes--)
        *fields[kofn_random_below(random, KOFN_ARRAY_SIZE(fields))] =
            odd[kofn_random_below(random, KOFN_ARRAY_SIZE(odd))] +
            (uint32_t)kofn_random_below(random, 3) - 1;
    if (kofn_random_below(random, 8) == 0)
        stamp.length = kofn_random_next(random);
    if (kofn_random_below(random, 8) == 0)
        stamp.compute_ns = kofn_random_next(random);
    if (kofn_random_below(random, 8) == 0)
        stamp.loss = NAN;
    return stamp;
}

/* Sends anything as a publication of rank 0, and anything as its beat. */
static void misbehave(struct engine *engine, struct kofn_random *random)
{
    struct kofn_worker *handle = engine->workers[0].handle;
    struct kofn_endpoint *endpoint = handle->endpoint;
    struct kofn_stamp stamp = draw_stamp(random, engine);
    float *payload = endpoint->ops->endpoint_buffer(endpoint, stamp.sequence);
    struct kofn_beat beat = {(uint32_t)kofn_random_below(random, 50),
                             (uint32_t)kofn_random_next(random)};

    memset(payload, 0, endpoint->slot.payload_bytes);
    payload[0] = kofn_random_below(random, 4) ? 1 : NAN;
    if (!endpoint->ops->endpoint_publish(endpoint, &stamp))
        handle->sequence++;
    endpoint->ops->endpoint_beat(endpoint, kofn_random_below(random, 2) ? kofn_beat_pack(beat)
                                                                        : kofn_random_next(random));
}

static void check_the_honest(const struct engine *engine, uint32_t merged)
{
    struct kofn_member_report member = {.size = sizeof(member)};
    const float *model = kofn_server_model(engine->server);

    CU_ASSERT_EQUAL(kofn_server_member(engine->server, 1, &member), 0);
    CU_ASSERT_EQUAL(member.merged, merged);
    CU_ASSERT_EQUAL(member.finished, merged);
    CU_ASSERT_EQUAL(member.refused + member.late + member.lost, 0);
    for (uint32_t i = 0; i < merged; i++)
        CU_ASSERT(engine_merged(engine, 1, i) == 1 || engine_merged(engine, 1, i) == 0.5f);
    for (size_t p = 0; p < ENGINE_PARAMETERS; p++)
        CU_ASSERT_FATAL(isfinite(model[p]));
}

/* A worker that sends any stamps and beats is evicted, refused or merged, again and again: the
 * server goes on, the model stays finite, and what another worker does is merged with its share.
 */
static void test_a_worker_that_breaks_every_rule(void)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 3);
        struct kofn_random random;
        struct engine engine;
        uint32_t merged = 0;

        kofn_random_seed(&random, seed, 0);
        engine_open(&engine, &attr);
        for (int i = 0; i < 30; i++) {
            engine_take_all(&engine);
            for (int bad = 0; bad < 4; bad++) {
                misbehave(&engine, &random);
                kofn_fabric_scatter(engine.fabric, 2);
                engine_serve(&engine);
            }
            if (i % 4 == 0) /* what it has written over its own publications will never be seen */
                engine_die(&engine, 0);
            if (!kofn_member_connected(&engine.server->round.members[0]))
                engine_join(&engine, 0);
            while (engine.server->round.phase == KOFN_PHASE_OPEN) {
                merged++;
                engine_update(&engine, 1);
                engine_deliver(&engine);
                engine_serve(&engine);
                engine_deliver(&engine);
            }
            CU_ASSERT_EQUAL_FATAL(engine_step(&engine, NULL), 0);
            if (engine.workers[0].handle == NULL)
                engine_join(&engine, 0);
        }
        check_the_honest(&engine, merged);
        CU_ASSERT(engine.server->peers[0].epoch > 9); /* it was evicted, and came back */
        engine_close(&engine);
    }
}

/* kofn_server_interrupt() makes the next step return, and the one after goes on. */
static void test_interrupt(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 1, 1, 1);
    struct engine engine;

    engine_open(&engine, &attr);
    engine_take_all(&engine);
    kofn_server_interrupt(engine.server);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), KOFN_INTERRUPTED);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), KOFN_TIMEOUT);
    engine_update(&engine, 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    engine_close(&engine);
}

/* Calls that cannot be are refused and change nothing. */
static void test_calls_out_of_turn(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 1, 1, 1);
    struct kofn_member_report member = {.size = sizeof(member)};
    struct kofn_receipt receipt;
    struct engine engine;

    engine_open(&engine, &attr);
    CU_ASSERT_EQUAL(kofn_server_start(engine.server, engine.workers[0].model), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_server_member(engine.server, 1, &member), KOFN_INVALID);
    member.size = 8;
    CU_ASSERT_EQUAL(kofn_server_member(engine.server, 0, &member), KOFN_INVALID);
    CU_ASSERT_EQUAL(engine_report(&engine, 0), KOFN_INVALID);
    CU_ASSERT_PTR_NULL(kofn_worker_gradient(engine.workers[0].handle));
    CU_ASSERT_EQUAL(kofn_worker_receipt(engine.workers[0].handle, &receipt), KOFN_AGAIN);
    engine_take_all(&engine);
    CU_ASSERT_EQUAL(kofn_worker_report(engine.workers[0].handle, NULL, NULL), KOFN_INVALID);
    CU_ASSERT_EQUAL(engine.workers[0].handle->total, 0);
    kofn_server_stop(engine.server, 0);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_server_stop(engine.server, 0), 0);
    engine_close(&engine);
}

/* FedNova: the engine merges with the machine's weights, and says them in receipts. */
static void test_fednova(void)
{
    struct kofn_server_attr attr = engine_attr("stsyn", 2, 1, 3);
    struct kofn_round_report report;
    struct engine engine;

    attr.weights = KOFN_WEIGHTS_FEDNOVA;
    engine_open(&engine, &attr);
    engine_take_all(&engine);
    engine_update(&engine, 0);
    for (int i = 0; i < 3; i++) {
        engine_update(&engine, 1);
        engine_deliver(&engine);
        engine_serve(&engine);
        engine_deliver(&engine);
    }
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.updates, 4);
    CU_ASSERT_EQUAL(report.loss, 1);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 0), 1);
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_DOUBLE_EQUAL(engine_merged(&engine, 1, i), 1.0 / 3, 1e-7);
    engine_take_all(&engine);
    CU_ASSERT_EQUAL(engine.workers[1].receipts[0].weight, engine_merged(&engine, 1, 0));
    engine_close(&engine);
}

void kofn_suite_engine_hostile(void)
{
    CU_pSuite suite = CU_add_suite("engine_hostile", NULL, NULL);

    CU_add_test(suite, "attributes are checked", test_attributes_are_checked);
    CU_add_test(suite, "a worker that breaks every rule", test_a_worker_that_breaks_every_rule);
    CU_add_test(suite, "interrupt", test_interrupt);
    CU_add_test(suite, "calls out of turn", test_calls_out_of_turn);
    CU_add_test(suite, "FedNova", test_fednova);
}
