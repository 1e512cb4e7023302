/* The server of a history: src/core/serve.c, merge.c and admit.c without bytes. */
#include "tests/unit/history.h"

static void send_down(struct history *history, uint32_t rank, struct history_event event)
{
    struct history_peer *peer = &history->peers[rank];
    uint64_t time = history->now + history_below(history, history->word_delay + 1);

    peer->down_ns = KOFN_MAX(peer->down_ns, time);
    event.time = peer->down_ns;
    event.rank = rank;
    event.generation = peer->epoch;
    history_post(history, event);
}

static void send_gate(struct history *history, uint32_t rank, enum kofn_gate_state state)
{
    struct history_event event = {.kind = EVENT_GATE};

    event.u.gate = (struct kofn_gate){.round = history->round.number,
                                      .state = state,
                                      .released = (uint32_t)(history->peers[rank].released % 256)};
    send_down(history, rank, event);
}

static void gate(struct history *history, uint32_t rank)
{
    const struct history_peer *peer = &history->peers[rank];

    if (peer->admitted && !peer->evicted && history->round.number)
        send_gate(history, rank,
                  history->stopped        ? KOFN_GATE_END
                  : history->gates_closed ? KOFN_GATE_CLOSED
                                          : KOFN_GATE_OPEN);
}

static void gates(struct history *history)
{
    for (uint32_t rank = 0; rank < history->round.config.workers; rank++)
        gate(history, rank);
}

void history_server_open(struct history *history)
{
    history->version = 1;
    kofn_round_next(&history->round, history->now);
    gates(history);
}

static void receipt(struct history *history, uint32_t rank, const struct kofn_stamp *stamp,
                    enum kofn_outcome outcome)
{
    struct history_event event = {.kind = EVENT_RECEIPT};

    if (history->peers[rank].evicted)
        return;
    event.u.receipt = (struct kofn_receipt_line){.made_in = stamp->round,
                                                 .merged_in = history->round.number,
                                                 .updates = stamp->updates,
                                                 .outcome = outcome,
                                                 .sequence = stamp->sequence};
    send_down(history, rank, event);
}

static void release(struct history *history, uint32_t rank, uint64_t sequence)
{
    history->peers[rank].released = sequence;
    gate(history, rank);
}

/* True if this is news of @rank. */
static bool see(struct history *history, uint32_t rank, uint32_t round, uint32_t updates)
{
    struct history_peer *peer = &history->peers[rank];

    if (round < peer->seen.round || (round == peer->seen.round && updates <= peer->seen.updates))
        return false;
    peer->seen = (struct kofn_beat){round, updates};
    peer->seen_ns = history->now;
    return true;
}

/* serve.c, judge(): are the bytes looked at before the machine counts them? */
static bool is_looked_at(const struct history *history, uint32_t rank,
                         const struct kofn_stamp *stamp)
{
    const struct kofn_round *round = &history->round;
    float factor;

    return kofn_round_sums(round, rank, stamp, &factor) ||
           (round->config.wait_for < round->config.workers &&
            kofn_round_counts(round, rank, stamp));
}

/* serve.c, take_in() and judge() */
static void take_in(struct history *history, uint32_t rank,
                    const struct history_publication *publication)
{
    struct history_peer *peer = &history->peers[rank];
    const struct kofn_stamp *stamp = &publication->stamp;
    struct kofn_round *round = &history->round;
    enum kofn_verdict verdict;

    see(history, rank, stamp->round, stamp->updates);
    peer->known[stamp->sequence % HISTORY_RING] = *publication;
    peer->sequence = stamp->sequence;
    if (publication->bad && is_looked_at(history, rank, stamp)) {
        verdict = kofn_round_refuse(round, rank, stamp, history->now);
        history->counts.bad++;
        if (round->config.algorithm->current(round, stamp)) {
            history->spoilt += kofn_algorithm_adds(round->config.algorithm);
            history->counts.barred++;
            history->counts.kept += verdict == KOFN_VERDICT_KEPT;
        }
    } else {
        verdict = kofn_round_arrive(round, rank, stamp, history->now);
    }
    history_check_verdict(history, rank, publication, verdict);
    if (verdict == KOFN_VERDICT_HOLD) {
        if (peer->released + 1 < stamp->sequence)
            release(history, rank, stamp->sequence - 1);
        return;
    }
    if (verdict == KOFN_VERDICT_KEPT)
        return;
    if (verdict == KOFN_VERDICT_LATE)
        receipt(history, rank, stamp, KOFN_OUTCOME_LATE);
    else if (verdict == KOFN_VERDICT_ADD)
        receipt(history, rank, stamp, KOFN_OUTCOME_MERGED);
    else if (verdict == KOFN_VERDICT_REFUSED)
        receipt(history, rank, stamp, KOFN_OUTCOME_REFUSED);
    if (verdict == KOFN_VERDICT_ADD && round->phase != KOFN_PHASE_OPEN)
        peer->released = stamp->sequence; /* its worker hears of it with the model */
    else
        release(history, rank, stamp->sequence);
}

