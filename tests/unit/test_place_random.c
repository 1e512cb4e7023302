/* The chooser, on thousands of random machines and requests: what must hold whatever the machine
 * is. */
#include "base/random.h"
#include "tests/unit/place_fixture.h"

#define MACHINES 150
#define REQUESTS 12 /* of each machine */
#define CPUS_MAX 256
#define NODES_MAX 4

static unsigned draw(struct kofn_random *random, unsigned low, unsigned high)
{
    return low + (unsigned)kofn_random_below(random, high - low + 1);
}

#ifdef HAVE_HWLOC
/* A random permutation of 0 .. count - 1: kernels number CPUs as they like. */
static void shuffle(struct kofn_random *random, unsigned *number, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned j = draw(random, 0, i);

        number[i] = number[j];
        number[j] = i;
    }
}

/* A random machine of up to CPUS_MAX CPUs. */
static struct kofn_topology *random_machine(struct kofn_random *random)
{
    unsigned packages = draw(random, 1, 4), caches = draw(random, 1, 2);
    unsigned cores = draw(random, 1, 8), threads = draw(random, 1, 4);
    unsigned number[CPUS_MAX], count = packages * caches * cores * threads;
    char text[64 + 5 * CPUS_MAX];
    int used = snprintf(text, sizeof(text), "pack:%u %s l3:%u core:%u pu:%u(indexes=", packages,
                        draw(random, 0, 1) ? "[numa]" : "", caches, cores, threads);

    shuffle(random, number, count);
    for (unsigned i = 0; i < count; i++)
        used += snprintf(text + used, sizeof(text) - (size_t)used, "%s%u", i ? "," : "", number[i]);
    snprintf(text + used, sizeof(text) - (size_t)used, ")");
    return invent(text);
}
#else
static struct kofn_topology *random_machine(struct kofn_random *random)
{
    char text[32];

    snprintf(text, sizeof(text), "pu:%u", draw(random, 1, CPUS_MAX));
    return invent(text);
}
#endif

/* Drops CPUs at random, and never all. */
static struct kofn_cpus random_subset(struct kofn_random *random, const struct kofn_cpus *all)
{
    struct kofn_cpus subset = *all;
    unsigned kept = draw(random, 1, 10);

    for (int cpu = kofn_cpus_next(all, -1); cpu >= 0; cpu = kofn_cpus_next(all, cpu))
        if (draw(random, 1, 10) > kept && kofn_cpus_count(&subset) > 1)
            kofn_cpus_remove(&subset, cpu);
    return subset;
}

/* A number that tells cores apart, also where cores are not known. */
static int core_of(const struct kofn_topology *topology, int cpu)
{
    int core = kofn_topology_core(topology, cpu);

    return core >= 0 ? core : cpu;
}

static unsigned count_cores(const struct kofn_topology *topology, const struct kofn_cpus *set)
{
    struct kofn_cpus cores = {{0}};

    for (int cpu = kofn_cpus_next(set, -1); cpu >= 0; cpu = kofn_cpus_next(set, cpu))
        kofn_cpus_add(&cores, core_of(topology, cpu));
    return kofn_cpus_count(&cores);
}

/* Every thread may run on allowed CPUs alone, and on at least one. */
static void check_allowed(const struct kofn_place_map *map, const struct kofn_cpus *allowed)
{
    struct kofn_cpus set;

    for (unsigned worker = 0; worker < map->workers; worker++)
        for (unsigned thread = 0; thread < map->threads; thread++) {
            CU_ASSERT_EQUAL(kofn_place_cpus(map, kofn_place_thread(worker, thread), &set), 0);
            CU_ASSERT(kofn_cpus_count(&set) > 0);
            kofn_cpus_minus(&set, allowed);
            CU_ASSERT_EQUAL(kofn_cpus_count(&set), 0);
        }
    if (map->server) {
        set = map->poll_cpus;
        CU_ASSERT(kofn_cpus_count(&set) > 0);
        kofn_cpus_minus(&set, allowed);
        CU_ASSERT_EQUAL(kofn_cpus_count(&set), 0);
    }
}

/* True if one core of @node has two compute threads while another one of it, not the server's, has
 * none; @load is by core.
 */
