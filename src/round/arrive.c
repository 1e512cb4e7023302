/* arrive.c: what comes in from workers, and what becomes of it: beats and publications. */
#include "round/close.h"
#include "round/places.h"
#include "round/watch.h"

static void alive_again(struct kofn_round *round, struct kofn_member *member)
{
    bool suspect = member->state == KOFN_MEMBER_SUSPECT;

    if (member->state != KOFN_MEMBER_JOINING && !suspect)
        return;
    member->state = KOFN_MEMBER_READY;
    if (suspect) /* a joining one was available before */
        kofn_watch_membership(round);
}

/* ---- beats ---- */

void kofn_round_beat(struct kofn_round *round, uint32_t rank, struct kofn_beat beat, uint64_t now)
{
    struct kofn_member *member = &round->members[rank];

    if (!kofn_member_connected(member) || beat.round > round->number ||
        !kofn_member_progress(member, beat.round, beat.updates, now))
        return;
    alive_again(round, member);
    if (round->config.publish != KOFN_PUBLISH_EAGER && beat.round == round->number)
        kofn_place_count(round, member, beat.updates, now);
    kofn_close_check(round, now);
    kofn_close_collect_from(round, member);
}

void kofn_round_last_beat(struct kofn_round *round, uint32_t rank, struct kofn_beat beat,
                          uint64_t now)
{
    struct kofn_member *member = &round->members[rank];

    if (kofn_member_connected(member) && beat.round <= round->number)
        kofn_member_progress(member, beat.round, beat.updates, now);
}

/* ---- publications ---- */

/* Its publications of the open round cannot be used: it is not, and will not be, one of the K. */
static void bar(struct kofn_round *round, struct kofn_member *member)
{
    member->barred = true;
    kofn_place_lose(round, member);
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

static enum kofn_verdict hold(struct kofn_round *round, struct kofn_member *member,
                              const struct kofn_stamp *stamp, uint64_t now)
{
    kofn_place_let_go(round, member);
    round->holding++;
    round->merging += !member->summed;
    round->steps += stamp->updates;
    member->held = *stamp;
    kofn_close_collect_from(round, member);
    if (round->config.publish == KOFN_PUBLISH_EAGER)
        kofn_place_count(round, member, stamp->updates, now);
    kofn_close_check(round, now);
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
    kofn_close_check(round, now);
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
    kofn_close_check(round, now);
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
