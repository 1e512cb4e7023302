#include "train/conv.h"

#ifdef HAVE_ONEDNN

#include "base/base.h"

static const dnnl_dims_t one = {1, 1}, two = {KOFN_CONV_POOL, KOFN_CONV_POOL}, none = {0, 0};

/* The tensors of a stage. Those of `any` order are for the convolution to choose. */
struct tensors {
    dnnl_memory_desc_t in, weights, plain, biases, values, out;
};

static dnnl_memory_desc_t tensor_of(dnnl_memory_t memory)
{
    const dnnl_memory_desc_t *tensor = NULL;

    if (memory)
        dnnl_memory_get_memory_desc(memory, &tensor);
    return tensor ? *tensor : (dnnl_memory_desc_t){0};
}

static struct tensors describe(struct kofn_onednn *onednn, const struct kofn_conv_shape *shape)
{
    dnnl_dim_t rows = shape->rows, filters = shape->filters, side = KOFN_CONV_KERNEL;
    dnnl_dim_t high = shape->height - side + 1, wide = shape->width - side + 1;
    const dnnl_dim_t in[] = {rows, shape->channels, shape->height, shape->width},
                     weights[] = {filters, shape->channels, side, side},
                     values[] = {rows, filters, high, wide},
                     out[] = {rows, filters, high / KOFN_CONV_POOL, wide / KOFN_CONV_POOL};

    return (struct tensors){
        .in = kofn_onednn_tensor(onednn, 4, in, dnnl_nchw),
        .weights = kofn_onednn_tensor(onednn, 4, weights, dnnl_format_tag_any),
        .plain = kofn_onednn_tensor(onednn, 4, weights, dnnl_oihw),
        .biases = kofn_onednn_tensor(onednn, 1, &filters, dnnl_x),
        .values = kofn_onednn_tensor(onednn, 4, values, dnnl_format_tag_any),
        .out = kofn_onednn_tensor(onednn, 4, out, dnnl_format_tag_any),
    };
}

static const dnnl_memory_desc_t *ask(const_dnnl_primitive_desc_t description, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(description, what, 0);
}

/* Memory for weights in the order of @want, and the call that puts @plain there. */
static dnnl_memory_t ordered(struct kofn_conv *conv, const dnnl_memory_desc_t *want,
                             struct kofn_onednn_call *call)
{
    dnnl_memory_t memory = kofn_onednn_memory(conv->onednn, want);

    kofn_onednn_reorder(conv->onednn, conv->plain, memory, call);
    return memory;
}

static dnnl_primitive_desc_t open_convolution(struct kofn_conv *conv, const struct tensors *tensors)
{
    struct kofn_onednn *onednn = conv->onednn;
    dnnl_primitive_desc_t forward;
    dnnl_convolution_desc_t op;
    dnnl_memory_t weights;

    dnnl_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct,
                                       &tensors->in, &tensors->weights, &tensors->biases,
                                       &tensors->values, one, none, none);
    forward = kofn_onednn_describe(onednn, &op, NULL);
    if (!forward)
        return NULL;
    weights = ordered(conv, ask(forward, dnnl_query_weights_md), &conv->weights_in);
    conv->values = kofn_onednn_memory(onednn, ask(forward, dnnl_query_dst_md));
    conv->errors = kofn_onednn_memory(onednn, ask(forward, dnnl_query_dst_md));
    kofn_onednn_make(onednn, forward, &conv->convolve);
    kofn_onednn_argument(&conv->convolve, DNNL_ARG_SRC, conv->in);
    kofn_onednn_argument(&conv->convolve, DNNL_ARG_WEIGHTS, weights);
    kofn_onednn_argument(&conv->convolve, DNNL_ARG_BIAS, conv->biases);
    kofn_onednn_argument(&conv->convolve, DNNL_ARG_DST, conv->values);
    return forward;
}

