/* A worker's end of the shared-memory transport. */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/backoff.h"
#include "base/barrier.h"
#include "base/log.h"
#include "proto/wire.h"
#include "transports/shm/futex.h"
#include "transports/shm/internal.h"
#include "transports/shm/shm.h"

struct shm_endpoint {
    struct kofn_endpoint endpoint;
    struct kofn__shm_head *head;
    struct kofn__shm_bell *bell;
    const struct kofn__shm_block *block;
    void *models; /* read-only */
    struct kofn_backoff backoff;
    uint32_t rings; /* of the block, as of the end of the last wait */
    struct kofn_memory memories[SHM_FDS];
};

static struct shm_endpoint *shm_endpoint(struct kofn_endpoint *endpoint)
{
    return (struct shm_endpoint *)endpoint;
}

void kofn__shm_endpoint_close(struct kofn_endpoint *base)
{
    struct shm_endpoint *endpoint = shm_endpoint(base);

    for (int i = 0; i < SHM_FDS; i++)
        kofn_memory_unmap(&endpoint->memories[i]);
    free(endpoint);
}

/* Judges a hub's offer; fills @content. */
static int accept_offer(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                        struct kofn__shm_offer *content)
{
    if (kofn__shm_offer_get(in, SHM_FDS, content))
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "shm: rank %u: the server's offer is not one of shared memory",
                          attr->rank);
    if (content->rank != attr->rank || content->epoch != attr->epoch || !content->workers ||
        content->workers > KOFN_WORKERS_MAX || content->rank >= content->workers)
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "shm: rank %u: the server's offer is for rank %u of %u", attr->rank,
                          content->rank, content->workers);
    if (content->slot_payload != attr->slot.payload_bytes ||
        content->slot_depth != attr->slot.depth ||
        content->model_payload != attr->model.payload_bytes ||
        content->model_depth != attr->model.depth)
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "shm: rank %u: the server's offer is for updates of %llu bytes",
                          attr->rank, (unsigned long long)content->slot_payload);
    return 0;
}

/* Maps what the four descriptors stand for; kofn_memory_map_fd() sees to it that each is long
 * enough and stays so.
 */
static int map_memories(struct shm_endpoint *endpoint, const int *fds,
                        const struct kofn__shm_layout *layout)
{
    const struct {
        uint64_t bytes;
        int prot;
    } parts[SHM_FDS] = {
        [SHM_FD_WORKER] = {layout->worker_bytes, PROT_READ | PROT_WRITE},
        [SHM_FD_BLOCK] = {sizeof(struct kofn__shm_block), PROT_READ},
        [SHM_FD_MODELS] = {endpoint->endpoint.model.slot_bytes, PROT_READ},
        [SHM_FD_BELL] = {sizeof(struct kofn__shm_bell), PROT_READ | PROT_WRITE},
    };
    int rc = 0;

    for (int i = 0; !rc && i < SHM_FDS; i++)
        rc = kofn_memory_map_fd(&endpoint->memories[i], fds[i], parts[i].bytes, 0, parts[i].prot,
                                NULL, endpoint->endpoint.log);
    return rc;
}

/* Points into the memories, and has their pages made before the first round needs them. */
static int settle(struct shm_endpoint *endpoint, const struct kofn__shm_layout *layout)
{
    struct kofn_endpoint *base = &endpoint->endpoint;
    char *own = endpoint->memories[SHM_FD_WORKER].address;

    endpoint->head = (void *)(own + kofn__shm_head_offset(layout, base->rank));
    endpoint->bell = endpoint->memories[SHM_FD_BELL].address;
    endpoint->block = endpoint->memories[SHM_FD_BLOCK].address;
    endpoint->models = endpoint->memories[SHM_FD_MODELS].address;
    base->block = &endpoint->block->block;
    base->buffers = own + kofn__shm_slot_offset(layout, base->rank);
    if (kofn__shm_populate(endpoint->head, sizeof(*endpoint->head), true) ||
        kofn__shm_populate(base->buffers, base->slot.slot_bytes, true) ||
        kofn__shm_populate(endpoint->models, base->model.slot_bytes, false))
        return kofn_error(base->log, KOFN_NO_MEMORY, "shm: rank %u: %llu bytes for its updates",
                          base->rank, (unsigned long long)base->slot.slot_bytes);
    return 0;
}

