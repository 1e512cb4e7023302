/* The hub of the shared-memory transport, and the table of the transport. */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/backoff.h"
#include "base/barrier.h"
#include "base/log.h"
#include "proto/beats.h"
#include "proto/wire.h"
#include "transports/shm/futex.h"
#include "transports/shm/internal.h"
#include "transports/shm/shm.h"

static void hub_close(struct kofn_hub *base)
{
    struct kofn__shm_hub *hub = kofn__shm_hub(base);

    for (uint32_t rank = 0; hub->members && rank < base->workers; rank++)
        kofn_memory_unmap(&hub->members[rank].memory);
    kofn_memory_unmap(&hub->bell_memory);
    kofn_memory_unmap(&hub->models);
    kofn_memory_unmap(&hub->range);
    kofn_inbox_fini(&hub->inbox);
    free(hub->changed);
    free(hub->seen);
    free(hub->members);
    free(hub);
}

static int check(const struct kofn_hub_attr *attr)
{
    if (!attr->workers || attr->workers > KOFN_WORKERS_MAX)
        return kofn_error(attr->log, KOFN_INVALID, "shm: %u workers: must be 1 to %u",
                          attr->workers, KOFN_WORKERS_MAX);
    if (attr->options && *attr->options)
        return kofn_error(attr->log, KOFN_INVALID, "shm: has no option '%s'", attr->options);
    return 0;
}

/* What is not shared with anybody. */
static int allocate(struct kofn__shm_hub *hub)
{
    uint32_t workers = hub->hub.workers;
    size_t bytes = workers * sizeof(*hub->members);

    hub->seen = calloc(workers, sizeof(*hub->seen));
    hub->changed = calloc(workers, sizeof(*hub->changed));
    hub->members = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (!hub->seen || !hub->changed || !hub->members)
        return kofn_error(hub->hub.log, KOFN_NO_MEMORY, "shm: a hub of %u workers", workers);
    for (uint32_t rank = 0; rank < workers; rank++)
        hub->members[rank] = (struct kofn__shm_worker){.place = PLACE_FREE, .memory.fd = -1};
    return 0;
}

/* Addresses for the workers' memories, and what all workers share. */
static int map_memory(struct kofn__shm_hub *hub)
{
    const struct kofn_log *log = hub->hub.log;
    int rc;

    kofn__shm_layout_init(&hub->layout, hub->hub.workers, &hub->hub.slot);
    rc = kofn_memory_reserve(&hub->range, hub->hub.workers * hub->layout.worker_bytes, log);
    rc = rc ? rc : kofn__shm_blank(hub->range.address, hub->range.bytes, log);
    rc = rc ? rc
            : kofn_memory_map_shared(&hub->models, "kofn-models", hub->hub.model.slot_bytes,
                                     KOFN_MEMORY_OURS, log);
    rc = rc ? rc
            : kofn_memory_map_shared(&hub->bell_memory, "kofn-bell", sizeof(*hub->bell),
                                     KOFN_MEMORY_PLAIN | KOFN_MEMORY_POPULATE, log);
    rc = rc ? rc : kofn__shm_keep(&hub->models, log);
    rc = rc ? rc : kofn__shm_keep(&hub->bell_memory, log);
    if (rc)
        return rc;
    if (hub->numa_node >= 0 &&
        kofn_memory_prefer(hub->models.address, hub->models.bytes, hub->numa_node))
        kofn_log(log, KOFN_LOG_WARN, "shm: cannot place memory on node %d; going on without",
                 hub->numa_node);
    if (kofn__shm_populate(hub->models.address, hub->models.bytes, true))
        return kofn_error(log, KOFN_NO_MEMORY, "shm: %zu bytes for models", hub->models.bytes);
    return 0;
}

