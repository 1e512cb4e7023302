/* The convolutional network: its gradient is that of its definition, whatever thread asks for it.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/lib/caught_log.h"
#include "tests/lib/runner.h"
#include "train/model.h"
#include "train/sgd.h"

#define SAMPLES 4u
#define CHANNELS 3u
#define SIDE 17u /* 17 -> 13, 6 -> 2, 1: both stages leave a row out */
#define FEATURES (CHANNELS * SIDE * SIDE)
#define CLASSES 3u

/* Images and labels at random. */
struct images {
    struct kofn_data data;
    uint8_t pixels[SAMPLES * FEATURES], labels[SAMPLES];
    float mean[FEATURES];
};

static void draw_images(struct images *images)
{
    struct kofn_random random;

    kofn_random_seed(&random, 3, 3);
    for (size_t i = 0; i < SAMPLES * FEATURES; i++)
        images->pixels[i] = (uint8_t)kofn_random_next(&random);
    for (size_t i = 0; i < SAMPLES; i++)
        images->labels[i] = (uint8_t)kofn_random_below(&random, CLASSES);
    for (size_t i = 0; i < FEATURES; i++)
        images->mean[i] = 127.5f;
    images->data = (struct kofn_data){.train = {images->pixels, images->labels, SAMPLES},
                                      .test = {images->pixels, images->labels, SAMPLES},
                                      .channels = CHANNELS,
                                      .height = SIDE,
                                      .width = SIDE,
                                      .features = FEATURES,
                                      .classes = CLASSES,
                                      .mean = images->mean,
                                      .scale = 1 / 73.9f};
}

/* False, and the test is skipped, in a build without what it takes, which must say so. */
static bool have_cnn(void)
{
#if defined(HAVE_OPENBLAS) && defined(HAVE_ONEDNN)
    return true;
#else
    struct kofn_caught caught;
    struct kofn_model *model;

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL(kofn_model_open(&(struct kofn_model_attr){.name = "cnn"}, &caught.log, &model),
                    KOFN_UNSUPPORTED);
    CU_ASSERT(kofn_caught_one(&caught, "which is not built in"));
    kofn_test_skip("built without OpenBLAS or oneDNN");
    return false;
#endif
}

static struct kofn_model *opened(const struct kofn_data *data, uint32_t batch)
{
    struct kofn_model_attr attr = {.name = "cnn", .data = data, .seed = 1, .batch = batch};
    struct kofn_model *model;

    CU_ASSERT_EQUAL_FATAL(kofn_model_open(&attr, NULL, &model), 0);
    return model;
}

static void *array(size_t count, size_t size)
{
    void *values = calloc(count, size);

    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    return values;
}

/* ---- the definition, in double precision ---- */

/* Filters of 5 x 5, the maximum of each 2 x 2, a rectifier: from @in (channels x side x side) to
 * @out (64 x half x half). Returns what follows its parameters.
 */
static const double *defined_stage(const double *weights, const double *in, size_t channels,
                                   size_t side, double *out)
{
    const double *biases = weights + 64 * channels * 25;
    size_t half = (side - 4) / 2;

    for (size_t f = 0; f < 64; f++)
        for (size_t at = 0; at < half * half; at++) {
            double top = 0;

            for (size_t corner = 0; corner < 4; corner++) {
                size_t y = at / half * 2 + corner / 2, x = at % half * 2 + corner % 2;
                double sum = biases[f];

                for (size_t c = 0; c < channels; c++)
                    for (size_t k = 0; k < 25; k++)
                        sum += weights[(f * channels + c) * 25 + k] *
                               in[(c * side + y + k / 5) * side + x + k % 5];
                top = fmax(top, sum);
            }
            out[f * half * half + at] = top;
        }
    return biases + 64;
}

static const double *defined_layer(const double *weights, const double *in, size_t inputs,
                                   double *out, size_t outputs, bool rectified)
{
    const double *biases = weights + inputs * outputs;

    for (size_t i = 0; i < outputs; i++) {
        out[i] = biases[i];
        for (size_t j = 0; j < inputs; j++)
            out[i] += weights[i * inputs + j] * in[j];
        out[i] = rectified ? fmax(out[i], 0) : out[i];
    }
    return biases + outputs;
}

