#include "round/round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "round/close.h"
#include "round/places.h"
#include "round/watch.h"

int kofn_round_init(struct kofn_round *round, const struct kofn_round_config *config)
{
    memset(round, 0, sizeof(*round));
    round->config = *config;
    round->members = kofn_large_alloc(config->workers * sizeof(*round->members));
    round->lateness = kofn_large_alloc(config->workers * sizeof(*round->lateness));
    round->scratch = calloc((size_t)2 * config->workers, sizeof(*round->scratch));
    round->recent = calloc(1, sizeof(*round->recent));
    if (!round->members || !round->lateness || !round->scratch || !round->recent) {
        kofn_round_fini(round);
        return KOFN_NO_MEMORY;
    }
    round->asked = config->wait_for;
    round->first_steps = round->next_steps = config->local_steps;
    round->moved = NAN;
    kofn_pursuit_init(&round->pursuit);
    kofn_deadline_init(&round->deadline, config->deadline, config->deadline_adaptive,
                       config->workers);
    return 0;
}

void kofn_round_fini(struct kofn_round *round)
{
    free(round->members);
    free(round->lateness);
    free(round->scratch);
    free(round->recent);
    round->members = NULL;
    round->lateness = NULL;
    round->scratch = NULL;
    round->recent = NULL;
}

void kofn_round_next(struct kofn_round *round, uint64_t now)
{
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        member->held.sequence = 0;
        member->reached = member->summed = member->barred = false;
        member->late_updates = member->added_updates = 0;
    }
    if (!round->number++)
        round->pursuit.judged_ns = now;
    else if (round->config.algorithm->adapt)
        round->config.algorithm->adapt(round, now);
    round->config.local_steps = round->next_steps;
    round->moved = NAN;
    round->phase = KOFN_PHASE_OPEN;
    round->close = KOFN_CLOSE_NONE;
    round->reached = round->spoilt = round->holding = round->merging = round->expected = 0;
    round->steps = 0;
    round->late_count = round->merged = 0;
    round->late_updates = round->added_updates = 0;
    round->staleness = round->loss_sum = 0;
    round->publications = round->refused = 0;
    round->opened_ns = now;
    round->closed_ns = 0;
    round->deadline_ns = kofn_deadline_span(&round->deadline);
    kofn_watch_membership(round);
}

/* ---- members ---- */

void kofn_round_join(struct kofn_round *round, uint32_t rank, uint32_t epoch, uint64_t now)
{
    kofn_round_drop(round, rank); /* before the account of its former membership is closed */
    round->members[rank].dropped = kofn_round_dropped(round, rank);
    kofn_member_join(&round->members[rank], epoch, now);
    if (round->number)
        kofn_watch_membership(round);
    else
        round->available++; /* all are counted as the first round opens */
}

void kofn_round_drop(struct kofn_round *round, uint32_t rank)
{
    struct kofn_member *member = &round->members[rank];

    if (!member->held.sequence && !member->reached)
        return;
    kofn_place_let_go(round, member);
    kofn_place_lose(round, member);
    kofn_watch_membership(round);
}

void kofn_round_leave(struct kofn_round *round, uint32_t rank, bool in_order, uint64_t total,
                      uint64_t now)
{
    struct kofn_member *member = &round->members[rank];

    if (!kofn_member_connected(member))
        return;
    kofn_member_leave(member, in_order, total, now);
    if (!member->held.sequence) /* it said that it was done, and what it did went with it */
        kofn_place_lose(round, member);
    kofn_watch_membership(round);
    kofn_close_check(round, now);
    if (round->phase == KOFN_PHASE_COLLECTING)
        kofn_close_collect(round);
}

void kofn_round_finished(struct kofn_round *round, uint32_t rank, uint32_t epoch, uint64_t total)
{
    struct kofn_member *member = &round->members[rank];

    if (!kofn_member_connected(member) && member->epoch == epoch)
        member->finished = KOFN_MAX(member->finished, member->epoch_base + total);
}

