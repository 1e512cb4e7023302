/* The chooser, on machines whose right answer is known. */
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/place_fixture.h"

/* Chooses, and expects no message. */
static struct kofn_place_map choose(const struct kofn_topology *topology,
                                    const struct kofn_place_request *request)
{
    struct kofn_place_map map = {0};
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, request, &log, &map), 0);
    CU_ASSERT_EQUAL(heard.count, 0);
    return map;
}

/* The server polls on the node of its network device, on a core nobody computes on, and the workers
 * are dealt to both nodes.
 */
static void test_server_is_near_its_nic(void)
{
    struct kofn_place_request request = {.workers = 15, .server = true, .nic = "mlx5_0"};
    struct kofn_topology *topology = recorded("two-sockets");
    struct kofn_place_map map;
    unsigned on_node[2] = {0, 0};
    int node = -1;

    if (!topology)
        return;
    map = choose(topology, &request);
    CU_ASSERT_EQUAL(map.poll.node, 1);
    CU_ASSERT_EQUAL(map.poll.core, 8);
    CU_ASSERT(is(&map.poll_cpus, "8"));
    CU_ASSERT_EQUAL(kofn_place_node(&map, kofn_place_server(), &node), 0);
    CU_ASSERT_EQUAL(node, 1);
    for (unsigned i = 0; i < 15; i++) {
        CU_ASSERT_NOT_EQUAL(map.compute[i].core, 8);
        on_node[map.compute[i].node]++;
    }
    CU_ASSERT_EQUAL(on_node[0], 8);
    CU_ASSERT_EQUAL(on_node[1], 7);
    CU_ASSERT(map.spin_ok);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* The network interface of an RDMA device, and "device:port", name the same place. */
static void test_nic_has_several_names(void)
{
    static const char *const names[] = {"mlx5_0", "mlx5_0:1", "ib0"};
    struct kofn_topology *topology = recorded("four-nodes");

    if (!topology)
        return;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        struct kofn_place_request request = {.server = true, .nic = names[i]};
        struct kofn_place_map map = choose(topology, &request);

        CU_ASSERT_EQUAL(map.poll.node, 2);
        kofn_place_free(&map);
    }
    kofn_topology_close(topology);
}

/* Where all workers can have a node of their own, none straddles two, and the server takes a core
 * where it costs none of them that.
 */
