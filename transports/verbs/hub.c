/* The hub of the verbs transport: its life, its waits, and the table of the transport. */
#include "transports/verbs/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/beats.h"
#include "proto/wire.h"
#include "transports/verbs/describe.h"
#include "transports/verbs/endpoint.h"
#include "transports/verbs/verbs.h"

#define COLOUR                                                                                     \
    128u /* bytes between slots: lines of many slots are not to meet in one cache set              \
          */
#define OWNER_PAGES 4096u
#define NOTES 8u                      /* of a worker, that may come in between two looks */
#define SLEEP_NS (5 * KOFN_NS_PER_MS) /* at most, where a write may come that wakes nobody */

static void close_queues(struct kofn__verbs_hub *hub)
{
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++)
        if (hub->shared[i])
            ibv_destroy_srq(hub->shared[i]);
    if (hub->receive)
        ibv_destroy_cq(hub->receive);
    if (hub->send)
        ibv_destroy_cq(hub->send);
    if (hub->channel)
        ibv_destroy_comp_channel(hub->channel);
}

static void close_memory(struct kofn__verbs_hub *hub)
{
    kofn__verbs_push_close(hub);
    if (hub->models_region)
        ibv_dereg_mr(hub->models_region);
    if (hub->shadows_region)
        ibv_dereg_mr(hub->shadows_region);
    kofn_memory_unmap(&hub->slots);
    kofn_memory_unmap(&hub->beats);
    kofn_memory_unmap(&hub->models);
    kofn_memory_unmap(&hub->shadows);
}

static void hub_close(struct kofn_hub *base)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);

    for (uint32_t rank = 0; hub->members && rank < base->workers; rank++)
        if (hub->members[rank].place != KOFN__VERBS_FREE)
            kofn__verbs_member_close(hub, rank);
    kofn__verbs_listen_end(hub);
    close_queues(hub);
    if (hub->port.context)
        close_memory(hub);
    kofn__verbs_port_close(&hub->port);
    kofn_inbox_fini(&hub->inbox);
    for (uint32_t i = 0; hub->owners && i < OWNER_PAGES; i++)
        free(hub->owners[i]);
    free(hub->owners);
    free(hub->ring);
    free(hub->changed);
    free(hub->seen);
    free(hub->members);
    free(hub);
}

static int check(const struct kofn_hub_attr *attr)
{
    if (!attr->workers || attr->workers > KOFN_WORKERS_MAX)
        return kofn_error(attr->log, KOFN_INVALID, "verbs: %u workers: must be 1 to %u",
                          attr->workers, KOFN_WORKERS_MAX);
    return 0;
}

/* Can this device do what the mode needs? */
static int check_mode(struct kofn__verbs_hub *hub)
{
    uint64_t message = hub->hub.slot.buffer_bytes;

    hub->mode = (enum kofn__verbs_mode)hub->port.options.mode;
    if (hub->pull)
        return 0; /* nothing is sent that would have to be noticed */
    if (hub->mode == KOFN__VERBS_ATOMIC && hub->port.limits.atomic_cap == IBV_ATOMIC_NONE)
        return kofn_error(hub->hub.log, KOFN_UNSUPPORTED,
                          "verbs: %s has no atomic operations: use mode=imm", hub->port.name);
    if (hub->mode != KOFN__VERBS_POLL)
        return 0;
    if (hub->port.options.relaxed)
        return kofn_error(
            hub->hub.log, KOFN_INVALID,
            "verbs: mode=poll and relaxed=yes exclude each other: what is polled must "
            "be written in order");
    if (message > hub->port.attr.max_msg_sz)
        return kofn_error(hub->hub.log, KOFN_INVALID,
                          "verbs: %s: mode=poll needs one message for an update, and %llu bytes "
                          "are more than the port can send in one (%u): use mode=imm",
                          hub->port.name, (unsigned long long)message, hub->port.attr.max_msg_sz);
    return 0;
}

