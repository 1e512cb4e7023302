/* sim_kept.c: publications that are kept and read: src/core/kept.c and pull.c. */
#include "sim/inside.h"

/* ---- workers ---- */

void kofn_sim_keep(struct kofn_sim *sim, uint32_t rank, bool over)
{
    const struct kofn_sim_worker *worker = &sim->workers[rank];

    if (over && worker->first)
        return;
    if (worker->updates >= kofn_manners_least(&sim->manners, worker->steps))
        kofn_sim_publish_all(sim, rank);
    kofn_sim_send_beat(sim, rank);
}

/* kept.c, settled_snapshot() */
static uint64_t settled_snapshot(const struct kofn_sim *sim, const struct kofn_sim_worker *worker,
                                 uint32_t *updates)
{
    const struct kofn_stamp *named = &worker->stamps[worker->released % KOFN_SIM_RING];

    *updates = 0;
    for (uint64_t s = worker->sequence; s && s + KOFN_SIM_RING > worker->sequence; s--) {
        const struct kofn_sim_receipt *receipt = &worker->receipts[s % KOFN_SIM_RING];

        if (receipt->sequence == s && receipt->made_in == worker->round &&
            receipt->seen_ns <= sim->now) {
            *updates = receipt->updates;
            return s;
        }
    }
    if (!worker->first || worker->released < worker->first || named->sequence != worker->released)
        return 0;
    *updates = named->updates;
    return worker->released;
}

/* kept.c, keep_late() */
static void keep_rest(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    uint32_t updates;
    uint64_t settled = settled_snapshot(sim, worker, &updates);
    bool there = worker->sequence - settled < KOFN_DEPTH_PULL;

    if (updates >= worker->updates)
        return;
    if (settled && there) {
        kofn_sim_bytes_fill(sim, rank, worker->sequence + 1, settled);
        kofn_sim_publish(sim, rank, updates);
    } else if (!settled && worker->published != worker->updates) {
        kofn_sim_publish_all(sim, rank);
    }
    if (!settled || there)
        worker->late = worker->sequence;
    kofn_sim_send_beat(sim, rank);
}

bool kofn_sim_keep_late(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (!worker->updates)
        return true;
    if (!worker->late_sent) {
        worker->late_sent = true;
        keep_rest(sim, rank);
    }
    return worker->released >= worker->late;
}

void kofn_sim_asked(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (worker->sequence > worker->read)
        kofn_sim_send_data(sim, rank, &worker->stamps[worker->sequence % KOFN_SIM_RING]);
    else
        worker->reading = false;
}

/* ---- the server ---- */

static void start(struct kofn_sim *sim, uint32_t rank)
{
    if (sim->workers[rank].reading)
        return;
    sim->workers[rank].reading = true;
    kofn_sim_send_read(sim, rank);
}

bool kofn_sim_read_whole(struct kofn_sim *sim, uint32_t rank, uint64_t sequence)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (worker->sequence - sequence < KOFN_DEPTH_PULL)
        return true;
    worker->reading = false;
    start(sim, rank);
    return false;
}

void kofn_sim_read_owed(struct kofn_sim *sim)
{
    for (uint32_t rank = 0;
         rank < sim->attr.round.workers && sim->round.phase == KOFN_PHASE_COLLECTING; rank++)
        if (sim->round.members[rank].owing)
            start(sim, rank);
}

void kofn_sim_read_late(struct kofn_sim *sim, uint32_t rank)
{
    const struct kofn_sim_worker *worker = &sim->workers[rank];
    const struct kofn_member *member = &sim->round.members[rank];
    bool read = member->round == worker->read_round && member->updates <= worker->read_updates;

    if (sim->round.phase == KOFN_PHASE_COLLECTING && member->owing)
        start(sim, rank);
    else if (member->round < sim->round.number && !read &&
             member->updates > kofn_member_settled(member, member->round))
        start(sim, rank);
}

void kofn_sim_read_all_late(struct kofn_sim *sim)
{
    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++)
        kofn_sim_read_late(sim, rank);
}
