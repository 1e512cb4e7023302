/* quadratic.c: models without data: `quadratic`, where everything is known in closed form, and
 * `none`. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "train/model_ops.h"

/* Workers' optima lie around a common point, one unit away in every coordinate; that point lies
 * this many from the origin, where training starts.
 */
#define COMMON 3

static size_t dimension(const struct kofn_model_attr *attr)
{
    return attr->dimension;
}

/* The workspace: b_m of all workers. */
static size_t quadratic_workspace(const struct kofn_model_attr *attr)
{
    return (size_t)attr->workers * attr->dimension;
}

static void quadratic_prepare(struct kofn_model *model)
{
    size_t n = model->attr.dimension, workers = model->attr.workers;
    struct kofn_random common, own;

    for (size_t m = 0; m < workers; m++) {
        float *b = model->workspace + m * n;

        kofn_random_seed(&common, model->attr.seed, kofn_stream_of(KOFN_STREAM_MODEL, 0));
        kofn_random_seed(&own, model->attr.seed,
                         kofn_stream_of(KOFN_STREAM_MODEL, (uint32_t)m + 1));
        for (size_t j = 0; j < n; j++)
            b[j] = (float)(COMMON * kofn_random_normal(&common) + kofn_random_normal(&own));
    }
}

static void zeros(const struct kofn_model *model, float *parameters)
{
    memset(parameters, 0, model->parameters * sizeof(*parameters));
}

static float quadratic_gradient(struct kofn_model *model, const float *parameters,
                                const struct kofn_batch *batch, float *gradient)
{
    size_t n = model->attr.dimension;
    const float *b = model->workspace + batch->rank * n;
    double sum = 0;

    for (size_t j = 0; j < n; j++) {
        gradient[j] = parameters[j] - b[j];
        sum += (double)gradient[j] * gradient[j];
    }
    return (float)(sum / 2);
}

static double half_square_distance(const float *x, const float *y, size_t n)
{
    double sum = 0;

    for (size_t j = 0; j < n; j++) {
        double difference = (double)x[j] - y[j];

        sum += difference * difference;
    }
    return sum / 2;
}

static struct kofn_score quadratic_evaluate(struct kofn_model *model, const float *parameters,
                                            const struct kofn_samples *set, uint32_t count)
{
    size_t n = model->attr.dimension, workers = model->attr.workers;
    double sum = 0;

    (void)set, (void)count;
    for (size_t m = 0; m < workers; m++)
        sum += half_square_distance(parameters, model->workspace + m * n, n);
    return (struct kofn_score){sum / (double)workers, NAN};
}

const struct kofn_model_ops kofn_model_quadratic = {
    .name = "quadratic",
    .learning_rate = 0.1,
    .parameters = dimension,
    .workspace = quadratic_workspace,
    .prepare = quadratic_prepare,
    .init = zeros,
    .gradient = quadratic_gradient,
    .evaluate = quadratic_evaluate,
};

static size_t nothing(const struct kofn_model_attr *attr)
{
    return (void)attr, 0;
}

static float none_gradient(struct kofn_model *model, const float *parameters,
                           const struct kofn_batch *batch, float *gradient)
{
    (void)parameters, (void)batch;
    zeros(model, gradient);
    return NAN;
}

static struct kofn_score none_evaluate(struct kofn_model *model, const float *parameters,
                                       const struct kofn_samples *set, uint32_t count)
{
    (void)model, (void)parameters, (void)set, (void)count;
    return (struct kofn_score){NAN, NAN};
}

const struct kofn_model_ops kofn_model_none = {
    .name = "none",
    .learning_rate = 0.1,
    .parameters = dimension,
    .workspace = nothing,
    .init = zeros,
    .gradient = none_gradient,
    .evaluate = none_evaluate,
};