static int allocate(struct kofn__verbs_hub *hub)
{
    uint32_t workers = hub->hub.workers, ring = 2;

    while (ring < workers * hub->hub.slot.depth)
        ring *= 2;
    hub->ring_mask = ring - 1;
    hub->members = calloc(workers, sizeof(*hub->members));
    hub->seen = calloc(workers, sizeof(*hub->seen));
    hub->changed = calloc(workers, sizeof(*hub->changed));
    hub->ring = calloc(ring, sizeof(*hub->ring));
    hub->owners = calloc(OWNER_PAGES, sizeof(*hub->owners));
    if (!hub->members || !hub->seen || !hub->changed || !hub->ring || !hub->owners)
        return kofn_error(hub->hub.log, KOFN_NO_MEMORY, "verbs: a hub of %u workers", workers);
    return 0;
}

static void place_memory(struct kofn__verbs_hub *hub, const struct kofn_hub_attr *attr)
{
    int node = attr->numa_node >= 0 ? attr->numa_node : hub->port.numa_node;
    struct kofn_memory *memories[] = {&hub->slots, &hub->beats, &hub->models, &hub->shadows};

    for (size_t i = 0; node >= 0 && i < KOFN_ARRAY_SIZE(memories); i++)
        if (kofn_memory_prefer(memories[i]->address, memories[i]->bytes, node))
            kofn_log(hub->hub.log, KOFN_LOG_WARN,
                     "verbs: cannot place memory on node %d; going on without", node);
}

static int map_memory(struct kofn__verbs_hub *hub, const struct kofn_hub_attr *attr)
{
    const struct kofn_log *log = hub->hub.log;
    uint64_t stride = attr->slot.slot_bytes + COLOUR;
    int rc;

    rc = kofn_memory_map(&hub->slots, attr->workers * stride, 0, log);
    rc = rc ? rc : kofn_memory_map(&hub->beats, attr->workers * sizeof(uint64_t), 0, log);
    rc = rc ? rc : kofn_memory_map(&hub->models, attr->model.slot_bytes, 0, log);
    rc = rc ? rc
            : kofn_memory_map(&hub->shadows, attr->workers * sizeof(struct kofn__verbs_shadow), 0,
                              log);
    if (rc)
        return rc;
    place_memory(hub, attr);
    hub->hub.slots = hub->slots.address;
    hub->hub.slot_stride = stride;
    hub->hub.beats = hub->beats.address;
    hub->hub.beat_stride = sizeof(uint64_t);
    hub->hub.models = hub->models.address;
    hub->models_region =
        kofn__verbs_register(&hub->port, "models", hub->models.address, attr->model.slot_bytes, 0);
    hub->shadows_region = kofn__verbs_register(&hub->port, "gates", hub->shadows.address,
                                               hub->shadows.bytes, IBV_ACCESS_LOCAL_WRITE);
    if (!hub->models_region || !hub->shadows_region)
        return KOFN_NO_MEMORY;
    rc = kofn_inbox_init(&hub->inbox, attr->workers, &attr->slot, hub->hub.slots, stride);
    hub->inbox.once = hub->pull;
    return rc ? kofn_error(log, rc, "verbs: an inbox of %u workers", attr->workers) : 0;
}

static struct ibv_cq *make_cq(struct kofn__verbs_hub *hub, uint64_t entries,
                              struct ibv_comp_channel *channel)
{
    int most = hub->port.limits.max_cqe;
    struct ibv_cq *queue = NULL;

    if (entries <= (uint64_t)most)
        queue = ibv_create_cq(hub->port.context, (int)entries, NULL, channel, 0);
    else
        errno = ENOSPC;
    if (!queue)
        kofn_error_errno(hub->hub.log,
                         "verbs: %s: a completion queue of %llu entries for %u workers (the device "
                         "has at most %d)",
                         hub->port.name, (unsigned long long)entries, hub->hub.workers, most);
    return queue;
}

/* Completion queues hold whatever could complete, failed or not; the receive queues whatever could
 * come in: all credits together, and what workers note.
 */