static void test_workers_do_not_straddle_nodes(void)
{
    struct kofn_place_request request = {
        .workers = 4, .threads = 3, .server = true, .nic = "mlx5_1"};
    struct kofn_topology *topology = recorded("four-nodes");
    struct kofn_place_map map;

    if (!topology)
        return;
    map = choose(topology, &request);
    CU_ASSERT_EQUAL(map.poll.node, 3);
    for (int worker = 0; worker < 4; worker++) {
        int node = -1;

        CU_ASSERT_EQUAL(kofn_place_node(&map, kofn_place_worker((unsigned)worker), &node), 0);
        CU_ASSERT_EQUAL(node, worker);
    }
    kofn_place_free(&map);

    /* 3 workers of 4 threads and a server without a device: the node that is left is the server's
     */
    request =
        (struct kofn_place_request){.workers = 3, .threads = 4, .server = true, .within = NULL};
    map = choose(topology, &request);
    for (unsigned i = 0; i < 12; i++)
        CU_ASSERT_NOT_EQUAL(map.compute[i].node, map.poll.node);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* Without a device the server goes where it splits no worker, though the other node is bigger. */
static void test_server_leaves_room_for_whole_workers(void)
{
    struct kofn_cpus within = cpus("0-3,8-10"); /* 4 cores of node 0, 3 of node 1 */
    struct kofn_place_request request = {
        .workers = 3, .threads = 2, .server = true, .within = &within};
    struct kofn_topology *topology = recorded("two-sockets");
    struct kofn_place_map map;

    if (!topology)
        return;
    map = choose(topology, &request);
    CU_ASSERT_EQUAL(map.poll.node, 1);
    for (unsigned worker = 0; worker < 3; worker++) {
        int node = -1;

        CU_ASSERT_EQUAL(kofn_place_node(&map, kofn_place_worker(worker), &node), 0);
        CU_ASSERT_EQUAL(node, worker < 2 ? 0 : 1);
    }
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* A lone worker sits on the node of its server: nothing is won by crossing the machine. */
static void test_lone_worker_is_near_its_server(void)
{
    struct kofn_place_request request = {.workers = 1, .server = true, .nic = "mlx5_0"};
    struct kofn_topology *topology = recorded("two-sockets");
    struct kofn_place_map map;

    if (!topology)
        return;
    map = choose(topology, &request);
    CU_ASSERT_EQUAL(map.compute[0].node, 1);
    CU_ASSERT_NOT_EQUAL(map.compute[0].core, map.poll.core);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* Between cores and hyper-threads: every thread has a CPU, no core computes twice, and only who
 * asks for it spins, since the other half of the core pays.
 */
static void test_hyper_threads_are_used_last(void)
{
    struct kofn_place_request request = {.workers = 4, .server = true, .nic = "wlp0s20f3"};
    struct kofn_topology *topology = recorded("laptop");
    struct kofn_place_map map;
    struct kofn_cpus cores = {{0}};

    if (!topology)
        return;
    map = choose(topology, &request);
    CU_ASSERT_EQUAL(map.poll.cpu, 0);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_NOT_EQUAL(map.compute[i].cpu, map.poll.cpu);
        CU_ASSERT(!kofn_cpus_has(&cores, map.compute[i].core));
        kofn_cpus_add(&cores, map.compute[i].core);
    }
    CU_ASSERT(!map.spin_ok);
    CU_ASSERT_EQUAL(map.spin_ns, 0);
    CU_ASSERT_STRING_EQUAL(map.spin_why, "4 cores (8 CPUs) for 5 threads");
    kofn_place_free(&map);

    request.spin = KOFN_SPIN_YES;
    map = choose(topology, &request);
    CU_ASSERT(map.spin_ok);
    CU_ASSERT_EQUAL(map.spin_ns, KOFN_FOREVER);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* With more threads than CPUs nobody is bound to one CPU, everybody may use every CPU, nobody
 * spins. */
static void test_too_many_threads_share_everything(void)
{
    struct kofn_place_request request = {.workers = 8, .server = true};
    struct kofn_topology *topology = invent("pu:2");
    struct kofn_place_map map = choose(topology, &request);
    struct kofn_cpus set;

    for (unsigned worker = 0; worker < 8; worker++) {
        CU_ASSERT_EQUAL(map.compute[worker].cpu, -1);
        CU_ASSERT_EQUAL(kofn_place_cpus(&map, kofn_place_worker(worker), &set), 0);
        CU_ASSERT(is(&set, "0-1"));
    }
    CU_ASSERT_EQUAL(map.poll.cpu, -1);
    CU_ASSERT(is(&map.poll_cpus, "0-1"));
    CU_ASSERT_EQUAL(map.poll.node, 0);
    CU_ASSERT(!map.spin_ok);
    CU_ASSERT_STRING_EQUAL(map.spin_why, "2 CPUs for 9 threads");
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* Spinning that was asked for and cannot be is refused with a reason, once. */
static void test_refused_spinning_is_said(void)
{
    struct kofn_place_request request = {.workers = 2, .server = true, .spin = KOFN_SPIN_YES};
    struct kofn_topology *topology = invent("pu:2");
    struct kofn_place_map map;
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
    CU_ASSERT(!map.spin_ok);
    CU_ASSERT_EQUAL(heard.count, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.last, "2 CPUs for 3 threads"));
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* A quota below the number of threads forbids spinning, whoever asks; one that is enough does not.
 */
static void test_quota_forbids_spinning(void)
{
    struct kofn_place_request request = {
        .workers = 1, .server = true, .quota = {150000, 100000, "cpu.max"}};
    struct kofn_topology *topology = invent("pu:8");
    struct kofn_place_map map = choose(topology, &request);

    CU_ASSERT(!map.spin_ok);
    CU_ASSERT_STRING_EQUAL(map.spin_why, "cgroup cpu.max 150% for 2 threads");
    CU_ASSERT_NOT_EQUAL(map.compute[0].cpu, -1); /* binding is none of the quota's business */
    kofn_place_free(&map);

    request.quota = (struct kofn_cpu_quota){200000, 100000, "cpu.max"};
    map = choose(topology, &request);
    CU_ASSERT(map.spin_ok);
    CU_ASSERT_EQUAL(map.spin_ns, KOFN_SPIN_BUDGET_NS);
    kofn_place_free(&map);

    request.spin = KOFN_SPIN_NO;
    map = choose(topology, &request);
    CU_ASSERT(!map.spin_ok);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* Nothing outside the CPUs that were given is chosen; a device beside them is one warning. */
static void test_restriction_holds(void)
{
    struct kofn_cpus within = cpus("2-3,18-19"); /* two cores of node 0 */
    struct kofn_place_request request = {
        .workers = 1, .server = true, .nic = "mlx5_0", .within = &within};
    struct kofn_topology *topology = recorded("two-sockets");
    struct kofn_place_map map;
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    if (!topology)
        return;
    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
    CU_ASSERT_EQUAL(heard.count, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.last, "mlx5_0 is near CPUs 8-15,24-31"));
    CU_ASSERT_EQUAL(map.cpu_count, 4);
    CU_ASSERT_EQUAL(map.core_count, 2);
    CU_ASSERT_EQUAL(map.poll.cpu, 2);
    CU_ASSERT_EQUAL(map.compute[0].cpu, 3);
    kofn_place_free(&map);

    within = cpus("100-200");
    CU_ASSERT_EQUAL(kofn_place_choose(topology, &request, &log, &map), KOFN_INVALID);
    CU_ASSERT_EQUAL(heard.count, 2);
    kofn_topology_close(topology);
}

/* Cores of unequal width, as a control group can leave them, still get one thread each. */
static void test_uneven_cores_get_one_thread_each(void)
{
    struct kofn_cpus within = cpus("0,1,2,4"); /* one core with both hyper-threads, two with one */
    struct kofn_place_request request = {.workers = 3, .within = &within};
    struct kofn_topology *topology = invent("core:4 pu:2");
    struct kofn_place_map map;

    if (!topology)
        return;
    map = choose(topology, &request);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(map.compute[i].core, (int)i);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* A device that is not there is one warning that says which are, and changes nothing else. */
static void test_unknown_nic_is_one_warning(void)
{
    struct kofn_place_request request = {.workers = 3, .server = true};
    struct kofn_topology *topology = recorded("two-sockets");
    struct kofn_place_map map, without;
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    if (!topology)
        return;
    without = choose(topology, &request);
    request.nic = "mlx5_7";
    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &log, &map), 0);
    CU_ASSERT_EQUAL(heard.count, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.last, "mlx5_7"));
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.last, "eth0, ib0, mlx5_0"));
    CU_ASSERT_EQUAL(map.poll.cpu, without.poll.cpu);
    CU_ASSERT_EQUAL(memcmp(map.compute, without.compute, 3 * sizeof(*map.compute)), 0);
    kofn_place_free(&map);
    kofn_place_free(&without);
    kofn_topology_close(topology);
}

