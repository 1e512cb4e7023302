/* distribution.h: how long a local update takes, as theory needs it: a kind with two numbers, or a
 * function.
 *
 * Times are in any unit, the same everywhere; they are never negative. Plain data; what it points
 * to belongs to the caller and outlives it.
 */
#ifndef KOFN_THEORY_DISTRIBUTION_H
#define KOFN_THEORY_DISTRIBUTION_H

#include "base/base.h"

enum kofn_distribution_kind {
    KOFN_DISTRIBUTION_EXP,         /* mean second > 0 */
    KOFN_DISTRIBUTION_SHIFTED_EXP, /* first >= 0, plus an exponential of mean second > 0 */
    KOFN_DISTRIBUTION_PARETO,      /* P(X > x) = (first / x)^second from first > 0 on; second > 0 */
    KOFN_DISTRIBUTION_UNIFORM, /* from first >= 0 to second >= first; equal: a constant, which may
                                  be 0 */
    KOFN_DISTRIBUTION_CDF,     /* cdf, continuous; first is where it starts to rise, or 0 */
    KOFN_DISTRIBUTION_STEPS,   /* cdf, constant but for jumps at the steps: what was measured */
};

struct kofn_distribution {
    enum kofn_distribution_kind kind;
    double first;
    double second;
    /* of CDF and STEPS: P(X <= time), which must not fall; thread-safe where the caller needs it */
    double (*cdf)(const void *arg, double time);
    const void *arg;
    /* of STEPS: where the cdf jumps, from low to high, the last to 1 */
    const double *steps;
    size_t step_count;
};

/* KOFN_INVALID unless the numbers are finite and as the kind says, and the functions and arrays it
 * needs are there. */
int kofn_distribution_check(const struct kofn_distribution *distribution);

/* True if every draw is the same; it is then @distribution->first. */
bool kofn_distribution_constant(const struct kofn_distribution *distribution);

/* The smallest time that X can take: what X exceeds with certainty, or takes with positive
 * probability. */
double kofn_distribution_low(const struct kofn_distribution *distribution);

/* P(X <= time) and P(X > time), each without loss for small values where the kind allows; NaN where
 * a callback returns nothing between 0 and 1. */
double kofn_distribution_cdf(const struct kofn_distribution *distribution, double time);
double kofn_distribution_tail(const struct kofn_distribution *distribution, double time);

#endif
