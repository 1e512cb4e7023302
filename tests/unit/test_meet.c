/* Peers that meet over TCP, among strangers: who is no neighbour, says nothing or ends half-way is
 * dropped, and the others meet all the same.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "core/meet.h"
#include "tests/lib/caught_log.h"

enum { PEERS = 3, PARAMETERS = 10 };

#define PATIENCE (30 * KOFN_NS_PER_S)

static const float first[PARAMETERS];

/* A line of peers; the one in the middle has two neighbours, and is the one that strangers find. */
enum { MIDDLE = 1 };

struct village {
    struct kofn_caught caught;
    struct kofn_graph graph;
    struct kofn_peer_attr attrs[PEERS];
    struct kofn_peer_end peers[PEERS];
    struct kofn_meeting meetings[PEERS];
};

static void village_open(struct village *village)
{
    kofn_caught_reset(&village->caught);
    CU_ASSERT_FATAL(!kofn_graph_make(KOFN_GRAPH_LINE, PEERS, 0, NULL, &village->graph));
    for (uint32_t rank = 0; rank < PEERS; rank++) {
        village->attrs[rank] = (struct kofn_peer_attr){.node = {.algorithm = &kofn_rfast,
                                                                .graph = &village->graph,
                                                                .rank = rank,
                                                                .parameters = PARAMETERS,
                                                                .first = first,
                                                                .learning_rate = 0.1},
                                                       .transport = kofn_transport_find("tcp"),
                                                       .bind = "127.0.0.1",
                                                       .log = &village->caught.log};
        CU_ASSERT_FATAL(!kofn_peer_open(&village->attrs[rank], &village->peers[rank]));
        CU_ASSERT_FATAL(!kofn_meet_open(&village->peers[rank], &village->meetings[rank]));
    }
}

static void village_close(struct village *village)
{
    for (uint32_t rank = 0; rank < PEERS; rank++) {
        kofn_meet_close(&village->meetings[rank]);
        kofn_peer_close(&village->peers[rank]);
    }
    kofn_graph_free(&village->graph);
}

static const char *address_of(void *arg, uint32_t rank)
{
    return ((struct village *)arg)->meetings[rank].listener.address;
}

static const char *nowhere(void *arg, uint32_t rank)
{
    (void)arg, (void)rank;
    return NULL;
}

/* One step of all: 0 if all have met. */
static int step(struct village *village)
{
    int all = 0;

    for (uint32_t rank = 0; rank < PEERS; rank++) {
        int rc = kofn_meet_step(&village->meetings[rank], address_of, village);

        all = rc && all != KOFN_AGAIN && rc != KOFN_AGAIN ? rc : all ? all : rc;
    }
    return all;
}

static bool meets(struct village *village)
{
    uint64_t deadline = kofn_now_ns() + PATIENCE;
    int rc;

    while ((rc = step(village)) == KOFN_AGAIN && kofn_now_ns() < deadline)
        ;
    return !rc;
}

/* Messages arrive: from everybody at every neighbour. */
static bool talks(struct village *village)
{
    uint64_t deadline = kofn_now_ns() + PATIENCE;
    float gradient[PARAMETERS] = {0};
    bool all = false;

    while (!all && kofn_now_ns() < deadline) {
        all = true;
        for (uint32_t rank = 0; rank < PEERS; rank++) {
            struct kofn_peer_end *peer = &village->peers[rank];

            kofn_node_begin(&peer->node);
            kofn_node_finish(&peer->node, gradient);
            kofn_peer_send(peer);
            kofn_peer_wait(peer, kofn_now_ns() + KOFN_NS_PER_MS);
            for (uint32_t i = 0; i < peer->node.in_count; i++)
                all &= peer->node.in[i].cut || peer->node.in[i].sequence > 0;
        }
    }
    return all;
}

/* ---- strangers ---- */

static struct kofn_channel *come(struct village *village)
{
    struct kofn_connect_attr attr = {.address = address_of(village, MIDDLE),
                                     .deadline = kofn_now_ns() + PATIENCE};
    struct kofn_channel *channel = NULL;

    CU_ASSERT_EQUAL_FATAL(kofn_channel_connect(&attr, &channel), 0);
    return channel;
}

/* What a peer would say, of rank @rank. */
static void greet(struct kofn_channel *channel, uint32_t rank, uint64_t parameters)
{
    struct kofn_wire hello = {.type = KOFN_WIRE_HELLO,
                              .hello = {.rank = rank,
                                        .pid = (uint32_t)getpid(),
                                        .parameters = parameters,
                                        .transport = "tcp",
                                        .workload = "model"}}; /* which go from the root on */

    CU_ASSERT_EQUAL(kofn_channel_send(channel, &hello, NULL), 0);
}

/* What the one in the middle says to that; the others are not there yet. */
static int hear(struct village *village, struct kofn_channel *channel, struct kofn_wire *message)
{
    uint64_t deadline = kofn_now_ns() + PATIENCE;
    const char *reason;
    int rc;

    do {
        CU_ASSERT_EQUAL(kofn_meet_step(&village->meetings[MIDDLE], nowhere, NULL), KOFN_AGAIN);
        rc = kofn_channel_receive(channel, 0, message, NULL, &reason);
    } while (rc == KOFN_AGAIN && kofn_now_ns() < deadline);
    return rc;
}

