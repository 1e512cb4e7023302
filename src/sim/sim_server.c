/* sim_server.c: the server of a simulation: src/core/serve.c and merge.c, without I/O. */
#include "sim/inside.h"

#include "round/account.h"

#define CLOSE_BYTES                                                                                \
    (64 * 1024u) /* as serve.c: models from here on are announced by a closing gate */

static void release(struct kofn_sim *sim, uint32_t rank, uint64_t sequence)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    worker->granted = sequence;
    if (sim->instant && worker->activity != KOFN_SIM_STARVES)
        worker->released = sequence; /* nobody waits for it */
    else
        kofn_sim_send_gate(sim, rank, false);
}

static void receipt(struct kofn_sim *sim, uint32_t rank, const struct kofn_stamp *stamp)
{
    sim->workers[rank].receipts[stamp->sequence % KOFN_SIM_RING] =
        (struct kofn_sim_receipt){.sequence = stamp->sequence,
                                  .seen_ns = kofn_deadline(sim->now, sim->attr.net.latency_ns),
                                  .made_in = stamp->round,
                                  .updates = stamp->updates};
}

/* serve.c, judge() */
static enum kofn_verdict judge(struct kofn_sim *sim, uint32_t rank, const struct kofn_stamp *stamp)
{
    struct kofn_round *round = &sim->round;
    float factor;

    if (!sim->parameters || !kofn_round_sums(round, rank, stamp, &factor) ||
        kofn_sim_bytes_sum(sim, rank, stamp->sequence, factor))
        return kofn_round_arrive(round, rank, stamp, sim->now);
    return kofn_round_refuse(round, rank, stamp, sim->now);
}

void kofn_sim_server_data(struct kofn_sim *sim, uint32_t rank, const struct kofn_stamp *stamp)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    uint64_t sequence = stamp->sequence;

    sim->bytes += stamp->length;
    if (sim->manners.keeps) {
        worker->reading = false;
        worker->read = sequence;
        worker->read_round = stamp->round;
        worker->read_updates = stamp->updates;
    }
    switch (judge(sim, rank, stamp)) {
    case KOFN_VERDICT_HOLD: /* all before it are superseded */
        if (!sim->manners.keeps && worker->granted + 1 < sequence)
            release(sim, rank, sequence - 1);
        return;
    case KOFN_VERDICT_KEPT:
        return;
    case KOFN_VERDICT_ADD:
        sim->loss_sum += (double)stamp->loss * (stamp->updates - stamp->from);
        receipt(sim, rank, stamp);
        if (sim->instant || sim->round.phase == KOFN_PHASE_OPEN)
            break;
        worker->granted = sequence; /* its worker hears of it with the model that it made */
        return;
    case KOFN_VERDICT_LATE:
        sim->loss_sum += (double)stamp->loss * (stamp->updates - stamp->from);
        receipt(sim, rank, stamp);
        break;
    case KOFN_VERDICT_REFUSED:
        receipt(sim, rank, stamp);
        break;
    case KOFN_VERDICT_COVERED:
        break;
    }
    release(sim, rank, sequence);
}

void kofn_sim_server_beat(struct kofn_sim *sim, uint32_t rank, struct kofn_beat beat)
{
    kofn_round_beat(&sim->round, rank, beat, sim->now);
    if (sim->manners.keeps)
        kofn_sim_read_late(sim, rank);
}

static void send_gates(struct kofn_sim *sim, bool opens)
{
    /* where a closing round cuts off everybody, all timers change: they are put in order once */
    bool many = !sim->manners.stale && !sim->one_timer;

    if (many)
        kofn_timers_begin(&sim->timers);
    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++)
        kofn_sim_send_gate(sim, rank, opens);
    if (many)
        kofn_timers_end(&sim->timers);
}

void kofn_sim_server_close_gates(struct kofn_sim *sim)
{
    bool goes_on = kofn_algorithm_goes_on(sim->algorithm);

    if (sim->gates_closed || sim->round.phase == KOFN_PHASE_OPEN)
        return;
    if (sim->round.phase == KOFN_PHASE_READY &&
        (sim->instant || !goes_on || sim->attr.payload_bytes < CLOSE_BYTES))
        return;
    sim->gates_closed = true;
    send_gates(sim, false);
}

void kofn_sim_server_open(struct kofn_sim *sim)
{
    sim->bytes = sim->merged_updates = 0;
    sim->loss_sum = 0;
    sim->gates_closed = false;
    kofn_round_next(&sim->round, sim->now);
    if (sim->attr.net.ring)
        kofn_ring_reduce(&sim->ring, &sim->attr.net, (double)sim->attr.payload_bytes, &sim->random);
    send_gates(sim, true);
    kofn_sim_lag_plan(sim);
    if (sim->manners.keeps)
        kofn_sim_read_all_late(sim);
}

static void account(struct kofn_sim *sim)
{
    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++) {
        const struct kofn_stamp *held = &sim->round.members[rank].held;
        uint32_t updates = held->updates - held->from;

        if (!held->sequence)
            continue;
        sim->merged_updates += updates;
        sim->loss_sum += (double)held->loss * updates;
        receipt(sim, rank, held);
        sim->workers[rank].granted = held->sequence; /* its next gate says so */
    }
    sim->merged_updates += sim->round.late_updates + sim->round.added_updates;
}

void kofn_sim_reject(struct kofn_sim *sim, uint32_t rank)
{
    const struct kofn_stamp held = sim->round.members[rank].held;

    kofn_round_reject(&sim->round, rank);
    receipt(sim, rank, &held);
    sim->workers[rank].granted = held.sequence;
}

/* Refuses the held update with most local updates in it, unless it is the only one. */
static void leave_out_most(struct kofn_sim *sim)
{
    uint32_t most = 0, found = 0;

    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++) {
        const struct kofn_stamp *held = &sim->round.members[rank].held;

        if (held->sequence && held->updates > found) {
            found = held->updates;
            most = rank;
        }
    }
    if (sim->round.holding < 2)
        return;
    kofn_sim_reject(sim, most);
}

void kofn_sim_server_merge(struct kofn_sim *sim)
{
    if (sim->attr.leave_out_most)
        leave_out_most(sim);
    kofn_sim_bytes_merge(sim);
    account(sim);
    if (sim->attr.closed)
        sim->attr.closed(sim->attr.arg, &sim->round);
    kofn_round_settle(&sim->round);
    sim->bytes += (uint64_t)sim->round.available * sim->attr.payload_bytes;
}
