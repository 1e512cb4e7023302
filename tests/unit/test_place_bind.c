/* Applying a map: threads and memory of this machine. */
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place/bind.h"
#include "tests/unit/place_fixture.h"

static int refusal; /* errno of refuse(), which has no other way to learn it */

static int refuse(pid_t thread, size_t bytes, const cpu_set_t *mask)
{
    (void)thread;
    (void)bytes;
    (void)mask;
    errno = refusal;
    return -1;
}

/* Where binding is refused, whatever the reason, the job goes on after one warning for all threads.
 */
static void test_refusal_is_one_warning(void)
{
    static const int refusals[] = {EPERM, ENOSYS, EXDEV, EINVAL};
    struct kofn_place_request request = {.workers = 2, .threads = 2, .server = true};
    struct kofn_topology *topology = invent("pu:8");

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(refusals); i++) {
        struct kofn_place_map map;
        struct heard heard;
        struct kofn_log log = log_to(&heard);

        refusal = refusals[i];
        CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
        CU_ASSERT_EQUAL(kofn__place_bind_with(&map, kofn_place_server(), &log, refuse), 0);
        CU_ASSERT_EQUAL(heard.count, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(heard.last, strerror(refusals[i])));
        CU_ASSERT_EQUAL(kofn__place_bind_with(&map, kofn_place_worker(1), &log, refuse), 0);
        CU_ASSERT_EQUAL(kofn__place_bind_with(&map, kofn_place_thread(0, 1), &log, refuse), 0);
        kofn__place_probe_with(&map, &log, refuse);
        CU_ASSERT_EQUAL(heard.count, 1);
        kofn_place_free(&map);
    }
    kofn_topology_close(topology);
}

/* A probe that is refused speaks for everybody who binds later, in this process or a forked one. */
static void test_probe_warns_for_all(void)
{
    struct kofn_place_request request = {.workers = 2};
    struct kofn_topology *topology = invent("pu:8");
    struct kofn_place_map map;
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
    kofn_place_probe(&map, &log); /* this kernel lets a thread be bound to what it is bound to */
    CU_ASSERT_EQUAL(heard.count, 0);
    refusal = EPERM;
    kofn__place_probe_with(&map, &log, refuse);
    CU_ASSERT_EQUAL(heard.count, 1);
    CU_ASSERT_EQUAL(kofn__place_bind_with(&map, kofn_place_worker(0), &log, refuse), 0);
    CU_ASSERT_EQUAL(heard.count, 1);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* The real kernel is asked, and its refusal of CPUs that it does not have is a warning. */
static void test_cpus_that_are_not_there(void)
{
    struct kofn_place_request request = {.workers = 2};
    struct kofn_topology *topology = invent("pu:2");
    struct kofn_place_map map;
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
    map.compute[0].cpu = map.compute[1].cpu = KOFN_CPUS_MAX - 1;
    CU_ASSERT_EQUAL(kofn_place_bind_thread(&map, kofn_place_worker(0), &log), 0);
    CU_ASSERT_EQUAL(kofn_place_bind_thread(&map, kofn_place_worker(1), &log), 0);
    CU_ASSERT_EQUAL(heard.count, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.last, "worker 0"));
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* Binds as the map of this machine says, and looks where the kernel keeps the thread. */
static void check_bound(struct kofn_place_map *map, struct kofn_place_who who)
{
    struct kofn_cpus wanted, now;

    CU_ASSERT_EQUAL(kofn_place_bind_thread(map, who, NULL), 0);
    CU_ASSERT_EQUAL(kofn_place_cpus(map, who, &wanted), 0);
    CU_ASSERT_EQUAL(kofn_cpus_of_thread(NULL, &now), 0);
    CU_ASSERT(kofn_cpus_equal(&wanted, &now));
}

/* A bound thread runs where the map says; a topology opened afterwards starts from there, so a
 * chooser never leaves the CPUs a launcher has given it.
 */
static void test_binding_is_real_and_is_kept_to(void)
{
    struct kofn_place_request request = {.workers = 1};
    struct kofn_topology *topology, *inner;
    struct kofn_place_map map;
    struct kofn_cpus before;

    CU_ASSERT_EQUAL_FATAL(kofn_cpus_of_thread(NULL, &before), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_topology_open(NULL, &topology), 0);
    CU_ASSERT(kofn_cpus_equal(kofn_topology_allowed(topology), &before));
    request.workers = kofn_cpus_count(&before); /* the last one is on the last CPU */
    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, NULL, &map), 0);
    check_bound(&map, kofn_place_worker(request.workers - 1));

    CU_ASSERT_EQUAL_FATAL(kofn_topology_open(NULL, &inner), 0);
    CU_ASSERT_EQUAL(kofn_cpus_count(kofn_topology_allowed(inner)), 1);
    CU_ASSERT(kofn_cpus_has(kofn_topology_allowed(inner), map.compute[request.workers - 1].cpu));
    kofn_topology_close(inner);
    kofn_place_free(&map);

    request.workers = kofn_cpus_count(&before) + 1; /* one too many: all CPUs again */
    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, NULL, &map), 0);
    check_bound(&map, kofn_place_worker(0));
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* Where the machine's files and the affinity mask contradict each other, as in some containers, the
 * mask is right: CPUs nobody knows anything about are as good as others.
 */
