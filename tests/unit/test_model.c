/* Models: gradients are those of the loss that is reported, training finds what is to be found, and
 * quadratic has the optimum that theory needs.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "tests/lib/caught_log.h"
#include "tests/lib/runner.h"
#include "train/model.h"
#include "train/sgd.h"
#include "train/split.h"

#define BATCH 64u

static struct kofn_model *opened(struct kofn_model_attr attr)
{
    struct kofn_model *model;

    CU_ASSERT_EQUAL_FATAL(kofn_model_open(&attr, NULL, &model), 0);
    return model;
}

static float *array(const struct kofn_model *model)
{
    float *values = calloc(kofn_model_parameters(model) + 2, sizeof(*values));

    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    return values;
}

/* What cannot be opened says why, in one line. */
static void test_bad_attributes(void)
{
    static const struct {
        struct kofn_model_attr attr;
        const char *message;
    } cases[] = {
        {{.name = "mpl"}, "unknown model \"mpl\"; did you mean \"mlp\"?"},
        {{.name = "resnet"}, "known: none, quadratic, softmax, mlp, cnn"},
        {{.name = "quadratic", .dimension = UINT32_MAX}, "at most"},
        {{.name = "quadratic", .batch = UINT32_MAX}, "at most"},
        {{.name = "quadratic", .dimension = 1 << 20, .workers = 1 << 20}, "a workspace of"},
    };
    struct kofn_caught caught;
    struct kofn_model *model = NULL;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(kofn_model_open(&cases[i].attr, &caught.log, &model), KOFN_INVALID);
        CU_ASSERT_PTR_NULL(model);
        CU_ASSERT(kofn_caught_one(&caught, cases[i].message));
    }
}

/* ---- quadratic and none ---- */

/* f_m is |x - b_m|^2 / 2: a step of 1 reaches b_m from anywhere, where loss and gradient are 0. */
static void test_quadratic_gradient(void)
{
    struct kofn_model *model = opened(
        (struct kofn_model_attr){.name = "quadratic", .dimension = 7, .workers = 3, .seed = 5});
    float *x = array(model), *gradient = array(model);

    CU_ASSERT_EQUAL(kofn_model_parameters(model), 7);
    CU_ASSERT(!kofn_model_has_data(model));
    for (uint32_t m = 0; m < 3; m++) {
        struct kofn_batch batch = {NULL, 0, m};
        double square = 0;

        kofn_model_init(model, x);
        float loss = kofn_model_gradient(model, x, &batch, gradient);

        for (size_t j = 0; j < 7; j++) {
            square += (double)gradient[j] * gradient[j];
            x[j] -= gradient[j];
        }
        CU_ASSERT(square > 1);
        CU_ASSERT_DOUBLE_EQUAL(loss, square / 2, 1e-4 * square);
        CU_ASSERT_DOUBLE_EQUAL(kofn_model_gradient(model, x, &batch, gradient), 0, 1e-10);
    }
    free(x);
    free(gradient);
    kofn_model_close(model);
}

/* The mean of all workers' optima is where their mean loss is least, with a zero mean gradient;
 * worker m has the same optimum however many workers there are.
 */
static void test_quadratic_optimum(void)
{
    struct kofn_model *model = opened((struct kofn_model_attr){
                          .name = "quadratic", .dimension = 4, .workers = 8, .seed = 5}),
                      *fewer = opened((struct kofn_model_attr){
                          .name = "quadratic", .dimension = 4, .workers = 2, .seed = 5});
    float x[4] = {0}, other[4], gradient[4], optimum[4] = {0};
    double least;

    for (uint32_t m = 0; m < 8; m++) {
        kofn_model_gradient(model, x, &(struct kofn_batch){.rank = m}, gradient);
        for (int j = 0; j < 4; j++)
            optimum[j] -= gradient[j] / 8;
        if (m < 2) {
            kofn_model_gradient(fewer, x, &(struct kofn_batch){.rank = m}, other);
            CU_ASSERT_EQUAL(memcmp(gradient, other, sizeof(other)), 0);
        }
    }
    least = kofn_model_evaluate(model, optimum, NULL, 0).loss;
    CU_ASSERT(isnan(kofn_model_evaluate(model, optimum, NULL, 0).accuracy));
    CU_ASSERT(least > 0 && least < kofn_model_evaluate(model, x, NULL, 0).loss);
    for (int j = 0; j < 4; j++) {
        memcpy(other, optimum, sizeof(other));
        other[j] += 0.1f;
        CU_ASSERT_DOUBLE_EQUAL(kofn_model_evaluate(model, other, NULL, 0).loss, least + 0.005,
                               1e-5);
    }
    kofn_model_close(model);
    kofn_model_close(fewer);
}

