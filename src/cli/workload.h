/* workload.h: what a job trains: data, their split over workers, the model. Opened once, before the
 * worker processes are forked, so that all of them share one copy of the data.
 */
#ifndef KOFN_CLI_WORKLOAD_H
#define KOFN_CLI_WORKLOAD_H

#include "cli/conf.h"
#include "train/model.h"
#include "train/split.h"

struct kofn_workload {
    struct kofn_data *data; /* NULL where the model has none */
    struct kofn_split split;
    struct kofn_model_attr attr; /* of every model opened for this job */
    struct kofn_model *model;    /* the server's, to begin with */
    size_t parameters;
    bool has_accuracy;
    uint32_t batch;
    uint64_t seed;
};

/* Loads what @conf names. Returns what kofn_data_open(), kofn_split_make() and kofn_model_open()
 * return; logged. */
int kofn_workload_open(struct kofn_workload *workload, const struct kofn_conf *conf,
                       const struct kofn_log *log);
void kofn_workload_close(struct kofn_workload *workload);

/* The options that server and workers must agree on, as "model=mlp batch=64 ...": fills and returns
 * @text. Where the data lie is each host's own affair. */
#define KOFN_WORKLOAD_TEXT 256
const char *kofn_workload_describe(const struct kofn_conf *conf, char text[KOFN_WORKLOAD_TEXT]);

/* What one worker does with it. Used by one thread. */
struct kofn_learner {
    const struct kofn_workload *workload;
    struct kofn_model *model;
    struct kofn_sampler sampler;
    uint32_t rank, *index; /* of a mini-batch */
};

int kofn_learner_open(struct kofn_learner *learner, const struct kofn_workload *workload,
                      uint32_t rank, const struct kofn_log *log);
void kofn_learner_close(struct kofn_learner *learner);

/* Draws the next mini-batch and writes its gradient at @parameters to @gradient; returns the mean
 * loss. */
float kofn_learner_gradient(struct kofn_learner *learner, const float *parameters, float *gradient);

#endif