static bool is_uneven(const struct kofn_topology *topology, const struct kofn_place_map *map,
                      const unsigned *load, int node)
{
    bool doubled = false, idle = false;

    for (int cpu = kofn_cpus_next(&map->cpus, -1); cpu >= 0;
         cpu = kofn_cpus_next(&map->cpus, cpu)) {
        int core = core_of(topology, cpu);

        if (kofn_topology_node(topology, cpu) != node)
            continue;
        doubled |= load[core] > 1;
        idle |= load[core] == 0 && !(map->server && core == core_of(topology, map->poll.cpu));
    }
    return doubled && idle;
}

/* Every thread has a CPU to itself. With a core for each, it has that to itself too; else no core
 * is used twice while another one of its node is idle.
 */
static void check_bound(const struct kofn_topology *topology, const struct kofn_place_map *map,
                        bool cores_suffice)
{
    unsigned compute = map->workers * map->threads, load[KOFN_CPUS_MAX] = {0};
    struct kofn_cpus used = map->poll_cpus;
    bool doubled = false;

    for (unsigned i = 0; i < compute; i++) {
        CU_ASSERT_FATAL(map->compute[i].cpu >= 0);
        CU_ASSERT(!kofn_cpus_has(&used, map->compute[i].cpu));
        kofn_cpus_add(&used, map->compute[i].cpu);
        doubled |= ++load[core_of(topology, map->compute[i].cpu)] > 1;
        if (i > 0 && map->compute[i].node == map->compute[i - 1].node)
            CU_ASSERT(map->compute[i].core >= map->compute[i - 1].core); /* neighbours are close */
    }
    for (int node = 0; node < NODES_MAX; node++)
        CU_ASSERT(!is_uneven(topology, map, load, node));
    if (cores_suffice) {
        CU_ASSERT(!doubled);
        CU_ASSERT(!map->server || load[core_of(topology, map->poll.cpu)] == 0);
    }
}

/* Without a server, where every worker can be on one node, it is. */
static void check_nodes(const struct kofn_topology *topology, const struct kofn_place_map *map)
{
    unsigned whole = 0;
    int node;

    for (int n = 0; n < NODES_MAX; n++) {
        struct kofn_cpus set = map->cpus;

        for (int cpu = kofn_cpus_next(&map->cpus, -1); cpu >= 0;
             cpu = kofn_cpus_next(&map->cpus, cpu))
            if (kofn_topology_node(topology, cpu) != n)
                kofn_cpus_remove(&set, cpu);
        whole += count_cores(topology, &set) / map->threads;
    }
    if (whole < map->workers)
        return;
    for (unsigned worker = 0; worker < map->workers; worker++) {
        CU_ASSERT_EQUAL(kofn_place_node(map, kofn_place_worker(worker), &node), 0);
        CU_ASSERT(node >= 0);
    }
}

static void check_shared(const struct kofn_place_map *map)
{
    struct kofn_cpus set;

    for (unsigned worker = 0; worker < map->workers; worker++) {
        CU_ASSERT_EQUAL(kofn_place_cpus(map, kofn_place_worker(worker), &set), 0);
        CU_ASSERT(kofn_cpus_equal(&set, &map->cpus));
    }
    CU_ASSERT(!map->spin_ok);
}

static bool same(const struct kofn_place_map *a, const struct kofn_place_map *b)
{
    return memcmp(&a->poll, &b->poll, sizeof(a->poll)) == 0 &&
           kofn_cpus_equal(&a->poll_cpus, &b->poll_cpus) &&
           memcmp(a->compute, b->compute, a->workers * a->threads * sizeof(*a->compute)) == 0 &&
           a->spin_ok == b->spin_ok && strcmp(a->spin_why, b->spin_why) == 0;
}

