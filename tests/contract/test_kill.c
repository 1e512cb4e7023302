/* Workers in processes of their own, and what is left when one is killed. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/racy.h"
#include "tests/contract/contract.h"

#define KILLS 60
#define ROUNDS 10000
#define BYTES 50000 /* long enough that a kill falls into the middle of it */

#if KOFN_THREAD_SANITIZER
/* A transport may have threads on both sides of a fork, which the sanitizer ends by default. */
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

static bool needs_processes(void)
{
    const char *why = NULL;

    if (!contract_fixture()->concurrent)
        why = "runs in one thread";
    else if (contract_fixture()->one_process)
        why = "runs in one process";
    else if (KOFN_THREAD_SANITIZER && !strcmp(contract_ops()->name, "tcp"))
        why = "TSan does not know threads of forked processes";
    if (why)
        kofn_test_skip(why);
    return !why;
}

/* Waits in the child until the gate is no longer @seen; leaves with the hub. */
static uint64_t next_gate(struct kofn_endpoint *endpoint, uint64_t seen)
{
    uint64_t deadline = contract_deadline(), gate;

    while ((gate = endpoint_gate(endpoint, seen)) == seen)
        if (endpoint->ops->endpoint_wait(endpoint, seen, deadline) || kofn_now_ns() >= deadline)
            _exit(3);
    return gate;
}

/* Waits in the child until the publication that used the buffer of @sequence before has left. */
static void await_buffer(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    uint64_t deadline = contract_deadline(), depth = endpoint->slot.depth;

    while (sequence > depth &&
           endpoint->ops->endpoint_left(endpoint, sequence - depth) == KOFN_AGAIN)
        if (kofn_now_ns() >= deadline)
            _exit(3);
}

/* Publishes without end, as fast as its credits allow. */
static void publish_for_ever(struct kofn_endpoint *endpoint)
{
    uint64_t word = 0;

    for (uint64_t sequence = 1;; sequence++) {
        struct kofn_gate gate = {0};

        while (!kofn_gate_unpack(word = kofn_peer_load64(&endpoint->block->gate), &gate) ||
               !kofn_credit_granted(&endpoint->slot, sequence, gate.released))
            next_gate(endpoint, word);
        await_buffer(endpoint, sequence);
        endpoint_fill(endpoint, sequence);
        endpoint_publish(endpoint, sequence);
    }
}

/* Answers every gate with a beat that says the same round. */
static void answer_gates(struct kofn_endpoint *endpoint)
{
    uint64_t word = 0;

    for (struct kofn_gate gate = {0}; gate.state != KOFN_GATE_END;) {
        word = next_gate(endpoint, word);
        if (!kofn_gate_unpack(word, &gate))
            _exit(4);
        endpoint->ops->endpoint_beat(endpoint, kofn_beat_pack((struct kofn_beat){gate.round, 0}));
    }
    _exit(0);
}

/* Starts a process that joins as @rank and then does @work, and connects it. */
static pid_t spawn(struct world *world, uint32_t rank, void (*work)(struct kofn_endpoint *))
{
    struct kofn_endpoint_attr attr = world_endpoint_attr(world, rank, 1, 0);
    struct kofn_offer offer, answer;
    struct kofn_endpoint *endpoint;
    int answers[2];
    pid_t child;

    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world->hub, rank, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(answers), 0);
    child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (!child) {
        if (contract_ops()->endpoint_open(&attr, &offer, &answer, &endpoint) ||
            write(answers[1], &answer, sizeof(answer)) != sizeof(answer))
            _exit(2);
        work(endpoint);
    }
    close(answers[1]);
    kofn_offer_close(&offer);
    CU_ASSERT_EQUAL_FATAL(read(answers[0], &answer, sizeof(answer)), sizeof(answer));
    close(answers[0]);
    CU_ASSERT_EQUAL_FATAL(kofn_hub_connect(world->hub, rank, &answer), 0);
    return child;
}

