/* Connections that the connection manager makes: what goes wrong with them. That they work like
 * others is what the contract shows over them.
 */
#include <errno.h>
#include <netinet/in.h>
#include <rdma/rdma_cma.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/contract.h"
#include "tests/lib/caught_log.h"
#include "tests/verbs/fake.h"
#include "tests/verbs/suites.h"
#include "transports/verbs/endpoint.h"
#include "transports/verbs/hub.h"
#include "transports/verbs/verbs.h"

#define OPTIONS "connect=rdmacm"

/* A hub and one worker, as far as set-up comes. */
struct couple {
    struct kofn_hub *hub;
    struct kofn_endpoint *endpoint;
    struct kofn_offer offer, answer;
    int rc; /* of the step that failed */
};

static void call_until(struct couple *couple, uint64_t patience, uint64_t deadline,
                       const struct kofn_log *log)
{
    struct kofn_hub_attr hub = {
        .workers = 2, .numa_node = -1, .options = OPTIONS, .peer_timeout = patience, .log = log};
    struct kofn_endpoint_attr attr = {
        .epoch = 1, .options = OPTIONS, .peer_timeout = patience, .deadline = deadline, .log = log};

    *couple = (struct couple){0};
    kofn_geometry_init(&hub.slot, 1000, 2);
    hub.model = attr.slot = attr.model = hub.slot;
    couple->rc = kofn_verbs.hub_open(&hub, &couple->hub);
    if (!couple->rc)
        couple->rc = kofn_verbs.hub_admit(couple->hub, 0, 1, &couple->offer);
    if (!couple->rc)
        couple->rc =
            kofn_verbs.endpoint_open(&attr, &couple->offer, &couple->answer, &couple->endpoint);
}

static void call(struct couple *couple, uint64_t patience, const struct kofn_log *log)
{
    call_until(couple, patience, 0, log);
}

static void join(struct couple *couple, uint64_t patience, const struct kofn_log *log)
{
    call(couple, patience, log);
    if (!couple->rc)
        couple->rc = kofn_hub_connect(couple->hub, 0, &couple->answer);
}

static void part(struct couple *couple)
{
    if (couple->endpoint)
        kofn_verbs.endpoint_close(couple->endpoint);
    if (couple->hub)
        kofn_verbs.hub_close(couple->hub);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* Whichever call of the manager fails, and whichever of them it is: a status, one message at once,
 * nothing left behind, on whichever side it was.
 */
static void test_calls_fail_cleanly(void)
{
    static const char *const calls[] = {
        "rdma_create_event_channel", "rdma_create_id",     "rdma_bind_addr", "rdma_listen",
        "rdma_resolve_addr",         "rdma_resolve_route", "rdma_connect",   "rdma_accept",
        "rdma_init_qp_attr",         "rdma_establish",     "ibv_modify_qp",
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(calls); i++)
        for (unsigned nth = 1;; nth++) {
            struct kofn_caught caught;
            struct couple couple;
            bool reached;

            kofn_caught_reset(&caught);
            fake_fail(calls[i], nth, ENOMEM);
            join(&couple, 0, &caught.log);
            reached = fake_failed();
            fake_fail(NULL, 0, 0);
            if (reached) {
                CU_ASSERT_NOT_EQUAL(couple.rc, 0);
                CU_ASSERT_EQUAL(caught.count, 1);
            }
            part(&couple);
            if (!reached) {
                CU_ASSERT_EQUAL(couple.rc, 0);
                CU_ASSERT(nth > 1);
                break;
            }
        }
    fake_reset();
}

/* Events that cannot be taken are waited for again, or end the call with one message. */
static void test_events_that_cannot_be_taken(void)
{
    for (unsigned nth = 1; nth < 12; nth++) {
        struct kofn_caught caught;
        struct couple couple;

        kofn_caught_reset(&caught);
        fake_fail("rdma_get_cm_event", nth, EIO);
        join(&couple, 50 * KOFN_NS_PER_MS, &caught.log);
        fake_fail(NULL, 0, 0);
        CU_ASSERT_EQUAL(caught.count, couple.rc != 0);
        part(&couple);
    }
    fake_reset();
}

/* The class of traffic is a wish: without it there is a connection, too. */
static void test_class_may_fail(void)
{
    struct couple couple;

    fake_fail("rdma_set_option", 1, EINVAL);
    join(&couple, 0, &contract_quiet);
    CU_ASSERT(fake_failed());
    CU_ASSERT_EQUAL(couple.rc, 0);
    part(&couple);
    fake_reset();
}

/* What the manager says of a step that fails becomes a sentence: whose, to where, what to do. */
static void test_events_are_sentences(void)
{
    static const struct {
        int manager;
        const char *said;
    } cases[] = {
        {RDMA_CM_EVENT_ADDR_ERROR, "its address is not found"},
        {RDMA_CM_EVENT_ROUTE_ERROR, "no path to it"},
        {FAKE_MANAGER_OTHER_DEVICE, "over another device"},
    };
    struct kofn_caught caught;
    struct couple couple;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        kofn_caught_reset(&caught);
        fake_device.manager = cases[i].manager;
        call(&couple, 0, &caught.log);
        CU_ASSERT_EQUAL(couple.rc, KOFN_GONE);
        CU_ASSERT_PTR_NOT_NULL(strstr(caught.last, "rank 0"));
        CU_ASSERT_PTR_NOT_NULL(strstr(caught.last, "10.9.8.7"));
        CU_ASSERT(kofn_caught_one(&caught, cases[i].said));
        part(&couple);
        fake_reset();
    }
}

