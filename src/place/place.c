#include "place/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "place/layout.h"

static int check_request(const struct kofn_place_request *request, unsigned threads,
                         const struct kofn_log *log)
{
    if (request->workers == 0 && !request->server)
        return kofn_error(log, KOFN_INVALID, "place: no worker and no server to place");
    if (request->workers > KOFN_PLACE_WORKERS_MAX ||
        (uint64_t)request->workers * threads > KOFN_PLACE_THREADS_MAX)
        return kofn_error(log, KOFN_INVALID,
                          "place: %u workers of %u threads are too many for one host (limits: %d "
                          "workers, %d threads)",
                          request->workers, threads, KOFN_PLACE_WORKERS_MAX,
                          KOFN_PLACE_THREADS_MAX);
    return 0;
}

/* The CPUs a map may use. */
static int choose_cpus(const struct kofn_topology *topology, const struct kofn_cpus *within,
                       const struct kofn_log *log, struct kofn_cpus *cpus)
{
    const struct kofn_cpus *allowed = kofn_topology_allowed(topology);
    char asked[KOFN_CPUS_TEXT_BYTES / 2], have[KOFN_CPUS_TEXT_BYTES / 2];

    *cpus = within ? kofn_cpus_both(allowed, within) : *allowed;
    if (kofn_cpus_count(cpus) > 0)
        return 0;
    return kofn_error(log, KOFN_INVALID, "place: CPUs %s were asked for, and %s may be used",
                      kofn_cpus_format(within, asked, sizeof(asked)),
                      kofn_cpus_format(allowed, have, sizeof(have)));
}

static const char *plural(unsigned count)
{
    return count == 1 ? "" : "s";
}

/* Says why nobody may spin, in map->spin_why; false if somebody may. */
static bool spin_is_forbidden(const struct kofn_place_request *request, unsigned threads,
                              struct kofn_place_map *map)
{
    const struct kofn_cpu_quota *quota = &request->quota;
    char *why = map->spin_why;
    size_t size = sizeof(map->spin_why);

    if (request->spin == KOFN_SPIN_NO)
        snprintf(why, size, "not wanted");
    else if (map->cpu_count < threads)
        snprintf(why, size, "%u CPU%s for %u threads", map->cpu_count, plural(map->cpu_count),
                 threads);
    else if (kofn_cpu_quota_exceeded(quota, threads))
        snprintf(why, size, "cgroup %s %.0f%% for %u thread%s", quota->file,
                 100.0 * (double)quota->quota_us / (double)quota->period_us, threads,
                 plural(threads));
    else if (request->spin == KOFN_SPIN_AUTO && map->core_count < threads)
        snprintf(why, size, "%u core%s (%u CPUs) for %u threads", map->core_count,
                 plural(map->core_count), map->cpu_count, threads);
    else
        return false;
    return true;
}

static void judge_spinning(const struct kofn_place_request *request, const struct kofn_log *log,
                           struct kofn_place_map *map)
{
    unsigned threads = map->workers * map->threads + map->server;
    bool wanted = request->spin == KOFN_SPIN_YES;

    map->spin_ok = !spin_is_forbidden(request, threads, map);
    if (map->spin_ok) {
        map->spin_ns = wanted ? KOFN_FOREVER : KOFN_SPIN_BUDGET_NS;
        snprintf(map->spin_why, sizeof(map->spin_why), "every thread has a %s",
                 map->core_count < threads ? "CPU" : "core");
    } else if (wanted) {
        kofn_log(log, KOFN_LOG_WARN, "place: nobody will spin, though it was asked for: %s",
                 map->spin_why);
    }
}

int kofn_place_choose(const struct kofn_topology *topology,
                      const struct kofn_place_request *request, const struct kofn_log *log,
                      struct kofn_place_map *map)
{
    struct kofn_place_map chosen = {.workers = request->workers,
                                    .threads = request->threads ? request->threads : 1,
                                    .server = request->server,
                                    .poll = {-1, -1, -1}};
    size_t compute;
    int rc;

    rc = check_request(request, chosen.threads, log);
    if (!rc)
        rc = choose_cpus(topology, request->within, log, &chosen.cpus);
    if (rc)
        return rc;

    compute = (size_t)chosen.workers * chosen.threads;
    if (compute > 0) {
        chosen.compute = calloc(compute, sizeof(*chosen.compute));
        if (!chosen.compute)
            return kofn_error(log, KOFN_NO_MEMORY, "place: no memory for %zu threads", compute);
    }
    rc = kofn__place_layout(topology, request, log, &chosen);
    if (rc)
        goto free_chosen;
    judge_spinning(request, log, &chosen);
    *map = chosen;
    return 0;

free_chosen:
    kofn_place_free(&chosen);
    return rc;
}

void kofn_place_free(struct kofn_place_map *map)
{
    free(map->compute);
    map->compute = NULL;
}

/* The compute threads of @who: [*first_p, *end_p) of map->compute. False if @who is not a worker of
 * the map. */
static bool find_threads(const struct kofn_place_map *map, struct kofn_place_who who,
                         size_t *first_p, size_t *end_p)
{
    if (who.worker < 0 || (unsigned)who.worker >= map->workers || who.thread < -1 ||
        (who.thread >= 0 && (unsigned)who.thread >= map->threads))
        return false;
    *first_p = (size_t)who.worker * map->threads;
    *end_p = *first_p + map->threads;
    if (who.thread >= 0) {
        *first_p += (size_t)who.thread;
        *end_p = *first_p + 1;
    }
    return true;
}

static bool is_server(const struct kofn_place_map *map, struct kofn_place_who who)
{
    return map->server && who.worker == -1 && who.thread == -1;
}

int kofn_place_cpus(const struct kofn_place_map *map, struct kofn_place_who who,
                    struct kofn_cpus *cpus)
{
    struct kofn_cpus found = {{0}};
    size_t first, end;

    if (is_server(map, who)) {
        *cpus = map->poll_cpus;
        return 0;
    }
    if (!find_threads(map, who, &first, &end))
        return KOFN_INVALID;
    for (size_t i = first; i < end; i++) {
        if (map->compute[i].cpu < 0) {
            *cpus = map->cpus; /* all are bound, or none */
            return 0;
        }
        kofn_cpus_add(&found, map->compute[i].cpu);
    }
    *cpus = found;
    return 0;
}

int kofn_place_node(const struct kofn_place_map *map, struct kofn_place_who who, int *node_p)
{
    size_t first, end;
    int node;

    if (is_server(map, who)) {
        *node_p = map->poll.node;
        return 0;
    }
    if (!find_threads(map, who, &first, &end))
        return KOFN_INVALID;
    node = map->compute[first].node;
    for (size_t i = first; i < end; i++)
        if (map->compute[i].node != node)
            node = -1;
    *node_p = node;
    return 0;
}
