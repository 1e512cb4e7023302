#include "tests/contract/contract.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/racy.h"

static void say_nothing(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg;
    (void)level;
    (void)message;
}

const struct kofn_log contract_quiet = {.level = KOFN_LOG_ERROR, .write = say_nothing};

uint64_t contract_deadline(void)
{
    return kofn_now_ns() + WORLD_SECONDS * KOFN_NS_PER_S;
}

uint32_t contract_rounds(uint32_t full)
{
    const char *text = getenv("KOFN_TEST_ROUNDS");
    uint32_t most = text ? (uint32_t)strtoul(text, NULL, 10) : 0;

    if (KOFN_THREAD_SANITIZER) /* which makes everything ten times as slow */
        full = KOFN_MAX(full / 10, 1u);
    return most ? KOFN_MIN(full, most) : full;
}

int contract_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void open_hub(struct world *world, uint32_t workers, uint64_t bytes, uint32_t depth,
                     uint64_t spin, bool pull)
{
    struct kofn_hub_attr attr = {
        .workers = workers, .pull = pull, .numa_node = -1, .spin = spin, .log = &contract_quiet};

    *world = (struct world){.workers = workers};
    CU_ASSERT_FATAL(workers <= WORLD_MAX);
    CU_ASSERT_EQUAL_FATAL(kofn_geometry_init(&world->geometry, bytes, depth), 0);
    if (contract_fixture()->open) {
        world->context = contract_fixture()->open(workers);
        CU_ASSERT_PTR_NOT_NULL_FATAL(world->context);
    }
    attr.slot = attr.model = world->geometry;
    attr.context = world->context;
    attr.options = contract_fixture()->options;
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_open(&attr, &world->hub), 0);
}

void world_open(struct world *world, uint32_t workers, uint64_t bytes, uint32_t depth,
                uint64_t spin)
{
    open_hub(world, workers, bytes, depth, spin, false);
}

void world_open_pull(struct world *world, uint32_t workers, uint64_t bytes)
{
    open_hub(world, workers, bytes, 3, 0, true);
}

void world_close(struct world *world)
{
    for (uint32_t rank = 0; rank < world->workers; rank++)
        if (world->endpoints[rank])
            contract_ops()->endpoint_close(world->endpoints[rank]);
    contract_ops()->hub_close(world->hub);
    if (contract_fixture()->close)
        contract_fixture()->close(world->context);
}

struct kofn_endpoint_attr world_endpoint_attr(const struct world *world, uint32_t rank,
                                              uint32_t epoch, uint64_t spin)
{
    return (struct kofn_endpoint_attr){.rank = rank,
                                       .epoch = epoch,
                                       .slot = world->geometry,
                                       .model = world->geometry,
                                       .spin = spin,
                                       .options = contract_fixture()->options,
                                       .context = world->context,
                                       .log = &contract_quiet};
}

void world_join(struct world *world, uint32_t rank, uint32_t epoch)
{
    struct kofn_endpoint_attr attr = world_endpoint_attr(world, rank, epoch, 0);
    struct kofn_offer offer, answer;

    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world->hub, rank, epoch, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(
        contract_ops()->endpoint_open(&attr, &offer, &answer, &world->endpoints[rank]), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_hub_connect(world->hub, rank, &answer), 0);
    world->arrived[rank] = 0;
}

void world_join_all(struct world *world)
{
    for (uint32_t rank = 0; rank < world->workers; rank++)
        world_join(world, rank, 1);
}

void world_settle(struct world *world)
{
    struct kofn_arrival none;

    if (contract_fixture()->settle)
        contract_fixture()->settle(world->context);
    else if (world->hub) /* a hub goes on with what it has begun when it is called */
        contract_ops()->hub_poll(world->hub, &none, 0);
}

/* The byte at @index of a publication: any two publications differ in about every byte. */
static unsigned char content(uint64_t key, uint64_t index)
{
    uint64_t mixed = (key + index / 8) * UINT64_C(0x9e3779b97f4a7c15);

    return (unsigned char)((mixed ^ mixed >> 29) >> (index % 8 * 8));
}

static uint64_t key(uint32_t rank, uint32_t epoch, uint64_t sequence)
{
    return ((uint64_t)rank << 40 | (uint64_t)epoch << 32 | sequence) * UINT64_C(0xd1342543de82ef95);
}

void payload_fill(void *payload, uint64_t bytes, uint32_t rank, uint32_t epoch, uint64_t sequence)
{
    unsigned char *out = payload;

    for (uint64_t i = 0; i < bytes; i++)
        out[i] = content(key(rank, epoch, sequence), i);
}

bool payload_is(const void *payload, uint64_t bytes, uint32_t rank, uint32_t epoch,
                uint64_t sequence)
{
    const unsigned char *in = payload;

    for (uint64_t i = 0; i < bytes; i++)
        if (in[i] != content(key(rank, epoch, sequence), i))
            return false;
    return true;
}

void endpoint_fill(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    payload_fill(endpoint->ops->endpoint_buffer(endpoint, sequence), endpoint->slot.payload_bytes,
                 endpoint->rank, endpoint->epoch, sequence);
}

struct kofn_stamp endpoint_stamp(const struct kofn_endpoint *endpoint, uint64_t sequence)
{
    return (struct kofn_stamp){.epoch = endpoint->epoch,
                               .round = (uint32_t)sequence,
                               .version = (uint32_t)sequence,
                               .updates = 1,
                               .total = (uint32_t)sequence,
                               .length = endpoint->slot.payload_bytes,
                               .compute_ns = sequence * 1000,
                               .sequence = sequence};
}