/* Every step of a call ends with the deadline of the worker's call, or, if it gave none, with the
 * peer's time-out, and no other; the manager is told so. What is said then names the step that was
 * waited for, the rank, the address, and for how long.
 */
static void test_steps_end_with_the_deadline(void)
{
    static const struct {
        int manager;
        const char *said;
    } cases[] = {{FAKE_MANAGER_MUTE, "its address is not resolved after 0."},
                 {FAKE_MANAGER_SILENT, "no route to it is found after 0."},
                 {FAKE_MANAGER_WORKS, "it has not answered the call after 0."}};
    struct kofn_caught caught;
    struct couple couple;

    for (size_t i = 0; i < 2 * KOFN_ARRAY_SIZE(cases); i++) {
        uint64_t began = kofn_now_ns(), patience = 50 * KOFN_NS_PER_MS;
        bool given = i % 2;

        kofn_caught_reset(&caught);
        fake_device.manager = cases[i / 2].manager;
        if (given)
            call_until(&couple, KOFN_FOREVER / 2, began + patience, &caught.log);
        else
            call(&couple, patience, &caught.log);
        while (!couple.rc) /* its thread says so, whenever it is looked at after that */
            couple.rc = kofn_verbs.endpoint_beat(couple.endpoint, 1);
        CU_ASSERT_EQUAL(couple.rc,
                        fake_device.manager == FAKE_MANAGER_WORKS ? KOFN_GONE : KOFN_TIMEOUT);
        CU_ASSERT(kofn_now_ns() - began >= patience);
        CU_ASSERT(fake_step_ms() >= 1 && fake_step_ms() <= 51);
        CU_ASSERT_PTR_NOT_NULL(strstr(caught.last, "rank 0"));
        CU_ASSERT_PTR_NOT_NULL(strstr(caught.last, "10.9.8.7"));
        CU_ASSERT(kofn_caught_one(&caught, cases[i / 2].said));
        part(&couple);
        fake_reset();
    }
}

/* A hub that refuses, or is not there, is no connection: what the worker does next says why, once,
 * and the hub that waits for the call says so after a while.
 */
