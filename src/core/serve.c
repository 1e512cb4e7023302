#include "core/server.h"

#include <errno.h>

#include "proto/beats.h"

#define REFUSALS_SAID 3 /* of one worker; the table has the rest */
#define CLOSE_BYTES                                                                                \
    (64 *                                                                                          \
     1024u) /* models from here on take long enough to merge that workers should stop at once */

static enum kofn_gate_state gate_state(const struct kofn_server *server,
                                       const struct kofn_peer *peer)
{
    if (peer->expelled)
        return KOFN_GATE_EVICTED;
    if (server->stopped)
        return KOFN_GATE_END;
    return server->gates_closed ? KOFN_GATE_CLOSED : KOFN_GATE_OPEN;
}

void kofn__serve_gate(struct kofn_server *server, uint32_t rank)
{
    struct kofn_peer *peer = &server->peers[rank];
    struct kofn_gate gate = {.round = server->round.number,
                             .state = gate_state(server, peer),
                             .released = (uint32_t)(peer->released % 256)};

    if (peer->evicted && !peer->expelled)
        return; /* it is to find out that it has no connection any more */
    if (peer->admitted && (server->round.number || server->stopped))
        server->hub->ops->hub_gate(server->hub, rank, kofn_gate_pack(gate));
}

void kofn__serve_gates(struct kofn_server *server)
{
    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        if (!server->peers[rank].evicted)
            kofn__serve_gate(server, rank);
}

void kofn__serve_receipt(struct kofn_server *server, uint32_t rank, const struct kofn_stamp *stamp,
                         enum kofn_outcome outcome, uint32_t staleness, double weight)
{
    struct kofn_receipt_line line = {.made_in = stamp->round,
                                     .merged_in = server->round.number,
                                     .updates = stamp->updates,
                                     .staleness = staleness,
                                     .outcome = outcome,
                                     .weight = (float)weight,
                                     .sequence = stamp->sequence};

    if (outcome == KOFN_OUTCOME_REFUSED)
        line.merged_in = 0;
    if (!server->peers[rank].evicted)
        server->hub->ops->hub_receipt(server->hub, rank, &line);
}

void kofn__serve_complain(struct kofn_server *server, uint32_t rank, const struct kofn_stamp *stamp,
                          const char *why)
{
    struct kofn_peer *peer = &server->peers[rank];

    if (peer->refusals++ < REFUSALS_SAID)
        kofn_log(
            server->log, KOFN_LOG_WARN,
            "rank %u (%s, pid %u): its update of round %u is refused: %s; the model is untouched%s",
            rank, peer->host, peer->pid, stamp->round, why,
            peer->refusals == REFUSALS_SAID ? " (further ones are only counted)" : "");
}

static void release(struct kofn_server *server, uint32_t rank, uint64_t sequence)
{
    server->peers[rank].released = sequence;
    kofn__serve_gate(server, rank);
}

/* Are the bytes of a publication to be looked at as it arrives, because the round would count on
 * it? Not where all must be in anyhow: then K shrinks with those that the merge refuses.
 */
static bool counts_on(const struct kofn_server *server, uint32_t rank,
                      const struct kofn_stamp *stamp)
{
    return server->attr.wait_for < server->attr.workers &&
           kofn_round_counts(&server->round, rank, stamp);
}

/* Late updates are summed up as they arrive, so the sum is tried before the round counts them. Of
 * those on time, the one that makes its worker one of the K is looked at before it does; the others
 * are looked at when they are merged.
 */
static enum kofn_verdict judge(struct kofn_server *server, uint32_t rank,
                               const struct kofn_stamp *stamp, const void *payload, uint64_t now)
{
    struct kofn_round *round = &server->round;
    const char *why = NULL;
    float factor;
    int rc;

    if (kofn_round_sums(round, rank, stamp, &factor)) {
        why = kofn__merge_late(server, rank, stamp, payload, factor);
    } else if (counts_on(server, rank, stamp)) {
        rc = kofn__merge_check(server, rank, stamp->sequence, payload);
        why = rc ? kofn_status_text(rc) : NULL;
    }
    if (!why)
        return kofn_round_arrive(round, rank, stamp, now);
    kofn__serve_complain(server, rank, stamp, why);
    return kofn_round_refuse(round, rank, stamp, now);
}

