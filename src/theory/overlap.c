#include "theory/overlap.h"

#include <math.h>

#include "theory/stsyn.h"

int kofn_local_time(const struct kofn_overlap_model *model, struct kofn_prediction *time)
{
    struct kofn_stsyn_model all;
    struct kofn_prediction slowest;
    int rc;

    if (!model || !isfinite(model->reduce) || !(model->reduce >= 0))
        return KOFN_INVALID;
    all = (struct kofn_stsyn_model){.update = model->update,
                                    .per_round = model->per_round,
                                    .workers = model->workers,
                                    .wait_for = model->workers,
                                    .local_steps = model->local_steps};
    rc = kofn_stsyn_time(&all, &slowest);
    if (!rc)
        *time = kofn_prediction_scaled(slowest, 1, model->reduce);
    return rc;
}

int kofn_overlap_time(const struct kofn_overlap_model *model, struct kofn_prediction *time)
{
    struct kofn_prediction local;
    int rc = kofn_local_time(model, &local);

    if (rc)
        return rc;
    if (kofn_distribution_constant(model->update)) {
        *time =
            kofn_prediction_exact(fmax(model->local_steps * model->update->first, model->reduce));
        return KOFN_OK;
    }
    local.upper_bound = local.method != KOFN_METHOD_NONE;
    *time = local;
    return KOFN_OK;
}
