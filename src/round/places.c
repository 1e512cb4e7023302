#include "round/places.h"

#include "algorithms/algorithm.h"

void kofn_place_count(struct kofn_round *round, struct kofn_member *member, uint32_t updates,
                      uint64_t now)
{
    if (member->reached || round->phase != KOFN_PHASE_OPEN ||
        !round->config.algorithm->counts(round, updates))
        return;
    member->reached = true;
    member->reached_ns = now;
    member->place = round->reached++;
}

void kofn_place_leave(struct kofn_round *round, struct kofn_member *member)
{
    if (kofn_algorithm_adds(round->config.algorithm))
        return;
    member->reached = false;
    round->reached--;
    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        round->members[rank].place -= round->members[rank].place > member->place;
}

void kofn_place_lose(struct kofn_round *round, struct kofn_member *member)
{
    if (member->reached && round->phase == KOFN_PHASE_OPEN)
        kofn_place_leave(round, member);
}

void kofn_place_let_go(struct kofn_round *round, struct kofn_member *member)
{
    if (!member->held.sequence)
        return;
    round->holding--;
    round->merging -= !member->summed;
    round->steps -= member->held.updates;
    member->held.sequence = 0;
}
