/* Links, devices and workers that fail while a job runs. */
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "tests/contract/contract.h"
#include "tests/lib/caught_log.h"
#include "tests/verbs/fake.h"
#include "tests/verbs/suites.h"
#include "transports/verbs/endpoint.h"
#include "transports/verbs/hub.h"
#include "transports/verbs/verbs.h"

static int poll_once(struct kofn_hub *hub, struct kofn_arrival *arrival)
{
    uint64_t deadline = contract_deadline();
    int count;

    while (!(count = kofn_verbs.hub_poll(hub, arrival, 1)) && kofn_now_ns() < deadline)
        kofn_verbs.hub_wait(hub, deadline);
    return count;
}

static void publish_locally(struct kofn_hub *hub, uint64_t sequence)
{
    struct kofn_stamp stamp = {.round = (uint32_t)sequence, .sequence = sequence};

    payload_fill(kofn_slot_withdraw(&hub->model, hub->models, sequence), hub->model.payload_bytes,
                 0, 0, sequence);
    kofn_slot_publish(&hub->model, hub->models, &stamp);
}

/* A publication that is on its way when its worker is evicted fails at the worker and changes no
 * byte at the server; the worker learns that it is out, and others' publications arrive.
 */
static void late_write(uint64_t bytes)
{
    struct world world;
    void *before;

    world_open(&world, 2, bytes, 2, 0);
    world_join_all(&world);
    before = malloc(world.hub->slot_stride * 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(before);
    fake_hold(true);
    world_publish(&world, 1, 1);
    kofn_verbs.endpoint_beat(world.endpoints[1], kofn_beat_pack((struct kofn_beat){4, 4}));
    kofn_verbs.hub_evict(world.hub, 1);
    memcpy(before, world.hub->slots, world.hub->slot_stride * 2);
    fake_hold(false);
    CU_ASSERT_EQUAL(memcmp(before, world.hub->slots, world.hub->slot_stride * 2), 0);
    CU_ASSERT_EQUAL(kofn_hub_beat_word(world.hub, 1), 0);
    CU_ASSERT_EQUAL(kofn_verbs.endpoint_left(world.endpoints[1], 1), KOFN_GONE);
    endpoint_fill(world.endpoints[1], 2);
    CU_ASSERT_EQUAL(endpoint_publish(world.endpoints[1], 2), KOFN_GONE);
    CU_ASSERT_EQUAL(kofn_verbs.endpoint_wait(world.endpoints[1], 0, 1), KOFN_GONE);
    world_publish(&world, 0, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    free(before);
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

static void test_late_write_fails_at_its_sender(void)
{
    late_write(100); /* one request */
    late_write(100000);
}

/* The gate that was written before the eviction still arrives: the worker learns why. */
static void test_last_gate_arrives(void)
{
    uint64_t gate = kofn_gate_pack((struct kofn_gate){.round = 3, .state = KOFN_GATE_EVICTED});
    struct world world;

    world_open(&world, 1, 100, 2, 0);
    world_join_all(&world);
    fake_hold(true);
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, gate), 0);
    kofn_verbs.hub_evict(world.hub, 0);
    fake_hold(false);
    CU_ASSERT(world_await_gate(&world, 0, gate));
    world_close(&world);
}

/* A last gate does not wait for a model that will not come any more: who is thrown out while one is
 * on its way would otherwise wait for the end of the job.
 */
static void test_last_gate_waits_for_no_model(void)
{
    uint64_t gate = kofn_gate_pack((struct kofn_gate){.round = 3, .state = KOFN_GATE_EVICTED});
    struct world world;

    world_open(&world, 1, 100000, 2, 0);
    world_join_all(&world);
    fake_hold(true);
    publish_locally(world.hub, 1);
    CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 0, 1), 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, gate), 0);
    kofn_verbs.hub_evict(world.hub, 0);
    fake_hold(false);
    CU_ASSERT(world_await_gate(&world, 0, gate));
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* What needs no model goes ahead of the one that is on its way: the credit that was released, with
 * the round that the worker has; the end of the job. The next round comes with its model.
 */
