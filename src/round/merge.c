/* merge.c: with what weight the members of a closed round are merged. */
#include <math.h>

#include "round/round.h"

/* An update of staleness s is worth 1/(1+s)^W; under FedNova it is also taken per local update it
 * carries, and kofn_round_late_scale() multiplies by tau_eff.
 */
double kofn_late_factor(const struct kofn_round *round, const struct kofn_stamp *stamp,
                        uint32_t staleness)
{
    double factor = 1;

    if (round->config.staleness_weight > 0)
        factor = pow(1.0 + staleness, -round->config.staleness_weight);
    if (round->config.damp)
        factor *= round->config.damp(round->config.damp_arg, stamp->version);
    if (round->config.weights == KOFN_WEIGHTS_FEDNOVA)
        factor /= stamp->updates - stamp->from;
    return factor;
}

/* FedNova's tau_eff: the mean number of local updates of those merged on time, or, where nobody
 * is, 1. */
static double effective_steps(const struct kofn_round *round)
{
    return round->holding ? (double)round->steps / round->holding : 1;
}

/* The mean is over distinct workers: a late remainder of one that is there on time anyway adds to
 * what it brings, not to their number. An elastic centre moves by the sum over all workers, to
 * which those that are missing add nothing.
 */
double kofn_round_late_scale(const struct kofn_round *round)
{
    uint32_t among = round->config.algorithm->elastic ? round->config.workers : round->merging;

    if (kofn_algorithm_adds(round->config.algorithm))
        return round->reached ? 1.0 / round->reached : 0;
    if (!round->merging)
        return 0;
    if (round->config.weights == KOFN_WEIGHTS_FEDNOVA)
        return effective_steps(round) / among;
    return 1.0 / among;
}

double kofn_round_weight(const struct kofn_round *round, uint32_t rank)
{
    const struct kofn_stamp *held = &round->members[rank].held;
    double weight = kofn_round_late_scale(round);

    if (round->config.algorithm->stale && round->config.staleness_weight > 0)
        weight *= pow(1.0 + (round->number - held->version), -round->config.staleness_weight);
    if (round->config.damp)
        weight *= round->config.damp(round->config.damp_arg, held->version);
    if (round->config.weights == KOFN_WEIGHTS_FEDNOVA)
        weight /= held->updates;
    return weight;
}
