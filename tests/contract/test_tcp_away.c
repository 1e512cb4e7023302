/* One-sided in spite of TCP: what is sent gets to where it belongs while its reader computes, and
 * what is published leaves while its writer does; and many workers at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "tests/contract/tcp_client.h"
#include "transports/uring/uring.h"

#define LONG_BYTES (16u << 20) /* more than all buffers of a kernel hold */

/* Looks, without a call into the transport, until *@word is @value. */
static bool becomes(const void *word, uint64_t value)
{
    uint64_t deadline = contract_deadline();

    while (kofn_peer_load64(word) != value)
        if (kofn_now_ns() > deadline)
            return false;
    return true;
}

/* A publication that is larger than what the kernel takes at once leaves its worker and reaches its
 * slot although neither of them calls anything.
 */
static void test_large_publication_arrives_by_itself(void)
{
    struct world world;
    const void *payload;
    struct kofn_stamp stamp;
    char *slot;

    world_open(&world, 1, LONG_BYTES, 2, 0);
    world_join_all(&world);
    slot = kofn_hub_slot(world.hub, 0);
    for (uint64_t sequence = 1; sequence <= 3; sequence++) {
        world_publish(&world, 0, sequence);
        CU_ASSERT(becomes(&kofn_slot_stamp(&world.geometry, slot, sequence)->sequence, sequence));
        CU_ASSERT_EQUAL_FATAL(kofn_slot_begin(&world.geometry, slot, sequence, &payload, &stamp),
                              0);
        CU_ASSERT(payload_is(payload, LONG_BYTES, 0, 1, sequence));
        CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
        CU_ASSERT_EQUAL(contract_ops()->endpoint_left(world.endpoints[0], sequence), 0);
    }
    world_close(&world);
}

/* A buffer whose publication has left may change at once, also where it was sent without a copy:
 * what the server finds later is what was published.
 */
static void test_what_has_left_may_change(void)
{
    struct kofn_endpoint_attr attr = {.epoch = 1, .log = &contract_quiet};
    struct kofn_endpoint *endpoint;
    struct kofn_offer offer, answer;
    struct kofn_arrival arrival;
    struct kofn_stamp stamp;
    struct tcp_scene scene;
    const void *payload;
    char options[64];

    snprintf(options, sizeof(options), "%s zero-copy=always", contract_fixture()->options);
    attr.options = options;
    tcp_open(&scene, 1, LONG_BYTES, 0, NULL);
    attr.slot = attr.model = scene.geometry;
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_admit(scene.hub, 0, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.endpoint_open(&attr, &offer, &answer, &endpoint), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_connect(scene.hub, 0, &answer), 0);
    for (uint64_t sequence = 1; sequence <= 4; sequence++) {
        uint64_t deadline = contract_deadline();

        endpoint_fill(endpoint, sequence);
        CU_ASSERT_EQUAL_FATAL(endpoint_publish(endpoint, sequence), 0);
        while (kofn_tcp.endpoint_left(endpoint, sequence) == KOFN_AGAIN)
            CU_ASSERT_FATAL(kofn_now_ns() < deadline);
        memset(kofn_slot_payload(&endpoint->slot, endpoint->buffers, sequence), 0xaa, LONG_BYTES);
        CU_ASSERT_EQUAL_FATAL(tcp_poll(&scene, &arrival), 1);
        CU_ASSERT_EQUAL_FATAL(kofn_slot_begin(&scene.geometry, kofn_hub_slot(scene.hub, 0),
                                              sequence, &payload, &stamp),
                              0);
        CU_ASSERT(payload_is(payload, LONG_BYTES, 0, 1, sequence));
    }
    kofn_tcp.endpoint_close(endpoint);
    tcp_close(&scene);
}

/* A model that is pushed to a worker who computes is there when it looks, and so is the gate that
 * was written after it.
 */
static void test_model_comes_while_its_worker_computes(void)
{
    float *model = malloc(LONG_BYTES);
    struct world world;
    struct kofn_stamp stamp;

    CU_ASSERT_PTR_NOT_NULL_FATAL(model);
    world_open(&world, 1, LONG_BYTES, 2, 0);
    world_join_all(&world);
    for (uint64_t version = 1; version <= 3; version++) {
        uint64_t gate = kofn_gate_pack((struct kofn_gate){.round = (uint32_t)version});

        world_publish_model(&world, version);
        CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, 0, gate), 0);
        CU_ASSERT(becomes(&world.endpoints[0]->block->gate, gate));
        CU_ASSERT_EQUAL(contract_ops()->endpoint_fetch(world.endpoints[0], model, NULL, &stamp), 0);
        CU_ASSERT_EQUAL(stamp.sequence, version);
        CU_ASSERT(payload_is(model, LONG_BYTES, 0, 0, version));
    }
    free(model);
    world_close(&world);
}

