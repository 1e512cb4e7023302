#include "train/sgd.h"

#include <stdlib.h>
#include <string.h>

int kofn_sgd_open(size_t parameters, double learning_rate, double momentum,
                  const struct kofn_log *log, struct kofn_sgd *sgd)
{
    struct kofn_sgd result = {parameters, (float)learning_rate, (float)momentum, NULL};

    if (momentum != 0) {
        result.velocity = calloc(parameters ? parameters : 1, sizeof(*result.velocity));
        if (!result.velocity)
            return kofn_error(log, KOFN_NO_MEMORY, "momentum: %zu parameters", parameters);
    }
    *sgd = result;
    return 0;
}

void kofn_sgd_close(struct kofn_sgd *sgd)
{
    free(sgd->velocity);
    sgd->velocity = NULL;
}

/* Blocks of a fixed size are what every compiler turns into vector instructions without being asked
 * to. */
#define BLOCK 64u

static void step(float *restrict x, const float *restrict gradient, size_t n, float learning_rate)
{
    size_t j = 0;

    for (; j + BLOCK <= n; j += BLOCK)
        for (size_t i = j; i < j + BLOCK; i++)
            x[i] -= learning_rate * gradient[i];
    for (; j < n; j++)
        x[j] -= learning_rate * gradient[j];
}

static void step_with_momentum(float *restrict x, const float *restrict gradient,
                               float *restrict velocity, size_t n, float learning_rate,
                               float momentum)
{
    size_t j = 0;

    for (; j + BLOCK <= n; j += BLOCK)
        for (size_t i = j; i < j + BLOCK; i++) {
            velocity[i] = momentum * velocity[i] + gradient[i];
            x[i] -= learning_rate * velocity[i];
        }
    for (; j < n; j++) {
        velocity[j] = momentum * velocity[j] + gradient[j];
        x[j] -= learning_rate * velocity[j];
    }
}

void kofn_sgd_step(struct kofn_sgd *sgd, float *x, const float *gradient)
{
    if (sgd->velocity)
        step_with_momentum(x, gradient, sgd->velocity, sgd->parameters, sgd->learning_rate,
                           sgd->momentum);
    else
        step(x, gradient, sgd->parameters, sgd->learning_rate);
}

void kofn_sgd_reset(struct kofn_sgd *sgd)
{
    if (sgd->velocity)
        memset(sgd->velocity, 0, sgd->parameters * sizeof(*sgd->velocity));
}
