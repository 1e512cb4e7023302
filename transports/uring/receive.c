/* receive.c: what workers send, and where it goes. */
#include <errno.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "transports/uring/hub.h"

/* A frame's reader knows its member and, through it, the hub. */
struct receiver {
    struct kofn__tcp_hub *hub;
    struct kofn__member *member;
};

static void *slot_of(const struct receiver *receiver)
{
    return kofn_hub_slot(&receiver->hub->hub, receiver->member->rank);
}

/* May this snapshot be begun, which was not announced by anything but our asking? It may be begun
 * again, or another one, when the worker has overwritten what it was sending.
 */
static const char *begin_snapshot(struct kofn__member *member, const struct kofn__frame *frame)
{
    if (!member->reading)
        return "a snapshot that was not asked for";
    if (frame->offset)
        return NULL;
    if (frame->value <= member->read_after || frame->value <= member->taken)
        return "a snapshot that is not newer";
    member->expected = frame->value;
    member->filled = 0;
    return NULL;
}

static const char *begin_payload(void *arg, const struct kofn__frame *frame, void **target)
{
    const struct receiver *receiver = arg;
    struct kofn__member *member = receiver->member;
    const struct kofn_geometry *slot = &receiver->hub->hub.slot;
    const char *wrong = receiver->hub->pull ? begin_snapshot(member, frame) : NULL;

    if (wrong)
        return wrong;
    if (frame->value != member->expected)
        return "a publication out of its turn";
    if (frame->offset != member->filled)
        return "a part of a publication out of its turn";
    if (!receiver->hub->pull && frame->value > member->taken + slot->depth)
        return "a publication without a credit";
    if (!member->filled)
        kofn_slot_withdraw(slot, slot_of(receiver), frame->value);
    *target = (char *)kofn_slot_payload(slot, slot_of(receiver), frame->value) + frame->offset;
    return NULL;
}

/* All of the payload is there: the stamp is set, by us, last. */
static const char *take_stamp(const struct receiver *receiver, const struct kofn__frame *frame,
                              const struct kofn_stamp *stamp)
{
    struct kofn__tcp_hub *hub = receiver->hub;
    struct kofn__member *member = receiver->member;

    if (frame->value != member->expected || member->filled != hub->hub.slot.payload_bytes ||
        stamp->sequence != frame->value)
        return "a stamp before all of its payload";
    if (hub->arrival_count == hub->arrival_room)
        return "publications without credits";
    kofn_slot_publish(&hub->hub.slot, slot_of(receiver), stamp);
    hub->arrivals[(hub->arrival + hub->arrival_count++) % hub->arrival_room] =
        (struct kofn_arrival){.rank = member->rank, .sequence = frame->value};
    member->reading = false;
    member->expected++;
    member->filled = 0;
    return NULL;
}

/* It asks for a model that is newer than the one it has. */
static void take_request(const struct receiver *receiver, uint64_t has)
{
    struct kofn__tcp_hub *hub = receiver->hub;
    struct kofn__member *member = receiver->member;
    uint64_t newest = kofn__hub_model(hub);

    if (KOFN_MAX(member->sent, member->wanted) > has)
        return; /* it is on its way */
    if (newest > has) {
        member->wanted = newest;
        kofn__member_send(hub, member, hub->links == 1 ? LINK_CONTROL : LINK_PAYLOAD);
    } else {
        member->nothing_due = true;
        kofn__member_send(hub, member, LINK_CONTROL);
    }
}

static const char *complete(void *arg, const struct kofn__frame *frame, const void *body)
{
    const struct receiver *receiver = arg;
    struct kofn__member *member = receiver->member;

    switch (frame->type) {
    case FRAME_WRITE:
        member->filled += frame->length;
        return NULL;
    case FRAME_STAMP:
        return take_stamp(receiver, frame, body);
    case FRAME_WORD:
        kofn_peer_store64(&receiver->hub->beats[member->rank], frame->value);
        receiver->hub->beats_changed = true;
        return NULL;
    case FRAME_READ:
        take_request(receiver, frame->value);
        return NULL;
    default: /* FRAME_NOTHING: what was asked for is not there, or has changed meanwhile */
        if (!member->reading)
            return "an answer to nothing";
        member->reading = false;
        member->filled = 0;
        member->expected = member->taken + 1;
        return NULL;
    }
}

static const struct kofn__frame_sink frames = {begin_payload, complete};

/* The member behind a key, or NULL if its link is not being listened to. */
static struct kofn__member *member_of(struct kofn__tcp_hub *hub, uint32_t key,
                                      struct kofn__stream **stream)
{
    uint32_t index = key - KOFN__KEY_MEMBERS;
    struct kofn__member *member = &hub->members[index / LINKS];

    *stream = &member->streams[index % LINKS];
    return (*stream)->fd >= 0 && (*stream)->started ? member : NULL;
}

static void ready(void *arg, uint32_t key, unsigned events)
{
    struct kofn__tcp_hub *hub = arg;
    struct receiver receiver = {.hub = hub};
    struct kofn__stream *stream;
    const char *wrong;

    if (key < KOFN__KEY_MEMBERS) {
        kofn__visitors_ready(hub, key);
        return;
    }
    receiver.member = member_of(hub, key, &stream);
    if (receiver.member && events & EVENT_WRITE) {
        kofn__stream_unblock(stream, &hub->driver);
        kofn__member_send(hub, receiver.member,
                          (enum kofn__link)(stream - receiver.member->streams));
    }
    if (!receiver.member || !(events & EVENT_READ) || stream->fd < 0)
        return;
    switch (kofn__stream_read(stream, &frames, &receiver, &wrong)) {
    case KOFN_GONE:
        kofn__member_ended(hub, receiver.member, stream);
        break;
    case KOFN_PROTOCOL:
        kofn__member_fail(hub, receiver.member, KOFN_PROTOCOL, wrong);
        break;
    }
}

static void take_bytes(void *arg, uint32_t key, const void *bytes, ssize_t count)
{
    struct kofn__tcp_hub *hub = arg;
    struct receiver receiver = {.hub = hub};
    struct kofn__stream *stream;
    const char *wrong;

    receiver.member = member_of(hub, key, &stream);
    if (!receiver.member)
        return;
    if (count <= 0) {
        stream->error = (int)-count;
        kofn__member_ended(hub, receiver.member, stream);
        return;
    }
    wrong = kofn__reader_feed(&stream->reader, bytes, (size_t)count, &frames, &receiver);
    if (wrong)
        kofn__member_fail(hub, receiver.member, KOFN_PROTOCOL, wrong);
}

const struct kofn__engine_sink kofn__hub_sink = {ready, take_bytes};
