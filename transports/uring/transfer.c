/* transfer.c: the worker's side of its connections: models, gates and receipts come; updates and
 * beats go.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/barrier.h"
#include "transports/uring/endpoint.h"

#define LOOKS 4 /* in the peer's time-out, whether its host is still there */
#define TRIES 4 /* to find a snapshot that is not being overwritten at this moment */

/* ---- how it ends ---- */

static void end(struct kofn__tcp_endpoint *endpoint, int status, const char *why)
{
    if (endpoint->status)
        return;
    endpoint->status = status;
    snprintf(endpoint->why, sizeof(endpoint->why), "%s", why);
}

/* A connection has ended; what still comes on the other is taken. */
static void ended(struct kofn__tcp_endpoint *endpoint, struct kofn__stream *stream)
{
    char why[128], text[64];
    int error = stream->error;

    kofn__stream_close(stream, &endpoint->driver);
    if (!error)
        snprintf(why, sizeof(why), "the server has closed it");
    else if (error == ETIMEDOUT)
        snprintf(why, sizeof(why), "no sign of its host for %.1f s",
                 (double)endpoint->peer_timeout / 1e9);
    else
        snprintf(why, sizeof(why), "%s", strerror_r(error, text, sizeof(text)));
    end(endpoint, error == ETIMEDOUT ? KOFN_TIMEOUT : KOFN_GONE, why);
}

void kofn__endpoint_look(struct kofn__tcp_endpoint *endpoint, uint64_t now)
{
    if (now < endpoint->look_ns)
        return;
    endpoint->look_ns = now + endpoint->peer_timeout / LOOKS;
    for (int link = 0; link < LINKS; link++) {
        struct kofn__stream *stream = &endpoint->streams[link];

        if (kofn__stream_lost(stream, endpoint->peer_timeout))
            ended(endpoint, stream);
    }
}

static void cut_off(struct kofn__tcp_endpoint *endpoint, const char *why)
{
    for (int link = 0; link < LINKS; link++)
        kofn__stream_close(&endpoint->streams[link], &endpoint->driver);
    end(endpoint, KOFN_PROTOCOL, why);
}

/* ---- what comes ---- */

static void open_gate(struct kofn__tcp_endpoint *endpoint, uint64_t gate)
{
    endpoint->held = 0;
    kofn_peer_store64(&endpoint->block.gate, gate);
}

/* Where the model that is coming goes: not where the newest one lies. */
static uint32_t next_buffer(const struct kofn__tcp_endpoint *endpoint)
{
    return endpoint->model ? (endpoint->model_buffer + 1) % endpoint->endpoint.model.depth : 0;
}

static struct kofn_stamp *stamp_at(const struct kofn__tcp_endpoint *endpoint, uint32_t index)
{
    return (struct kofn_stamp *)(void *)(kofn__endpoint_model(endpoint, index) +
                                         endpoint->endpoint.model.stamp_offset);
}

/* A part of a model. Its first part may come at any time: the server goes over to a newer one when
 * that under way has been overwritten.
 */
static const char *begin_payload(void *arg, const struct kofn__frame *frame, void **target)
{
    struct kofn__tcp_endpoint *endpoint = arg;
    uint32_t buffer = next_buffer(endpoint);

    if (!frame->offset) {
        if (frame->value <= endpoint->model)
            return "a model that is not newer";
        endpoint->coming = frame->value;
        endpoint->filled = 0;
        kofn_peer_store64(&stamp_at(endpoint, buffer)->sequence, 0);
        kofn_stamp_withdrawn_barrier();
    } else if (frame->value != endpoint->coming || frame->offset != endpoint->filled) {
        return "a part of a model out of its turn";
    }
    *target = kofn__endpoint_model(endpoint, buffer) + frame->offset;
    return NULL;
}

static const char *take_stamp(struct kofn__tcp_endpoint *endpoint, const struct kofn__frame *frame,
                              const struct kofn_stamp *stamp)
{
    uint32_t buffer = next_buffer(endpoint);
    struct kofn_stamp *place = stamp_at(endpoint, buffer);

    if (frame->value != endpoint->coming || !endpoint->coming ||
        endpoint->filled != endpoint->endpoint.model.payload_bytes ||
        stamp->sequence != frame->value)
        return "a stamp before all of its payload";
    memcpy(place, stamp, offsetof(struct kofn_stamp, sequence));
    kofn_peer_store64(&place->sequence, stamp->sequence);
    endpoint->model = frame->value;
    endpoint->model_buffer = buffer;
    endpoint->coming = 0;
    endpoint->asking = false;
    if (endpoint->held && endpoint->model >= endpoint->held_after)
        open_gate(endpoint, endpoint->held);
    return NULL;
}

