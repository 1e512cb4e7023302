/* The two ends of a transport in two processes, and what the tests are made of. */
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "cli/perf.h"

#define NAP_NS UINT64_C(50000) /* while what has been posted leaves, where waits sleep */
#define FILLING 0x5a           /* of a payload: no page of zeros, which a kernel could share */

/* ---- hubs and endpoints ---- */

/* Of the transport's own waits; those of the tests never sleep unless they are to: see spin(). */
static uint64_t spin_of(const struct kofn_perf_conf *conf)
{
    return conf->sleeps ? 0 : KOFN_FOREVER;
}

static int shape(struct kofn_perf_link *link, const struct kofn_perf_order *order)
{
    int rc = kofn_geometry_init(&link->geometry, order->bytes, (uint32_t)order->depth);

    return rc ? kofn_error(link->conf->log, rc, "perf: %" PRIu64 " bytes in %" PRIu64 " buffers",
                           order->bytes, order->depth)
              : 0;
}

int kofn_perf_open_hub(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                       uint32_t workers)
{
    const struct kofn_perf_conf *conf = link->conf;
    const char *bind = link->channel ? link->channel->path.local : link->bind;
    struct kofn_hub_attr attr = {.workers = workers,
                                 .numa_node = -1,
                                 .spin = spin_of(conf),
                                 .bind = *bind ? bind : NULL,
                                 .options = conf->options,
                                 .log = conf->log};
    int rc = shape(link, order);

    if (rc)
        return rc;
    attr.slot = attr.model = link->geometry;
    return conf->ops->hub_open(&attr, &link->hub);
}

static void put_offer(struct kofn_wire *message, struct kofn_fds *fds,
                      const struct kofn_offer *offer)
{
    message->offer.length = offer->length;
    memcpy(message->offer.bytes, offer->bytes, offer->length);
    fds->count = offer->fd_count;
    memcpy(fds->fds, offer->fds, sizeof(int) * offer->fd_count);
}

static struct kofn_offer get_offer(const struct kofn_wire *message, const struct kofn_fds *fds)
{
    struct kofn_offer offer = {.length = message->offer.length, .fd_count = fds->count};

    memcpy(offer.bytes, message->offer.bytes, message->offer.length);
    memcpy(offer.fds, fds->fds, sizeof(offer.fds));
    return offer;
}

int kofn_perf_admit(const struct kofn_perf_link *link, uint32_t rank)
{
    const struct kofn_transport_ops *ops = link->conf->ops;
    struct kofn_wire message = {.type = KOFN_WIRE_WELCOME};
    struct kofn_offer offer;
    struct kofn_fds fds = {0};
    int rc;

    link->hub->path = link->channel->path;
    rc = ops->hub_admit(link->hub, rank, 1, &offer);
    if (rc)
        return rc;
    message.welcome.job.workers = link->hub->workers;
    message.welcome.depth = link->geometry.depth;
    put_offer(&message, &fds, &offer);
    rc = kofn_perf_send(link, &message, &fds);
    kofn_fds_close(&fds);
    fds = (struct kofn_fds){0};
    rc = rc ? rc : kofn_perf_expect(link, KOFN_WIRE_READY, link->conf->timeout, &message, &fds);
    if (rc)
        return rc;
    offer = get_offer(&message, &fds);
    rc = kofn_hub_connect(link->hub, rank, &offer);
    message = (struct kofn_wire){.type = KOFN_WIRE_GO};
    return rc ? rc : kofn_perf_send(link, &message, NULL);
}

/* Where filling a buffer is to send it, the payload is copied into it each time. */
static int take_source(struct kofn_perf_link *link)
{
    size_t bytes = link->geometry.payload_bytes;

    if (!(link->conf->ops->capabilities & KOFN_CAP_IN_PLACE))
        return 0;
    link->source = malloc(bytes);
    if (!link->source)
        return kofn_error(link->conf->log, KOFN_NO_MEMORY, "perf: %zu bytes of payload", bytes);
    memset(link->source, FILLING, bytes);
    return 0;
}

int kofn_perf_join(struct kofn_perf_link *link, const struct kofn_perf_order *order, uint32_t rank,
                   uint64_t patience)
{
    const struct kofn_perf_conf *conf = link->conf;
    struct kofn_endpoint_attr attr = {.rank = rank,
                                      .epoch = 1,
                                      .spin = spin_of(conf),
                                      .path = link->channel->path,
                                      .options = conf->options,
                                      .log = conf->log};
    struct kofn_wire message;
    struct kofn_offer offer, answer = {0};
    struct kofn_fds fds = {0};
    int rc = kofn_perf_expect(link, KOFN_WIRE_WELCOME, patience, &message, &fds);

    if (rc)
        return rc;
    offer = get_offer(&message, &fds);
    rc = shape(link, order);
    rc = rc ? rc : take_source(link);
    if (rc) {
        kofn_offer_close(&offer);
        return rc;
    }
    attr.slot = attr.model = link->geometry;
    link->released = 0;
    rc = conf->ops->endpoint_open(&attr, &offer, &answer, &link->endpoint);
    if (rc)
        return rc;
    message = (struct kofn_wire){.type = KOFN_WIRE_READY};
    put_offer(&message, &fds, &answer);
    rc = kofn_perf_send(link, &message, &fds);
    kofn_fds_close(&fds);
    return rc ? rc : kofn_perf_expect(link, KOFN_WIRE_GO, conf->timeout, &message, NULL);
}

