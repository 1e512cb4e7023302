/* What must hold in every history. */
#include <math.h>

#include "tests/unit/history.h"

#define HOPE (15 * KOFN_NS_PER_S)

/* Might this publication still be one of those that make the next model? */
static bool is_current(const struct history *history, const struct kofn_stamp *stamp)
{
    const struct kofn_algorithm *algorithm = history->round.config.algorithm;

    return !history->stopped && (algorithm->stale || stamp->round == history->round.number);
}

/* May a good publication be refused? Only one that has missed its round. */
static bool may_refuse(const struct history *history, const struct kofn_stamp *stamp)
{
    const struct kofn_round_config *config = &history->round.config;

    if (history->stopped)
        return true;
    if (config->algorithm->cancels && history->round.phase != KOFN_PHASE_OPEN)
        return true;
    return !is_current(history, stamp) &&
           (config->late == KOFN_LATE_REFUSE || config->algorithm->cancels);
}

/* An update is merged at most once, and never after it was refused; a refusal concerns what nothing
 * has become of yet.
 */
void history_check_settled(struct history *history, uint32_t rank,
                           const struct history_publication *publication, enum history_fate fate)
{
    struct history_worker *worker = &history->workers[rank];
    struct history_peer *peer = &history->peers[rank];

    for (uint32_t i = publication->stamp.from; i < publication->stamp.updates; i++) {
        struct history_update *update = &worker->fates[publication->first + i];

        if (fate == FATE_REFUSED && update->fate != FATE_OPEN)
            continue;
        if (update->fate != FATE_OPEN)
            history_fail(history, "update %u of rank %u is merged twice", publication->first + i,
                         rank);
        if (update->round != publication->stamp.round)
            history_fail(history, "update %u of rank %u is of another round", i, rank);
        update->fate = fate;
        peer->merged += fate == FATE_MERGED;
        peer->late += fate == FATE_LATE;
        peer->refused += fate == FATE_REFUSED;
    }
    history->counts.merged += fate == FATE_MERGED;
}

void history_check_verdict(struct history *history, uint32_t rank,
                           const struct history_publication *publication, enum kofn_verdict verdict)
{
    const struct kofn_round *round = &history->round;
    const struct kofn_stamp *stamp = &publication->stamp;
    enum kofn_member_state state = round->members[rank].state;

    if (state != KOFN_MEMBER_READY && state != KOFN_MEMBER_SLOW)
        history_fail(history, "rank %u publishes and is %d", rank, state);
    switch (verdict) {
    case KOFN_VERDICT_HOLD:
        if (!is_current(history, stamp) || kofn_algorithm_adds(round->config.algorithm))
            history_fail(history, "an update of round %u is held", stamp->round);
        history->counts.held++;
        break;
    case KOFN_VERDICT_ADD:
        if (!is_current(history, stamp) || !kofn_algorithm_adds(round->config.algorithm))
            history_fail(history, "an update of round %u is added", stamp->round);
        if (round->age != round->number - stamp->version)
            history_fail(history, "staleness %u of version %u", round->age, stamp->version);
        history_check_settled(history, rank, publication, FATE_MERGED);
        history->peers[rank].added_in = round->number;
        history->added++;
        history->counts.added++;
        break;
    case KOFN_VERDICT_LATE:
        if (is_current(history, stamp) || may_refuse(history, stamp))
            history_fail(history, "an update of round %u is late", stamp->round);
        if (round->age != round->number - stamp->version || !round->age)
            history_fail(history, "staleness %u of version %u", round->age, stamp->version);
        history_check_settled(history, rank, publication, FATE_LATE);
        history->peers[rank].late_in = round->number;
        history->counts.late++;
        break;
    case KOFN_VERDICT_REFUSED:
        if (!publication->bad && !may_refuse(history, stamp))
            history_fail(history, "a good update of round %u is refused", stamp->round);
        history_check_settled(history, rank, publication, FATE_REFUSED);
        history->counts.refused++;
        break;
    case KOFN_VERDICT_KEPT:
        if (stamp->round != round->number || !round->members[rank].held.sequence ||
            round->members[rank].reached)
            history_fail(history, "nothing is held that could be kept");
        break;
    case KOFN_VERDICT_COVERED:
        if (stamp->round == round->number)
            history_fail(history, "an update of the open round is covered");
        history->counts.covered++;
        break;
    }
}

