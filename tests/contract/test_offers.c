/* What comes from the other side is judged before it is used: a status, never a crash, and no
 * descriptor left behind.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/contract/contract.h"

/* An offer with descriptors of its own, as the endpoint will close them. */
static struct kofn_offer offer_copy(const struct kofn_offer *offer)
{
    struct kofn_offer copy = *offer;

    for (uint32_t i = 0; i < copy.fd_count; i++)
        copy.fds[i] = fcntl(offer->fds[i], F_DUPFD_CLOEXEC, 0);
    return copy;
}

/* True if an endpoint refuses this offer, with nothing left open. */
static bool refused(const struct kofn_endpoint_attr *attr, const struct kofn_offer *offer)
{
    int fds = contract_fds();
    struct kofn_offer copy = offer_copy(offer), answer;
    struct kofn_endpoint *endpoint = NULL;
    int rc = contract_ops()->endpoint_open(attr, &copy, &answer, &endpoint);

    if (!rc)
        contract_ops()->endpoint_close(endpoint);
    CU_ASSERT_EQUAL(contract_fds(), fds);
    return rc < 0 && !endpoint;
}

/* An offer for another rank, epoch or size, cut off, too long or with any byte of what it says
 * changed is refused; the true one is good all the same.
 */
static void test_wrong_offers_are_refused(void)
{
    struct world world;
    struct kofn_endpoint_attr attr, other;
    struct kofn_offer offer, wrong, answer;
    struct kofn_endpoint *endpoint;

    world_open(&world, 4, 1000, 2, 0);
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world.hub, 2, 7, &offer), 0);
    attr = other = world_endpoint_attr(&world, 2, 7, 0);
    other.rank = 3;
    CU_ASSERT(refused(&other, &offer));
    other.rank = UINT32_MAX;
    CU_ASSERT(refused(&other, &offer));
    other = attr;
    other.epoch = 8;
    CU_ASSERT(refused(&other, &offer));
    other = attr;
    kofn_geometry_init(&other.slot, 1001, 2);
    CU_ASSERT(refused(&other, &offer));
    other = attr;
    kofn_geometry_init(&other.model, 1000, 3);
    CU_ASSERT(refused(&other, &offer));
    for (uint32_t length = 0; length <= KOFN_OFFER_BYTES; length++) {
        wrong = offer;
        wrong.length = length;
        CU_ASSERT(length == offer.length || refused(&attr, &wrong));
    }
    wrong = offer;
    memset(wrong.bytes, 0, sizeof(wrong.bytes));
    CU_ASSERT(refused(&attr, &wrong));
    endpoint = NULL;
    CU_ASSERT_EQUAL_FATAL(contract_ops()->endpoint_open(&attr, &offer, &answer, &endpoint), 0);
    CU_ASSERT_EQUAL(kofn_hub_connect(world.hub, 2, &answer), 0);
    contract_ops()->endpoint_close(endpoint);
    world_close(&world);
}

/* Any bytes at all in an offer: either a status, or an endpoint that can be used and closed. */
static void test_garbage_offers_do_no_harm(void)
{
    struct world world;
    struct kofn_endpoint_attr attr;
    struct kofn_offer offer;
    struct kofn_random random;
    uint32_t taken = 0;

    world_open(&world, 4, 1000, 2, 0);
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world.hub, 0, 1, &offer), 0);
    attr = world_endpoint_attr(&world, 0, 1, 0);
    kofn_random_seed(&random, 7, 0);
    for (int i = 0; i < 2000; i++) {
        struct kofn_offer copy = offer_copy(&offer), answer;
        struct kofn_endpoint *endpoint;
        uint32_t changes = 1 + (uint32_t)kofn_random_below(&random, 3);

        while (changes--)
            copy.bytes[kofn_random_below(&random, copy.length)] ^=
                (unsigned char)(1 + kofn_random_below(&random, 255));
        if (contract_ops()->endpoint_open(&attr, &copy, &answer, &endpoint))
            continue;
        taken++;
        endpoint_fill(endpoint, 1);
        endpoint_publish(endpoint, 1);
        world_settle(&world);
        contract_ops()->endpoint_close(endpoint);
    }
    CU_ASSERT(taken < 1000);
    kofn_offer_close(&offer);
    world_close(&world);
}

/* A memfd of @bytes, sealed against shrinking or not. */
static int memory_file(off_t bytes, bool sealed)
{
    int fd = memfd_create("contract", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(ftruncate(fd, bytes), 0);
    if (sealed)
        CU_ASSERT_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
}

/* Descriptors that are missing, of another kind, too short or not sealed are refused: a file that
 * can shrink is a SIGBUS in waiting.
 */
static void test_wrong_descriptors_are_refused(void)
{
    struct world world;
    struct kofn_endpoint_attr attr;
    struct kofn_offer offer, wrong;
    int strange[5], pair[2];

    world_open(&world, 2, 100000, 2, 0);
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world.hub, 0, 1, &offer), 0);
    attr = world_endpoint_attr(&world, 0, 1, 0);
    strange[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    CU_ASSERT_EQUAL_FATAL(pipe2(pair, O_CLOEXEC), 0);
    strange[1] = pair[0];
    strange[2] = memory_file(1 << 20, false);
    strange[3] = memory_file(0, true);
    strange[4] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (!offer.fd_count) {
        wrong = offer;
        wrong.fd_count = 1;
        wrong.fds[0] = strange[0];
        CU_ASSERT(refused(&attr, &wrong));
    }
    for (uint32_t i = 0; i < offer.fd_count; i++)
        for (size_t j = 0; j < KOFN_ARRAY_SIZE(strange); j++) {
            wrong = offer;
            wrong.fds[i] = strange[j];
            CU_ASSERT(refused(&attr, &wrong));
        }
    for (uint32_t count = 0; count < offer.fd_count; count++) {
        wrong = offer;
        wrong.fd_count = count;
        CU_ASSERT(refused(&attr, &wrong));
    }
    for (size_t j = 0; j < KOFN_ARRAY_SIZE(strange); j++)
        close(strange[j]);
    close(pair[1]);
    kofn_offer_close(&offer);
    world_close(&world);
}