/* The mean loss of the first @count samples. */
static double defined_loss(const struct kofn_data *data, const double *parameters, uint32_t count)
{
    static double in[FEATURES], first[64 * 36], second[64], third[384], fourth[192], out[CLASSES];
    float row[FEATURES];
    double loss = 0;

    for (uint32_t i = 0; i < count; i++) {
        const double *next = parameters;
        double sum = 0;

        kofn_data_gather_range(data, &data->train, i, 1, row);
        for (size_t j = 0; j < FEATURES; j++)
            in[j] = row[j];
        next = defined_stage(next, in, CHANNELS, SIDE, first);
        next = defined_stage(next, first, 64, 6, second);
        next = defined_layer(next, second, 64, third, 384, true);
        next = defined_layer(next, third, 384, fourth, 192, true);
        defined_layer(next, fourth, 192, out, CLASSES, false);
        for (size_t c = 0; c < CLASSES; c++)
            sum += exp(out[c]);
        loss += log(sum) - out[data->train.labels[i]];
    }
    return loss / count;
}

static const uint32_t first_samples[SAMPLES] = {0, 1, 2, 3};

/* The slope of the defined loss at @x in parameters @from to @to - 1, in a random direction, and
 * what @gradient says about it, must be the same.
 */
static void check_slope(const struct kofn_data *data, double *x, const float *gradient, size_t from,
                        size_t to, struct kofn_random *random)
{
    double *direction = array(to - from, sizeof(*direction)), square = 0, told = 0, above, below;
    const double step = 1e-6;

    for (size_t j = from; j < to; j++) {
        direction[j - from] = kofn_random_normal(random);
        square += direction[j - from] * direction[j - from];
    }
    for (size_t j = from; j < to; j++) {
        direction[j - from] /= sqrt(square);
        told += direction[j - from] * gradient[j];
        x[j] += step * direction[j - from];
    }
    above = defined_loss(data, x, SAMPLES - 1);
    for (size_t j = from; j < to; j++)
        x[j] -= 2 * step * direction[j - from];
    below = defined_loss(data, x, SAMPLES - 1);
    for (size_t j = from; j < to; j++)
        x[j] += step * direction[j - from];
    CU_ASSERT_DOUBLE_EQUAL((above - below) / (2 * step), told, 5e-6);
    free(direction);
}

/* Parameters whose biases are not 0 either. */
static void scatter(struct kofn_model *model, float *x)
{
    struct kofn_random random;

    kofn_model_init(model, x);
    kofn_random_seed(&random, 9, 9);
    for (size_t j = 0; j < kofn_model_parameters(model); j++)
        x[j] += (float)(0.01 * kofn_random_normal(&random));
}

/* Loss and gradient are those of the definition, in every layer's weights and biases, for a batch
 * that is smaller than the largest. */
static void test_cnn_gradient(void)
{
    const size_t length[] = {64 * CHANNELS * 25, 64,  64 * 64 * 25,  64,     64 * 384, 384,
                             384 * 192,          192, 192 * CLASSES, CLASSES};
    struct images *images;
    struct kofn_model *model;
    struct kofn_random random;
    size_t n, at = 0;
    double *exact;
    float *x, *gradient, loss;

    if (!have_cnn())
        return;
    images = array(1, sizeof(*images));
    draw_images(images);
    model = opened(&images->data, SAMPLES);
    n = kofn_model_parameters(model);
    x = array(n, sizeof(*x));
    gradient = array(n, sizeof(*gradient));
    exact = array(n, sizeof(*exact));
    scatter(model, x);
    for (size_t j = 0; j < n; j++)
        exact[j] = x[j];
    /* a full batch before: nothing of it may be left */
    kofn_model_gradient(model, x, &(struct kofn_batch){first_samples, SAMPLES, 0}, gradient);
    loss = kofn_model_gradient(model, x, &(struct kofn_batch){first_samples, SAMPLES - 1, 0},
                               gradient);
    CU_ASSERT_DOUBLE_EQUAL(loss, defined_loss(&images->data, exact, SAMPLES - 1), 1e-5);
    CU_ASSERT_DOUBLE_EQUAL(kofn_model_evaluate(model, x, &images->data.train, 0).loss,
                           defined_loss(&images->data, exact, SAMPLES), 1e-5);
    kofn_random_seed(&random, 1, 1);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(length); i++) {
        size_t one = at + kofn_random_below(&random, length[i]);

        check_slope(&images->data, exact, gradient, at, at + length[i], &random);
        check_slope(&images->data, exact, gradient, one, one + 1, &random);
        at += length[i];
    }
    CU_ASSERT_EQUAL(at, n);
    free(x);
    free(gradient);
    free(exact);
    kofn_model_close(model);
    free(images);
}

