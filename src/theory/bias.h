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

#define KOFN_BIAS_PARTS 64u

/* Estimates kofn_bias() of what @count workers pull in the long run, and its standard error, from
 * what they pulled in each of @parts parts of a simulation: worker r in part p is pull[p * count +
 * r]; at most KOFN_BIAS_PARTS. Counts that differ by chance alone would look like a bias, the more
 * the fewer they are: so one half of the parts says on which side of 1/N a worker is, and the other
 * by how much. Both are NaN if half of the parts have no pull at all.
 */
void kofn_bias_estimate(const double *pull, uint32_t parts, uint32_t count, double *bias,
                        double *error);

#endif