static void test_mask_beats_the_machines_files(void)
{
#ifdef HAVE_HWLOC
    struct kofn_place_request request = {.workers = 1};
    struct kofn_topology *topology;
    struct kofn_place_map map;
    struct kofn_cpus now;
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    CU_ASSERT_EQUAL_FATAL(kofn_cpus_of_thread(NULL, &now), 0);
    if (kofn_cpus_has(&now, 7000) || kofn_cpus_has(&now, 7001)) {
        kofn_test_skip("this machine has CPU 7000");
        return;
    }
    setenv("HWLOC_SYNTHETIC", "core:2 pu:1(indexes=7000,7001)", 1);
    CU_ASSERT_EQUAL_FATAL(kofn_topology_open(&log, &topology), 0);
    unsetenv("HWLOC_SYNTHETIC");
    CU_ASSERT_EQUAL(heard.count, 1);
    CU_ASSERT(kofn_cpus_equal(kofn_topology_allowed(topology), &now));
    request.workers = kofn_cpus_count(&now);
    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
    CU_ASSERT_EQUAL(heard.count, 1);
    for (unsigned i = 0; i < request.workers; i++) {
        CU_ASSERT(kofn_cpus_has(&now, map.compute[i].cpu));
        kofn_cpus_remove(&now, map.compute[i].cpu);
    }
    kofn_place_free(&map);
    kofn_topology_close(topology);
#else
    kofn_test_skip("built without hwloc");
#endif
}

/* A worker as a whole has the CPUs of all its threads, for those it will start. */
static void test_worker_has_its_threads_cpus(void)
{
    struct kofn_place_request request = {.workers = 2, .threads = 4};
    struct kofn_topology *topology = invent("pu:8");
    struct kofn_place_map map;
    struct kofn_cpus set;

    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, NULL, &map), 0);
    CU_ASSERT_EQUAL(kofn_place_cpus(&map, kofn_place_worker(1), &set), 0);
    CU_ASSERT(is(&set, "4-7"));
    CU_ASSERT_EQUAL(kofn_place_cpus(&map, kofn_place_thread(1, 2), &set), 0);
    CU_ASSERT(is(&set, "6"));
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* Who is not in the map is told apart from who is. */
static void test_strangers_are_refused(void)
{
    static const struct kofn_place_who strangers[] = {
        {-1, -1},           {2, -1},      {2, 0}, {0, 3}, {0, -2}, {-2, 0}, {-1, 0},
        {INT_MAX, INT_MAX}, {INT_MIN, 0},
    };
    struct kofn_place_request request = {.workers = 2, .threads = 3};
    struct kofn_topology *topology = invent("pu:8");
    struct heard heard;
    struct kofn_log log = log_to(&heard);
    struct kofn_place_map map;
    struct kofn_cpus set;
    int node;

    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(strangers); i++) {
        CU_ASSERT_EQUAL(kofn_place_cpus(&map, strangers[i], &set), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_place_node(&map, strangers[i], &node), KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_place_bind_thread(&map, strangers[i], &log), KOFN_INVALID);
        CU_ASSERT_EQUAL(heard.count, i + 1);
    }
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* A device without hardware below it, such as every machine's loopback, is known and near no CPU in
 * particular; a name that is none is unknown, whatever it looks like.
 */
