/* Waits end: by what they wait for, by their deadline, by a signal. Never later. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "tests/contract/contract.h"

#define ROUNDS 20000
#define TURNS 30                    /* about what it takes to go to sleep */
#define WAIT_NS (5 * KOFN_NS_PER_S) /* longer than any wait for a peer that is well takes */

static uint64_t beat_word(uint32_t round)
{
    return kofn_beat_pack((struct kofn_beat){round, round % 100});
}

static uint64_t gate_word(uint32_t round)
{
    return kofn_gate_pack((struct kofn_gate){.round = round, .state = KOFN_GATE_OPEN});
}

/* With nothing to wait for, a wait ends at its deadline, and a deadline that has passed ends it at
 * once, with and without spinning.
 */
static void test_wait_ends_at_its_deadline(void)
{
    for (uint64_t spin = 0; spin <= 300 * KOFN_NS_PER_US; spin += 150 * KOFN_NS_PER_US) {
        struct world world;
        uint64_t start;

        world_open(&world, 2, 64, 2, spin);
        world_join_all(&world);
        start = kofn_now_ns();
        for (int i = 0; i < 10; i++) {
            uint64_t deadline = kofn_now_ns() + KOFN_NS_PER_MS;

            CU_ASSERT_EQUAL(contract_ops()->hub_wait(world.hub, deadline), 0);
            CU_ASSERT_EQUAL(contract_ops()->endpoint_wait(world.endpoints[0], 0, deadline), 0);
            CU_ASSERT_EQUAL(contract_ops()->hub_wait(world.hub, 0), 0);
            CU_ASSERT_EQUAL(contract_ops()->endpoint_wait(world.endpoints[0], 0, 1), 0);
        }
        CU_ASSERT(kofn_now_ns() - start < WAIT_NS);
        world_close(&world);
    }
}

/* What has come and was not looked at yet ends a wait at once, even one without a deadline: a
 * publication until it is taken, a beat until a wait has ended, a gate that is not the one seen.
 */
static void test_wait_sees_what_is_there(void)
{
    struct world world;

    world_open(&world, 3, 64, 2, 0);
    world_join_all(&world);
    world_publish(&world, 2, 1);
    world_settle(&world);
    CU_ASSERT_EQUAL(contract_ops()->hub_wait(world.hub, KOFN_FOREVER), 0);
    CU_ASSERT_EQUAL(contract_ops()->hub_wait(world.hub, KOFN_FOREVER), 0);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    for (uint32_t round = 1; round < 5; round++) {
        CU_ASSERT_EQUAL(contract_ops()->endpoint_beat(world.endpoints[round % 3], beat_word(round)),
                        0);
        CU_ASSERT_EQUAL(contract_ops()->hub_wait(world.hub, KOFN_FOREVER), 0);
        CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, round % 3, gate_word(round)), 0);
        CU_ASSERT_EQUAL(contract_ops()->endpoint_wait(world.endpoints[round % 3], 0, KOFN_FOREVER),
                        0);
        CU_ASSERT(world_await_beat(&world, round % 3, beat_word(round)));
        CU_ASSERT(world_await_gate(&world, round % 3, gate_word(round)));
    }
    world_close(&world);
}

/* ---- two threads ---- */

/* How one of two who answer each other waits for the other. Who sleeps is awake by the time it is
 * answered only if the answer comes late; so the other one polls, and takes a random time, to hit
 * the moment between the last look of the sleeper and its sleep.
 */
struct manner {
    uint32_t
        turns; /* 0 = sleeps; else polls, and waits less than so many turns before it answers */
    struct kofn_random random;
};

static void manner_init(struct manner *manner, uint32_t turns)
{
    manner->turns = turns;
    kofn_random_seed(&manner->random, 1, turns);
}

/* A turn of polling. Where there are more threads than cores, the other one gets its time. */
static bool poll_turn(uint32_t turn)
{
    kofn_cpu_relax();
    if (turn % 256 != 255)
        return true;
    sched_yield();
    return false;
}

