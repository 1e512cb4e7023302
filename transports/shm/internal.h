/* internal.h: the two ends of the shared-memory transport. hub.c has the hub's life and its hot
 * functions and the table, member.c its workers' coming and going, endpoint.c the other end.
 */
#ifndef KOFN_TRANSPORTS_SHM_INTERNAL_H
#define KOFN_TRANSPORTS_SHM_INTERNAL_H

#include "base/backoff.h"
#include "base/mem.h"
#include "proto/inbox.h"
#include "transports/shm/layout.h"

enum kofn__shm_place { PLACE_FREE, PLACE_ADMITTED, PLACE_CONNECTED, PLACE_EVICTED };

/* What the hub has of one worker, on a line of its own. */
struct kofn__shm_worker {
    KOFN_LINE_ALIGNED struct kofn__shm_block *block; /* NULL unless it is a member */
    enum kofn__shm_place place;
    struct kofn_memory memory; /* the block's */
};

struct kofn__shm_hub {
    struct kofn_hub hub;
    struct kofn_inbox inbox;
    struct kofn__shm_bell *bell;
    struct kofn_backoff backoff;
    uint64_t *seen;    /* beats as of the end of the last wait, one a rank */
    uint32_t *changed; /* room for a scan */
    struct kofn__shm_worker *members;
    struct kofn__shm_layout layout;
    struct kofn_memory range; /* all workers' memories side by side */
    struct kofn_memory models, bell_memory;
    int numa_node;
};

static inline struct kofn__shm_hub *kofn__shm_hub(struct kofn_hub *hub)
{
    return (struct kofn__shm_hub *)hub;
}

/* member.c: replaces @bytes at @address by pages that read as zeros. Returns KOFN_NO_MEMORY or
 * KOFN_SYSTEM; what was there is then still there.
 */
int kofn__shm_blank(void *address, size_t bytes, const struct kofn_log *log);

/* member.c: has the pages of a mapping made now, for reading or writing, instead of at first touch.
 * KOFN_NO_MEMORY if there are none left; a kernel that cannot (before 5.14) does it later.
 */
int kofn__shm_populate(void *address, size_t bytes, bool write);

/* member.c: a process that is forked later gets no copy of this mapping. */
int kofn__shm_keep(const struct kofn_memory *memory, const struct kofn_log *log);

/* member.c, endpoint.c: their parts of the table; transport.h says what they do. */
int kofn__shm_hub_admit(struct kofn_hub *hub, uint32_t rank, uint32_t epoch,
                        struct kofn_offer *offer);
int kofn__shm_hub_connect(struct kofn_hub *hub, uint32_t rank, const struct kofn_offer *offer);
void kofn__shm_hub_evict(struct kofn_hub *hub, uint32_t rank);
int kofn__shm_hub_reclaim(struct kofn_hub *hub, uint32_t rank, bool gone);

int kofn__shm_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                            struct kofn_offer *out, struct kofn_endpoint **endpoint_p);
void kofn__shm_endpoint_close(struct kofn_endpoint *endpoint);
void *kofn__shm_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__shm_endpoint_publish(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp);
int kofn__shm_endpoint_left(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__shm_endpoint_beat(struct kofn_endpoint *endpoint, uint64_t beat);
int kofn__shm_endpoint_view(struct kofn_endpoint *base, const void **model,
                            struct kofn_stamp *stamp);
int kofn__shm_endpoint_wait(struct kofn_endpoint *endpoint, uint64_t seen, uint64_t deadline);

#endif
