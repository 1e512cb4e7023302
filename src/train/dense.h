/* dense.h: the pieces that networks of dense layers share: matrix products, biases, softmax and
 * cross-entropy.
 *
 * Matrices are f32, row after row without gaps: one row a sample, one row of weights an output. No
 * allocation.
 */
#ifndef KOFN_TRAIN_DENSE_H
#define KOFN_TRAIN_DENSE_H

#include "train/model_ops.h"

/* How many threads OpenBLAS may use in this process; nothing without OpenBLAS. */
void kofn_dense_threads(uint32_t threads);

#ifdef HAVE_OPENBLAS

/* output (rows x outputs) = input (rows x inputs) times weights (outputs x inputs) transposed. */
void kofn_dense_forward(const float *input, const float *weights, size_t rows, size_t inputs,
                        size_t outputs, float *output);

/* gradient (outputs x inputs) = errors (rows x outputs) transposed times input (rows x inputs). */
void kofn_dense_weights(const float *errors, const float *input, size_t rows, size_t inputs,
                        size_t outputs, float *gradient);

/* below (rows x inputs) = errors (rows x outputs) times weights (outputs x inputs). */
void kofn_dense_backward(const float *errors, const float *weights, size_t rows, size_t inputs,
                         size_t outputs, float *below);

/* sums (columns) = the sum of all rows. */
void kofn_dense_sum(const float *matrix, size_t rows, size_t columns, float *sums);

/* values (rows x units) = max(0, values + biases), in one pass. */
void kofn_dense_rectify(float *values, const float *biases, size_t rows, size_t units);

/* Clears those of @errors (rows x units) whose @values were at rest, and sums up the rest for the
 * biases: @sums (units).
 */
void kofn_dense_clear_rested(float *errors, const float *values, size_t rows, size_t units,
                             float *sums);

/* Adds the biases to @outputs (rows x classes) and turns it into the gradient of the mean
 * cross-entropy: (softmax - 1 at the label) / rows. Returns the mean cross-entropy.
 */
float kofn_dense_softmax(float *outputs, const float *biases, const uint8_t *labels, size_t rows,
                         size_t classes);

/* Adds up, over @rows samples, the cross-entropy and the hits of outputs + biases; adds the biases
 * to @outputs. */
void kofn_dense_score(float *outputs, const float *biases, const uint8_t *labels, size_t rows,
                      size_t classes, double *loss, uint64_t *hits);

/* Normal numbers of the given deviation, by He: sqrt(2 / inputs) for what feeds a rectifier. */
void kofn_dense_init(float *weights, size_t count, double deviation, uint64_t seed, uint32_t layer);

/* Puts the samples of a mini-batch and their labels into the workspace: @input has batch->count
 * rows. */
void kofn_dense_load(struct kofn_model *model, const struct kofn_batch *batch, float *input);

#endif

#endif
