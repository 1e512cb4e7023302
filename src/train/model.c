#include "train/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "train/dense.h"
#include "train/model_ops.h"

#define DIMENSION 10u
#define WORKSPACE_MAX ((size_t)1 << 32) /* f32 elements; a plain bound against overflow */

const char *const kofn_model_names[] = {"none", "quadratic", "softmax", "mlp", "cnn"};
const size_t kofn_model_names_count = KOFN_ARRAY_SIZE(kofn_model_names);

static const struct kofn_model_ops *const models[] = {
    &kofn_model_none,    &kofn_model_quadratic,
#ifdef HAVE_OPENBLAS
    &kofn_model_softmax, &kofn_model_mlp,
#ifdef HAVE_ONEDNN
    &kofn_model_cnn,
#endif
#endif
};

/* The library that this build lacks for @name. */
static const char *missing(const char *name)
{
#ifdef HAVE_OPENBLAS
    return (void)name, "oneDNN";
#else
    return strcmp(name, "cnn") ? "OpenBLAS" : "OpenBLAS, and oneDNN";
#endif
}

static int find(const char *name, const struct kofn_log *log, const struct kofn_model_ops **ops)
{
    char hint[KOFN_HINT_LENGTH];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(models); i++)
        if (!strcmp(models[i]->name, name)) {
            *ops = models[i];
            return 0;
        }
    for (size_t i = 0; i < kofn_model_names_count; i++)
        if (!strcmp(kofn_model_names[i], name))
            return kofn_error(log, KOFN_UNSUPPORTED, "model %s needs %s, which is not built in",
                              name, missing(name));
    return kofn_error(log, KOFN_INVALID, "unknown model \"%s\"; %s", name,
                      kofn_hint(hint, kofn_text(name), kofn_model_names, kofn_model_names_count));
}

/* Puts the defaults in and checks the bounds, within which no size overflows. */
static int complete(struct kofn_model_attr *attr, const struct kofn_model_ops *ops,
                    const struct kofn_log *log)
{
    if (!attr->batch)
        attr->batch = KOFN_MODEL_BATCH;
    if (!attr->hidden)
        attr->hidden = KOFN_MODEL_HIDDEN;
    if (!attr->dimension && ops == &kofn_model_quadratic)
        attr->dimension = DIMENSION;
    if (!attr->workers)
        attr->workers = 1;
    if (!attr->threads)
        attr->threads = 1;
    if (attr->batch > KOFN_MODEL_BATCH_MAX || attr->hidden > KOFN_MODEL_HIDDEN_MAX ||
        attr->dimension > KOFN_MODEL_DIMENSION_MAX)
        return kofn_error(log, KOFN_INVALID,
                          "model %s: batch %u, %u hidden units, dimension %u; at most %u, %u, %u",
                          ops->name, attr->batch, attr->hidden, attr->dimension,
                          KOFN_MODEL_BATCH_MAX, KOFN_MODEL_HIDDEN_MAX, KOFN_MODEL_DIMENSION_MAX);
    if (ops->has_data && !attr->data)
        return kofn_error(log, KOFN_INVALID, "model %s needs data", ops->name);
    return ops->check ? ops->check(attr, log) : 0;
}

static int allocate(struct kofn_model *model, const struct kofn_log *log)
{
    size_t elements = model->ops->workspace(&model->attr), bytes;

    if (elements > WORKSPACE_MAX)
        return kofn_error(log, KOFN_INVALID, "model %s: a workspace of %zu elements, at most %zu",
                          model->ops->name, elements, WORKSPACE_MAX);
    bytes = kofn_round_up((elements + 1) * sizeof(float), KOFN_CACHE_LINE);
    model->workspace = aligned_alloc(KOFN_CACHE_LINE, bytes);
    model->labels = calloc(kofn_model_rows(&model->attr), 1);
    if (!model->workspace || !model->labels)
        return kofn_error(log, KOFN_NO_MEMORY, "model %s: a workspace of %zu bytes",
                          model->ops->name, bytes);
    return 0;
}

int kofn_model_open(const struct kofn_model_attr *attr, const struct kofn_log *log,
                    struct kofn_model **model_p)
{
    const struct kofn_model_ops *ops;
    struct kofn_model *model;
    int rc;

    rc = find(attr->name, log, &ops);
    if (rc)
        return rc;
    model = calloc(1, sizeof(*model));
    if (!model)
        return kofn_error(log, KOFN_NO_MEMORY, "model: %zu bytes", sizeof(*model));
    model->ops = ops;
    model->attr = *attr;
    model->attr.name = ops->name;
    rc = complete(&model->attr, ops, log);
    if (rc)
        goto close_model;
    rc = allocate(model, log);
    if (rc)
        goto close_model;
    model->parameters = ops->parameters(&model->attr);
    kofn_dense_threads(model->attr.threads);
    if (ops->prepare)
        ops->prepare(model);
    rc = ops->open ? ops->open(model, log) : 0;
    if (rc)
        goto close_model;
    *model_p = model;
    return 0;

close_model:
    kofn_model_close(model);
    return rc;
}

void kofn_model_close(struct kofn_model *model)
{
    if (!model)
        return;
    if (model->ops->close)
        model->ops->close(model);
    free(model->workspace);
    free(model->labels);
    free(model);
}

double kofn_model_learning_rate(const char *name)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(models); i++)
        if (!strcmp(models[i]->name, name))
            return models[i]->learning_rate;
    return 0;
}

size_t kofn_model_parameters(const struct kofn_model *model)
{
    return model->parameters;
}

bool kofn_model_has_data(const struct kofn_model *model)
{
    return model->ops->has_data;
}

void kofn_model_init(const struct kofn_model *model, float *parameters)
{
    model->ops->init(model, parameters);
}

float kofn_model_gradient(struct kofn_model *model, const float *parameters,
                          const struct kofn_batch *batch, float *gradient)
{
    return model->ops->gradient(model, parameters, batch, gradient);
}

struct kofn_score kofn_model_evaluate(struct kofn_model *model, const float *parameters,
                                      const struct kofn_samples *set, uint32_t limit)
{
    uint32_t count = 0;

    if (model->ops->has_data)
        count = limit ? KOFN_MIN(limit, set->count) : set->count;
    return model->ops->evaluate(model, parameters, set, count);
}