/* A worker to whom nothing was pushed reads the newest model by itself, and again only a newer one.
 */
static void fetch_unpushed(uint64_t bytes)
{
    float *model = malloc(bytes);
    uint64_t deadline = contract_deadline();
    struct kofn_stamp stamp = {0};
    struct world world;
    int rc;

    CU_ASSERT_PTR_NOT_NULL_FATAL(model);
    world_open(&world, 2, bytes, 2, 0);
    for (uint64_t version = 1; version <= 5; version++)
        world_publish_model(&world, version); /* nobody has joined: to nobody */
    world_join_all(&world);
    for (uint64_t version = 5; version <= 7; version++) {
        do
            rc = contract_ops()->endpoint_fetch(world.endpoints[1], model, NULL, &stamp);
        while ((rc == KOFN_AGAIN || stamp.sequence < version) && kofn_now_ns() < deadline);
        CU_ASSERT_EQUAL(rc, 0);
        CU_ASSERT_EQUAL(stamp.sequence, version);
        CU_ASSERT(payload_is(model, bytes, 0, 0, version));
        payload_fill(kofn_slot_withdraw(&world.hub->model, world.hub->models, version + 1), bytes,
                     0, 0, version + 1);
        stamp = (struct kofn_stamp){.round = (uint32_t)version + 1, .sequence = version + 1};
        kofn_slot_publish(&world.hub->model, world.hub->models, &stamp);
    }
    free(model);
    world_close(&world);
}

static void test_models_can_be_read(void)
{
    fetch_unpushed(SMALL_BYTES);
    fetch_unpushed(LARGE_BYTES);
}

/* ---- a thousand ---- */

#define THOUSAND 1000u

static bool room_for(uint64_t descriptors)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return false;
    if (limit.rlim_cur < descriptors && limit.rlim_max >= descriptors) {
        limit.rlim_cur = descriptors;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur >= descriptors;
}

/* A thousand workers that connect, publish all at once, are taken once each, and get their gates.
 */
static void test_a_thousand_workers(void)
{
    struct tcp_client *clients = calloc(THOUSAND, sizeof(*clients));
    bool *taken = calloc(THOUSAND, sizeof(*taken));
    uint64_t deadline = contract_deadline();
    unsigned char stream[1000];
    struct tcp_scene scene;
    uint32_t count = 0;

    if (!room_for(2 * THOUSAND + 100)) {
        kofn_test_skip("too few descriptors");
        free(clients);
        free(taken);
        return;
    }
    CU_ASSERT_FATAL(clients && taken);
    tcp_open(&scene, THOUSAND, SMALL_BYTES, 0, NULL);
    for (uint32_t rank = 0; rank < THOUSAND; rank++)
        tcp_join(&scene, rank, 1, &clients[rank]);
    for (uint32_t rank = 0; rank < THOUSAND; rank++)
        CU_ASSERT(
            tcp_send(clients[rank].fds[0], stream, tcp_stream(&scene, &clients[rank], 1, stream)));
    while (count < THOUSAND && kofn_now_ns() < deadline) {
        struct kofn_arrival arrivals[64];
        int found = kofn_tcp.hub_poll(scene.hub, arrivals, 64);

        CU_ASSERT_FATAL(found >= 0);
        for (int i = 0; i < found; i++, count++) {
            CU_ASSERT(!taken[arrivals[i].rank] && arrivals[i].sequence == 1);
            taken[arrivals[i].rank] = true;
        }
        if (!found)
            kofn_tcp.hub_wait(scene.hub, deadline);
    }
    CU_ASSERT_EQUAL(count, THOUSAND);
    for (uint32_t rank = 0; rank < THOUSAND; rank++)
        CU_ASSERT_EQUAL(kofn_tcp.hub_gate(scene.hub, rank, rank + 1), 0);
    for (uint32_t rank = 0; rank < THOUSAND; rank++) {
        struct kofn__frame frame = {0};

        CU_ASSERT(tcp_receive(clients[rank].fds[0], &frame, sizeof(frame)));
        CU_ASSERT_EQUAL(frame.value, rank + 1);
        tcp_leave(&clients[rank], rank % 2);
    }
    tcp_close(&scene);
    free(clients);
    free(taken);
}

void contract_tcp_away(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_large_publication_arrives_by_itself);
    CONTRACT_TEST(suite, test_what_has_left_may_change);
    CONTRACT_TEST(suite, test_model_comes_while_its_worker_computes);
    CONTRACT_TEST(suite, test_models_can_be_read);
    CONTRACT_TEST(suite, test_a_thousand_workers);
}
