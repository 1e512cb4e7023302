/* The hub of a fabric, and the table of the transport. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "transports/self/internal.h"

static struct self_hub *self_hub(struct kofn_hub *hub)
{
    return (struct self_hub *)hub;
}

static struct link *link_of(struct kofn_hub *hub, uint32_t rank)
{
    return &self_hub(hub)->fabric->links[rank];
}

static bool admitted(struct kofn_hub *hub, uint32_t rank)
{
    return rank < hub->workers && (link_of(hub, rank)->place == PLACE_ADMITTED ||
                                   link_of(hub, rank)->place == PLACE_CONNECTED);
}

static bool cut(const struct link *link)
{
    return link->generation <= link->cut;
}

/* Zeroed, line-aligned memory; free() gives it back. */
static void *zeroed(uint64_t bytes)
{
    void *memory = aligned_alloc(KOFN_PAGE, kofn_round_up(bytes, KOFN_PAGE));

    return memory ? memset(memory, 0, bytes) : NULL;
}

static void hub_close(struct kofn_hub *base)
{
    struct self_hub *hub = self_hub(base);

    hub->fabric->hub = NULL;
    for (uint32_t rank = 0; rank < base->workers; rank++)
        hub->fabric->links[rank].place = PLACE_FREE;
    kofn_inbox_fini(&hub->inbox);
    free(hub->beats);
    free(base->slots);
    free(base->models);
    free(hub);
}

static int hub_open(const struct kofn_hub_attr *attr, struct kofn_hub **hub_p)
{
    struct kofn_fabric *fabric = attr->context;
    struct self_hub *hub;

    if (!fabric || fabric->hub || attr->workers > fabric->attr.workers || !attr->workers)
        return kofn_error(attr->log, KOFN_INVALID,
                          "self: a hub needs a fabric of its own, with a link for each worker");
    hub = calloc(1, sizeof(*hub));
    if (!hub)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "self: a hub");
    hub->hub = (struct kofn_hub){.ops = &kofn_self,
                                 .log = attr->log,
                                 .slot = attr->slot,
                                 .model = attr->model,
                                 .workers = attr->workers,
                                 .beat_stride = sizeof(uint64_t),
                                 .slot_stride = attr->slot.slot_bytes};
    hub->fabric = fabric;
    hub->beats = zeroed(attr->workers * sizeof(uint64_t));
    hub->hub.beats = (const char *)hub->beats;
    hub->hub.slots = zeroed(attr->workers * attr->slot.slot_bytes);
    hub->hub.models = zeroed(attr->model.slot_bytes);
    if (!hub->beats || !hub->hub.slots || !hub->hub.models ||
        kofn_inbox_init(&hub->inbox, attr->workers, &attr->slot, hub->hub.slots,
                        hub->hub.slot_stride)) {
        hub_close(&hub->hub);
        return kofn_error(attr->log, KOFN_NO_MEMORY, "self: slots of %u workers", attr->workers);
    }
    hub->inbox.once = attr->pull;
    fabric->hub = hub;
    *hub_p = &hub->hub;
    return 0;
}

static int hub_admit(struct kofn_hub *hub, uint32_t rank, uint32_t epoch, struct kofn_offer *offer)
{
    struct self_offer content;
    struct link *link;

    if (rank >= hub->workers)
        return kofn_error(hub->log, KOFN_INVALID, "self: rank %u of %u", rank, hub->workers);
    link = link_of(hub, rank);
    if (link->place != PLACE_FREE)
        return kofn_error(hub->log, KOFN_INVALID, "self: rank %u is admitted already", rank);
    memset(kofn_hub_slot(hub, rank), 0, hub->slot.slot_bytes);
    self_hub(hub)->beats[rank] = 0;
    link->generation++;
    link->place = PLACE_ADMITTED;
    content = (struct self_offer){.magic = SELF_MAGIC,
                                  .rank = rank,
                                  .epoch = epoch,
                                  .generation = link->generation,
                                  .slot_depth = hub->slot.depth,
                                  .model_depth = hub->model.depth,
                                  .slot_bytes = hub->slot.payload_bytes,
                                  .model_bytes = hub->model.payload_bytes};
    memset(offer, 0, sizeof(*offer));
    offer->length = sizeof(content);
    memcpy(offer->bytes, &content, sizeof(content));
    return 0;
}

