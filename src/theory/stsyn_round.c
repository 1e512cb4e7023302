#include "theory/stsyn_round.h"

#include <math.h>

#include "theory/kth.h"
#include "theory/order.h"
#include "theory/special.h"

#define TERMS 20000 /* updates of one worker that are looked at one by one; more: simulate */

/* The quantile u of a draw, 0 < u < 1. */
static double quantile(const struct kofn_distribution *d, double u)
{
    double left = d->first, right = d->first + 1;

    switch (d->kind) {
    case KOFN_DISTRIBUTION_EXP:
    case KOFN_DISTRIBUTION_SHIFTED_EXP:
        return kofn_distribution_low(d) - d->second * log1p(-u);
    case KOFN_DISTRIBUTION_PARETO:
        return d->first * exp(-log1p(-u) / d->second);
    case KOFN_DISTRIBUTION_UNIFORM:
        return d->first + (d->second - d->first) * u;
    case KOFN_DISTRIBUTION_CDF:
    case KOFN_DISTRIBUTION_STEPS:
        break;
    }
    while (kofn_distribution_cdf(d, right) < u && right < 1e300)
        right = left + 2 * (right - left);
    for (int i = 0; i < 100 && right - left > 1e-14 * right; i++) {
        double middle = (left + right) / 2;

        if (kofn_distribution_cdf(d, middle) < u)
            left = middle;
        else
            right = middle;
    }
    return right;
}

/* The other workers' K-th or K-1-th draw; of only K - 1 others the K-th never comes. */
struct others {
    struct kofn_kth kth;
    double points[KOFN_KTH_POINTS]; /* all INFINITY if it never comes */
};

struct round {
    const struct kofn_stsyn_model *model;
    struct kofn_law law;
    struct others reached; /* Y(K), for a worker's first U updates */
    struct others passed;  /* Y(K-1), for those after */
    bool first_only;       /* what is asked for is whether it finishes one */
};

static bool others_init(struct others *others, const struct kofn_law *law, uint32_t workers,
                        uint32_t wait_for)
{
    others->kth = (struct kofn_kth){.law = law, .workers = workers, .wait_for = wait_for};
    if (wait_for > workers) {
        for (size_t i = 0; i < KOFN_KTH_POINTS; i++)
            others->points[i] = INFINITY;
        return true;
    }
    return kofn_kth_points(&others->kth, others->points);
}

/* P(Y >= time). */
static double lasts(const struct others *others, double time)
{
    if (time <= others->points[0])
        return 1;
    if (time >= others->points[KOFN_KTH_POINTS - 1])
        return 0;
    return kofn_kth_tail(&others->kth, time);
}

/* The sum over @from <= n <= @to of P(Y >= n step): terms that are 1 are counted, not summed. */
static double finished(const struct others *others, double step, double from, double to)
{
    double certain = floor(others->points[0] / step), sum = 0, p;

    certain = certain > to ? to : certain;
    if (certain >= from)
        sum = certain - from + 1;
    else
        certain = from - 1;
    for (double n = certain + 1; n <= to; n++) {
        p = lasts(others, n * step);
        sum += p;
        if (p == 0)
            break;
    }
    return sum;
}

/* What a worker is expected to finish whose draw is the quantile u. */
static double of_draw(double u, void *arg)
{
    const struct round *round = arg;
    const struct kofn_stsyn_model *model = round->model;
    double steps = model->local_steps, step = quantile(model->update, u) / steps, sum;

    if (round->first_only)
        return lasts(&round->reached, step);
    sum = finished(&round->reached, step, 1, steps);
    if (model->wait_for > 1)
        sum += finished(&round->passed, step, steps + 1, INFINITY);
    return sum;
}

/* The mean over u, in parts: it changes where Y is what a worker's first update takes; for K = N,
 * where U updates of one worker take as long as those of another. */
static struct kofn_prediction averaged(struct round *round)
{
    const struct kofn_stsyn_model *model = round->model;
    struct kofn_prediction mean = {.method = KOFN_METHOD_QUADRATURE};
    double scale = round->first_only ? 1 : model->local_steps, from = 0, to;
    bool all = model->wait_for == model->workers;
    const double *points = all ? round->passed.points : round->reached.points;

