/* A worker's end of the verbs transport: its life and its waits. */
#include "transports/verbs/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/wire.h"
#include "transports/verbs/errors.h"
#include "transports/verbs/verbs.h"

#define BATCH 16
#define WORDS 32u /* requests of the lane for words */
#define WAKES 8u  /* receive requests: what wakes us is one at a time */
#define DATA_SPARE 6u
#define SLEEP_NS (10 * KOFN_NS_PER_MS) /* then overdue acknowledgements are looked after */
#define LINGER_NS (400 * KOFN_NS_PER_MS)
#define PROBE_NS (5 * KOFN_NS_PER_MS)

static void upkeep(struct kofn__verbs_endpoint *endpoint, uint64_t now);

/* What was published last may still be on its way; without its queue pair it would never arrive. */
static void linger(struct kofn__verbs_endpoint *endpoint)
{
    const struct kofn__verbs_lane *lane = &endpoint->lanes[KOFN__VERBS_DATA];
    uint64_t now = kofn_now_ns(), deadline = now + LINGER_NS;

    while (lane->qp && !endpoint->failed && lane->posted != lane->done && now < deadline) {
        upkeep(endpoint, now);
        sched_yield();
        now = kofn_now_ns();
    }
}

void kofn__verbs_endpoint_close(struct kofn_endpoint *base)
{
    struct kofn__verbs_endpoint *endpoint = kofn__verbs_endpoint(base);

    kofn__verbs_call_stop(&endpoint->call);
    linger(endpoint);
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++)
        kofn__verbs_lane_close(&endpoint->lanes[i]);
    kofn__verbs_call_end(&endpoint->call);
    for (int i = 0; i < KOFN__VERBS_MEMORIES; i++)
        if (endpoint->regions[i])
            ibv_dereg_mr(endpoint->regions[i]);
    if (endpoint->receive)
        ibv_destroy_cq(endpoint->receive);
    if (endpoint->send)
        ibv_destroy_cq(endpoint->send);
    if (endpoint->channel)
        ibv_destroy_comp_channel(endpoint->channel);
    kofn__verbs_port_close(&endpoint->port);
    kofn_memory_unmap(&endpoint->buffers);
    kofn_memory_unmap(&endpoint->models);
    kofn_memory_unmap(&endpoint->block_memory);
    free(endpoint);
}

/* Judges a hub's offer; fills @offer. */
static int accept_offer(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                        struct kofn__verbs_offer *offer)
{
    if (kofn__verbs_offer_get(in, true, offer))
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "verbs: rank %u: the server's offer is not one of verbs", attr->rank);
    if (offer->rank != attr->rank || offer->epoch != attr->epoch || !offer->workers ||
        offer->workers > KOFN_WORKERS_MAX || offer->rank >= offer->workers)
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "verbs: rank %u: the server's offer is for rank %u of %u", attr->rank,
                          offer->rank, offer->workers);
    if (offer->slot_payload != attr->slot.payload_bytes || offer->slot_depth != attr->slot.depth ||
        offer->model_payload != attr->model.payload_bytes ||
        offer->model_depth != attr->model.depth)
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "verbs: rank %u: the server's offer is for updates of %llu bytes",
                          attr->rank, (unsigned long long)offer->slot_payload);
    if (offer->mode > KOFN__VERBS_POLL || offer->connect > KOFN__VERBS_RDMACM)
        return kofn_error(attr->log, KOFN_UNSUPPORTED,
                          "verbs: rank %u: the server wants a mode that is not known here",
                          attr->rank);
    return 0;
}

static int map_memory(struct kofn__verbs_endpoint *endpoint)
{
    struct kofn_endpoint *base = &endpoint->endpoint;
    const struct {
        struct kofn_memory *memory;
        const char *what;
        uint64_t bytes;
        unsigned access;
    } parts[KOFN__VERBS_MEMORIES] = {
        [KOFN__VERBS_BLOCK] = {&endpoint->block_memory, "gates", sizeof(*endpoint->block),
                               IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE},
        [KOFN__VERBS_MODELS] = {&endpoint->models, "models", base->model.slot_bytes,
                                IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE},
        [KOFN__VERBS_BUFFERS] = {&endpoint->buffers, "updates", base->slot.slot_bytes,
                                 IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ},
    };

    for (int i = 0; i < KOFN__VERBS_MEMORIES; i++) {
        int rc = kofn_memory_map(parts[i].memory, parts[i].bytes, 0, base->log);

        if (rc)
            return rc;
        if (endpoint->port.numa_node >= 0)
            kofn_memory_prefer(parts[i].memory->address, parts[i].memory->bytes,
                               endpoint->port.numa_node);
        endpoint->regions[i] =
            kofn__verbs_register(&endpoint->port, parts[i].what, parts[i].memory->address,
                                 parts[i].bytes, parts[i].access);
        if (!endpoint->regions[i])
            return KOFN_NO_MEMORY;
    }
    endpoint->block = endpoint->block_memory.address;
    base->block = &endpoint->block->block;
    base->buffers = endpoint->buffers.address;
    return 0;
}

