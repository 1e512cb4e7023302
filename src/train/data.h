/* data.h: labelled samples to train on and to test with.
 *
 *     synthetic      made from the seed: 10 classes, 256 features, 16,384 + 4,096 samples
 *     cifar10:DIR    data_batch_1.bin to data_batch_5.bin and test_batch.bin in DIR or
 * DIR/cifar-10-batches-bin idx:DIR        MNIST and its like: train-images-idx3-ubyte,
 * train-labels-idx1-ubyte, t10k-..., also with .gz
 *
 * Samples stay bytes in memory, one copy for all processes forked after kofn_data_open(); they
 * become floats, normalised by the training set, while a mini-batch is put together. Immutable once
 * open, so any number of threads may read it.
 */
#ifndef KOFN_TRAIN_DATA_H
#define KOFN_TRAIN_DATA_H

#include "base/log.h"

#define KOFN_DATA_FEATURES 65536u   /* most features of a sample */
#define KOFN_DATA_CLASSES 256u      /* labels are bytes */
#define KOFN_DATA_SAMPLES 10000000u /* most samples of a set */

/* One set: sample i is pixels[i * features] to pixels[(i + 1) * features - 1]; its class is
 * labels[i]. */
struct kofn_samples {
    uint8_t *pixels;
    uint8_t *labels; /* all below `classes` */
    uint32_t count;  /* at least 1 */
};

struct kofn_data {
    struct kofn_samples train, test;
    uint32_t channels, height,
        width;         /* of an image, in this order in memory; 1, 1, features if it is none */
    uint32_t features; /* their product */
    uint32_t classes;  /* at least 2 */
    float *mean;       /* of every feature over the training set */
    float scale;       /* 1 / standard deviation of all pixels around their features' means */
    void *owned[4];    /* what the sets point into */
};

/* Loads or makes a data set. Only `synthetic` uses @seed: the same seed gives the same set on every
 * machine.
 *
 * Returns 0; KOFN_INVALID (@spec cannot be understood), KOFN_SYSTEM (a file is missing or cannot be
 * read), KOFN_FORMAT (a file is not what it should be), KOFN_NO_MEMORY; logged with file, offset
 * and what was expected.
 */
int kofn_data_open(const char *spec, uint64_t seed, const struct kofn_log *log,
                   struct kofn_data **data_p);

void kofn_data_close(struct kofn_data *data);

/* Writes @count samples of @set, those in @index (all below set->count), as normalised floats: @out
 * has
 * @count rows of `features`.
 */
void kofn_data_gather(const struct kofn_data *data, const struct kofn_samples *set,
                      const uint32_t *index, uint32_t count, float *out);

/* The same for the samples from @first on. */
void kofn_data_gather_range(const struct kofn_data *data, const struct kofn_samples *set,
                            uint32_t first, uint32_t count, float *out);

#endif