static void take_time(struct manner *manner)
{
    if (manner->turns)
        for (uint64_t i = kofn_random_below(&manner->random, manner->turns); i; i--)
            kofn_cpu_relax();
}

/* @found: the word, or the number, that was there instead. */
static void say_overdue(const char *who, const char *what, uint64_t number, uint64_t found)
{
    printf("# the %s has waited in vain for %s %llu: found 0x%llx\n", who, what,
           (unsigned long long)number, (unsigned long long)found);
}

struct partner {
    struct kofn_endpoint *endpoint;
    struct manner manner;
    uint32_t rounds;
    bool failed;
};

/* One wait for something of the hub; false if that is overdue. */
static bool partner_wait(struct partner *partner, uint64_t seen, uint64_t deadline, uint32_t turn)
{
    if (partner->manner.turns && poll_turn(turn))
        return true;
    if (partner->manner.turns) /* a transport goes on with what it has begun when it is called */
        partner->endpoint->ops->endpoint_wait(partner->endpoint, seen, 0);
    else if (partner->endpoint->ops->endpoint_wait(partner->endpoint, seen, deadline))
        return false;
    return kofn_now_ns() < deadline;
}

/* Answers every gate with a beat. */
static void *answer_gates(void *arg)
{
    struct partner *partner = arg;
    uint64_t seen = 0, gate;

    for (uint32_t round = 1; round <= partner->rounds && !partner->failed; round++) {
        uint64_t deadline = kofn_now_ns() + WAIT_NS;
        uint32_t turn = 0;

        while ((gate = endpoint_gate(partner->endpoint, seen)) == seen && !partner->failed)
            partner->failed = !partner_wait(partner, seen, deadline, turn++);
        if (partner->failed)
            say_overdue("worker", "gate", round, gate);
        seen = gate;
        take_time(&partner->manner);
        partner->endpoint->ops->endpoint_beat(partner->endpoint, beat_word(round));
    }
    return NULL;
}

/* Publishes, and again whenever the receipt of the last publication is there. */
static void *answer_receipts(void *arg)
{
    struct partner *partner = arg;
    struct kofn_receipt_line line;

    for (uint32_t round = 1; round <= partner->rounds && !partner->failed; round++) {
        uint64_t deadline = kofn_now_ns() + WAIT_NS;
        uint32_t turn = 0;

        endpoint_fill(partner->endpoint, round);
        take_time(&partner->manner);
        endpoint_publish(partner->endpoint, round);
        while (kofn_block_get_receipt(partner->endpoint->block, round, &line) && !partner->failed)
            partner->failed = !partner_wait(partner, 0, deadline, turn++);
        if (partner->failed)
            say_overdue("worker", "receipt", round, 0);
    }
    return NULL;
}

static bool needs_threads(void)
{
    if (!contract_fixture()->concurrent)
        kofn_test_skip("runs in one thread");
    return contract_fixture()->concurrent;
}

static void join_thread(pthread_t thread)
{
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
}

/* One wait of the hub; false if what it waits for is overdue. */
static bool hub_turn(struct world *world, const struct manner *manner, uint64_t deadline,
                     uint32_t turn)
{
    if (manner->turns && poll_turn(turn))
        return true;
    if (manner->turns)
        contract_ops()->hub_wait(world->hub, 0);
    else if (contract_ops()->hub_wait(world->hub, deadline))
        return false;
    return kofn_now_ns() < deadline;
}

/* Writes gates; each is answered by the beat of its round. False if one was not. */
static bool ask_for_beats(struct world *world, struct manner *manner, uint32_t rounds)
{
    bool lost = false;

    for (uint32_t round = 1; round <= rounds && !lost; round++) {
        uint64_t deadline = kofn_now_ns() + WAIT_NS;
        uint32_t turn = 0;

        take_time(manner);
        contract_ops()->hub_gate(world->hub, 1, gate_word(round));
        while (!lost && kofn_hub_beat_word(world->hub, 1) != beat_word(round))
            lost = !hub_turn(world, manner, deadline, turn++);
        if (lost)
            say_overdue("hub", "beat", round, kofn_hub_beat_word(world->hub, 1));
    }
    return !lost;
}

