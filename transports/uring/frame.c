#include "transports/uring/frame.h"

#include <string.h>

struct kofn__frame kofn__frame_write(enum kofn__frame_region region, uint32_t epoch,
                                     uint64_t sequence, uint64_t offset, uint64_t length)
{
    return (struct kofn__frame){.type = FRAME_WRITE,
                                .region = (uint8_t)region,
                                .epoch = epoch,
                                .offset = offset,
                                .length = length,
                                .value = sequence};
}

struct kofn__frame kofn__frame_stamp(enum kofn__frame_region region, uint32_t epoch,
                                     uint64_t sequence)
{
    return (struct kofn__frame){.type = FRAME_STAMP,
                                .region = (uint8_t)region,
                                .epoch = epoch,
                                .length = sizeof(struct kofn_stamp),
                                .value = sequence};
}

struct kofn__frame kofn__frame_word(enum kofn__frame_region region, uint32_t epoch, uint64_t word,
                                    uint64_t after)
{
    return (struct kofn__frame){.type = FRAME_WORD,
                                .region = (uint8_t)region,
                                .epoch = epoch,
                                .offset = after,
                                .value = word};
}

struct kofn__frame kofn__frame_receipt(uint32_t epoch, uint64_t sequence)
{
    return (struct kofn__frame){.type = FRAME_RECEIPT,
                                .region = REGION_BLOCK,
                                .epoch = epoch,
                                .length = sizeof(struct kofn_receipt_line),
                                .value = sequence};
}

struct kofn__frame kofn__frame_read(enum kofn__frame_type type, enum kofn__frame_region region,
                                    uint32_t epoch, uint64_t value)
{
    return (struct kofn__frame){
        .type = (uint8_t)type, .region = (uint8_t)region, .epoch = epoch, .value = value};
}

/* The length of the body a frame of @type must have, but for a WRITE. */
static uint64_t body_of(uint8_t type)
{
    if (type == FRAME_STAMP)
        return sizeof(struct kofn_stamp);
    return type == FRAME_RECEIPT ? sizeof(struct kofn_receipt_line) : 0;
}

/* Does a frame of this type and region come this way? */
static bool expected(const struct kofn__frame *frame, const struct kofn__frame_rules *rules)
{
    enum kofn__frame_region payload = rules->server ? REGION_SLOT : REGION_MODEL;

    switch (frame->type) {
    case FRAME_WRITE:
    case FRAME_STAMP:
        return rules->payload && frame->region == payload;
    case FRAME_WORD:
        return frame->region == (rules->server ? REGION_BEAT : REGION_BLOCK);
    case FRAME_RECEIPT:
        return !rules->server && frame->region == REGION_BLOCK;
    case FRAME_READ: /* of what the other side is to write here */
        return frame->region == (rules->server ? REGION_MODEL : REGION_SLOT);
    case FRAME_NOTHING:
        return frame->region == payload;
    default:
        return false;
    }
}

const char *kofn__frame_wrong(const struct kofn__frame *frame,
                              const struct kofn__frame_rules *rules)
{
    if (frame->zero || !expected(frame, rules))
        return "a frame of a kind that has no place here";
    if (frame->epoch != rules->epoch)
        return "a frame of another membership";
    if (frame->type != FRAME_WRITE)
        return frame->length == body_of(frame->type) ? NULL : "a frame of a wrong length";
    if (!frame->length)
        return "a frame of a wrong length";
    if (frame->offset > rules->payload_bytes ||
        frame->length > rules->payload_bytes - frame->offset)
        return "more payload announced than was agreed on";
    return NULL;
}

void kofn__reader_init(struct kofn__reader *reader, const struct kofn__frame_rules *rules)
{
    *reader = (struct kofn__reader){.rules = *rules};
}

/* A frame is over: the next header follows. */
static const char *finish(struct kofn__reader *reader, const struct kofn__frame_sink *sink,
                          void *arg)
{
    reader->have = 0;
    reader->in_body = false;
    reader->target = NULL;
    return sink->complete(arg, &reader->frame, reader->bytes);
}

/* A header is complete. */
static const char *begin(struct kofn__reader *reader, const struct kofn__frame_sink *sink,
                         void *arg)
{
    void *target = NULL;
    const char *wrong;

    memcpy(&reader->frame, reader->bytes, sizeof(reader->frame));
    wrong = kofn__frame_wrong(&reader->frame, &reader->rules);
    if (wrong)
        return wrong;
    if (!reader->frame.length)
        return finish(reader, sink, arg);
    reader->have = 0;
    reader->in_body = true;
    if (reader->frame.type != FRAME_WRITE)
        return NULL;
    wrong = sink->begin(arg, &reader->frame, &target);
    if (wrong)
        return wrong;
    reader->target = target;
    reader->left = reader->frame.length;
    return NULL;
}

const char *kofn__reader_filled(struct kofn__reader *reader, uint64_t count,
                                const struct kofn__frame_sink *sink, void *arg)
{
    reader->target += count;
    reader->left -= count;
    return reader->left ? NULL : finish(reader, sink, arg);
}

/* Collects a header, or a body that is not payload, from @count bytes; says how many it took. */
static const char *collect(struct kofn__reader *reader, const void *bytes, size_t count,
                           const struct kofn__frame_sink *sink, void *arg, size_t *took)
{
    size_t whole = reader->in_body ? (size_t)reader->frame.length : sizeof(reader->frame);

    *took = KOFN_MIN(count, whole - reader->have);
    memcpy(reader->bytes + reader->have, bytes, *took);
    reader->have += (uint32_t)*took;
    if (reader->have < whole)
        return NULL;
    return reader->in_body ? finish(reader, sink, arg) : begin(reader, sink, arg);
}

const char *kofn__reader_feed(struct kofn__reader *reader, const void *bytes, size_t count,
                              const struct kofn__frame_sink *sink, void *arg)
{
    const char *at = bytes, *wrong = NULL;

    while (count && !wrong) {
        uint64_t room;
        void *target = kofn__reader_room(reader, &room);
        size_t took;

        if (target) {
            took = (size_t)KOFN_MIN((uint64_t)count, room);
            memcpy(target, at, took);
            wrong = kofn__reader_filled(reader, took, sink, arg);
        } else {
            wrong = collect(reader, at, count, sink, arg, &took);
        }
        at += took;
        count -= took;
    }
    return wrong;
}