static void release(struct world *world, uint32_t rank)
{
    struct kofn_gate gate = {
        .round = 1, .state = KOFN_GATE_OPEN, .released = (uint32_t)(world->arrived[rank] % 256)};

    CU_ASSERT_EQUAL(contract_ops()->hub_gate(world->hub, rank, kofn_gate_pack(gate)), 0);
}

/* One worker is killed after some publications, somewhere in the next ones. */
static void kill_one(uint64_t seed)
{
    struct kofn_random random;
    struct world world;
    uint32_t publications, turns;
    int status;
    pid_t child;

    kofn_random_seed(&random, seed, 0);
    publications = (uint32_t)kofn_random_below(&random, 8);
    turns = (uint32_t)kofn_random_below(&random, 20000);
    world_open(&world, 2, BYTES, 2, 0);
    child = spawn(&world, 1, publish_for_ever);
    release(&world, 1);
    while (world.arrived[1] < publications) {
        CU_ASSERT_FATAL(world_take(&world, 1, 1) >= 1);
        release(&world, 1);
    }
    while (turns--)
        kofn_cpu_relax();
    CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFSIGNALED(status));
    while (world_take_now(&world, 1)) /* asserts that each is whole */
        ;
    contract_ops()->hub_evict(world.hub, 1);
    CU_ASSERT_EQUAL(contract_ops()->hub_reclaim(world.hub, 1, true), 0);
    world_join(&world, 1, 2);
    world_publish(&world, 1, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 2), 1);
    world_close(&world);
}

/* Wherever in a publication its writer is killed, the publication is not seen; all before it are,
 * and its rank can be taken by another.
 */
static void test_killed_writer_leaves_no_torn_publication(void)
{
    if (!needs_processes())
        return;
    for (uint64_t seed = 0; seed < contract_rounds(KILLS); seed++)
        kill_one(seed);
}

/* Two processes that do nothing but sleep and wake each other never wait in vain. */
static void test_no_wake_up_is_lost_between_processes(void)
{
    uint32_t rounds = contract_rounds(ROUNDS), round;
    struct world world;
    int status;
    pid_t child;

    if (!needs_processes())
        return;
    world_open(&world, 1, 64, 2, 0);
    child = spawn(&world, 0, answer_gates);
    for (round = 1; round <= rounds; round++) {
        struct kofn_gate gate = {.round = round,
                                 .state = round < rounds ? KOFN_GATE_OPEN : KOFN_GATE_END};

        CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, 0, kofn_gate_pack(gate)), 0);
        if (!world_await_beat(&world, 0, kofn_beat_pack((struct kofn_beat){round, 0})))
            break;
    }
    CU_ASSERT_EQUAL(round, rounds + 1);
    if (round <= rounds)
        kill(child, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status));
    world_close(&world);
}

/* A worker that dies asleep, or between setting its flag and sleeping, holds up nobody: gates to it
 * return, and the others' arrive.
 */
static void test_dead_sleeper_holds_up_nobody(void)
{
    struct world world;
    pid_t child;
    int status;

    if (!needs_processes())
        return;
    world_open(&world, 2, 64, 2, 0);
    world_join(&world, 0, 1);
    child = spawn(&world, 1, answer_gates);
    CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    for (uint32_t round = 1; round <= 100; round++) {
        uint64_t gate = kofn_gate_pack((struct kofn_gate){.round = round, .state = KOFN_GATE_OPEN});

        CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, 1, gate), 0);
        CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, 0, gate), 0);
        CU_ASSERT(world_await_gate(&world, 0, gate));
    }
    world_close(&world);
}

void contract_kill(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_killed_writer_leaves_no_torn_publication);
    CONTRACT_TEST(suite, test_no_wake_up_is_lost_between_processes);
    CONTRACT_TEST(suite, test_dead_sleeper_holds_up_nobody);
}
