#include "place/layout.h"

#include <stdlib.h>

struct kofn_cpus kofn__place_one_per_core(const struct kofn_topology *topology,
                                          const struct kofn_cpus *set)
{
    struct kofn_cpus first = {{0}}, seen = {{0}};

    for (int cpu = kofn_cpus_next(set, -1); cpu >= 0; cpu = kofn_cpus_next(set, cpu)) {
        int core = kofn_topology_core(topology, cpu);

        if (kofn_cpus_has(&seen, core))
            continue;
        if (core >= 0)
            kofn_cpus_add(&seen, core); /* core numbers are in the range of CPU numbers */
        kofn_cpus_add(&first, cpu);
    }
    return first;
}

static unsigned count_cores(const struct kofn_topology *topology, const struct kofn_cpus *set)
{
    struct kofn_cpus first = kofn__place_one_per_core(topology, set);

    return kofn_cpus_count(&first);
}

/* The home of @node, made if there is none yet; NULL without memory. */
static struct kofn__home *find_home(struct kofn__plan *plan, int node)
{
    struct kofn__home *homes;

    for (unsigned i = 0; i < plan->home_count; i++)
        if (plan->homes[i].node == node)
            return &plan->homes[i];
    homes = realloc(plan->homes, (plan->home_count + 1) * sizeof(*homes));
    if (!homes)
        return NULL;
    plan->homes = homes;
    homes[plan->home_count] = (struct kofn__home){.node = node};
    return &homes[plan->home_count++];
}

static int list_homes(struct kofn__plan *plan)
{
    struct kofn_place_map *map = plan->map;

    for (int cpu = kofn_cpus_next(&map->cpus, -1); cpu >= 0;
         cpu = kofn_cpus_next(&map->cpus, cpu)) {
        struct kofn__home *home = find_home(plan, kofn_topology_node(plan->topology, cpu));

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
static struct kofn_cpus near_nic(const struct kofn__plan *plan)
{
    const struct kofn_cpus *cpus = &plan->map->cpus;
    const char *nic = plan->nic;
    struct kofn_cpus near, usable;
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
    usable = kofn_cpus_both(&near, cpus);
    if (kofn_cpus_count(&usable) > 0)
        return usable;
    kofn_log(plan->log, KOFN_LOG_WARN,
             "place: %.64s is near CPUs %s, which may not be used; the server is far from it", nic,
             kofn_cpus_format(&near, text, sizeof(text)));
    return *cpus;
}

/* How many workers fit on single nodes if the server takes a core of @server's. */
static unsigned whole_workers(const struct kofn__plan *plan, const struct kofn__home *server)
{
    unsigned whole = 0;

    for (const struct kofn__home *home = plan->homes; home < plan->homes + plan->home_count; home++)
        whole += (home->cores - (home == server)) / plan->map->threads;
    return whole;
}

/* The node the server disturbs least among those with CPUs in @near: the one that leaves room for
 * most workers, then the one with most cores.
 */
static struct kofn__home *choose_poll_home(const struct kofn__plan *plan,
                                           const struct kofn_cpus *near)
{
    struct kofn__home *best = NULL;
    unsigned best_whole = 0;

    for (struct kofn__home *home = plan->homes; home < plan->homes + plan->home_count; home++) {
        struct kofn_cpus both = kofn_cpus_both(&home->cpus, near);
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

struct kofn_place kofn__place_of(const struct kofn_topology *topology, int cpu)
{
    return (struct kofn_place){cpu, kofn_topology_core(topology, cpu),
                               kofn_topology_node(topology, cpu)};
}

/* The server's place: the first CPU of the first core in @near and in its home. */
static void place_poll(struct kofn__plan *plan)
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
    candidates = kofn_cpus_both(&plan->poll_home->cpus, &near);
    for (int cpu = kofn_cpus_next(&candidates, -1); cpu >= 0;
         cpu = kofn_cpus_next(&candidates, cpu)) {
        struct kofn_place place = kofn__place_of(plan->topology, cpu);

        if (best.cpu < 0 || place.core < best.core)
            best = place;
    }
    map->poll = best;
    kofn_cpus_add(&map->poll_cpus, best.cpu);
}

int kofn__place_layout(const struct kofn_topology *topology,
                       const struct kofn_place_request *request, const struct kofn_log *log,
                       struct kofn_place_map *map)
{
    unsigned compute = map->workers * map->threads;
    struct kofn__plan plan = {.topology = topology,
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
        rc = kofn__place_compute(&plan);

free_homes:
    free(plan.homes);
    return rc;
}
