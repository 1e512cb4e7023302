/* softmax.c: multinomial logistic regression: outputs = W x + b, cross-entropy of their softmax.
 *
 * Parameters: W (classes x features), then b (classes).
 */
#include "train/dense.h"

#ifdef HAVE_OPENBLAS

static size_t weights_of(const struct kofn_model_attr *attr)
{
    return (size_t)attr->data->classes * attr->data->features;
}

static size_t softmax_parameters(const struct kofn_model_attr *attr)
{
    return weights_of(attr) + attr->data->classes;
}

/* The workspace: samples, then outputs. */
static size_t softmax_workspace(const struct kofn_model_attr *attr)
{
    return (size_t)kofn_model_rows(attr) * ((size_t)attr->data->features + attr->data->classes);
}

static float *outputs_of(const struct kofn_model *model)
{
    return model->workspace + (size_t)kofn_model_rows(&model->attr) * model->attr.data->features;
}

/* The problem is convex: zeros are as good a start as any. */
static void softmax_init(const struct kofn_model *model, float *parameters)
{
    for (size_t i = 0; i < model->parameters; i++)
        parameters[i] = 0;
}

static float softmax_gradient(struct kofn_model *model, const float *parameters,
                              const struct kofn_batch *batch, float *gradient)
{
    const struct kofn_data *data = model->attr.data;
    float *input = model->workspace, *outputs = outputs_of(model), loss;
    size_t weights = weights_of(&model->attr);

    kofn_dense_load(model, batch, input);
    kofn_dense_forward(input, parameters, batch->count, data->features, data->classes, outputs);
    loss = kofn_dense_softmax(outputs, parameters + weights, model->labels, batch->count,
                              data->classes);
    kofn_dense_weights(outputs, input, batch->count, data->features, data->classes, gradient);
    kofn_dense_sum(outputs, batch->count, data->classes, gradient + weights);
    return loss;
}

static struct kofn_score softmax_evaluate(struct kofn_model *model, const float *parameters,
                                          const struct kofn_samples *set, uint32_t count)
{
    const struct kofn_data *data = model->attr.data;
    uint32_t rows = kofn_model_rows(&model->attr), n;
    float *input = model->workspace, *outputs = outputs_of(model);
    double loss = 0;
    uint64_t hits = 0;

    for (uint32_t first = 0; first < count; first += n) {
        n = KOFN_MIN(rows, count - first);
        kofn_data_gather_range(data, set, first, n, input);
        kofn_dense_forward(input, parameters, n, data->features, data->classes, outputs);
        kofn_dense_score(outputs, parameters + weights_of(&model->attr), set->labels + first, n,
                         data->classes, &loss, &hits);
    }
    return (struct kofn_score){loss / count, (double)hits / count};
}

const struct kofn_model_ops kofn_model_softmax = {
    .name = "softmax",
    .learning_rate = 0.01,
    .has_data = true,
    .parameters = softmax_parameters,
    .workspace = softmax_workspace,
    .init = softmax_init,
    .gradient = softmax_gradient,
    .evaluate = softmax_evaluate,
};

#endif
