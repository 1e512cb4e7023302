/* synthetic.c: a data set without files: clusters that no plane separates, seen through noisy
 * pixels.
 *
 * A sample is a point of a latent space near one of several centres of its class, which lie
 * anywhere among those of the other classes: a linear model finds about six tenths of the samples,
 * one hidden layer nearly nine. Pixels are linear in the latent point, with noise, cut to
 * bytes.
 */
#include <stdlib.h>

#include "base/random.h"
#include "train/sources.h"

#define CLASSES 10u
#define FEATURES 256u
#define TRAIN 16384u
#define TEST 4096u
#define LATENT 10u
#define CENTRES 3u
#define SPREAD 1.55
#define GREY 127.5
#define GAIN 10.0
#define NOISE 60.0

struct world {
    double centres[CLASSES][CENTRES][LATENT]; /* deviation of the points around one is 1 */
    float view[LATENT][FEATURES];             /* what a latent coordinate does to a pixel */
};

static void make_world(struct world *world, struct kofn_random *random)
{
    double *centre = &world->centres[0][0][0];
    float *view = &world->view[0][0];

    for (size_t i = 0; i < sizeof(world->centres) / sizeof(*centre); i++)
        centre[i] = SPREAD * kofn_random_normal(random);
    for (size_t i = 0; i < sizeof(world->view) / sizeof(*view); i++)
        view[i] = (float)(GAIN * kofn_random_normal(random));
}

static void make_pixels(const struct world *world, const float point[LATENT],
                        struct kofn_random *random, uint8_t pixels[FEATURES])
{
    float values[FEATURES];
    uint64_t bits = 0;

    for (size_t j = 0; j < FEATURES; j++) {
        /* uniform noise: a byte of randomness is enough for a pixel */
        bits = j % 8 ? bits >> 8 : kofn_random_next(random);
        values[j] = (float)GREY + (float)(NOISE / 127.5) * ((float)(bits & 255) - 127.5f);
    }
    for (size_t k = 0; k < LATENT; k++)
        for (size_t j = 0; j < FEATURES; j++)
            values[j] += point[k] * world->view[k][j];
    for (size_t j = 0; j < FEATURES; j++)
        pixels[j] = (uint8_t)(values[j] < 0 ? 0 : values[j] > 255 ? 255 : values[j]);
}

static int make_set(const struct world *world, uint32_t count, struct kofn_random *random,
                    struct kofn_samples *set, void *owned[2])
{
    float point[LATENT];

    owned[0] = set->pixels = malloc((size_t)count * FEATURES);
    owned[1] = set->labels = malloc(count);
    if (!set->pixels || !set->labels)
        return KOFN_NO_MEMORY;
    set->count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t label = kofn_random_below(random, CLASSES);
        const double *centre = world->centres[label][kofn_random_below(random, CENTRES)];

        for (size_t k = 0; k < LATENT; k++)
            point[k] = (float)(centre[k] + kofn_random_normal(random));
        set->labels[i] = (uint8_t)label;
        make_pixels(world, point, random, set->pixels + (size_t)i * FEATURES);
    }
    return 0;
}

int kofn_synthetic_make(uint64_t seed, const struct kofn_log *log, struct kofn_data *data)
{
    struct kofn_random random;
    struct world *world;
    int rc;

    world = malloc(sizeof(*world));
    if (!world)
        return kofn_error(log, KOFN_NO_MEMORY, "data synthetic: %zu bytes", sizeof(*world));
    kofn_random_seed(&random, seed, kofn_stream_of(KOFN_STREAM_DATA, 0));
    make_world(world, &random);
    rc = make_set(world, TRAIN, &random, &data->train, &data->owned[0]);
    if (!rc)
        rc = make_set(world, TEST, &random, &data->test, &data->owned[2]);
    free(world);
    if (rc)
        return kofn_error(log, rc, "data synthetic: %u samples of %u bytes", TRAIN + TEST,
                          FEATURES);
    data->channels = data->height = 1;
    data->width = data->features = FEATURES;
    data->classes = CLASSES;
    return 0;
}