/* none has as many parameters as it is told, and leaves nothing of a buffer's old content in a
 * gradient. */
static void test_none(void)
{
    struct kofn_model *model = opened((struct kofn_model_attr){.name = "none", .dimension = 3});
    float x[3] = {1, 1, 1}, gradient[4] = {NAN, NAN, NAN, 7};

    CU_ASSERT_EQUAL(kofn_model_parameters(model), 3);
    kofn_model_init(model, x);
    CU_ASSERT(isnan(kofn_model_gradient(model, x, &(struct kofn_batch){0}, gradient)));
    CU_ASSERT(isnan(kofn_model_evaluate(model, x, NULL, 0).loss));
    for (int j = 0; j < 3; j++)
        CU_ASSERT(x[j] == 0 && gradient[j] == 0);
    CU_ASSERT_EQUAL(gradient[3], 7);
    kofn_model_close(model);
}

/* ---- descent ---- */

/* Momentum follows v = beta v + g, x -= lr v; a reset starts it afresh; without it a step is x -=
 * lr g. */
static void test_sgd(void)
{
    static const float gradient[2] = {1, -2};
    float x[2] = {0, 0};
    struct kofn_sgd sgd;

    CU_ASSERT_EQUAL_FATAL(kofn_sgd_open(2, 0.5, 0, NULL, &sgd), 0);
    CU_ASSERT_PTR_NULL(sgd.velocity);
    kofn_sgd_step(&sgd, x, gradient);
    kofn_sgd_reset(&sgd);
    kofn_sgd_step(&sgd, x, gradient);
    CU_ASSERT(x[0] == -1 && x[1] == 2);
    kofn_sgd_close(&sgd);
    CU_ASSERT_EQUAL_FATAL(kofn_sgd_open(2, 0.5, 0.5, NULL, &sgd), 0);
    kofn_sgd_step(&sgd, x, gradient); /* v = 1, -2 */
    CU_ASSERT(x[0] == -1.5f && x[1] == 3);
    kofn_sgd_step(&sgd, x, gradient); /* v = 1.5, -3 */
    CU_ASSERT(x[0] == -2.25f && x[1] == 4.5f);
    kofn_sgd_reset(&sgd);
    kofn_sgd_step(&sgd, x, gradient);
    CU_ASSERT(x[0] == -2.75f && x[1] == 5.5f);
    kofn_sgd_close(&sgd);
}

/* Every element moves by its own gradient, however many there are, with momentum and without. */
static void test_sgd_lengths(void)
{
    float x[200], gradient[200];
    struct kofn_sgd sgd;

    for (size_t n = 0; n < 200; n++)
        for (int momentum = 0; momentum < 2; momentum++) {
            CU_ASSERT_EQUAL_FATAL(kofn_sgd_open(n, 0.5, 0.5 * momentum, NULL, &sgd), 0);
            for (size_t j = 0; j < 200; j++) {
                x[j] = 0;
                gradient[j] = (float)j;
            }
            kofn_sgd_step(&sgd, x, gradient);
            kofn_sgd_step(&sgd, x, gradient);
            for (size_t j = 0; j < 200; j++)
                CU_ASSERT_EQUAL(x[j], j >= n ? 0 : momentum ? -1.25f * (float)j : -1.0f * (float)j);
            kofn_sgd_close(&sgd);
        }
}

/* ---- softmax and mlp ---- */

static const char *const networks[] = {"softmax", "mlp"};

static struct kofn_data *data; /* of the running suite */

/* False, and the test is skipped, in a build without OpenBLAS, which must say so. */
static bool have_networks(void)
{
#ifdef HAVE_OPENBLAS
    if (!data)
        CU_ASSERT_EQUAL_FATAL(kofn_data_open("synthetic", 1, NULL, &data), 0);
    return true;
#else
    struct kofn_caught caught;
    struct kofn_model *model;

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL(kofn_model_open(&(struct kofn_model_attr){.name = "mlp"}, &caught.log, &model),
                    KOFN_UNSUPPORTED);
    CU_ASSERT(kofn_caught_one(&caught, "model mlp needs OpenBLAS"));
    kofn_test_skip("built without OpenBLAS");
    return false;
#endif
}

