/* Models looked at where they lie: right while they last, and known not to be afterwards. */
#include <pthread.h>

#include "base/clock.h"
#include "tests/contract/contract.h"

#define WORDS 4096 /* a model of 32 KiB: often overtaken while it is read */
#define VIEWS 20000

/* Looks at the newest model until it is @version. */
static int await_view(struct world *world, uint64_t version, const void **model,
                      struct kofn_stamp *stamp)
{
    uint64_t deadline = contract_deadline();
    int rc;

    do {
        world_settle(world);
        rc = contract_ops()->endpoint_view(world->endpoints[0], model, stamp);
    } while ((rc == KOFN_AGAIN || (!rc && stamp->sequence < version)) && kofn_now_ns() < deadline);
    return rc;
}

/* What is shown is the newest model, and stays what it is until the second one after it is begun.
 */
static void test_view_lasts_until_it_is_overwritten(void)
{
    struct kofn_endpoint *endpoint;
    struct kofn_stamp stamp;
    struct world world;
    const void *model = NULL;

    world_open(&world, 1, 4096, 2, 0);
    world_join_all(&world);
    endpoint = world.endpoints[0];
    CU_ASSERT_EQUAL(contract_ops()->endpoint_view(endpoint, &model, &stamp), KOFN_AGAIN);
    for (uint64_t version = 1; version <= 5; version++) {
        const void *before = model;

        world_publish_model(&world, version);
        CU_ASSERT_EQUAL_FATAL(await_view(&world, version, &model, &stamp), 0);
        CU_ASSERT_EQUAL(stamp.sequence, version);
        CU_ASSERT(payload_is(model, 4096, 0, 0, version));
        CU_ASSERT(kofn_model_whole(endpoint, model, version));
        if (before) {
            CU_ASSERT(payload_is(before, 4096, 0, 0, version - 1));
            CU_ASSERT(kofn_model_whole(endpoint, before, version - 1));
        }
    }
    for (uint64_t version = 6; version <= 7; version++) {
        const void *next;

        world_publish_model(&world, version);
        CU_ASSERT_EQUAL(await_view(&world, version, &next, &stamp), 0);
        CU_ASSERT_EQUAL(stamp.sequence, version);
    }
    CU_ASSERT(!kofn_model_whole(endpoint, model, 5));
    world_close(&world);
}

struct viewer {
    struct kofn_endpoint *endpoint;
    uint32_t wrong, whole;
    bool enough;
};

/* No thread sanitizer here: it is the point that the model may change under the eyes. */
__attribute__((no_sanitize("thread"))) static bool is_version(const volatile uint64_t *model,
                                                              uint64_t version)
{
    uint64_t difference = 0;

    for (size_t i = 0; i < WORDS; i++)
        difference |= model[i] ^ version;
    return !difference;
}

static void *look(void *arg)
{
    struct viewer *viewer = arg;
    uint64_t deadline = contract_deadline();
    uint32_t enough = contract_rounds(VIEWS);

    while (viewer->whole < enough && kofn_now_ns() < deadline) {
        struct kofn_stamp stamp;
        const void *model;
        bool right;

        if (contract_ops()->endpoint_view(viewer->endpoint, &model, &stamp))
            continue;
        right = is_version(model, stamp.sequence);
        if (!kofn_model_whole(viewer->endpoint, model, stamp.sequence))
            continue;
        viewer->whole++;
        viewer->wrong += !right;
    }
    __atomic_store_n(&viewer->enough, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Under a server that never stops, what is said to be whole afterwards has been. */
static void test_whole_view_was_whole(void)
{
    struct kofn_stamp stamp = {0};
    struct viewer viewer = {0};
    struct kofn_hub *hub;
    struct world world;
    pthread_t thread;

    if (!contract_fixture()->concurrent) {
        kofn_test_skip("runs in one thread");
        return;
    }
    world_open(&world, 1, WORDS * sizeof(uint64_t), 2, 0);
    world_join_all(&world);
    hub = world.hub;
    viewer.endpoint = world.endpoints[0];
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, look, &viewer), 0);
    while (!__atomic_load_n(&viewer.enough, __ATOMIC_ACQUIRE)) {
        uint64_t *model = kofn_slot_withdraw(&hub->model, hub->models, ++stamp.sequence);

        for (size_t i = 0; i < WORDS; i++)
            __atomic_store_n(&model[i], stamp.sequence, __ATOMIC_RELAXED);
        stamp.round = (uint32_t)stamp.sequence;
        kofn_slot_publish(&hub->model, hub->models, &stamp);
        hub->ops->hub_push(hub, 0, stamp.sequence);
    }
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(viewer.whole, contract_rounds(VIEWS));
    CU_ASSERT_EQUAL(viewer.wrong, 0);
    world_close(&world);
}

void contract_view(CU_pSuite suite)
{
    if (!contract_ops()->endpoint_view)
        return; /* this transport's models can only be fetched */
    CONTRACT_TEST(suite, test_view_lasts_until_it_is_overwritten);
    CONTRACT_TEST(suite, test_whole_view_was_whole);
}
