/* A worker that is taken out harms nobody: not the others, not whoever gets its rank next. */
#include <stdlib.h>
#include <string.h>

#include "tests/contract/contract.h"

/* A copy of what the hub has of @rank: its slot. */
static void *slot_copy(const struct world *world, uint32_t rank)
{
    void *copy = malloc(world->geometry.slot_bytes);

    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    return memcpy(copy, kofn_hub_slot(world->hub, rank), world->geometry.slot_bytes);
}

/* True if the slot of @rank is as it was; frees the copy. */
static bool slot_same(const struct world *world, uint32_t rank, void *copy)
{
    bool same = !memcmp(copy, kofn_hub_slot(world->hub, rank), world->geometry.slot_bytes);

    free(copy);
    return same;
}

/* All that an endpoint can send. */
static void send_everything(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    endpoint_fill(endpoint, sequence);
    endpoint_publish(endpoint, sequence);
    endpoint->ops->endpoint_beat(endpoint, kofn_beat_pack((struct kofn_beat){9, 9}));
}

/* After its eviction nothing of a rank is reported any more, neither what it had published and was
 * not taken yet nor what it sends then, and its beat is as if never written; the others go on.
 */
static void test_nothing_of_an_evicted_rank_is_seen(void)
{
    struct world world;

    world_open(&world, 3, 1000, 2, 0);
    world_join_all(&world);
    send_everything(world.endpoints[1], 1);
    world_settle(&world);
    contract_ops()->hub_evict(world.hub, 1);
    world_settle(&world);
    CU_ASSERT_EQUAL(world_take_now(&world, 1), 0);
    CU_ASSERT_EQUAL(kofn_hub_beat_word(world.hub, 1), 0);
    send_everything(world.endpoints[1], 2);
    world_settle(&world);
    CU_ASSERT_EQUAL(world_take_now(&world, 1), 0);
    CU_ASSERT_EQUAL(kofn_hub_beat_word(world.hub, 1), 0);
    CU_ASSERT_NOT_EQUAL(contract_ops()->hub_gate(world.hub, 1, 1), 0);
    world_publish(&world, 0, 1);
    world_publish(&world, 2, 1);
    CU_ASSERT_EQUAL(world_take(&world, 2, 1), 2);
    contract_ops()->hub_evict(world.hub, 1); /* once more changes nothing */
    world_close(&world);
}

/* A publication that had arrived before the eviction can still be read afterwards, until the slot
 * is reclaimed: finished work of a dead worker is merged.
 */
static void test_slot_stays_readable_until_reclaimed(void)
{
    struct world world;
    const void *payload;
    struct kofn_stamp stamp;

    world_open(&world, 2, 1000, 2, 0);
    world_join_all(&world);
    world_publish(&world, 1, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    contract_ops()->hub_evict(world.hub, 1);
    CU_ASSERT_EQUAL(
        kofn_slot_begin(&world.geometry, kofn_hub_slot(world.hub, 1), 1, &payload, &stamp), 0);
    CU_ASSERT(payload_is(payload, 1000, 1, 1, 1));
    CU_ASSERT_EQUAL(contract_ops()->hub_reclaim(world.hub, 1, true), 0);
    world_close(&world);
}

/* What an evicted worker still sends changes no byte of the others' slots, nor of the models, nor,
 * after its rank was given to another, of the slot of that one.
 */
static void test_late_writes_change_nobodys_memory(void)
{
    struct world world;
    struct kofn_endpoint *old;
    void *first, *last, *fresh, *models;

    world_open(&world, 3, 1000, 2, 0);
    world_join_all(&world);
    for (uint32_t rank = 0; rank < 3; rank++)
        world_publish(&world, rank, 1);
    CU_ASSERT_EQUAL(world_take(&world, 3, 1), 3);
    world_publish_model(&world, 1);
    world_settle(&world);
    send_everything(world.endpoints[1], 2); /* on its way when the rank is evicted */
    contract_ops()->hub_evict(world.hub, 1);
    old = world.endpoints[1];
    first = slot_copy(&world, 0);
    last = slot_copy(&world, 2);
    models = malloc(world.geometry.slot_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(models);
    memcpy(models, world.hub->models, world.geometry.slot_bytes);
    send_everything(old, 3);
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_reclaim(world.hub, 1, true), 0);
    world_join(&world, 1, 2);
    fresh = slot_copy(&world, 1);
    for (uint64_t sequence = 1; sequence < 6; sequence++)
        send_everything(old, sequence);
    world_settle(&world);
    CU_ASSERT(slot_same(&world, 0, first));
    CU_ASSERT(slot_same(&world, 2, last));
    CU_ASSERT(slot_same(&world, 1, fresh));
    CU_ASSERT_EQUAL(memcmp(models, world.hub->models, world.geometry.slot_bytes), 0);
    CU_ASSERT_EQUAL(kofn_hub_beat_word(world.hub, 1), 0);
    CU_ASSERT_EQUAL(world_take_now(&world, 2), 0);
    free(models);
    contract_ops()->endpoint_close(old);
    world_close(&world);
}

/* Is every byte of every stamp in the slot of @rank 0? */
static bool never_written(const struct world *world, uint32_t rank)
{
    static const struct kofn_stamp zero;
    void *slot = kofn_hub_slot(world->hub, rank);

    for (uint32_t i = 0; i < world->geometry.depth; i++)
        if (memcmp(kofn_slot_stamp(&world->geometry, slot, i), &zero, sizeof(zero)))
            return false;
    return true;
}

/* A rank that was reclaimed can be taken again: a slot that was never written, publications from 1
 * on, and the old member's are not mistaken for them.
 */
static void test_rejoined_rank_starts_afresh(void)
{
    struct world world;
    struct kofn_endpoint *old[3];

    world_open(&world, 2, 700, 2, 0);
    world_join_all(&world);
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        for (uint64_t sequence = 1; sequence <= 3; sequence++) {
            world_publish(&world, 0, sequence);
            CU_ASSERT_EQUAL(world_take(&world, 1, epoch), 1);
        }
        contract_ops()->hub_evict(world.hub, 0);
        CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_reclaim(world.hub, 0, true), 0);
        old[epoch - 1] = world.endpoints[0];
        world_join(&world, 0, epoch + 1);
        CU_ASSERT(never_written(&world, 0));
        CU_ASSERT_EQUAL(kofn_hub_beat_word(world.hub, 0), 0);
        CU_ASSERT_EQUAL(world.endpoints[0]->block->gate, 0);
        send_everything(old[epoch - 1], 1);
        world_settle(&world);
        CU_ASSERT_EQUAL(world_take_now(&world, epoch), 0);
    }
    for (int i = 0; i < 3; i++)
        contract_ops()->endpoint_close(old[i]);
    world_close(&world);
}

