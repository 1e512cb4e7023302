#include "algorithms/manners.h"

#include "algorithms/algorithm.h"

struct kofn_manners kofn_manners_make(enum kofn_payload payload, enum kofn_publish publish,
                                      uint32_t may, uint32_t told)
{
    return (struct kofn_manners){
        .gradient = payload == KOFN_PAYLOAD_GRADIENT,
        .eager = publish == KOFN_PUBLISH_EAGER,
        .keeps = publish == KOFN_PUBLISH_PULL,
        .waits = may == KOFN_WORKER_WAITS,
        .fetches = may == KOFN_WORKER_FETCHES,
        .each = may >= KOFN_WORKER_REPEATS,
        .partial = told & KOFN_MANNER_PARTIAL,
        .stale = told & KOFN_MANNER_STALE,
        .cancels = told & KOFN_MANNER_CANCELS,
        .ahead = told & KOFN_MANNER_AHEAD,
    };
}
