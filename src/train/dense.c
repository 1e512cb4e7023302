#include "train/dense.h"

#ifndef HAVE_OPENBLAS

void kofn_dense_threads(uint32_t threads)
{
    (void)threads;
}

#else

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/random.h"

void kofn_dense_threads(uint32_t threads)
{
    openblas_set_num_threads((int)threads);
}

void kofn_dense_forward(const float *input, const float *weights, size_t rows, size_t inputs,
                        size_t outputs, float *output)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)outputs,
                (blasint)inputs, 1, input, (blasint)inputs, weights, (blasint)inputs, 0, output,
                (blasint)outputs);
}

void kofn_dense_weights(const float *errors, const float *input, size_t rows, size_t inputs,
                        size_t outputs, float *gradient)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)outputs, (blasint)inputs,
                (blasint)rows, 1, errors, (blasint)outputs, input, (blasint)inputs, 0, gradient,
                (blasint)inputs);
}

void kofn_dense_backward(const float *errors, const float *weights, size_t rows, size_t inputs,
                         size_t outputs, float *below)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)inputs,
                (blasint)outputs, 1, errors, (blasint)outputs, weights, (blasint)inputs, 0, below,
                (blasint)inputs);
}

void kofn_dense_sum(const float *restrict matrix, size_t rows, size_t columns, float *restrict sums)
{
    memset(sums, 0, columns * sizeof(*sums));
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            sums[j] += matrix[i * columns + j];
}

void kofn_dense_rectify(float *restrict hidden, const float *restrict biases, size_t rows,
                        size_t units)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < units; j++) {
            float value = hidden[i * units + j] + biases[j];

            hidden[i * units + j] = value < 0 ? 0 : value; /* NaN stays to be seen */
        }
}

void kofn_dense_clear_rested(float *restrict errors, const float *restrict hidden, size_t rows,
                             size_t units, float *restrict sums)
{
    memset(sums, 0, units * sizeof(*sums));
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < units; j++) {
            float error = hidden[i * units + j] > 0 ? errors[i * units + j] : 0;

            errors[i * units + j] = error;
            sums[j] += error;
        }
}

/* Adds the biases, and returns the largest output; the class it belongs to in @best. */
static float largest(float *row, const float *biases, size_t classes, size_t *best)
{
    *best = 0;
    for (size_t j = 0; j < classes; j++) {
        row[j] += biases[j];
        if (row[j] > row[*best])
            *best = j;
    }
    return row[*best];
}

float kofn_dense_softmax(float *outputs, const float *biases, const uint8_t *labels, size_t rows,
                         size_t classes)
{
    double loss = 0;

    for (size_t i = 0; i < rows; i++) {
        float *row = outputs + i * classes, sum = 0;
        size_t best;
        float top = largest(row, biases, classes, &best);

        loss += top - row[labels[i]];
        for (size_t j = 0; j < classes; j++) {
            row[j] = expf(row[j] - top);
            sum += row[j];
        }
        loss += logf(sum);
        for (size_t j = 0; j < classes; j++)
            row[j] /= sum * (float)rows;
        row[labels[i]] -= 1 / (float)rows;
    }
    return (float)(loss / (double)rows);
}

void kofn_dense_score(float *outputs, const float *biases, const uint8_t *labels, size_t rows,
                      size_t classes, double *loss, uint64_t *hits)
{
    for (size_t i = 0; i < rows; i++) {
        float *row = outputs + i * classes, sum = 0;
        size_t best;
        float top = largest(row, biases, classes, &best);

        *loss += top - row[labels[i]];
        *hits += best == labels[i];
        for (size_t j = 0; j < classes; j++)
            sum += expf(row[j] - top);
        *loss += logf(sum);
    }
}

void kofn_dense_init(float *weights, size_t count, double deviation, uint64_t seed, uint32_t layer)
{
    struct kofn_random random;

    kofn_random_seed(&random, seed, kofn_stream_of(KOFN_STREAM_MODEL, layer));
    for (size_t i = 0; i < count; i++)
        weights[i] = (float)(deviation * kofn_random_normal(&random));
}

void kofn_dense_load(struct kofn_model *model, const struct kofn_batch *batch, float *input)
{
    const struct kofn_data *data = model->attr.data;

    kofn_data_gather(data, &data->train, batch->index, batch->count, input);
    for (uint32_t i = 0; i < batch->count; i++)
        model->labels[i] = data->train.labels[batch->index[i]];
}

#endif
