/* A stream of bytes, in pieces of any size: what comes out does not depend on the pieces, no byte
 * behind a frame is asked for, and a length that no message has is refused at once.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Feeds one frame from @data, at most @piece bytes at a time. Returns how many bytes it took, and
 * in
 * @rc what came of it: KOFN_AGAIN if the data ended first.
 */
static size_t feed(const uint8_t *data, size_t size, size_t piece, struct kofn_wire *message,
                   int *rc)
{
    struct kofn_frame frame = {0};
    const char *reason = NULL;
    size_t used = 0;
    int wanted;

    while ((wanted = kofn_frame_wanted(&frame)) > 0) {
        size_t n = KOFN_MIN(KOFN_MIN((size_t)wanted, piece), size - used);

        require(frame.filled + (size_t)wanted <= sizeof(frame.bytes));
        if (!n) {
            *rc = KOFN_AGAIN;
            return used;
        }
        memcpy(frame.bytes + frame.filled, data + used, n);
        frame.filled += (uint32_t)n;
        used += n;
    }
    if (wanted) {
        require(used == KOFN_FRAME_HEAD);
        *rc = wanted;
        return used;
    }
    *rc = kofn_frame_take(&frame, message, &reason);
    require(!*rc || (reason && *reason));
    require(frame.filled == 0);
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = size ? 1 + data[0] % 64 : 1;

    while (size) {
        unsigned char again[KOFN_FRAME_BYTES];
        struct kofn_wire first, second;
        int rc, other;
        size_t used = feed(data, size, size, &first, &rc);

        require(feed(data, size, piece, &second, &other) == used && other == rc);
        if (rc)
            return 0;
        require(!memcmp(&first, &second, sizeof(first)));
        require(kofn_frame_pack(&first, again) == used);
        data += used;
        size -= used;
    }
    return 0;
}
