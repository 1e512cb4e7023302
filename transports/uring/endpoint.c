/* A worker's end of the transport over TCP: its life, and what its owner calls. */
#include "transports/uring/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/wire.h"
#include "transports/uring/options.h"
#include "transports/uring/socket.h"
#include "transports/uring/uring.h"

#define PEER_NS (30 * KOFN_NS_PER_S)    /* default of attr.peer_timeout */
#define CLOSE_NS (250 * KOFN_NS_PER_MS) /* an endpoint that closes waits at most so long, twice */
#define FETCH_NS KOFN_NS_PER_MS         /* a fetch waits so long for a model that is on its way */

/* ---- its life ---- */

/* Judges a hub's offer; fills @content. */
static int accept_offer(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                        struct kofn__tcp_offer *content)
{
    if (kofn__offer_get(in, content))
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "tcp: rank %u: the server's offer is not one of TCP", attr->rank);
    if (content->rank != attr->rank || content->epoch != attr->epoch || !content->workers ||
        content->workers > KOFN_WORKERS_MAX || content->rank >= content->workers ||
        content->port > UINT16_MAX)
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "tcp: rank %u: the server's offer is for rank %u of %u", attr->rank,
                          content->rank, content->workers);
    if (content->slot_payload != attr->slot.payload_bytes ||
        content->slot_depth != attr->slot.depth ||
        content->model_payload != attr->model.payload_bytes ||
        content->model_depth != attr->model.depth)
        return kofn_error(attr->log, KOFN_PROTOCOL,
                          "tcp: rank %u: the server's offer is for updates of %llu bytes",
                          attr->rank, (unsigned long long)content->slot_payload);
    return 0;
}

/* Where the server is: where it says itself, or else where its control channel is. An address that
 * is good on a link alone needs to be told on which: that of the interface that was asked for, or
 * of the control channel.
 */
static int host_of(const struct kofn__tcp_endpoint *endpoint, const struct kofn_endpoint_attr *attr,
                   const struct kofn__tcp_offer *content, char host[2 * KOFN_HOST_BYTES])
{
    const char *interface = endpoint->options.interface, *scope = strchr(attr->path.peer, '%');
    const char *given = *content->host ? content->host : attr->path.peer;
    char own[KOFN_HOST_BYTES];

    snprintf(host, 2 * KOFN_HOST_BYTES, "%s", *given ? given : "127.0.0.1");
    if (!kofn_interface_link_local(host) || strchr(host, '%'))
        return 0;
    if (*interface && !kofn_interface_find(interface, KOFN_INTERFACE_LINK, own, sizeof(own)))
        scope = strchr(own, '%');
    if (!scope)
        return kofn_error(attr->log, KOFN_INVALID,
                          "tcp: rank %u: %s is the server's on one link: say on which "
                          "(--interface)",
                          attr->rank, host);
    snprintf(host + strlen(host), KOFN_HOST_BYTES, "%s", scope);
    return 0;
}

/* Connects one link, and says whose it is. */
static int connect_link(struct kofn__tcp_endpoint *endpoint, const struct kofn_endpoint_attr *attr,
                        const struct kofn__tcp_offer *content, enum kofn__link link)
{
    struct kofn__frame_rules rules = {.payload = link == kofn__payload_link(endpoint),
                                      .epoch = attr->epoch,
                                      .payload_bytes = attr->model.payload_bytes};
    struct kofn__greeting greeting = kofn__greeting_make(content, link);
    struct kofn__stream *stream = &endpoint->streams[link];
    uint64_t deadline =
        attr->deadline ? attr->deadline : kofn_deadline(kofn_now_ns(), endpoint->peer_timeout);
    char host[2 * KOFN_HOST_BYTES];
    int rc = host_of(endpoint, attr, content, host);

    rc = rc ? rc
            : kofn__socket_connect(host, (uint16_t)content->port, endpoint->options.interface,
                                   deadline, &stream->fd, attr->log);
    if (rc)
        return rc;
    kofn__socket_tune(stream->fd, endpoint->peer_timeout);
    kofn__socket_congestion(stream->fd, endpoint->options.congestion);
    if (link == LINK_PAYLOAD)
        kofn__zero_copy_start(&stream->zero, stream->fd, endpoint->options.zero_copy);
    rc = kofn__socket_send_all(stream->fd, &greeting, sizeof(greeting), deadline);
    if (rc)
        return kofn_error(attr->log, rc, "tcp: rank %u: the server hung up", attr->rank);
    rc = kofn__stream_start(stream, &endpoint->driver, &rules);
    return rc ? kofn_error(attr->log, rc, "tcp: rank %u: its socket cannot be watched", attr->rank)
              : 0;
}