static void drain(struct history *history, uint32_t rank)
{
    struct history_peer *peer = &history->peers[rank];

    for (uint32_t i = 0; i < peer->inbox_count; i++)
        take_in(history, rank, &peer->inbox[i]);
    peer->inbox_count = 0;
}

/* The oldest of @rank. */
static void take_one(struct history *history, uint32_t rank)
{
    struct history_peer *peer = &history->peers[rank];
    struct history_publication publication = peer->inbox[0];

    peer->inbox_count--;
    for (uint32_t i = 0; i < peer->inbox_count; i++)
        peer->inbox[i] = peer->inbox[i + 1];
    take_in(history, rank, &publication);
}

/* serve.c, kofn__serve_arrivals(): true if more is there than may be taken in before the merge. */
static bool take_arrivals(struct history *history)
{
    for (;;) {
        bool any = false;

        for (uint32_t rank = 0; rank < history->round.config.workers; rank++) {
            if (!history->peers[rank].inbox_count)
                continue;
            if (!kofn_round_room(&history->round))
                return true;
            take_one(history, rank);
            any = true;
        }
        if (!any)
            return false;
    }
}

static void take_beats(struct history *history)
{
    for (uint32_t rank = 0; rank < history->round.config.workers; rank++) {
        struct history_peer *peer = &history->peers[rank];

        if (!peer->beat_new || peer->evicted)
            continue;
        peer->beat_new = false;
        kofn_round_beat(&history->round, rank, peer->beat, history->now);
        if (see(history, rank, peer->beat.round, peer->beat.updates) &&
            history->round.members[rank].state == KOFN_MEMBER_SUSPECT)
            history_fail(history, "rank %u gets on and is suspect all the same", rank);
    }
}

/* merge.c, make_model(): members whose bytes cannot be used are rejected. */
static void reject_bad(struct history *history)
{
    for (uint32_t rank = 0; rank < history->round.config.workers; rank++) {
        const struct kofn_stamp *held = &history->round.members[rank].held;
        const struct history_publication *publication =
            &history->peers[rank].known[held->sequence % HISTORY_RING];
        bool torn = history->kind == HISTORY_WILD && history_chance(history, 50);

        if (!held->sequence || !(publication->bad || torn))
            continue;
        history->counts.bad += publication->bad;
        history->counts.torn += !publication->bad;
        kofn_round_reject(&history->round, rank);
        history_check_settled(history, rank, publication, FATE_REFUSED);
        receipt(history, rank, &publication->stamp, KOFN_OUTCOME_REFUSED);
        history->peers[rank].released = history->peers[rank].sequence;
    }
}

static void merge(struct history *history)
{
    struct kofn_round *round = &history->round;

    reject_bad(history);
    history_check_merge(history);
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_stamp *held = &round->members[rank].held;

        if (!held->sequence)
            continue;
        history_check_settled(
            history, rank, &history->peers[rank].known[held->sequence % HISTORY_RING], FATE_MERGED);
        receipt(history, rank, held, KOFN_OUTCOME_MERGED);
        history->peers[rank].released = history->peers[rank].sequence;
    }
    kofn_round_settle(round);
    history->version++;
    history->gates_closed = false;
    history->added = history->spoilt = 0;
    kofn_round_next(round, history->now);
    if (history->stopping) {
        kofn_round_end(round);
        history->stopped = true;
    }
    gates(history);
}

static void serve(struct history *history)
{
    struct kofn_round *round = &history->round;

    if (history->now < history->busy_ns)
        return;
    while (take_arrivals(history) && round->phase == KOFN_PHASE_READY)
        merge(history);
    if (round->config.publish != KOFN_PUBLISH_EAGER)
        take_beats(history);
    if (round->phase == KOFN_PHASE_COLLECTING && !history->gates_closed) {
        history->gates_closed = true;
        gates(history);
    }
    if (round->phase == KOFN_PHASE_READY)
        merge(history);
}

