#include "cli/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether @name is a model that learns from data. Known before one is open: data are loaded first.
 */
static bool needs_data(const char *name)
{
    return strcmp(name, "quadratic") && strcmp(name, "none");
}

static int open_data(struct kofn_workload *workload, const struct kofn_conf *conf,
                     const struct kofn_log *log)
{
    struct kofn_split_spec spec;
    int rc;

    rc = kofn_split_parse(kofn_text(conf->split), log, &spec);
    if (rc || !needs_data(conf->model))
        return rc;
    rc = kofn_data_open(conf->data, conf->seed, log, &workload->data);
    if (rc)
        return rc;
    return kofn_split_make(&spec, &workload->data->train, workload->data->classes, conf->workers,
                           conf->seed, log, &workload->split);
}

int kofn_workload_open(struct kofn_workload *workload, const struct kofn_conf *conf,
                       const struct kofn_log *log)
{
    int rc;

    memset(workload, 0, sizeof(*workload));
    rc = open_data(workload, conf, log);
    if (rc)
        goto close_workload;
    workload->attr = (struct kofn_model_attr){.name = conf->model,
                                              .data = workload->data,
                                              .seed = conf->seed,
                                              .batch = conf->batch,
                                              .hidden = conf->hidden,
                                              .workers = conf->workers,
                                              .threads = 1};
    rc = kofn_model_open(&workload->attr, log, &workload->model);
    if (rc)
        goto close_workload;
    workload->parameters = kofn_model_parameters(workload->model);
    workload->has_accuracy = kofn_model_has_data(workload->model);
    workload->batch = conf->batch;
    workload->seed = conf->seed;
    return 0;

close_workload:
    kofn_workload_close(workload);
    return rc;
}

void kofn_workload_close(struct kofn_workload *workload)
{
    kofn_model_close(workload->model);
    kofn_split_free(&workload->split);
    kofn_data_close(workload->data);
    memset(workload, 0, sizeof(*workload));
}

const char *kofn_workload_describe(const struct kofn_conf *conf, char text[KOFN_WORKLOAD_TEXT])
{
    snprintf(text, KOFN_WORKLOAD_TEXT,
             "workers=%u model=%s hidden=%u data=%.*s split=%s batch=%u lr=%.9g seed=%llu",
             conf->workers, conf->model, conf->hidden, (int)strcspn(conf->data, ":"), conf->data,
             conf->split, conf->batch, conf->lr, (unsigned long long)conf->seed);
    return text;
}

int kofn_learner_open(struct kofn_learner *learner, const struct kofn_workload *workload,
                      uint32_t rank, const struct kofn_log *log)
{
    int rc;

    memset(learner, 0, sizeof(*learner));
    learner->workload = workload;
    learner->rank = rank;
    learner->index = calloc(workload->batch, sizeof(*learner->index));
    if (!learner->index)
        return kofn_error(log, KOFN_NO_MEMORY, "rank %u: a batch of %u", rank, workload->batch);
    if (workload->data)
        kofn_sampler_init(&learner->sampler, &workload->split, rank, workload->seed);
    rc = kofn_model_open(&workload->attr, log, &learner->model);
    if (rc)
        kofn_learner_close(learner);
    return rc;
}

void kofn_learner_close(struct kofn_learner *learner)
{
    kofn_model_close(learner->model);
    free(learner->index);
    memset(learner, 0, sizeof(*learner));
}

float kofn_learner_gradient(struct kofn_learner *learner, const float *parameters, float *gradient)
{
    struct kofn_batch batch = {learner->index, learner->workload->batch, learner->rank};

    if (learner->workload->data)
        kofn_sampler_next(&learner->sampler, batch.count, learner->index);
    return kofn_model_gradient(learner->model, parameters, &batch, gradient);
}
