/* cnn.c: a convolutional network for small images: two stages of conv.h with 64 filters each, then
 * dense layers of 384 and 192 rectified units, then outputs and the cross-entropy of their softmax.
 * On CIFAR-10: 32 x 32 -> 14 x 14 -> 5 x 5, 1,600 values, 797,962 parameters.
 *
 * Parameters: weights and biases of the five layers, one after the other: filters (filters x
 * channels x 5 x 5), dense ones (outputs x inputs). Everything is made for attr.batch samples; a
 * smaller batch leaves the last rows as they were, with errors of 0.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/conv.h"
#include "train/dense.h"

#if defined(HAVE_OPENBLAS) && defined(HAVE_ONEDNN)

#define FILTERS 64u
#define STAGES 2u
#define DENSE 3u
#define LAYERS (STAGES + DENSE)

/* What a layer has of the parameters. */
struct layer {
    size_t inputs, outputs; /* of one output value; of a layer, or filters */
    size_t weights, biases; /* where they begin */
};

struct plan {
    struct kofn_conv_shape stage[STAGES];
    struct layer layer[LAYERS];
    size_t parameters;
};

struct cnn {
    struct kofn_onednn onednn;
    struct kofn_conv stage[STAGES];
    struct plan plan;
    dnnl_memory_t flat, flat_errors; /* the last stage's output and its errors, (channels x
                                        height x width), in the workspace */
    struct kofn_onednn_call flatten, unflatten;
};

/* The workspace: `rows` rows of each. */
struct scratch {
    float *input;
    float *value[DENSE + 1]; /* value[0]: into the first dense layer; then what comes out of each */
    float *errors[DENSE + 1]; /* errors[DENSE] is value[DENSE] */
};

static size_t add_layer(struct layer *layer, size_t at, size_t inputs, size_t outputs)
{
    *layer = (struct layer){inputs, outputs, at, at + inputs * outputs};
    return layer->biases + outputs;
}

static struct plan plan_of(const struct kofn_model_attr *attr)
{
    const struct kofn_data *data = attr->data;
    const size_t outputs[DENSE] = {384, 192, data->classes};
    struct kofn_conv_shape next = {attr->batch, data->channels, data->height, data->width, FILTERS};
    struct plan plan = {0};
    size_t at = 0, inputs;

    for (uint32_t i = 0; i < STAGES; i++) {
        plan.stage[i] = next;
        at = add_layer(&plan.layer[i], at,
                       (size_t)next.channels * KOFN_CONV_KERNEL * KOFN_CONV_KERNEL, FILTERS);
        next.channels = FILTERS;
        next.height = kofn_conv_after(next.height);
        next.width = kofn_conv_after(next.width);
    }
    inputs = (size_t)next.channels * next.height * next.width;
    for (uint32_t i = 0; i < DENSE; i++) {
        at = add_layer(&plan.layer[STAGES + i], at, inputs, outputs[i]);
        inputs = outputs[i];
    }
    plan.parameters = at;
    return plan;
}

/* Where everything is; returns how much there is of it, in values. */
static size_t place(const struct kofn_model_attr *attr, float *workspace, struct scratch *scratch)
{
    struct plan plan = plan_of(attr);
    size_t rows = attr->batch, at = rows * attr->data->features;

    scratch->input = workspace;
    for (uint32_t i = 0; i < DENSE; i++) {
        size_t values = rows * plan.layer[STAGES + i].inputs;

        scratch->value[i] = workspace + at;
        scratch->errors[i] = workspace + at + values;
        at += 2 * values;
    }
    scratch->value[DENSE] = scratch->errors[DENSE] = workspace + at;
    return at + rows * attr->data->classes;
}

static struct scratch scratch_of(const struct kofn_model *model)
{
    struct scratch scratch;

    place(&model->attr, model->workspace, &scratch);
    return scratch;
}

