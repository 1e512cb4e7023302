/* Who may write what in shared memory: a worker its own memory and the hints, the hub the rest; and
 * nobody can make a file shorter under another.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "tests/contract/contract.h"
#include "tests/contract/suites.h"
#include "transports/shm/layout.h"
#include "transports/shm/shm.h"

#define WORKERS 3

static struct kofn_hub *open_hub(void)
{
    struct kofn_hub_attr attr = {.workers = WORKERS, .numa_node = -1, .log = &contract_quiet};
    struct kofn_hub *hub;

    kofn_geometry_init(&attr.slot, 10000, 2);
    attr.model = attr.slot;
    CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_open(&attr, &hub), 0);
    return hub;
}

static bool can_map_writable(int fd)
{
    void *address = mmap(NULL, KOFN_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (address == MAP_FAILED)
        return false;
    munmap(address, KOFN_PAGE);
    return true;
}

/* Can a worker that got @fd write to what is behind it, by any door it has? */
static bool can_write(int fd)
{
    char path[64];
    void *address;
    bool can = can_map_writable(fd) || pwrite(fd, "x", 1, 0) == 1;
    int again;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {
        can |= can_map_writable(again) || pwrite(again, "x", 1, 0) == 1 ||
               !fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, KOFN_PAGE);
        close(again);
    }
    address = mmap(NULL, KOFN_PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (address != MAP_FAILED) {
        can |= !mprotect(address, KOFN_PAGE, PROT_READ | PROT_WRITE);
        munmap(address, KOFN_PAGE);
    }
    return can;
}

/* The gate, the receipts and the models can be written by the hub alone, whatever a worker does
 * with its descriptors; the worker's own memory and the bell it can write.
 */
static void test_worker_writes_its_own_alone(void)
{
    struct kofn_hub *hub = open_hub();
    struct kofn_offer offer;

    CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_admit(hub, 1, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(offer.fd_count, SHM_FDS);
    CU_ASSERT(can_write(offer.fds[SHM_FD_WORKER]));
    CU_ASSERT(can_write(offer.fds[SHM_FD_BELL]));
    CU_ASSERT(!can_write(offer.fds[SHM_FD_BLOCK]));
    CU_ASSERT(!can_write(offer.fds[SHM_FD_MODELS]));
    CU_ASSERT_EQUAL(kofn_shm.hub_gate(hub, 1, 42), 0); /* the hub still can */
    kofn_offer_close(&offer);
    kofn_shm.hub_close(hub);
}

/* Nobody can change the size of anything that another has mapped. */
static void test_sizes_are_sealed(void)
{
    struct kofn_hub *hub = open_hub();
    struct kofn_offer offer;

    CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_admit(hub, 0, 1, &offer), 0);
    for (uint32_t i = 0; i < offer.fd_count; i++) {
        CU_ASSERT_NOT_EQUAL(ftruncate(offer.fds[i], 0), 0);
        CU_ASSERT_NOT_EQUAL(ftruncate(offer.fds[i], 1 << 24), 0);
        CU_ASSERT_NOT_EQUAL(fcntl(offer.fds[i], F_ADD_SEALS, F_SEAL_WRITE), 0);
    }
    kofn_offer_close(&offer);
    kofn_shm.hub_close(hub);
}

/* The hub keeps no descriptor of a worker: as many can come as there are addresses. */
static void test_no_descriptor_is_kept_for_a_worker(void)
{
    struct kofn_hub *hub = open_hub();
    int fds = contract_fds();

    for (uint32_t rank = 0; rank < WORKERS; rank++) {
        struct kofn_offer offer;

        CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_admit(hub, rank, 1, &offer), 0);
        CU_ASSERT_EQUAL(contract_fds(), fds + SHM_FDS);
        kofn_offer_close(&offer);
        CU_ASSERT_EQUAL(contract_fds(), fds);
    }
    kofn_shm.hub_close(hub);
}

/* A worker that holes out its own memory, fills it with noise and writes nonsense on the bell
 * breaks nothing but its own publications.
 */