/* Takes publications, and writes a receipt for each. False if one did not come. */
static bool hand_out_receipts(struct world *world, struct manner *manner, uint32_t rounds)
{
    struct kofn_receipt_line line = {.outcome = KOFN_OUTCOME_MERGED};
    struct kofn_arrival arrival = {0};
    bool lost = false;

    for (line.sequence = 1; line.sequence <= rounds && !lost; line.sequence++) {
        uint64_t deadline = kofn_now_ns() + WAIT_NS;
        uint32_t turn = 0;

        while (!lost && contract_ops()->hub_poll(world->hub, &arrival, 1) == 0)
            lost = !hub_turn(world, manner, deadline, turn++);
        lost |= arrival.sequence != line.sequence;
        if (lost)
            say_overdue("hub", "publication", line.sequence, arrival.sequence);
        take_time(manner);
        contract_ops()->hub_receipt(world->hub, 1, &line);
    }
    return !lost;
}

/* No wake-up is lost, ever: two who answer each other, in these manners, never wait in vain. */
static void play(uint32_t hub_turns, uint32_t worker_turns, void *(*worker)(void *),
                 bool (*hub)(struct world *, struct manner *, uint32_t))
{
    struct partner partner = {.rounds = contract_rounds(ROUNDS)};
    struct manner manner;
    struct world world;
    pthread_t thread;

    if (!needs_threads())
        return;
    manner_init(&manner, hub_turns);
    manner_init(&partner.manner, worker_turns);
    world_open(&world, 2, 64, 2, 0);
    world_join_all(&world);
    partner.endpoint = world.endpoints[1];
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, worker, &partner), 0);
    CU_ASSERT(hub(&world, &manner, partner.rounds));
    join_thread(thread);
    CU_ASSERT(!partner.failed);
    world_close(&world);
}

static void test_no_wake_up_is_lost_when_both_sleep(void)
{
    play(0, 0, answer_gates, ask_for_beats);
    play(0, 0, answer_receipts, hand_out_receipts);
}

static void test_no_wake_up_of_the_hub_is_lost(void)
{
    play(0, TURNS, answer_gates, ask_for_beats);
    play(0, TURNS, answer_receipts, hand_out_receipts);
}

static void test_no_wake_up_of_a_worker_is_lost(void)
{
    play(TURNS, 0, answer_gates, ask_for_beats);
    play(TURNS, 0, answer_receipts, hand_out_receipts);
}

/* ---- signals ---- */

static void on_signal(int number)
{
    (void)number;
}

struct sleeper {
    struct world *world;
    int rc;
    bool done;
};

