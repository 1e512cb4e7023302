/* What a test can do to messages of the transport `self`, and that nothing else happens to them. */
#include <string.h>

#include "tests/contract/contract.h"
#include "tests/contract/suites.h"
#include "transports/self/self.h"

#define BYTES 200
#define WORKERS 4

/* A fabric that delivers nothing by itself, its hub, and all endpoints. */
struct net {
    struct kofn_fabric *fabric;
    struct kofn_hub *hub;
    struct kofn_endpoint *endpoints[WORKERS];
};

static void join(struct net *net, uint32_t rank, uint32_t epoch)
{
    struct kofn_endpoint_attr attr = {.rank = rank,
                                      .epoch = epoch,
                                      .slot = net->hub->slot,
                                      .model = net->hub->model,
                                      .context = net->fabric,
                                      .log = &contract_quiet};
    struct kofn_offer offer, answer;

    CU_ASSERT_EQUAL_FATAL(kofn_self.hub_admit(net->hub, rank, epoch, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_self.endpoint_open(&attr, &offer, &answer, &net->endpoints[rank]),
                          0);
    CU_ASSERT_EQUAL_FATAL(kofn_self.hub_connect(net->hub, rank, &answer), 0);
}

static void net_open(struct net *net, const struct kofn_fabric_attr *extra)
{
    struct kofn_fabric_attr attr = extra ? *extra : (struct kofn_fabric_attr){0};
    struct kofn_hub_attr hub = {.workers = WORKERS, .numa_node = -1, .log = &contract_quiet};

    attr.workers = WORKERS;
    attr.log = &contract_quiet;
    CU_ASSERT_EQUAL_FATAL(kofn_fabric_open(&attr, &net->fabric), 0);
    kofn_geometry_init(&hub.slot, BYTES, 2);
    hub.model = hub.slot;
    hub.context = net->fabric;
    CU_ASSERT_EQUAL_FATAL(kofn_self.hub_open(&hub, &net->hub), 0);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        join(net, rank, 1);
}

static void net_close(struct net *net)
{
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        kofn_self.endpoint_close(net->endpoints[rank]);
    kofn_self.hub_close(net->hub);
    kofn_fabric_close(net->fabric);
}

static void publish(struct net *net, uint32_t rank, uint64_t sequence)
{
    endpoint_fill(net->endpoints[rank], sequence);
    CU_ASSERT_EQUAL(endpoint_publish(net->endpoints[rank], sequence), 0);
}

static int poll_count(struct net *net)
{
    struct kofn_arrival arrivals[16];

    return kofn_self.hub_poll(net->hub, arrivals, 16);
}

static const unsigned char *slot_bytes(const struct net *net, uint32_t rank, uint64_t sequence)
{
    return kofn_slot_payload(&net->hub->slot, kofn_hub_slot(net->hub, rank), sequence);
}

/* Nothing moves unless the test moves it, and a publication is complete with its stamp, not with
 * its payload; its buffer has left when its payload has.
 */
static void test_one_delivery_is_one_message(void)
{
    struct net net;
    enum kofn_message_kind kind;

    net_open(&net, NULL);
    publish(&net, 1, 1);
    CU_ASSERT_EQUAL(kofn_fabric_pending(net.fabric, 1, KOFN_CHANNEL_DATA), 2);
    CU_ASSERT_EQUAL(poll_count(&net), 0);
    CU_ASSERT_EQUAL(kofn_self.endpoint_left(net.endpoints[1], 1), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_fabric_peek(net.fabric, 1, KOFN_CHANNEL_DATA, &kind), 0);
    CU_ASSERT_EQUAL(kind, KOFN_MESSAGE_PAYLOAD);
    CU_ASSERT_EQUAL(kofn_fabric_deliver(net.fabric, 1, KOFN_CHANNEL_DATA), 0);
    CU_ASSERT(payload_is(slot_bytes(&net, 1, 1), BYTES, 1, 1, 1));
    CU_ASSERT_EQUAL(kofn_self.endpoint_left(net.endpoints[1], 1), 0);
    CU_ASSERT_EQUAL(poll_count(&net), 0);
    CU_ASSERT_EQUAL(kofn_fabric_deliver(net.fabric, 1, KOFN_CHANNEL_DATA), 0);
    CU_ASSERT_EQUAL(poll_count(&net), 1);
    CU_ASSERT_EQUAL(kofn_fabric_deliver(net.fabric, 1, KOFN_CHANNEL_DATA), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_fabric_peek(net.fabric, 1, KOFN_CHANNEL_DATA, &kind), KOFN_AGAIN);
    net_close(&net);
}

/* A payload that is cut off anywhere, with its connection, is not a publication; cut off and
 * stamped all the same it is one that only its bytes give away.
 */
static void test_torn_payload(void)
{
    for (size_t cut = 0; cut < BYTES; cut += 7) {
        struct net net;
        const unsigned char *bytes;

        net_open(&net, NULL);
        publish(&net, 0, 1);
        CU_ASSERT_EQUAL(kofn_fabric_tear(net.fabric, 0, KOFN_CHANNEL_DATA, cut, false), 0);
        CU_ASSERT_EQUAL(kofn_fabric_pending(net.fabric, 0, KOFN_CHANNEL_DATA), 0);
        CU_ASSERT_EQUAL(poll_count(&net), 0);
        publish(&net, 2, 1);
        CU_ASSERT_EQUAL(kofn_fabric_tear(net.fabric, 2, KOFN_CHANNEL_DATA, cut, true), 0);
        CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 1);
        CU_ASSERT_EQUAL(poll_count(&net), 1);
        bytes = slot_bytes(&net, 2, 1);
        CU_ASSERT(!payload_is(bytes, BYTES, 2, 1, 1));
        for (size_t i = cut; i < BYTES; i++)
            CU_ASSERT_EQUAL(bytes[i], 0);
        CU_ASSERT_EQUAL(kofn_fabric_counts(net.fabric)->torn, 2);
        net_close(&net);
    }
}

