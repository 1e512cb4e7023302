/* send.c: what the hub sends: models, and in front of payload of any length, on a connection of
 * their own, gates and receipts. What waits for a slow worker is its newest gate, its newest
 * receipts and its newest model: there is nothing to pile up.
 */
#include "base/barrier.h"
#include "base/racy.h"
#include "transports/uring/hub.h"

uint64_t kofn__hub_model(const struct kofn__tcp_hub *hub)
{
    const struct kofn_geometry *model = &hub->hub.model;
    uint64_t newest = 0;

    for (uint32_t i = 0; i < model->depth; i++) {
        uint64_t sequence = kofn_peer_load64(&kofn_slot_stamp(model, hub->hub.models, i)->sequence);

        newest = KOFN_MAX(newest, sequence);
    }
    return newest;
}

/* Chooses the model to send next; false if there is none to be sent. */
static bool choose_model(struct kofn__tcp_hub *hub, struct kofn__member *member)
{
    uint64_t newest;

    if (member->sending)
        return true;
    if (member->wanted <= member->sent)
        return false;
    newest = kofn__hub_model(hub);
    if (newest <= member->sent)
        return false; /* it is being overwritten: the one after it will be wanted */
    member->sending = newest;
    member->offset = 0;
    return true;
}

/* The model that is being sent, which is whole as yet; if it has been overwritten, the newest one
 * instead, from its beginning. False if there is none.
 */
static bool look_at_model(struct kofn__tcp_hub *hub, struct kofn__member *member,
                          const void **payload, struct kofn_stamp *stamp)
{
    const struct kofn_geometry *model = &hub->hub.model;

    while (choose_model(hub, member)) {
        if (!kofn_slot_begin(model, hub->hub.models, member->sending, payload, stamp) &&
            !kofn_slot_end(model, hub->hub.models, member->sending))
            return true;
        member->sending = 0;
    }
    return false;
}

/* A part of the model, or, behind the last part, its stamp. */
static bool stage_model(struct kofn__tcp_hub *hub, struct kofn__member *member,
                        struct kofn__stream *stream)
{
    uint64_t bytes = hub->hub.model.payload_bytes, part;
    struct kofn_stamp stamp;
    struct kofn__frame frame;
    const void *payload;

    if (!look_at_model(hub, member, &payload, &stamp))
        return false;
    if (member->offset == bytes) {
        frame = kofn__frame_stamp(REGION_MODEL, member->epoch, member->sending);
        kofn__stream_stage(stream, &frame, &stamp, sizeof(stamp));
        member->sent = member->sending;
        member->sending = 0;
        return true;
    }
    part = KOFN_MIN(bytes - member->offset, (uint64_t)KOFN__STREAM_CHUNK);
    frame = kofn__frame_write(REGION_MODEL, member->epoch, member->sending, member->offset, part);
    kofn__stream_stage_write(stream, &frame, (const char *)payload + member->offset, true);
    member->offset += part;
    return true;
}

/* A small model goes in one piece, from a copy that nobody overwrites. */
static bool stage_small_model(struct kofn__tcp_hub *hub, struct kofn__member *member,
                              struct kofn__stream *stream)
{
    const struct kofn_geometry *model = &hub->hub.model;
    struct kofn__frame frame;
    struct kofn_stamp stamp;
    const void *payload;

    do {
        if (!look_at_model(hub, member, &payload, &stamp))
            return false;
        kofn_racy_copy(member->small_model, payload, model->payload_bytes);
    } while (kofn_slot_end(model, hub->hub.models, member->sending));
    frame =
        kofn__frame_write(REGION_MODEL, member->epoch, member->sending, 0, model->payload_bytes);
    kofn__stream_stage_write(stream, &frame, member->small_model, false);
    frame = kofn__frame_stamp(REGION_MODEL, member->epoch, member->sending);
    kofn__stream_stage_stamp(stream, &frame, &stamp);
    member->sent = member->sending;
    member->sending = 0;
    return true;
}

static void stage_receipt(struct kofn__member *member, struct kofn__stream *stream)
{
    const struct kofn_receipt_line *line = &member->receipts[member->receipt];
    struct kofn__frame frame = kofn__frame_receipt(member->epoch, line->sequence);

    kofn__stream_stage(stream, &frame, line, sizeof(*line));
    member->receipt = (member->receipt + 1) % KOFN__RECEIPTS;
    member->receipt_count--;
}

static void stage_gate(struct kofn__member *member, struct kofn__stream *stream)
{
    struct kofn__frame frame =
        kofn__frame_word(REGION_BLOCK, member->epoch, member->gate, member->gate_after);

    kofn__stream_stage(stream, &frame, NULL, 0);
    member->gate_due = false;
}

/* Receipts first: whoever sees the gate has them. */
static bool stage_words(struct kofn__member *member, struct kofn__stream *stream)
{
    struct kofn__frame frame;

    if (member->receipt_count) {
        stage_receipt(member, stream);
    } else if (member->gate_due) {
        stage_gate(member, stream);
    } else if (member->read_due) {
        frame = kofn__frame_read(FRAME_READ, REGION_SLOT, member->epoch, member->read_after);
        kofn__stream_stage(stream, &frame, NULL, 0);
        member->read_due = false;
    } else if (member->nothing_due) {
        frame = kofn__frame_read(FRAME_NOTHING, REGION_MODEL, member->epoch, 0);
        kofn__stream_stage(stream, &frame, NULL, 0);
        member->nothing_due = false;
    } else {
        return false;
    }
    return true;
}

static bool stage_next(struct kofn__tcp_hub *hub, struct kofn__member *member, enum kofn__link link,
                       struct kofn__stream *stream)
{
    if (link == LINK_PAYLOAD)
        return stage_model(hub, member, stream);
    return (hub->links == 1 && stage_small_model(hub, member, stream)) ||
           stage_words(member, stream);
}

void kofn__member_send(struct kofn__tcp_hub *hub, struct kofn__member *member, enum kofn__link link)
{
    struct kofn__stream *stream = &member->streams[link];

    while (stream->fd >= 0 && stream->started && !stream->blocked) {
        if (!stream->staged && !stage_next(hub, member, link, stream))
            return;
        switch (kofn__stream_send(stream, &hub->driver)) {
        case KOFN_AGAIN:
            return;
        case KOFN_GONE:
            kofn__member_ended(hub, member, stream);
            return;
        }
    }
}
