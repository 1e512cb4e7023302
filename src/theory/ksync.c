#include "theory/ksync.h"

#include <math.h>

#include "theory/kbatch.h"
#include "theory/order.h"
#include "theory/special.h"

static bool valid_counts(enum kofn_ksync_scheme scheme, uint32_t workers, uint32_t wait_for)
{
    switch (scheme) {
    case KOFN_KSYNC:
    case KOFN_KASYNC:
        return kofn_order_counts(workers, wait_for);
    case KOFN_KBATCH_SYNC:
    case KOFN_KBATCH_ASYNC:
        return kofn_order_counts(workers, 1) && wait_for >= 1 && wait_for <= KOFN_THEORY_COUNT_MAX;
    }
    return false;
}

static int kbatch_sync_time(const struct kofn_distribution *batch, uint32_t workers,
                            uint32_t wait_for, struct kofn_prediction *time)
{
    struct kofn_renewal stream = {.shift = kofn_distribution_low(batch), .mean = batch->second};

    if (kofn_distribution_constant(batch)) {
        /* everybody finishes at the same instants */
        *time = kofn_prediction_exact(batch->first * ceil((double)wait_for / workers));
        return KOFN_OK;
    }
    if (wait_for == 1)
        return kofn_order_mean(batch, workers, 1, time);
    if (workers == 1 || batch->kind == KOFN_DISTRIBUTION_EXP) {
        int rc = kofn_order_mean(batch, 1, 1, time);

        if (!rc)
            *time = kofn_prediction_scaled(*time, (double)wait_for / workers, 0);
        return rc;
    }
    if (batch->kind != KOFN_DISTRIBUTION_SHIFTED_EXP) {
        *time = kofn_prediction_none();
        return KOFN_OK;
    }
    if (!kofn_special_available())
        return KOFN_UNSUPPORTED;
    *time = kofn__kbatch_mean(&stream, workers, wait_for);
    return KOFN_OK;
}

/* New longer than used: P(X > u + t | X > t) <= P(X > u), so a worker that goes on is no later than
 * one that starts. */
static bool new_longer_than_used(const struct kofn_distribution *batch)
{
    return batch->kind == KOFN_DISTRIBUTION_SHIFTED_EXP || batch->kind == KOFN_DISTRIBUTION_UNIFORM;
}

static int kasync_time(const struct kofn_distribution *batch, uint32_t workers, uint32_t wait_for,
                       struct kofn_prediction *time)
{
    struct kofn_prediction mean;
    bool exact = wait_for == workers || batch->kind == KOFN_DISTRIBUTION_EXP;
    int rc;

    if (wait_for == 1) {
        rc = kofn_order_mean(batch, 1, 1, &mean);
        if (!rc)
            *time = kofn_prediction_scaled(mean, 1.0 / workers, 0);
        return rc;
    }
    if (!exact && !new_longer_than_used(batch)) {
        *time = kofn_prediction_none();
        return KOFN_OK;
    }
    rc = kofn_order_mean(batch, workers, wait_for, &mean);
    if (rc)
        return rc;
    mean.upper_bound = !exact;
    *time = mean;
    return KOFN_OK;
}

int kofn_ksync_time(enum kofn_ksync_scheme scheme, const struct kofn_distribution *batch,
                    uint32_t workers, uint32_t wait_for, struct kofn_prediction *time)
{
    struct kofn_prediction mean;
    int rc = kofn_distribution_check(batch);

    if (rc || !valid_counts(scheme, workers, wait_for))
        return KOFN_INVALID;
    switch (scheme) {
    case KOFN_KSYNC:
        return kofn_order_mean(batch, workers, wait_for, time);
    case KOFN_KBATCH_SYNC:
        return kbatch_sync_time(batch, workers, wait_for, time);
    case KOFN_KASYNC:
        return kasync_time(batch, workers, wait_for, time);
    case KOFN_KBATCH_ASYNC:
        break;
    }
    rc = kofn_order_mean(batch, 1, 1, &mean);
    if (!rc)
        *time = kofn_prediction_scaled(mean, (double)wait_for / workers, 0);
    return rc;
}

int kofn_ksync_staleness(enum kofn_ksync_scheme scheme, uint32_t workers, uint32_t wait_for,
                         struct kofn_prediction *staleness)
{
    double n = workers, k = wait_for;

    if (!valid_counts(scheme, workers, wait_for))
        return KOFN_INVALID;
    if (scheme == KOFN_KASYNC)
        *staleness = kofn_prediction_exact(n / k - 1);
    else if (scheme == KOFN_KBATCH_ASYNC)
        *staleness = kofn_prediction_exact((n - 1) / k);
    else
        *staleness = kofn_prediction_exact(0);
    return KOFN_OK;
}
