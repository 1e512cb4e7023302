/* bind.h: kofn_place_bind_thread() with the system call as an argument, so that a refusal can be
 * tested on a kernel that refuses nothing. Internal to src/place/.
 */
#ifndef KOFN_PLACE_BIND_H
#define KOFN_PLACE_BIND_H

#include <sched.h>

#include "place/place.h"

/* sched_setaffinity() or what stands in for it: 0, or -1 and errno. */
typedef int kofn__setaffinity(pid_t thread, size_t bytes, const cpu_set_t *mask);

int kofn__place_bind_with(struct kofn_place_map *map, struct kofn_place_who who,
                          const struct kofn_log *log, kofn__setaffinity *setaffinity);
void kofn__place_probe_with(struct kofn_place_map *map, const struct kofn_log *log,
                            kofn__setaffinity *setaffinity);

#endif
