#include "theory/kth.h"

#include <math.h>

#include "theory/special.h"

/* a larger relative error is no prediction */
#define WORTH 1e-4

/* tails t^-a with a below this have, for all that doubles say, no mean */
#define SLOWEST_TAIL 1.01

static double distribution_cdf(const void *arg, double time)
{
    return kofn_distribution_cdf(arg, time);
}

static double distribution_tail(const void *arg, double time)
{
    return kofn_distribution_tail(arg, time);
}

struct kofn_law kofn_law_of(const struct kofn_distribution *distribution)
{
    return (struct kofn_law){.cdf = distribution_cdf,
                             .tail = distribution_tail,
                             .arg = distribution,
                             .low = kofn_distribution_low(distribution)};
}

static double kth_cdf(const struct kofn_kth *kth, double time)
{
    return kofn_special_beta(kth->wait_for, kth->workers - kth->wait_for + 1.0,
                             kth->law->cdf(kth->law->arg, time));
}

double kofn_kth_tail(const struct kofn_kth *kth, double time)
{
    return kofn_special_beta(kth->workers - kth->wait_for + 1.0, kth->wait_for,
                             kth->law->tail(kth->law->arg, time));
}

/* A level of the cdf from below 1/2, or of the tail above. */
struct level {
    bool of_tail;
    double p;
};

static bool passed(const struct kofn_kth *kth, struct level level, double time)
{
    return level.of_tail ? kofn_kth_tail(kth, time) <= level.p : kth_cdf(kth, time) >= level.p;
}

/* Where @level is passed, to within a small fraction of its distance from the lowest time; INFINITY
 * if it never is. */
static double crossing(const struct kofn_kth *kth, struct level level)
{
    const double low = kth->law->low;
    double right = 1, left, middle;

    while (!passed(kth, level, low + right)) {
        right *= 2;
        if (right > 1e300)
            return INFINITY;
    }
    for (left = right / 2; left > 1e-300 && passed(kth, level, low + left); left /= 2)
        right = left;
    for (int i = 0; i < 40; i++) {
        middle = (left + right) / 2;
        if (passed(kth, level, low + middle))
            right = middle;
        else
            left = middle;
    }
    return low + right;
}

bool kofn_kth_points(const struct kofn_kth *kth, double points[KOFN_KTH_POINTS])
{
    static const struct level levels[KOFN_KTH_POINTS] = {
        {false, 1e-16}, {false, 1e-5}, {false, 0.05}, {false, 0.5},
        {true, 0.05},   {true, 1e-5},  {true, 1e-10}, {true, 1e-13},
    };

    for (size_t i = 0; i < KOFN_KTH_POINTS; i++) {
        points[i] = crossing(kth, levels[i]);
        if (!isfinite(points[i]))
            return false;
        if (i && points[i] < points[i - 1])
            points[i] = points[i - 1];
    }
    return true;
}

struct kofn_prediction kofn_prediction_settled(struct kofn_prediction prediction)
{
    if (!(prediction.error <= WORTH * fabs(prediction.value)))
        return kofn_prediction_none();
    return prediction;
}

/* The exponent a of a tail that falls like t^-a between the points of probability 1e-5 and 1e-10;
 * INFINITY where it ends at once. */
static double tail_exponent(const struct kofn_kth *kth, const double points[KOFN_KTH_POINTS])
{
    double near = points[5], far = points[6];

    if (!(far > near))
        return INFINITY;
    return log(kofn_kth_tail(kth, near) / kofn_kth_tail(kth, far)) / log(far / near);
}

static double tail_of(double time, void *arg)
{
    return kofn_kth_tail(arg, time);
}

struct kofn_prediction kofn_kth_mean(const struct kofn_kth *kth)
{
    struct kofn_kth copy = *kth;
    struct kofn_prediction mean = {.method = KOFN_METHOD_QUADRATURE};
    double points[KOFN_KTH_POINTS], end, exponent, rest;

    if (!kofn_kth_points(kth, points))
        return kofn_prediction_none();
    exponent = tail_exponent(kth, points);
    if (exponent < SLOWEST_TAIL) {
        mean.value = INFINITY;
        return mean;
    }
    mean.value = points[0]; /* up to here the tail is 1 */
    for (size_t i = 1; i < KOFN_KTH_POINTS; i++)
        if (!kofn_special_integrate(tail_of, &copy, points[i - 1], points[i], points[3], &mean))
            return kofn_prediction_none();
    /* what is left behind the last point, if the tail goes on as it did */
    end = points[KOFN_KTH_POINTS - 1];
    rest = isinf(exponent) ? 0 : end * kofn_kth_tail(kth, end) / (exponent - 1);
    mean.value += rest;
    mean.error += rest;
    return kofn_prediction_settled(mean);
}

struct expected {
    const struct kofn_kth *kth;
    double (*f)(const void *arg, double time);
    const void *arg;
    double log_beta;
};

/* f(t) times the density of the K-th of N; in logarithms, as N - K and K - 1 may be large */
static double weighted(double time, void *arg)
{
    const struct expected *e = arg;
    const struct kofn_law *law = e->kth->law;
    double before = e->kth->wait_for - 1.0, after = (double)e->kth->workers - e->kth->wait_for;
    double log_density = law->log_density(law->arg, time) - e->log_beta;

    if (before > 0)
        log_density += before * log(law->cdf(law->arg, time));
    if (after > 0)
        log_density += after * log(law->tail(law->arg, time));
    return log_density == -INFINITY ? 0 : exp(log_density) * e->f(e->arg, time);
}

struct kofn_prediction kofn_kth_expect(const struct kofn_kth *kth,
                                       double (*f)(const void *arg, double time), const void *arg,
                                       double scale)
{
    struct kofn_prediction mean = {.method = KOFN_METHOD_QUADRATURE};
    struct expected expected = {.kth = kth, .f = f, .arg = arg};
    double points[KOFN_KTH_POINTS];

    if (!kofn_kth_points(kth, points))
        return kofn_prediction_none();
    expected.log_beta = kofn_special_log_beta(kth->wait_for, kth->workers - kth->wait_for + 1.0);
    for (size_t i = 1; i < KOFN_KTH_POINTS; i++)
        if (!kofn_special_integrate(weighted, &expected, points[i - 1], points[i], scale, &mean))
            return kofn_prediction_none();
    return mean;
}
