/* Publications that are read: what workers keep is merged without their doing anything, what misses
 * its round is read in the next, and nothing is merged twice or forgotten.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "tests/unit/engine.h"

static void open_pull(struct engine *engine, const char *algorithm, uint32_t workers,
                      uint32_t wait_for, uint32_t steps)
{
    struct kofn_server_attr attr = engine_attr(algorithm, workers, wait_for, steps);

    attr.publish = KOFN_PUBLISH_PULL;
    engine_open(engine, &attr);
    CU_ASSERT_EQUAL(engine_take_all(engine), workers);
}

/* The round has closed by beats; reads go out, come back, and it is merged. */
static int close_by_reads(struct engine *engine, struct kofn_round_report *report)
{
    engine_deliver(engine); /* beats */
    engine_serve(engine);   /* closes, asks */
    CU_ASSERT_EQUAL(engine->server->round.phase, KOFN_PHASE_COLLECTING);
    engine_deliver(engine); /* what was asked for */
    return engine_step(engine, report);
}

/* Everybody's newest snapshot is merged although, after their updates, no worker is called once;
 * who has finished nothing is not asked.
 */
static void test_read_without_workers(void)
{
    struct kofn_round_report report;
    struct engine engine;

    open_pull(&engine, "stsyn", 3, 1, 3);
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(kofn_fabric_pending(engine.fabric, 0, KOFN_CHANNEL_DATA), 0);
    CU_ASSERT_EQUAL(close_by_reads(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 2);
    CU_ASSERT_EQUAL(report.publications, 2);
    CU_ASSERT_EQUAL(report.updates, 5);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 2), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 1), 0.5f);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 3);
    engine_close(&engine);
}

/* An update that is finished after the close is late: the rest alone is kept, read in the next
 * round and merged with its weight there; its worker goes on when it was read, not before.
 */
static void test_rest_is_late(void)
{
    struct kofn_round_report report;
    struct engine engine;

    open_pull(&engine, "stsyn", 2, 1, 2);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(close_by_reads(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 2);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_INTERRUPTED); /* kept, and not read yet */
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_take(&engine, 1), KOFN_INTERRUPTED);
    engine_serve(&engine); /* asks */
    engine_deliver(&engine);
    engine_serve(&engine); /* takes it in */
    CU_ASSERT_EQUAL(engine_member(&engine, 1).late, 1);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(close_by_reads(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 1);
    CU_ASSERT_EQUAL(report.late, 1);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 0), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 1), 0.5f);
    CU_ASSERT_EQUAL(engine_merged(&engine, 0, 3), 0.5f);
    engine_take_all(&engine);
    CU_ASSERT_EQUAL(engine_receipt(&engine, 1).outcome, KOFN_OUTCOME_LATE);
    engine_close(&engine);
}

/* What is read no sooner than the grace allows is not waited for; it is late when it comes, and is
 * not kept and merged a second time.
 */
static void test_grace_is_over(void)
{
    struct kofn_round_report report;
    struct engine engine;

    open_pull(&engine, "stsyn", 2, 1, 2);
    kofn_fabric_delay(engine.fabric, 1, KOFN_CHANNEL_READ, 1);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(close_by_reads(&engine, &report), KOFN_TIMEOUT);
    engine_skip(&engine, 2 * ENGINE_GRACE);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 1);
    kofn_fabric_tick(engine.fabric);
    engine_deliver(&engine);
    engine_serve(&engine);
    CU_ASSERT_EQUAL(engine_member(&engine, 1).late, 1);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2); /* it knows by its gate */
    CU_ASSERT_EQUAL(engine_member(&engine, 1).publications, 1);
    engine_close(&engine);
}

/* Gradients are kept where they were written, and read from there. */
static void test_gradients(void)
{
    struct kofn_round_report report;
    struct engine engine;

    open_pull(&engine, "sync", 2, 2, 1);
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t rank = 0; rank < 2; rank++)
            CU_ASSERT_EQUAL(engine_update(&engine, rank), KOFN_ROUND_OVER);
        CU_ASSERT_EQUAL(close_by_reads(&engine, &report), 0);
        CU_ASSERT_EQUAL(report.merged, 2);
        CU_ASSERT_EQUAL(engine_merged(&engine, 1, round), 0.5f);
        CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    }
    engine_close(&engine);
}

/* A snapshot that its worker overwrites while it is read is read again: the newer one is merged. */
static void test_overwritten_while_read(void)
{
    struct kofn_round_report report;
    struct engine engine;

    open_pull(&engine, "stsyn", 2, 1, 2);
    CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine_update(&engine, 0), 0);
    engine_deliver(&engine);
    kofn_fabric_delay(engine.fabric, 1, KOFN_CHANNEL_DOWN, 1); /* it does not see the gate close */
    engine_serve(&engine);
    CU_ASSERT_EQUAL(kofn_fabric_deliver(engine.fabric, 1, KOFN_CHANNEL_READ), 0); /* the stamp */
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(engine_update(&engine, 1), 0);
    engine_deliver(&engine);
    kofn_fabric_tick(engine.fabric);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.updates, 2 + 4);
    CU_ASSERT_EQUAL(engine_merged(&engine, 1, 3), 0.5f);
    engine_close(&engine);
}

/* A worker can tell by the gate that its snapshot was read: none has the number, modulo 256, that
 * the gate names already.
 */
static void test_numbers_are_told_apart(void)
{
    struct kofn_worker worker = {.sequence = 299};

    CU_ASSERT_EQUAL(kofn__kept_next(&worker, (struct kofn_gate){.released = 43}), 300);
    CU_ASSERT_EQUAL(kofn__kept_next(&worker, (struct kofn_gate){.released = 44}), 301);
    CU_ASSERT_EQUAL(kofn__kept_next(&worker, (struct kofn_gate){.released = 44}), 301);
}

void kofn_suite_engine_pull(void)
{
    CU_pSuite suite = CU_add_suite("engine_pull", NULL, NULL);

    CU_add_test(suite, "merged without workers' doing", test_read_without_workers);
    CU_add_test(suite, "the rest is late", test_rest_is_late);
    CU_add_test(suite, "the grace is over", test_grace_is_over);
    CU_add_test(suite, "gradients", test_gradients);
    CU_add_test(suite, "overwritten while it is read", test_overwritten_while_read);
    CU_add_test(suite, "numbers are told apart", test_numbers_are_told_apart);
}
