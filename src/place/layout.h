/* layout.h: the part of kofn_place_choose() that picks CPUs. Internal to src/place/. */
#ifndef KOFN_PLACE_LAYOUT_H
#define KOFN_PLACE_LAYOUT_H

#include "place/place.h"

/* Fills poll, poll_cpus and compute[] of @map, and its counts, from what kofn_place_choose() has
 * set: cpus, which is not empty, workers, threads, server, and a compute[] of that size. Returns 0
 * or KOFN_NO_MEMORY (logged).
 */
int kofn__place_layout(const struct kofn_topology *topology,
                       const struct kofn_place_request *request, const struct kofn_log *log,
                       struct kofn_place_map *map);

#endif