/* Where exactly K are merged, they are: unless a worker that left had sent more, or what was
 * counted turned out to be bad.
 */
static void check_exact(struct history *history, uint32_t held)
{
    const struct kofn_round *round = &history->round;
    uint32_t count = held + history->added;

    if (!round->config.algorithm->exact || history->parted_in == round->number)
        return;
    if (count > round->wait_for)
        history_fail(history, "%u are merged instead of %u", count, round->wait_for);
    history->counts.exact += count == round->wait_for && count < round->config.workers;
    history->counts.spoilt += history->spoilt > 0;
}

/* Members of a round carry its number; the merged workers' shares make 1; FedNova's are inverse to
 * the numbers of updates.
 */
void history_check_merge(struct history *history)
{
    const struct kofn_round *round = &history->round;
    double scale = kofn_round_late_scale(round), shares = 0, normal = 0;
    uint32_t workers = 0, held = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_member *member = &round->members[rank];
        double weight = kofn_round_weight(round, rank);

        if (member->held.sequence) /* as it would be had it been made on the newest model */
            weight *=
                pow(1.0 + (round->number - member->held.version), round->config.staleness_weight);
        workers += member->held.sequence || history->peers[rank].late_in == round->number;
        if (!member->held.sequence)
            continue;
        held++;
        if ((member->held.round != round->number && !round->config.algorithm->stale) ||
            member->held.from)
            history_fail(history, "rank %u is merged with round %u", rank, member->held.round);
        shares += weight;
        normal += weight * member->held.updates / scale;
    }
    if (held != round->holding)
        history_fail(history, "%u held, %u counted", held, round->holding);
    check_exact(history, held);
    if (kofn_algorithm_adds(round->config.algorithm)) {
        if (held || fabs(scale * history->added - (history->added > 0)) > 1e-9)
            history_fail(history, "%u held, %u added, scale %g", held, history->added, scale);
    } else if (round->config.weights == KOFN_WEIGHTS_UNIFORM) {
        if (fabs(shares - held * scale) > 1e-9 || (workers && fabs(scale * workers - 1) > 1e-9))
            history_fail(history, "weights %g of %u, scale %g", shares, held, scale);
    } else if (held && fabs(normal - held) > 1e-9) {
        history_fail(history, "FedNova weights: %g instead of %u", normal, held);
    }
    history->counts.rounds++;
    history->counts.deadline_closes += round->close == KOFN_CLOSE_DEADLINE;
}

static bool edge_allowed(enum kofn_member_state from, enum kofn_member_state to)
{
    static const unsigned allowed[] = {
        [KOFN_MEMBER_ABSENT] = 1 << KOFN_MEMBER_JOINING,
        [KOFN_MEMBER_JOINING] = 1 << KOFN_MEMBER_READY | 1 << KOFN_MEMBER_SLOW |
                                1 << KOFN_MEMBER_SUSPECT | 1 << KOFN_MEMBER_GONE |
                                1 << KOFN_MEMBER_LEFT,
        [KOFN_MEMBER_READY] = 1 << KOFN_MEMBER_SLOW | 1 << KOFN_MEMBER_SUSPECT |
                              1 << KOFN_MEMBER_GONE | 1 << KOFN_MEMBER_LEFT,
        [KOFN_MEMBER_SLOW] = 1 << KOFN_MEMBER_READY | 1 << KOFN_MEMBER_SUSPECT |
                             1 << KOFN_MEMBER_GONE | 1 << KOFN_MEMBER_LEFT,
        [KOFN_MEMBER_SUSPECT] = 1 << KOFN_MEMBER_READY | 1 << KOFN_MEMBER_SLOW |
                                1 << KOFN_MEMBER_GONE | 1 << KOFN_MEMBER_LEFT,
        [KOFN_MEMBER_GONE] = 1 << KOFN_MEMBER_JOINING,
        [KOFN_MEMBER_LEFT] = 1 << KOFN_MEMBER_JOINING,
    };

    return from == to || (allowed[from] & 1u << to);
}