static void test_credits_and_the_end_wait_for_no_model(void)
{
    struct kofn_gate gate = {.round = 1, .state = KOFN_GATE_OPEN, .released = 4}, next, end;
    static float model[25000];
    struct kofn_stamp stamp;
    struct world world;

    world_open(&world, 1, sizeof(model), 2, 0);
    world_join_all(&world);
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, kofn_gate_pack(gate)), 0);
    CU_ASSERT(world_await_gate(&world, 0, kofn_gate_pack(gate)));
    CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 0, 1), 0); /* there is nothing to be sent yet */
    next = (struct kofn_gate){.round = 2, .state = KOFN_GATE_OPEN, .released = 5};
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, kofn_gate_pack(next)), 0);
    gate.released = 5;
    CU_ASSERT(world_await_gate(&world, 0, kofn_gate_pack(gate)));
    publish_locally(world.hub, 1);
    CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 0, 1), 0);
    CU_ASSERT(world_await_gate(&world, 0, kofn_gate_pack(next)));
    CU_ASSERT_EQUAL(kofn_verbs.endpoint_fetch(world.endpoints[0], model, NULL, &stamp), 0);
    CU_ASSERT_EQUAL(stamp.sequence, 1);
    CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 0, 2), 0);
    end = (struct kofn_gate){.round = 2, .state = KOFN_GATE_END, .released = 6};
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, kofn_gate_pack(end)), 0);
    CU_ASSERT(world_await_gate(&world, 0, kofn_gate_pack(end)));
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* Where a credit says that what it is for is in the model of the round that comes with it, it waits
 * for that, too.
 */
static void test_credits_come_with_their_round(void)
{
    struct kofn_gate gate = {.round = 1, .state = KOFN_GATE_OPEN, .released = 4}, next;
    struct world world;

    world_open(&world, 1, 1000, 2, 0);
    kofn__verbs_hub(world.hub)->credits_with_round = true;
    world_join_all(&world);
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, kofn_gate_pack(gate)), 0);
    CU_ASSERT(world_await_gate(&world, 0, kofn_gate_pack(gate)));
    CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 0, 1), 0); /* there is nothing to be sent yet */
    next = (struct kofn_gate){.round = 2, .state = KOFN_GATE_OPEN, .released = 5};
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, kofn_gate_pack(next)), 0);
    for (int i = 0; i < 100; i++)
        world_settle(&world);
    CU_ASSERT_EQUAL(kofn_peer_load64(&world.endpoints[0]->block->gate), kofn_gate_pack(gate));
    publish_locally(world.hub, 1);
    CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 0, 1), 0);
    CU_ASSERT(world_await_gate(&world, 0, kofn_gate_pack(next)));
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* When all links fail, each rank is reported once and behind what had arrived of it, and every call
 * of its worker says so; a new epoch begins afresh.
 */
static void test_failed_links_are_reported_once(void)
{
    enum { WORKERS = 5 };
    struct kofn_arrival arrival;
    struct world world;
    uint32_t gone = 0;

    world_open(&world, WORKERS, 1000, 2, 0);
    world_join_all(&world);
    world_publish(&world, 2, 1);
    fake_cut();
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        kofn_verbs.hub_gate(world.hub, rank, 5);
    CU_ASSERT_EQUAL(poll_once(world.hub, &arrival), 1);
    CU_ASSERT(arrival.rank == 2 && arrival.sequence == 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        CU_ASSERT_EQUAL(poll_once(world.hub, &arrival), KOFN_GONE);
        CU_ASSERT(!(gone & 1u << arrival.rank));
        gone |= 1u << arrival.rank;
    }
    CU_ASSERT_EQUAL(gone, (1u << WORKERS) - 1);
    CU_ASSERT_EQUAL(kofn_verbs.hub_poll(world.hub, &arrival, 1), 0);
    kofn_verbs.hub_evict(world.hub, 2);
    CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(world.hub, 2, false), 0);
    kofn_verbs.endpoint_close(world.endpoints[2]);
    world_join(&world, 2, 2);
    world_publish(&world, 2, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 2), 1);
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* However often workers come and go, and whatever of them has arrived by then and not been looked
 * at: there is a receive request for everything that the next one may send.
 */
