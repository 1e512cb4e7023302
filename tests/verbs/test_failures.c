/* Every call that can fail is made to: a status comes back, one message says why, nothing is left
 * behind, and where the connection was what failed, nobody else's is.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/contract.h"
#include "tests/lib/caught_log.h"
#include "tests/verbs/fake.h"
#include "tests/verbs/suites.h"
#include "transports/verbs/verbs.h"

#define BYTES 40000 /* payload and stamp are requests of their own */

/* What set-up calls. */
static const char *const calls[] = {
    "ibv_get_device_list", "ibv_open_device", "ibv_query_device",        "ibv_query_port",
    "ibv_query_gid_table", "ibv_alloc_pd",    "ibv_create_ah",           "ibv_reg_mr",
    "ibv_create_qp",       "ibv_create_cq",   "ibv_create_comp_channel", "ibv_create_srq",
    "ibv_modify_qp",       "ibv_post_recv",   "ibv_post_srq_recv",
};

/* A hub and one worker, as far as set-up comes. */
struct couple {
    struct kofn_hub *hub;
    struct kofn_endpoint *endpoint;
    int rc; /* of the step that failed */
};

static void part(struct couple *couple)
{
    if (couple->endpoint)
        kofn_verbs.endpoint_close(couple->endpoint);
    if (couple->hub)
        kofn_verbs.hub_close(couple->hub);
}

static void join(struct couple *couple, const char *options, const struct kofn_log *log)
{
    struct kofn_hub_attr hub = {.workers = 2, .numa_node = -1, .options = options, .log = log};
    struct kofn_endpoint_attr attr = {.epoch = 1, .options = options, .log = log};
    struct kofn_offer offer, answer;

    *couple = (struct couple){0};
    kofn_geometry_init(&hub.slot, BYTES, 2);
    hub.model = attr.slot = attr.model = hub.slot;
    couple->rc = kofn_verbs.hub_open(&hub, &couple->hub);
    if (!couple->rc)
        couple->rc = kofn_verbs.hub_admit(couple->hub, 0, 1, &offer);
    if (!couple->rc)
        couple->rc = kofn_verbs.endpoint_open(&attr, &offer, &answer, &couple->endpoint);
    if (!couple->rc)
        couple->rc = kofn_verbs.hub_connect(couple->hub, 0, &answer);
}

/* Whichever call of set-up fails, and whichever of them it is: a status, one message, no leak. Only
 * an address handle can be done without: there are other addresses.
 */
static void test_set_up_fails_cleanly(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(calls); i++)
        for (unsigned nth = 1;; nth++) {
            struct kofn_caught caught;
            struct couple couple;
            bool reached;

            kofn_caught_reset(&caught);
            fake_fail(calls[i], nth, ENOMEM);
            join(&couple, NULL, &caught.log);
            reached = fake_failed();
            fake_fail(NULL, 0, 0);
            part(&couple);
            CU_ASSERT_EQUAL(fake_live(), 0);
            if (!reached)
                break;
            CU_ASSERT(couple.rc < 0 || !strcmp(calls[i], "ibv_create_ah"));
            if (couple.rc) {
                CU_ASSERT_EQUAL(caught.count, 1);
                CU_ASSERT(strlen(caught.last) > 10);
            }
            if (couple.rc && caught.count != 1)
                printf("# %s, call %u: status %d, %d messages: %s\n", calls[i], nth, couple.rc,
                       caught.count, caught.last);
        }
}

