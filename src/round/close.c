#include "round/close.h"

#include "base/clock.h"
#include "round/watch.h"

/* Members of a closed round that owe a publication: those with finished work of it that is not here
 * yet. Who is silent can still be read.
 */
static bool owes(const struct kofn_round *round, const struct kofn_member *member)
{
    uint32_t least = round->config.algorithm->partial ? 1 : round->config.local_steps;
    bool there = round->config.publish == KOFN_PUBLISH_PULL ? kofn_member_connected(member)
                                                            : kofn_member_available(member);

    return there && member->round == round->number && member->updates >= least &&
           !member->held.sequence;
}

void kofn_close_collect(struct kofn_round *round)
{
    round->expected = 0;
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        member->owing = owes(round, member);
        round->expected += member->owing;
    }
    round->phase = round->expected ? KOFN_PHASE_COLLECTING : KOFN_PHASE_READY;
}

void kofn_close_collect_from(struct kofn_round *round, struct kofn_member *member)
{
    bool owing;

    if (round->phase != KOFN_PHASE_COLLECTING)
        return;
    owing = owes(round, member);
    if (owing == member->owing)
        return;
    member->owing = owing;
    if (owing)
        round->expected++;
    else if (!--round->expected)
        round->phase = KOFN_PHASE_READY;
}

void kofn_close_now(struct kofn_round *round, enum kofn_close why, uint64_t now)
{
    round->close = why;
    round->closed_ns = now;
    if (round->config.publish == KOFN_PUBLISH_EAGER)
        round->phase = KOFN_PHASE_READY; /* what closed it is in memory already */
    else
        kofn_close_collect(round);
    kofn_watch_closed(round, now);
}

/* Workers whose finished work a deadline would merge. */
static uint32_t contributors(const struct kofn_round *round)
{
    uint32_t count = kofn_algorithm_adds(round->config.algorithm) ? round->merging : round->holding;

    if (round->config.publish != KOFN_PUBLISH_EAGER)
        for (uint32_t rank = 0; rank < round->config.workers; rank++)
            count += owes(round, &round->members[rank]);
    return count;
}

static bool deadline_met(const struct kofn_round *round, uint64_t now)
{
    return round->deadline_ns && now >= kofn_round_deadline(round) &&
           contributors(round) >= KOFN_MAX(round->config.quorum, 1u);
}

/* Nothing that could still come would count: all of it has been refused already. The next round
 * starts everybody afresh, on the same model.
 */
static bool is_spoilt(const struct kofn_round *round)
{
    return !round->wait_for && round->available;
}

void kofn_close_check(struct kofn_round *round, uint64_t now)
{
    if (round->phase != KOFN_PHASE_OPEN)
        return;
    if (round->config.algorithm->closed(round) || is_spoilt(round))
        kofn_close_now(round, KOFN_CLOSE_REACHED, now);
    else if (deadline_met(round, now))
        kofn_close_now(round, KOFN_CLOSE_DEADLINE, now);
}