static void test_hostile_worker_breaks_itself_alone(void)
{
    struct kofn_hub *hub = open_hub();
    struct kofn_endpoint_attr attr = {
        .rank = 0, .epoch = 1, .slot = hub->slot, .model = hub->model, .log = &contract_quiet};
    struct kofn_endpoint *endpoints[2];
    struct kofn_arrival arrivals[4];
    struct kofn_random random;
    int worker_fd = -1, bell_fd = -1;
    uint32_t *bell;
    unsigned char *memory;
    off_t bytes;

    for (attr.rank = 0; attr.rank < 2; attr.rank++) {
        struct kofn_offer offer, answer;

        CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_admit(hub, attr.rank, 1, &offer), 0);
        if (attr.rank == 0) {
            worker_fd = fcntl(offer.fds[SHM_FD_WORKER], F_DUPFD_CLOEXEC, 0);
            bell_fd = fcntl(offer.fds[SHM_FD_BELL], F_DUPFD_CLOEXEC, 0);
        }
        CU_ASSERT_EQUAL_FATAL(kofn_shm.endpoint_open(&attr, &offer, &answer, &endpoints[attr.rank]),
                              0);
        CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_connect(hub, attr.rank, &answer), 0);
    }
    bytes = lseek(worker_fd, 0, SEEK_END);
    memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, worker_fd, 0);
    bell = mmap(NULL, KOFN_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, bell_fd, 0);
    CU_ASSERT_FATAL(memory != MAP_FAILED && bell != MAP_FAILED);
    kofn_random_seed(&random, 3, 0);
    for (uint64_t round = 1; round <= 20; round++) {
        int count;

        for (off_t i = 0; i < bytes; i++)
            memory[i] = (unsigned char)kofn_random_next(&random);
        for (size_t i = 0; i < KOFN_PAGE / sizeof(*bell); i++)
            bell[i] = (uint32_t)kofn_random_next(&random);
        CU_ASSERT_EQUAL(fallocate(worker_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, bytes),
                        0);
        endpoint_fill(endpoints[1], round);
        CU_ASSERT_EQUAL(endpoint_publish(endpoints[1], round), 0);
        CU_ASSERT_EQUAL(kofn_shm.hub_wait(hub, contract_deadline()), 0);
        count = kofn_shm.hub_poll(hub, arrivals, 4);
        CU_ASSERT_EQUAL(count, 1);
        CU_ASSERT_EQUAL(arrivals[0].rank, 1);
        CU_ASSERT_EQUAL(arrivals[0].sequence, round);
        CU_ASSERT_EQUAL(kofn_shm.hub_gate(hub, 0, round), 0);
    }
    munmap(memory, (size_t)bytes);
    munmap(bell, KOFN_PAGE);
    close(worker_fd);
    close(bell_fd);
    for (int i = 0; i < 2; i++)
        kofn_shm.endpoint_close(endpoints[i]);
    kofn_shm.hub_close(hub);
}

/* A thousand workers are nothing special: each is admitted, publishes and beats, and every one of
 * them is seen.
 */