static void test_receive_requests_come_back(void)
{
    enum { DEPTH = 2, TIMES = 30 }; /* more often than a receive queue of one worker is deep */
    struct world world;

    world_open(&world, 1, 1000, DEPTH, 0);
    world_join_all(&world);
    for (uint32_t epoch = 2; epoch < TIMES; epoch++) {
        world_publish(&world, 0, 1);
        kofn_verbs.hub_evict(world.hub, 0);
        CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(world.hub, 0, false), 0);
        kofn_verbs.endpoint_close(world.endpoints[0]);
        world_join(&world, 0, epoch);
    }
    world_publish(&world, 0, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, TIMES - 1), 1);
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* Who comes after another finds a slot without a stamp; what it has of payload, which may be many
 * GiB, is as it was: everybody would wait while it is overwritten.
 */
static void test_admission_touches_no_payload(void)
{
    struct world world;
    void *slot;

    world_open(&world, 1, 1000, 2, 0);
    world_join_all(&world);
    slot = kofn_hub_slot(world.hub, 0);
    for (uint64_t sequence = 1; sequence <= 2; sequence++) {
        world_publish(&world, 0, sequence);
        CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    }
    kofn_verbs.hub_evict(world.hub, 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(world.hub, 0, false), 0);
    kofn_verbs.endpoint_close(world.endpoints[0]);
    world_join(&world, 0, 2);
    CU_ASSERT_EQUAL(kofn_slot_newest(&world.geometry, slot), 0);
    for (uint64_t sequence = 1; sequence <= 2; sequence++)
        CU_ASSERT(
            payload_is(kofn_slot_payload(&world.geometry, slot, sequence), 1000, 0, 1, sequence));
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* Whoever sends as fast as it is read does not keep the hub: no call takes in more than a queue
 * holds, here of two queues and what is polled at a time.
 */
static void test_no_end_of_completions(void)
{
    enum { MANY = 1000000, AT_A_TIME = 64 };
    struct kofn__verbs_hub *hub;
    struct world world;
    unsigned most;

    world_open(&world, 2, 1000, 2, 0);
    world_join_all(&world);
    hub = kofn__verbs_hub(world.hub);
    most = (unsigned)(hub->receive->cqe + hub->send->cqe) + 2 * AT_A_TIME;
    fake_device.chatter = MANY;
    kofn__verbs_hub_progress(hub);
    CU_ASSERT(fake_device.chatter < MANY);
    CU_ASSERT(fake_device.chatter >= MANY - most);
    fake_device.chatter = 0;
    world_publish(&world, 1, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* A queue pair that the device ends by itself is the end of one connection, at once, although
 * nothing is on its way there; the message says whose and why.
 */
static void test_a_pair_that_the_device_ends(void)
{
    static const enum ibv_event_type types[] = {IBV_EVENT_QP_FATAL, IBV_EVENT_QP_REQ_ERR,
                                                IBV_EVENT_QP_ACCESS_ERR};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(types); i++) {
        struct kofn_arrival arrival;
        struct kofn_caught caught;
        struct world world;

        kofn_caught_reset(&caught);
        world_open(&world, 3, 1000, 2, 0);
        world_join_all(&world);
        world.hub->log = &caught.log;
        fake_pair_event(types[i], kofn__verbs_hub(world.hub)->members[1].lanes[i % 2].qp->qp_num);
        CU_ASSERT_EQUAL(poll_once(world.hub, &arrival), KOFN_GONE);
        CU_ASSERT_EQUAL(arrival.rank, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(caught.last, "rank 1 (10.9.8.7, QP 0x"));
        CU_ASSERT(kofn_caught_one(&caught, ibv_event_type_str(types[i])));
        world_publish(&world, 2, 1);
        CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
        fake_pair_event(types[i], kofn__verbs_endpoint(world.endpoints[2])->lanes[0].qp->qp_num);
        CU_ASSERT_EQUAL(kofn_verbs.endpoint_wait(world.endpoints[2], 0, 1), KOFN_GONE);
        world_close(&world);
        CU_ASSERT_EQUAL(fake_live(), 0);
    }
}

static void lose(enum ibv_event_type type)
{
    struct kofn_arrival arrival;
    struct world world;

    world_open(&world, 3, 1000, 2, 0);
    world_join_all(&world);
    fake_event(IBV_EVENT_PORT_ERR);
    fake_event(IBV_EVENT_PORT_ACTIVE);
    CU_ASSERT_EQUAL(kofn_verbs.hub_wait(world.hub, 0), 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_poll(world.hub, &arrival, 1), 0);
    fake_event(type);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(poll_once(world.hub, &arrival), KOFN_GONE);
    for (int i = 0; i < 3; i++) {
        uint64_t deadline = contract_deadline();
        int rc;

        while (!(rc = kofn_verbs.endpoint_wait(world.endpoints[i], 0, deadline)) &&
               kofn_now_ns() < deadline)
            ;
        CU_ASSERT_EQUAL(rc, KOFN_GONE);
    }
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* A device that is removed, or a queue of it that has overrun or failed, takes all connections with
 * it, at both ends; a port that is down for a while takes none. The process lives on.
 */
static void test_lost_device_ends_all_connections(void)
{
    lose(IBV_EVENT_DEVICE_FATAL);
    lose(IBV_EVENT_CQ_ERR);
    lose(IBV_EVENT_SRQ_ERR);
}

/* Whatever is sent to a worker that takes nothing in, it gets the newest gate and all receipts that
 * are still in a block when it does, receipts before the gate.
 */
static void test_words_wait_and_are_not_lost(void)
{
    enum { GATES = 1000 };
    struct kofn_receipt_line line = {.outcome = KOFN_OUTCOME_MERGED}, got;
    struct world world;

    world_open(&world, 2, 100, 2, 0);
    world_join_all(&world);
    fake_hold(true);
    for (uint64_t i = 1; i <= GATES; i++) {
        line.sequence = i;
        line.merged_in = (uint32_t)i + 7;
        CU_ASSERT_EQUAL(kofn_verbs.hub_receipt(world.hub, 0, &line), 0);
        CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, i), 0);
    }
    CU_ASSERT_EQUAL(world.endpoints[0]->block->gate, 0);
    fake_hold(false);
    CU_ASSERT(world_await_gate(&world, 0, GATES));
    for (uint64_t i = GATES - KOFN_RECEIPTS + 1; i <= GATES; i++) {
        CU_ASSERT_EQUAL(kofn_block_get_receipt(world.endpoints[0]->block, i, &got), 0);
        CU_ASSERT_EQUAL(got.merged_in, i + 7);
    }
    world_close(&world);
}

/* The same the other way: of many beats the newest arrives. */
static void test_beats_wait_and_the_newest_arrives(void)
{
    struct world world;
    uint64_t beat = 0;

    world_open(&world, 1, 100, 2, 0);
    world_join_all(&world);
    fake_hold(true);
    for (uint32_t i = 1; i <= 1000; i++) {
        beat = kofn_beat_pack((struct kofn_beat){1, i});
        CU_ASSERT_EQUAL(kofn_verbs.endpoint_beat(world.endpoints[0], beat), 0);
    }
    fake_hold(false);
    CU_ASSERT_EQUAL(kofn_verbs.endpoint_wait(world.endpoints[0], 0, 1), 0);
    CU_ASSERT(world_await_beat(&world, 0, beat));
    world_close(&world);
}

/* A model that the server overwrites while it is on its way to a slow worker is never taken for
 * one; the worker gets the newest instead, whole, and no gate that was written meanwhile before it.
 */
static void test_overtaken_model_is_not_seen(void)
{
    static float model[5000];
    struct kofn_stamp stamp;
    struct world world;

    world_open(&world, 1, sizeof(model), 2, 0);
    world_join_all(&world);
    for (uint64_t first = 1; first < 30; first += 3) {
        fake_hold(true);
        publish_locally(world.hub, first);
        CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 0, first), 0);
        CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, first), 0);
        publish_locally(world.hub, first + 1);
        publish_locally(world.hub, first + 2);
        fake_hold(false);
        CU_ASSERT(world_await_gate(&world, 0, first));
        CU_ASSERT_EQUAL(kofn_verbs.endpoint_fetch(world.endpoints[0], model, NULL, &stamp), 0);
        CU_ASSERT(stamp.sequence >= first);
        CU_ASSERT(payload_is(model, sizeof(model), 0, 0, stamp.sequence));
    }
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* A worker that was not sent a model, because it was behind, asks for it when it sees the gate. */
static void test_who_was_behind_gets_the_model(void)
{
    static float model[5000];
    struct kofn_stamp stamp;
    struct world world;
    uint64_t deadline = contract_deadline();
    int rc;

    world_open(&world, 2, sizeof(model), 2, 0);
    world_join_all(&world);
    for (uint64_t sequence = 1; sequence <= 5; sequence += 2) {
        publish_locally(world.hub, sequence);
        CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 1, sequence), 0);
        CU_ASSERT(world_await_gate(&world, 1, sequence));
        while (((rc = kofn_verbs.endpoint_fetch(world.endpoints[1], model, NULL, &stamp)) ==
                    KOFN_AGAIN ||
                stamp.sequence < sequence) &&
               kofn_now_ns() < deadline)
            world_settle(&world);
        CU_ASSERT_EQUAL(rc, 0);
        CU_ASSERT_EQUAL(stamp.sequence, sequence);
        CU_ASSERT(payload_is(model, sizeof(model), 0, 0, sequence));
        CU_ASSERT_EQUAL(kofn_verbs.endpoint_fetch(world.endpoints[0], model, NULL, &stamp),
                        KOFN_AGAIN);
    }
    world_close(&world);
}