/* A gate that was written after a model is seen after it. */
static void take_gate(struct kofn__tcp_endpoint *endpoint, uint64_t gate, uint64_t after)
{
    if (after <= endpoint->model) {
        open_gate(endpoint, gate);
        return;
    }
    endpoint->held = gate;
    endpoint->held_after = after;
}

static const char *take_receipt(struct kofn__tcp_endpoint *endpoint,
                                const struct kofn__frame *frame, const void *body)
{
    struct kofn_receipt_line line;

    memcpy(&line, body, sizeof(line));
    if (line.sequence != frame->value || !line.sequence)
        return "a receipt of no publication";
    kofn_block_put_receipt(&endpoint->block, &line);
    endpoint->receipts_changed = true;
    return NULL;
}

static const char *complete(void *arg, const struct kofn__frame *frame, const void *body)
{
    struct kofn__tcp_endpoint *endpoint = arg;

    switch (frame->type) {
    case FRAME_WRITE:
        endpoint->filled += frame->length;
        return NULL;
    case FRAME_STAMP:
        return take_stamp(endpoint, frame, body);
    case FRAME_WORD:
        take_gate(endpoint, frame->value, frame->offset);
        return NULL;
    case FRAME_RECEIPT:
        return take_receipt(endpoint, frame, body);
    case FRAME_READ:
        endpoint->asked = true;
        endpoint->asked_after = frame->value;
        kofn__endpoint_send(endpoint, kofn__payload_link(endpoint));
        return NULL;
    default: /* FRAME_NOTHING: no model that is newer */
        endpoint->asking = false;
        return NULL;
    }
}

static const struct kofn__frame_sink frames = {begin_payload, complete};

static void ready(void *arg, uint32_t key, unsigned events)
{
    struct kofn__tcp_endpoint *endpoint = arg;
    struct kofn__stream *stream = &endpoint->streams[key];
    const char *wrong;

    if (events & EVENT_WRITE) {
        kofn__stream_unblock(stream, &endpoint->driver);
        kofn__endpoint_send(endpoint, (enum kofn__link)key);
    }
    if (!(events & EVENT_READ) || stream->fd < 0)
        return;
    if (kofn__zero_copy_reap(&stream->zero, stream->fd)) /* which is said as an error to be read */
        kofn__endpoint_send(endpoint, (enum kofn__link)key);
    if (stream->fd < 0)
        return;
    switch (kofn__stream_read(stream, &frames, endpoint, &wrong)) {
    case KOFN_GONE:
        ended(endpoint, stream);
        break;
    case KOFN_PROTOCOL:
        cut_off(endpoint, wrong);
        break;
    }
}

static void take_bytes(void *arg, uint32_t key, const void *bytes, ssize_t count)
{
    struct kofn__tcp_endpoint *endpoint = arg;
    struct kofn__stream *stream = &endpoint->streams[key];
    const char *wrong;

    if (stream->fd < 0)
        return;
    if (count <= 0) {
        stream->error = (int)-count;
        ended(endpoint, stream);
        return;
    }
    wrong = kofn__reader_feed(&stream->reader, bytes, (size_t)count, &frames, endpoint);
    if (wrong)
        cut_off(endpoint, wrong);
}

const struct kofn__engine_sink kofn__endpoint_sink = {ready, take_bytes};

/* ---- what goes ---- */

/* The newest snapshot that the server may want. */
static uint64_t newest_snapshot(const struct kofn__tcp_endpoint *endpoint)
{
    uint64_t newest = kofn_slot_newest(&endpoint->endpoint.slot, endpoint->endpoint.buffers);

    return newest > endpoint->asked_after ? newest : 0;
}

/* The publication that is being sent, or is next, and its stamp: one that was posted, or the
 * snapshot that the server asked for: if that was overwritten while it was sent, the newest one
 * from its beginning. False if there is none.
 */
static bool choose(struct kofn__tcp_endpoint *endpoint, struct kofn_stamp *stamp)
{
    const struct kofn_geometry *slot = &endpoint->endpoint.slot;
    const void *payload, *buffers = endpoint->endpoint.buffers;

    if (endpoint->left < endpoint->posted && !endpoint->answering) {
        *stamp = endpoint->stamps[(endpoint->left + 1) % KOFN_DEPTH_MAX];
        return true;
    }
    if (!endpoint->asked)
        return false;
    for (int tries = 0; tries < TRIES; tries++) {
        if (endpoint->answering &&
            !kofn_slot_begin(slot, buffers, endpoint->answering, &payload, stamp) &&
            !kofn_slot_end(slot, buffers, endpoint->answering))
            return true;
        endpoint->offset = 0;
        endpoint->answering = newest_snapshot(endpoint);
    }
    endpoint->asked = false;
    endpoint->answering = 0;
    endpoint->asked_due = true;
    return false;
}

