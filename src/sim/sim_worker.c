/* sim_worker.c: the workers of a simulation: src/core/take.c, update.c and publish.c, without
 * waiting. Where those would sleep, a change of the gate calls again.
 */
#include <math.h>

#include "sim/inside.h"

static struct kofn_gate gate_of(const struct kofn_sim_worker *worker)
{
    return (struct kofn_gate){.round = worker->gate_round, .state = worker->gate_state};
}

static bool over(const struct kofn_sim *sim, const struct kofn_sim_worker *worker)
{
    return kofn_manners_over(&sim->manners, gate_of(worker), worker->round);
}

/* What has been released has left long ago: that needs no question of its own. */
static bool credit(const struct kofn_sim_worker *worker)
{
    return worker->sequence + 1 - worker->released <= KOFN_DEPTH;
}

static uint32_t short_of(uint64_t ns)
{
    return (uint32_t)KOFN_MIN(ns, UINT32_MAX);
}

/* The buffer of the next publication is filled: stamps it and sends it. */
void kofn_sim_publish(struct kofn_sim *sim, uint32_t rank, uint32_t from)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    struct kofn_stamp stamp = {
        .epoch = 1,
        .round = worker->round,
        .version = worker->taken,
        .from = from,
        .updates = worker->updates,
        .total = worker->total,
        .loss = (float)(worker->loss_sum / (worker->updates - (sim->manners.each ? from : 0))),
        .length = sim->attr.payload_bytes,
        .compute_ns = worker->compute_ns,
        .wait_ns = worker->starved_ns ? short_of(sim->now - worker->starved_ns) : 0,
        .sequence = ++worker->sequence,
    };

    worker->published = worker->updates;
    if (sim->manners.each)
        worker->loss_sum = 0;
    if (!worker->first) {
        worker->first = stamp.sequence;
        worker->first_updates = worker->updates;
    }
    worker->starved_ns = 0;
    worker->sent = true;
    if (sim->manners.keeps)
        worker->stamps[stamp.sequence % KOFN_SIM_RING] = stamp;
    else
        kofn_sim_send_data(sim, rank, &stamp);
}

void kofn_sim_publish_all(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    kofn_sim_bytes_fill(sim, rank, worker->sequence + 1, 0);
    kofn_sim_publish(sim, rank, sim->manners.each ? worker->published : 0);
}

/* publish.c, settled_publication() */
static uint64_t settled_publication(const struct kofn_sim *sim,
                                    const struct kofn_sim_worker *worker, uint32_t *updates)
{
    *updates = worker->first ? worker->first_updates : 0;
    for (uint64_t s = worker->sequence; s && s + KOFN_DEPTH > worker->sequence; s--) {
        const struct kofn_sim_receipt *receipt = &worker->receipts[s % KOFN_SIM_RING];

        if (receipt->sequence == s && receipt->made_in == worker->round &&
            receipt->seen_ns <= sim->now) {
            *updates = receipt->updates;
            return s;
        }
    }
    return worker->first;
}

/* publish.c, kofn__publish_late(): false if it has to wait for a credit. */
static bool publish_late(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    uint64_t settled;
    uint32_t updates;

    if (sim->manners.keeps)
        return kofn_sim_keep_late(sim, rank);
    if (worker->late_sent || !kofn_manners_late(&sim->manners, worker->updates, worker->published))
        return true;
    settled = settled_publication(sim, worker, &updates);
    if (updates == worker->updates)
        return true;
    if (!credit(worker))
        return false;
    worker->late_sent = true;
    kofn_sim_bytes_fill(sim, rank, worker->sequence + 1, updates ? settled : 0);
    kofn_sim_publish(sim, rank, updates);
    return true;
}

/* What a local update takes that @worker turns to at @now, ns, if its delay is @ns. */
static uint64_t cost(const struct kofn_sim *sim, const struct kofn_sim_worker *worker, uint64_t now,
                     double ns)
{
    if (sim->attr.straggler_count)
        ns *= kofn_straggler_factor(sim->attr.stragglers, sim->attr.straggler_count,
                                    worker->delays.rank, now - 1);
    ns = ns < (double)KOFN_DURATION_MAX ? ns : (double)KOFN_DURATION_MAX;
    return ns < 1 ? 1 : (uint64_t)(ns + 0.5);
}

/* When the update ends that makes @worker, which computes, one of the K (it may be one already), or
 * the last one that can be foreseen: each before it is published.
 */
