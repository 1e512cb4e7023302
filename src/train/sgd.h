/* sgd.h: the step a worker takes along its gradient: x -= lr v, v = momentum v + gradient. */
#ifndef KOFN_TRAIN_SGD_H
#define KOFN_TRAIN_SGD_H

#include "base/log.h"

struct kofn_sgd {
    size_t parameters;
    float learning_rate;
    float momentum;  /* 0: plain descent */
    float *velocity; /* owned; NULL without momentum */
};

/* KOFN_NO_MEMORY; logged. Nothing is allocated without momentum. */
int kofn_sgd_open(size_t parameters, double learning_rate, double momentum,
                  const struct kofn_log *log, struct kofn_sgd *sgd);
void kofn_sgd_close(struct kofn_sgd *sgd);

/* One step of @x along @gradient; neither may overlap the other. */
void kofn_sgd_step(struct kofn_sgd *sgd, float *x, const float *gradient);

/* Forgets the velocity: for algorithms that start every round afresh. */
void kofn_sgd_reset(struct kofn_sgd *sgd);

#endif
