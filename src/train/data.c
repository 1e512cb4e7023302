#include "train/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "train/sources.h"

static const char *const sources[] = {"synthetic", "cifar10", "idx"};

static int load(const char *spec, uint64_t seed, const struct kofn_log *log, struct kofn_data *data)
{
    struct kofn_text rest = kofn_text(spec), name = kofn_text_cut(&rest, ':');
    char hint[KOFN_HINT_LENGTH];
    bool synthetic = kofn_text_is(name, "synthetic"), cifar10 = kofn_text_is(name, "cifar10");

    if (!synthetic && !cifar10 && !kofn_text_is(name, "idx"))
        return kofn_error(log, KOFN_INVALID, "data %s: unknown source \"%.*s\"; %s", spec,
                          KOFN_TEXT_ARGS(name),
                          kofn_hint(hint, name, sources, KOFN_ARRAY_SIZE(sources)));
    if (synthetic) {
        if (rest.start)
            return kofn_error(log, KOFN_INVALID, "data %s: synthetic takes no argument", spec);
        return kofn_synthetic_make(seed, log, data);
    }
    if (!rest.length)
        return kofn_error(log, KOFN_INVALID, "data %s: no directory; expected %.*s:DIR", spec,
                          KOFN_TEXT_ARGS(name));
    /* the argument is the end of the specification, so it is terminated */
    return cifar10 ? kofn_cifar10_load(rest.start, log, data)
                   : kofn_idx_load(rest.start, log, data);
}

/* The mean of every feature, and the deviation of all pixels from their feature's. One scale for
 * all features keeps those that hardly vary, as the corners of digits, from being blown up.
 */
static int normalise(struct kofn_data *data, const struct kofn_log *log)
{
    size_t features = data->features, count = data->train.count;
    uint64_t *sums, squares = 0;
    double explained = 0, variance;

    sums = calloc(features, sizeof(*sums));
    data->mean = calloc(features, sizeof(*data->mean));
    if (!sums || !data->mean) {
        free(sums);
        return kofn_error(log, KOFN_NO_MEMORY, "data: %zu features", features);
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *pixels = data->train.pixels + i * features;
        uint32_t square = 0; /* 65,536 squares of bytes fit */

        for (size_t j = 0; j < features; j++) {
            sums[j] += pixels[j];
            square += (uint32_t)pixels[j] * pixels[j];
        }
        squares += square;
    }
    for (size_t j = 0; j < features; j++) {
        double mean = (double)sums[j] / (double)count;

        data->mean[j] = (float)mean;
        explained += mean * mean;
    }
    free(sums);
    variance = (double)squares / ((double)count * (double)features) - explained / (double)features;
    data->scale = variance > 1e-6 ? (float)(1 / sqrt(variance)) : 1; /* all samples alike: zeros */
    return 0;
}

int kofn_data_open(const char *spec, uint64_t seed, const struct kofn_log *log,
                   struct kofn_data **data_p)
{
    struct kofn_data *data;
    int rc;

    data = calloc(1, sizeof(*data));
    if (!data)
        return kofn_error(log, KOFN_NO_MEMORY, "data: %zu bytes", sizeof(*data));
    rc = load(spec, seed, log, data);
    if (rc)
        goto close_data;
    rc = normalise(data, log);
    if (rc)
        goto close_data;
    *data_p = data;
    return 0;

close_data:
    kofn_data_close(data);
    return rc;
}

void kofn_data_close(struct kofn_data *data)
{
    if (!data)
        return;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(data->owned); i++)
        free(data->owned[i]);
    free(data->mean);
    free(data);
}

/* Blocks of a fixed size are what every compiler turns into vector instructions without being asked
 * to. */
#define BLOCK 64u

static void convert(const uint8_t *restrict pixels, const float *restrict mean, float scale,
                    size_t features, float *restrict out)
{
    size_t j = 0;

    for (; j + BLOCK <= features; j += BLOCK)
        for (size_t i = j; i < j + BLOCK; i++)
            out[i] = ((float)pixels[i] - mean[i]) * scale;
    for (; j < features; j++)
        out[j] = ((float)pixels[j] - mean[j]) * scale;
}

void kofn_data_gather(const struct kofn_data *data, const struct kofn_samples *set,
                      const uint32_t *index, uint32_t count, float *out)
{
    size_t features = data->features;

    for (size_t i = 0; i < count; i++)
        convert(set->pixels + index[i] * features, data->mean, data->scale, features,
                out + i * features);
}

void kofn_data_gather_range(const struct kofn_data *data, const struct kofn_samples *set,
                            uint32_t first, uint32_t count, float *out)
{
    size_t features = data->features;

    for (size_t i = 0; i < count; i++)
        convert(set->pixels + (first + i) * features, data->mean, data->scale, features,
                out + i * features);
}