/* An answer that is not the one to the hub's offer is refused, and the right one is good
 * afterwards. */
static void test_wrong_answers_are_refused(void)
{
    struct world world;
    struct kofn_endpoint_attr attr;
    struct kofn_offer offer, answer, wrong;
    int fds;

    world_open(&world, 4, 1000, 2, 0);
    CU_ASSERT_EQUAL_FATAL(contract_ops()->hub_admit(world.hub, 1, 1, &offer), 0);
    attr = world_endpoint_attr(&world, 1, 1, 0);
    CU_ASSERT_EQUAL_FATAL(
        contract_ops()->endpoint_open(&attr, &offer, &answer, &world.endpoints[1]), 0);
    fds = contract_fds();
    for (uint32_t length = 0; length <= KOFN_OFFER_BYTES; length++) {
        wrong = answer;
        wrong.length = length;
        CU_ASSERT(length == answer.length ||
                  kofn_hub_connect(world.hub, 1, &wrong) == KOFN_PROTOCOL);
    }
    wrong = answer;
    memset(wrong.bytes, 0xff, sizeof(wrong.bytes));
    CU_ASSERT_EQUAL(kofn_hub_connect(world.hub, 1, &wrong), KOFN_PROTOCOL);
    wrong = answer;
    wrong.fd_count = 1;
    wrong.fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    CU_ASSERT_EQUAL(kofn_hub_connect(world.hub, 1, &wrong), KOFN_PROTOCOL);
    CU_ASSERT_EQUAL(contract_fds(), fds);
    CU_ASSERT_EQUAL(kofn_hub_connect(world.hub, 2, &answer), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_hub_connect(world.hub, 1, &answer), 0);
    CU_ASSERT_EQUAL(kofn_hub_connect(world.hub, 1, &answer), KOFN_INVALID);
    world_publish(&world, 1, 1);
    CU_ASSERT_EQUAL(world_take(&world, 1, 1), 1);
    world_close(&world);
}

/* Ranks that do not exist, or are not members, are refused by every call. */
static void test_ranks_out_of_range_are_refused(void)
{
    static const uint32_t ranks[] = {3, 4, 1000, UINT32_MAX};
    struct kofn_receipt_line line = {.sequence = 1};
    struct kofn_offer offer, answer = {0};
    struct world world;

    world_open(&world, 3, 64, 2, 0);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(ranks); i++) {
        CU_ASSERT_EQUAL(contract_ops()->hub_admit(world.hub, ranks[i], 1, &offer), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_hub_connect(world.hub, ranks[i], &answer), KOFN_INVALID);
        CU_ASSERT_EQUAL(contract_ops()->hub_reclaim(world.hub, ranks[i], true), KOFN_INVALID);
        CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, ranks[i], 1), KOFN_INVALID);
        CU_ASSERT_EQUAL(contract_ops()->hub_receipt(world.hub, ranks[i], &line), KOFN_INVALID);
        CU_ASSERT_EQUAL(contract_ops()->hub_push(world.hub, ranks[i], 1), KOFN_INVALID);
        contract_ops()->hub_evict(world.hub, ranks[i]);
    }
    CU_ASSERT_EQUAL(contract_ops()->hub_gate(world.hub, 0, 1), KOFN_INVALID);
    CU_ASSERT_EQUAL(contract_ops()->hub_receipt(world.hub, 0, &line), KOFN_INVALID);
    world_join(&world, 0, 1);
    CU_ASSERT_EQUAL(contract_ops()->hub_admit(world.hub, 0, 2, &offer), KOFN_INVALID);
    world_close(&world);
}

/* A hub that cannot be is refused. */
static void test_wrong_hubs_are_refused(void)
{
    struct kofn_hub_attr attr = {.numa_node = -1, .log = &contract_quiet};
    struct kofn_hub *hub = NULL;

    kofn_geometry_init(&attr.slot, 64, 2);
    attr.model = attr.slot;
    attr.context = contract_fixture()->open ? contract_fixture()->open(2) : NULL;
    CU_ASSERT_EQUAL(contract_ops()->hub_open(&attr, &hub), KOFN_INVALID);
    attr.workers = UINT32_MAX;
    CU_ASSERT_EQUAL(contract_ops()->hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT_PTR_NULL(hub);
    if (contract_fixture()->close)
        contract_fixture()->close(attr.context);
}

void contract_offers(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_wrong_offers_are_refused);
    CONTRACT_TEST(suite, test_garbage_offers_do_no_harm);
    CONTRACT_TEST(suite, test_wrong_descriptors_are_refused);
    CONTRACT_TEST(suite, test_wrong_answers_are_refused);
    CONTRACT_TEST(suite, test_ranks_out_of_range_are_refused);
    CONTRACT_TEST(suite, test_wrong_hubs_are_refused);
}
