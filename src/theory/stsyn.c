#include "theory/stsyn.h"

#include <math.h>

#include "theory/kth.h"
#include "theory/order.h"
#include "theory/renewal.h"
#include "theory/special.h"
#include "theory/stsyn_round.h"

#define NEGLIGIBLE 1e-17 /* a probability that changes no sum */

static bool valid(const struct kofn_stsyn_model *model)
{
    return model && kofn_distribution_check(model->update) == KOFN_OK &&
           kofn_order_counts(model->workers, model->wait_for) && model->local_steps >= 1 &&
           model->local_steps <= KOFN_THEORY_COUNT_MAX;
}

/* Updates that are a shift plus an exponential, drawn anew: their sums have a law with a name. */
static bool streams(const struct kofn_stsyn_model *model)
{
    return !model->per_round && (model->update->kind == KOFN_DISTRIBUTION_EXP ||
                                 model->update->kind == KOFN_DISTRIBUTION_SHIFTED_EXP);
}

static struct kofn_renewal stream_of(const struct kofn_stsyn_model *model)
{
    return (struct kofn_renewal){.shift = kofn_distribution_low(model->update),
                                 .mean = model->update->second,
                                 .updates = model->local_steps};
}

static int stream_time(const struct kofn_stsyn_model *model, struct kofn_prediction *time)
{
    struct kofn_renewal stream = stream_of(model);
    struct kofn_law law;
    struct kofn_kth kth = {.law = &law, .workers = model->workers, .wait_for = model->wait_for};
    double shift = stream.shift;

    if (!kofn_special_available())
        return KOFN_UNSUPPORTED;
    stream.shift = 0; /* the U shifts only move the time: better outside the quadrature */
    law = kofn_renewal_law(&stream);
    *time = kofn_prediction_scaled(kofn_kth_mean(&kth), 1, model->local_steps * shift);
    return KOFN_OK;
}

int kofn_stsyn_time(const struct kofn_stsyn_model *model, struct kofn_prediction *time)
{
    struct kofn_prediction one;
    int rc;

    if (!valid(model))
        return KOFN_INVALID;
    if (streams(model) && model->local_steps > 1)
        return stream_time(model, time);
    rc = kofn_order_mean(model->update, model->workers, model->wait_for, &one);
    if (rc)
        return rc;
    if (model->per_round || model->local_steps == 1 || kofn_distribution_constant(model->update))
        *time = kofn_prediction_scaled(one, model->local_steps, 0);
    else if (isinf(one.value)) /* no sum of such times has a lighter tail */
        *time = one;
    else
        *time = kofn_prediction_none();
    return KOFN_OK;
}

/* The sum over n <= U of P(S(n) <= time). Downwards, until all that is left is certain. */
static double within(const void *arg, double time)
{
    const struct kofn_renewal *stream = arg;
    double sum = 0, tail;

    for (uint64_t n = stream->updates; n; n--) {
        tail = kofn_renewal_tail(stream, n, time);
        if (tail < NEGLIGIBLE)
            return sum + (double)n;
        sum += 1 - tail;
    }
    return sum;
}

/* The sum over n > U. */
static double beyond(const void *arg, double time)
{
    const struct kofn_renewal *stream = arg;
    double sum = 0, p;

    for (uint64_t n = stream->updates + (uint64_t)1;; n++) {
        p = kofn_renewal_cdf(stream, n, time);
        sum += p;
        if (!(p >= NEGLIGIBLE))
            return sum;
    }
}

/* A shift, K < N, N > 1. */
static struct kofn_prediction shifted_updates(const struct kofn_stsyn_model *model)
{
    struct kofn_renewal stream = stream_of(model);
    struct kofn_law law = kofn_renewal_law(&stream);
    struct kofn_kth others = {
        .law = &law, .workers = model->workers - 1, .wait_for = model->wait_for};
    struct kofn_prediction updates = kofn_prediction_exact(model->local_steps), more;

    updates.method = KOFN_METHOD_QUADRATURE;
    if (model->wait_for < model->workers)
        updates = kofn_kth_expect(&others, within, &stream, model->local_steps);
    if (model->wait_for > 1) {
        others.wait_for--;
        more = kofn_kth_expect(&others, beyond, &stream, model->local_steps);
        updates.value += more.value;
        updates.error += more.error;
    }
    return kofn_prediction_settled(updates);
}

static int stream_updates(const struct kofn_stsyn_model *model, struct kofn_prediction *updates)
{
    struct kofn_prediction time;
    int rc;

    if (kofn_distribution_low(model->update) > 0) {
        if (!kofn_special_available())
            return KOFN_UNSUPPORTED;
        *updates = shifted_updates(model);
        return KOFN_OK;
    }
    /* a worker's updates are a Poisson stream, and the end of the round is a stopping time of it */
    rc = kofn_stsyn_time(model, &time);
    if (!rc)
        *updates = kofn_prediction_scaled(time, 1 / model->update->second, 0);
    return rc;
}

int kofn_stsyn_updates(const struct kofn_stsyn_model *model, struct kofn_prediction *updates)
{
    if (!valid(model))
        return KOFN_INVALID;
    if (model->workers == 1 || kofn_distribution_constant(model->update)) {
        *updates = kofn_prediction_exact(model->local_steps);
        return KOFN_OK;
    }
    if (model->per_round)
        return kofn__stsyn_round_updates(model, updates);
    if (streams(model))
        return stream_updates(model, updates);
    *updates = kofn_prediction_none();
    return KOFN_OK;
}

/* P(a worker has finished nothing by @time). */
static double nothing(const void *arg, double time)
{
    return kofn_renewal_tail(arg, 1, time);
}

static int stream_uploads(const struct kofn_stsyn_model *model, struct kofn_prediction *uploads)
{
    struct kofn_renewal stream = stream_of(model);
    struct kofn_law law = kofn_renewal_law(&stream);
    struct kofn_kth others = {
        .law = &law, .workers = model->workers - 1, .wait_for = model->wait_for};
    struct kofn_prediction none;

    if (!kofn_special_available())
        return KOFN_UNSUPPORTED;
    none = kofn_kth_expect(&others, nothing, &stream, 1);
    *uploads = kofn_prediction_settled(
        kofn_prediction_scaled(none, -(double)model->workers, model->workers));
    return KOFN_OK;
}

int kofn_stsyn_uploads(const struct kofn_stsyn_model *model, struct kofn_prediction *uploads)
{
    if (!valid(model))
        return KOFN_INVALID;
    if (model->wait_for == model->workers || kofn_distribution_constant(model->update))
        *uploads = kofn_prediction_exact(model->workers);
    else if (model->local_steps == 1 && model->update->kind != KOFN_DISTRIBUTION_STEPS)
        *uploads = kofn_prediction_exact(model->wait_for);
    else if (model->per_round)
        return kofn__stsyn_round_uploads(model, uploads);
    else if (streams(model))
        return stream_uploads(model, uploads);
    else
        *uploads = kofn_prediction_none();
    return KOFN_OK;
}
