/* idx files: the first byte says how many dimensions are wanted. What is accepted lies within the
 * file and fills it. */
#include <stdlib.h>

#include "train/sources.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static void forget(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg, (void)level, (void)message;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct kofn_log silent = {KOFN_LOG_DEBUG, forget, NULL};
    struct kofn_idx idx;
    unsigned dimensions;
    uint64_t sum = 0, values;

    if (!size)
        return 0;
    dimensions = bytes[0] % 2 ? 1 : 3;
    bytes++;
    size--;
    if (kofn_idx_parse(bytes, size, dimensions, "fuzz", &silent, &idx))
        return 0;
    values = (uint64_t)idx.count * idx.height * idx.width;
    expect(values && (uint64_t)(idx.height) * idx.width <= KOFN_DATA_FEATURES);
    expect(idx.values > bytes && idx.values + values == bytes + size);
    for (uint64_t i = 0; i < values; i++)
        sum += idx.values[i];
    if (dimensions == 1 && !kofn_idx_match(&idx, &idx, 10, "fuzz", &silent))
        expect(sum <= 9 * values);
    return 0;
}