/* A slot is not free while its worker could still write to it, and says so; a rank that is a member
 * is not reclaimed at all.
 */
static void test_reclaim_waits_for_the_last_write(void)
{
    struct world world;
    int rc;

    world_open(&world, 2, 64, 2, 0);
    world_join_all(&world);
    CU_ASSERT_EQUAL(contract_ops()->hub_reclaim(world.hub, 0, true), KOFN_INVALID);
    send_everything(world.endpoints[0], 1);
    contract_ops()->hub_evict(world.hub, 0);
    rc = contract_ops()->hub_reclaim(world.hub, 0, false);
    if (contract_fixture()->reclaim_waits)
        CU_ASSERT_EQUAL(rc, KOFN_AGAIN);
    if (rc) {
        struct kofn_offer offer;

        CU_ASSERT_EQUAL(contract_ops()->hub_admit(world.hub, 0, 2, &offer), KOFN_INVALID);
    }
    world_settle(&world);
    CU_ASSERT_EQUAL(contract_ops()->hub_reclaim(world.hub, 0, true), 0);
    CU_ASSERT_EQUAL(contract_ops()->hub_reclaim(world.hub, 0, false), 0); /* it is free now */
    world_close(&world);
}

/* A rank that was admitted and never answered can be taken out and admitted again. */
static void test_admission_that_came_to_nothing(void)
{
    struct world world;
    struct kofn_offer offer;

    world_open(&world, 2, 64, 2, 0);
    for (uint32_t epoch = 1; epoch < 4; epoch++) {
        CU_ASSERT_EQUAL(contract_ops()->hub_admit(world.hub, 1, epoch, &offer), 0);
        kofn_offer_close(&offer);
        contract_ops()->hub_evict(world.hub, 1);
        CU_ASSERT_EQUAL(contract_ops()->hub_reclaim(world.hub, 1, true), 0);
    }
    world_join(&world, 1, 4);
    world_publish(&world, 1, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 4), 1);
    world_close(&world);
}

/* A hub closes in any state, and endpoints that outlive it do no harm. */
static void test_hub_closes_in_any_state(void)
{
    for (int state = 0; state <= 5; state++) {
        struct world world;
        struct kofn_offer offer;
        int fds = contract_fds();

        world_open(&world, 4, 64, 2, 0);
        if (state >= 1) {
            CU_ASSERT_EQUAL(contract_ops()->hub_admit(world.hub, 0, 1, &offer), 0);
            kofn_offer_close(&offer);
        }
        if (state >= 2)
            world_join(&world, 1, 1);
        if (state >= 3)
            send_everything(world.endpoints[1], 1);
        if (state >= 4)
            contract_ops()->hub_evict(world.hub, 1);
        if (state >= 5)
            contract_ops()->hub_reclaim(world.hub, 1, true);
        contract_ops()->hub_close(world.hub);
        world.hub = NULL;
        if (world.endpoints[1]) {
            send_everything(world.endpoints[1], 2);
            world_settle(&world);
            contract_ops()->endpoint_close(world.endpoints[1]);
        }
        if (contract_fixture()->close)
            contract_fixture()->close(world.context);
        CU_ASSERT_EQUAL(contract_fds(), fds);
    }
}

void contract_evict(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_nothing_of_an_evicted_rank_is_seen);
    CONTRACT_TEST(suite, test_slot_stays_readable_until_reclaimed);
    CONTRACT_TEST(suite, test_late_writes_change_nobodys_memory);
    CONTRACT_TEST(suite, test_rejoined_rank_starts_afresh);
    CONTRACT_TEST(suite, test_reclaim_waits_for_the_last_write);
    CONTRACT_TEST(suite, test_admission_that_came_to_nothing);
    CONTRACT_TEST(suite, test_hub_closes_in_any_state);
}