static void test_virtual_devices(void)
{
#ifdef HAVE_HWLOC
    static const char *const unknown[] = {"", ":1", ".", "..", "../net/lo", "no such device"};
    struct kofn_topology *topology;
    struct kofn_cpus near = {{0}}, both;
    char name[2000];

    CU_ASSERT_EQUAL_FATAL(kofn_topology_open(NULL, &topology), 0);
    if (access("/sys/class/net/lo", F_OK) == 0) {
        CU_ASSERT_EQUAL(kofn_topology_nic(topology, "lo", &near), 0);
        both = kofn_cpus_both(&near, kofn_topology_allowed(topology));
        CU_ASSERT(kofn_cpus_equal(&both, kofn_topology_allowed(topology)));
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(unknown); i++)
        CU_ASSERT_EQUAL(kofn_topology_nic(topology, unknown[i], &near), KOFN_INVALID);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    CU_ASSERT_EQUAL(kofn_topology_nic(topology, name, &near), KOFN_INVALID);
    kofn_topology_close(topology);
#else
    kofn_test_skip("built without hwloc");
#endif
}

#define MEMORY_BYTES 65536

/* Memory from a node that is there is asked for as a preference, not as a must, or the refusal is
 * said; either way it can be used.
 */
static void test_memory_prefers_its_node(void)
{
    enum { PREFERRED = 1, PREFERRED_MANY = 5 }; /* <linux/mempolicy.h> */
    struct kofn_topology *topology;
    struct heard heard;
    struct kofn_log log = log_to(&heard);
    unsigned long mask[16] = {0};
    int node, mode = -1;
    char *memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CU_ASSERT_FATAL(memory != MAP_FAILED);
    CU_ASSERT_EQUAL_FATAL(kofn_topology_open(NULL, &topology), 0);
    node = kofn_topology_node(topology, kofn_cpus_next(kofn_topology_allowed(topology), -1));
    kofn_topology_prefer_node(topology, node, memory, MEMORY_BYTES, &log);
#ifdef HAVE_HWLOC
    if (heard.count == 0 && node >= 0 &&
        syscall(SYS_get_mempolicy, &mode, mask, sizeof(mask) * 8, memory, 2 /* of an address */) ==
            0) {
        CU_ASSERT(mode == PREFERRED || mode == PREFERRED_MANY);
        CU_ASSERT(mask[node / 64] >> (node % 64) & 1);
    }
#else
    (void)mode;
    (void)mask;
    CU_ASSERT_EQUAL(heard.count, 0);
#endif
    CU_ASSERT(heard.count <= 1);
    memset(memory, 1, MEMORY_BYTES);
    munmap(memory, MEMORY_BYTES);
    kofn_topology_close(topology);
}

/* A node that is not there is one warning, not a failure; a machine that is not this one is left in
 * peace. */
static void test_memory_of_no_node(void)
{
    struct kofn_topology *topology = recorded("two-sockets");
    struct heard heard;
    struct kofn_log log = log_to(&heard);
    char *memory;

    if (!topology)
        return;
    memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(memory != MAP_FAILED);
    kofn_topology_prefer_node(topology, 1, memory, MEMORY_BYTES, &log);
    CU_ASSERT_EQUAL(heard.count, 0);
    kofn_topology_close(topology);

    CU_ASSERT_EQUAL_FATAL(kofn_topology_open(NULL, &topology), 0);
    kofn_topology_prefer_node(topology, -1, memory, MEMORY_BYTES, &log);
    CU_ASSERT_EQUAL(heard.count, 0);
    kofn_topology_prefer_node(topology, 1023, memory, MEMORY_BYTES, &log);
    kofn_topology_prefer_node(topology, 1023, memory, MEMORY_BYTES, &log);
    CU_ASSERT_EQUAL(heard.count, 1);
    memset(memory, 1, MEMORY_BYTES);
    munmap(memory, MEMORY_BYTES);
    kofn_topology_close(topology);
}

void kofn_suite_place_bind(void)
{
    CU_pSuite suite = CU_add_suite("place_bind", NULL, NULL);

    CU_add_test(suite, "refusal is one warning", test_refusal_is_one_warning);
    CU_add_test(suite, "probe warns for all", test_probe_warns_for_all);
    CU_add_test(suite, "cpus that are not there", test_cpus_that_are_not_there);
    CU_add_test(suite, "binding is real and is kept to", test_binding_is_real_and_is_kept_to);
    CU_add_test(suite, "mask beats the machine's files", test_mask_beats_the_machines_files);
    CU_add_test(suite, "worker has its threads' cpus", test_worker_has_its_threads_cpus);
    CU_add_test(suite, "strangers are refused", test_strangers_are_refused);
    CU_add_test(suite, "virtual devices", test_virtual_devices);
    CU_add_test(suite, "memory prefers its node", test_memory_prefers_its_node);
    CU_add_test(suite, "memory of no node", test_memory_of_no_node);
}