static int post_receives(struct kofn__verbs_endpoint *endpoint, uint32_t count)
{
    struct ibv_recv_wr wr = {0}, *bad;

    while (count--)
        if (ibv_post_recv(endpoint->lanes[KOFN__VERBS_WORDS].qp, &wr, &bad))
            return kofn_error(endpoint->endpoint.log, KOFN_SYSTEM,
                              "verbs: %s: the receive queue is too short", endpoint->port.name);
    return 0;
}

static int open_queues(struct kofn__verbs_endpoint *endpoint)
{
    uint32_t depths[KOFN__VERBS_PAIRS] = {kofn__verbs_publish_requests(endpoint) + DATA_SPARE,
                                          WORDS};
    struct kofn__verbs_queues queues;
    int rc = 0;

    endpoint->channel = ibv_create_comp_channel(endpoint->port.context);
    if (!endpoint->channel)
        return kofn_error_errno(endpoint->endpoint.log, "verbs: %s: completion channel",
                                endpoint->port.name);
    fcntl(endpoint->channel->fd, F_SETFL, fcntl(endpoint->channel->fd, F_GETFL) | O_NONBLOCK);
    endpoint->send =
        ibv_create_cq(endpoint->port.context, (int)(depths[0] + depths[1]), NULL, NULL, 0);
    endpoint->receive =
        ibv_create_cq(endpoint->port.context, 2 * WAKES, NULL, endpoint->channel, 0);
    if (!endpoint->send || !endpoint->receive)
        return kofn_error_errno(endpoint->endpoint.log, "verbs: %s: completion queues",
                                endpoint->port.name);
    queues = (struct kofn__verbs_queues){
        .send = endpoint->send, .receive = endpoint->receive, .receives = WAKES};
    for (uint32_t i = 0; !rc && i < KOFN__VERBS_PAIRS; i++) {
        queues.sends = depths[i];
        rc = kofn__verbs_lane_open(&endpoint->lanes[i], &endpoint->port, &queues, i);
    }
    return rc;
}

static void fill_answer(struct kofn__verbs_endpoint *endpoint, struct kofn__verbs_offer *answer)
{
    *answer = endpoint->offer;
    kofn__verbs_end_fill(&answer->end, &endpoint->port, endpoint->lanes);
    memset(answer->address, 0, sizeof(answer->address));
    answer->port = 0;
    answer->nonce = 0;
    for (int i = 0; i < KOFN__VERBS_MEMORIES; i++)
        answer->memories[i] = (struct kofn__verbs_memory){
            .address = (uintptr_t)endpoint->regions[i]->addr, .key = endpoint->regions[i]->rkey};
}

/* From here on the hub may write; it will, once it has the answer. */
static int connect_hub(struct kofn__verbs_endpoint *endpoint, struct kofn__verbs_offer *answer,
                       uint64_t deadline)
{
    const char *why = "";
    int rc;

    if (!kofn__verbs_end_valid(&endpoint->offer.end, &endpoint->port, &why))
        return kofn_error(endpoint->endpoint.log, KOFN_PROTOCOL, "verbs: rank %u: the server: %s",
                          endpoint->endpoint.rank, why);
    fill_answer(endpoint, answer);
    if (endpoint->offer.connect == KOFN__VERBS_RDMACM)
        rc = kofn__verbs_call(endpoint, &answer->end, deadline);
    else
        rc = kofn__verbs_connect(&endpoint->port, endpoint->lanes, &answer->end,
                                 &endpoint->offer.end, KOFN__VERBS_HUB_ACCESS,
                                 endpoint->endpoint.rank);
    return rc ? rc : post_receives(endpoint, WAKES);
}

static int open_all(struct kofn__verbs_endpoint *endpoint, const struct kofn_endpoint_attr *attr,
                    struct kofn__verbs_offer *answer)
{
    struct kofn__verbs_options options;
    int rc = kofn__verbs_options_read(&options, attr->options, attr->log);