/* Payload and stamp can be exchanged, as relaxed ordering would, and a channel that was not touched
 * keeps its order.
 */
static void test_reordering(void)
{
    struct net net;
    enum kofn_message_kind kind;

    net_open(&net, NULL);
    CU_ASSERT_EQUAL(kofn_fabric_swap(net.fabric, 0, KOFN_CHANNEL_DATA), KOFN_AGAIN);
    publish(&net, 0, 1);
    CU_ASSERT_EQUAL(kofn_fabric_swap(net.fabric, 0, KOFN_CHANNEL_DATA), 0);
    CU_ASSERT_EQUAL(kofn_fabric_peek(net.fabric, 0, KOFN_CHANNEL_DATA, &kind), 0);
    CU_ASSERT_EQUAL(kind, KOFN_MESSAGE_STAMP);
    CU_ASSERT_EQUAL(kofn_fabric_deliver(net.fabric, 0, KOFN_CHANNEL_DATA), 0);
    CU_ASSERT_EQUAL(poll_count(&net), 1);
    CU_ASSERT(!payload_is(slot_bytes(&net, 0, 1), BYTES, 0, 1, 1));
    publish(&net, 0, 2); /* behind what was exchanged */
    CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 3);
    CU_ASSERT(payload_is(slot_bytes(&net, 0, 1), BYTES, 0, 1, 1));
    CU_ASSERT(payload_is(slot_bytes(&net, 0, 2), BYTES, 0, 1, 2));
    CU_ASSERT_EQUAL(poll_count(&net), 1);
    net_close(&net);
}

/* A delayed channel delivers that many ticks later, in order; the others are not held up. */
static void test_delay(void)
{
    struct net net;

    net_open(&net, NULL);
    publish(&net, 0, 1);
    kofn_fabric_delay(net.fabric, 0, KOFN_CHANNEL_DATA, 3);
    publish(&net, 0, 2);
    publish(&net, 1, 1);
    kofn_self.endpoint_beat(net.endpoints[0], 77);
    CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 3);
    CU_ASSERT_EQUAL(kofn_hub_beat_word(net.hub, 0), 77);
    CU_ASSERT_EQUAL(poll_count(&net), 1);
    for (int i = 0; i < 2; i++) {
        kofn_fabric_tick(net.fabric);
        CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 0);
    }
    kofn_fabric_tick(net.fabric);
    CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 4);
    CU_ASSERT_EQUAL(poll_count(&net), 2);
    publish(&net, 0, 3);
    kofn_fabric_delay(net.fabric, 0, KOFN_CHANNEL_DATA, 0);
    CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 2);
    net_close(&net);
}