/* A machine without core objects (some virtual ones) is one whose CPUs are cores. */
static void test_machine_without_cores(void)
{
    struct kofn_place_request request = {.workers = 7, .server = true};
    struct kofn_topology *topology = invent("pu:8");
    struct kofn_place_map map = choose(topology, &request);
    struct kofn_cpus used = map.poll_cpus;

    CU_ASSERT_EQUAL(map.core_count, 8);
    CU_ASSERT_EQUAL(map.poll.core, -1);
    for (unsigned i = 0; i < 7; i++) {
        CU_ASSERT(!kofn_cpus_has(&used, map.compute[i].cpu));
        kofn_cpus_add(&used, map.compute[i].cpu);
    }
    CU_ASSERT(map.spin_ok);
    kofn_place_free(&map);
    kofn_topology_close(topology);
}

/* A CPU is near its own memory node, not near one that the whole machine shares. */
static void test_nearest_node_is_the_smallest(void)
{
    struct kofn_topology *topology = invent("[numa] pack:2 [numa] core:4 pu:1");
    int first, last;

    if (!topology)
        return;
    first = kofn_topology_node(topology, 0);
    last = kofn_topology_node(topology, 7);
    CU_ASSERT_NOT_EQUAL(first, last);
    for (int cpu = 0; cpu < 8; cpu++)
        CU_ASSERT_EQUAL(kofn_topology_node(topology, cpu), cpu < 4 ? first : last);
    kofn_topology_close(topology);
}