static uint64_t foresee(const struct kofn_sim *sim, struct kofn_sim_worker *worker)
{
    const struct kofn_delay *delay = sim->attr.delay;
    uint64_t time = worker->due_ns;
    uint32_t more;

    if (worker->updates >= worker->steps)
        return KOFN_FOREVER;
    more = KOFN_MIN(worker->steps - worker->updates - 1, KOFN_DELAY_AHEAD);
    for (uint32_t i = 0; i < more; i++) {
        double ns = kofn_delay_peek(delay, &worker->delays, worker->round, i);

        time =
            kofn_deadline(kofn_deadline(time, sim->attr.publish_ns), cost(sim, worker, time, ns));
    }
    return time;
}

static void set_timer(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (sim->one_timer)
        return;
    if (sim->lags) {
        if (worker->due_ns <= worker->timer_ns)
            return; /* it lags: the timer is set for a later update, or this one */
        worker->timer_ns = foresee(sim, worker);
    }
    kofn_timers_set(&sim->timers, rank, sim->lags ? worker->timer_ns : worker->due_ns);
}

static void compute(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    double ns;

    if (sim->manners.gradient && !sim->manners.keeps && !credit(worker)) {
        worker->activity = KOFN_SIM_HALTS;
        kofn_timers_set(&sim->timers, rank, KOFN_FOREVER);
        return;
    }
    worker->activity = KOFN_SIM_COMPUTES;
    worker->begin_ns = kofn_deadline(sim->now, worker->sent ? sim->attr.publish_ns : 0);
    worker->sent = false;
    ns = kofn_delay_next(sim->attr.delay, &worker->delays, worker->round);
    worker->due_ns = kofn_deadline(worker->begin_ns, cost(sim, worker, sim->now, ns));
    kofn_sim_bytes_begin(sim, rank, worker->due_ns);
    set_timer(sim, rank);
}

/* The update in progress has ended. */
static void ended(struct kofn_sim *sim, uint32_t rank, bool cancelled)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    struct kofn_trace_record record;
    uint64_t took;

    if (sim->now < worker->begin_ns)
        return; /* it had not even begun: the worker was still sending */
    took = sim->now - worker->begin_ns;
    worker->busy_ns += took;
    if (!sim->attr.updated)
        return;
    record = (struct kofn_trace_record){.rank = rank,
                                        .round = worker->round,
                                        .update = worker->updates,
                                        .cancelled = cancelled,
                                        .start_ns = worker->begin_ns - 1};
    record.compute_ns = (uint64_t)(sim->attr.compute_share * (double)took);
    record.delay_ns = took - record.compute_ns;
    sim->attr.updated(sim->attr.arg, &record);
}

/* Has the closed round work of this worker that the server waits for? */
static bool owed(const struct kofn_sim *sim, const struct kofn_sim_worker *worker)
{
    return kofn_manners_owed(&sim->manners, gate_of(worker), worker->round, worker->updates,
                             worker->published, worker->steps);
}

/* Where no message costs anything the model that is made in this moment is the newest. */
static bool may_take(const struct kofn_sim *sim, const struct kofn_sim_worker *worker)
{
    return !(sim->instant && sim->round.phase == KOFN_PHASE_READY) &&
           kofn_manners_may_take(&sim->manners, gate_of(worker), worker->round,
                                 worker->released == worker->sequence);
}

static void begin_round(struct kofn_sim_worker *worker, uint32_t round)
{
    worker->round = round;
    worker->updates = worker->published = 0;
    worker->first = worker->late = 0;
    worker->late_sent = false;
    worker->compute_ns = 0;
    worker->loss_sum = 0;
    worker->starved_ns = 0;
    worker->timer_ns = 0;
}

/* take.c, pull() */
static void pull(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (!credit(worker))
        return;
    worker->taken = sim->round.number;
    worker->steps = sim->round.config.local_steps;
    kofn_sim_bytes_pull(sim, rank, worker->sequence + 1);
    kofn_sim_publish(sim, rank, 0);
    begin_round(worker, worker->taken + 1);
    kofn_sim_send_beat(sim, rank);
    compute(sim, rank);
}

/* kofn_worker_take(), without setting the timer of one that waits then. */
static void go_as_far(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    worker->activity = KOFN_SIM_WAITS;
    if (!may_take(sim, worker)) {
        if (owed(sim, worker) && credit(worker))
            kofn_sim_publish_all(sim, rank);
        return;
    }
    if (sim->manners.ahead && worker->round) {
        pull(sim, rank);
        return;
    }
    if (!publish_late(sim, rank))
        return;
    if (worker->gate_round != worker->round)
        begin_round(worker, worker->gate_round);
    worker->taken = worker->round;
    worker->steps = sim->round.config.local_steps;
    kofn_sim_bytes_take(sim, rank);
    kofn_sim_send_beat(sim, rank);
    compute(sim, rank);
}

