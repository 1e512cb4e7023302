/* Control messages: whatever arrives is refused, or is a message that packs and unpacks to itself.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char bytes[KOFN_WIRE_BYTES];
    struct kofn_wire first, second;
    const char *reason;
    size_t length;

    if (kofn_wire_unpack(data, size, &first, &reason))
        return 0;
    length = kofn_wire_pack(&first, bytes);
    if (length != size || kofn_wire_unpack(bytes, length, &second, &reason) ||
        memcmp(&first, &second, sizeof(first)))
        abort();
    return 0;
}