/* Requests that make no sense are refused with one message, and the map is left alone. */
static void test_senseless_requests_are_refused(void)
{
    static const struct kofn_place_request senseless[] = {
        {.workers = 0},
        {.workers = KOFN_PLACE_WORKERS_MAX + 1},
        {.workers = 2, .threads = KOFN_PLACE_THREADS_MAX},
        {.workers = UINT_MAX, .threads = UINT_MAX},
    };
    struct kofn_topology *topology = invent("pu:4");
    struct heard heard;
    struct kofn_log log = log_to(&heard);
    struct kofn_place_map map = {.workers = 77};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(senseless); i++) {
        CU_ASSERT_EQUAL(kofn_place_choose(topology, &senseless[i], &log, &map), KOFN_INVALID);
        CU_ASSERT_EQUAL(heard.count, i + 1);
    }
    CU_ASSERT_EQUAL(map.workers, 77);
    kofn_topology_close(topology);
}

/* What cannot be read as a topology is refused with one message. */
static void test_bad_topologies_are_refused(void)
{
    static const char *const bad[] = {"", "nonsense", "pu:0", "pu:-1", "pu:4 core"};
    struct kofn_topology *topology = NULL;
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(bad); i++) {
        CU_ASSERT_EQUAL(kofn_topology_open_synthetic(bad[i], &log, &topology), KOFN_FORMAT);
        CU_ASSERT_EQUAL(heard.count, i + 1);
    }
    CU_ASSERT_NOT_EQUAL(kofn_topology_open_xml("/nonexistent.xml", &log, &topology), 0);
    CU_ASSERT_EQUAL(heard.count, KOFN_ARRAY_SIZE(bad) + 1);
    CU_ASSERT_PTR_NULL(topology);
}

struct printed {
    unsigned count;
    char line[16][2 * KOFN_LOG_LINE];
};

static void keep_line(void *arg, const char *text)
{
    struct printed *printed = arg;

    CU_ASSERT_FATAL(printed->count < KOFN_ARRAY_SIZE(printed->line));
    snprintf(printed->line[printed->count++], sizeof(printed->line[0]), "%s", text);
}

static void expect_lines(const struct kofn_topology *topology,
                         const struct kofn_place_request *request, const char *const *wanted,
                         unsigned count)
{
    struct kofn_place_map map = choose(topology, request);
    struct printed printed = {0};

    kofn_place_print(&map, keep_line, &printed);
    CU_ASSERT_EQUAL(printed.count, count);
    for (unsigned i = 0; i < KOFN_MIN(count, printed.count); i++)
        CU_ASSERT_STRING_EQUAL(printed.line[i], wanted[i]);
    kofn_place_free(&map);
}

/* A person reads where everything is, in a line each. */
static void test_few_workers_print_a_line_each(void)
{
    static const char *const wanted[] = {
        "32 CPUs (0-31) on 16 cores, 2 memory nodes",
        "poll thread: core 8 (CPU 8), node 1",
        "worker 0: cores 0,4 (CPUs 0,4), node 0",
        "worker 1: cores 9,12 (CPUs 9,12), node 1",
        "spinning: 50 us, then sleep (every thread has a core)",
    };
    struct kofn_place_request request = {
        .workers = 2, .threads = 2, .server = true, .nic = "mlx5_0"};
    struct kofn_topology *topology = recorded("two-sockets");

    if (topology)
        expect_lines(topology, &request, wanted, KOFN_ARRAY_SIZE(wanted));
    kofn_topology_close(topology);
}

