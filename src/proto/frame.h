/* frame.h: messages on a stream of bytes: a length of four bytes, little-endian, then the message.
 *
 * A frame is filled as bytes come, in pieces of any size, and never asks for a byte behind its own
 * end: what follows stays where it is. A length that no message has is seen before a byte of the
 * message is taken. Pure; nothing here does I/O.
 */
#ifndef KOFN_PROTO_FRAME_H
#define KOFN_PROTO_FRAME_H

#include "proto/wire.h"

#define KOFN_FRAME_HEAD 4u
#define KOFN_FRAME_BYTES (KOFN_FRAME_HEAD + KOFN_WIRE_BYTES)

struct kofn_frame {
    uint32_t filled; /* bytes that have come */
    unsigned char bytes[KOFN_FRAME_BYTES];
};

/* How many more bytes are wanted, for now: those of the length, then those of the message. 0 = it
 * is whole. KOFN_PROTOCOL if its length cannot be that of a message.
 */
int kofn_frame_wanted(const struct kofn_frame *frame);

/* Unpacks a whole frame, and empties it for the next. Returns what kofn_wire_unpack() does. */
int kofn_frame_take(struct kofn_frame *frame, struct kofn_wire *message, const char **reason);

/* Packs @message as a frame. Returns the length. */
size_t kofn_frame_pack(const struct kofn_wire *message, unsigned char bytes[KOFN_FRAME_BYTES]);

#endif
