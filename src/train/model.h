/* model.h: the built-in workloads: what is trained, behind one table of functions.
 *
 *     none       nothing is computed; the gradient is zero
 *     quadratic  f_m(x) = |x - b_m|^2 / 2 for worker m: no data, a known optimum (the mean of all)
 *     softmax    multinomial logistic regression
 *     mlp        one hidden layer of rectified linear units
 *     cnn        two convolutions and three dense layers (cnn.c), for images
 *
 * Parameters are one array of f32, wherever the caller has it: a gradient is written straight into
 * a buffer of the caller's, such as a slot that others read. A kofn_model is the workspace of one
 * thread: everything is allocated when it is opened, nothing in a step. softmax, mlp
 * and cnn need OpenBLAS, cnn oneDNN as well, and sum in their order, so gradients are the same from
 * run to run on one machine, and differ by rounding between machines.
 */
#ifndef KOFN_TRAIN_MODEL_H
#define KOFN_TRAIN_MODEL_H

#include "base/log.h"
#include "train/data.h"

#define KOFN_MODEL_BATCH 32u   /* default size of a mini-batch */
#define KOFN_MODEL_HIDDEN 128u /* default units of a hidden layer */

#define KOFN_MODEL_BATCH_MAX 65536u
#define KOFN_MODEL_HIDDEN_MAX 65536u
#define KOFN_MODEL_DIMENSION_MAX (1u << 28)

/* Zero asks for the default. */
struct kofn_model_attr {
    const char *name;             /* one of the above */
    const struct kofn_data *data; /* must outlive the model; NULL where the model has none */
    uint64_t seed;                /* of the first parameters, and of b_m */
    uint32_t batch;               /* largest mini-batch of a gradient; KOFN_MODEL_BATCH */
    uint32_t hidden;              /* units of the hidden layer of mlp; KOFN_MODEL_HIDDEN */
    uint32_t dimension;           /* parameters of quadratic (10) and none (0) */
    uint32_t workers;             /* that share a quadratic; 1 */
    uint32_t threads;             /* of the libraries, OpenBLAS' for the whole process; 1 */
};

struct kofn_model;

/* A mini-batch of worker @rank: samples @index of the training set. Models without data look at the
 * rank alone, data models at the samples alone.
 */
struct kofn_batch {
    const uint32_t *index;
    uint32_t count; /* 1 to attr.batch */
    uint32_t rank;  /* below attr.workers */
};

/* How good parameters are; NaN where there is no such thing. */
struct kofn_score {
    double loss;     /* mean over samples; of quadratic: mean over workers */
    double accuracy; /* share of samples whose largest output is the right one */
};

/* KOFN_INVALID: unknown name, sizes out of range, no data where data are needed; KOFN_UNSUPPORTED:
 * needs a library that this build lacks; KOFN_NO_MEMORY. Logged.
 */
int kofn_model_open(const struct kofn_model_attr *attr, const struct kofn_log *log,
                    struct kofn_model **model_p);
void kofn_model_close(struct kofn_model *model);

/* Number of f32 parameters: the length of every array below. */
size_t kofn_model_parameters(const struct kofn_model *model);

/* True if batches have samples, and scores an accuracy. */
bool kofn_model_has_data(const struct kofn_model *model);

/* The first parameters: the same for the same seed, on every worker. */
void kofn_model_init(const struct kofn_model *model, float *parameters);

/* The gradient of the mean loss of @batch at @parameters. Overwrites all of @gradient, which must
 * not overlap
 * @parameters. Returns the mean loss (NaN for none).
 */
float kofn_model_gradient(struct kofn_model *model, const float *parameters,
                          const struct kofn_batch *batch, float *gradient);

/* Scores @parameters on the first @limit (0: all) samples of @set, which is one of the model's
 * data; @set is not looked at where there are no data.
 */
struct kofn_score kofn_model_evaluate(struct kofn_model *model, const float *parameters,
                                      const struct kofn_samples *set, uint32_t limit);

/* A learning rate that suits the model's own data sets, batch and hidden layer by default: of local
 * updates, and of a gradient that is a mean. 0 for a name there is not.
 */
double kofn_model_learning_rate(const char *name);

/* The names of all models there are, those that need a missing library included. */
extern const char *const kofn_model_names[];
extern const size_t kofn_model_names_count;

#endif