/* All of a publication is staged, its stamp too. */
static void finish(struct kofn__tcp_endpoint *endpoint)
{
    endpoint->offset = 0;
    if (endpoint->answering)
        endpoint->asked = false;
    else
        endpoint->stamped = true;
    endpoint->answering = 0;
}

static void stage_stamp_behind(struct kofn__tcp_endpoint *endpoint, struct kofn__stream *stream,
                               const struct kofn_stamp *stamp)
{
    struct kofn__frame frame =
        kofn__frame_stamp(REGION_SLOT, endpoint->endpoint.epoch, stamp->sequence);

    kofn__stream_stage_stamp(stream, &frame, stamp);
    finish(endpoint);
}

/* A part of the publication; behind its last part the stamp, unless what was read may have changed
 * meanwhile: then it is looked at once more, and the stamp goes alone.
 */
static bool stage_publication(struct kofn__tcp_endpoint *endpoint, struct kofn__stream *stream)
{
    const struct kofn_geometry *slot = &endpoint->endpoint.slot;
    struct kofn_stamp stamp;
    struct kofn__frame frame;
    uint64_t part;
    bool posted;

    if (!choose(endpoint, &stamp))
        return false;
    posted = !endpoint->answering;
    if (endpoint->offset == slot->payload_bytes) {
        frame = kofn__frame_stamp(REGION_SLOT, endpoint->endpoint.epoch, stamp.sequence);
        kofn__stream_stage(stream, &frame, &stamp, sizeof(stamp));
        finish(endpoint);
        return true;
    }
    part = KOFN_MIN(slot->payload_bytes - endpoint->offset, (uint64_t)KOFN__STREAM_CHUNK);
    frame = kofn__frame_write(REGION_SLOT, endpoint->endpoint.epoch, stamp.sequence,
                              endpoint->offset, part);
    kofn__stream_stage_write(
        stream, &frame,
        (char *)kofn_slot_payload(slot, endpoint->endpoint.buffers, stamp.sequence) +
            endpoint->offset,
        !posted);
    endpoint->offset += part;
    if (posted && endpoint->offset == slot->payload_bytes)
        stage_stamp_behind(endpoint, stream, &stamp);
    return true;
}

static bool stage_words(struct kofn__tcp_endpoint *endpoint, struct kofn__stream *stream)
{
    uint32_t epoch = endpoint->endpoint.epoch;
    struct kofn__frame frame;

    if (endpoint->beat_due) {
        frame = kofn__frame_word(REGION_BEAT, epoch, endpoint->beat, 0);
        endpoint->beat_due = false;
    } else if (endpoint->asking_due) {
        frame = kofn__frame_read(FRAME_READ, REGION_MODEL, epoch, endpoint->model);
        endpoint->asking_due = false;
    } else {
        return false;
    }
    kofn__stream_stage(stream, &frame, NULL, 0);
    return true;
}

/* Where a publication was asked for that is not there. */
static bool stage_nothing(struct kofn__tcp_endpoint *endpoint, struct kofn__stream *stream)
{
    struct kofn__frame frame =
        kofn__frame_read(FRAME_NOTHING, REGION_SLOT, endpoint->endpoint.epoch, 0);

    if (!endpoint->asked_due)
        return false;
    endpoint->asked_due = false;
    kofn__stream_stage(stream, &frame, NULL, 0);
    return true;
}

static bool stage_next(struct kofn__tcp_endpoint *endpoint, enum kofn__link link,
                       struct kofn__stream *stream)
{
    if (link == LINK_CONTROL && stage_words(endpoint, stream))
        return true;
    return link == kofn__payload_link(endpoint) &&
           (stage_publication(endpoint, stream) || stage_nothing(endpoint, stream));
}

/* What was staged has left the process. False as long as a publication may not change yet. */
static bool staged_left(struct kofn__tcp_endpoint *endpoint, enum kofn__link link)
{
    if (link != kofn__payload_link(endpoint) || !endpoint->stamped)
        return true;
    if (!kofn__stream_settled(&endpoint->streams[link]))
        return false;
    endpoint->stamped = false;
    endpoint->left++;
    return true;
}

void kofn__endpoint_send(struct kofn__tcp_endpoint *endpoint, enum kofn__link link)
{
    struct kofn__stream *stream = &endpoint->streams[link];

    while (stream->fd >= 0 && stream->started && !stream->blocked) {
        if (!stream->staged &&
            (!staged_left(endpoint, link) || !stage_next(endpoint, link, stream)))
            return;
        switch (kofn__stream_send(stream, &endpoint->driver)) {
        case 0:
            break;
        case KOFN_AGAIN:
            return;
        default:
            ended(endpoint, stream);
            return;
        }
    }
}
