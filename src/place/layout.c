#include "place/layout.h"

#include <stdlib.h>

/* A memory node with CPUs that may be used. */
struct home {
    int node;              /* -1: the CPUs whose node is not known */
    struct kofn_cpus cpus; /* those that may be used */
    unsigned cores;        /* of them */
    unsigned workers;      /* placed here */
    unsigned free;         /* CPUs that are left for workers */
};

/* A choice in the making. */
struct plan {
    const struct kofn_topology *topology;
    const char *nic;
    const struct kofn_log *log;
    struct kofn_place_map *map;
    unsigned compute; /* compute threads of all workers */
    unsigned all;     /* with the server's */
    struct home *homes;
    unsigned home_count;
    struct home *poll_home; /* NULL without a server */
};

/* One CPU of each core that has any in @set. */
static struct kofn_cpus one_per_core(const struct kofn_topology *topology,
                                     const struct kofn_cpus *set)
{
    struct kofn_cpus first = {{0}}, seen = {{0}};

    for (int cpu = kofn_cpus_next(set, -1); cpu >= 0; cpu = kofn_cpus_next(set, cpu)) {
        int core = kofn_topology_core(topology, cpu);

        /* there are no more cores than CPUs, so a set of CPUs can hold core numbers */
        if (core >= KOFN_CPUS_MAX || kofn_cpus_has(&seen, core))
            continue;
        if (core >= 0)
            kofn_cpus_add(&seen, core);
        kofn_cpus_add(&first, cpu);
    }
    return first;
}

static unsigned count_cores(const struct kofn_topology *topology, const struct kofn_cpus *set)
{
    struct kofn_cpus first = one_per_core(topology, set);

    return kofn_cpus_count(&first);
}

static struct kofn_cpus intersection(const struct kofn_cpus *a, const struct kofn_cpus *b)
{
    struct kofn_cpus both = *a;

    kofn_cpus_and(&both, b);
    return both;
}

/* The home of @node, made if there is none yet; NULL without memory. */
static struct home *find_home(struct plan *plan, int node)
{
    struct home *homes;

    for (unsigned i = 0; i < plan->home_count; i++)
        if (plan->homes[i].node == node)
            return &plan->homes[i];
    homes = realloc(plan->homes, (plan->home_count + 1) * sizeof(*homes));
    if (!homes)
        return NULL;
    plan->homes = homes;
    homes[plan->home_count] = (struct home){.node = node};
    return &homes[plan->home_count++];
}

static int list_homes(struct plan *plan)
{
    struct kofn_place_map *map = plan->map;

    for (int cpu = kofn_cpus_next(&map->cpus, -1); cpu >= 0;
         cpu = kofn_cpus_next(&map->cpus, cpu)) {
        struct home *home = find_home(plan, kofn_topology_node(plan->topology, cpu));

        if (!home)
            return kofn_error(plan->log, KOFN_NO_MEMORY, "place: no memory for a map");
        kofn_cpus_add(&home->cpus, cpu);
    }
    for (unsigned i = 0; i < plan->home_count; i++)
        plan->homes[i].cores = count_cores(plan->topology, &plan->homes[i].cpus);
    map->node_count = plan->home_count;
    return 0;
}

/* The CPUs near the server's network device that may be used; all that may be used where there is
 * no such wish or it cannot be granted.
 */
static struct kofn_cpus near_nic(const struct plan *plan)
{
    const struct kofn_cpus *cpus = &plan->map->cpus;
    const char *nic = plan->nic;
    struct kofn_cpus near;
    char text[KOFN_CPUS_TEXT_BYTES];
    int rc;

    if (!nic)
        return *cpus;
    rc = kofn_topology_nic(plan->topology, nic, &near);
    if (rc == KOFN_UNSUPPORTED) {
        kofn_log(plan->log, KOFN_LOG_WARN,
                 "place: where %.64s is cannot be told here; the server may be far from it", nic);
        return *cpus;
    }
    if (rc) {
        kofn_log(plan->log, KOFN_LOG_WARN,
                 "place: no network device %.64s is known here (known: %s); the server is placed "
                 "without one",
                 nic, kofn_topology_nics(plan->topology, text, sizeof(text)));
        return *cpus;
    }
    kofn_cpus_format(&near, text, sizeof(text));
    kofn_cpus_and(&near, cpus);
    if (kofn_cpus_count(&near) > 0)
        return near;
    kofn_log(plan->log, KOFN_LOG_WARN,
             "place: %.64s is near CPUs %s, which may not be used; the server is far from it", nic,
             text);
    return *cpus;
}

/* How many workers fit on single nodes if the server takes a core of @server's. */
static unsigned whole_workers(const struct plan *plan, const struct home *server)
{
    unsigned whole = 0;

    for (const struct home *home = plan->homes; home < plan->homes + plan->home_count; home++)
        whole += (home->cores - (home == server)) / plan->map->threads;
    return whole;
}

/* The node the server disturbs least among those with CPUs in @near: the one that leaves room for
 * most workers, then the one with most cores.
 */
static struct home *choose_poll_home(const struct plan *plan, const struct kofn_cpus *near)
{
    struct home *best = NULL;
    unsigned best_whole = 0;

    for (struct home *home = plan->homes; home < plan->homes + plan->home_count; home++) {
        struct kofn_cpus both = intersection(&home->cpus, near);
        unsigned whole = whole_workers(plan, home);

        if (kofn_cpus_count(&both) == 0)
            continue;
        if (!best || whole > best_whole || (whole == best_whole && home->cores > best->cores)) {
            best = home;
            best_whole = whole;
        }
    }
    return best; /* @near is not empty, and every CPU has a home */
}

