/* conv.h: one stage of a convolutional network: filters of 5x5 without padding, the maximum of
 * every 2x2, a rectifier. (The rectifier comes last, on a quarter of the values: the maximum of
 * what is rectified is the rectified maximum.)
 *
 * A stage reads `in` and writes `out`; backwards it reads what is in `out_errors`, which it
 * overwrites, and writes `in_errors`. Inside, elements have the order that oneDNN finds best on
 * this machine; a stage takes its input in the order in which the one below leaves it. Weights and
 * their gradient are (filters x channels x 5 x 5), images (channels x height x width).
 */
#ifndef KOFN_TRAIN_CONV_H
#define KOFN_TRAIN_CONV_H

#include "train/onednn.h"

#ifdef HAVE_ONEDNN

#define KOFN_CONV_KERNEL 5u
#define KOFN_CONV_POOL 2u

/* Of a stage's input. */
struct kofn_conv_shape {
    uint32_t rows, channels, height, width, filters;
};

struct kofn_conv {
    struct kofn_onednn *onednn;
    struct kofn_conv_shape shape;
    dnnl_memory_t in, out, in_errors, out_errors; /* in_errors: NULL = nobody wants them */
    dnnl_memory_t values, errors;                 /* between convolution and maximum */
    dnnl_memory_t plain, biases;                  /* parameters, as the caller has them */
    dnnl_memory_t plain_gradient, biases_gradient;
    struct kofn_onednn_call weights_in, convolve, pool; /* forwards */
    struct kofn_onednn_call unpool, weights_gradient, gradient_out, weights_back, in_gradient;
};

/* How much of a side of @length is left after a stage; 0: it is too short. */
static inline uint32_t kofn_conv_after(uint32_t length)
{
    return length < KOFN_CONV_KERNEL ? 0 : (length - KOFN_CONV_KERNEL + 1) / KOFN_CONV_POOL;
}

/* Fills in a zeroed stage. @below is the stage below, NULL where there is none: then `in` is
 * elsewhere, and kofn_onednn_point() says where. Failures: kofn_onednn_failed().
 */
void kofn_conv_open(struct kofn_conv *conv, struct kofn_onednn *onednn,
                    const struct kofn_conv_shape *shape, const struct kofn_conv *below);

void kofn_conv_forward(struct kofn_conv *conv, const float *weights, const float *biases);

/* After a forward pass with the same weights. */
void kofn_conv_backward(struct kofn_conv *conv, float *weights_gradient, float *biases_gradient);

#endif

#endif