static void test_refused_calls_are_said(void)
{
    static const struct {
        int manager;
        const char *said;
    } cases[] = {{RDMA_CM_EVENT_REJECTED, "refuses"},
                 {RDMA_CM_EVENT_UNREACHABLE, "does not answer"}};
    struct kofn_caught caught;
    struct couple couple;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        kofn_caught_reset(&caught);
        fake_device.manager = cases[i].manager;
        join(&couple, 50 * KOFN_NS_PER_MS, &caught.log);
        CU_ASSERT_EQUAL(couple.rc, KOFN_TIMEOUT);
        CU_ASSERT(kofn_caught_one(&caught, "no call"));
        CU_ASSERT_EQUAL(kofn_verbs.endpoint_beat(couple.endpoint, 1), KOFN_GONE);
        CU_ASSERT(kofn_caught_one(&caught, cases[i].said));
        CU_ASSERT_EQUAL(kofn_verbs.endpoint_beat(couple.endpoint, 1), KOFN_GONE);
        CU_ASSERT_EQUAL(caught.count, 0);
        part(&couple);
        fake_reset();
    }
}

/* A worker that goes, or falls silent, while it is being accepted ends nobody's wait but its own.
 */
static void test_lost_calls_end(void)
{
    struct kofn_caught caught;
    struct couple couple;

    kofn_caught_reset(&caught);
    fake_device.manager = FAKE_MANAGER_UNCONFIRMED;
    join(&couple, 50 * KOFN_NS_PER_MS, &caught.log);
    CU_ASSERT_EQUAL(couple.rc, KOFN_TIMEOUT);
    CU_ASSERT(kofn_caught_one(&caught, "no confirmation"));
    part(&couple);
    fake_reset();
    call(&couple, 0, &caught.log);
    CU_ASSERT_EQUAL_FATAL(couple.rc, 0);
    kofn_verbs.endpoint_close(couple.endpoint);
    couple.endpoint = NULL;
    CU_ASSERT_NOT_EQUAL(kofn_hub_connect(couple.hub, 0, &couple.answer), 0);
    CU_ASSERT_EQUAL(caught.count, 1);
    part(&couple);
}

/* The hub waits for nobody: what is not there yet is asked for again, by the number of the rank
 * alone, until it is there or the member is taken out; then the rank is free again.
 */
static void test_hub_connects_without_waiting(void)
{
    struct couple couple;

    fake_device.manager = FAKE_MANAGER_UNCONFIRMED;
    call(&couple, 0, &contract_quiet);
    CU_ASSERT_EQUAL_FATAL(couple.rc, 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, NULL), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, &couple.answer), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, NULL), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, &couple.answer), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, NULL), KOFN_AGAIN);
    kofn_verbs.hub_evict(couple.hub, 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, NULL), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(couple.hub, 0, false), 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_admit(couple.hub, 0, 2, &couple.offer), 0);
    part(&couple);
    fake_reset();
}

/* A worker that breaks its queue pair while it is being accepted, by a message that nobody expects,
 * does not become a member, and leaves nothing behind: the hub has nothing to report, and can
 * sleep.
 */
static void test_who_fails_early_is_no_member(void)
{
    struct ibv_sge piece = {.length = 8};
    struct ibv_send_wr *bad,
        wr = {
            .opcode = IBV_WR_SEND, .sg_list = &piece, .num_sge = 1, .send_flags = IBV_SEND_INLINE};
    const struct kofn__verbs_hub *hub;
    uint64_t message = 1, deadline = contract_deadline();
    struct kofn_arrival none;
    struct couple couple;
    struct ibv_qp *qp;

    piece.addr = (uintptr_t)&message;
    fake_device.manager = FAKE_MANAGER_SLOW;
    call(&couple, 0, &contract_quiet);
    CU_ASSERT_EQUAL_FATAL(couple.rc, 0);
    hub = kofn__verbs_hub(couple.hub);
    CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, &couple.answer), KOFN_AGAIN);
    qp = kofn__verbs_endpoint(couple.endpoint)->lanes[KOFN__VERBS_DATA].qp;
    while (ibv_post_send(qp, &wr, &bad) && kofn_now_ns() < deadline) /* its thread makes it ready */
        CU_ASSERT_EQUAL(kofn_verbs.hub_connect(couple.hub, 0, NULL), KOFN_AGAIN);
    kofn_verbs.hub_wait(couple.hub, 0);
    CU_ASSERT(hub->members[0].failed);
    fake_set_manager(FAKE_MANAGER_WORKS);
    CU_ASSERT_EQUAL(kofn_hub_connect(couple.hub, 0, NULL), KOFN_GONE);
    CU_ASSERT_EQUAL(kofn_verbs.hub_poll(couple.hub, &none, 1), 0);
    kofn_verbs.hub_evict(couple.hub, 0);
    CU_ASSERT_EQUAL(hub->failures, 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(couple.hub, 0, false), 0);
    part(&couple);
    fake_reset();
}