/* kofn_worker_take(): goes as far as the gate allows. */
static void take(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    bool ran = worker->activity == KOFN_SIM_COMPUTES || worker->activity == KOFN_SIM_CUT;

    go_as_far(sim, rank);
    if (ran && worker->activity == KOFN_SIM_WAITS && !sim->one_timer)
        kofn_timers_set(&sim->timers, rank, KOFN_FOREVER);
}

/* Sends the round's work if there is a credit; else the next publication carries this update as
 * well.
 */
static bool publish_eagerly(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (credit(worker)) {
        kofn_sim_publish_all(sim, rank);
        return true;
    }
    worker->starved_ns = worker->starved_ns ? worker->starved_ns : sim->now;
    return false;
}

/* kofn_worker_report(); false if those who wait anyway have to wait for their credit first. */
static bool report(struct kofn_sim *sim, uint32_t rank, bool last)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    bool is_over = over(sim, worker);

    switch (kofn_manners_deed(&sim->manners, last, is_over)) {
    case KOFN_DEED_KEEP:
        kofn_sim_keep(sim, rank, is_over);
        return true;
    case KOFN_DEED_LAST:
        return (!sim->manners.gradient && is_over) || publish_eagerly(sim, rank);
    case KOFN_DEED_PUBLISH:
        if (publish_eagerly(sim, rank))
            return true;
        break;
    case KOFN_DEED_BEAT:
        break;
    }
    kofn_sim_send_beat(sim, rank);
    return true;
}

static void go_on(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    bool last = kofn_manners_last(&sim->manners, worker->updates, worker->published, worker->steps);

    if (!report(sim, rank, last)) {
        worker->activity = KOFN_SIM_STARVES;
        kofn_timers_set(&sim->timers, rank, KOFN_FOREVER);
    } else if (kofn_manners_done(&sim->manners, last, over(sim, worker))) {
        take(sim, rank);
    } else if (sim->attr.most_steps && worker->updates >= sim->attr.most_steps) {
        worker->activity = KOFN_SIM_WAITS;
        kofn_timers_set(&sim->timers, rank, KOFN_FOREVER);
    } else {
        compute(sim, rank);
    }
}

static void drop(struct kofn_sim *sim, uint32_t rank)
{
    ended(sim, rank, true);
    kofn_sim_bytes_drop(sim, rank);
    take(sim, rank);
}

/* The round is over while @rank is at an update: it goes on as long as it does not look up. */
static void cut(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    uint64_t until = worker->begin_ns;

    if (sim->attr.compute_share >= 1) { /* it finishes it */
        if (sim->lags)
            kofn_timers_set(&sim->timers, rank, worker->due_ns);
        return;
    }
    until += (uint64_t)(sim->attr.compute_share * (double)(worker->due_ns - worker->begin_ns));
    if (sim->attr.compute_share > 0 && until > sim->now) {
        worker->activity = KOFN_SIM_CUT;
        kofn_timers_set(&sim->timers, rank, until);
        return;
    }
    sim->events++;
    drop(sim, rank);
}

void kofn_sim_worker_finish(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (worker->activity == KOFN_SIM_CUT || (sim->manners.cancels && over(sim, worker))) {
        drop(sim, rank);
        return;
    }
    ended(sim, rank, false);
    worker->loss_sum += (double)kofn_sim_bytes_finish(sim, rank);
    worker->updates++;
    worker->total++;
    worker->compute_ns += sim->now - worker->begin_ns;
    go_on(sim, rank);
}

void kofn_sim_worker_gate(struct kofn_sim *sim, uint32_t rank, uint32_t round, uint8_t state,
                          uint64_t released)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    worker->gate_round = round;
    worker->gate_state = state;
    worker->released = released;
    if (worker->activity == KOFN_SIM_WAITS ||
        (worker->activity == KOFN_SIM_HALTS && over(sim, worker))) {
        take(sim, rank);
    } else if (worker->activity == KOFN_SIM_STARVES) {
        go_on(sim, rank);
    } else if (worker->activity == KOFN_SIM_HALTS) {
        if (credit(worker))
            compute(sim, rank);
    } else if (worker->activity == KOFN_SIM_COMPUTES && over(sim, worker)) {
        cut(sim, rank);
    }
}
