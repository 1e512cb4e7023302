#include "proto/frame.h"

static uint32_t length_of(const struct kofn_frame *frame)
{
    const unsigned char *b = frame->bytes;

    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

int kofn_frame_wanted(const struct kofn_frame *frame)
{
    if (frame->filled < KOFN_FRAME_HEAD)
        return (int)(KOFN_FRAME_HEAD - frame->filled);
    if (!length_of(frame) || length_of(frame) > KOFN_WIRE_BYTES)
        return KOFN_PROTOCOL;
    return (int)(KOFN_FRAME_HEAD + length_of(frame) - frame->filled);
}

int kofn_frame_take(struct kofn_frame *frame, struct kofn_wire *message, const char **reason)
{
    frame->filled = 0;
    return kofn_wire_unpack(frame->bytes + KOFN_FRAME_HEAD, length_of(frame), message, reason);
}

size_t kofn_frame_pack(const struct kofn_wire *message, unsigned char bytes[KOFN_FRAME_BYTES])
{
    size_t length = kofn_wire_pack(message, bytes + KOFN_FRAME_HEAD);

    for (size_t i = 0; i < KOFN_FRAME_HEAD; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    return KOFN_FRAME_HEAD + length;
}