/* A wait may return early, for no reason: only what it says of a signal counts. */
static void *sleep_as_hub(void *arg)
{
    struct sleeper *sleeper = arg;
    uint64_t deadline = contract_deadline();

    do
        sleeper->rc = contract_ops()->hub_wait(sleeper->world->hub, deadline);
    while (!sleeper->rc && kofn_now_ns() < deadline);
    __atomic_store_n(&sleeper->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void *sleep_as_worker(void *arg)
{
    struct sleeper *sleeper = arg;
    uint64_t deadline = contract_deadline();

    do
        sleeper->rc = contract_ops()->endpoint_wait(sleeper->world->endpoints[0], 0, deadline);
    while (!sleeper->rc && kofn_now_ns() < deadline);
    __atomic_store_n(&sleeper->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* A signal ends a wait, and the wait says so. Signals are sent until one has hit the sleeping
 * thread.
 */
static void test_signal_interrupts_a_wait(void)
{
    static void *(*const functions[])(void *) = {sleep_as_hub, sleep_as_worker};
    struct sigaction action = {.sa_handler = on_signal}, before;
    struct world world;

    if (!needs_threads())
        return;
    world_open(&world, 1, 64, 2, 0);
    world_join_all(&world);
    CU_ASSERT_EQUAL_FATAL(sigaction(SIGUSR1, &action, &before), 0);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(functions); i++) {
        struct sleeper sleeper = {.world = &world};
        pthread_t thread;

        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, functions[i], &sleeper), 0);
        while (!__atomic_load_n(&sleeper.done, __ATOMIC_ACQUIRE)) {
            pthread_kill(thread, SIGUSR1);
            sched_yield();
        }
        join_thread(thread);
        CU_ASSERT_EQUAL(sleeper.rc, KOFN_INTERRUPTED);
    }
    CU_ASSERT_EQUAL(sigaction(SIGUSR1, &before, NULL), 0);
    world_close(&world);
}

/* ---- models under a writer ---- */

#define WORDS 65536 /* a model of half a megabyte: a fetch is overtaken now and then */
#define FETCHES 2000

struct reader {
    struct kofn_endpoint *endpoint;
    uint32_t whole, torn, backwards, failed;
    bool enough;
};

/* Every word of a model is its version: filled as fast as it is copied. */
static bool is_version(const uint64_t *model, uint64_t version)
{
    uint64_t difference = 0;

    for (size_t i = 0; i < WORDS; i++)
        difference |= model[i] ^ version;
    return !difference;
}

static void publish_version(struct kofn_hub *hub, uint64_t version)
{
    struct kofn_stamp stamp = {.round = (uint32_t)version, .sequence = version};
    uint64_t *model = kofn_slot_withdraw(&hub->model, hub->models, version);

    for (size_t i = 0; i < WORDS; i++)
        model[i] = version;
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    hub->ops->hub_push(hub, 0, version);
}

/* Fetches until it has got enough; a fetched model is whole, its two copies are the same, and
 * versions never go back.
 */
static void *fetch_models(void *arg)
{
    static uint64_t model[WORDS], base[WORDS];
    struct reader *reader = arg;
    uint64_t deadline = contract_deadline(), last = 0;
    uint32_t enough = contract_rounds(FETCHES);

    while (reader->whole < enough && kofn_now_ns() < deadline) {
        struct kofn_stamp stamp;
        int rc =
            contract_ops()->endpoint_fetch(reader->endpoint, (float *)model, (float *)base, &stamp);

        if (rc == KOFN_AGAIN)
            continue;
        reader->whole++;
        reader->failed += rc != 0;
        reader->backwards += stamp.sequence < last;
        reader->torn += !is_version(model, stamp.sequence) || !is_version(base, stamp.sequence);
        last = stamp.sequence;
    }
    __atomic_store_n(&reader->enough, true, __ATOMIC_RELEASE);
    return NULL;
}

/* While the server goes on publishing at full speed, whatever a fetch gets is one whole model. */
static void test_fetched_model_is_whole_under_a_writer(void)
{
    struct reader reader = {0};
    struct world world;
    pthread_t thread;

    if (!needs_threads())
        return;
    world_open(&world, 1, WORDS * sizeof(uint64_t), 2, 0);
    world_join_all(&world);
    reader.endpoint = world.endpoints[0];
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, fetch_models, &reader), 0);
    for (uint64_t version = 1; !__atomic_load_n(&reader.enough, __ATOMIC_ACQUIRE); version++)
        publish_version(world.hub, version);
    join_thread(thread);
    CU_ASSERT_EQUAL(reader.whole, contract_rounds(FETCHES));
    CU_ASSERT_EQUAL(reader.torn, 0);
    CU_ASSERT_EQUAL(reader.backwards, 0);
    CU_ASSERT_EQUAL(reader.failed, 0);
    world_close(&world);
}

void contract_wait(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_wait_ends_at_its_deadline);
    CONTRACT_TEST(suite, test_wait_sees_what_is_there);
    CONTRACT_TEST(suite, test_no_wake_up_is_lost_when_both_sleep);
    CONTRACT_TEST(suite, test_no_wake_up_of_the_hub_is_lost);
    CONTRACT_TEST(suite, test_no_wake_up_of_a_worker_is_lost);
    CONTRACT_TEST(suite, test_signal_interrupts_a_wait);
    CONTRACT_TEST(suite, test_fetched_model_is_whole_under_a_writer);
}