static int cnn_check(const struct kofn_model_attr *attr, const struct kofn_log *log)
{
    const struct kofn_data *data = attr->data;
    uint32_t least = KOFN_MIN(data->height, data->width);

    for (uint32_t i = 0; i < STAGES; i++)
        least = kofn_conv_after(least);
    if (least)
        return 0;
    return kofn_error(log, KOFN_INVALID,
                      "model cnn needs images of 16 x 16 pixels or more, not of %u x %u; try "
                      "--data cifar10:DIR or idx:DIR",
                      data->width, data->height);
}

static size_t cnn_parameters(const struct kofn_model_attr *attr)
{
    return plan_of(attr).parameters;
}

static size_t cnn_workspace(const struct kofn_model_attr *attr)
{
    struct scratch scratch;

    return place(attr, NULL, &scratch);
}

/* The ways from the order of the last stage to that of the dense layers, and back. */
static void open_flat(struct cnn *cnn, const struct scratch *scratch)
{
    const struct kofn_conv *last = &cnn->stage[STAGES - 1];
    const dnnl_dim_t sizes[] = {last->shape.rows, FILTERS, kofn_conv_after(last->shape.height),
                                kofn_conv_after(last->shape.width)};
    dnnl_memory_desc_t flat = kofn_onednn_tensor(&cnn->onednn, 4, sizes, dnnl_nchw);

    cnn->flat = kofn_onednn_elsewhere(&cnn->onednn, &flat);
    cnn->flat_errors = kofn_onednn_elsewhere(&cnn->onednn, &flat);
    kofn_onednn_reorder(&cnn->onednn, last->out, cnn->flat, &cnn->flatten);
    kofn_onednn_reorder(&cnn->onednn, cnn->flat_errors, last->out_errors, &cnn->unflatten);
    kofn_onednn_point(&cnn->onednn, cnn->flat, scratch->value[0]);
    kofn_onednn_point(&cnn->onednn, cnn->flat_errors, scratch->errors[0]);
    kofn_onednn_point(&cnn->onednn, cnn->stage[0].in, scratch->input);
}

static int cnn_open(struct kofn_model *model, const struct kofn_log *log)
{
    struct cnn *cnn = calloc(1, sizeof(*cnn));
    struct scratch scratch = scratch_of(model);
    uint32_t threads;

    if (!cnn)
        return kofn_error(log, KOFN_NO_MEMORY, "model cnn: %zu bytes", sizeof(*cnn));
    model->own = cnn;
    cnn->plan = plan_of(&model->attr);
    memset(model->workspace, 0, cnn_workspace(&model->attr) * sizeof(float));
    threads = kofn_onednn_threads(model->attr.threads);
    kofn_onednn_open(&cnn->onednn, log);
    for (uint32_t i = 0; i < STAGES; i++)
        kofn_conv_open(&cnn->stage[i], &cnn->onednn, &cnn->plan.stage[i],
                       i ? &cnn->stage[i - 1] : NULL);
    open_flat(cnn, &scratch);
    kofn_onednn_threads(threads);
    return kofn_onednn_failed(&cnn->onednn);
}

static void cnn_close(struct kofn_model *model)
{
    struct cnn *cnn = model->own;

    if (cnn)
        kofn_onednn_close(&cnn->onednn);
    free(cnn);
}

static void cnn_init(const struct kofn_model *model, float *parameters)
{
    struct plan plan = plan_of(&model->attr);

    memset(parameters, 0, plan.parameters * sizeof(*parameters));
    for (uint32_t i = 0; i < LAYERS; i++) {
        const struct layer *layer = &plan.layer[i];
        double gain = i + 1 < LAYERS ? 2 : 1;

        kofn_dense_init(parameters + layer->weights, layer->inputs * layer->outputs,
                        sqrt(gain / (double)layer->inputs), model->attr.seed, i + 1);
    }
}

/* From scratch.input to scratch.value[DENSE], without the last biases. */
static void forward(struct kofn_model *model, const float *parameters, size_t rows)
{
    struct cnn *cnn = model->own;
    struct scratch scratch = scratch_of(model);

    for (uint32_t i = 0; i < STAGES; i++)
        kofn_conv_forward(&cnn->stage[i], parameters + cnn->plan.layer[i].weights,
                          parameters + cnn->plan.layer[i].biases);
    kofn_onednn_run(&cnn->onednn, &cnn->flatten);
    for (uint32_t i = 0; i < DENSE; i++) {
        const struct layer *layer = &cnn->plan.layer[STAGES + i];

        kofn_dense_forward(scratch.value[i], parameters + layer->weights, rows, layer->inputs,
                           layer->outputs, scratch.value[i + 1]);
        if (i + 1 < DENSE)
            kofn_dense_rectify(scratch.value[i + 1], parameters + layer->biases, rows,
                               layer->outputs);
    }
}