/* An admission that fails can be made again, with nothing of the first one left. */
static void test_admission_can_be_made_again(void)
{
    struct world world;
    struct kofn_offer offer;

    world_open(&world, 2, 1000, 2, 0);
    fake_fail("ibv_create_qp", 2, ENOMEM);
    CU_ASSERT_NOT_EQUAL(kofn_verbs.hub_admit(world.hub, 1, 1, &offer), 0);
    fake_fail("ibv_reg_mr", 2, ENOMEM);
    CU_ASSERT_EQUAL(kofn_verbs.hub_admit(world.hub, 1, 1, &offer), KOFN_NO_MEMORY);
    fake_fail(NULL, 0, 0);
    world_join(&world, 1, 1);
    world_publish(&world, 1, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* A device that will not give up a key keeps the place taken, until it does. */
static void test_reclaim_waits_for_the_device(void)
{
    struct kofn_offer offer;
    struct world world;

    world_open(&world, 1, 1000, 2, 0);
    world_join_all(&world);
    fake_fail("ibv_dereg_mr", 0, EBUSY);
    kofn_verbs.hub_evict(world.hub, 0);
    CU_ASSERT(fake_failed());
    CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(world.hub, 0, false), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_verbs.hub_admit(world.hub, 0, 2, &offer), KOFN_INVALID);
    fake_fail(NULL, 0, 0);
    CU_ASSERT_EQUAL(kofn_verbs.hub_reclaim(world.hub, 0, false), 0); /* now it does */
    kofn_verbs.endpoint_close(world.endpoints[0]);
    world_join(&world, 0, 2);
    world_publish(&world, 0, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 2), 1);
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* Waits for the hub to say that the connection of @rank has failed; each is said once. */
static void expect_gone(struct kofn_hub *hub, uint32_t rank)
{
    struct kofn_arrival arrival;
    uint64_t deadline = contract_deadline();
    int count;

    while (!(count = kofn_verbs.hub_poll(hub, &arrival, 1)) && kofn_now_ns() < deadline)
        kofn_verbs.hub_wait(hub, deadline);
    CU_ASSERT_EQUAL(count, KOFN_GONE);
    CU_ASSERT_EQUAL(arrival.rank, rank);
    CU_ASSERT_EQUAL(kofn_verbs.hub_poll(hub, &arrival, 1), 0);
}

/* A send that cannot be posted is the end of that connection, said once, and of no other. */
static void test_a_post_that_fails_is_one_connection(void)
{
    struct world world;
    struct kofn_arrival none;

    world_open(&world, 3, 1000, 2, 0);
    world_join_all(&world);
    fake_fail("ibv_post_send", 1, EIO);
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 1, 77), 0);
    fake_fail(NULL, 0, 0);
    expect_gone(world.hub, 1);
    CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 1, 78), KOFN_GONE);
    CU_ASSERT_EQUAL(kofn_verbs.hub_push(world.hub, 1, 1), KOFN_GONE);
    kofn_verbs.hub_evict(world.hub, 1);
    CU_ASSERT_EQUAL(kofn_verbs.hub_poll(world.hub, &none, 1), 0);
    fake_fail("ibv_post_send", 1, EIO);
    endpoint_fill(world.endpoints[2], 1);
    CU_ASSERT_EQUAL(endpoint_publish(world.endpoints[2], 1), KOFN_GONE);
    fake_fail(NULL, 0, 0);
    CU_ASSERT_EQUAL(kofn_verbs.endpoint_beat(world.endpoints[2], 1), KOFN_GONE);
    CU_ASSERT_EQUAL(kofn_verbs.endpoint_left(world.endpoints[2], 1), KOFN_GONE);
    world_publish(&world, 0, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    world_close(&world);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

/* Completions that cannot be polled, events that cannot be asked for: nothing is lost by that but
 * time.
 */
static void test_failed_polls_lose_nothing(void)
{
    static const char *const polls[] = {"ibv_poll_cq", "ibv_req_notify_cq", "ibv_get_cq_event",
                                        "ibv_get_async_event"};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(polls); i++)
        for (unsigned nth = 1; nth < 6; nth++) {
            struct world world;

            world_open(&world, 2, 1000, 2, 0);
            world_join_all(&world);
            fake_fail(polls[i], nth, EIO);
            for (uint64_t sequence = 1; sequence <= 4; sequence++) {
                world_publish(&world, 0, sequence);
                CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
                CU_ASSERT_EQUAL(kofn_verbs.hub_gate(world.hub, 0, sequence), 0);
                CU_ASSERT(world_await_gate(&world, 0, sequence));
            }
            fake_fail(NULL, 0, 0);
            world_close(&world);
        }
    CU_ASSERT_EQUAL(fake_live(), 0);
}

void verbs_add_failures(void)
{
    static const struct contract_fixture fixture = {.name = "failures", .ops = &kofn_verbs};
    CU_pSuite suite = CU_add_suite("failures", NULL, NULL);

    contract_use(&fixture);
    CONTRACT_TEST(suite, test_set_up_fails_cleanly);
    CONTRACT_TEST(suite, test_admission_can_be_made_again);
    CONTRACT_TEST(suite, test_reclaim_waits_for_the_device);
    CONTRACT_TEST(suite, test_a_post_that_fails_is_one_connection);
    CONTRACT_TEST(suite, test_failed_polls_lose_nothing);
}