/* Keeps in mind what @rank is to be told of @stamp. */
static void note_late(struct kofn_server *server, uint32_t rank, const struct kofn_stamp *stamp,
                      enum kofn_outcome outcome)
{
    struct kofn_peer *peer = &server->peers[rank];

    peer->late[peer->late_count++ % KOFN_LATE_RECEIPTS] = (struct kofn_late_line){
        *stamp, outcome, server->round.number - stamp->version, server->round.factor};
}

/* @stamp is refused; said at once, unless the fate of an earlier one has to be said before. */
static void tell_refused(struct kofn_server *server, uint32_t rank, const struct kofn_stamp *stamp)
{
    if (server->peers[rank].late_count)
        note_late(server, rank, stamp, KOFN_OUTCOME_REFUSED);
    else
        kofn__serve_receipt(server, rank, stamp, KOFN_OUTCOME_REFUSED,
                            server->round.number - stamp->version, 0);
}

static void take_in(struct kofn_server *server, uint32_t rank, const struct kofn_stamp *stamp,
                    const void *payload, uint64_t now)
{
    struct kofn_peer *peer = &server->peers[rank];

    peer->sequence = stamp->sequence;
    peer->read_round = stamp->round;
    peer->read_updates = stamp->updates;
    server->bytes += stamp->length;
    switch (judge(server, rank, stamp, payload, now)) {
    case KOFN_VERDICT_HOLD: /* all before it are superseded; of what is read nobody waits for that
                             */
        if (server->attr.publish != KOFN_PUBLISH_PULL && peer->released + 1 < stamp->sequence)
            release(server, rank, stamp->sequence - 1);
        return;
    case KOFN_VERDICT_KEPT:
        return;
    case KOFN_VERDICT_ADD:
        note_late(server, rank, stamp, KOFN_OUTCOME_MERGED);
        server->late_loss += (double)stamp->loss * (stamp->updates - stamp->from);
        if (server->round.phase == KOFN_PHASE_OPEN)
            break;
        peer->released = stamp->sequence; /* its worker hears of it with the model that it made */
        return;
    case KOFN_VERDICT_LATE:
        note_late(server, rank, stamp, KOFN_OUTCOME_LATE);
        server->late_loss += (double)stamp->loss * (stamp->updates - stamp->from);
        break;
    case KOFN_VERDICT_REFUSED:
        tell_refused(server, rank, stamp);
        break;
    case KOFN_VERDICT_COVERED:
        break;
    }
    release(server, rank, stamp->sequence);
}

/* The stamp is the first thing looked at, and nothing of it is used before it has been found valid.
 */
static void arrival(struct kofn_server *server, const struct kofn_arrival *arrival, uint64_t now)
{
    struct kofn_hub *hub = server->hub;
    const struct kofn_peer *peer = &server->peers[arrival->rank];
    struct kofn_stamp stamp;
    const void *payload;
    const char *why;

    if (!peer->admitted || peer->evicted)
        return;
    if (kofn_slot_begin(&hub->slot, kofn_hub_slot(hub, arrival->rank), arrival->sequence, &payload,
                        &stamp))
        return; /* withdrawn again: its writer had no credit to write there, and has no publication
                   now */
    if (!kofn_stamp_valid(&stamp, &hub->slot, peer->epoch, server->round.number, &why))
        kofn__admit_evict(server, arrival->rank, why);
    else
        take_in(server, arrival->rank, &stamp, payload, now);
}

/* A connection to @rank's member has failed. Its control channel is closed as well, so that it
 * comes to know at once, if it lives.
 */