    if (!others_init(&round->reached, &round->law, model->workers - 1, model->wait_for))
        return kofn_prediction_none();
    for (size_t i = 0; i <= KOFN_KTH_POINTS; i++) {
        to = i == KOFN_KTH_POINTS
                 ? 1
                 : kofn_distribution_cdf(model->update, points[i] * (all ? 1 : model->local_steps));
        if (!kofn_special_integrate(of_draw, round, from, to, scale, &mean))
            return kofn_prediction_none();
        from = to;
    }
    return mean;
}

/* P(X > r Y(K)) for exponential draws, with rates in units of 1 / mean; Y(K) is that of the other
 * workers. */
static double exp_exceeds(const struct kofn_stsyn_model *model, double r)
{
    double log_product = 0;

    for (uint32_t j = model->workers - 1; j >= model->workers - model->wait_for; j--)
        log_product -= log1p(r / j);
    return exp(log_product);
}

/* EXP and K = 1: nobody gets beyond U. */
static double exp_first_updates(const struct kofn_stsyn_model *model)
{
    double steps = model->local_steps, sum = 0;

    for (uint32_t n = 1; n <= model->local_steps; n++)
        sum += steps / (n * (model->workers - 1.0) + steps);
    return sum;
}

static struct kofn_prediction summed_updates(const struct kofn_stsyn_model *model)
{
    struct round round = {.model = model, .law = kofn_law_of(model->update)};
    const struct others *passed = &round.passed;
    double low = kofn_distribution_low(model->update), most;

    if (model->local_steps > TERMS)
        return kofn_prediction_none();
    if (model->wait_for > 1) {
        if (!others_init(&round.passed, &round.law, model->workers - 1, model->wait_for - 1))
            return kofn_prediction_none();
        most = model->local_steps * passed->points[KOFN_KTH_POINTS - 1] / low;
        if (!(most <= TERMS))
            return kofn_prediction_none();
    }
    return kofn_prediction_settled(averaged(&round));
}

int kofn__stsyn_round_updates(const struct kofn_stsyn_model *model, struct kofn_prediction *updates)
{
    const struct kofn_distribution *d = model->update;
    struct kofn_prediction time;
    int rc;

    if (d->kind == KOFN_DISTRIBUTION_CDF || d->kind == KOFN_DISTRIBUTION_STEPS) {
        *updates = kofn_prediction_none();
        return KOFN_OK;
    }
    rc = kofn_stsyn_time(model, &time);
    if (rc)
        return rc;
    if (model->wait_for > 1 && (kofn_distribution_low(d) == 0 || isinf(time.value))) {
        *updates = kofn_prediction_exact(INFINITY);
        return KOFN_OK;
    }
    if (d->kind == KOFN_DISTRIBUTION_EXP) {
        *updates = kofn_prediction_exact(exp_first_updates(model));
        return KOFN_OK;
    }
    if (!kofn_special_available())
        return KOFN_UNSUPPORTED;
    *updates = summed_updates(model);
    return KOFN_OK;
}

int kofn__stsyn_round_uploads(const struct kofn_stsyn_model *model, struct kofn_prediction *uploads)
{
    struct round round = {.model = model, .law = kofn_law_of(model->update), .first_only = true};
    const struct kofn_distribution *d = model->update;
    double n = model->workers, late = n - model->wait_for, steps = model->local_steps;

    switch (d->kind) {
    case KOFN_DISTRIBUTION_EXP:
    case KOFN_DISTRIBUTION_SHIFTED_EXP:
        /* X > U Y: X is a shift and an exponential, and so is Y */
        *uploads =
            kofn_prediction_exact(n - n * exp_exceeds(model, steps) *
                                          exp(-(steps - 1) * kofn_distribution_low(d) / d->second));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_PARETO:
        *uploads = kofn_prediction_exact(n - late * pow(steps, -d->second));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_STEPS:
        *uploads = kofn_prediction_none();
        return KOFN_OK;
    case KOFN_DISTRIBUTION_UNIFORM:
    case KOFN_DISTRIBUTION_CDF:
        break;
    }
    if (!kofn_special_available())
        return KOFN_UNSUPPORTED;
    *uploads = kofn_prediction_settled(kofn_prediction_scaled(averaged(&round), n, 0));
    return KOFN_OK;
}
