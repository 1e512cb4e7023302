/* model_ops.h: what a model is made of. A new one is a file with a table, and a line in model.c. */
#ifndef KOFN_TRAIN_MODEL_OPS_H
#define KOFN_TRAIN_MODEL_OPS_H

#include "train/model.h"

/* A model's functions get the model open, with attr complete (no zeros left that mean a default).
 */
struct kofn_model_ops {
    const char *name;
    bool has_data;
    double learning_rate; /* what kofn_model_learning_rate() says */

    /* Whether attr can be had; may be NULL. KOFN_INVALID; logged. */
    int (*check)(const struct kofn_model_attr *attr, const struct kofn_log *log);

    /* Sizes, from attr alone; parameters must not overflow, which kofn_model_open() checks before.
     */
    size_t (*parameters)(const struct kofn_model_attr *attr);
    size_t (*workspace)(const struct kofn_model_attr *attr); /* f32 elements */

    /* Fills in the workspace; NULL if it is scratch. */
    void (*prepare)(struct kofn_model *model);

    /* What a model has of its own, in model->own; both may be NULL. close also gets what open could
     * not finish. KOFN_NO_MEMORY, KOFN_SYSTEM; logged.
     */
    int (*open)(struct kofn_model *model, const struct kofn_log *log);
    void (*close)(struct kofn_model *model);

    void (*init)(const struct kofn_model *model, float *parameters);
    float (*gradient)(struct kofn_model *model, const float *parameters,
                      const struct kofn_batch *batch, float *gradient);
    struct kofn_score (*evaluate)(struct kofn_model *model, const float *parameters,
                                  const struct kofn_samples *set, uint32_t count);
};

struct kofn_model {
    const struct kofn_model_ops *ops;
    struct kofn_model_attr attr;
    size_t parameters;
    float *workspace; /* on a cache line */
    uint8_t *labels;  /* of kofn_model_rows() samples */
    void *own;        /* of ops->open */
};

/* How many samples the workspace holds at once: a mini-batch, or as many as an evaluation takes in
 * one go. */
static inline uint32_t kofn_model_rows(const struct kofn_model_attr *attr)
{
    return KOFN_MAX(attr->batch, 256u);
}

extern const struct kofn_model_ops kofn_model_none, kofn_model_quadratic, kofn_model_softmax,
    kofn_model_mlp, kofn_model_cnn;

#endif
