/* An endpoint of a fabric. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "transports/self/internal.h"

static struct self_endpoint *self_endpoint(struct kofn_endpoint *endpoint)
{
    return (struct self_endpoint *)endpoint;
}

static struct link *link_of(const struct self_endpoint *endpoint)
{
    return &endpoint->fabric->links[endpoint->endpoint.rank];
}

static bool cut(const struct self_endpoint *endpoint)
{
    return endpoint->generation <= link_of(endpoint)->cut;
}

struct self_endpoint *kofn__link_endpoint(const struct link *link, uint32_t generation)
{
    struct self_endpoint *endpoint = link->endpoints;

    while (endpoint && endpoint->generation != generation)
        endpoint = endpoint->next;
    return endpoint;
}

/* Judges a hub's offer; fills @content. */
static int accept_offer(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                        struct self_offer *content)
{
    const struct kofn_fabric *fabric = attr->context;
    const struct link *link;

    if (!fabric || attr->rank >= fabric->attr.workers)
        return kofn_error(attr->log, KOFN_INVALID, "self: rank %u has no link", attr->rank);
    if (in->length != sizeof(*content) || in->fd_count)
        return kofn_error(attr->log, KOFN_PROTOCOL, "self: rank %u: an offer of %u bytes",
                          attr->rank, in->length);
    memcpy(content, in->bytes, sizeof(*content));
    link = &fabric->links[attr->rank];
    if (memcmp(content->magic, SELF_MAGIC, sizeof(content->magic)) || content->rank != attr->rank ||
        content->epoch != attr->epoch)
        return kofn_error(attr->log, KOFN_PROTOCOL, "self: rank %u: an offer for somebody else",
                          attr->rank);
    if (content->slot_bytes != attr->slot.payload_bytes ||
        content->slot_depth != attr->slot.depth ||
        content->model_bytes != attr->model.payload_bytes ||
        content->model_depth != attr->model.depth)
        return kofn_error(attr->log, KOFN_PROTOCOL, "self: rank %u: an offer of another size",
                          attr->rank);
    if (!content->generation || content->generation > link->generation ||
        kofn__link_endpoint(link, content->generation))
        return kofn_error(attr->log, KOFN_PROTOCOL, "self: rank %u: an offer never made, or used",
                          attr->rank);
    return 0;
}

static void *zeroed(uint64_t bytes)
{
    void *memory = aligned_alloc(KOFN_PAGE, kofn_round_up(bytes, KOFN_PAGE));

    return memory ? memset(memory, 0, bytes) : NULL;
}

static void release(struct self_endpoint *endpoint)
{
    free(endpoint->endpoint.buffers);
    free(endpoint->models);
    free(endpoint);
}

int kofn__self_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                             struct kofn_offer *out, struct kofn_endpoint **endpoint_p)
{
    struct self_endpoint *endpoint;
    struct self_offer content;
    int rc;

    kofn_offer_close(in);
    rc = accept_offer(attr, in, &content);
    if (rc)
        return rc;
    endpoint = aligned_alloc(KOFN_CACHE_LINE, kofn_round_up(sizeof(*endpoint), KOFN_CACHE_LINE));
    if (!endpoint)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "self: rank %u: an endpoint", attr->rank);
    memset(endpoint, 0, sizeof(*endpoint));
    endpoint->endpoint = (struct kofn_endpoint){.ops = &kofn_self,
                                                .log = attr->log,
                                                .slot = attr->slot,
                                                .model = attr->model,
                                                .rank = attr->rank,
                                                .epoch = attr->epoch,
                                                .block = &endpoint->block,
                                                .buffers = zeroed(attr->slot.slot_bytes)};
    endpoint->models = zeroed(attr->model.slot_bytes);
    endpoint->fabric = attr->context;
    endpoint->generation = content.generation;
    if (!endpoint->endpoint.buffers || !endpoint->models) {
        release(endpoint);
        return kofn_error(attr->log, KOFN_NO_MEMORY, "self: rank %u: buffers", attr->rank);
    }
    endpoint->next = link_of(endpoint)->endpoints;
    link_of(endpoint)->endpoints = endpoint;
    memset(out, 0, sizeof(*out));
    out->length = sizeof(content);
    memcpy(out->bytes, &content, sizeof(content));
    *endpoint_p = &endpoint->endpoint;
    return 0;
}

