#include "theory/distribution.h"

#include <math.h>

static bool rising(const double *steps, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(steps[i]) || steps[i] < (i ? steps[i - 1] : 0))
            return false;
    return count > 0;
}

static bool valid(const struct kofn_distribution *d)
{
    switch (d->kind) {
    case KOFN_DISTRIBUTION_EXP:
        return isfinite(d->second) && d->second > 0;
    case KOFN_DISTRIBUTION_SHIFTED_EXP:
        return isfinite(d->first) && d->first >= 0 && isfinite(d->second) && d->second > 0;
    case KOFN_DISTRIBUTION_PARETO:
        return isfinite(d->first) && d->first > 0 && isfinite(d->second) && d->second > 0;
    case KOFN_DISTRIBUTION_UNIFORM:
        return isfinite(d->second) && d->first >= 0 && d->second >= d->first;
    case KOFN_DISTRIBUTION_CDF:
        return d->cdf && isfinite(d->first) && d->first >= 0;
    case KOFN_DISTRIBUTION_STEPS:
        return d->cdf && d->steps && rising(d->steps, d->step_count);
    }
    return false;
}

int kofn_distribution_check(const struct kofn_distribution *distribution)
{
    return distribution && valid(distribution) ? KOFN_OK : KOFN_INVALID;
}

bool kofn_distribution_constant(const struct kofn_distribution *distribution)
{
    return distribution->kind == KOFN_DISTRIBUTION_UNIFORM &&
           distribution->first == distribution->second;
}

double kofn_distribution_low(const struct kofn_distribution *distribution)
{
    switch (distribution->kind) {
    case KOFN_DISTRIBUTION_EXP:
        return 0;
    case KOFN_DISTRIBUTION_STEPS:
        return distribution->steps[0];
    default:
        return distribution->first;
    }
}

static double called(const struct kofn_distribution *d, double time)
{
    double p = time < 0 ? 0 : d->cdf(d->arg, time);

    return p >= 0 && p <= 1 ? p : NAN;
}

double kofn_distribution_cdf(const struct kofn_distribution *d, double time)
{
    double low = kofn_distribution_low(d);

    switch (d->kind) {
    case KOFN_DISTRIBUTION_EXP:
    case KOFN_DISTRIBUTION_SHIFTED_EXP:
        return time <= low ? 0 : -expm1((low - time) / d->second);
    case KOFN_DISTRIBUTION_PARETO:
        return time <= low ? 0 : -expm1(d->second * log(low / time));
    case KOFN_DISTRIBUTION_UNIFORM:
        if (time < low)
            return 0;
        return time >= d->second ? 1 : (time - low) / (d->second - low);
    case KOFN_DISTRIBUTION_CDF:
    case KOFN_DISTRIBUTION_STEPS:
        break;
    }
    return called(d, time);
}

double kofn_distribution_tail(const struct kofn_distribution *d, double time)
{
    double low = kofn_distribution_low(d);

    switch (d->kind) {
    case KOFN_DISTRIBUTION_EXP:
    case KOFN_DISTRIBUTION_SHIFTED_EXP:
        return time <= low ? 1 : exp((low - time) / d->second);
    case KOFN_DISTRIBUTION_PARETO:
        return time <= low ? 1 : exp(d->second * log(low / time));
    case KOFN_DISTRIBUTION_UNIFORM:
        if (time < low)
            return 1;
        return time >= d->second ? 0 : (d->second - time) / (d->second - low);
    case KOFN_DISTRIBUTION_CDF:
    case KOFN_DISTRIBUTION_STEPS:
        break;
    }
    return 1 - called(d, time);
}