static struct kofn_model *network(const char *name, uint32_t hidden)
{
    return opened((struct kofn_model_attr){
        .name = name, .data = data, .seed = 1, .batch = BATCH, .hidden = hidden});
}

static int close_data(void)
{
    kofn_data_close(data);
    data = NULL;
    return 0;
}

static void first_samples(uint32_t index[BATCH])
{
    for (uint32_t i = 0; i < BATCH; i++)
        index[i] = 3 * i;
}

/* Parameters away from the start, where softmax is symmetric and biases are 0. */
static void scatter(struct kofn_model *model, float *x)
{
    struct kofn_random random;

    kofn_model_init(model, x);
    kofn_random_seed(&random, 9, 9);
    for (size_t j = 0; j < kofn_model_parameters(model); j++)
        x[j] += (float)(0.03 * kofn_random_normal(&random));
}

#define HIDDEN 12u

/* out = matrix (rows x columns) in + biases, both of which begin at @parameters; returns what
 * follows them. */
static const double *layer(const double *parameters, const double *in, size_t columns, double *out,
                           size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        out[i] = parameters[rows * columns + i];
        for (size_t j = 0; j < columns; j++)
            out[i] += parameters[i * columns + j] * in[j];
    }
    return parameters + rows * (columns + 1);
}

/* The mean loss of a batch by the definition of the model, in double precision: with @hidden units,
 * or none. */
static double defined_loss(const double *parameters, size_t hidden, const uint32_t *index,
                           uint32_t count)
{
    double in[256], middle[HIDDEN], out[10], loss = 0;
    float row[256];

    for (uint32_t i = 0; i < count; i++) {
        double sum = 0;

        kofn_data_gather(data, &data->train, &index[i], 1, row);
        for (size_t j = 0; j < 256; j++)
            in[j] = row[j];
        if (hidden) {
            const double *second = layer(parameters, in, 256, middle, hidden);

            for (size_t j = 0; j < hidden; j++)
                middle[j] = fmax(middle[j], 0);
            layer(second, middle, hidden, out, 10);
        } else
            layer(parameters, in, 256, out, 10);
        for (size_t c = 0; c < 10; c++)
            sum += exp(out[c]);
        loss += log(sum) - out[data->train.labels[index[i]]];
    }
    return loss / count;
}

/* The slope of the defined loss at @x in @direction, by the difference of two points on either
 * side. */
static double slope(double *x, const double *direction, size_t n, size_t hidden,
                    const uint32_t *index)
{
    const double step = 1e-6;
    double above, below;

    for (size_t j = 0; j < n; j++)
        x[j] += step * direction[j];
    above = defined_loss(x, hidden, index, BATCH);
    for (size_t j = 0; j < n; j++)
        x[j] -= 2 * step * direction[j];
    below = defined_loss(x, hidden, index, BATCH);
    for (size_t j = 0; j < n; j++)
        x[j] += step * direction[j];
    return (above - below) / (2 * step);
}

/* A random direction of length 1 in the elements @from to @to - 1 alone. */
static void draw_direction(double *direction, size_t n, size_t from, size_t to,
                           struct kofn_random *random)
{
    double square = 0;

    memset(direction, 0, n * sizeof(*direction));
    for (size_t j = from; j < to; j++) {
        direction[j] = kofn_random_normal(random);
        square += direction[j] * direction[j];
    }
    for (size_t j = from; j < to; j++)
        direction[j] /= sqrt(square);
}

/* Compares loss and gradient with the definition: over all parameters, the last biases, and single
 * parameters. */