/* ---- strangers ---- */

/* Calls @hub's listener as somebody would who has found it, with @greeting of @bytes; returns what
 * comes of it, and the status of looking.
 */
static enum rdma_cm_event_type strange_call(struct kofn_hub *hub, uint32_t port,
                                            const void *greeting, uint8_t bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct rdma_conn_param param = {
        .private_data = greeting, .private_data_len = bytes, .qp_num = 77};
    struct rdma_event_channel *channel = kofn__verbs_cm_channel();
    struct kofn__verbs_cm_event event = {.type = RDMA_CM_EVENT_TIMEWAIT_EXIT};
    uint64_t deadline = contract_deadline();
    struct rdma_cm_id *id;

    CU_ASSERT_EQUAL_FATAL(rdma_create_id(channel, &id, NULL, RDMA_PS_TCP), 0);
    CU_ASSERT_EQUAL_FATAL(rdma_resolve_addr(id, NULL, (struct sockaddr *)&to, 100), 0);
    CU_ASSERT_EQUAL(kofn__verbs_cm_next(channel, deadline, &event), 0);
    CU_ASSERT_EQUAL_FATAL(rdma_connect(id, &param), 0);
    while (kofn__verbs_cm_next(channel, 0, &event) == KOFN_AGAIN && kofn_now_ns() < deadline)
        kofn_verbs.hub_wait(hub, kofn_now_ns() + KOFN_NS_PER_MS);
    rdma_destroy_id(id);
    rdma_destroy_event_channel(channel);
    return event.type;
}

/* Who does not know the nonce of an offer, or names another rank, epoch or lane, or says nothing of
 * the kind, is refused, and that is said once; the worker that is meant joins all the same.
 */
static void test_strangers_are_refused(void)
{
    struct kofn__verbs_greeting good, bad;
    struct kofn__verbs_offer content;
    struct kofn_caught caught;
    struct couple couple;

    kofn_caught_reset(&caught);
    call(&couple, 0, &caught.log);
    CU_ASSERT_EQUAL_FATAL(couple.rc, 0);
    CU_ASSERT_EQUAL_FATAL(kofn__verbs_offer_get(&couple.offer, true, &content), 0);
    kofn__verbs_greeting_make(&good, &content, 0);
    for (size_t i = 0; i < sizeof(good); i++) {
        bad = good;
        ((unsigned char *)&bad)[i] ^= 0x11;
        CU_ASSERT_EQUAL(strange_call(couple.hub, content.port, &bad, sizeof(bad)),
                        RDMA_CM_EVENT_REJECTED);
    }
    CU_ASSERT_EQUAL(strange_call(couple.hub, content.port, NULL, 0), RDMA_CM_EVENT_REJECTED);
    /* the true greeting, for a lane that has been called already */
    CU_ASSERT_EQUAL(strange_call(couple.hub, content.port, &good, sizeof(good)),
                    RDMA_CM_EVENT_REJECTED);
    CU_ASSERT(kofn_caught_one(&caught, "no worker that is being admitted"));
    CU_ASSERT_EQUAL(kofn_hub_connect(couple.hub, 0, &couple.answer), 0);
    CU_ASSERT_EQUAL(kofn_verbs.endpoint_beat(couple.endpoint, 5), 0);
    CU_ASSERT_EQUAL(kofn_hub_beat_word(couple.hub, 0), 5);
    part(&couple);
}