static void connection_failed(struct kofn_server *server, uint32_t rank)
{
    struct kofn_peer *peer = &server->peers[rank];

    kofn__admit_gone(server, rank, "its connection has failed", true);
    if (peer->network) {
        kofn_channel_close(peer->control);
        peer->control = NULL;
    }
}

bool kofn__serve_arrivals(struct kofn_server *server)
{
    struct kofn_arrival found[KOFN_ARRIVALS];
    int room = (int)KOFN_MIN(kofn_round_room(&server->round), (uint32_t)KOFN_ARRIVALS);
    int count = room ? server->hub->ops->hub_poll(server->hub, found, room) : 0;
    uint64_t now;

    if (count == KOFN_GONE)
        connection_failed(server, found[0].rank);
    if (count <= 0)
        return count == KOFN_GONE;
    now = kofn_now_ns();
    for (int i = 0; i < count; i++)
        arrival(server, &found[i], now);
    return true;
}

static void beats(struct kofn_server *server, uint64_t now)
{
    struct kofn_hub *hub = server->hub;
    uint32_t count = kofn_beats_scan(hub->beats, hub->beat_stride, server->beats_seen, hub->workers,
                                     server->beats_changed, hub->workers);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t rank = server->beats_changed[i];
        struct kofn_beat beat;

        /* a torn word is reported again as soon as it is whole */
        if (!server->peers[rank].admitted || !kofn_beat_unpack(server->beats_seen[rank], &beat))
            continue;
        kofn_round_beat(&server->round, rank, beat, now);
        kofn__pull_late(server, rank);
    }
}

static int tick(struct kofn_server *server, uint64_t now)
{
    int rc;

    server->tick_ns = now + KOFN_TICK_NS;
    if (__atomic_exchange_n(&server->interrupted, false, __ATOMIC_RELAXED))
        return KOFN_INTERRUPTED;
    rc = kofn__admit_look(server, now, 0);
    if (rc)
        return rc;
    now = kofn_now_ns(); /* who has joined or gone did so at times of their own */
    beats(server, now);
    kofn_round_tick(&server->round, now);
    kofn__pull_all_late(server);
    kofn__report_states(server);
    return 0;
}

/* A round that collects, or that will take long to merge, is closed for the workers at once. */
static void close_gates(struct kofn_server *server)
{
    bool goes_on = kofn_algorithm_goes_on(server->round.config.algorithm);

    if (server->gates_closed || server->round.phase == KOFN_PHASE_OPEN)
        return;
    if (server->round.phase == KOFN_PHASE_READY &&
        (!goes_on || server->hub->slot.payload_bytes < CLOSE_BYTES))
        return;
    server->gates_closed = true;
    kofn__serve_gates(server);
}

/* How many publications are worth waking up for. Where all is published, beats can wait for the
 * tick; where workers wait for the round to close, so can all publications but the last.
 */
static uint32_t patience(const struct kofn_round *round)
{
    if (round->config.publish != KOFN_PUBLISH_EAGER)
        return 0;
    if (round->config.algorithm->worker_may != KOFN_WORKER_WAITS ||
        round->reached >= round->wait_for)
        return 1;
    return round->wait_for - round->reached;
}

int kofn__serve(struct kofn_server *server, uint64_t deadline)
{
    struct kofn_hub *hub = server->hub;
    bool any = kofn__serve_arrivals(server);
    uint64_t now = kofn_now_ns();
    int rc = 0;

    if (server->round.config.publish != KOFN_PUBLISH_EAGER)
        beats(server, now);
    if (now >= server->tick_ns)
        rc = tick(server, now);
    close_gates(server);
    kofn__pull_owed(server);
    if (rc || any || server->round.phase == KOFN_PHASE_READY)
        return rc;
    hub->patience = patience(&server->round);
    rc = hub->ops->hub_wait(hub, KOFN_MIN(deadline, server->tick_ns));
    return rc == KOFN_INTERRUPTED ? 0 : rc; /* a signal that matters has set `interrupted` */
}
