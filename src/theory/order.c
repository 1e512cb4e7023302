#include "theory/order.h"

#include <math.h>

#include "theory/kth.h"
#include "theory/special.h"

/* Sums run from small terms to large ones. */
static double harmonic(uint32_t workers, uint32_t wait_for, int power)
{
    double sum = 0;

    for (uint32_t j = workers; j > workers - wait_for; j--)
        sum += power == 1 ? 1.0 / j : 1.0 / ((double)j * j);
    return sum;
}

static double pareto_mean(const struct kofn_distribution *d, uint32_t workers, uint32_t wait_for)
{
    double log_product = 0;

    if (d->second * (workers - wait_for + 1.0) <= 1)
        return INFINITY;
    for (uint32_t j = workers; j > workers - wait_for; j--)
        log_product -= log1p(-1 / (d->second * j));
    return d->first * exp(log_product);
}

/* E[X^2] / E[X]^2 is the product of (1 - x)^2 / (1 - 2 x) = 1 + x^2 / (1 - 2 x), with x = 1/(shape
 * j). */
static double pareto_variance(const struct kofn_distribution *d, uint32_t workers,
                              uint32_t wait_for)
{
    double mean = pareto_mean(d, workers, wait_for), log_ratio = 0;

    if (d->second * (workers - wait_for + 1.0) <= 2)
        return INFINITY;
    for (uint32_t j = workers; j > workers - wait_for; j--) {
        double x = 1 / (d->second * j);

        log_ratio += log1p(x * x / (1 - 2 * x));
    }
    return mean * mean * expm1(log_ratio);
}

/* Every value but the last lasts until the next one if the K-th has not come yet. */
static struct kofn_prediction steps_mean(const struct kofn_distribution *d, uint32_t workers,
                                         uint32_t wait_for)
{
    struct kofn_law law = kofn_law_of(d);
    struct kofn_kth kth = {.law = &law, .workers = workers, .wait_for = wait_for};
    double mean = d->steps[0];

    for (size_t i = 1; i < d->step_count; i++)
        if (d->steps[i] > d->steps[i - 1])
            mean += (d->steps[i] - d->steps[i - 1]) * kofn_kth_tail(&kth, d->steps[i - 1]);
    return isnan(mean) ? kofn_prediction_none() : kofn_prediction_exact(mean);
}

static struct kofn_prediction cdf_mean(const struct kofn_distribution *d, uint32_t workers,
                                       uint32_t wait_for)
{
    struct kofn_law law = kofn_law_of(d);
    struct kofn_kth kth = {.law = &law, .workers = workers, .wait_for = wait_for};

    return kofn_kth_mean(&kth);
}

int kofn_order_mean(const struct kofn_distribution *distribution, uint32_t workers,
                    uint32_t wait_for, struct kofn_prediction *mean)
{
    const struct kofn_distribution *d = distribution;
    int rc = kofn_distribution_check(d);

    if (rc || !kofn_order_counts(workers, wait_for))
        return KOFN_INVALID;
    switch (d->kind) {
    case KOFN_DISTRIBUTION_EXP:
    case KOFN_DISTRIBUTION_SHIFTED_EXP:
        *mean = kofn_prediction_exact(kofn_distribution_low(d) +
                                      d->second * harmonic(workers, wait_for, 1));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_PARETO:
        *mean = kofn_prediction_exact(pareto_mean(d, workers, wait_for));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_UNIFORM:
        *mean =
            kofn_prediction_exact(d->first + (d->second - d->first) * (wait_for / (workers + 1.0)));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_CDF:
    case KOFN_DISTRIBUTION_STEPS:
        break;
    }
    if (!kofn_special_available())
        return KOFN_UNSUPPORTED;
    *mean = d->kind == KOFN_DISTRIBUTION_CDF ? cdf_mean(d, workers, wait_for)
                                             : steps_mean(d, workers, wait_for);
    return KOFN_OK;
}

int kofn_order_variance(const struct kofn_distribution *distribution, uint32_t workers,
                        uint32_t wait_for, struct kofn_prediction *variance)
{
    const struct kofn_distribution *d = distribution;
    double n = workers, k = wait_for, width;
    int rc = kofn_distribution_check(d);

    if (rc || !kofn_order_counts(workers, wait_for))
        return KOFN_INVALID;
    switch (d->kind) {
    case KOFN_DISTRIBUTION_EXP:
    case KOFN_DISTRIBUTION_SHIFTED_EXP:
        *variance = kofn_prediction_exact(d->second * d->second * harmonic(workers, wait_for, 2));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_PARETO:
        *variance = kofn_prediction_exact(pareto_variance(d, workers, wait_for));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_UNIFORM:
        width = d->second - d->first;
        *variance =
            kofn_prediction_exact(width * width * k * (n - k + 1) / ((n + 1) * (n + 1) * (n + 2)));
        return KOFN_OK;
    case KOFN_DISTRIBUTION_CDF:
    case KOFN_DISTRIBUTION_STEPS:
        break;
    }
    *variance = kofn_prediction_none();
    return KOFN_OK;
}