static int connect_links(struct kofn__tcp_endpoint *endpoint, const struct kofn_endpoint_attr *attr,
                         const struct kofn__tcp_offer *content)
{
    int rc = 0;

    kofn__driver_enter(&endpoint->driver);
    for (int link = 0; link < endpoint->links && !rc; link++)
        rc = connect_link(endpoint, attr, content, (enum kofn__link)link);
    kofn__driver_leave(&endpoint->driver);
    return rc;
}

static int map_memory(struct kofn__tcp_endpoint *endpoint)
{
    struct kofn_endpoint *base = &endpoint->endpoint;
    int rc =
        kofn_memory_map(&endpoint->buffers, base->slot.slot_bytes, KOFN_MEMORY_POPULATE, base->log);

    rc = rc ? rc
            : kofn_memory_map(&endpoint->models, base->model.slot_bytes, KOFN_MEMORY_POPULATE,
                              base->log);
    base->buffers = endpoint->buffers.address;
    return rc;
}

static void init(struct kofn__tcp_endpoint *endpoint, const struct kofn_endpoint_attr *attr)
{
    memset(endpoint, 0, sizeof(*endpoint));
    endpoint->endpoint = (struct kofn_endpoint){.ops = &kofn_tcp,
                                                .log = attr->log,
                                                .server = attr->server ? attr->server : "unknown",
                                                .slot = attr->slot,
                                                .model = attr->model,
                                                .rank = attr->rank,
                                                .epoch = attr->epoch,
                                                .block = &endpoint->block};
    endpoint->links = kofn__links(attr->slot.payload_bytes, attr->model.payload_bytes);
    endpoint->peer_timeout = attr->peer_timeout ? attr->peer_timeout : PEER_NS;
    for (uint32_t link = 0; link < LINKS; link++)
        kofn__stream_init(&endpoint->streams[link], link, link == LINK_CONTROL);
}

static void release(struct kofn__tcp_endpoint *endpoint)
{
    if (endpoint->driver.guard) {
        kofn__driver_stop(&endpoint->driver);
        for (int link = 0; link < LINKS; link++)
            kofn__stream_close(&endpoint->streams[link], &endpoint->driver);
        kofn__driver_close(&endpoint->driver);
    }
    kofn_memory_unmap(&endpoint->models);
    kofn_memory_unmap(&endpoint->buffers);
    free(endpoint);
}

static int open_driver(struct kofn__tcp_endpoint *endpoint, const struct kofn_endpoint_attr *attr)
{
    struct kofn__driver_attr driver = {.sockets = LINKS,
                                       .spin = attr->spin,
                                       .sink = &kofn__endpoint_sink,
                                       .arg = endpoint,
                                       .log = attr->log};
    int rc = kofn__tcp_options_read(attr->options, &endpoint->options, attr->log);

    if (rc)
        return rc;
    driver.engine = endpoint->options.engine;
    return kofn__driver_open(&endpoint->driver, &driver);
}

int kofn__tcp_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                            struct kofn_offer *out, struct kofn_endpoint **endpoint_p)
{
    struct kofn__tcp_offer content;
    struct kofn__tcp_endpoint *endpoint;
    int rc = accept_offer(attr, in, &content);

    kofn_offer_close(in);
    if (rc)
        return rc;
    endpoint = aligned_alloc(KOFN_CACHE_LINE, kofn_round_up(sizeof(*endpoint), KOFN_CACHE_LINE));
    if (!endpoint)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "tcp: rank %u: an endpoint", attr->rank);
    init(endpoint, attr);
    rc = map_memory(endpoint);
    rc = rc ? rc : open_driver(endpoint, attr);
    rc = rc ? rc : connect_links(endpoint, attr, &content);
    if (rc) {
        release(endpoint);
        return rc;
    }
    kofn__answer_put(out, &content);
    *endpoint_p = &endpoint->endpoint;
    return 0;
}