/* A dropped publication goes with its stamp, its buffer counts as left, and the next one arrives.
 */
static void test_drop(void)
{
    struct net net;

    net_open(&net, NULL);
    CU_ASSERT_EQUAL(kofn_fabric_drop(net.fabric, 0, KOFN_CHANNEL_BEAT), KOFN_AGAIN);
    publish(&net, 0, 1);
    publish(&net, 0, 2);
    CU_ASSERT_EQUAL(kofn_fabric_drop(net.fabric, 0, KOFN_CHANNEL_DATA), 0);
    CU_ASSERT_EQUAL(kofn_self.endpoint_left(net.endpoints[0], 1), 0);
    CU_ASSERT_EQUAL(kofn_self.endpoint_left(net.endpoints[0], 2), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 2);
    CU_ASSERT_EQUAL(poll_count(&net), 0); /* 1 never comes, and 2 is not next */
    CU_ASSERT(payload_is(slot_bytes(&net, 0, 2), BYTES, 0, 1, 2));
    CU_ASSERT_EQUAL(kofn_fabric_counts(net.fabric)->dropped, 2);
    net_close(&net);
}

/* What a worker still sends after its eviction, or sent before and arrives after its rank has a new
 * member, is thrown away, and counted.
 */
static void test_late_messages_are_discarded(void)
{
    struct net net;
    struct kofn_endpoint *old;
    unsigned char before[4096];

    net_open(&net, NULL);
    CU_ASSERT_FATAL(net.hub->slot.slot_bytes <= sizeof(before));
    publish(&net, 1, 1);
    old = net.endpoints[1];
    kofn_self.hub_evict(net.hub, 1);
    CU_ASSERT_EQUAL(kofn_self.hub_reclaim(net.hub, 1, false), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_self.hub_reclaim(net.hub, 1, true), 0);
    join(&net, 1, 2);
    kofn_self.endpoint_beat(old, 5);
    endpoint_fill(old, 2);
    CU_ASSERT_EQUAL(endpoint_publish(old, 2), 0);
    memcpy(before, kofn_hub_slot(net.hub, 1), net.hub->slot.slot_bytes);
    CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 5);
    CU_ASSERT_EQUAL(kofn_fabric_counts(net.fabric)->discarded, 5);
    CU_ASSERT_EQUAL(memcmp(before, kofn_hub_slot(net.hub, 1), net.hub->slot.slot_bytes), 0);
    CU_ASSERT_EQUAL(kofn_hub_beat_word(net.hub, 1), 0);
    publish(&net, 1, 1);
    kofn_fabric_deliver_all(net.fabric);
    CU_ASSERT_EQUAL(poll_count(&net), 1);
    kofn_self.hub_evict(net.hub, 1);
    kofn_fabric_deliver_all(net.fabric);
    CU_ASSERT_EQUAL(kofn_self.hub_reclaim(net.hub, 1, false), 0); /* nothing is under way */
    kofn_self.endpoint_close(old);
    net_close(&net);
}

/* A cut connection loses what was under way; both ends learn of it, once at the hub; what had
 * arrived is still taken, and the others do not notice.
 */