static int hub_open(const struct kofn_hub_attr *attr, struct kofn_hub **hub_p)
{
    uint32_t share = attr->workers / 8; /* a look at many takes long: the clock between fewer */
    struct kofn__shm_hub *hub;
    int rc = check(attr);

    if (rc)
        return rc;
    hub = calloc(1, sizeof(*hub));
    if (!hub)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "shm: a hub");
    hub->hub = (struct kofn_hub){.ops = &kofn_shm,
                                 .log = attr->log,
                                 .slot = attr->slot,
                                 .model = attr->model,
                                 .workers = attr->workers};
    kofn_backoff_init(&hub->backoff, attr->spin, 0);
    hub->backoff.batch = (hub->backoff.batch + share) / (1 + share);
    hub->numa_node = attr->numa_node;
    rc = allocate(hub);
    rc = rc ? rc : map_memory(hub);
    if (rc)
        goto close_hub;
    hub->bell = hub->bell_memory.address;
    hub->hub.models = hub->models.address;
    hub->hub.beats = hub->range.address;
    hub->hub.slots = (char *)hub->range.address + hub->layout.head_bytes;
    hub->hub.beat_stride = hub->hub.slot_stride = hub->layout.worker_bytes + hub->layout.colour;
    rc = kofn_inbox_init(&hub->inbox, attr->workers, &attr->slot, hub->hub.slots,
                         hub->hub.slot_stride);
    if (rc) {
        kofn_error(attr->log, rc, "shm: an inbox of %u workers", attr->workers);
        goto close_hub;
    }
    hub->inbox.once = attr->pull;
    *hub_p = &hub->hub;
    return 0;

close_hub:
    hub_close(&hub->hub);
    return rc;
}

static int hub_poll(struct kofn_hub *hub, struct kofn_arrival *arrivals, int max)
{
    return kofn_inbox_take(&kofn__shm_hub(hub)->inbox, arrivals, max);
}

/* The worker's block, or NULL if @rank is not a member. */
static struct kofn__shm_block *block_of(struct kofn_hub *hub, uint32_t rank)
{
    return rank < hub->workers ? kofn__shm_hub(hub)->members[rank].block : NULL;
}

static bool asleep(const struct kofn_hub *hub, uint32_t rank)
{
    const char *head = hub->beats + (size_t)rank * hub->beat_stride;

    return kofn_peer_load32(head + offsetof(struct kofn__shm_head, sleeping)) != 0;
}

/* The block is only ever written here, so that counting needs no atomic addition. */
static void count_ring(struct kofn__shm_block *block)
{
    kofn_peer_store32(&block->rings, block->rings + 1);
}

/* A sleeping worker looks at its gate by itself before it sleeps: only one that is past that look
 * must be told.
 */
static int hub_gate(struct kofn_hub *hub, uint32_t rank, uint64_t gate)
{
    struct kofn__shm_block *block = block_of(hub, rank);

    if (!block)
        return KOFN_INVALID;
    kofn_peer_store64(&block->block.gate, gate);
    kofn_sleeper_barrier();
    if (KOFN_UNLIKELY(asleep(hub, rank))) {
        count_ring(block);
        kofn__futex_wake(&block->rings);
    }
    return 0;
}

static int hub_receipt(struct kofn_hub *hub, uint32_t rank, const struct kofn_receipt_line *line)
{
    struct kofn__shm_block *block = block_of(hub, rank);

    if (!block)
        return KOFN_INVALID;
    kofn_block_put_receipt(&block->block, line);
    if (hub->gates_follow)
        return 0;
    count_ring(block);
    kofn_sleeper_barrier();
    if (KOFN_UNLIKELY(asleep(hub, rank)))
        kofn__futex_wake(&block->rings);
    return 0;
}

/* The slot is the worker's own memory: what it keeps is here already. */
static int hub_read(struct kofn_hub *base, uint32_t rank, uint64_t after)
{
    struct kofn__shm_hub *hub = kofn__shm_hub(base);
    uint64_t newest;

    if (!hub->inbox.once || rank >= base->workers || hub->members[rank].place != PLACE_CONNECTED)
        return KOFN_INVALID;
    newest = kofn_slot_newest(&base->slot, kofn_hub_slot(base, rank));
    if (newest <= after)
        return KOFN_AGAIN;
    kofn_inbox_expect(&hub->inbox, rank, newest);
    return 0;
}

