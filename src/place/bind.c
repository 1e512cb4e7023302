/* Applying a map to threads. The kernel is asked directly: a map holds numbers of CPUs, and so no
 * topology has to be kept, or loaded again by every forked worker.
 */
#include "place/bind.h"

#include <errno.h>
#include <stdio.h>

/* Binds the calling thread to @cpus; -1 and errno if it is refused. */
static int bind_to(const struct kofn_cpus *cpus, kofn__setaffinity *setaffinity)
{
    size_t bytes = CPU_ALLOC_SIZE(KOFN_CPUS_MAX);
    cpu_set_t *mask = CPU_ALLOC(KOFN_CPUS_MAX);
    int rc, error;

    if (!mask)
        return -1; /* errno says ENOMEM */
    CPU_ZERO_S(bytes, mask);
    for (int cpu = kofn_cpus_next(cpus, -1); cpu >= 0; cpu = kofn_cpus_next(cpus, cpu))
        CPU_SET_S((size_t)cpu, bytes, mask);
    rc = setaffinity(0, bytes, mask);
    error = errno;
    CPU_FREE(mask);
    errno = error;
    return rc;
}

static void describe(struct kofn_place_who who, char *buffer, size_t size)
{
    if (who.worker < 0)
        snprintf(buffer, size, "the server");
    else if (who.thread < 0)
        snprintf(buffer, size, "worker %d", who.worker);
    else
        snprintf(buffer, size, "thread %d of worker %d", who.thread, who.worker);
}

/* Warns of the refusal in errno, unless that was done for this map. */
static void warn_refused(struct kofn_place_map *map, const char *what, const struct kofn_cpus *cpus,
                         const struct kofn_log *log)
{
    char text[KOFN_CPUS_TEXT_BYTES];
    int error = errno;

    if (__atomic_exchange_n(&map->refused, 1, __ATOMIC_RELAXED))
        return;
    kofn_cpus_format(cpus, text, sizeof(text));
    errno = error;
    kofn_log(log, KOFN_LOG_WARN,
             "place: cannot bind %s to CPUs %s: %m; going on unbound, so times will vary", what,
             text);
}

int kofn__place_bind_with(struct kofn_place_map *map, struct kofn_place_who who,
                          const struct kofn_log *log, kofn__setaffinity *setaffinity)
{
    struct kofn_cpus cpus;
    char what[64];

    describe(who, what, sizeof(what));
    if (kofn_place_cpus(map, who, &cpus))
        return kofn_error(log, KOFN_INVALID, "place: %s is not in the map of %u workers%s", what,
                          map->workers, map->server ? " and a server" : "");
    if (bind_to(&cpus, setaffinity))
        warn_refused(map, what, &cpus, log);
    return 0;
}

void kofn__place_probe_with(struct kofn_place_map *map, const struct kofn_log *log,
                            kofn__setaffinity *setaffinity)
{
    struct kofn_cpus now;

    /* where the mask cannot even be read that has been said, and binding will say the rest */
    if (kofn_cpus_of_thread(log, &now) == 0 && bind_to(&now, setaffinity))
        warn_refused(map, "threads", &now, log);
}

int kofn_place_bind_thread(struct kofn_place_map *map, struct kofn_place_who who,
                           const struct kofn_log *log)
{
    return kofn__place_bind_with(map, who, log, sched_setaffinity);
}

void kofn_place_probe(struct kofn_place_map *map, const struct kofn_log *log)
{
    kofn__place_probe_with(map, log, sched_setaffinity);
}
