/* Snapshots: a worker keeps what it would publish, and the hub reads it, whatever the worker does
 * meanwhile: it computes, overwrites, or is no more.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/racy.h"
#include "tests/contract/contract.h"

#define LITTLE 64u
#define MUCH (512u * 1024)
#define STEP_NS (2 * KOFN_NS_PER_MS)
#define QUIET_NS (30 * KOFN_NS_PER_MS) /* nothing arrives for so long: nothing is under way */

static bool unsupported(void)
{
    return !(contract_ops()->capabilities & KOFN_CAP_READ);
}

/* What a slot holds is copied, because its worker may write to it. True if it is snapshot
 * @sequence, whole, and was all the time.
 */
static bool slot_has(struct world *world, uint32_t rank, uint32_t epoch, uint64_t sequence)
{
    uint64_t bytes = world->geometry.payload_bytes;
    void *slot = kofn_hub_slot(world->hub, rank);
    unsigned char *copy = malloc(bytes);
    struct kofn_stamp stamp;
    const void *payload;
    bool good;

    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    good = !kofn_slot_begin(&world->geometry, slot, sequence, &payload, &stamp);
    if (good) {
        kofn_racy_copy(copy, payload, bytes);
        good = !kofn_slot_end(&world->geometry, slot, sequence);
    }
    if (good) {
        CU_ASSERT(payload_is(copy, bytes, rank, epoch, sequence));
        CU_ASSERT_EQUAL(stamp.compute_ns, sequence * 1000);
    }
    free(copy);
    return good;
}

/* Asks for what is behind @after until it arrives, or the worker's connection has failed. Returns
 * its number; 0 if nothing came until @deadline.
 */
static uint64_t read_until(struct world *world, uint32_t rank, uint64_t after, uint64_t deadline)
{
    struct kofn_arrival arrival;
    uint64_t now;

    while ((now = kofn_now_ns()) < deadline) {
        int rc = contract_ops()->hub_read(world->hub, rank, after);

        CU_ASSERT(!rc || rc == KOFN_AGAIN || rc == KOFN_GONE);
        world_settle(world);
        rc = contract_ops()->hub_poll(world->hub, &arrival, 1);
        if (rc == KOFN_GONE)
            return 0;
        CU_ASSERT_FATAL(rc >= 0);
        if (rc == 1) {
            CU_ASSERT_EQUAL(arrival.rank, rank);
            CU_ASSERT(arrival.sequence > after);
            return arrival.sequence;
        }
        contract_ops()->hub_wait(world->hub, KOFN_MIN(deadline, now + STEP_NS));
    }
    return 0;
}

static uint64_t read_one(struct world *world, uint32_t rank, uint64_t after)
{
    return read_until(world, rank, after, contract_deadline());
}

/* Nothing arrives for a while. */
static void expect_nothing(struct world *world)
{
    uint64_t deadline = kofn_now_ns() + QUIET_NS;
    struct kofn_arrival arrival;

    while (kofn_now_ns() < deadline) {
        world_settle(world);
        CU_ASSERT(contract_ops()->hub_poll(world->hub, &arrival, 1) <= 0);
        contract_ops()->hub_wait(world->hub, deadline);
    }
}

/* The newest snapshot arrives, whole, once, though its worker calls nothing after it has kept it,
 * and though numbers are left out.
 */
static void read_some(uint64_t bytes)
{
    static const uint64_t kept[] = {1, 2, 7, 9};
    struct world world;
    uint64_t after = 0;

    world_open_pull(&world, 3, bytes);
    world_join_all(&world);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kept); i++) {
        endpoint_keep(world.endpoints[1], kept[i]);
        if (i == 0)
            continue; /* replaced before anybody has read it */
        CU_ASSERT_EQUAL(read_one(&world, 1, after), kept[i]);
        CU_ASSERT(slot_has(&world, 1, 1, kept[i]));
        after = kept[i];
    }
    world_close(&world);
}

static void test_newest_snapshot_is_read(void)
{
    if (unsupported())
        return;
    read_some(LITTLE);
    read_some(MUCH);
}

/* A snapshot that was kept does not arrive by itself; where there is none behind what is asked for,
 * nothing arrives, and that does not hold up what is kept later.
 */
static void test_nothing_arrives_unasked(void)
{
    struct world world;
    int rc;

    if (unsupported())
        return;
    world_open_pull(&world, 2, MUCH);
    world_join_all(&world);
    rc = contract_ops()->hub_read(world.hub, 0, 0);
    CU_ASSERT(rc == 0 || rc == KOFN_AGAIN);
    endpoint_keep(world.endpoints[1], 1);
    expect_nothing(&world);
    endpoint_keep(world.endpoints[0], 1); /* which the question may still come upon */
    CU_ASSERT_EQUAL(read_one(&world, 0, 0), 1);
    rc = contract_ops()->hub_read(world.hub, 0, 1);
    CU_ASSERT(rc == 0 || rc == KOFN_AGAIN);
    expect_nothing(&world);
    endpoint_keep(world.endpoints[0], 2);
    CU_ASSERT_EQUAL(read_one(&world, 0, 1), 2);
    CU_ASSERT(slot_has(&world, 0, 1, 2));
    world_close(&world);
}