static void open_pool_back(struct kofn_conv *conv, const_dnnl_primitive_desc_t forward,
                           dnnl_memory_t places)
{
    struct kofn_onednn *onednn = conv->onednn;
    dnnl_memory_desc_t values = tensor_of(conv->values), out = tensor_of(conv->out);
    dnnl_primitive_desc_t backward;
    dnnl_pooling_desc_t op;

    dnnl_pooling_backward_desc_init(&op, dnnl_pooling_max, &values, &out, two, two, none, none);
    backward = kofn_onednn_describe(onednn, &op, forward);
    if (!backward)
        return;
    conv->out_errors = kofn_onednn_memory(onednn, &out);
    kofn_onednn_make(onednn, backward, &conv->unpool);
    kofn_onednn_argument(&conv->unpool, DNNL_ARG_DIFF_DST, conv->out_errors);
    kofn_onednn_argument(&conv->unpool, DNNL_ARG_WORKSPACE, places);
    kofn_onednn_argument(&conv->unpool, DNNL_ARG_DIFF_SRC, conv->errors);
    dnnl_primitive_desc_destroy(backward);
}

static void open_pool(struct kofn_conv *conv, const struct tensors *tensors)
{
    struct kofn_onednn *onednn = conv->onednn;
    dnnl_memory_desc_t values = tensor_of(conv->values);
    dnnl_primitive_desc_t forward;
    dnnl_memory_t places;
    dnnl_pooling_desc_t op;

    dnnl_pooling_forward_desc_init(&op, dnnl_forward_training, dnnl_pooling_max, &values,
                                   &tensors->out, two, two, none, none);
    forward = kofn_onednn_describe(onednn, &op, NULL);
    if (!forward)
        return;
    conv->out = kofn_onednn_memory(onednn, ask(forward, dnnl_query_dst_md));
    places = kofn_onednn_memory(onednn, ask(forward, dnnl_query_workspace_md));
    kofn_onednn_make(onednn, forward, &conv->pool);
    kofn_onednn_argument(&conv->pool, DNNL_ARG_SRC, conv->values);
    kofn_onednn_argument(&conv->pool, DNNL_ARG_DST, conv->out);
    kofn_onednn_argument(&conv->pool, DNNL_ARG_WORKSPACE, places);
    open_pool_back(conv, forward, places);
    dnnl_primitive_desc_destroy(forward);
}

/* The gradient of the weights: made in an order of oneDNN's, and brought into the caller's. */
static void open_gradient(struct kofn_conv *conv, const struct tensors *tensors,
                          const_dnnl_primitive_desc_t forward)
{
    struct kofn_onednn *onednn = conv->onednn;
    dnnl_memory_desc_t errors = tensor_of(conv->errors);
    struct kofn_onednn_call *call = &conv->weights_gradient;
    dnnl_primitive_desc_t backward;
    dnnl_convolution_desc_t op;
    dnnl_memory_t gradient;

    dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &tensors->in,
                                                &tensors->weights, &tensors->biases, &errors, one,
                                                none, none);
    backward = kofn_onednn_describe(onednn, &op, forward);
    if (!backward)
        return;
    gradient = kofn_onednn_memory(onednn, ask(backward, dnnl_query_diff_weights_md));
    kofn_onednn_reorder(onednn, gradient, conv->plain_gradient, &conv->gradient_out);
    kofn_onednn_make(onednn, backward, call);
    kofn_onednn_argument(call, DNNL_ARG_SRC, conv->in);
    kofn_onednn_argument(call, DNNL_ARG_DIFF_DST, conv->errors);
    kofn_onednn_argument(call, DNNL_ARG_DIFF_WEIGHTS, gradient);
    kofn_onednn_argument(call, DNNL_ARG_DIFF_BIAS, conv->biases_gradient);
    dnnl_primitive_desc_destroy(backward);
}

