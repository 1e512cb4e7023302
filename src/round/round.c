#include "round/round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
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

static void collect(struct kofn_round *round)
{
    round->expected = 0;
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        member->owing = owes(round, member);
        round->expected += member->owing;
    }
    round->phase = round->expected ? KOFN_PHASE_COLLECTING : KOFN_PHASE_READY;
}

/* While the round collects: @member may owe something now, or no more. */
static void collect_from(struct kofn_round *round, struct kofn_member *member)
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

static void close_round(struct kofn_round *round, enum kofn_close why, uint64_t now)
{
    round->close = why;
    round->closed_ns = now;
    if (round->config.publish == KOFN_PUBLISH_EAGER)
        round->phase = KOFN_PHASE_READY; /* what closed it is in memory already */
    else
        collect(round);
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

static void check_closed(struct kofn_round *round, uint64_t now)
{
    if (round->phase != KOFN_PHASE_OPEN)
        return;
    if (round->config.algorithm->closed(round) || is_spoilt(round))
        close_round(round, KOFN_CLOSE_REACHED, now);
    else if (deadline_met(round, now))
        close_round(round, KOFN_CLOSE_DEADLINE, now);
}

/* @updates local updates of the open round are here, as a publication (eager) or a beat (on-close).
 */
static void count_reached(struct kofn_round *round, struct kofn_member *member, uint32_t updates,
                          uint64_t now)
{
    if (member->reached || round->phase != KOFN_PHASE_OPEN ||
        !round->config.algorithm->counts(round, updates))
        return;
    member->reached = true;
    member->reached_ns = now;
    member->place = round->reached++;
}

/* It is not one of the K after all; those behind it move up. */
static void leave_place(struct kofn_round *round, struct kofn_member *member)
{
    if (kofn_algorithm_adds(round->config.algorithm))
        return; /* what it has sent is in the sum */
    member->reached = false;
    round->reached--;
    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        round->members[rank].place -= round->members[rank].place > member->place;
}

static void uncount_reached(struct kofn_round *round, struct kofn_member *member)
{
    if (member->reached && round->phase == KOFN_PHASE_OPEN)
        leave_place(round, member);
}

/* Its publications of the open round cannot be used: it is not, and will not be, one of the K. */
static void bar(struct kofn_round *round, struct kofn_member *member)
{
    member->barred = true;
    uncount_reached(round, member);
}

/* What would have counted, a publication of round @made_in, cannot be used. One that counts by
 * itself is missing from the K. A worker that has yet to take the open round's model can bring
 * something better.
 */
static void spoil(struct kofn_round *round, struct kofn_member *member, uint32_t made_in)
{
    if (kofn_algorithm_adds(round->config.algorithm))
        round->spoilt++;
    else if (made_in == round->number)
        bar(round, member);
    kofn_watch_membership(round);
}

static void alive_again(struct kofn_round *round, struct kofn_member *member)
{
    bool suspect = member->state == KOFN_MEMBER_SUSPECT;

    if (member->state != KOFN_MEMBER_JOINING && !suspect)
        return;
    member->state = KOFN_MEMBER_READY;
    if (suspect) /* a joining one was available before */
        kofn_watch_membership(round);
}

/* Nothing of @member is held any more. */
static void let_go(struct kofn_round *round, struct kofn_member *member)
{
    if (!member->held.sequence)
        return;
    round->holding--;
    round->merging -= !member->summed;
    round->steps -= member->held.updates;
    member->held.sequence = 0;
}

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
    let_go(round, member);
    uncount_reached(round, member);
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
        uncount_reached(round, member);
    kofn_watch_membership(round);
    check_closed(round, now);
    if (round->phase == KOFN_PHASE_COLLECTING)
        collect(round);
}

void kofn_round_finished(struct kofn_round *round, uint32_t rank, uint32_t epoch, uint64_t total)
{
    struct kofn_member *member = &round->members[rank];

    if (!kofn_member_connected(member) && member->epoch == epoch)
        member->finished = KOFN_MAX(member->finished, member->epoch_base + total);
}