static void check_gradient(const char *name, size_t hidden, const uint32_t index[BATCH])
{
    struct kofn_model *model = network(name, HIDDEN);
    size_t n = kofn_model_parameters(model), from, to;
    float *x = array(model), *gradient = array(model), loss;
    double *exact = calloc(n, sizeof(*exact)), *direction = calloc(n, sizeof(*direction)), expected;
    struct kofn_random random;

    CU_ASSERT_FATAL(exact && direction);
    scatter(model, x);
    for (size_t j = 0; j < n; j++)
        exact[j] = x[j];
    loss = kofn_model_gradient(model, x, &(struct kofn_batch){index, BATCH, 0}, gradient);
    CU_ASSERT_DOUBLE_EQUAL(loss, defined_loss(exact, hidden, index, BATCH), 1e-5);
    kofn_random_seed(&random, 1, 1);
    for (int trial = 0; trial < 45; trial++) {
        from = trial % 3 == 0 ? 0 : trial % 3 == 1 ? n - 10 : kofn_random_below(&random, n);
        to = trial % 3 == 2 ? from + 1 : n;
        draw_direction(direction, n, from, to, &random);
        expected = 0;
        for (size_t j = from; j < to; j++)
            expected += direction[j] * gradient[j];
        CU_ASSERT_DOUBLE_EQUAL(slope(exact, direction, n, hidden, index), expected, 2e-6);
    }
    free(exact);
    free(direction);
    free(x);
    free(gradient);
    kofn_model_close(model);
}

/* The loss and the gradient are those of the model's definition. */
static void test_gradient_is_that_of_the_loss(void)
{
    uint32_t index[BATCH];

    if (!have_networks())
        return;
    first_samples(index);
    check_gradient("softmax", 0, index);
    check_gradient("mlp", HIDDEN, index);
}

/* A gradient fills its buffer and nothing else, gives the same every time, wherever the buffer
 * lies, and is the mean of its batch's halves.
 */
static void test_gradient_buffers(void)
{
    uint32_t index[BATCH];

    if (!have_networks())
        return;
    first_samples(index);
    for (size_t k = 0; k < 2; k++) {
        struct kofn_model *model = network(networks[k], HIDDEN);
        size_t n = kofn_model_parameters(model);
        float *x = array(model), *a = array(model), *b = array(model), *half = array(model);

        scatter(model, x);
        b[0] = b[n + 1] = 42;
        kofn_model_gradient(model, x, &(struct kofn_batch){index, BATCH, 0}, a);
        kofn_model_gradient(model, x, &(struct kofn_batch){index, BATCH, 3}, b + 1);
        CU_ASSERT_EQUAL(memcmp(a, b + 1, n * sizeof(*a)), 0);
        CU_ASSERT(b[0] == 42 && b[n + 1] == 42);
        kofn_model_gradient(model, x, &(struct kofn_batch){index, BATCH / 2, 0}, b);
        kofn_model_gradient(model, x, &(struct kofn_batch){index + BATCH / 2, BATCH / 2, 0}, half);
        for (size_t j = 0; j < n; j++)
            CU_ASSERT_DOUBLE_EQUAL((b[j] + half[j]) / 2, a[j], 1e-5);
        free(x);
        free(a);
        free(b);
        free(half);
        kofn_model_close(model);
    }
}

/* The first parameters depend on the seed alone, and the first loss is near that of a guess, ln 10.
 */
static void test_start(void)
{
    if (!have_networks())
        return;
    for (size_t k = 0; k < 2; k++) {
        struct kofn_model *model = network(networks[k], 64), *again = network(networks[k], 64);
        size_t n = kofn_model_parameters(model);
        float *x = array(model), *y = array(again);
        struct kofn_score score;

        CU_ASSERT_EQUAL(n, k ? 64 * 256 + 64 + 640 + 10 : 2570);
        kofn_model_init(model, x);
        kofn_model_init(again, y);
        CU_ASSERT_EQUAL(memcmp(x, y, n * sizeof(*x)), 0);
        score = kofn_model_evaluate(model, x, &data->test, 0);
        CU_ASSERT_DOUBLE_EQUAL(score.loss, log(10), k ? 1 : 1e-5);
        CU_ASSERT(score.accuracy < 0.25);
        free(x);
        free(y);
        kofn_model_close(model);
        kofn_model_close(again);
    }
}

