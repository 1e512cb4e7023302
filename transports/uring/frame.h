/* frame.h: one-sided writes on a stream of bytes: what is written where, how long it is, and then
 * the bytes themselves.
 *
 * A frame is a header of 32 bytes and its body. The body of a WRITE is a part of a payload and goes
 * straight to where it belongs; any other is at most a stamp and is collected here. The reader
 * takes whatever part of the stream there is, in pieces of any size, and keeps nothing but the
 * frame it is in: what a peer may announce is bounded by the rules of its connection before a byte
 * of the body is taken. Nothing here does I/O. doc/protocol.md has the pictures.
 *
 * Threads: one a reader. No allocation.
 */
#ifndef KOFN_TRANSPORTS_URING_FRAME_H
#define KOFN_TRANSPORTS_URING_FRAME_H

#include "proto/slot.h"

enum kofn__frame_type {
    FRAME_WRITE = 1, /* `length` bytes of the payload of publication `value`, from `offset` on */
    FRAME_STAMP,     /* the payload of publication `value` is complete; body: its stamp */
    FRAME_WORD,      /* a beat or a gate, `value`; a gate: not before model `offset` has come */
    FRAME_RECEIPT,   /* body: a receipt */
    FRAME_READ,      /* asks for publication `value`; models: for one behind `value` */
    FRAME_NOTHING,   /* there is no publication `value` to be read; models: none behind `value` */
};

/* What is written, or read. */
enum kofn__frame_region { REGION_SLOT = 1, REGION_MODEL, REGION_BEAT, REGION_BLOCK };

struct kofn__frame {
    uint8_t type;   /* enum kofn__frame_type */
    uint8_t region; /* enum kofn__frame_region */
    uint16_t zero;
    uint32_t epoch; /* of the membership this connection belongs to */
    uint64_t offset;
    uint64_t length; /* of the body */
    uint64_t value;
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__frame) == 32, "no hidden padding");

#define KOFN__FRAME_BODY 64u /* the longest body that is not payload: a stamp */
KOFN_STATIC_ASSERT(sizeof(struct kofn_stamp) <= KOFN__FRAME_BODY, "a stamp fits");
KOFN_STATIC_ASSERT(sizeof(struct kofn_receipt_line) <= KOFN__FRAME_BODY, "a receipt fits");

/* A frame with everything but its body. */
struct kofn__frame kofn__frame_write(enum kofn__frame_region region, uint32_t epoch,
                                     uint64_t sequence, uint64_t offset, uint64_t length);
struct kofn__frame kofn__frame_stamp(enum kofn__frame_region region, uint32_t epoch,
                                     uint64_t sequence);
struct kofn__frame kofn__frame_word(enum kofn__frame_region region, uint32_t epoch, uint64_t word,
                                    uint64_t after);
struct kofn__frame kofn__frame_receipt(uint32_t epoch, uint64_t sequence);
struct kofn__frame kofn__frame_read(enum kofn__frame_type type, enum kofn__frame_region region,
                                    uint32_t epoch, uint64_t value);

/* What may come on a connection. */
struct kofn__frame_rules {
    bool server;  /* who reads: a server gets updates and beats, a worker models, gates
                     and receipts */
    bool payload; /* payload and stamps come on this connection */
    uint32_t epoch;
    uint64_t payload_bytes; /* of the publications that come */
};

/* Judges a header by the rules alone: NULL, or what is wrong with it. */
const char *kofn__frame_wrong(const struct kofn__frame *frame,
                              const struct kofn__frame_rules *rules);

/* What a reader's owner makes of frames. Each returns NULL, or why the peer is to be cut off. */
struct kofn__frame_sink {
    /* A WRITE begins. @target  out: where its body goes, frame->length bytes */
    const char *(*begin)(void *arg, const struct kofn__frame *frame, void **target);
    /* A frame is complete. @body: of a stamp or a receipt */
    const char *(*complete)(void *arg, const struct kofn__frame *frame, const void *body);
};

struct kofn__reader {
    struct kofn__frame_rules rules;
    struct kofn__frame frame;              /* being read */
    unsigned char bytes[KOFN__FRAME_BODY]; /* of a header, or of a body that is not payload */
    uint32_t have;                         /* of those */
    bool in_body;
    char *target;  /* in the body of a WRITE: where its next byte goes, else NULL */
    uint64_t left; /* of it */
};

void kofn__reader_init(struct kofn__reader *reader, const struct kofn__frame_rules *rules);

/* Where the next bytes of the stream may be put without a copy, and how many: NULL between
 * payloads. */
static inline void *kofn__reader_room(const struct kofn__reader *reader, uint64_t *bytes)
{
    *bytes = reader->target ? reader->left : 0;
    return reader->target;
}

/* @count bytes have been put there. */
const char *kofn__reader_filled(struct kofn__reader *reader, uint64_t count,
                                const struct kofn__frame_sink *sink, void *arg);

/* Takes the next @count bytes of the stream. Returns NULL, or why the peer is to be cut off:
 * nothing may be read from it afterwards.
 */
const char *kofn__reader_feed(struct kofn__reader *reader, const void *bytes, size_t count,
                              const struct kofn__frame_sink *sink, void *arg);

#endif
