/* library.c: what belongs to no handle: the version, and what this machine lets a wait do. */
#include <kofn/kofn.h>

#include "place/place.h"

const char *kofn_version(void)
{
    return KOFN_VERSION;
}

uint64_t kofn_spin_budget(uint32_t threads)
{
    static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR};
    struct kofn_place_request request = {.workers = KOFN_MAX(threads, 1u)};
    struct kofn_place_map map = {0};
    struct kofn_topology *topology;
    uint64_t spin = 0;

    if (kofn_topology_open(&quiet, &topology))
        return 0;
    kofn_cpu_quota_read("", &quiet, &request.quota);
    if (!kofn_place_choose(topology, &request, &quiet, &map))
        spin = map.spin_ns;
    kofn_place_free(&map);
    kofn_topology_close(topology);
    return spin;
}
