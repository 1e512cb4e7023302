#include "algorithms/algorithm.h"

#include <string.h>

#include "algorithms/node.h"
#include "round/round.h"

static const struct kofn_algorithm *const table[] = {
    &kofn_sync,         &kofn_local,   &kofn_ksync, &kofn_kbatch_sync, &kofn_kasync,
    &kofn_kbatch_async, &kofn_adasync, &kofn_stsyn, &kofn_overlap,     &kofn_rfast,
    &kofn_dpsgd,        &kofn_adpsgd,  &kofn_osgp,  &kofn_adacomm,     &kofn_easgd,
    &kofn_fedbuff,      &kofn_flanp,
};

const struct kofn_algorithm *kofn_algorithm_at(size_t index)
{
    return index < KOFN_ARRAY_SIZE(table) ? table[index] : NULL;
}

const struct kofn_algorithm *kofn_algorithm_find(const char *name)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(table); i++)
        if (!strcmp(table[i]->name, name))
            return table[i];
    return NULL;
}

bool kofn_current_same_round(const struct kofn_round *round, const struct kofn_stamp *stamp)
{
    return stamp->round == round->number;
}

bool kofn_algorithm_lossy(const struct kofn_algorithm *algorithm)
{
    return algorithm->peers && algorithm->peers->lossy;
}

bool kofn_current_same_version(const struct kofn_round *round, const struct kofn_stamp *stamp)
{
    return stamp->version == round->number;
}

uint32_t kofn_algorithm_manners(const struct kofn_algorithm *algorithm)
{
    return (algorithm->partial ? KOFN_MANNER_PARTIAL : 0u) |
           (algorithm->stale ? KOFN_MANNER_STALE : 0u) |
           (algorithm->cancels ? KOFN_MANNER_CANCELS : 0u) |
           (algorithm->ahead ? KOFN_MANNER_AHEAD : 0u);
}

bool kofn_current_any(const struct kofn_round *round, const struct kofn_stamp *stamp)
{
    return stamp->round <= round->number;
}

bool kofn_counts_steps(const struct kofn_round *round, uint32_t updates)
{
    return updates >= round->config.local_steps;
}

bool kofn_closed_by_count(const struct kofn_round *round)
{
    return round->wait_for > 0 && round->reached >= round->wait_for;
}
