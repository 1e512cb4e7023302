/* layout.h: the part of kofn_place_choose() that picks CPUs: layout.c for the server, deal.c for
 * the workers. Internal to src/place/.
 */
#ifndef KOFN_PLACE_LAYOUT_H
#define KOFN_PLACE_LAYOUT_H

#include "place/place.h"

/* A memory node with CPUs that may be used. */
struct kofn__home {
    int node;              /* -1: the CPUs whose node is not known */
    struct kofn_cpus cpus; /* those that may be used */
    unsigned cores;        /* of them */
    unsigned workers;      /* dealt to it */
    unsigned free;         /* CPUs that are left for workers */
};

/* A map in the making. */
struct kofn__plan {
    const struct kofn_topology *topology;
    const char *nic; /* NULL = none */
    const struct kofn_log *log;
    struct kofn_place_map *map;
    unsigned compute; /* compute threads of all workers */
    unsigned all;     /* with the server's */
    struct kofn__home *homes;
    unsigned home_count;
    struct kofn__home *poll_home; /* NULL without a server */
};

/* Fills poll, poll_cpus and compute[] of @map, and its counts, from what kofn_place_choose() has
 * set: cpus, which is not empty, workers, threads, server, and a compute[] of that size. Returns 0
 * or KOFN_NO_MEMORY (logged).
 */
int kofn__place_layout(const struct kofn_topology *topology,
                       const struct kofn_place_request *request, const struct kofn_log *log,
                       struct kofn_place_map *map);

/* Fills compute[]; the server has been placed. Returns 0 or KOFN_NO_MEMORY (logged). */
int kofn__place_compute(struct kofn__plan *plan);

/* One CPU of each core that has any in @set. */
struct kofn_cpus kofn__place_one_per_core(const struct kofn_topology *topology,
                                          const struct kofn_cpus *set);

struct kofn_place kofn__place_of(const struct kofn_topology *topology, int cpu);

#endif