void kofn_round_beat(struct kofn_round *round, uint32_t rank, struct kofn_beat beat, uint64_t now)
{
    struct kofn_member *member = &round->members[rank];

    if (!kofn_member_connected(member) || beat.round > round->number ||
        !kofn_member_progress(member, beat.round, beat.updates, now))
        return;
    alive_again(round, member);
    if (round->config.publish != KOFN_PUBLISH_EAGER && beat.round == round->number)
        count_reached(round, member, beat.updates, now);
    check_closed(round, now);
    collect_from(round, member);
}

void kofn_round_last_beat(struct kofn_round *round, uint32_t rank, struct kofn_beat beat,
                          uint64_t now)
{
    struct kofn_member *member = &round->members[rank];

    if (kofn_member_connected(member) && beat.round <= round->number)
        kofn_member_progress(member, beat.round, beat.updates, now);
}

static enum kofn_verdict hold(struct kofn_round *round, struct kofn_member *member,
                              const struct kofn_stamp *stamp, uint64_t now)
{
    let_go(round, member);
    round->holding++;
    round->merging += !member->summed;
    round->steps += stamp->updates;
    member->held = *stamp;
    collect_from(round, member);
    if (round->config.publish == KOFN_PUBLISH_EAGER)
        count_reached(round, member, stamp->updates, now);
    check_closed(round, now);
    return KOFN_VERDICT_HOLD;
}

static enum kofn_verdict refuse(struct kofn_round *round, struct kofn_member *member,
                                const struct kofn_stamp *stamp)
{
    kofn_member_settle(member, stamp->round, stamp->updates, &member->refused);
    round->refused++;
    return KOFN_VERDICT_REFUSED;
}

/* What carries again what was refused already is refused with it; the worker then knows of all. */
static enum kofn_verdict refuse_barred(struct kofn_round *round, struct kofn_member *member,
                                       const struct kofn_stamp *stamp)
{
    return member->held.sequence ? KOFN_VERDICT_KEPT : refuse(round, member, stamp);
}

static bool refuses_late(const struct kofn_round *round)
{
    return round->config.late == KOFN_LATE_REFUSE || round->config.algorithm->cancels;
}

/* @member's publication goes into the sum. */
static void sum_up(struct kofn_round *round, struct kofn_member *member,
                   const struct kofn_stamp *stamp)
{
    round->age = round->number - stamp->version;
    round->factor = (float)kofn_late_factor(round, stamp, round->age);
    round->staleness += round->age;
    round->merging += !member->summed && !member->held.sequence;
    member->summed = true;
}

/* A publication that is one of the K by itself. */
static enum kofn_verdict add(struct kofn_round *round, struct kofn_member *member,
                             const struct kofn_stamp *stamp, uint64_t now)
{
    uint32_t updates = stamp->updates - stamp->from;

    sum_up(round, member, stamp);
    member->added_updates += updates;
    round->added_updates += updates;
    round->loss_sum += (double)stamp->loss;
    kofn_member_settle(member, stamp->round, stamp->updates, &member->merged);
    if (!member->reached) {
        member->reached = true;
        member->reached_ns = now;
        member->place = round->reached;
    }
    round->reached++;
    check_closed(round, now);
    return KOFN_VERDICT_ADD;
}

/* A publication that missed its round: merged into the open one with 1/(1+s)^W, or refused. */
static enum kofn_verdict late(struct kofn_round *round, struct kofn_member *member,
                              const struct kofn_stamp *stamp, uint64_t now)
{
    kofn_watch_late(round, member, stamp, now);
    if (refuses_late(round))
        return refuse(round, member, stamp);
    if (stamp->from != kofn_member_settled(member, stamp->round))
        return KOFN_VERDICT_COVERED;
    sum_up(round, member, stamp);
    round->late_count++;
    member->late_updates += stamp->updates - stamp->from;
    round->late_updates += stamp->updates - stamp->from;
    kofn_member_settle(member, stamp->round, stamp->updates, &member->late);
    return KOFN_VERDICT_LATE;
}

static struct kofn_member *published(struct kofn_round *round, uint32_t rank,
                                     const struct kofn_stamp *stamp, uint64_t now)
{
    struct kofn_member *member = &round->members[rank];

    kofn_member_progress(member, stamp->round, stamp->updates, now);
    kofn_member_published(member, stamp);
    alive_again(round, member);
    round->publications++;
    return member;
}

