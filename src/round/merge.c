/* merge.c: with what weight the members of a closed round are merged. */
#include <math.h>

#include "round/round.h"

/* An update of staleness s is worth 1/(1+s)^W; under FedNova it is also taken per local update it
 * carries, and kofn_round_late_scale() multiplies by tau_eff.
 */
double kofn_late_factor(const struct kofn_round *round, const struct kofn_stamp *stamp,
                        uint32_t staleness)
{
    double factor = pow(1.0 + staleness, -round->config.staleness_weight);

    if (round->config.weights == KOFN_WEIGHTS_FEDNOVA)
        factor /= stamp->updates - stamp->from;
    return factor;
}

/* Distinct workers that are merged. A late remainder of a worker that is there on time anyway adds
 * to what it brings, not to their number.
 */
static uint32_t merged_workers(const struct kofn_round *round)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        count += round->members[rank].held.sequence || round->members[rank].late_merged;
    return count;
}

/* FedNova's tau_eff: the mean number of local updates of those merged on time, or, where nobody
 * is, 1. */
static double effective_steps(const struct kofn_round *round)
{
    uint64_t steps = 0;

    if (!round->holding)
        return 1;
    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        if (round->members[rank].held.sequence)
            steps += round->members[rank].held.updates;
    return (double)steps / round->holding;
}

double kofn_round_late_scale(const struct kofn_round *round)
{
    uint32_t count = merged_workers(round);

    if (!count)
        return 0;
    if (round->config.weights == KOFN_WEIGHTS_FEDNOVA)
        return effective_steps(round) / count;
    return 1.0 / count;
}

double kofn_round_weight(const struct kofn_round *round, uint32_t rank)
{
    double weight = kofn_round_late_scale(round);

    if (round->config.weights == KOFN_WEIGHTS_FEDNOVA)
        weight /= round->members[rank].held.updates;
    return weight;
}