/* The errors of the stage below. */
static void open_errors(struct kofn_conv *conv, const struct tensors *tensors,
                        const_dnnl_primitive_desc_t forward)
{
    struct kofn_onednn *onednn = conv->onednn;
    dnnl_memory_desc_t errors = tensor_of(conv->errors);
    struct kofn_onednn_call *call = &conv->in_gradient;
    dnnl_primitive_desc_t backward;
    dnnl_convolution_desc_t op;
    dnnl_memory_t weights;

    if (!conv->in_errors)
        return;
    dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &tensors->in,
                                             &tensors->weights, &errors, one, none, none);
    backward = kofn_onednn_describe(onednn, &op, forward);
    if (!backward)
        return;
    weights = ordered(conv, ask(backward, dnnl_query_weights_md), &conv->weights_back);
    kofn_onednn_make(onednn, backward, call);
    kofn_onednn_argument(call, DNNL_ARG_DIFF_DST, conv->errors);
    kofn_onednn_argument(call, DNNL_ARG_WEIGHTS, weights);
    kofn_onednn_argument(call, DNNL_ARG_DIFF_SRC, conv->in_errors);
    dnnl_primitive_desc_destroy(backward);
}

void kofn_conv_open(struct kofn_conv *conv, struct kofn_onednn *onednn,
                    const struct kofn_conv_shape *shape, const struct kofn_conv *below)
{
    struct tensors tensors = describe(onednn, shape);
    dnnl_primitive_desc_t forward;

    conv->onednn = onednn;
    conv->shape = *shape;
    if (below) {
        tensors.in = tensor_of(below->out);
        conv->in = below->out;
        conv->in_errors = below->out_errors;
    } else {
        conv->in = kofn_onednn_elsewhere(onednn, &tensors.in);
    }
    conv->plain = kofn_onednn_elsewhere(onednn, &tensors.plain);
    conv->plain_gradient = kofn_onednn_elsewhere(onednn, &tensors.plain);
    conv->biases = kofn_onednn_elsewhere(onednn, &tensors.biases);
    conv->biases_gradient = kofn_onednn_elsewhere(onednn, &tensors.biases);
    forward = open_convolution(conv, &tensors);
    if (!forward)
        return;
    open_pool(conv, &tensors);
    open_gradient(conv, &tensors, forward);
    open_errors(conv, &tensors, forward);
    dnnl_primitive_desc_destroy(forward);
}

static void rectify(dnnl_memory_t memory)
{
    size_t count;
    float *values = kofn_onednn_values(memory, &count);

    for (size_t i = 0; i < count; i++)
        values[i] = values[i] < 0 ? 0 : values[i]; /* NaN stays to be seen */
}

/* Clears the errors of what was at rest. */
static void clear_rested(dnnl_memory_t errors_of, dnnl_memory_t values_of)
{
    size_t count;
    float *restrict errors = kofn_onednn_values(errors_of, &count);
    const float *restrict values = kofn_onednn_values(values_of, &count);

    for (size_t i = 0; i < count; i++)
        errors[i] = values[i] > 0 ? errors[i] : 0;
}

void kofn_conv_forward(struct kofn_conv *conv, const float *weights, const float *biases)
{
    struct kofn_onednn *onednn = conv->onednn;

    kofn_onednn_point(onednn, conv->plain, weights);
    kofn_onednn_point(onednn, conv->biases, biases);
    kofn_onednn_run(onednn, &conv->weights_in);
    kofn_onednn_run(onednn, &conv->convolve);
    kofn_onednn_run(onednn, &conv->pool);
    rectify(conv->out);
}

void kofn_conv_backward(struct kofn_conv *conv, float *weights_gradient, float *biases_gradient)
{
    struct kofn_onednn *onednn = conv->onednn;

    kofn_onednn_point(onednn, conv->plain_gradient, weights_gradient);
    kofn_onednn_point(onednn, conv->biases_gradient, biases_gradient);
    clear_rested(conv->out_errors, conv->out);
    kofn_onednn_run(onednn, &conv->unpool);
    kofn_onednn_run(onednn, &conv->weights_gradient);
    kofn_onednn_run(onednn, &conv->gradient_out);
    if (!conv->in_errors)
        return;
    kofn_onednn_run(onednn, &conv->weights_back);
    kofn_onednn_run(onednn, &conv->in_gradient);
}

#endif
