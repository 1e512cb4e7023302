/* What is written arrives: once, whole, in order, where it belongs and nowhere else. */
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "tests/contract/contract.h"

/* Publications of many workers, posted in a random order and within their credits, arrive once
 * each, whole and in order of sequence, for every depth and for payloads around a line and a page.
 */
static void flow(uint64_t bytes, uint32_t depth)
{
    enum { WORKERS = 7 };
    struct kofn_random random;
    struct world world;
    uint64_t sent[WORKERS] = {0};
    uint32_t each = KOFN_MAX(contract_rounds(20), 2 * depth + 1); /* every buffer more than once */
    uint32_t left = WORKERS * each;

    kofn_random_seed(&random, bytes, depth);
    world_open(&world, WORKERS, bytes, depth, 0);
    world_join_all(&world);
    while (left) {
        uint32_t rank = (uint32_t)kofn_random_below(&random, WORKERS);
        uint64_t next = sent[rank] + 1;

        if (next <= each &&
            kofn_credit_granted(&world.geometry, next, (uint32_t)world.arrived[rank])) {
            world_publish(&world, rank, next);
            sent[rank] = next;
            left--;
        } else {
            world_settle(&world);
            world_take_now(&world, 1);
        }
    }
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        left += (uint32_t)(each - world.arrived[rank]);
    world_take(&world, (int)left, 1);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        CU_ASSERT_EQUAL(world.arrived[rank], each);
    CU_ASSERT_EQUAL(world_take_now(&world, 1), 0);
    world_close(&world);
}

static void test_arrives_once_whole_and_in_order(void)
{
    static const uint64_t sizes[] = {1, 4, 63, 64, 65, 4032, 4095, 4096, 4097, 100000};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++)
        flow(sizes[i], KOFN_DEPTH);
    for (uint32_t depth = 2; depth <= KOFN_DEPTH_MAX; depth++)
        flow(300, depth);
}

/* A payload is nothing before its stamp, neither the first one nor one that replaces another. */
static void test_nothing_is_seen_before_its_stamp(void)
{
    struct world world;

    world_open(&world, 2, 1000, KOFN_DEPTH, 0);
    world_join_all(&world);
    for (uint64_t sequence = 1; sequence < 10; sequence++) {
        endpoint_fill(world.endpoints[1], sequence);
        world_settle(&world);
        CU_ASSERT_EQUAL(world_take_now(&world, 1), 0);
        CU_ASSERT_EQUAL(endpoint_publish(world.endpoints[1], sequence), 0);
        CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    }
    world_close(&world);
}

/* Where workers fill the slot itself, the publication that is overwritten is withdrawn first: a
 * reader that is late learns that it has read a mixture.
 */