/* Is this member one of those that have done their U? (Said from what it published or beat.) */
static bool has_reached(const struct kofn_round *round, const struct kofn_member *member,
                        const struct history_peer *peer)
{
    if (kofn_algorithm_adds(round->config.algorithm))
        return peer->added_in == round->number;
    if (round->config.publish == KOFN_PUBLISH_EAGER)
        return member->held.sequence && member->held.updates >= round->config.local_steps;
    return kofn_member_connected(member) && member->round == round->number &&
           member->updates >= round->config.local_steps;
}

static void check_member(struct history *history, uint32_t rank)
{
    const struct kofn_round *round = &history->round;
    const struct kofn_member *member = &round->members[rank];
    struct history_peer *peer = &history->peers[rank];

    if (!edge_allowed(peer->state, member->state))
        history_fail(history, "rank %u: from state %d to %d", rank, peer->state, member->state);
    if (member->state == KOFN_MEMBER_SUSPECT && peer->state != KOFN_MEMBER_SUSPECT) {
        history->counts.suspects++;
        if (history->now - peer->seen_ns < round->config.suspect_after)
            history_fail(history, "rank %u is suspect too early", rank);
    }
    history->counts.comebacks +=
        peer->state == KOFN_MEMBER_SUSPECT &&
        (member->state == KOFN_MEMBER_READY || member->state == KOFN_MEMBER_SLOW);
    peer->state = member->state;
    if (member->merged != peer->merged || member->late != peer->late ||
        member->refused != peer->refused)
        history_fail(history,
                     "rank %u: %llu merged, %llu late, %llu refused; in truth %llu %llu %llu", rank,
                     (unsigned long long)member->merged, (unsigned long long)member->late,
                     (unsigned long long)member->refused, (unsigned long long)peer->merged,
                     (unsigned long long)peer->late, (unsigned long long)peer->refused);
    if (member->finished > history->workers[rank].finished)
        history_fail(history, "rank %u: more finished than there are", rank);
    if (round->phase == KOFN_PHASE_OPEN && !round->ended &&
        member->reached != has_reached(round, member, peer))
        history_fail(history, "rank %u: reached is %d", rank, member->reached);
}

/* Has this member finished work of the round that is not here yet? */
static bool owes(const struct kofn_round *round, const struct kofn_member *member)
{
    uint32_t least = round->config.algorithm->partial ? 1 : round->config.local_steps;

    return (round->config.publish == KOFN_PUBLISH_PULL ? kofn_member_connected(member)
                                                       : kofn_member_available(member)) &&
           member->round == round->number && member->updates >= least && !member->held.sequence;
}

/* A round is judged by one K, and K does not fall. */
static void check_asked(struct history *history)
{
    const struct kofn_round *round = &history->round;
    uint32_t most = KOFN_MAX(round->config.wait_for, round->config.workers);

    if (round->asked != history->asked && round->number == history->asked_in)
        history_fail(history, "K was %u and is %u in the same round", history->asked, round->asked);
    if (round->asked < KOFN_MAX(history->asked, round->config.wait_for) || round->asked > most ||
        (!round->config.algorithm->adapt && round->asked != round->config.wait_for))
        history_fail(history, "K was %u and is %u", history->asked, round->asked);
    history->counts.grown += history->asked && round->asked > history->asked;
    history->asked = round->asked;
    history->asked_in = round->number;
}

/* K as it must be: of those who can count still, or have. */
static uint32_t right_wait_for(const struct history *history, uint32_t available, uint32_t possible)
{
    const struct kofn_round_config *config = &history->round.config;
    uint32_t k;

    if (!kofn_algorithm_adds(config->algorithm))
        return KOFN_MIN(history->asked, possible);
    k = history->asked - KOFN_MIN(history->asked, history->spoilt);
    return available ? k : KOFN_MIN(k, history->added);
}

/* The machine's counters are what they count, K is capped to those who can answer, and an open
 * round is one that may be open.
 */