/* Is anything left to send? */
static uint32_t unsent(void *arg)
{
    const struct kofn__tcp_endpoint *endpoint = arg;

    return !endpoint->status && (endpoint->left < endpoint->posted || endpoint->beat_due ||
                                 endpoint->streams[LINK_CONTROL].staged);
}

void kofn__tcp_endpoint_close(struct kofn_endpoint *base)
{
    struct kofn__tcp_endpoint *endpoint = kofn__tcp_endpoint(base);
    uint64_t deadline = kofn_deadline(kofn_now_ns(), CLOSE_NS);

    kofn__driver_enter(&endpoint->driver);
    kofn__driver_wait(&endpoint->driver, unsent, deadline);
    kofn__driver_leave(&endpoint->driver);
    kofn__driver_stop(&endpoint->driver);
    deadline = kofn_deadline(kofn_now_ns(), CLOSE_NS);
    for (int link = 0; link < LINKS; link++)
        if (endpoint->streams[link].fd >= 0)
            kofn__socket_drain(endpoint->streams[link].fd, deadline);
    release(endpoint);
}

/* ---- what its owner calls ---- */

/* Has the server said that it is over? Then nobody minds that its connections end. */
static bool dismissed(const struct kofn__tcp_endpoint *endpoint)
{
    struct kofn_gate gate = {0};

    return kofn_gate_unpack(kofn_peer_load64(&endpoint->block.gate), &gate) &&
           (gate.state == KOFN_GATE_END || gate.state == KOFN_GATE_EVICTED);
}

/* 0, or KOFN_GONE if nothing can be sent any more, which is said once. The lock is held. */
static int usable(struct kofn__tcp_endpoint *endpoint)
{
    if (KOFN_LIKELY(!endpoint->status) || dismissed(endpoint))
        return 0;
    if (!endpoint->logged)
        kofn_error(endpoint->endpoint.log, endpoint->status,
                   "tcp: rank %u: its connection to the server (%s) has ended: %s%s",
                   endpoint->endpoint.rank, endpoint->endpoint.server, endpoint->why,
                   endpoint->status == KOFN_PROTOCOL ? "; it is cut off" : "");
    endpoint->logged = true;
    return KOFN_GONE;
}

/* Sends on @link; what the socket does not take now leaves while the owner computes. */
static void send_away(struct kofn__tcp_endpoint *endpoint, enum kofn__link link)
{
    kofn__endpoint_send(endpoint, link);
    kofn__endpoint_look(endpoint, kofn_now_ns());
    if (endpoint->streams[link].blocked || !kofn__stream_settled(&endpoint->streams[link]))
        kofn__driver_hand_over(&endpoint->driver);
    else
        kofn__driver_glance(&endpoint->driver);
}

void *kofn__tcp_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    return kofn_slot_withdraw(&endpoint->slot, endpoint->buffers, sequence);
}

int kofn__tcp_endpoint_publish(struct kofn_endpoint *base, const struct kofn_stamp *stamp)
{
    struct kofn__tcp_endpoint *endpoint = kofn__tcp_endpoint(base);
    int rc;

    kofn__driver_enter(&endpoint->driver);
    rc = usable(endpoint);
    if (rc || endpoint->status)
        goto out; /* dismissed: it is lost, and that is all right */
    if (stamp->sequence != endpoint->posted + 1 ||
        endpoint->posted - endpoint->left >= base->slot.depth) {
        rc = KOFN_INVALID;
        goto out;
    }
    kofn_slot_publish(&base->slot, base->buffers, stamp);
    endpoint->stamps[stamp->sequence % KOFN_DEPTH_MAX] = *stamp;
    endpoint->posted = stamp->sequence;
    send_away(endpoint, kofn__payload_link(endpoint));
    rc = usable(endpoint);
out:
    kofn__driver_leave(&endpoint->driver);
    return rc;
}