static void test_cut_connection(void)
{
    struct kofn_arrival arrivals[4];
    struct net net;

    net_open(&net, NULL);
    publish(&net, 2, 1);
    kofn_fabric_deliver_all(net.fabric);
    publish(&net, 2, 2);
    kofn_fabric_cut(net.fabric, 2);
    CU_ASSERT_EQUAL(kofn_fabric_deliver_all(net.fabric), 0);
    CU_ASSERT_EQUAL(kofn_self.hub_poll(net.hub, arrivals, 4), 1);
    CU_ASSERT_EQUAL(kofn_self.hub_poll(net.hub, arrivals, 4), KOFN_GONE);
    CU_ASSERT_EQUAL(arrivals[0].rank, 2);
    CU_ASSERT_EQUAL(kofn_self.hub_poll(net.hub, arrivals, 4), 0);
    CU_ASSERT_EQUAL(kofn_self.endpoint_beat(net.endpoints[2], 1), KOFN_GONE);
    CU_ASSERT_EQUAL(endpoint_publish(net.endpoints[2], 3), KOFN_GONE);
    CU_ASSERT_EQUAL(kofn_self.endpoint_left(net.endpoints[2], 1), 0);
    CU_ASSERT_EQUAL(kofn_self.endpoint_left(net.endpoints[2], 2), KOFN_GONE);
    CU_ASSERT_EQUAL(kofn_self.hub_gate(net.hub, 2, 1), KOFN_GONE);
    publish(&net, 0, 1);
    kofn_fabric_deliver_all(net.fabric);
    CU_ASSERT_EQUAL(poll_count(&net), 1);
    kofn_self.hub_evict(net.hub, 2);
    CU_ASSERT_EQUAL(kofn_self.hub_reclaim(net.hub, 2, true), 0);
    kofn_self.endpoint_close(net.endpoints[2]);
    join(&net, 2, 2);
    CU_ASSERT_EQUAL(kofn_self.endpoint_beat(net.endpoints[2], 1), 0);
    net_close(&net);
}

/* Whoever fills a buffer again before it has left is found out; whoever waits for it is not. */
static void test_early_refill_is_counted(void)
{
    struct net net;

    net_open(&net, NULL);
    publish(&net, 0, 1);
    endpoint_fill(net.endpoints[0], 3); /* the same buffer */
    kofn_fabric_deliver_all(net.fabric);
    CU_ASSERT_EQUAL(kofn_fabric_counts(net.fabric)->refilled, 1);
    publish(&net, 0, 2);
    kofn_fabric_deliver_all(net.fabric);
    endpoint_fill(net.endpoints[0], 4);
    CU_ASSERT_EQUAL(kofn_fabric_counts(net.fabric)->refilled, 1);
    net_close(&net);
}

/* A model that was pushed arrives before the gate that was written after it, and torn it is none.
 */
static void test_models_go_down_in_order(void)
{
    struct kofn_fabric_attr attr = {.pushed_only = true};
    struct net net;
    struct kofn_stamp stamp = {.round = 1, .sequence = 1};
    float model[BYTES / sizeof(float)];

    net_open(&net, &attr);
    payload_fill(kofn_slot_withdraw(&net.hub->model, net.hub->models, 1), BYTES, 0, 0, 1);
    kofn_slot_publish(&net.hub->model, net.hub->models, &stamp);
    CU_ASSERT_EQUAL(kofn_self.hub_push(net.hub, 0, 2), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_self.hub_push(net.hub, 0, 1), 0);
    CU_ASSERT_EQUAL(kofn_self.hub_push(net.hub, 1, 1), 0);
    CU_ASSERT_EQUAL(kofn_self.hub_gate(net.hub, 0, 9), 0);
    CU_ASSERT_EQUAL(kofn_fabric_pending(net.fabric, 0, KOFN_CHANNEL_DOWN), 3);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(kofn_self.endpoint_fetch(net.endpoints[0], model, NULL, &stamp),
                        KOFN_AGAIN);
        CU_ASSERT_EQUAL(kofn_fabric_deliver(net.fabric, 0, KOFN_CHANNEL_DOWN), 0);
        CU_ASSERT_EQUAL(net.endpoints[0]->block->gate, 0);
    }
    CU_ASSERT_EQUAL(kofn_self.endpoint_fetch(net.endpoints[0], model, NULL, &stamp), 0);
    CU_ASSERT(payload_is(model, BYTES, 0, 0, 1));
    CU_ASSERT_EQUAL(kofn_fabric_tear(net.fabric, 1, KOFN_CHANNEL_DOWN, 10, false), 0);
    kofn_fabric_deliver_all(net.fabric);
    CU_ASSERT_EQUAL(kofn_self.endpoint_fetch(net.endpoints[1], model, NULL, &stamp), KOFN_AGAIN);
    CU_ASSERT_EQUAL(net.endpoints[0]->block->gate, 9);
    net_close(&net);
}