    rc = rc ? rc
            : kofn__verbs_port_open(&endpoint->port, &options, attr->path.local, attr->peer_timeout,
                                    attr->log);
    rc = rc ? rc : kofn__verbs_publish_check(endpoint);
    rc = rc ? rc : map_memory(endpoint);
    rc = rc ? rc : open_queues(endpoint);
    return rc ? rc : connect_hub(endpoint, answer, attr->deadline);
}

int kofn__verbs_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                              struct kofn_offer *out, struct kofn_endpoint **endpoint_p)
{
    struct kofn__verbs_offer offer, answer;
    struct kofn__verbs_endpoint *endpoint;
    int rc;

    kofn_offer_close(in);
    rc = accept_offer(attr, in, &offer);
    if (rc)
        return rc;
    endpoint = calloc(1, sizeof(*endpoint));
    if (!endpoint)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "verbs: rank %u: an endpoint", attr->rank);
    endpoint->endpoint = (struct kofn_endpoint){.ops = &kofn_verbs,
                                                .log = attr->log,
                                                .server = attr->server ? attr->server : "unknown",
                                                .slot = attr->slot,
                                                .model = attr->model,
                                                .rank = attr->rank,
                                                .epoch = attr->epoch};
    endpoint->offer = offer;
    endpoint->endpoint.counters = endpoint->port.counters;
    kofn_backoff_init(&endpoint->backoff, attr->spin, 0);
    rc = open_all(endpoint, attr, &answer);
    if (rc) {
        kofn__verbs_endpoint_close(&endpoint->endpoint);
        return rc;
    }
    kofn__verbs_offer_put(out, &answer, false);
    *endpoint_p = &endpoint->endpoint;
    return 0;
}

/* ---- completions ---- */

static int fail(struct kofn__verbs_endpoint *endpoint, const char *why)
{
    char text[KOFN__VERBS_GID_TEXT];
    union ibv_gid gid;

    if (endpoint->failed)
        return KOFN_GONE;
    endpoint->failed = true;
    memcpy(gid.raw, endpoint->offer.end.gid, sizeof(gid.raw));
    return kofn_error(endpoint->endpoint.log, KOFN_GONE,
                      "verbs: %s: rank %u: to the server (%s; GID %s, QP 0x%x): %s",
                      endpoint->port.name, endpoint->endpoint.rank, endpoint->endpoint.server,
                      kofn__verbs_gid_print(&gid, text), endpoint->offer.end.qpn[0], why);
}

int kofn__verbs_endpoint_fail(struct kofn__verbs_endpoint *endpoint, enum ibv_wc_status status,
                              uint32_t vendor)
{
    char why[KOFN__VERBS_FAILURE_TEXT];

    return fail(endpoint, kofn__verbs_failure_text(&endpoint->port, status, vendor, why));
}

/* One of the two queue pairs, of which there are no others here. */
static void broken(void *arg, uint32_t qpn, const char *why)
{
    (void)qpn;
    fail(arg, why);
}

void kofn__verbs_endpoint_sent(struct kofn__verbs_endpoint *endpoint)
{
    struct ibv_wc completions[BATCH];
    int count;

    do {
        count = ibv_poll_cq(endpoint->send, BATCH, completions);
        for (int i = 0; i < count; i++) {
            const struct ibv_wc *wc = &completions[i];

            if (wc->status != IBV_WC_SUCCESS)
                kofn__verbs_endpoint_fail(endpoint, wc->status, wc->vendor_err);
            else
                kofn__verbs_lane_complete(&endpoint->lanes[wc->wr_id >> 32], wc->wr_id);
        }
    } while (count == BATCH);
}

/* Whatever comes in has woken us: the hub takes us for awake. */
static void take_receives(struct kofn__verbs_endpoint *endpoint)
{
    struct ibv_wc completions[BATCH];
    int count = ibv_poll_cq(endpoint->receive, BATCH, completions);

    for (int i = 0; i < count; i++)
        if (completions[i].status != IBV_WC_SUCCESS)
            kofn__verbs_endpoint_fail(endpoint, completions[i].status, completions[i].vendor_err);
    if (count > 0 && !endpoint->failed) {
        endpoint->asleep = false;
        post_receives(endpoint, (uint32_t)count);
    }
}

void kofn__verbs_endpoint_progress(struct kofn__verbs_endpoint *endpoint)
{
    kofn__verbs_endpoint_sent(endpoint);
    take_receives(endpoint);
}