static int hub_connect(struct kofn_hub *hub, uint32_t rank, const struct kofn_offer *offer)
{
    struct self_offer answer;
    struct link *link;

    kofn_offer_close(offer);
    if (rank >= hub->workers || link_of(hub, rank)->place != PLACE_ADMITTED)
        return kofn_error(hub->log, KOFN_INVALID, "self: rank %u is not being admitted", rank);
    link = link_of(hub, rank);
    if (offer->length != sizeof(answer) || offer->fd_count)
        return kofn_error(hub->log, KOFN_PROTOCOL, "self: rank %u: an answer of %u bytes", rank,
                          offer->length);
    memcpy(&answer, offer->bytes, sizeof(answer));
    if (memcmp(answer.magic, SELF_MAGIC, sizeof(answer.magic)) || answer.rank != rank ||
        answer.generation != link->generation)
        return kofn_error(hub->log, KOFN_PROTOCOL, "self: rank %u: an answer to another offer",
                          rank);
    link->place = PLACE_CONNECTED;
    if (!self_hub(hub)->inbox.once)
        kofn_inbox_watch(&self_hub(hub)->inbox, rank);
    return 0;
}

static void hub_evict(struct kofn_hub *hub, uint32_t rank)
{
    if (!admitted(hub, rank))
        return;
    link_of(hub, rank)->place = PLACE_EVICTED;
    kofn_inbox_unwatch(&self_hub(hub)->inbox, rank);
    link_of(hub, rank)->reading = false;
    self_hub(hub)->beats[rank] = 0;
}

/* Is anything of this generation still on its way to the hub? */
static bool under_way(const struct link *link, enum kofn_fabric_channel channel)
{
    for (const struct message *m = link->queues[channel].head; m; m = m->next)
        if (m->generation == link->generation)
            return true;
    return false;
}

static int hub_reclaim(struct kofn_hub *hub, uint32_t rank, bool gone)
{
    struct link *link;

    if (rank >= hub->workers || admitted(hub, rank))
        return kofn_error(hub->log, KOFN_INVALID, "self: rank %u has not been evicted", rank);
    link = link_of(hub, rank);
    if (!gone && (under_way(link, KOFN_CHANNEL_DATA) || under_way(link, KOFN_CHANNEL_BEAT)))
        return KOFN_AGAIN;
    link->place = PLACE_FREE;
    return 0;
}

/* A connected rank whose connection broke and that was not reported yet: KOFN_GONE, else 0. */
static int poll_cut(struct kofn_hub *hub, struct kofn_arrival *arrival)
{
    for (uint32_t rank = 0; rank < hub->workers; rank++) {
        struct link *link = link_of(hub, rank);

        if (link->place != PLACE_CONNECTED || !cut(link) || link->cut_reported)
            continue;
        link->cut_reported = true;
        *arrival = (struct kofn_arrival){.rank = rank};
        return KOFN_GONE;
    }
    return 0;
}

static int hub_poll(struct kofn_hub *hub, struct kofn_arrival *arrivals, int max)
{
    int count = kofn_inbox_take(&self_hub(hub)->inbox, arrivals, max);

    return count || max <= 0 ? count : poll_cut(hub, arrivals);
}

/* 0 if something may be sent to @rank. */
static int reachable(struct kofn_hub *hub, uint32_t rank)
{
    if (!admitted(hub, rank))
        return kofn_error(hub->log, KOFN_INVALID, "self: rank %u is not admitted", rank);
    return cut(link_of(hub, rank)) ? KOFN_GONE : 0;
}

static int hub_gate(struct kofn_hub *hub, uint32_t rank, uint64_t gate)
{
    int rc = reachable(hub, rank);

    return rc ? rc
              : kofn__fabric_post_word(self_hub(hub)->fabric, rank, KOFN_CHANNEL_DOWN,
                                       KOFN_MESSAGE_GATE, link_of(hub, rank)->generation, gate);
}