/* What order a seed scatters messages in: the ranks of the arrivals, as they come. */
static uint64_t scattered(uint64_t seed)
{
    struct kofn_fabric_attr attr = {.seed = seed};
    struct kofn_arrival arrival;
    struct net net;
    uint64_t order = 0;
    size_t delivered = 0;

    net_open(&net, &attr);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        for (uint64_t sequence = 1; sequence <= 2; sequence++)
            publish(&net, rank, sequence);
    while (kofn_fabric_scatter(net.fabric, 1) == 1) {
        delivered++;
        while (kofn_self.hub_poll(net.hub, &arrival, 1) == 1)
            order = order * WORKERS + arrival.rank;
    }
    CU_ASSERT_EQUAL(delivered, 4 * WORKERS);
    CU_ASSERT_EQUAL(kofn_fabric_scatter(net.fabric, 100), 0);
    net_close(&net);
    return order;
}

/* A seed always gives the same history, and different seeds different ones. */
static void test_random_order_is_repeatable(void)
{
    uint32_t different = 0;

    for (uint64_t seed = 0; seed < 50; seed++) {
        uint64_t order = scattered(seed);

        CU_ASSERT_EQUAL(order, scattered(seed));
        different += order != scattered(seed + 1);
    }
    CU_ASSERT(different > 40);
}

/* What a scheduler was called with. */
struct calls {
    uint32_t count, rank;
    uint64_t deadline;
    int rc;
};

static int note_call(void *arg, uint32_t rank, uint64_t deadline)
{
    struct calls *calls = arg;

    calls->count++;
    calls->rank = rank;
    calls->deadline = deadline;
    return calls->rc;
}

/* Instead of sleeping, a wait calls the scheduler, and returns what that returns. */
static void test_waits_call_the_scheduler(void)
{
    struct calls calls = {0};
    struct kofn_fabric_attr attr = {.progress = note_call, .arg = &calls};
    struct net net;

    net_open(&net, &attr);
    CU_ASSERT_EQUAL(kofn_self.hub_wait(net.hub, 1234), 0);
    CU_ASSERT(calls.count == 1 && calls.rank == UINT32_MAX && calls.deadline == 1234);
    calls.rc = KOFN_INTERRUPTED;
    CU_ASSERT_EQUAL(kofn_self.endpoint_wait(net.endpoints[3], 0, 99), KOFN_INTERRUPTED);
    CU_ASSERT(calls.count == 2 && calls.rank == 3 && calls.deadline == 99);
    CU_ASSERT_EQUAL(kofn_self.endpoint_wait(net.endpoints[3], 1, 99), 0); /* is not 1: no wait */
    CU_ASSERT_EQUAL(calls.count, 2);
    net_close(&net);
}

/* A fabric that cannot be is refused. */
static void test_empty_fabric_is_refused(void)
{
    struct kofn_fabric_attr attr = {.log = &contract_quiet};
    struct kofn_fabric *fabric = NULL;

    CU_ASSERT_EQUAL(kofn_fabric_open(&attr, &fabric), KOFN_INVALID);
    CU_ASSERT_PTR_NULL(fabric);
    kofn_fabric_close(NULL);
}

void contract_add_fabric(void)
{
    CU_pSuite suite = CU_add_suite("fabric", NULL, NULL);

    CONTRACT_TEST(suite, test_one_delivery_is_one_message);
    CONTRACT_TEST(suite, test_torn_payload);
    CONTRACT_TEST(suite, test_reordering);
    CONTRACT_TEST(suite, test_delay);
    CONTRACT_TEST(suite, test_drop);
    CONTRACT_TEST(suite, test_late_messages_are_discarded);
    CONTRACT_TEST(suite, test_cut_connection);
    CONTRACT_TEST(suite, test_early_refill_is_counted);
    CONTRACT_TEST(suite, test_models_go_down_in_order);
    CONTRACT_TEST(suite, test_random_order_is_repeatable);
    CONTRACT_TEST(suite, test_waits_call_the_scheduler);
    CONTRACT_TEST(suite, test_empty_fabric_is_refused);
}