static void test_overwritten_publication_is_torn(void)
{
    struct world world;
    struct kofn_stamp stamp;
    const void *payload;
    void *slot;

    if (!(contract_ops()->capabilities & KOFN_CAP_IN_PLACE)) {
        kofn_test_skip("does not fill in place");
        return;
    }
    world_open(&world, 1, 1000, 2, 0);
    world_join_all(&world);
    slot = kofn_hub_slot(world.hub, 0);
    world_publish(&world, 0, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    CU_ASSERT_EQUAL(kofn_slot_begin(&world.geometry, slot, 1, &payload, &stamp), 0);
    endpoint_fill(world.endpoints[0], 3); /* no credit for that */
    CU_ASSERT_EQUAL(kofn_slot_end(&world.geometry, slot, 1), KOFN_TORN);
    CU_ASSERT_EQUAL(kofn_slot_begin(&world.geometry, slot, 1, &payload, &stamp), KOFN_AGAIN);
    CU_ASSERT_EQUAL(endpoint_publish(world.endpoints[0], 3), 0);
    CU_ASSERT_EQUAL(world_take_now(&world, 1), 0); /* 2 comes next, whatever else is there */
    world_close(&world);
}

/* A publication that has left is read by its writer as it was, and its buffer can be filled again.
 */
static void test_what_has_left_stays_as_it_was(void)
{
    struct world world;
    struct kofn_endpoint *endpoint;

    world_open(&world, 1, 500, 2, 0);
    world_join_all(&world);
    endpoint = world.endpoints[0];
    for (uint64_t sequence = 1; sequence <= 5; sequence++) {
        world_publish(&world, 0, sequence);
        CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
        CU_ASSERT_EQUAL(contract_ops()->endpoint_left(endpoint, sequence), 0);
        CU_ASSERT(payload_is(kofn_slot_payload(&endpoint->slot, endpoint->buffers, sequence), 500,
                             0, 1, sequence));
    }
    world_close(&world);
}

/* Until publication @seen[rank] + 1 of every rank lies in its slot: over a network, one may be
 * late. */
static void await_all(struct world *world, const uint32_t *seen)
{
    uint64_t deadline = contract_deadline();
    const void *payload;
    struct kofn_stamp stamp;

    for (uint32_t rank = 0; rank < world->workers; rank++)
        while (kofn_slot_begin(&world->geometry, kofn_hub_slot(world->hub, rank), seen[rank] + 1,
                               &payload, &stamp)) {
            CU_ASSERT_FATAL(kofn_now_ns() < deadline);
            world_settle(world);
        }
}

/* However little is taken at once, everybody's turn comes: of those that are there, nobody is taken
 * a second time while another waits for the first.
 */
static void test_polling_is_fair(void)
{
    enum { WORKERS = 64 };
    struct world world;
    struct kofn_arrival arrival;
    uint32_t seen[WORKERS] = {0};

    world_open(&world, WORKERS, 16, 2, 0);
    world_join_all(&world);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        world_publish(&world, rank, 1);
    world_settle(&world);
    for (int turn = 1; turn <= 3 * WORKERS; turn++) {
        uint64_t deadline = contract_deadline();
        int count;

        await_all(&world, seen);
        while ((count = contract_ops()->hub_poll(world.hub, &arrival, 1)) == 0)
            CU_ASSERT_FATAL(!contract_ops()->hub_wait(world.hub, deadline));
        CU_ASSERT_EQUAL_FATAL(count, 1);
        CU_ASSERT_EQUAL(arrival.sequence, ++seen[arrival.rank]);
        world_publish(&world, arrival.rank, seen[arrival.rank] + 1);
        world_settle(&world);
        for (uint32_t rank = 0; rank < WORKERS; rank++)
            CU_ASSERT(seen[rank] + 1 >= (uint32_t)(turn + WORKERS - 1) / WORKERS);
    }
    CU_ASSERT_EQUAL(contract_ops()->hub_poll(world.hub, &arrival, 0), 0);
    world_close(&world);
}

/* A beat shows in the word of its rank and in no other, and the newest one counts. */
static void test_beats_show_where_they_belong(void)
{
    enum { WORKERS = 33 };
    struct world world;

    world_open(&world, WORKERS, 64, 2, 0);
    world_join_all(&world);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        CU_ASSERT_EQUAL(kofn_hub_beat_word(world.hub, rank), 0);
    for (uint32_t rank = 0; rank < WORKERS; rank += 2)
        for (uint32_t updates = 0; updates < 3; updates++)
            CU_ASSERT_EQUAL(
                contract_ops()->endpoint_beat(
                    world.endpoints[rank], kofn_beat_pack((struct kofn_beat){rank + 1, updates})),
                0);
    for (uint32_t rank = 0; rank < WORKERS; rank += 2)
        CU_ASSERT(world_await_beat(&world, rank, kofn_beat_pack((struct kofn_beat){rank + 1, 2})));
    for (uint32_t rank = 1; rank < WORKERS; rank += 2)
        CU_ASSERT_EQUAL(kofn_hub_beat_word(world.hub, rank), 0);
    world_close(&world);
}

/* Gates and receipts reach their rank alone. Once a later gate is there, so are the receipts
 * written before it; the oldest receipts are overwritten.
 */
static void test_gates_and_receipts_arrive_in_order(void)
{
    enum { WORKERS = 5, RECEIPTS = 20 };
    struct world world;
    struct kofn_receipt_line line = {.outcome = KOFN_OUTCOME_MERGED, .weight = 0.5f}, got;

    world_open(&world, WORKERS, 64, 2, 0);
    world_join_all(&world);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        CU_ASSERT_EQUAL(world.endpoints[rank]->block->gate, 0);
    for (uint32_t i = 1; i <= RECEIPTS; i++) {
        struct kofn_gate gate = {.round = i, .state = KOFN_GATE_OPEN, .released = i};
        uint64_t word = kofn_gate_pack(gate);

        line.sequence = i;
        line.merged_in = i + 100;
        CU_ASSERT_EQUAL(contract_ops()->hub_receipt(world.hub, 3, &line), 0);
        CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, 3, word), 0);
        CU_ASSERT(world_await_gate(&world, 3, word));
        CU_ASSERT_EQUAL(kofn_block_get_receipt(world.endpoints[3]->block, i, &got), 0);
        CU_ASSERT_EQUAL(memcmp(&got, &line, sizeof(got)), 0);
    }
    for (uint32_t i = 1; i <= RECEIPTS; i++)
        CU_ASSERT_EQUAL(kofn_block_get_receipt(world.endpoints[3]->block, i, &got),
                        i + KOFN_RECEIPTS > RECEIPTS ? 0 : KOFN_AGAIN);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        if (rank != 3)
            CU_ASSERT_EQUAL(world.endpoints[rank]->block->gate, 0);
    world_close(&world);
}

