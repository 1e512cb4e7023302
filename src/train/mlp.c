/* mlp.c: one hidden layer: hidden = max(0, W1 x + b1), outputs = W2 hidden + b2, cross-entropy of
 * their softmax.
 *
 * Parameters: W1 (hidden x features), b1 (hidden), W2 (classes x hidden), b2 (classes).
 */
#include <math.h>
#include <string.h>

#include "train/dense.h"

#ifdef HAVE_OPENBLAS

/* Where the four pieces are in an array of parameters or of their gradient. */
struct pieces {
    size_t w1, b1, w2, b2, end;
};

static struct pieces pieces_of(const struct kofn_model_attr *attr)
{
    size_t hidden = attr->hidden, classes = attr->data->classes;
    struct pieces at = {0};

    at.b1 = at.w1 + hidden * attr->data->features;
    at.w2 = at.b1 + hidden;
    at.b2 = at.w2 + classes * hidden;
    at.end = at.b2 + classes;
    return at;
}

/* The workspace, all with as many rows as it holds samples. */
struct scratch {
    float *input, *hidden, *errors /* of the hidden layer */, *outputs;
};

static struct scratch scratch_of(const struct kofn_model *model)
{
    size_t rows = kofn_model_rows(&model->attr);
    struct scratch at;

    at.input = model->workspace;
    at.hidden = at.input + rows * model->attr.data->features;
    at.errors = at.hidden + rows * model->attr.hidden;
    at.outputs = at.errors + rows * model->attr.hidden;
    return at;
}

static size_t mlp_parameters(const struct kofn_model_attr *attr)
{
    return pieces_of(attr).end;
}

static size_t mlp_workspace(const struct kofn_model_attr *attr)
{
    return (size_t)kofn_model_rows(attr) *
           ((size_t)attr->data->features + 2 * (size_t)attr->hidden + attr->data->classes);
}

static void mlp_init(const struct kofn_model *model, float *parameters)
{
    struct pieces at = pieces_of(&model->attr);
    uint64_t seed = model->attr.seed;

    memset(parameters, 0, model->parameters * sizeof(*parameters));
    kofn_dense_init(parameters + at.w1, at.b1 - at.w1, sqrt(2.0 / model->attr.data->features), seed,
                    1);
    kofn_dense_init(parameters + at.w2, at.b2 - at.w2, sqrt(1.0 / model->attr.hidden), seed, 2);
}

/* From scratch.input to scratch.outputs, without the last biases. */
static void forward(const struct kofn_model *model, const float *parameters, size_t rows)
{
    const struct kofn_data *data = model->attr.data;
    struct pieces at = pieces_of(&model->attr);
    struct scratch scratch = scratch_of(model);
    size_t hidden = model->attr.hidden;

    kofn_dense_forward(scratch.input, parameters + at.w1, rows, data->features, hidden,
                       scratch.hidden);
    kofn_dense_rectify(scratch.hidden, parameters + at.b1, rows, hidden);
    kofn_dense_forward(scratch.hidden, parameters + at.w2, rows, hidden, data->classes,
                       scratch.outputs);
}

static float mlp_gradient(struct kofn_model *model, const float *parameters,
                          const struct kofn_batch *batch, float *gradient)
{
    const struct kofn_data *data = model->attr.data;
    struct pieces at = pieces_of(&model->attr);
    struct scratch scratch = scratch_of(model);
    size_t hidden = model->attr.hidden, rows = batch->count;
    float loss;

    kofn_dense_load(model, batch, scratch.input);
    forward(model, parameters, rows);
    loss =
        kofn_dense_softmax(scratch.outputs, parameters + at.b2, model->labels, rows, data->classes);
    kofn_dense_weights(scratch.outputs, scratch.hidden, rows, hidden, data->classes,
                       gradient + at.w2);
    kofn_dense_sum(scratch.outputs, rows, data->classes, gradient + at.b2);
    kofn_dense_backward(scratch.outputs, parameters + at.w2, rows, hidden, data->classes,
                        scratch.errors);
    kofn_dense_clear_rested(scratch.errors, scratch.hidden, rows, hidden, gradient + at.b1);
    kofn_dense_weights(scratch.errors, scratch.input, rows, data->features, hidden,
                       gradient + at.w1);
    return loss;
}

static struct kofn_score mlp_evaluate(struct kofn_model *model, const float *parameters,
                                      const struct kofn_samples *set, uint32_t count)
{
    const struct kofn_data *data = model->attr.data;
    struct scratch scratch = scratch_of(model);
    const float *biases = parameters + pieces_of(&model->attr).b2;
    uint32_t rows = kofn_model_rows(&model->attr), n;
    double loss = 0;
    uint64_t hits = 0;

    for (uint32_t first = 0; first < count; first += n) {
        n = KOFN_MIN(rows, count - first);
        kofn_data_gather_range(data, set, first, n, scratch.input);
        forward(model, parameters, n);
        kofn_dense_score(scratch.outputs, biases, set->labels + first, n, data->classes, &loss,
                         &hits);
    }
    return (struct kofn_score){loss / count, (double)hits / count};
}

const struct kofn_model_ops kofn_model_mlp = {
    .name = "mlp",
    .learning_rate = 0.05,
    .has_data = true,
    .parameters = mlp_parameters,
    .workspace = mlp_workspace,
    .init = mlp_init,
    .gradient = mlp_gradient,
    .evaluate = mlp_evaluate,
};

#endif