static int open_queues(struct kofn__verbs_hub *hub)
{
    uint64_t workers = hub->hub.workers;
    uint64_t depths[KOFN__VERBS_PAIRS] = {workers * (hub->hub.slot.depth + 1) + NOTES,
                                          workers * NOTES + NOTES};
    uint64_t sends = workers * (kofn__verbs_push_requests(hub) + kofn__verbs_read_requests(hub) +
                                NOTES + kofn__verbs_words_depth(hub->hub.workers));

    hub->channel = ibv_create_comp_channel(hub->port.context);
    if (!hub->channel)
        return kofn_error_errno(hub->hub.log, "verbs: %s: completion channel", hub->port.name);
    fcntl(hub->channel->fd, F_SETFL, fcntl(hub->channel->fd, F_GETFL) | O_NONBLOCK);
    hub->receive = make_cq(hub, depths[0] + depths[1], hub->channel);
    hub->send = hub->receive ? make_cq(hub, sends, hub->channel) : NULL;
    if (!hub->send)
        return KOFN_SYSTEM;
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++) {
        struct ibv_srq_init_attr attr = {.attr = {.max_wr = (uint32_t)depths[i], .max_sge = 1}};

        hub->shared[i] = ibv_create_srq(hub->port.pd, &attr);
        if (!hub->shared[i])
            return kofn_error_errno(hub->hub.log, "verbs: %s: a receive queue of %llu requests",
                                    hub->port.name, (unsigned long long)depths[i]);
        hub->owed[i] = (uint32_t)depths[i];
    }
    if (kofn__verbs_hub_replenish(hub))
        return kofn_error(hub->hub.log, KOFN_SYSTEM, "verbs: %s: the receive queue is too short",
                          hub->port.name);
    return 0;
}

static int hub_open(const struct kofn_hub_attr *attr, struct kofn_hub **hub_p)
{
    struct kofn__verbs_options options;
    struct kofn__verbs_hub *hub;
    int rc = check(attr);

    rc = rc ? rc : kofn__verbs_options_read(&options, attr->options, attr->log);
    if (rc)
        return rc;
    hub = calloc(1, sizeof(*hub));
    if (!hub)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "verbs: a hub");
    hub->hub = (struct kofn_hub){.ops = &kofn_verbs,
                                 .log = attr->log,
                                 .slot = attr->slot,
                                 .model = attr->model,
                                 .workers = attr->workers};
    hub->pull = attr->pull;
    hub->credits_with_round = attr->credits_with_round;
    kofn_backoff_init(&hub->backoff, attr->spin, 0);
    rc = kofn__verbs_port_open(&hub->port, &options, attr->bind, attr->peer_timeout, attr->log);
    hub->hub.counters = hub->port.counters;
    rc = rc ? rc : check_mode(hub);
    rc = rc ? rc : allocate(hub);
    rc = rc ? rc : map_memory(hub, attr);
    rc = rc ? rc : open_queues(hub);
    rc = rc ? rc : kofn__verbs_listen(hub, attr->bind);
    if (rc) {
        hub_close(&hub->hub);
        return rc;
    }
    *hub_p = &hub->hub;
    return 0;
}

/* ---- waiting ---- */

/* Has anything come since the last wait? A beat counts as new until a wait has seen it,
 * publications until they are collected. */
static bool news(struct kofn__verbs_hub *hub)
{
    uint32_t beats = 0;

    if (!hub->hub.patience)
        beats = kofn_beats_scan(hub->hub.beats, hub->hub.beat_stride, hub->seen, hub->hub.workers,
                                hub->changed, hub->hub.workers);
    return beats > 0 || kofn__verbs_hub_any(hub);
}

static bool look(struct kofn__verbs_hub *hub)
{
    kofn__verbs_hub_progress(hub);
    return news(hub);
}

/* Takes the events of the channel, so that it can be slept on again. */
static void take_events(struct kofn__verbs_hub *hub)
{
    struct ibv_cq *queue;
    void *context;

    while (!ibv_get_cq_event(hub->channel, &queue, &context))
        ibv_ack_cq_events(queue, 1);
}

