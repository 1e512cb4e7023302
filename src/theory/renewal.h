/* renewal.h: the local updates of a worker whose every update takes a shift plus an exponential
 * time.
 *
 * The n-th is finished by t with probability P(n, (t - n shift) / mean), P the regularised
 * incomplete gamma function; without a shift that is an Erlang law. Needs GSL (special.h).
 */
#ifndef KOFN_THEORY_RENEWAL_H
#define KOFN_THEORY_RENEWAL_H

#include "theory/kth.h"

struct kofn_renewal {
    double shift, mean;
    uint32_t updates; /* U: the law below is that of the U-th update */
};

/* P(the n-th update is finished by @time), n >= 1, and 1 - that. */
double kofn_renewal_cdf(const struct kofn_renewal *stream, uint64_t n, double time);
double kofn_renewal_tail(const struct kofn_renewal *stream, uint64_t n, double time);

/* The law of the time of the U-th update, with density. @stream outlives it. */
struct kofn_law kofn_renewal_law(const struct kofn_renewal *stream);

#endif