void history_check(struct history *history)
{
    const struct kofn_round *round = &history->round;
    uint32_t available = 0, possible = 0, reached = 0, holding = 0, owing = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_member *member = &round->members[rank];

        check_member(history, rank);
        available += kofn_member_available(member);
        possible += (kofn_member_available(member) && !member->barred) || member->reached;
        reached += member->reached && !kofn_algorithm_adds(round->config.algorithm);
        owing += owes(round, member);
        holding += member->held.sequence != 0;
    }
    if (available != round->available || holding != round->holding)
        history_fail(history, "%u available, %u held; counted %u %u", available, holding,
                     round->available, round->holding);
    if (round->phase == KOFN_PHASE_COLLECTING && (!owing || owing != round->expected))
        history_fail(history, "%u are waited for instead of %u", round->expected, owing);
    check_asked(history);
    if (round->phase != KOFN_PHASE_OPEN || round->ended)
        return;
    reached += history->added;
    if (reached != round->reached ||
        round->wait_for != right_wait_for(history, available, possible))
        history_fail(history, "%u reached, %u possible; counted %u, K = %u", reached, possible,
                     round->reached, round->wait_for);
    if ((round->wait_for || available) && reached >= round->wait_for)
        history_fail(history, "%u of %u are there, and the round is open", reached,
                     round->wait_for);
}

/* Those whose finished work a deadline would merge, said once more. */
static uint32_t contributors(const struct kofn_round *round)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        count +=
            round->members[rank].held.sequence || round->members[rank].added_updates ||
            (round->config.publish != KOFN_PUBLISH_EAGER && owes(round, &round->members[rank]));
    return count;
}

static bool somebody_can_work(const struct history *history)
{
    for (uint32_t rank = 0; rank < history->round.config.workers; rank++)
        if (history->workers[rank].alive && !history->workers[rank].frozen &&
            kofn_member_connected(&history->round.members[rank]))
            return true;
    return false;
}

/* A deadline that has passed with its quorum has closed the round; and no round stays open for long
 * while there is somebody who could close it.
 */
void history_check_tick(struct history *history)
{
    const struct kofn_round *round = &history->round;
    bool open = round->phase == KOFN_PHASE_OPEN && !round->ended;

    if (!open || !somebody_can_work(history) || round->opened_ns > history->hope_ns)
        history->hope_ns = history->now;
    if (history->now - history->hope_ns > HOPE)
        history_fail(history, "the round does not close though somebody works");
    if (round->phase == KOFN_PHASE_COLLECTING &&
        history->now - round->closed_ns > round->config.grace + HISTORY_TICK)
        history_fail(history, "the grace is over, and the round still collects");
    if (open && round->deadline_ns && history->now >= round->opened_ns + round->deadline_ns &&
        contributors(round) >= KOFN_MAX(round->config.quorum, 1u))
        history_fail(history, "the deadline has passed with its quorum, and the round is open");
}

/* Everybody has left: every finished update is in one class, and none was lost but with a reason.
 */
void history_check_end(struct history *history)
{
    for (uint32_t rank = 0; rank < history->round.config.workers; rank++) {
        const struct kofn_member *member = &history->round.members[rank];
        const struct history_worker *worker = &history->workers[rank];
        uint64_t settled = member->merged + member->late + member->refused;

        if (kofn_member_connected(member) || member->held.sequence)
            history_fail(history, "rank %u is still there", rank);
        if (member->finished != settled + kofn_member_lost(member))
            history_fail(history, "rank %u: the account does not add up", rank);
        if (!worker->died && member->finished != worker->finished)
            history_fail(history, "rank %u: %llu of %u finished updates are known", rank,
                         (unsigned long long)member->finished, worker->finished);
        history->counts.lost += kofn_member_lost(member);
        for (uint32_t i = 0; i < worker->finished && history->kind == HISTORY_CALM; i++)
            if (worker->fates[i].fate == FATE_OPEN && worker->fates[i].round != worker->round)
                history_fail(history, "update %u of rank %u, round %u, is lost", i, rank,
                             worker->fates[i].round);
    }
}