/* Strangers that say nothing, more of them than there are neighbours, hold nobody up. */
static void test_silent_strangers(void)
{
    struct kofn_channel *strangers[8];
    struct village village;

    village_open(&village);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(strangers); i++)
        strangers[i] = come(&village);
    CU_ASSERT(meets(&village));
    CU_ASSERT(talks(&village));
    CU_ASSERT_EQUAL(village.caught.count, 0);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(strangers); i++)
        kofn_channel_close(strangers[i]);
    village_close(&village);
}

/* So do those that hang up, at once or with garbage behind them, however many: that is said once.
 */
static void test_strangers_that_end(void)
{
    struct village village;

    village_open(&village);
    for (int i = 0; i < 50; i++) {
        struct kofn_channel *stranger = come(&village);

        if (i % 2)
            CU_ASSERT_EQUAL(write(stranger->fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
        kofn_channel_close(stranger);
    }
    CU_ASSERT(meets(&village));
    CU_ASSERT(talks(&village));
    CU_ASSERT(kofn_caught_one(&village.caught, "rank 1: 127.0.0.1, while peers met, connected and "
                                               "became no neighbour"));
    village_close(&village);
}

/* Who is no neighbour is told so, in words, and ends by it; the meeting does not. */
static void test_wrong_ones_are_refused(void)
{
    static const struct {
        uint32_t rank;
        uint64_t parameters;
        const char *said;
    } cases[] = {{7, PARAMETERS, "it is no neighbour"},
                 {MIDDLE, PARAMETERS, "it is no neighbour"},
                 {0, PARAMETERS + 1, "another number of parameters"}};
    struct village village;
    struct kofn_wire message;

    village_open(&village);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn_channel *stranger = come(&village);

        greet(stranger, cases[i].rank, cases[i].parameters);
        CU_ASSERT_EQUAL(hear(&village, stranger, &message), 0);
        CU_ASSERT_EQUAL(message.type, KOFN_WIRE_REFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(message.refused.text, cases[i].said));
        CU_ASSERT_EQUAL(hear(&village, stranger, &message), KOFN_GONE);
        kofn_channel_close(stranger);
    }
    CU_ASSERT(meets(&village));
    CU_ASSERT(talks(&village));
    village_close(&village);
}

/* One that passes for a neighbour, as far as WELCOME, keeps the true one waiting only as long as it
 * is there: the edge is free again when it hangs up, or breaks the rules.
 */
static void test_places_that_come_to_nothing(void)
{
    for (int breaks = 0; breaks < 2; breaks++) {
        struct kofn_channel *stranger;
        struct kofn_wire message;
        struct village village;

        village_open(&village);
        stranger = come(&village);
        greet(stranger, 0, PARAMETERS);
        CU_ASSERT_EQUAL(hear(&village, stranger, &message), 0);
        CU_ASSERT_EQUAL(message.type, KOFN_WIRE_WELCOME);
        for (int i = 0; i < 100; i++) /* those who ask now are put off, and ask again */
            CU_ASSERT_EQUAL(step(&village), KOFN_AGAIN);
        if (breaks)
            greet(stranger, 0, PARAMETERS);
        else
            kofn_channel_close(stranger);
        CU_ASSERT(meets(&village));
        CU_ASSERT(talks(&village));
        if (breaks)
            kofn_channel_close(stranger);
        village_close(&village);
    }
}

/* ---- afterwards ---- */

/* Says as much as goes through. */
static void flood(struct kofn_channel *control)
{
    struct kofn_wire message = {.type = KOFN_WIRE_GO};

    while (control && !kofn_channel_send(control, &message, NULL))
        ;
}

/* A neighbour that goes on and on talking when there is nothing to be said any more is looked at in
 * bounded time, and lost; the other one is not.
 */
static void test_endless_talk(void)
{
    uint64_t deadline = kofn_now_ns() + PATIENCE;
    struct village village;
    struct kofn_meeting *talker = &village.meetings[2], *middle = &village.meetings[MIDDLE];
    uint32_t lost = KOFN_ROOT_ANY, times = 0;

    village_open(&village);
    CU_ASSERT_FATAL(meets(&village));
    CU_ASSERT_EQUAL(kofn_meet_lost(middle), KOFN_ROOT_ANY);
    for (uint32_t i = 0; i < village.peers[2].node.out_count; i++)
        flood(talker->out[i].control);
    for (uint32_t i = 0; i < talker->places; i++)
        flood(talker->in[i].control);
    while (lost == KOFN_ROOT_ANY && kofn_now_ns() < deadline)
        lost = kofn_meet_lost(middle);
    for (; lost != KOFN_ROOT_ANY && times < 10; times++) { /* by every edge there is */
        CU_ASSERT_EQUAL(lost, 2);
        lost = kofn_meet_lost(middle);
    }
    CU_ASSERT(times > 0 && times < 10);
    village_close(&village);
}

void kofn_suite_meet(void)
{
    CU_pSuite suite = CU_add_suite("meet", NULL, NULL);

    CU_add_test(suite, "silent strangers", test_silent_strangers);
    CU_add_test(suite, "strangers that end", test_strangers_that_end);
    CU_add_test(suite, "wrong ones are refused", test_wrong_ones_are_refused);
    CU_add_test(suite, "places that come to nothing", test_places_that_come_to_nothing);
    CU_add_test(suite, "endless talk", test_endless_talk);
}