/* Cores and nodes that are not known, or are several, are not made up. */
static void test_unknown_places_are_not_printed(void)
{
    static const char *const flat[] = {
        "3 CPUs (0-2) on 3 cores, 1 memory node",
        "poll thread: CPU 0, node 0",
        "worker 0: CPUs 1-2, node 0",
        "spinning: 50 us, then sleep (every thread has a core)",
    };
    static const char *const wide[] = {
        "32 CPUs (0-31) on 16 cores, 2 memory nodes",
        "worker 0: cores 0-15 (CPUs 0-15)",
        "spinning: no (not wanted)",
    };
    struct kofn_place_request request = {.workers = 1, .threads = 2, .server = true};
    struct kofn_topology *topology = invent("pu:3");

    expect_lines(topology, &request, flat, KOFN_ARRAY_SIZE(flat));
    kofn_topology_close(topology);
    topology = recorded("two-sockets");
    request = (struct kofn_place_request){.workers = 1, .threads = 16, .spin = KOFN_SPIN_NO};
    if (topology)
        expect_lines(topology, &request, wide, KOFN_ARRAY_SIZE(wide));
    kofn_topology_close(topology);
}

/* Many workers are one line a memory node. */
static void test_many_workers_print_a_line_a_node(void)
{
    static const char *const wanted[] = {
        "32 CPUs (0-31) on 16 cores, 2 memory nodes",
        "poll thread: core 8 (CPU 8), node 1",
        "workers 0-7: cores 0-7 (CPUs 0-7), node 0",
        "workers 8-14: cores 9-15 (CPUs 9-15), node 1",
        "spinning: without end (every thread has a core)",
    };
    struct kofn_place_request request = {
        .workers = 15, .server = true, .nic = "mlx5_0", .spin = KOFN_SPIN_YES};
    struct kofn_topology *topology = recorded("two-sockets");

    if (topology)
        expect_lines(topology, &request, wanted, KOFN_ARRAY_SIZE(wanted));
    kofn_topology_close(topology);
}

/* Threads that are not bound are one line, however many. */
static void test_unbound_workers_print_one_line(void)
{
    static const char *const wanted[] = {
        "2 CPUs (0-1) on 2 cores, 1 memory node",
        "poll thread: not bound, any of CPUs 0-1, node 0",
        "workers 0-7: not bound, 8 threads share CPUs 0-1, node 0",
        "spinning: no (2 CPUs for 9 threads)",
    };
    struct kofn_place_request request = {.workers = 8, .server = true};
    struct kofn_topology *topology = invent("pu:2");

    expect_lines(topology, &request, wanted, KOFN_ARRAY_SIZE(wanted));
    kofn_topology_close(topology);
}

void kofn_suite_place(void)
{
    CU_pSuite suite = CU_add_suite("place", NULL, NULL);

    CU_add_test(suite, "server is near its nic", test_server_is_near_its_nic);
    CU_add_test(suite, "nic has several names", test_nic_has_several_names);
    CU_add_test(suite, "workers do not straddle nodes", test_workers_do_not_straddle_nodes);
    CU_add_test(suite, "server leaves room", test_server_leaves_room_for_whole_workers);
    CU_add_test(suite, "lone worker is near its server", test_lone_worker_is_near_its_server);
    CU_add_test(suite, "hyper-threads are used last", test_hyper_threads_are_used_last);
    CU_add_test(suite, "too many threads share", test_too_many_threads_share_everything);
    CU_add_test(suite, "refused spinning is said", test_refused_spinning_is_said);
    CU_add_test(suite, "quota forbids spinning", test_quota_forbids_spinning);
    CU_add_test(suite, "restriction holds", test_restriction_holds);
    CU_add_test(suite, "uneven cores", test_uneven_cores_get_one_thread_each);
    CU_add_test(suite, "unknown nic is one warning", test_unknown_nic_is_one_warning);
    CU_add_test(suite, "machine without cores", test_machine_without_cores);
    CU_add_test(suite, "nearest node is the smallest", test_nearest_node_is_the_smallest);
    CU_add_test(suite, "senseless requests", test_senseless_requests_are_refused);
    CU_add_test(suite, "bad topologies", test_bad_topologies_are_refused);
    CU_add_test(suite, "few workers print a line each", test_few_workers_print_a_line_each);
    CU_add_test(suite, "unknown places", test_unknown_places_are_not_printed);
    CU_add_test(suite, "many workers print a line a node", test_many_workers_print_a_line_a_node);
    CU_add_test(suite, "unbound workers print one line", test_unbound_workers_print_one_line);
}