static void test_a_thousand_workers(void)
{
    enum { MANY = 1000 };
    static struct kofn_endpoint *endpoints[MANY];
    static struct kofn_arrival arrivals[MANY];
    struct kofn_hub_attr attr = {.workers = MANY, .numa_node = -1, .log = &contract_quiet};
    struct kofn_endpoint_attr own = {.epoch = 1, .log = &contract_quiet};
    struct kofn_hub *hub;
    bool seen[MANY] = {false};
    int count = 0;

    kofn_geometry_init(&attr.slot, 4000, 2);
    own.slot = own.model = attr.model = attr.slot;
    CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_open(&attr, &hub), 0);
    for (own.rank = 0; own.rank < MANY; own.rank++) {
        struct kofn_offer offer, answer;

        CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_admit(hub, own.rank, 1, &offer), 0);
        CU_ASSERT_EQUAL_FATAL(kofn_shm.endpoint_open(&own, &offer, &answer, &endpoints[own.rank]),
                              0);
        CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_connect(hub, own.rank, &answer), 0);
    }
    for (uint32_t rank = 0; rank < MANY; rank++) {
        endpoint_fill(endpoints[rank], 1);
        CU_ASSERT_EQUAL(endpoint_publish(endpoints[rank], 1), 0);
        CU_ASSERT_EQUAL(kofn_shm.endpoint_beat(endpoints[rank], rank + 1), 0);
        kofn_shm.endpoint_close(endpoints[rank]);
    }
    while (count < MANY) {
        int more = kofn_shm.hub_poll(hub, arrivals, 7);

        CU_ASSERT_FATAL(more > 0);
        for (int i = 0; i < more; i++) {
            uint32_t rank = arrivals[i].rank;

            CU_ASSERT_FATAL(rank < MANY && !seen[rank]);
            seen[rank] = true;
            CU_ASSERT_EQUAL(kofn_hub_beat_word(hub, rank), rank + 1);
            CU_ASSERT(payload_is(kofn_slot_payload(&hub->slot, kofn_hub_slot(hub, rank), 1), 4000,
                                 rank, 1, 1));
        }
        count += more;
    }
    kofn_shm.hub_close(hub);
}

/* Slots and heads of different ranks begin in different sets of the caches, on lines of their own,
 * inside their rank's memory, for any number of workers.
 */
static void test_layout_keeps_ranks_apart(void)
{
    static const uint32_t counts[] = {1, 2, 3, 64, 1000, 1024, 1025, 16384};
    struct kofn__shm_layout layout;
    struct kofn_geometry slot;

    CU_ASSERT_EQUAL(kofn_geometry_init(&slot, 100, 2), 0);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(counts); i++) {
        kofn__shm_layout_init(&layout, counts[i], &slot);
        CU_ASSERT_EQUAL(layout.worker_bytes % KOFN_PAGE, 0);
        CU_ASSERT_EQUAL(layout.head_bytes % KOFN_PAGE, 0);
        for (uint32_t rank = 0; rank < counts[i]; rank++) {
            uint64_t head = kofn__shm_head_offset(&layout, rank);
            uint64_t begin = kofn__shm_slot_offset(&layout, rank);

            CU_ASSERT_EQUAL(head % KOFN_CACHE_LINE, 0);
            CU_ASSERT_EQUAL(begin % KOFN_CACHE_LINE, 0);
            CU_ASSERT(head + sizeof(struct kofn__shm_head) <= layout.head_bytes);
            CU_ASSERT(begin >= layout.head_bytes);
            CU_ASSERT(begin + slot.slot_bytes <= layout.worker_bytes);
        }
    }
}

/* How many mappings of kofn's shared memory this process has. */
static int count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int count = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(maps);
    while (fgets(line, sizeof(line), maps))
        count += strstr(line, "memfd:kofn-") != NULL;
    fclose(maps);
    return count;
}

/* A process that is forked from the hub's has none of its mappings, which it could write through.
 */
static void test_a_fork_inherits_nothing(void)
{
    struct kofn_hub *hub = open_hub();
    struct kofn_offer offer;
    int status;
    pid_t child;

    CU_ASSERT_EQUAL_FATAL(kofn_shm.hub_admit(hub, 1, 1, &offer), 0);
    CU_ASSERT(count_mappings() >= 4); /* models, bell, a worker's memory and its block */
    child = fork();
    if (child == 0)
        _exit(count_mappings());
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    kofn_offer_close(&offer);
    kofn_shm.hub_close(hub);
}

void contract_add_isolation(void)
{
    CU_pSuite suite = CU_add_suite("isolation", NULL, NULL);

    CONTRACT_TEST(suite, test_worker_writes_its_own_alone);
    CONTRACT_TEST(suite, test_sizes_are_sealed);
    CONTRACT_TEST(suite, test_no_descriptor_is_kept_for_a_worker);
    CONTRACT_TEST(suite, test_a_fork_inherits_nothing);
    CONTRACT_TEST(suite, test_hostile_worker_breaks_itself_alone);
    CONTRACT_TEST(suite, test_a_thousand_workers);
    CONTRACT_TEST(suite, test_layout_keeps_ranks_apart);
}
