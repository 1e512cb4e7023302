/* bias.h: what unequal numbers of local updates do to the model that is averaged.
 *
 * On f_m(x) = (x - b_m)^2 / 2, U local updates with learning rate eta move a worker towards its own
 * optimum b_m by the share 1 - (1 - eta)^U of the way. Workers whose shares differ pull with
 * different strength, and averaging their models goes to the mean of b_m weighted by that, not to
 * the optimum; FedNova divides by U (Wang et al. 2020, arXiv 2007.07481). Pure; threads: any.
 */
#ifndef KOFN_THEORY_BIAS_H
#define KOFN_THEORY_BIAS_H

#include "base/base.h"

/* The share of the way, from 0 to 1; for eta -> 0 in proportion to @updates, 0 for none. Of a mean
 * number of updates it is an approximation. */
double kofn_bias_pull(double learning_rate, double updates);

/* Where averaging goes: the mean of @optima weighted by @pull, both of @count. NaN if all pulls are
 * 0. */
double kofn_bias_fixed_point(const double *pull, const double *optima, uint32_t count);

/* The share of all pull that sits elsewhere than where it would if all pulled alike: half the sum
 * of |p_m - 1/N|, from 0 (all alike) to 1 - 1/N (one alone). NaN if all pulls are 0. */
double kofn_bias(const double *pull, uint32_t count);

#endif