static void check_one(struct kofn_random *random, const struct kofn_topology *topology)
{
    struct kofn_cpus within = random_subset(random, kofn_topology_allowed(topology));
    unsigned count = kofn_cpus_count(&within), cores = count_cores(topology, &within), all;
    struct kofn_place_request request = {.threads = draw(random, 1, 5),
                                         .server = draw(random, 0, 1),
                                         .spin = (enum kofn_spin)draw(random, 0, 2),
                                         .within = &within};
    struct kofn_log silent = {.level = KOFN_LOG_ERROR};
    struct kofn_place_map map, again;

    request.workers = draw(random, 1, 2 + count / request.threads);
    all = request.workers * request.threads + request.server;
    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &silent, &map), 0);
    CU_ASSERT(kofn_cpus_equal(&map.cpus, &within));
    CU_ASSERT_EQUAL(map.core_count, cores);
    check_allowed(&map, &within);
    if (all <= count)
        check_bound(topology, &map, all <= cores);
    else
        check_shared(&map);
    if (all <= cores && !request.server)
        check_nodes(topology, &map);
    CU_ASSERT(!map.spin_ok || request.spin != KOFN_SPIN_NO);
    CU_ASSERT(!map.spin_ok || request.spin == KOFN_SPIN_YES || all <= cores);
    CU_ASSERT_EQUAL(map.spin_ok, map.spin_ns > 0);

    CU_ASSERT_EQUAL_FATAL(kofn_place_choose(topology, &request, &silent, &again), 0);
    CU_ASSERT(same(&map, &again));
    kofn_place_free(&again);
    kofn_place_free(&map);
}

/* Allowed CPUs alone; no CPU, and no core where they suffice, for two threads; no idle core beside
 * a doubled one; no straddling worker that need not; the same answer twice.
 */
static void test_any_machine(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 20240607, 0);
    for (unsigned machine = 0; machine < MACHINES; machine++) {
        struct kofn_topology *topology = random_machine(&random);

        CU_ASSERT_PTR_NOT_NULL_FATAL(topology);
        for (unsigned request = 0; request < REQUESTS; request++)
            check_one(&random, topology);
        kofn_topology_close(topology);
    }
}

/* A set of CPUs survives being written and read, unless it was cut, and then it says so. */
static void test_lists_are_read_as_written(void)
{
    struct kofn_cpus whole = {{0}}, set, back;
    struct kofn_random random;
    char text[4096], cut[KOFN_CPUS_TEXT_BYTES];

    for (int cpu = 0; cpu < 500; cpu++)
        kofn_cpus_add(&whole, cpu);
    kofn_random_seed(&random, 7, 0);
    for (unsigned i = 0; i < 200; i++) {
        set = random_subset(&random, &whole);
        kofn_cpus_format(&set, text, sizeof(text));
        CU_ASSERT_EQUAL_FATAL(kofn_cpus_parse(text, NULL, &back), 0);
        CU_ASSERT(kofn_cpus_equal(&set, &back));
        kofn_cpus_format(&set, cut, sizeof(cut));
        CU_ASSERT(strcmp(cut, text) == 0 || strcmp(cut + strlen(cut) - 3, "...") == 0);
    }
}

/* What is no list is refused with one message and leaves the set alone. */
static void test_bad_lists_are_refused(void)
{
    static const char *const bad[] = {
        "",      ",",    "1,",   ",1",     "1,,2",
        "-1",    "1-",   "3-1",  "a",      "1 ",
        " 1",    "0x1",  "8192", "0-8192", "99999999999999999999",
        "1-2-3", "none",
    };
    struct heard heard;
    struct kofn_log log = log_to(&heard);
    struct kofn_cpus set = cpus("5");

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(bad); i++) {
        CU_ASSERT_EQUAL(kofn_cpus_parse(bad[i], &log, &set), KOFN_INVALID);
        CU_ASSERT_EQUAL(heard.count, i + 1);
    }
    CU_ASSERT(is(&set, "5"));
    CU_ASSERT_EQUAL(kofn_cpus_parse("0-3,8,8191", &log, &set), 0);
    CU_ASSERT_EQUAL(kofn_cpus_count(&set), 6);
    CU_ASSERT(kofn_cpus_has(&set, 8191) && !kofn_cpus_has(&set, 8192) && !kofn_cpus_has(&set, -1));
}

void kofn_suite_place_random(void)
{
    CU_pSuite suite = CU_add_suite("place_random", NULL, NULL);

    CU_add_test(suite, "any machine", test_any_machine);
    CU_add_test(suite, "lists are read as written", test_lists_are_read_as_written);
    CU_add_test(suite, "bad lists are refused", test_bad_lists_are_refused);
}