void kofn__self_endpoint_close(struct kofn_endpoint *base)
{
    struct self_endpoint *endpoint = self_endpoint(base), **place;
    struct link *link = link_of(endpoint);

    /* what has been sent is on the network and no longer needs the buffers */
    for (struct message *m = link->queues[KOFN_CHANNEL_DATA].head; m; m = m->next)
        if (m->generation == endpoint->generation)
            m->origin = NULL;
    for (place = &link->endpoints; *place != endpoint; place = &(*place)->next)
        ;
    *place = endpoint->next;
    release(endpoint);
}

void *kofn__self_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    return kofn_slot_withdraw(&endpoint->slot, endpoint->buffers, sequence);
}

int kofn__self_endpoint_publish(struct kofn_endpoint *base, const struct kofn_stamp *stamp)
{
    struct self_endpoint *endpoint = self_endpoint(base);
    struct message *payload, *mark;

    if (cut(endpoint))
        return KOFN_GONE;
    payload =
        kofn__message_new(KOFN_MESSAGE_PAYLOAD, endpoint->generation, base->slot.payload_bytes);
    mark = kofn__message_new(KOFN_MESSAGE_STAMP, endpoint->generation, 0);
    if (!payload || !mark) {
        free(payload);
        free(mark);
        return KOFN_NO_MEMORY;
    }
    payload->sequence = stamp->sequence;
    payload->origin = kofn_slot_payload(&base->slot, base->buffers, stamp->sequence);
    memcpy(payload->content, payload->origin, payload->bytes);
    mark->stamp = *stamp;
    kofn__fabric_post(endpoint->fabric, base->rank, KOFN_CHANNEL_DATA, payload);
    kofn__fabric_post(endpoint->fabric, base->rank, KOFN_CHANNEL_DATA, mark);
    return 0;
}

int kofn__self_endpoint_left(struct kofn_endpoint *base, uint64_t sequence)
{
    struct self_endpoint *endpoint = self_endpoint(base);

    if (sequence <= endpoint->left)
        return 0;
    return cut(endpoint) ? KOFN_GONE : KOFN_AGAIN;
}

int kofn__self_endpoint_beat(struct kofn_endpoint *base, uint64_t beat)
{
    struct self_endpoint *endpoint = self_endpoint(base);

    if (cut(endpoint))
        return KOFN_GONE;
    return kofn__fabric_post_word(endpoint->fabric, base->rank, KOFN_CHANNEL_BEAT,
                                  KOFN_MESSAGE_BEAT, endpoint->generation, beat);
}

/* The slot that has the newest model this endpoint can see: its own or, by a read, the hub's. */
static void *newest_slot(const struct self_endpoint *endpoint)
{
    const struct kofn_geometry *geometry = &endpoint->endpoint.model;
    const struct self_hub *hub = endpoint->fabric->hub;

    if (hub && !endpoint->fabric->attr.pushed_only && !cut(endpoint) &&
        link_of(endpoint)->generation == endpoint->generation &&
        kofn_slot_newest(geometry, hub->hub.models) > kofn_slot_newest(geometry, endpoint->models))
        return hub->hub.models;
    return endpoint->models;
}

int kofn__self_endpoint_view(struct kofn_endpoint *base, const void **model,
                             struct kofn_stamp *stamp)
{
    void *slot = newest_slot(self_endpoint(base));
    uint64_t sequence = kofn_slot_newest(&base->model, slot);

    if (!sequence || kofn_slot_begin(&base->model, slot, sequence, model, stamp))
        return KOFN_AGAIN;
    return 0;
}

int kofn__self_endpoint_wait(struct kofn_endpoint *base, uint64_t seen, uint64_t deadline)
{
    struct self_endpoint *endpoint = self_endpoint(base);

    if (endpoint->block.gate != seen)
        return 0;
    if (cut(endpoint))
        return KOFN_GONE;
    return kofn__fabric_wait(endpoint->fabric, base->rank, deadline);
}