void kofn_perf_unlink(struct kofn_perf_link *link)
{
    if (link->endpoint)
        link->conf->ops->endpoint_close(link->endpoint);
    if (link->hub)
        link->conf->ops->hub_close(link->hub);
    free(link->source);
    link->endpoint = NULL;
    link->hub = NULL;
    link->source = NULL;
}

/* ---- what the tests are made of ---- */

/* A turn of a wait that never sleeps. Now and then the core is offered to whoever else is to run on
 * it: true, a good time for what need not be done in every turn.
 */
static bool spin(uint32_t *turns)
{
    if (KOFN_LIKELY(++*turns % KOFN_BACKOFF_BATCH))
        return false;
    sched_yield();
    return true;
}

/* A wait has come back without what it is for. @began, @next: its start, and when to look at the
 * other side again; 0 = not yet. Returns what kofn_perf_overdue() does.
 */
static int look_after(const struct kofn_perf_link *link, uint64_t now, uint64_t *began,
                      uint64_t *next)
{
    if (!*began) {
        *began = now;
        *next = now + KOFN_PERF_SLICE_NS;
    }
    if (now < *next)
        return 0;
    *next = now + KOFN_PERF_SLICE_NS;
    return kofn_perf_overdue(link, *began);
}

int kofn_perf_poll(struct kofn_perf_link *link, struct kofn_arrival *arrivals, int max,
                   uint64_t deadline)
{
    const struct kofn_transport_ops *ops = link->conf->ops;
    uint32_t turns = 0;
    int count, rc = 0;

    while (!(count = ops->hub_poll(link->hub, arrivals, max))) {
        if (link->conf->sleeps)
            rc = ops->hub_wait(link->hub, deadline);
        if (rc && rc != KOFN_INTERRUPTED)
            return rc;
        if ((link->conf->sleeps || spin(&turns)) && kofn_now_ns() >= deadline)
            return 0;
    }
    return count;
}

int kofn_perf_collect(struct kofn_perf_link *link, struct kofn_arrival *arrivals, int max)
{
    uint64_t began, next;
    int count = 0, rc;

    for (int i = 0; !link->conf->sleeps && i < KOFN_BACKOFF_BATCH && !count; i++)
        count = link->conf->ops->hub_poll(link->hub, arrivals, max);
    if (count)
        return count;
    began = kofn_now_ns();
    next = began + KOFN_PERF_SLICE_NS;
    while (!(count = kofn_perf_poll(link, arrivals, max, next))) {
        next += KOFN_PERF_SLICE_NS;
        rc = kofn_perf_overdue(link, began);
        if (rc)
            return rc;
    }
    return count;
}

int kofn_perf_await_credit(struct kofn_perf_link *link, uint64_t sequence)
{
    const struct kofn_transport_ops *ops = link->conf->ops;
    uint64_t began = 0, next = 0;
    uint32_t turns = 0;

    while (!kofn_credit_granted(&link->geometry, sequence, link->released)) {
        uint64_t word = kofn_peer_load64(&link->endpoint->block->gate);
        struct kofn_gate gate;
        int rc = 0;

        /* a gate that is torn, or not there yet, is no news */
        if (kofn_gate_unpack(word, &gate) && gate.released != link->released) {
            link->released = gate.released;
            continue;
        }
        if (link->conf->sleeps || spin(&turns))
            rc = look_after(link, kofn_now_ns(), &began, &next);
        if (rc)
            return rc;
        rc = ops->endpoint_wait(link->endpoint, word, link->conf->sleeps ? next : 0);
        if (rc && rc != KOFN_INTERRUPTED)
            return rc;
    }
    return 0;
}

int kofn_perf_await_left(const struct kofn_perf_link *link, uint64_t sequence)
{
    const struct kofn_transport_ops *ops = link->conf->ops;
    uint64_t began = 0, next = 0;
    uint32_t turns = 0;
    int rc = ops->endpoint_left(link->endpoint, sequence);

    if (KOFN_LIKELY(rc != KOFN_AGAIN))
        return rc;
    while ((rc = ops->endpoint_left(link->endpoint, sequence)) == KOFN_AGAIN) {
        if (link->conf->sleeps)
            ops->endpoint_wait(link->endpoint, kofn_peer_load64(&link->endpoint->block->gate),
                               kofn_now_ns() + NAP_NS);
        else if (!spin(&turns))
            continue;
        rc = look_after(link, kofn_now_ns(), &began, &next);
        if (rc)
            return rc;
    }
    return rc;
}

int kofn_perf_publish(const struct kofn_perf_link *link, uint64_t sequence)
{
    const struct kofn_transport_ops *ops = link->conf->ops;
    uint64_t depth = link->geometry.depth;
    struct kofn_stamp stamp = {.epoch = 1,
                               .round = 1,
                               .version = 1,
                               .updates = 1,
                               .total = 1,
                               .length = link->geometry.payload_bytes,
                               .sequence = sequence};
    void *buffer;
    int rc;

    if (sequence > depth) {
        rc = kofn_perf_await_left(link, sequence - depth);
        if (KOFN_UNLIKELY(rc))
            return rc;
    }
    buffer = ops->endpoint_buffer(link->endpoint, sequence);
    if (link->source)
        memcpy(buffer, link->source, link->geometry.payload_bytes);
    return ops->endpoint_publish(link->endpoint, &stamp);
}