static struct kofn_place place_of(const struct kofn_topology *topology, int cpu)
{
    return (struct kofn_place){cpu, kofn_topology_core(topology, cpu),
                               kofn_topology_node(topology, cpu)};
}

/* The server's place: the first CPU of the first core in @near and in its home. */
static void place_poll(struct plan *plan)
{
    struct kofn_place_map *map = plan->map;
    struct kofn_cpus near = near_nic(plan);
    struct kofn_cpus candidates;
    struct kofn_place best = {-1, -1, -1};

    plan->poll_home = choose_poll_home(plan, &near);
    if (plan->all > map->cpu_count) {
        map->poll = (struct kofn_place){-1, -1, plan->poll_home->node};
        map->poll_cpus = plan->poll_home->cpus;
        return;
    }
    candidates = intersection(&plan->poll_home->cpus, &near);
    for (int cpu = kofn_cpus_next(&candidates, -1); cpu >= 0;
         cpu = kofn_cpus_next(&candidates, cpu)) {
        struct kofn_place place = place_of(plan->topology, cpu);

        if (best.cpu < 0 || place.core < best.core)
            best = place;
    }
    map->poll = best;
    kofn_cpus_add(&map->poll_cpus, best.cpu);
}

/* The CPUs for compute threads: at least as many as there are of these, each to be used once. */
static struct kofn_cpus compute_pool(const struct plan *plan)
{
    const struct kofn_place_map *map = plan->map;
    struct kofn_cpus pool = map->cpus, first;

    if (map->server) {
        bool whole_core = plan->all <= map->core_count && map->poll.core >= 0;

        for (int cpu = kofn_cpus_next(&map->cpus, -1); cpu >= 0;
             cpu = kofn_cpus_next(&map->cpus, cpu))
            if (cpu == map->poll.cpu ||
                (whole_core && kofn_topology_core(plan->topology, cpu) == map->poll.core))
                kofn_cpus_remove(&pool, cpu);
    }
    /* hwloc weighs by hyper-threads; with one of each core it cannot give two threads to one core
     */
    first = one_per_core(plan->topology, &pool);
    return plan->compute <= kofn_cpus_count(&first) ? first : pool;
}

/* Would one more worker fill @a less than @b? The server's node comes first among equals: one
 * worker alone should be near its server.
 */
static bool emptier(const struct plan *plan, const struct home *a, const struct home *b)
{
    uint64_t load_a = (uint64_t)(a->workers + 1) * b->cores;
    uint64_t load_b = (uint64_t)(b->workers + 1) * a->cores;

    return load_a < load_b || (load_a == load_b && a == plan->poll_home);
}

/* Deals the workers to nodes that have room for all their threads, evenly. Returns false if not all
 * fit. */
static bool deal_workers(struct plan *plan, const struct kofn_cpus *pool)
{
    for (unsigned i = 0; i < plan->home_count; i++) {
        struct kofn_cpus own = intersection(&plan->homes[i].cpus, pool);

        plan->homes[i].free = kofn_cpus_count(&own);
    }
    for (unsigned worker = 0; worker < plan->map->workers; worker++) {
        struct home *best = NULL;

        for (struct home *home = plan->homes; home < plan->homes + plan->home_count; home++)
            if (home->free >= plan->map->threads && (!best || emptier(plan, home, best)))
                best = home;
        if (!best)
            return false;
        best->workers++;
        best->free -= plan->map->threads;
    }
    return true;
}

/* Picks a CPU of @pool for every compute thread, in order of rank and thread. */
static int pick_cpus(struct plan *plan, const struct kofn_cpus *pool, int *cpu)
{
    if (!deal_workers(plan, pool))
        return kofn_topology_spread(plan->topology, pool, plan->compute, plan->log, cpu);

    for (const struct home *home = plan->homes; home < plan->homes + plan->home_count; home++) {
        struct kofn_cpus own = intersection(&home->cpus, pool);
        unsigned count = home->workers * plan->map->threads;
        int rc = kofn_topology_spread(plan->topology, &own, count, plan->log, cpu);

        if (rc)
            return rc;
        cpu += count;
    }
    return 0;
}

static int place_compute(struct plan *plan)
{
    struct kofn_place_map *map = plan->map;
    struct kofn_cpus pool;
    int *cpu, rc;

    if (plan->all > map->cpu_count) {
        int node = plan->home_count == 1 ? plan->homes[0].node : -1;

        for (unsigned i = 0; i < plan->compute; i++)
            map->compute[i] = (struct kofn_place){-1, -1, node};
        return 0;
    }
    cpu = malloc(plan->compute * sizeof(*cpu));
    if (!cpu)
        return kofn_error(plan->log, KOFN_NO_MEMORY, "place: no memory for %u threads",
                          plan->compute);
    pool = compute_pool(plan);
    rc = pick_cpus(plan, &pool, cpu);
    if (!rc)
        for (unsigned i = 0; i < plan->compute; i++)
            map->compute[i] = place_of(plan->topology, cpu[i]);
    free(cpu);
    return rc;
}

int kofn__place_layout(const struct kofn_topology *topology,
                       const struct kofn_place_request *request, const struct kofn_log *log,
                       struct kofn_place_map *map)
{
    unsigned compute = map->workers * map->threads;
    struct plan plan = {.topology = topology,
                        .nic = request->nic,
                        .log = log,
                        .map = map,
                        .compute = compute,
                        .all = compute + map->server};
    int rc;

    map->cpu_count = kofn_cpus_count(&map->cpus);
    map->core_count = count_cores(topology, &map->cpus);
    rc = list_homes(&plan);
    if (rc)
        goto free_homes;
    if (map->server)
        place_poll(&plan);
    if (compute > 0)
        rc = place_compute(&plan);

free_homes:
    free(plan.homes);
    return rc;
}