/* server.c, close_last_round(): sometimes it has no patience with those who still owe. */
static void stop(struct history *history)
{
    if (history->round.phase == KOFN_PHASE_OPEN)
        kofn_round_stop(&history->round, history->now);
    else if (history->stopping && history_chance(history, 4))
        kofn_round_stop(&history->round, history->now);
    history->stopping = true;
}

static bool all_have_left(const struct history *history)
{
    for (uint32_t rank = 0; rank < history->round.config.workers; rank++)
        if (kofn_member_connected(&history->round.members[rank]))
            return false;
    return true;
}

/* What happens when the server has time; and the job ends when enough rounds are done or when
 * nobody is there and nobody comes.
 */
static void tick(struct history *history)
{
    struct history_event next = {.kind = EVENT_TICK,
                                 .time = KOFN_MAX(history->now + HISTORY_TICK, history->busy_ns)};

    if (history->now >= history->busy_ns) {
        serve(history);
        take_beats(history);
        kofn_round_tick(&history->round, history->now);
        if (!history->stopped && (history->round.number > history->rounds_wanted ||
                                  (all_have_left(history) && history_chance(history, 50))))
            stop(history);
        serve(history);
        history_check_tick(history);
    }
    history->over = history->stopped && all_have_left(history);
    if (!history->over)
        history_post(history, next);
}

/* A worker has left, or its death is noticed: what has arrived of it is taken in before. */
static void part(struct history *history, const struct history_event *event)
{
    struct history_peer *peer = &history->peers[event->rank];
    struct history_event again = *event;

    if (peer->evicted || event->generation != peer->epoch)
        return;
    if (history->now < history->busy_ns) {
        again.time = history->busy_ns;
        history_post(history, again);
        return;
    }
    if (peer->inbox_count)
        history->parted_in = history->round.number;
    drain(history, event->rank);
    kofn_round_leave(&history->round, event->rank, event->u.control.in_order,
                     event->u.control.total, history->now);
    peer->evicted = true;
    peer->beat_new = false;
    serve(history);
}

void history_server_event(struct history *history, const struct history_event *event)
{
    struct history_peer *peer = &history->peers[event->rank];

    if (event->kind == EVENT_TICK) {
        tick(history);
        return;
    }
    if (event->kind == EVENT_CONTROL) {
        part(history, event);
        return;
    }
    if (peer->evicted || event->generation != peer->epoch)
        return; /* the transport has thrown it away */
    if (event->kind == EVENT_BEAT) {
        peer->beat = event->u.beat;
        peer->beat_new = true;
        if (history->round.config.publish == KOFN_PUBLISH_EAGER)
            return; /* looked at when the clock ticks */
    } else {
        if (event->u.publication.stamp.sequence > peer->released + KOFN_DEPTH)
            history_fail(history, "rank %u has published without a credit", event->rank);
        else
            peer->inbox[peer->inbox_count++] = event->u.publication;
    }
    serve(history);
}

bool history_server_admit(struct history *history, uint32_t rank)
{
    struct history_peer *peer = &history->peers[rank];
    const struct kofn_member *member = &history->round.members[rank];

    if (kofn_member_connected(member))
        return false;
    if (member->held.sequence && !history_chance(history, 8))
        return false; /* most of the time its slot is given back before it has waited for long */
    kofn_round_drop(&history->round, rank);
    peer->added_in = 0;
    peer->epoch++;
    peer->admitted = true;
    peer->evicted = peer->beat_new = false;
    peer->released = peer->sequence = 0;
    peer->inbox_count = 0;
    peer->seen_ns = history->now;
    peer->seen = (struct kofn_beat){0};
    kofn_round_join(&history->round, rank, peer->epoch, history->now);
    history_worker_join(history, rank, peer->epoch);
    gate(history, rank);
    return true;
}

void history_server_evict(struct history *history, uint32_t rank)
{
    struct history_peer *peer = &history->peers[rank];

    if (peer->evicted)
        return;
    send_gate(history, rank, KOFN_GATE_EVICTED);
    kofn_round_leave(&history->round, rank, false, 0, history->now);
    peer->evicted = true;
    peer->beat_new = false;
    peer->inbox_count = 0;
    history->workers[rank].died = true;
    history->counts.evictions++;
}
