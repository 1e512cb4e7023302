/* kth.h: the K-th smallest of N independent times whose law is known as functions: tail, mean, and
 * means of functions of it, by quadrature.
 *
 * P(the K-th of N > t) = I_Q(N - K + 1, K), with Q = P(X > t) and I the regularised incomplete beta
 * function: no sum, so nothing cancels. Needs GSL (special.h).
 */
#ifndef KOFN_THEORY_KTH_H
#define KOFN_THEORY_KTH_H

#include "theory/distribution.h"
#include "theory/prediction.h"

/* A continuous law on [low, infinity). */
struct kofn_law {
    double (*cdf)(const void *arg, double time);
    double (*tail)(const void *arg, double time);        /* 1 - cdf, exact where it is small */
    double (*log_density)(const void *arg, double time); /* NULL: no kofn_kth_expect() */
    const void *arg;
    double low;
};

struct kofn_kth {
    const struct kofn_law *law;
    uint32_t workers;  /* N >= 1 */
    uint32_t wait_for; /* 1 <= K <= N */
};

/* The law of one draw of @distribution, which is not STEPS and outlives it; without density. */
struct kofn_law kofn_law_of(const struct kofn_distribution *distribution);

double kofn_kth_tail(const struct kofn_kth *kth, double time);

/* Times between which the K-th of N changes smoothly: from the first, before which it is with
 * probability 1e-16, to the last, after which it is with probability 1e-13. Ascending, some may be
 * equal; false if there are none, because a function gave NaN or never came near 1. */
#define KOFN_KTH_POINTS 8
bool kofn_kth_points(const struct kofn_kth *kth, double points[KOFN_KTH_POINTS]);

/* The mean. INFINITY where the tail falls no faster than 1 / t, as far as doubles see it (down to
 * probabilities of 1e-10). */
struct kofn_prediction kofn_kth_mean(const struct kofn_kth *kth);

/* The mean of f(K-th of N), for an @f that is smooth, and at most of the size of @scale where it
 * matters. */
struct kofn_prediction kofn_kth_expect(const struct kofn_kth *kth,
                                       double (*f)(const void *arg, double time), const void *arg,
                                       double scale);

/* @prediction if its error is small enough to be worth reporting (1e-4 of its value), else none. */
struct kofn_prediction kofn_prediction_settled(struct kofn_prediction prediction);

#endif