int kofn__tcp_endpoint_left(struct kofn_endpoint *base, uint64_t sequence)
{
    struct kofn__tcp_endpoint *endpoint = kofn__tcp_endpoint(base);
    int rc = 0;

    kofn__driver_enter(&endpoint->driver);
    if (sequence > endpoint->left) {
        kofn__driver_glance(&endpoint->driver);
        kofn__endpoint_send(endpoint, kofn__payload_link(endpoint));
    }
    if (sequence > endpoint->left)
        rc = endpoint->status ? KOFN_GONE : KOFN_AGAIN;
    kofn__driver_leave(&endpoint->driver);
    return rc;
}

int kofn__tcp_endpoint_beat(struct kofn_endpoint *base, uint64_t beat)
{
    struct kofn__tcp_endpoint *endpoint = kofn__tcp_endpoint(base);
    int rc;

    kofn__driver_enter(&endpoint->driver);
    endpoint->beat = beat;
    endpoint->beat_due = true;
    send_away(endpoint, LINK_CONTROL);
    rc = usable(endpoint);
    kofn__driver_leave(&endpoint->driver);
    return rc;
}

/* Is a model on its way? */
static uint32_t model_coming(void *arg)
{
    const struct kofn__tcp_endpoint *endpoint = arg;

    return !endpoint->status && endpoint->asking && endpoint->model <= endpoint->fetched;
}

/* Sees to it that the newest model is here: one that has not been handed out yet, or the server has
 * said that there is none.
 */
static int have_model(struct kofn__tcp_endpoint *endpoint)
{
    kofn__driver_look(&endpoint->driver);
    if (endpoint->model > endpoint->fetched)
        return 0;
    if (!endpoint->asking && !endpoint->status) {
        endpoint->asking = endpoint->asking_due = true;
        kofn__endpoint_send(endpoint, LINK_CONTROL);
    }
    if (model_coming(endpoint))
        kofn__driver_wait(&endpoint->driver, model_coming, kofn_deadline(kofn_now_ns(), FETCH_NS));
    if (endpoint->model > endpoint->fetched)
        return 0;
    if (endpoint->status)
        return usable(endpoint) ? KOFN_GONE : KOFN_AGAIN;
    return endpoint->asking || !endpoint->model ? KOFN_AGAIN : 0;
}

/* The copy is made without the lock: another model goes to the other buffer, and the one after it
 * is seen by the stamp.
 */
int kofn__tcp_endpoint_fetch(struct kofn_endpoint *base, float *model, float *copy,
                             struct kofn_stamp *stamp)
{
    struct kofn__tcp_endpoint *endpoint = kofn__tcp_endpoint(base);
    const char *payload = NULL;
    int rc;

    kofn__driver_enter(&endpoint->driver);
    rc = have_model(endpoint);
    if (!rc) {
        payload = kofn__endpoint_model(endpoint, endpoint->model_buffer);
        memcpy(stamp, payload + base->model.stamp_offset, sizeof(*stamp));
        endpoint->fetched = endpoint->model;
    }
    kofn__driver_leave(&endpoint->driver);
    if (rc)
        return rc;
    kofn_model_copy(base, payload, model, copy);
    return kofn_model_whole(base, payload, stamp->sequence) ? 0 : KOFN_AGAIN;
}

/* Has nothing happened that ends a wait? */
static uint32_t nothing_new(void *arg)
{
    const struct kofn__tcp_endpoint *endpoint = arg;

    return endpoint->block.gate == endpoint->seen && !endpoint->receipts_changed &&
           (!endpoint->status || endpoint->woke);
}

int kofn__tcp_endpoint_wait(struct kofn_endpoint *base, uint64_t seen, uint64_t deadline)
{
    struct kofn__tcp_endpoint *endpoint = kofn__tcp_endpoint(base);
    int rc;

    kofn__driver_enter(&endpoint->driver);
    endpoint->seen = seen;
    kofn__endpoint_look(endpoint, kofn_now_ns());
    rc = kofn__driver_wait(&endpoint->driver, nothing_new, KOFN_MIN(deadline, endpoint->look_ns));
    endpoint->receipts_changed = false;
    endpoint->woke = endpoint->status != 0;
    if (!rc && endpoint->block.gate == seen)
        rc = usable(endpoint);
    kofn__driver_leave(&endpoint->driver);
    return rc;
}