/* Of CIFAR-10's shape it has the paper's 797,962 parameters; images too small for it are refused in
 * one line, and so are samples that are no images.
 */
static void test_cnn_shapes(void)
{
    struct kofn_caught caught;
    struct kofn_model_attr attr = {.name = "cnn", .batch = 1};
    struct images *images;
    struct kofn_model *model;

    if (!have_cnn())
        return;
    images = array(1, sizeof(*images));
    draw_images(images);
    attr.data = &images->data;
    images->data.channels = 3;
    images->data.height = images->data.width = 32;
    images->data.features = 3 * 32 * 32;
    images->data.classes = 10;
    CU_ASSERT_EQUAL_FATAL(kofn_model_open(&attr, NULL, &model), 0);
    CU_ASSERT_EQUAL(kofn_model_parameters(model), 797962);
    kofn_model_close(model);
    kofn_caught_reset(&caught);
    images->data.height = 15;
    CU_ASSERT_EQUAL(kofn_model_open(&attr, &caught.log, &model), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "16 x 16 pixels or more, not of 32 x 15"));
    free(images);
}

/* A model for a thread of its own. */
struct learner {
    struct kofn_model *model;
    float *x, *gradient;
    pthread_t thread;
};

static void *learn(void *arg)
{
    struct learner *learner = arg;

    for (int i = 0; i < 20; i++)
        kofn_model_gradient(learner->model, learner->x,
                            &(struct kofn_batch){first_samples, SAMPLES, 0}, learner->gradient);
    return NULL;
}

/* Models that were opened by one thread give the same gradient, bit by bit, in others, at the same
 * time: they share no memory to work in.
 */
static void test_cnn_threads(void)
{
    struct images *images;
    struct learner learners[3];
    size_t n;

    if (!have_cnn())
        return;
    images = array(1, sizeof(*images));
    draw_images(images);
    for (size_t i = 0; i < 3; i++) {
        learners[i].model = opened(&images->data, SAMPLES);
        n = kofn_model_parameters(learners[i].model);
        learners[i].x = array(n, sizeof(float));
        learners[i].gradient = array(n, sizeof(float));
        kofn_model_init(learners[i].model, learners[i].x);
    }
    CU_ASSERT_EQUAL(memcmp(learners[0].x, learners[1].x, n * sizeof(float)), 0);
    learn(&learners[0]);
    for (size_t i = 1; i < 3; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&learners[i].thread, NULL, learn, &learners[i]), 0);
    for (size_t i = 1; i < 3; i++) {
        pthread_join(learners[i].thread, NULL);
        CU_ASSERT_EQUAL(memcmp(learners[0].gradient, learners[i].gradient, n * sizeof(float)), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        kofn_model_close(learners[i].model);
        free(learners[i].x);
        free(learners[i].gradient);
    }
    free(images);
}

/* A few steps along the gradient learn the samples by heart. */
static void test_cnn_learns(void)
{
    struct images *images;
    struct kofn_model *model;
    struct kofn_score score;
    struct kofn_sgd sgd;
    float *x, *gradient;
    size_t n;

    if (!have_cnn())
        return;
    images = array(1, sizeof(*images));
    draw_images(images);
    model = opened(&images->data, SAMPLES);
    n = kofn_model_parameters(model);
    x = array(n, sizeof(*x));
    gradient = array(n, sizeof(*gradient));
    kofn_model_init(model, x);
    CU_ASSERT_EQUAL_FATAL(kofn_sgd_open(n, 0.02, 0, NULL, &sgd), 0);
    for (int i = 0; i < 100; i++) {
        kofn_model_gradient(model, x, &(struct kofn_batch){first_samples, SAMPLES, 0}, gradient);
        kofn_sgd_step(&sgd, x, gradient);
    }
    score = kofn_model_evaluate(model, x, &images->data.train, 0);
    CU_ASSERT(score.loss < 0.5);
    CU_ASSERT_EQUAL(score.accuracy, 1);
    kofn_sgd_close(&sgd);
    kofn_model_close(model);
    free(x);
    free(gradient);
    free(images);
}

void kofn_suite_cnn(void)
{
    CU_pSuite suite = CU_add_suite("cnn", NULL, NULL);

    CU_add_test(suite, "gradient is that of the definition", test_cnn_gradient);
    CU_add_test(suite, "shapes", test_cnn_shapes);
    CU_add_test(suite, "threads", test_cnn_threads);
    CU_add_test(suite, "learns", test_cnn_learns);
}