int kofn__shm_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                            struct kofn_offer *out, struct kofn_endpoint **endpoint_p)
{
    struct kofn__shm_layout layout;
    struct kofn__shm_offer content;
    struct shm_endpoint *endpoint;
    int rc;

    rc = accept_offer(attr, in, &content);
    if (rc)
        goto close_offer;
    endpoint = calloc(1, sizeof(*endpoint));
    if (!endpoint) {
        rc = kofn_error(attr->log, KOFN_NO_MEMORY, "shm: rank %u: an endpoint", attr->rank);
        goto close_offer;
    }
    endpoint->endpoint = (struct kofn_endpoint){.ops = &kofn_shm,
                                                .log = attr->log,
                                                .slot = attr->slot,
                                                .model = attr->model,
                                                .rank = attr->rank,
                                                .epoch = attr->epoch};
    kofn_backoff_init(&endpoint->backoff, attr->spin, 0);
    kofn__shm_layout_init(&layout, content.workers, &attr->slot);
    rc = map_memories(endpoint, in->fds, &layout);
    rc = rc ? rc : settle(endpoint, &layout);
    if (rc) {
        kofn__shm_endpoint_close(&endpoint->endpoint);
        goto close_offer;
    }
    kofn__shm_offer_put(out, &content);
    *endpoint_p = &endpoint->endpoint;

close_offer:
    kofn_offer_close(in);
    return rc;
}

/* Wakes the hub if it sleeps, or is about to, and this is what it waits for. */
static inline void ring(struct shm_endpoint *endpoint, bool publication)
{
    uint32_t sleeping;

    kofn_sleeper_barrier();
    sleeping = kofn_peer_load32(&endpoint->bell->sleeping);
    if (KOFN_LIKELY(sleeping == SHM_AWAKE))
        return;
    if (sleeping == SHM_SLEEPS_PATIENTLY &&
        (!publication || __atomic_sub_fetch(&endpoint->bell->missing, 1, __ATOMIC_SEQ_CST) > 0))
        return;
    __atomic_fetch_add(&endpoint->bell->rings, 1, __ATOMIC_RELEASE);
    kofn__futex_wake(&endpoint->bell->rings);
}

void *kofn__shm_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    return kofn_slot_withdraw(&endpoint->slot, endpoint->buffers, sequence);
}

int kofn__shm_endpoint_publish(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp)
{
    kofn_slot_publish(&endpoint->slot, endpoint->buffers, stamp);
    ring(shm_endpoint(endpoint), true);
    return 0;
}

/* What is published is where it belongs: it leaves at once. */
int kofn__shm_endpoint_left(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    (void)endpoint;
    (void)sequence;
    return 0;
}

int kofn__shm_endpoint_beat(struct kofn_endpoint *base, uint64_t beat)
{
    struct shm_endpoint *endpoint = shm_endpoint(base);

    kofn_peer_store64(&endpoint->head->beat, beat);
    ring(endpoint, false);
    return 0;
}

int kofn__shm_endpoint_view(struct kofn_endpoint *base, const void **model,
                            struct kofn_stamp *stamp)
{
    struct shm_endpoint *endpoint = shm_endpoint(base);
    uint64_t sequence = kofn_slot_newest(&base->model, endpoint->models);

    if (!sequence || kofn_slot_begin(&base->model, endpoint->models, sequence, model, stamp))
        return KOFN_AGAIN;
    return kofn_slot_end(&base->model, endpoint->models, sequence) ? KOFN_AGAIN : 0;
}

/* Has the gate changed, or anything been written since the last wait? */
static inline bool news(struct shm_endpoint *endpoint, uint64_t seen)
{
    return kofn_peer_load64(&endpoint->block->block.gate) != seen ||
           kofn_peer_load32(&endpoint->block->rings) != endpoint->rings;
}

/* The flag is set, then the gate looked at once more: whoever writes it later sees the flag. */
static int sleep_on_rings(struct shm_endpoint *endpoint, uint64_t seen, uint64_t deadline)
{
    int rc = 0;

    kofn_peer_store32(&endpoint->head->sleeping, 1);
    kofn_sleeper_barrier();
    if (!news(endpoint, seen))
        rc = kofn__futex_wait(&endpoint->block->rings, endpoint->rings, deadline);
    kofn_peer_store32(&endpoint->head->sleeping, 0);
    return rc;
}

int kofn__shm_endpoint_wait(struct kofn_endpoint *base, uint64_t seen, uint64_t deadline)
{
    struct shm_endpoint *endpoint = shm_endpoint(base);
    uint64_t now;
    int rc = 0;

    if (news(endpoint, seen))
        goto out;
    now = kofn_now_ns();
    if (now >= deadline)
        return 0;
    kofn_backoff_begin(&endpoint->backoff, now, deadline);
    while (kofn_backoff_step(&endpoint->backoff) != KOFN_BACKOFF_SLEEP)
        if (news(endpoint, seen))
            goto out;
    rc = sleep_on_rings(endpoint, seen, deadline);
out:
    endpoint->rings = kofn_peer_load32(&endpoint->block->rings);
    return rc;
}
