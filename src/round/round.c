#include "round/round.h"

#include <stdlib.h>
#include <string.h>

#include "round/watch.h"

int kofn_round_init(struct kofn_round *round, const struct kofn_round_config *config)
{
    memset(round, 0, sizeof(*round));
    round->config = *config;
    round->members = aligned_alloc(KOFN_CACHE_LINE, config->workers * sizeof(*round->members));
    round->lateness = calloc(config->workers, sizeof(*round->lateness));
    round->scratch = calloc(config->workers, sizeof(*round->scratch));
    if (!round->members || !round->lateness || !round->scratch) {
        kofn_round_fini(round);
        return KOFN_NO_MEMORY;
    }
    memset(round->members, 0, config->workers * sizeof(*round->members));
    kofn_deadline_init(&round->deadline, config->deadline, config->deadline_adaptive,
                       config->workers);
    return 0;
}

void kofn_round_fini(struct kofn_round *round)
{
    free(round->members);
    free(round->lateness);
    free(round->scratch);
    round->members = NULL;
    round->lateness = NULL;
    round->scratch = NULL;
}

void kofn_round_next(struct kofn_round *round, uint64_t now)
{
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        member->held.sequence = 0;
        member->reached = member->late_merged = member->barred = false;
        member->late_updates = 0;
    }
    round->number++;
    round->phase = KOFN_PHASE_OPEN;
    round->close = KOFN_CLOSE_NONE;
    round->reached = round->holding = round->merging = round->expected = 0;
    round->steps = 0;
    round->late_count = 0;
    round->late_updates = 0;
    round->late_staleness = 0;
    round->publications = round->refused = 0;
    round->opened_ns = now;
    round->closed_ns = 0;
    round->deadline_ns = kofn_deadline_span(&round->deadline);
    kofn_watch_membership(round);
}

/* Members of a closed round that owe a publication: those with finished work of it that is not here
 * yet. */
static bool owes(const struct kofn_round *round, const struct kofn_member *member)
{
    uint32_t least = round->config.algorithm->partial ? 1 : round->config.local_steps;

    return kofn_member_available(member) && member->round == round->number &&
           member->updates >= least && !member->held.sequence;
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
    bool owing = owes(round, member);

    if (round->phase != KOFN_PHASE_COLLECTING || owing == member->owing)
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
    uint32_t count = round->holding;

    if (round->config.publish != KOFN_PUBLISH_EAGER)
        for (uint32_t rank = 0; rank < round->config.workers; rank++)
            count += owes(round, &round->members[rank]);
    return count;
}

static bool deadline_met(const struct kofn_round *round, uint64_t now)
{
    uint64_t deadline = kofn_round_deadline(round);

    return deadline && now >= deadline && contributors(round) >= KOFN_MAX(round->config.quorum, 1u);
}

static void check_closed(struct kofn_round *round, uint64_t now)
{
    if (round->phase != KOFN_PHASE_OPEN)
        return;
    if (round->config.algorithm->closed(round))
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
    round->merging -= !member->late_merged;
    round->steps -= member->held.updates;
    member->held.sequence = 0;
}

void kofn_round_join(struct kofn_round *round, uint32_t rank, uint32_t epoch, uint64_t now)
{
    kofn_round_drop(round, rank); /* before the account of its former membership is closed */
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
    round->merging += !member->late_merged;
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

/* A publication that missed its round: merged into the open one with 1/(1+s)^W, or refused. */
static enum kofn_verdict late(struct kofn_round *round, struct kofn_member *member,
                              const struct kofn_stamp *stamp, uint64_t now)
{
    kofn_watch_late(round, member, stamp, now);
    if (round->config.late == KOFN_LATE_REFUSE)
        return refuse(round, member, stamp);
    if (stamp->from != kofn_member_settled(member, stamp->round))
        return KOFN_VERDICT_COVERED;
    round->late_age = round->number - stamp->version;
    round->late_factor = (float)kofn_late_factor(round, stamp, round->late_age);
    round->late_count++;
    member->late_updates += stamp->updates - stamp->from;
    round->late_updates += stamp->updates - stamp->from;
    round->late_staleness += round->late_age;
    round->merging += !member->late_merged && !member->held.sequence;
    member->late_merged = true;
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

bool kofn_round_merges_late(const struct kofn_round *round, uint32_t rank,
                            const struct kofn_stamp *stamp, float *factor)
{
    if (round->ended || round->config.late == KOFN_LATE_REFUSE ||
        round->config.algorithm->current(round, stamp) ||
        stamp->from != kofn_member_settled(&round->members[rank], stamp->round))
        return false;
    *factor = (float)kofn_late_factor(round, stamp, round->number - stamp->version);
    return true;
}

enum kofn_verdict kofn_round_refuse(struct kofn_round *round, uint32_t rank,
                                    const struct kofn_stamp *stamp, uint64_t now)
{
    struct kofn_member *member = published(round, rank, stamp, now);
    bool current = !round->ended && round->config.algorithm->current(round, stamp);
    enum kofn_verdict verdict = KOFN_VERDICT_KEPT;

    if (!current || !member->held.sequence)
        verdict = refuse(round, member, stamp);
    if (current)
        bar(round, member);
    check_closed(round, now);
    return verdict;
}

enum kofn_verdict kofn_round_arrive(struct kofn_round *round, uint32_t rank,
                                    const struct kofn_stamp *stamp, uint64_t now)
{
    struct kofn_member *member = published(round, rank, stamp, now);

    if (round->ended)
        return refuse(round, member, stamp);
    if (!round->config.algorithm->current(round, stamp))
        return late(round, member, stamp, now);
    if (member->barred)
        return refuse_barred(round, member, stamp);
    if (stamp->from != kofn_member_settled(member, stamp->round))
        return KOFN_VERDICT_COVERED;
    return hold(round, member, stamp, now);
}

void kofn_round_tick(struct kofn_round *round, uint64_t now)
{
    kofn_watch_tick(round, now);
    check_closed(round, now);
    if (round->phase != KOFN_PHASE_COLLECTING)
        return;
    collect(round); /* a member that has become suspect is not waited for */
    if (round->phase == KOFN_PHASE_COLLECTING && now - round->closed_ns >= round->config.grace)
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

void kofn_round_reject_late(struct kofn_round *round)
{
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        member->late -= member->late_updates;
        member->refused += member->late_updates;
        member->late_updates = 0;
        member->late_merged = false;
    }
    round->merging = round->holding;
    round->refused += round->late_count;
    round->late_count = 0;
    round->late_updates = 0;
    round->late_staleness = 0;
}

void kofn_round_settle(struct kofn_round *round)
{
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        if (member->reached && member->place < round->wait_for)
            member->first_k++;
        if (member->held.sequence) {
            kofn_member_settle(member, member->held.round, member->held.updates, &member->merged);
            member->held.sequence = 0;
        }
    }
    round->previous_opened_ns = round->opened_ns;
    round->phase = KOFN_PHASE_IDLE;
}
