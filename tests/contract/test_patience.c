/* Who says what is worth waking for is woken for that, without fail. (That the rest does not wake
 * cannot be asserted: a wait may always end early.)
 */
#include <pthread.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "tests/contract/contract.h"

#define ROUNDS 5000
#define WORKERS 4u
#define WAIT_NS (5 * KOFN_NS_PER_S) /* longer than any wait for a peer that is well takes */

static uint64_t gate_word(uint32_t round)
{
    return kofn_gate_pack((struct kofn_gate){.round = round, .state = KOFN_GATE_OPEN});
}

static void take_time(struct kofn_random *random)
{
    for (uint64_t i = kofn_random_below(random, 200); i; i--)
        kofn_cpu_relax();
}

/* All workers of a job, in one thread. */
struct crew {
    struct world *world;
    uint32_t rounds;
    bool failed;
};

/* Sleeps until the gate of rank 0 is another than @seen. */
static bool await_gate(struct crew *crew, uint64_t *seen)
{
    struct kofn_endpoint *first = crew->world->endpoints[0];
    uint64_t deadline = kofn_now_ns() + WAIT_NS, word;

    while ((word = endpoint_gate(first, *seen)) == *seen)
        if (first->ops->endpoint_wait(first, *seen, deadline) || kofn_now_ns() >= deadline)
            return false;
    *seen = word;
    return true;
}

/* At every gate: a beat and a publication of each. */
static void *publish_all(void *arg)
{
    struct crew *crew = arg;
    struct kofn_random random;
    uint64_t seen = 0;

    kofn_random_seed(&random, 1, 1);
    for (uint32_t round = 1; round <= crew->rounds; round++) {
        if (!await_gate(crew, &seen)) {
            crew->failed = true;
            return NULL;
        }
        for (uint32_t rank = 0; rank < WORKERS; rank++) {
            struct kofn_endpoint *endpoint = crew->world->endpoints[rank];

            endpoint->ops->endpoint_beat(endpoint, gate_word(round));
            endpoint_fill(endpoint, round);
            take_time(&random);
            endpoint_publish(endpoint, round);
        }
    }
    return NULL;
}

/* Takes one publication of every worker, and sleeps for as many as are missing. */
static bool take_all(struct world *world)
{
    uint64_t deadline = kofn_now_ns() + WAIT_NS;
    uint32_t taken = 0;

    while (taken < WORKERS) {
        struct kofn_arrival arrivals[WORKERS];
        int count = contract_ops()->hub_poll(world->hub, arrivals, WORKERS);

        taken += count > 0 ? (uint32_t)count : 0;
        world->hub->patience = WORKERS - taken;
        if (count < 0 || kofn_now_ns() >= deadline ||
            (!count && contract_ops()->hub_wait(world->hub, deadline)))
            return false;
    }
    return taken == WORKERS;
}

/* A hub that waits for all is woken by the last, whoever that is and whenever the others came. */
static void test_patient_hub_wakes_for_the_last(void)
{
    struct world world;
    struct crew crew = {.world = &world, .rounds = contract_rounds(ROUNDS)};
    pthread_t thread;
    bool good = true;

    if (!contract_fixture()->concurrent) {
        kofn_test_skip("runs in one thread");
        return;
    }
    world_open(&world, WORKERS, 64, 2, 0);
    world_join_all(&world);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, publish_all, &crew), 0);
    for (uint32_t round = 1; round <= crew.rounds && good; round++) {
        contract_ops()->hub_gate(world.hub, 0, gate_word(round));
        good = take_all(&world);
    }
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT(good);
    CU_ASSERT(!crew.failed);
    world_close(&world);
}

/* Waits for gates; the receipt of the publication before must be there by then. */
static void *expect_receipts(void *arg)
{
    struct crew *crew = arg;
    struct kofn_endpoint *first = crew->world->endpoints[0];
    uint64_t seen = 0;

    for (uint32_t round = 1; round <= crew->rounds && !crew->failed; round++) {
        struct kofn_receipt_line line;

        endpoint_fill(first, round);
        endpoint_publish(first, round);
        crew->failed = !await_gate(crew, &seen) ||
                       kofn_block_get_receipt(first->block, round, &line) ||
                       line.merged_in != round;
    }
    return NULL;
}

/* Where a gate follows every receipt, the gate alone wakes, and the receipt has come before it. */
static void test_gate_brings_the_receipt(void)
{
    struct world world;
    struct crew crew = {.world = &world, .rounds = contract_rounds(ROUNDS)};
    struct kofn_receipt_line line = {.outcome = KOFN_OUTCOME_MERGED};
    pthread_t thread;

    if (!contract_fixture()->concurrent) {
        kofn_test_skip("runs in one thread");
        return;
    }
    world_open(&world, 1, 64, 2, 0);
    world_join_all(&world);
    world.hub->gates_follow = true;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, expect_receipts, &crew), 0);
    for (uint32_t round = 1; round <= crew.rounds; round++) {
        uint64_t deadline = kofn_now_ns() + WAIT_NS;
        struct kofn_arrival arrival;

        while (contract_ops()->hub_poll(world.hub, &arrival, 1) == 0 && kofn_now_ns() < deadline)
            contract_ops()->hub_wait(world.hub, deadline);
        line.sequence = line.merged_in = round;
        contract_ops()->hub_receipt(world.hub, 0, &line);
        contract_ops()->hub_gate(world.hub, 0, gate_word(round));
    }
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT(!crew.failed);
    world_close(&world);
}

void contract_patience(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_patient_hub_wakes_for_the_last);
    CONTRACT_TEST(suite, test_gate_brings_the_receipt);
}