void verbs_add_faults(void)
{
    static const struct contract_fixture fixture = {.name = "faults", .ops = &kofn_verbs};
    CU_pSuite suite = CU_add_suite("faults", NULL, NULL);

    contract_use(&fixture);
    CONTRACT_TEST(suite, test_late_write_fails_at_its_sender);
    CONTRACT_TEST(suite, test_last_gate_arrives);
    CONTRACT_TEST(suite, test_last_gate_waits_for_no_model);
    CONTRACT_TEST(suite, test_credits_and_the_end_wait_for_no_model);
    CONTRACT_TEST(suite, test_credits_come_with_their_round);
    CONTRACT_TEST(suite, test_failed_links_are_reported_once);
    CONTRACT_TEST(suite, test_receive_requests_come_back);
    CONTRACT_TEST(suite, test_admission_touches_no_payload);
    CONTRACT_TEST(suite, test_no_end_of_completions);
    CONTRACT_TEST(suite, test_a_pair_that_the_device_ends);
    CONTRACT_TEST(suite, test_lost_device_ends_all_connections);
    CONTRACT_TEST(suite, test_words_wait_and_are_not_lost);
    CONTRACT_TEST(suite, test_beats_wait_and_the_newest_arrives);
    CONTRACT_TEST(suite, test_overtaken_model_is_not_seen);
    CONTRACT_TEST(suite, test_who_was_behind_gets_the_model);
}