/* From scratch.errors[DENSE], those of the outputs, to the gradient. */
static void backward(struct kofn_model *model, const float *parameters, size_t rows,
                     float *gradient)
{
    struct cnn *cnn = model->own;
    struct scratch scratch = scratch_of(model);
    size_t first = cnn->plan.layer[STAGES].inputs;

    for (uint32_t i = DENSE; i--;) {
        const struct layer *layer = &cnn->plan.layer[STAGES + i];
        float *sums = gradient + layer->biases;

        if (i + 1 < DENSE)
            kofn_dense_clear_rested(scratch.errors[i + 1], scratch.value[i + 1], rows,
                                    layer->outputs, sums);
        else
            kofn_dense_sum(scratch.errors[i + 1], rows, layer->outputs, sums);
        kofn_dense_weights(scratch.errors[i + 1], scratch.value[i], rows, layer->inputs,
                           layer->outputs, gradient + layer->weights);
        kofn_dense_backward(scratch.errors[i + 1], parameters + layer->weights, rows, layer->inputs,
                            layer->outputs, scratch.errors[i]);
    }
    memset(scratch.errors[0] + rows * first, 0, (model->attr.batch - rows) * first * sizeof(float));
    kofn_onednn_run(&cnn->onednn, &cnn->unflatten);
    for (uint32_t i = STAGES; i--;)
        kofn_conv_backward(&cnn->stage[i], gradient + cnn->plan.layer[i].weights,
                           gradient + cnn->plan.layer[i].biases);
}

static float cnn_gradient(struct kofn_model *model, const float *parameters,
                          const struct kofn_batch *batch, float *gradient)
{
    struct cnn *cnn = model->own;
    struct scratch scratch = scratch_of(model);
    uint32_t threads = kofn_onednn_threads(model->attr.threads);
    float loss;

    kofn_dense_load(model, batch, scratch.input);
    forward(model, parameters, batch->count);
    loss = kofn_dense_softmax(scratch.value[DENSE], parameters + cnn->plan.layer[LAYERS - 1].biases,
                              model->labels, batch->count, model->attr.data->classes);
    backward(model, parameters, batch->count, gradient);
    kofn_onednn_threads(threads);
    return cnn->onednn.doing ? NAN : loss;
}

static struct kofn_score cnn_evaluate(struct kofn_model *model, const float *parameters,
                                      const struct kofn_samples *set, uint32_t count)
{
    const struct kofn_data *data = model->attr.data;
    struct cnn *cnn = model->own;
    struct scratch scratch = scratch_of(model);
    uint32_t threads = kofn_onednn_threads(model->attr.threads), n;
    double loss = 0;
    uint64_t hits = 0;

    for (uint32_t first = 0; first < count; first += n) {
        n = KOFN_MIN(model->attr.batch, count - first);
        kofn_data_gather_range(data, set, first, n, scratch.input);
        forward(model, parameters, n);
        kofn_dense_score(scratch.value[DENSE], parameters + cnn->plan.layer[LAYERS - 1].biases,
                         set->labels + first, n, data->classes, &loss, &hits);
    }
    kofn_onednn_threads(threads);
    return (struct kofn_score){cnn->onednn.doing ? NAN : loss / count, (double)hits / count};
}

const struct kofn_model_ops kofn_model_cnn = {
    .name = "cnn",
    .learning_rate = 0.05,
    .has_data = true,
    .check = cnn_check,
    .parameters = cnn_parameters,
    .workspace = cnn_workspace,
    .open = cnn_open,
    .close = cnn_close,
    .init = cnn_init,
    .gradient = cnn_gradient,
    .evaluate = cnn_evaluate,
};

#endif