uint64_t kofn_round_dropped(const struct kofn_round *round, uint32_t rank)
{
    const struct kofn_member *member = &round->members[rank];
    uint32_t open = round->ended ? 0 : round->number;

    if (!round->config.algorithm->cancels)
        return 0;
    if (member->state == KOFN_MEMBER_GONE)
        open = member->round;
    else if (member->state == KOFN_MEMBER_LEFT)
        open = 0; /* it has dropped that, too */
    return member->dropped + kofn_member_dropped(member, open);
}

void kofn_round_write_off(struct kofn_round *round, uint32_t rank)
{
    struct kofn_member *member = &round->members[rank];

    if (round->config.algorithm->cancels)
        member->dropped += kofn_member_dropped(member, member->round);
    kofn_member_write_off(member);
}

/* ---- time, and the end ---- */

void kofn_round_tick(struct kofn_round *round, uint64_t now)
{
    kofn_watch_tick(round, now);
    kofn_close_check(round, now);
    if (round->phase != KOFN_PHASE_COLLECTING)
        return;
    kofn_close_collect(round); /* a member that has become suspect is not waited for */
    if (round->phase == KOFN_PHASE_COLLECTING &&
        kofn_since(now, round->closed_ns) >= round->config.grace)
        round->phase = KOFN_PHASE_READY;
}

void kofn_round_stop(struct kofn_round *round, uint64_t now)
{
    if (round->phase == KOFN_PHASE_OPEN)
        kofn_close_now(round, KOFN_CLOSE_STOP, now);
    else if (round->phase == KOFN_PHASE_COLLECTING)
        round->phase = KOFN_PHASE_READY;
}

void kofn_round_end(struct kofn_round *round)
{
    round->phase = KOFN_PHASE_IDLE;
    round->ended = true;
}

/* ---- what is merged, and what is not ---- */

void kofn_round_reject(struct kofn_round *round, uint32_t rank)
{
    struct kofn_member *member = &round->members[rank];

    if (!member->held.sequence)
        return;
    kofn_member_settle(member, member->held.round, member->held.updates, &member->refused);
    kofn_place_let_go(round, member);
    round->refused++;
    if (member->reached)
        kofn_place_leave(round, member);
}

void kofn_round_reject_sum(struct kofn_round *round)
{
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        member->late -= member->late_updates;
        member->merged -= member->added_updates;
        member->refused += member->late_updates + member->added_updates;
        member->reached &= !member->added_updates;
        member->late_updates = member->added_updates = 0;
        member->summed = false;
    }
    round->merging = round->holding;
    round->refused += round->late_count;
    if (kofn_algorithm_adds(round->config.algorithm)) {
        round->refused += round->reached;
        round->reached = 0;
    }
    round->late_count = 0;
    round->late_updates = round->added_updates = 0;
    round->staleness = round->loss_sum = 0;
}

/* The held publication of @member has been merged. */
static void settle_held(struct kofn_round *round, struct kofn_member *member)
{
    round->staleness += round->number - member->held.version;
    round->loss_sum += (double)member->held.loss;
    kofn_member_settle(member, member->held.round, member->held.updates, &member->merged);
    member->held.sequence = 0;
}

void kofn_round_settle(struct kofn_round *round)
{
    uint32_t publications;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        if (member->reached && member->place < round->wait_for)
            member->first_k += round->close != KOFN_CLOSE_STOP;
        round->merged += member->held.sequence || member->added_updates;
        if (member->held.sequence)
            settle_held(round, member);
    }
    publications = kofn_algorithm_adds(round->config.algorithm) ? round->reached : round->merged;
    round->loss = publications ? round->loss_sum / publications : NAN;
    kofn_pursuit_add(&round->pursuit, round->config.workers, round->loss, publications);
    if (round->config.algorithm->steps &&
        kofn_pursuit_due(&round->pursuit, round->config.adapt_every, round->closed_ns))
        round->next_steps = round->config.algorithm->steps(round);
    round->previous_opened_ns = round->opened_ns;
    round->previous_closed_ns = round->closed_ns;
    round->phase = KOFN_PHASE_IDLE;
}
