/* Models that a worker looks at where they were published: it sees what a copy would hold, and what
 * it computes on one that was replaced meanwhile reaches nobody.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/engine.h"

/* Two workers, of which the first looks. */
static void open_pair(struct engine *engine, const float **model)
{
    struct kofn_server_attr attr = engine_attr("sync", 2, 2, 1);

    engine_open(engine, &attr);
    engine_deliver(engine);
    CU_ASSERT_EQUAL_FATAL(kofn_worker_view(engine->workers[0].handle, model, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(engine_take(engine, 1), 0);
}

static int report(struct engine *engine, float value)
{
    struct kofn_update update = {.loss = 1, .compute_ns = KOFN_NS_PER_MS};
    float *gradient = kofn_worker_gradient(engine->workers[0].handle);

    CU_ASSERT_PTR_NOT_NULL_FATAL(gradient);
    for (size_t i = 0; i < ENGINE_PARAMETERS; i++)
        gradient[i] = value;
    return kofn_worker_report(engine->workers[0].handle, NULL, &update);
}

/* The other worker's part of a round, which then closes without the first: it is silent for too
 * long, or known to be.
 */
static void go_on_without(struct engine *engine)
{
    engine_update(engine, 1);
    engine_deliver(engine);
    if (engine_step(engine, NULL) == KOFN_TIMEOUT) {
        engine_skip(engine, 2 * ENGINE_SUSPECT);
        CU_ASSERT_EQUAL(engine_step(engine, NULL), 0);
    }
    engine_deliver(engine);
    CU_ASSERT_EQUAL(engine_take(engine, 1), 0);
}

/* Round after round it shows the server's model, of the round it says. */
static void test_view_is_the_published_model(void)
{
    struct engine engine;
    const float *model;
    uint32_t round;

    open_pair(&engine, &model);
    for (uint32_t i = 1; i <= 5; i++) {
        CU_ASSERT_EQUAL(
            memcmp(model, kofn_server_model(engine.server), ENGINE_PARAMETERS * sizeof(float)), 0);
        CU_ASSERT_EQUAL(report(&engine, 1), KOFN_ROUND_OVER);
        engine_update(&engine, 1);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL_FATAL(kofn_worker_view(engine.workers[0].handle, &model, &round), 0);
        CU_ASSERT_EQUAL(round, i + 1);
        CU_ASSERT_EQUAL(engine_take(&engine, 1), 0);
    }
    CU_ASSERT_EQUAL(engine_member(&engine, 0).merged, 5);
    engine_close(&engine);
}

/* An update on the model before the newest is late, as it would be with a copy. */
static void test_one_model_behind_is_late(void)
{
    struct engine engine;
    const float *model;

    open_pair(&engine, &model);
    go_on_without(&engine);
    CU_ASSERT_EQUAL(report(&engine, 1), KOFN_ROUND_OVER);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).finished, 1);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).late, 1);
    engine_close(&engine);
}

/* One on a model that has been replaced is dropped: nothing is sent, nothing counted, and the
 * worker goes on with the newest.
 */
static void test_replaced_model_spoils_the_update(void)
{
    struct engine engine;
    const float *model;
    uint32_t round = 0;
    uint64_t sequence;

    open_pair(&engine, &model);
    sequence = engine.workers[0].handle->sequence;
    go_on_without(&engine);
    go_on_without(&engine);
    CU_ASSERT_EQUAL(report(&engine, 1), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine.workers[0].handle->sequence, sequence);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).finished, 0);
    CU_ASSERT_EQUAL_FATAL(kofn_worker_view(engine.workers[0].handle, &model, &round), 0);
    CU_ASSERT_EQUAL(round, 3);
    CU_ASSERT_EQUAL(
        memcmp(model, kofn_server_model(engine.server), ENGINE_PARAMETERS * sizeof(float)), 0);
    CU_ASSERT_EQUAL(report(&engine, 1), KOFN_ROUND_OVER);
    engine_update(&engine, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).merged, 1);
    engine_close(&engine);
}

/* A copy may be used as long as one likes. */
static void test_copy_is_never_spoilt(void)
{
    struct engine engine;
    const float *model;

    open_pair(&engine, &model);
    CU_ASSERT_EQUAL(report(&engine, 1), KOFN_ROUND_OVER);
    engine_update(&engine, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), 0);
    go_on_without(&engine);
    go_on_without(&engine);
    CU_ASSERT_EQUAL(report(&engine, 1), KOFN_ROUND_OVER);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(engine_member(&engine, 0).finished, 2);
    engine_close(&engine);
}

/* Where a worker changes its model, or may be many models behind, there is nothing to look at. */
static void test_deltas_need_a_copy(void)
{
    static const char *const names[] = {"local", "kasync", "kbatch-async"};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        struct kofn_server_attr attr = engine_attr(names[i], 2, 2, 1);
        const float *model = NULL;
        struct engine engine;

        engine_open(&engine, &attr);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(kofn_worker_view(engine.workers[0].handle, &model, NULL), KOFN_UNSUPPORTED);
        CU_ASSERT_PTR_NULL(model);
        CU_ASSERT_EQUAL(engine_take(&engine, 0), 0);
        engine_close(&engine);
    }
}

void kofn_suite_view(void)
{
    CU_pSuite suite = CU_add_suite("view", NULL, NULL);

    CU_add_test(suite, "the published model", test_view_is_the_published_model);
    CU_add_test(suite, "one model behind", test_one_model_behind_is_late);
    CU_add_test(suite, "replaced model", test_replaced_model_spoils_the_update);
    CU_add_test(suite, "copy is never spoilt", test_copy_is_never_spoilt);
    CU_add_test(suite, "deltas need a copy", test_deltas_need_a_copy);
}