static int hub_receipt(struct kofn_hub *hub, uint32_t rank, const struct kofn_receipt_line *line)
{
    struct message *message;
    int rc = reachable(hub, rank);

    if (rc)
        return rc;
    message = kofn__message_new(KOFN_MESSAGE_RECEIPT, link_of(hub, rank)->generation, 0);
    if (!message)
        return KOFN_NO_MEMORY;
    message->receipt = *line;
    kofn__fabric_post(self_hub(hub)->fabric, rank, KOFN_CHANNEL_DOWN, message);
    return 0;
}

static int hub_push(struct kofn_hub *hub, uint32_t rank, uint64_t sequence)
{
    struct message *model, *mark;
    const void *payload;
    struct kofn_stamp stamp;
    uint32_t generation;
    int rc = reachable(hub, rank);

    if (rc)
        return rc;
    if (kofn_slot_begin(&hub->model, hub->models, sequence, &payload, &stamp))
        return kofn_error(hub->log, KOFN_INVALID, "self: model %llu is not there to be pushed",
                          (unsigned long long)sequence);
    generation = link_of(hub, rank)->generation;
    model = kofn__message_new(KOFN_MESSAGE_MODEL, generation, hub->model.payload_bytes);
    mark = kofn__message_new(KOFN_MESSAGE_MODEL_STAMP, generation, 0);
    if (!model || !mark) {
        free(model);
        free(mark);
        return KOFN_NO_MEMORY;
    }
    model->sequence = sequence;
    memcpy(model->content, payload, model->bytes);
    mark->stamp = stamp;
    kofn__fabric_post(self_hub(hub)->fabric, rank, KOFN_CHANNEL_DOWN, model);
    kofn__fabric_post(self_hub(hub)->fabric, rank, KOFN_CHANNEL_DOWN, mark);
    return 0;
}

static int hub_read(struct kofn_hub *hub, uint32_t rank, uint64_t after)
{
    struct kofn_inbox *inbox = &self_hub(hub)->inbox;
    struct link *link;
    int rc;

    if (!inbox->once || rank >= hub->workers || link_of(hub, rank)->place != PLACE_CONNECTED)
        return KOFN_INVALID;
    link = link_of(hub, rank);
    if (cut(link))
        return KOFN_GONE;
    if (link->reading || kofn_inbox_expects(inbox, rank))
        return KOFN_AGAIN;
    rc = kofn__fabric_post_read(self_hub(hub)->fabric, rank);
    link->reading = !rc;
    link->read_after = after;
    link->read_stamp.sequence = 0;
    return rc;
}

static int hub_wait(struct kofn_hub *hub, uint64_t deadline)
{
    return kofn__fabric_wait(self_hub(hub)->fabric, UINT32_MAX, deadline);
}

const struct kofn_transport_ops kofn_self = {
    .size = sizeof(kofn_self),
    .name = "self",
    .summary = "inside one thread, delivered by a test",
    .capabilities = KOFN_CAP_SAME_CLOCK | KOFN_CAP_READ | KOFN_CAP_ONE_HOST,
    .hub_open = hub_open,
    .hub_close = hub_close,
    .hub_admit = hub_admit,
    .hub_connect = hub_connect,
    .hub_evict = hub_evict,
    .hub_reclaim = hub_reclaim,
    .hub_poll = hub_poll,
    .hub_gate = hub_gate,
    .hub_receipt = hub_receipt,
    .hub_push = hub_push,
    .hub_read = hub_read,
    .hub_wait = hub_wait,
    .endpoint_open = kofn__self_endpoint_open,
    .endpoint_close = kofn__self_endpoint_close,
    .endpoint_buffer = kofn__self_endpoint_buffer,
    .endpoint_publish = kofn__self_endpoint_publish,
    .endpoint_keep = kofn_keep_in_buffer,
    .endpoint_left = kofn__self_endpoint_left,
    .endpoint_beat = kofn__self_endpoint_beat,
    .endpoint_fetch = kofn_fetch_from_view,
    .endpoint_view = kofn__self_endpoint_view,
    .endpoint_register = kofn_nosys_endpoint_register,
    .endpoint_wait = kofn__self_endpoint_wait,
};