/* One that is overwritten when its read has begun is not seen: what arrives is a newer one, whole.
 */
static void test_overwritten_snapshot_is_read_again(void)
{
    struct world world;
    uint64_t found;

    if (unsupported())
        return;
    world_open_pull(&world, 1, MUCH);
    world_join_all(&world);
    for (uint64_t s = 1; s < 40; s += 4) {
        endpoint_keep(world.endpoints[0], s);
        CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, s - 1), 0);
        for (uint64_t next = s + 1; next <= s + 3; next++)
            endpoint_keep(world.endpoints[0], next);
        found = read_one(&world, 0, s - 1);
        CU_ASSERT(found >= s && found <= s + 3);
        if (found < s + 3) { /* it was faster than we */
            slot_has(&world, 0, 1, found);
            found = read_one(&world, 0, found);
        }
        CU_ASSERT_EQUAL(found, s + 3);
        CU_ASSERT(slot_has(&world, 0, 1, found));
    }
    world_close(&world);
}

struct writer {
    struct kofn_endpoint *endpoint;
    bool stop;
    uint64_t kept;
};

/* Keeps one snapshot after the other, with pauses of different length. */
static void *keep_writing(void *arg)
{
    struct writer *writer = arg;
    struct kofn_random random;

    kofn_random_seed(&random, 7, 0);
    while (!__atomic_load_n(&writer->stop, __ATOMIC_RELAXED)) {
        struct timespec pause = {.tv_nsec = (long)kofn_random_below(&random, 3000000)};

        endpoint_keep(writer->endpoint, ++writer->kept);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* While its worker overwrites without end, whatever arrives is whole. */
static void test_torn_snapshot_is_never_seen(void)
{
    uint32_t rounds = contract_rounds(100), good = 0;
    struct writer writer = {0};
    struct world world;
    pthread_t thread;
    uint64_t after = 0;

    if (unsupported() || !contract_fixture()->concurrent)
        return;
    world_open_pull(&world, 1, 64 * 1024);
    world_join_all(&world);
    writer.endpoint = world.endpoints[0];
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, keep_writing, &writer), 0);
    for (uint32_t i = 0; i < rounds; i++) {
        uint64_t found = read_one(&world, 0, after);

        CU_ASSERT(found > after);
        after = found;
        good += slot_has(&world, 0, 1, found);
    }
    __atomic_store_n(&writer.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    /* where it is read in place, the worker may be at it again, and is seen to be */
    CU_ASSERT(contract_ops()->capabilities & KOFN_CAP_IN_PLACE ? good > 0 : good == rounds);
    world_close(&world);
}

/* What a worker has kept can be read while its process is stopped, where no process of its own has
 * to answer; where its memory outlives it, even when it is no more. Else nothing arrives, and
 * nobody waits for it.
 */
static void test_worker_without_a_cpu_is_read(void)
{
    bool memory = contract_ops()->capabilities & KOFN_CAP_IN_PLACE;
    uint64_t brief = 100 * KOFN_NS_PER_MS;
    struct kofn_offer offer, answer;
    struct world world;
    int ready[2], status;
    char byte;
    pid_t child;

    if (unsupported() || !contract_fixture()->concurrent || contract_fixture()->one_process ||
        (KOFN_THREAD_SANITIZER && !memory)) /* which does not know threads of forked processes */
        return;
    world_open_pull(&world, 1, MUCH);
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world.hub, 0, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    child = fork();
    if (!child) {
        struct kofn_endpoint_attr attr = world_endpoint_attr(&world, 0, 1, 0);
        struct kofn_endpoint *endpoint;

        if (contract_ops()->endpoint_open(&attr, &offer, &answer, &endpoint) ||
            write(ready[1], &answer, sizeof(answer)) != sizeof(answer))
            _exit(1);
        endpoint_keep(endpoint, 5);
        if (write(ready[1], "k", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    CU_ASSERT_FATAL(child > 0);
    kofn_offer_close(&offer);
    CU_ASSERT_EQUAL_FATAL(read(ready[0], &answer, sizeof(answer)), sizeof(answer));
    CU_ASSERT_EQUAL_FATAL(kofn_hub_connect(world.hub, 0, &answer), 0);
    CU_ASSERT_EQUAL_FATAL(read(ready[0], &byte, 1), 1);
    if (strcmp(contract_ops()->name, "tcp")) { /* where a thread of its own answers */
        kill(child, SIGSTOP);
        waitpid(child, &status, WUNTRACED);
    }
    CU_ASSERT_EQUAL(read_one(&world, 0, 0), 5);
    CU_ASSERT(slot_has(&world, 0, 1, 5));
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    CU_ASSERT_EQUAL(read_until(&world, 0, 0, kofn_now_ns() + brief), memory ? 5 : 0);
    contract_ops()->hub_evict(world.hub, 0);
    CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, 0), KOFN_INVALID);
    close(ready[0]);
    close(ready[1]);
    world_close(&world);
}

/* A worker that is taken out while it is read: nothing of it arrives, and the rank's next worker
 * has a slot that knows nothing of it.
 */
static void test_eviction_ends_a_read(void)
{
    uint64_t deadline = contract_deadline();
    struct world world;
    int rc;

    if (unsupported())
        return;
    world_open_pull(&world, 2, MUCH);
    world_join_all(&world);
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        endpoint_keep(world.endpoints[0], 10 - epoch);
        CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, 0), 0);
        contract_ops()->hub_evict(world.hub, 0);
        expect_nothing(&world);
        CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, 0), KOFN_INVALID);
        contract_ops()->endpoint_close(world.endpoints[0]);
        world.endpoints[0] = NULL;
        while ((rc = contract_ops()->hub_reclaim(world.hub, 0, true)) == KOFN_AGAIN &&
               kofn_now_ns() < deadline)
            world_settle(&world);
        CU_ASSERT_EQUAL_FATAL(rc, 0);
        world_join(&world, 0, epoch + 1);
        expect_nothing(&world);
    }
    endpoint_keep(world.endpoints[0], 1);
    CU_ASSERT_EQUAL(read_one(&world, 0, 0), 1);
    CU_ASSERT(slot_has(&world, 0, 4, 1));
    world_close(&world);
}