/* Whoever sees a gate that was written after a model was pushed finds that model, or a newer one; a
 * fetch fills both arrays with the whole of it.
 */
static void test_model_is_there_before_its_gate(void)
{
    enum { PARAMETERS = 5000 }; /* more than a block of any blocked copy */
    static float model[PARAMETERS], base[PARAMETERS];
    struct world world;
    struct kofn_stamp stamp;

    world_open(&world, 3, sizeof(model), 2, 0);
    world_join_all(&world);
    CU_ASSERT_EQUAL(contract_ops()->endpoint_fetch(world.endpoints[0], model, base, &stamp),
                    KOFN_AGAIN);
    for (uint64_t version = 1; version <= 6; version++) {
        struct kofn_gate gate = {.round = (uint32_t)version, .state = KOFN_GATE_OPEN};

        world_publish_model(&world, version);
        for (uint32_t rank = 0; rank < 3; rank++) {
            CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, rank, kofn_gate_pack(gate)), 0);
            CU_ASSERT(world_await_gate(&world, rank, kofn_gate_pack(gate)));
            memset(model, 0, sizeof(model));
            memset(base, 0, sizeof(base));
            CU_ASSERT_EQUAL(contract_ops()->endpoint_fetch(world.endpoints[rank], model,
                                                           rank == 1 ? NULL : base, &stamp),
                            0);
            CU_ASSERT_EQUAL(stamp.sequence, version);
            CU_ASSERT_EQUAL(stamp.round, version);
            CU_ASSERT(payload_is(model, sizeof(model), 0, 0, version));
            CU_ASSERT(rank == 1 || !memcmp(model, base, sizeof(model)));
        }
    }
    world_close(&world);
}

/* What a transport does not claim to have, it refuses. */
static void test_what_is_missing_is_unsupported(void)
{
    struct world world;

    world_open(&world, 1, 64, 2, 0);
    world_join_all(&world);
    if (!(contract_ops()->capabilities & KOFN_CAP_READ))
        CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, 1), KOFN_UNSUPPORTED);
    if (!(contract_ops()->capabilities & KOFN_CAP_REGISTER))
        CU_ASSERT_EQUAL(contract_ops()->endpoint_register(world.endpoints[0], &world, sizeof(world),
                                                          KOFN_MEMORY_HOST),
                        KOFN_UNSUPPORTED);
    world_close(&world);
}

/* The registry knows the transport by its name, and its table has every function. */
static void test_the_registry_has_it(void)
{
    const struct kofn_transport_ops *ops = contract_ops();
    bool found = false;

    CU_ASSERT_PTR_EQUAL(kofn_transport_find(ops->name), ops);
    CU_ASSERT_PTR_NULL(kofn_transport_find("no such transport"));
    CU_ASSERT_EQUAL(ops->size, sizeof(*ops));
    for (size_t i = 0; kofn_transport_at(i); i++)
        found |= kofn_transport_at(i) == ops;
    CU_ASSERT(found);
    CU_ASSERT(ops->summary && ops->hub_open && ops->hub_close && ops->hub_admit &&
              ops->hub_connect && ops->hub_evict && ops->hub_reclaim && ops->hub_poll &&
              ops->hub_gate && ops->hub_receipt && ops->hub_push && ops->hub_read &&
              ops->hub_wait && ops->endpoint_open && ops->endpoint_close && ops->endpoint_buffer &&
              ops->endpoint_publish && ops->endpoint_keep && ops->endpoint_left &&
              ops->endpoint_beat && ops->endpoint_fetch && ops->endpoint_register &&
              ops->endpoint_wait);
}

void contract_flow(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_the_registry_has_it);
    CONTRACT_TEST(suite, test_arrives_once_whole_and_in_order);
    CONTRACT_TEST(suite, test_nothing_is_seen_before_its_stamp);
    CONTRACT_TEST(suite, test_overwritten_publication_is_torn);
    CONTRACT_TEST(suite, test_what_has_left_stays_as_it_was);
    CONTRACT_TEST(suite, test_polling_is_fair);
    CONTRACT_TEST(suite, test_beats_show_where_they_belong);
    CONTRACT_TEST(suite, test_gates_and_receipts_arrive_in_order);
    CONTRACT_TEST(suite, test_model_is_there_before_its_gate);
    CONTRACT_TEST(suite, test_what_is_missing_is_unsupported);
}