/* What a sleeping hub is to be woken for by an immediate because nothing else does it. */
static uint32_t needs(const struct kofn__verbs_hub *hub)
{
    return (hub->hub.patience ? 0 : KOFN__VERBS_WAKE_BEATS) |
           (hub->mode == KOFN__VERBS_IMM || hub->pull ? 0 : KOFN__VERBS_WAKE_PUBLICATIONS);
}

/* Asks for events, looks once more, sleeps: until one comes, but no longer than may go unnoticed
 * what brings none.
 */
static int sleep_on_channel(struct kofn__verbs_hub *hub, uint64_t deadline)
{
    struct pollfd ready[] = {{.fd = hub->channel->fd, .events = POLLIN},
                             {.fd = hub->port.context->async_fd, .events = POLLIN}};
    uint64_t now = kofn_now_ns(), span;
    struct timespec left;
    int rc;

    if (hub->wants != needs(hub))
        kofn__verbs_words_want(hub, needs(hub));
    if (ibv_req_notify_cq(hub->receive, 1) || (hub->busy && ibv_req_notify_cq(hub->send, 0)) ||
        look(hub) || now >= deadline)
        return 0;
    span = KOFN_MIN(deadline - now, needs(hub) ? SLEEP_NS : 4 * SLEEP_NS);
    left = (struct timespec){.tv_sec = (time_t)(span / KOFN_NS_PER_S),
                             .tv_nsec = (long)(span % KOFN_NS_PER_S)};
    rc = ppoll(ready, KOFN_ARRAY_SIZE(ready), &left, NULL);
    if (rc < 0 && errno == EINTR)
        return KOFN_INTERRUPTED;
    if (ready[0].revents)
        take_events(hub);
    look(hub); /* the caller will see what woke us: the next wait is not to return for it */
    return 0;
}

static int hub_wait(struct kofn_hub *base, uint64_t deadline)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    uint64_t now;

    if (look(hub))
        return 0;
    now = kofn_now_ns();
    if (now >= deadline)
        return 0;
    kofn_backoff_begin(&hub->backoff, now, deadline);
    while (kofn_backoff_step(&hub->backoff) != KOFN_BACKOFF_SLEEP)
        if (look(hub))
            return 0;
    return sleep_on_channel(hub, deadline);
}

const struct kofn_transport_ops kofn_verbs = {
    .size = sizeof(kofn_verbs),
    .name = "verbs",
    .summary = "RDMA between hosts (InfiniBand, RoCE)",
    .capabilities = KOFN_CAP_READ,
    .describe = kofn__verbs_describe,
    .hub_open = hub_open,
    .hub_close = hub_close,
    .hub_admit = kofn__verbs_hub_admit,
    .hub_connect = kofn__verbs_hub_connect,
    .hub_evict = kofn__verbs_hub_evict,
    .hub_reclaim = kofn__verbs_hub_reclaim,
    .hub_poll = kofn__verbs_hub_poll,
    .hub_gate = kofn__verbs_hub_gate,
    .hub_receipt = kofn__verbs_hub_receipt,
    .hub_push = kofn__verbs_hub_push,
    .hub_read = kofn__verbs_hub_read,
    .hub_wait = hub_wait,
    .endpoint_open = kofn__verbs_endpoint_open,
    .endpoint_close = kofn__verbs_endpoint_close,
    .endpoint_buffer = kofn__verbs_endpoint_buffer,
    .endpoint_publish = kofn__verbs_endpoint_publish,
    .endpoint_keep = kofn_keep_in_buffer,
    .endpoint_left = kofn__verbs_endpoint_left,
    .endpoint_beat = kofn__verbs_endpoint_beat,
    .endpoint_fetch = kofn_fetch_from_view,
    .endpoint_view = kofn__verbs_endpoint_view,
    .endpoint_register = kofn_nosys_endpoint_register,
    .endpoint_wait = kofn__verbs_endpoint_wait,
};