/* What a stamp says of itself moves nothing: it arrives as it was written, for the server to judge,
 * and as many bytes are read as were agreed on.
 */
static void test_stamps_are_not_believed(void)
{
    static const uint64_t lengths[] = {0, 1, UINT64_MAX, 1 << 30};
    struct kofn_endpoint *endpoint;
    struct kofn_stamp stamp, found;
    struct world world;
    const void *payload;

    if (unsupported())
        return;
    world_open_pull(&world, 3, MUCH);
    world_join_all(&world);
    for (uint32_t rank = 0; rank < 3; rank += 2) {
        endpoint_keep(world.endpoints[rank], 1);
        CU_ASSERT_EQUAL(read_one(&world, rank, 0), 1);
    }
    endpoint = world.endpoints[1];
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(lengths); i++) {
        stamp = endpoint_stamp(endpoint, i + 1);
        stamp.length = lengths[i];
        stamp.epoch = 77;
        endpoint_fill(endpoint, i + 1);
        endpoint->ops->endpoint_keep(endpoint, &stamp);
        CU_ASSERT_EQUAL(read_one(&world, 1, i), i + 1);
        CU_ASSERT_EQUAL_FATAL(
            kofn_slot_begin(&world.geometry, kofn_hub_slot(world.hub, 1), i + 1, &payload, &found),
            0);
        CU_ASSERT(!memcmp(&found, &stamp, sizeof(stamp)));
        CU_ASSERT(payload_is(payload, MUCH, 1, 1, i + 1));
        CU_ASSERT(slot_has(&world, 0, 1, 1) && slot_has(&world, 2, 1, 1));
    }
    world_close(&world);
}

/* Only connected workers of a hub that is for it can be read. */
static void test_who_can_be_read(void)
{
    struct kofn_offer offer;
    struct world world;

    if (unsupported())
        return;
    world_open_pull(&world, 2, LITTLE);
    CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, 0), KOFN_INVALID);
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world.hub, 0, 1, &offer), 0);
    CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, 0), KOFN_INVALID);
    kofn_offer_close(&offer);
    CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 2, 0), KOFN_INVALID);
    world_close(&world);
    world_open(&world, 1, LITTLE, 2, 0);
    world_join_all(&world);
    CU_ASSERT_EQUAL(contract_ops()->hub_read(world.hub, 0, 0), KOFN_INVALID);
    world_close(&world);
}

void contract_read(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_newest_snapshot_is_read);
    CONTRACT_TEST(suite, test_nothing_arrives_unasked);
    CONTRACT_TEST(suite, test_overwritten_snapshot_is_read_again);
    CONTRACT_TEST(suite, test_torn_snapshot_is_never_seen);
    CONTRACT_TEST(suite, test_worker_without_a_cpu_is_read);
    CONTRACT_TEST(suite, test_eviction_ends_a_read);
    CONTRACT_TEST(suite, test_stamps_are_not_believed);
    CONTRACT_TEST(suite, test_who_can_be_read);
}
