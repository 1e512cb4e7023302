#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "train/sources.h"

#define PIXELS (KOFN_CIFAR10_RECORD - 1)
#define FILE_LIMIT ((size_t)1000000 * KOFN_CIFAR10_RECORD)
#define PATH_BYTES 4096

static const char *const train_files[] = {"data_batch_1.bin", "data_batch_2.bin",
                                          "data_batch_3.bin", "data_batch_4.bin",
                                          "data_batch_5.bin"};
static const char *const test_files[] = {"test_batch.bin"};

int kofn_cifar10_check(const uint8_t *bytes, size_t length, const char *name,
                       const struct kofn_log *log)
{
    if (!length || length % KOFN_CIFAR10_RECORD)
        return kofn_error(
            log, KOFN_FORMAT,
            "%s: %zu bytes, expected a multiple of %u (a label and 32 x 32 x 3 pixels)", name,
            length, KOFN_CIFAR10_RECORD);
    for (size_t at = 0; at < length; at += KOFN_CIFAR10_RECORD)
        if (bytes[at] >= KOFN_CIFAR10_CLASSES)
            return kofn_error(log, KOFN_FORMAT, "%s: offset %zu: label %u, expected 0 to %u", name,
                              at, bytes[at], KOFN_CIFAR10_CLASSES - 1);
    return 0;
}

void kofn_cifar10_unpack(const uint8_t *bytes, size_t length, uint8_t *labels, uint8_t *pixels)
{
    for (size_t i = 0; i < length / KOFN_CIFAR10_RECORD; i++) {
        labels[i] = bytes[i * KOFN_CIFAR10_RECORD];
        memcpy(pixels + i * PIXELS, bytes + i * KOFN_CIFAR10_RECORD + 1, PIXELS);
    }
}

/* Makes room for @more samples; owned[] follows the arrays. */
static int grow(struct kofn_samples *set, void *owned[2], size_t more)
{
    size_t count = set->count + more;
    uint8_t *pixels, *labels;

    pixels = realloc(set->pixels, count * PIXELS);
    if (!pixels)
        return KOFN_NO_MEMORY;
    owned[0] = set->pixels = pixels;
    labels = realloc(set->labels, count);
    if (!labels)
        return KOFN_NO_MEMORY;
    owned[1] = set->labels = labels;
    return 0;
}

/* Adds the records of a file to @set. */
static int add_file(const char *path, const struct kofn_log *log, struct kofn_samples *set,
                    void *owned[2])
{
    size_t length, count;
    uint8_t *bytes;
    int rc;

    rc = kofn_file_read(path, FILE_LIMIT, log, &bytes, &length);
    if (rc)
        return rc;
    rc = kofn_cifar10_check(bytes, length, path, log);
    if (rc)
        goto free_bytes;
    count = length / KOFN_CIFAR10_RECORD;
    rc = grow(set, owned, count);
    if (rc) {
        kofn_error(log, rc, "%s: %zu samples", path, count);
        goto free_bytes;
    }
    kofn_cifar10_unpack(bytes, length, set->labels + set->count,
                        set->pixels + (size_t)set->count * PIXELS);
    set->count += (uint32_t)count;

free_bytes:
    free(bytes);
    return rc;
}

static int add_files(const char *directory, const char *const *files, size_t count,
                     const struct kofn_log *log, struct kofn_samples *set, void *owned[2])
{
    char path[PATH_BYTES];
    int rc = 0;

    for (size_t i = 0; i < count && !rc; i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, files[i]) >= sizeof(path))
            return kofn_error(log, KOFN_INVALID, "data cifar10: the directory's name is too long");
        rc = add_file(path, log, set, owned);
    }
    return rc;
}

int kofn_cifar10_load(const char *directory, const struct kofn_log *log, struct kofn_data *data)
{
    char inner[PATH_BYTES - 64];
    int length, rc;

    length = snprintf(inner, sizeof(inner), "%s/cifar-10-batches-bin", directory);
    if ((size_t)length < sizeof(inner) && !access(inner, F_OK))
        directory = inner;
    data->channels = 3;
    data->height = data->width = 32;
    data->features = PIXELS;
    data->classes = KOFN_CIFAR10_CLASSES;
    rc = add_files(directory, train_files, KOFN_ARRAY_SIZE(train_files), log, &data->train,
                   &data->owned[0]);
    if (!rc)
        rc = add_files(directory, test_files, KOFN_ARRAY_SIZE(test_files), log, &data->test,
                       &data->owned[2]);
    return rc;
}