/* One that has been taken out can join again, with a call of its own. */
static void test_workers_call_again(void)
{
    static const struct contract_fixture fixture = {
        .name = "cm", .ops = &kofn_verbs, .options = OPTIONS};
    struct world world;

    contract_use(&fixture);
    world_open(&world, 2, 1000, 2, 0);
    world_join_all(&world);
    for (uint32_t epoch = 2; epoch < 5; epoch++) {
        kofn_verbs.hub_evict(world.hub, 1);
        CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(world.hub, 1, false), 0);
        kofn_verbs.endpoint_close(world.endpoints[1]);
        world_join(&world, 1, epoch);
        world_publish(&world, 1, 1);
        CU_ASSERT_EQUAL(world_take(&world, 1, epoch), 1);
    }
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* An InfiniBand port has no address of its own: the job's is used, and asked for if there is none.
 */
static void test_infiniband_needs_an_address(void)
{
    struct kofn_hub_attr attr = {.workers = 1, .numa_node = -1, .options = OPTIONS};
    struct kofn_caught caught;
    struct kofn_hub *hub;

    kofn_caught_reset(&caught);
    attr.log = &caught.log;
    kofn_geometry_init(&attr.slot, 1000, 2);
    attr.model = attr.slot;
    fake_device.link_layer = IBV_LINK_LAYER_INFINIBAND;
    CU_ASSERT_EQUAL(kofn_verbs.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "--address"));
    attr.bind = "0.0.0.0";
    CU_ASSERT_EQUAL(kofn_verbs.hub_open(&attr, &hub), KOFN_INVALID);
    attr.bind = "10.1.1.1";
    CU_ASSERT_EQUAL_FATAL(kofn_verbs.hub_open(&attr, &hub), 0);
    kofn_verbs.hub_close(hub);
    CU_ASSERT_EQUAL(fake_live(), 0);
    fake_reset();
}

/* However many events of the connection manager there are, a call takes in some, and the rest of
 * the job goes on.
 */
static void test_no_end_of_events(void)
{
    enum { MANY = 1000000, MOST = 64 };
    struct couple couple;

    join(&couple, 0, &contract_quiet);
    CU_ASSERT_EQUAL_FATAL(couple.rc, 0);
    fake_device.chatter = MANY;
    CU_ASSERT_EQUAL(kofn__verbs_listen_events(kofn__verbs_hub(couple.hub)), 0);
    CU_ASSERT(fake_device.chatter < MANY);
    CU_ASSERT(fake_device.chatter >= MANY - MOST);
    fake_device.chatter = 0;
    CU_ASSERT_EQUAL(kofn__verbs_listen_events(kofn__verbs_hub(couple.hub)), KOFN_AGAIN);
    part(&couple);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

void verbs_add_cm(void)
{
    CU_pSuite suite = CU_add_suite("cm", NULL, NULL);

    CONTRACT_TEST(suite, test_calls_fail_cleanly);
    CONTRACT_TEST(suite, test_events_that_cannot_be_taken);
    CONTRACT_TEST(suite, test_class_may_fail);
    CONTRACT_TEST(suite, test_events_are_sentences);
    CONTRACT_TEST(suite, test_steps_end_with_the_deadline);
    CONTRACT_TEST(suite, test_refused_calls_are_said);
    CONTRACT_TEST(suite, test_lost_calls_end);
    CONTRACT_TEST(suite, test_hub_connects_without_waiting);
    CONTRACT_TEST(suite, test_who_fails_early_is_no_member);
    CONTRACT_TEST(suite, test_no_end_of_events);
    CONTRACT_TEST(suite, test_strangers_are_refused);
    CONTRACT_TEST(suite, test_workers_call_again);
    CONTRACT_TEST(suite, test_infiniband_needs_an_address);
}