/* Where a closing round cancels, whoever is behind the K of the open round is late, too. */
static bool is_late(const struct kofn_round *round, const struct kofn_stamp *stamp)
{
    const struct kofn_algorithm *algorithm = round->config.algorithm;

    return !algorithm->current(round, stamp) ||
           (algorithm->cancels && round->phase != KOFN_PHASE_OPEN);
}

bool kofn_round_counts(const struct kofn_round *round, uint32_t rank,
                       const struct kofn_stamp *stamp)
{
    const struct kofn_member *member = &round->members[rank];
    const struct kofn_algorithm *algorithm = round->config.algorithm;

    return round->config.publish == KOFN_PUBLISH_EAGER && round->phase == KOFN_PHASE_OPEN &&
           !member->reached && !member->barred && algorithm->current(round, stamp) &&
           stamp->from == kofn_member_settled(member, stamp->round) &&
           algorithm->counts(round, stamp->updates);
}

bool kofn_round_sums(const struct kofn_round *round, uint32_t rank, const struct kofn_stamp *stamp,
                     float *factor)
{
    const struct kofn_algorithm *algorithm = round->config.algorithm;
    const struct kofn_member *member = &round->members[rank];

    if (round->ended || stamp->from != kofn_member_settled(member, stamp->round))
        return false;
    if (is_late(round, stamp) ? refuses_late(round) : !kofn_algorithm_adds(algorithm))
        return false;
    *factor = (float)kofn_late_factor(round, stamp, round->number - stamp->version);
    return true;
}

enum kofn_verdict kofn_round_refuse(struct kofn_round *round, uint32_t rank,
                                    const struct kofn_stamp *stamp, uint64_t now)
{
    struct kofn_member *member = published(round, rank, stamp, now);
    bool current = !round->ended && !is_late(round, stamp);
    enum kofn_verdict verdict = KOFN_VERDICT_KEPT;

    if (!current || !member->held.sequence)
        verdict = refuse(round, member, stamp);
    if (current)
        spoil(round, member, stamp->round);
    check_closed(round, now);
    return verdict;
}

enum kofn_verdict kofn_round_arrive(struct kofn_round *round, uint32_t rank,
                                    const struct kofn_stamp *stamp, uint64_t now)
{
    struct kofn_member *member = published(round, rank, stamp, now);

    if (round->ended)
        return refuse(round, member, stamp);
    if (is_late(round, stamp))
        return late(round, member, stamp, now);
    if (member->barred)
        return refuse_barred(round, member, stamp);
    if (stamp->from != kofn_member_settled(member, stamp->round))
        return KOFN_VERDICT_COVERED;
    if (kofn_algorithm_adds(round->config.algorithm))
        return add(round, member, stamp, now);
    return hold(round, member, stamp, now);
}

uint32_t kofn_round_room(const struct kofn_round *round)
{
    if (!round->config.algorithm->exact || round->phase == KOFN_PHASE_IDLE)
        return UINT32_MAX;
    if (round->phase != KOFN_PHASE_OPEN)
        return 0;
    return round->wait_for > round->reached ? round->wait_for - round->reached : 1;
}

void kofn_round_tick(struct kofn_round *round, uint64_t now)
{
    kofn_watch_tick(round, now);
    check_closed(round, now);
    if (round->phase != KOFN_PHASE_COLLECTING)
        return;
    collect(round); /* a member that has become suspect is not waited for */
    if (round->phase == KOFN_PHASE_COLLECTING &&
        kofn_since(now, round->closed_ns) >= round->config.grace)
        round->phase = KOFN_PHASE_READY;
}

void kofn_round_stop(struct kofn_round *round, uint64_t now)
{
    if (round->phase == KOFN_PHASE_OPEN)
        close_round(round, KOFN_CLOSE_STOP, now);
    else if (round->phase == KOFN_PHASE_COLLECTING)
        round->phase = KOFN_PHASE_READY;
}

void kofn_round_end(struct kofn_round *round)
{
    round->phase = KOFN_PHASE_IDLE;
    round->ended = true;
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

void kofn_round_reject(struct kofn_round *round, uint32_t rank)
{
    struct kofn_member *member = &round->members[rank];

    if (!member->held.sequence)
        return;
    kofn_member_settle(member, member->held.round, member->held.updates, &member->refused);
    let_go(round, member);
    round->refused++;
    if (member->reached)
        leave_place(round, member);
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