int endpoint_publish(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    struct kofn_stamp stamp = endpoint_stamp(endpoint, sequence);

    return endpoint->ops->endpoint_publish(endpoint, &stamp);
}

void endpoint_keep(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    struct kofn_stamp stamp = endpoint_stamp(endpoint, sequence);

    endpoint_fill(endpoint, sequence);
    endpoint->ops->endpoint_keep(endpoint, &stamp);
}

uint64_t endpoint_gate(const struct kofn_endpoint *endpoint, uint64_t seen)
{
    uint64_t word = kofn_peer_load64(&endpoint->block->gate);

    return kofn_word_whole(word) ? word : seen;
}

/* A credit is not all it takes: the writer has to see that what was in this buffer has left. */
static void await_buffer(struct world *world, uint32_t rank, uint64_t sequence)
{
    struct kofn_endpoint *endpoint = world->endpoints[rank];
    uint64_t deadline = contract_deadline(), depth = endpoint->slot.depth;

    if (sequence <= depth)
        return;
    while (endpoint->ops->endpoint_left(endpoint, sequence - depth) == KOFN_AGAIN) {
        CU_ASSERT_FATAL(kofn_now_ns() < deadline);
        world_settle(world);
    }
}

void world_publish(struct world *world, uint32_t rank, uint64_t sequence)
{
    await_buffer(world, rank, sequence);
    endpoint_fill(world->endpoints[rank], sequence);
    CU_ASSERT_EQUAL(endpoint_publish(world->endpoints[rank], sequence), 0);
}

/* One arrival: the next of its rank, with its own stamp and its own bytes. */
static void check_arrival(struct world *world, const struct kofn_arrival *arrival, uint32_t epoch)
{
    void *slot = kofn_hub_slot(world->hub, arrival->rank);
    struct kofn_stamp stamp;
    const void *payload;

    CU_ASSERT_FATAL(arrival->rank < world->workers);
    CU_ASSERT_EQUAL(arrival->sequence, ++world->arrived[arrival->rank]);
    CU_ASSERT_EQUAL_FATAL(
        kofn_slot_begin(&world->geometry, slot, arrival->sequence, &payload, &stamp), 0);
    CU_ASSERT_EQUAL(stamp.sequence, arrival->sequence);
    CU_ASSERT_EQUAL(stamp.epoch, epoch);
    CU_ASSERT_EQUAL(stamp.compute_ns, arrival->sequence * 1000);
    CU_ASSERT(payload_is(payload, world->geometry.payload_bytes, arrival->rank, epoch,
                         arrival->sequence));
    CU_ASSERT_EQUAL(kofn_slot_end(&world->geometry, slot, arrival->sequence), 0);
}

int world_take_now(struct world *world, uint32_t epoch)
{
    struct kofn_arrival arrivals[8];
    int count = contract_ops()->hub_poll(world->hub, arrivals, KOFN_ARRAY_SIZE(arrivals));

    CU_ASSERT_FATAL(count >= 0);
    for (int i = 0; i < count; i++)
        check_arrival(world, &arrivals[i], epoch);
    return count;
}

int world_take(struct world *world, int count, uint32_t epoch)
{
    uint64_t deadline = contract_deadline();
    int taken = 0;

    while (taken < count && kofn_now_ns() < deadline) {
        world_settle(world);
        taken += world_take_now(world, epoch);
        if (taken < count)
            CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_wait(world->hub, deadline), 0);
    }
    return taken;
}

bool world_await_beat(struct world *world, uint32_t rank, uint64_t beat)
{
    uint64_t deadline = contract_deadline();

    world_settle(world);
    while (kofn_hub_beat_word(world->hub, rank) != beat && kofn_now_ns() < deadline) {
        CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_wait(world->hub, deadline), 0);
        world_settle(world);
    }
    return kofn_hub_beat_word(world->hub, rank) == beat;
}

bool world_await_gate(struct world *world, uint32_t rank, uint64_t gate)
{
    struct kofn_endpoint *endpoint = world->endpoints[rank];
    uint64_t deadline = contract_deadline(), seen;

    world_settle(world);
    while ((seen = kofn_peer_load64(&endpoint->block->gate)) != gate && kofn_now_ns() < deadline) {
        CU_ASSERT_EQUAL_FATAL(contract_ops()->endpoint_wait(endpoint, seen, deadline), 0);
        world_settle(world);
    }
    return seen == gate;
}

bool world_await_receipt(struct world *world, uint32_t rank, uint64_t sequence,
                         struct kofn_receipt_line *line)
{
    struct kofn_endpoint *endpoint = world->endpoints[rank];
    uint64_t deadline = contract_deadline();
    int rc;

    world_settle(world);
    while ((rc = kofn_block_get_receipt(endpoint->block, sequence, line)) &&
           kofn_now_ns() < deadline) {
        uint64_t seen = kofn_peer_load64(&endpoint->block->gate);

        CU_ASSERT_EQUAL_FATAL(contract_ops()->endpoint_wait(endpoint, seen, deadline), 0);
        world_settle(world);
    }
    return !rc;
}

void world_publish_model(struct world *world, uint64_t sequence)
{
    struct kofn_hub *hub = world->hub;
    struct kofn_stamp stamp = {.round = (uint32_t)sequence, .sequence = sequence};

    payload_fill(kofn_slot_withdraw(&hub->model, hub->models, sequence), hub->model.payload_bytes,
                 0, 0, sequence);
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    for (uint32_t rank = 0; rank < world->workers; rank++)
        if (world->endpoints[rank])
            CU_ASSERT_EQUAL(hub->ops->hub_push(hub, rank, sequence), 0);
}