/* The workers read hub->models where it lies. */
static int hub_push(struct kofn_hub *hub, uint32_t rank, uint64_t sequence)
{
    (void)sequence;
    return block_of(hub, rank) ? 0 : KOFN_INVALID;
}

/* Has anything come since the last wait? A beat counts as new until a wait has seen it: what the
 * caller looks at between two waits may be seen twice, and can never be missed. Publications count
 * until they are collected.
 */
static bool news(struct kofn__shm_hub *hub)
{
    uint32_t beats = 0;

    if (!hub->hub.patience)
        beats = kofn_beats_scan(hub->hub.beats, hub->hub.beat_stride, hub->seen, hub->hub.workers,
                                hub->changed, hub->hub.workers);
    return beats > 0 || kofn_inbox_any(&hub->inbox);
}

/* A worker rings if it finds the flag set after it has written; so, after setting it, one more
 * look. What a patient hub has not seen by then counts down.
 */
static int sleep_on_bell(struct kofn__shm_hub *hub, uint64_t deadline)
{
    uint32_t rings = kofn_peer_load32(&hub->bell->rings), patience = hub->hub.patience;
    int rc = 0;

    kofn_peer_store32((uint32_t *)&hub->bell->missing, patience);
    kofn_peer_store32(&hub->bell->sleeping, patience ? SHM_SLEEPS_PATIENTLY : SHM_SLEEPS);
    kofn_sleeper_barrier();
    if (!news(hub)) {
        rc = kofn__futex_wait(&hub->bell->rings, rings, deadline);
        news(hub); /* the caller will see what woke us: the next wait is not to return for it */
    }
    kofn_peer_store32(&hub->bell->sleeping, SHM_AWAKE);
    return rc;
}

static int hub_wait(struct kofn_hub *base, uint64_t deadline)
{
    struct kofn__shm_hub *hub = kofn__shm_hub(base);
    uint64_t now;

    if (news(hub))
        return 0;
    now = kofn_now_ns();
    if (now >= deadline)
        return 0;
    kofn_backoff_begin(&hub->backoff, now, deadline);
    while (kofn_backoff_step(&hub->backoff) != KOFN_BACKOFF_SLEEP)
        if (news(hub))
            return 0;
    return sleep_on_bell(hub, deadline);
}

const struct kofn_transport_ops kofn_shm = {
    .size = sizeof(kofn_shm),
    .name = "shm",
    .summary = "shared memory between processes of one host",
    .capabilities = KOFN_CAP_IN_PLACE | KOFN_CAP_SHARED_MODEL | KOFN_CAP_SAME_CLOCK |
                    KOFN_CAP_READ | KOFN_CAP_ONE_HOST,
    .hub_open = hub_open,
    .hub_close = hub_close,
    .hub_admit = kofn__shm_hub_admit,
    .hub_connect = kofn__shm_hub_connect,
    .hub_evict = kofn__shm_hub_evict,
    .hub_reclaim = kofn__shm_hub_reclaim,
    .hub_poll = hub_poll,
    .hub_gate = hub_gate,
    .hub_receipt = hub_receipt,
    .hub_push = hub_push,
    .hub_read = hub_read,
    .hub_wait = hub_wait,
    .endpoint_open = kofn__shm_endpoint_open,
    .endpoint_close = kofn__shm_endpoint_close,
    .endpoint_buffer = kofn__shm_endpoint_buffer,
    .endpoint_publish = kofn__shm_endpoint_publish,
    .endpoint_keep = kofn_keep_in_buffer,
    .endpoint_left = kofn__shm_endpoint_left,
    .endpoint_beat = kofn__shm_endpoint_beat,
    .endpoint_fetch = kofn_fetch_from_view,
    .endpoint_view = kofn__shm_endpoint_view,
    .endpoint_register = kofn_nosys_endpoint_register,
    .endpoint_wait = kofn__shm_endpoint_wait,
};
