#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "train/sources.h"

#define FILE_LIMIT ((size_t)1 << 30) /* bytes, uncompressed */
#define UNSIGNED_BYTE 8              /* the one type of values that is read */
#define PATH_BYTES 4096

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int check_sizes(const uint32_t sizes[3], const char *name, const struct kofn_log *log)
{
    if (!sizes[0] || sizes[0] > KOFN_DATA_SAMPLES)
        return kofn_error(log, KOFN_FORMAT, "%s: offset 4: %u samples, expected 1 to %u", name,
                          sizes[0], KOFN_DATA_SAMPLES);
    if (!sizes[1] || !sizes[2] || (uint64_t)sizes[1] * sizes[2] > KOFN_DATA_FEATURES)
        return kofn_error(log, KOFN_FORMAT,
                          "%s: offset 8: images of %u x %u, expected 1 to %u pixels", name,
                          sizes[1], sizes[2], KOFN_DATA_FEATURES);
    return 0;
}

int kofn_idx_parse(const uint8_t *bytes, size_t length, unsigned dimensions, const char *name,
                   const struct kofn_log *log, struct kofn_idx *idx)
{
    uint32_t sizes[3] = {1, 1, 1}, magic = UNSIGNED_BYTE << 8 | dimensions;
    size_t header = 4 + 4 * (size_t)dimensions;
    uint64_t expected;
    int rc;

    if (length < header)
        return kofn_error(log, KOFN_FORMAT, "%s: %zu bytes, expected a header of %zu", name, length,
                          header);
    if (big_endian(bytes) != magic)
        return kofn_error(log, KOFN_FORMAT, "%s: offset 0: 0x%08x, expected 0x%08x (%s)", name,
                          big_endian(bytes), magic,
                          dimensions == 1 ? "labels" : "images, unsigned bytes");
    for (unsigned i = 0; i < dimensions; i++)
        sizes[i] = big_endian(bytes + 4 + 4 * (size_t)i);
    rc = check_sizes(sizes, name, log);
    if (rc)
        return rc;
    expected = header + (uint64_t)sizes[0] * sizes[1] * sizes[2];
    if (length != expected)
        return kofn_error(log, KOFN_FORMAT, "%s: %zu bytes, expected %llu by its header", name,
                          length, (unsigned long long)expected);
    *idx = (struct kofn_idx){sizes[0], sizes[1], sizes[2], bytes + header};
    return 0;
}

int kofn_idx_match(const struct kofn_idx *images, const struct kofn_idx *labels, uint32_t classes,
                   const char *name, const struct kofn_log *log)
{
    if (images->count != labels->count)
        return kofn_error(log, KOFN_FORMAT, "%s: offset 4: %u labels, expected %u, one an image",
                          name, labels->count, images->count);
    for (uint32_t i = 0; classes && i < labels->count; i++)
        if (labels->values[i] >= classes)
            return kofn_error(log, KOFN_FORMAT, "%s: offset %u: label %u, expected 0 to %u", name,
                              8 + i, labels->values[i], classes - 1);
    return 0;
}

/* Finds KIND-idxN-ubyte, KIND.idxN-ubyte, or one of these with .gz. */
static int find_file(const char *directory, const char *kind, unsigned dimensions,
                     const struct kofn_log *log, char path[PATH_BYTES])
{
    static const char *const ends[] = {"", ".gz"};
    static const char separators[] = {'-', '.'};

    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            int length = snprintf(path, PATH_BYTES, "%s/%s%cidx%u-ubyte%s", directory, kind,
                                  separators[i], dimensions, ends[j]);

            if (length >= PATH_BYTES)
                return kofn_error(log, KOFN_INVALID, "data idx: the directory's name is too long");
            if (!access(path, F_OK))
                return 0;
        }
    return kofn_error(log, KOFN_SYSTEM, "%s/%s-idx%u-ubyte: no such file, nor one with .gz",
                      directory, kind, dimensions);
}

/* Reads and parses one file; @path is filled for messages, @owned holds its bytes. */
static int load_file(const char *directory, const char *kind, unsigned dimensions,
                     const struct kofn_log *log, char path[PATH_BYTES], void **owned,
                     struct kofn_idx *idx)
{
    uint8_t *bytes;
    size_t length;
    int rc;

    rc = find_file(directory, kind, dimensions, log, path);
    if (rc)
        return rc;
    rc = kofn_gzip_read(path, FILE_LIMIT, log, &bytes, &length);
    if (rc)
        return rc;
    *owned = bytes;
    return kofn_idx_parse(bytes, length, dimensions, path, log, idx);
}

/* Loads images and labels of one set; @classes as for kofn_idx_match(). */
static int load_set(const char *directory, const char *prefix, uint32_t classes,
                    const struct kofn_log *log, void *owned[2], struct kofn_idx *images,
                    struct kofn_idx *labels)
{
    char kind[32], images_path[PATH_BYTES], labels_path[PATH_BYTES];
    int rc;

    snprintf(kind, sizeof(kind), "%s-images", prefix);
    rc = load_file(directory, kind, 3, log, images_path, &owned[0], images);
    if (rc)
        return rc;
    snprintf(kind, sizeof(kind), "%s-labels", prefix);
    rc = load_file(directory, kind, 1, log, labels_path, &owned[1], labels);
    if (rc)
        return rc;
    return kofn_idx_match(images, labels, classes, labels_path, log);
}

/* The classes there are by the training set, which has all of them. */
static uint32_t count_classes(const struct kofn_idx *labels)
{
    uint32_t classes = 2;

    for (uint32_t i = 0; i < labels->count; i++)
        classes = KOFN_MAX(classes, labels->values[i] + 1u);
    return classes;
}

static struct kofn_samples samples_of(const struct kofn_idx *images, const struct kofn_idx *labels)
{
    /* the memory is ours: what was parsed as constant is what data->owned[] holds */
    return (struct kofn_samples){(uint8_t *)images->values, (uint8_t *)labels->values,
                                 images->count};
}

int kofn_idx_load(const char *directory, const struct kofn_log *log, struct kofn_data *data)
{
    struct kofn_idx images, labels, test_images, test_labels;
    int rc;

    rc = load_set(directory, "train", 0, log, &data->owned[0], &images, &labels);
    if (rc)
        return rc;
    data->classes = count_classes(&labels);
    rc = load_set(directory, "t10k", data->classes, log, &data->owned[2], &test_images,
                  &test_labels);
    if (rc)
        return rc;
    if (test_images.height != images.height || test_images.width != images.width)
        return kofn_error(log, KOFN_FORMAT,
                          "data idx:%s: test images are %u x %u, expected %u x %u as in training",
                          directory, test_images.height, test_images.width, images.height,
                          images.width);
    data->channels = 1;
    data->height = images.height;
    data->width = images.width;
    data->features = images.height * images.width;
    data->train = samples_of(&images, &labels);
    data->test = samples_of(&test_images, &test_labels);
    return 0;
}
