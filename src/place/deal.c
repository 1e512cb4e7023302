/* The workers' share of a map: dealt to memory nodes, and there to cores. */
#include <stdlib.h>

#include "place/layout.h"

/* The CPUs for compute threads: at least as many as there are of these, each to be used once. One
 * of each core where that is enough.
 */
static struct kofn_cpus compute_pool(const struct kofn__plan *plan)
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
    first = kofn__place_one_per_core(plan->topology, &pool);
    return plan->compute <= kofn_cpus_count(&first) ? first : pool;
}

/* Would one more worker fill @a less than @b? The server's node comes first among equals: one
 * worker alone should be near its server.
 */
static bool emptier(const struct kofn__plan *plan, const struct kofn__home *a,
                    const struct kofn__home *b)
{
    uint64_t load_a = (uint64_t)(a->workers + 1) * b->cores;
    uint64_t load_b = (uint64_t)(b->workers + 1) * a->cores;

    return load_a < load_b || (load_a == load_b && a == plan->poll_home);
}

/* Deals the workers to nodes that have room for all their threads, evenly. Returns false if not all
 * fit. */
static bool deal_workers(struct kofn__plan *plan, const struct kofn_cpus *pool)
{
    const struct kofn__home *end = plan->homes + plan->home_count;

    for (struct kofn__home *home = plan->homes; home < end; home++) {
        struct kofn_cpus own = kofn_cpus_both(&home->cpus, pool);

        home->free = kofn_cpus_count(&own);
    }
    for (unsigned worker = 0; worker < plan->map->workers; worker++) {
        struct kofn__home *best = NULL;

        for (struct kofn__home *home = plan->homes; home < end; home++)
            if (home->free >= plan->map->threads && (!best || emptier(plan, home, best)))
                best = home;
        if (!best)
            return false;
        best->workers++;
        best->free -= plan->map->threads;
    }
    return true;
}

static int by_position(const void *left, const void *right)
{
    const struct kofn_place *a = left, *b = right;

    return a->core != b->core ? (a->core > b->core) - (a->core < b->core)
                              : (a->cpu > b->cpu) - (a->cpu < b->cpu);
}

/* Picks @count CPUs of @set, in order of position, for threads that are side by side in @place.
 *
 * hwloc spreads by the number of hyper-threads, so a core that has more of them left than its
 * neighbours would get two threads before they get one. So it is asked a layer at a time: one CPU
 * of each core, and another one only when all have theirs.
 */
static int pick(const struct kofn__plan *plan, const struct kofn_cpus *set, unsigned count,
                struct kofn_place *place)
{
    struct kofn_cpus left = *set;
    unsigned picked = 0;
    int *cpu, rc = 0;

    if (count == 0)
        return 0;
    cpu = malloc(count * sizeof(*cpu));
    if (!cpu)
        return kofn_error(plan->log, KOFN_NO_MEMORY, "place: no memory for %u threads", count);
    while (picked < count && !rc) {
        struct kofn_cpus layer = kofn__place_one_per_core(plan->topology, &left);
        unsigned take = KOFN_MIN(kofn_cpus_count(&layer), count - picked);

        rc = kofn_topology_spread(plan->topology, &layer, take, plan->log, cpu + picked);
        kofn_cpus_minus(&left, &layer);
        picked += take;
    }
    for (unsigned i = 0; i < count && !rc; i++)
        place[i] = kofn__place_of(plan->topology, cpu[i]);
    if (place[0].core >= 0) /* else there is one layer, and hwloc knows the order better */
        qsort(place, count, sizeof(*place), by_position);
    free(cpu);
    return rc;
}

int kofn__place_compute(struct kofn__plan *plan)
{
    struct kofn_place *place = plan->map->compute;
    struct kofn_cpus pool;
    int rc = 0;

    if (plan->all > plan->map->cpu_count) {
        int node = plan->home_count == 1 ? plan->homes[0].node : -1;

        for (unsigned i = 0; i < plan->compute; i++)
            place[i] = (struct kofn_place){-1, -1, node};
        return 0;
    }
    pool = compute_pool(plan);
    if (!deal_workers(plan, &pool))
        return pick(plan, &pool, plan->compute, place);
    for (unsigned i = 0; i < plan->home_count && !rc; i++) {
        struct kofn_cpus own = kofn_cpus_both(&plan->homes[i].cpus, &pool);
        unsigned count = plan->homes[i].workers * plan->map->threads;

        rc = pick(plan, &own, count, place);
        place += count;
    }
    return rc;
}