/* Now and then: events of the device, and acknowledgements that are overdue. */
static void upkeep(struct kofn__verbs_endpoint *endpoint, uint64_t now)
{
    struct kofn__verbs_memory beat = endpoint->offer.memories[KOFN__VERBS_BEAT];

    kofn__verbs_endpoint_progress(endpoint);
    kofn__verbs_beat_flush(endpoint);
    if (endpoint->failed || now - endpoint->probe_ns < PROBE_NS)
        return;
    endpoint->probe_ns = now;
    if (kofn__verbs_port_events(&endpoint->port, broken, endpoint))
        kofn__verbs_endpoint_fail(endpoint, IBV_WC_FATAL_ERR, 0);
    for (int i = 0; !endpoint->failed && i < KOFN__VERBS_PAIRS; i++)
        kofn__verbs_lane_probe(&endpoint->lanes[i], beat.address, beat.key, now);
}

/* ---- waiting ---- */

/* Has the gate changed, or anything been written since the last wait? */
static bool news(const struct kofn__verbs_endpoint *endpoint, uint64_t seen)
{
    const struct kofn__verbs_line *line = kofn__verbs_line(endpoint);
    uint64_t state = kofn_peer_load64(&line->state);

    return kofn_peer_load64(&line->gate) != seen || endpoint->failed ||
           (kofn_word_whole(state) && kofn__verbs_state_count(state) != endpoint->count);
}

/* Takes the events of the channel, so that it can be slept on again. */
static void take_events(struct kofn__verbs_endpoint *endpoint)
{
    struct ibv_cq *queue;
    void *context;

    while (!ibv_get_cq_event(endpoint->channel, &queue, &context))
        ibv_ack_cq_events(queue, 1);
}

/* Tells the hub what we have seen, unless it knows that we sleep: it wakes us for all else. */
static int sleep_on_channel(struct kofn__verbs_endpoint *endpoint, uint64_t seen, uint64_t deadline)
{
    struct pollfd ready[] = {{.fd = endpoint->channel->fd, .events = POLLIN},
                             {.fd = endpoint->port.context->async_fd, .events = POLLIN}};
    uint64_t now = kofn_now_ns(), span;
    struct timespec left;
    int rc;

    if (ibv_req_notify_cq(endpoint->receive, 1))
        return 0;
    upkeep(endpoint, now);
    if (!endpoint->asleep &&
        !kofn__verbs_note_send(endpoint,
                               kofn__verbs_note(KOFN__VERBS_NOTE_ASLEEP, endpoint->count)))
        endpoint->asleep = true;
    if (news(endpoint, seen) || now >= deadline)
        return 0;
    span = KOFN_MIN(deadline - now, SLEEP_NS);
    left = (struct timespec){.tv_sec = (time_t)(span / KOFN_NS_PER_S),
                             .tv_nsec = (long)(span % KOFN_NS_PER_S)};
    rc = ppoll(ready, KOFN_ARRAY_SIZE(ready), &left, NULL);
    if (rc < 0 && errno == EINTR)
        return KOFN_INTERRUPTED;
    if (ready[0].revents)
        take_events(endpoint);
    upkeep(endpoint, kofn_now_ns());
    return 0;
}

int kofn__verbs_endpoint_wait(struct kofn_endpoint *base, uint64_t seen, uint64_t deadline)
{
    struct kofn__verbs_endpoint *endpoint = kofn__verbs_endpoint(base);
    uint64_t now, state;
    int rc = 0;

    if (kofn__verbs_endpoint_gone(endpoint))
        return KOFN_GONE;
    kofn__verbs_beat_flush(endpoint);
    if (news(endpoint, seen))
        goto out;
    now = kofn_now_ns();
    if (now >= deadline) {
        upkeep(endpoint, now);
        goto out;
    }
    kofn_backoff_begin(&endpoint->backoff, now, deadline);
    while (kofn_backoff_step(&endpoint->backoff) != KOFN_BACKOFF_SLEEP)
        if (news(endpoint, seen))
            goto out;
    rc = sleep_on_channel(endpoint, seen, deadline);
out:
    kofn__verbs_endpoint_progress(endpoint);
    state = kofn_peer_load64(&kofn__verbs_line(endpoint)->state);
    if (kofn_word_whole(state))
        endpoint->count = kofn__verbs_state_count(state);
    return rc ? rc : endpoint->failed ? KOFN_GONE : 0;
}
