/* CIFAR-10 batches: what is accepted is whole records, all of which come out with a label that
 * there is. */
#include <stdlib.h>
#include <string.h>

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
    size_t count = size / KOFN_CIFAR10_RECORD, pixels = KOFN_CIFAR10_RECORD - 1;
    uint8_t *labels, *image;

    if (kofn_cifar10_check(bytes, size, "fuzz", &silent))
        return 0;
    expect(count && count * KOFN_CIFAR10_RECORD == size);
    /* exactly as large as needed, so that a sanitizer sees a byte too many */
    labels = malloc(count);
    image = malloc(count * pixels);
    expect(labels && image);
    kofn_cifar10_unpack(bytes, size, labels, image);
    for (size_t i = 0; i < count; i++) {
        expect(labels[i] < KOFN_CIFAR10_CLASSES);
        expect(!memcmp(image + i * pixels, bytes + i * KOFN_CIFAR10_RECORD + 1, pixels));
    }
    free(labels);
    free(image);
    return 0;
}