/* The score of part of a set is the mean over that part: parts add up to the whole. */
static void test_evaluate_in_parts(void)
{
    struct kofn_samples rest;

    if (!have_networks())
        return;
    for (size_t k = 0; k < 2; k++) {
        struct kofn_model *model = network(networks[k], HIDDEN);
        float *x = array(model);
        struct kofn_score all, first, second;
        double share = 1000.0 / 4096;

        scatter(model, x);
        rest = (struct kofn_samples){data->test.pixels + 1000 * (size_t)data->features,
                                     data->test.labels + 1000, 3096};
        all = kofn_model_evaluate(model, x, &data->test, 0);
        first = kofn_model_evaluate(model, x, &data->test, 1000);
        second = kofn_model_evaluate(model, x, &rest, UINT32_MAX);
        CU_ASSERT_DOUBLE_EQUAL(share * first.loss + (1 - share) * second.loss, all.loss, 1e-6);
        CU_ASSERT_DOUBLE_EQUAL(share * first.accuracy + (1 - share) * second.accuracy, all.accuracy,
                               1e-9);
        free(x);
        kofn_model_close(model);
    }
}

/* A model that has blown up is seen as such: its loss is not a number. */
static void test_not_finite_is_seen(void)
{
    uint32_t index[BATCH];

    if (!have_networks())
        return;
    first_samples(index);
    for (size_t k = 0; k < 2; k++) {
        struct kofn_model *model = network(networks[k], HIDDEN);
        float *x = array(model), *g = array(model);

        kofn_model_init(model, x);
        x[0] = NAN;
        CU_ASSERT(
            !isfinite(kofn_model_gradient(model, x, &(struct kofn_batch){index, BATCH, 0}, g)));
        CU_ASSERT(!isfinite(kofn_model_evaluate(model, x, &data->test, 0).loss));
        free(x);
        free(g);
        kofn_model_close(model);
    }
}

/* Accuracy on the test set after @steps of plain descent. */
static double trained(const char *name, double learning_rate, int steps)
{
    struct kofn_split_spec spec = {KOFN_SPLIT_IID, 0};
    struct kofn_model *model = network(name, 64);
    float *x = array(model), *gradient = array(model);
    uint32_t index[BATCH];
    struct kofn_sampler sampler;
    struct kofn_split split;
    struct kofn_sgd sgd;
    double accuracy;

    CU_ASSERT_EQUAL_FATAL(kofn_split_make(&spec, &data->train, 10, 1, 1, NULL, &split), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_sgd_open(kofn_model_parameters(model), learning_rate, 0, NULL, &sgd),
                          0);
    kofn_sampler_init(&sampler, &split, 0, 1);
    kofn_model_init(model, x);
    for (int i = 0; i < steps; i++) {
        kofn_sampler_next(&sampler, BATCH, index);
        kofn_model_gradient(model, x, &(struct kofn_batch){index, BATCH, 0}, gradient);
        kofn_sgd_step(&sgd, x, gradient);
    }
    accuracy = kofn_model_evaluate(model, x, &data->test, 0).accuracy;
    kofn_sgd_close(&sgd);
    kofn_split_free(&split);
    free(x);
    free(gradient);
    kofn_model_close(model);
    return accuracy;
}

/* On the synthetic data a linear model finds some six tenths, one hidden layer clearly more,
 * neither all. */
static void test_training(void)
{
    double linear, hidden;

    if (!have_networks())
        return;
    linear = trained("softmax", 0.05, 1000);
    hidden = trained("mlp", 0.1, 1500);
    CU_ASSERT(linear > 0.55 && linear < 0.70);
    CU_ASSERT(hidden > 0.85 && hidden < 0.97);
}

void kofn_suite_model(void)
{
    CU_pSuite suite = CU_add_suite("model", NULL, close_data);

    CU_add_test(suite, "bad attributes", test_bad_attributes);
    CU_add_test(suite, "quadratic gradient", test_quadratic_gradient);
    CU_add_test(suite, "quadratic optimum", test_quadratic_optimum);
    CU_add_test(suite, "none", test_none);
    CU_add_test(suite, "sgd", test_sgd);
    CU_add_test(suite, "sgd lengths", test_sgd_lengths);
    CU_add_test(suite, "gradient is that of the loss", test_gradient_is_that_of_the_loss);
    CU_add_test(suite, "gradient buffers", test_gradient_buffers);
    CU_add_test(suite, "start", test_start);
    CU_add_test(suite, "evaluate in parts", test_evaluate_in_parts);
    CU_add_test(suite, "not finite is seen", test_not_finite_is_seen);
    CU_add_test(suite, "training", test_training);
}
