/* The workers of a history: src/core/worker.c and publish.c without bytes. */
#include "tests/unit/history.h"

#define DEPTH 2u

/* The time at which a message sent now arrives: not before the one ahead of it. */
static uint64_t arrival_time(struct history *history, uint64_t *last, uint64_t most)
{
    uint64_t time = history->now + history_below(history, most + 1);

    *last = KOFN_MAX(*last, time);
    return *last;
}

static bool over(const struct history_worker *worker)
{
    return worker->gate.round > worker->round || worker->gate.state == KOFN_GATE_END ||
           worker->gate.state == KOFN_GATE_EVICTED ||
           (worker->gate.round == worker->round && worker->gate.state == KOFN_GATE_CLOSED);
}

static bool credit(const struct history_worker *worker)
{
    struct kofn_geometry geometry = {.depth = DEPTH};

    return worker->gate.state &&
           kofn_credit_granted(&geometry, worker->sequence + 1, worker->gate.released);
}

static void send_beat(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];
    struct history_event event = {
        .kind = EVENT_BEAT, .rank = rank, .generation = worker->generation};

    event.u.beat = (struct kofn_beat){worker->round, worker->updates};
    event.time = arrival_time(history, &worker->beat_ns, history->word_delay);
    history_post(history, event);
}

static void publish(struct history *history, uint32_t rank, uint32_t from)
{
    struct history_worker *worker = &history->workers[rank];
    struct history_event event = {
        .kind = EVENT_DATA, .rank = rank, .generation = worker->generation};
    uint64_t compute = (uint64_t)(worker->mean_ns * worker->updates);

    event.u.publication = (struct history_publication){
        .stamp = {.epoch = worker->generation,
                  .round = worker->round,
                  .version = worker->version,
                  .from = from,
                  .updates = worker->updates,
                  .total = worker->total,
                  .length = 64,
                  .compute_ns = compute,
                  .sequence = ++worker->sequence},
        .first = worker->first_update,
        .bad = worker->bad_from && worker->updates >= worker->bad_from,
    };
    event.time = arrival_time(history, &worker->data_ns, history->data_delay);
    history_post(history, event);
    worker->published = worker->updates;
    if (!worker->first) {
        worker->first = worker->sequence;
        worker->first_updates = worker->updates;
    }
}

/* publish.c, settled_publication() */
static uint64_t settled_publication(const struct history_worker *worker, uint32_t *updates)
{
    *updates = worker->first ? worker->first_updates : 0;
    for (uint64_t s = worker->sequence; s && s + DEPTH > worker->sequence; s--) {
        const struct kofn_receipt_line *line = &worker->receipts[s % KOFN_RECEIPTS];

        if (line->sequence == s && line->made_in == worker->round) {
            *updates = line->updates;
            return s;
        }
    }
    return worker->first;
}

/* publish.c, kofn__publish_late(): false if it has to wait for a credit. */
static bool publish_late(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];
    bool gradient = history->round.config.algorithm->payload == KOFN_PAYLOAD_GRADIENT;
    uint32_t updates;

    if (worker->late_sent || !worker->updates || (gradient && worker->published))
        return true;
    settled_publication(worker, &updates);
    if (updates == worker->updates)
        return true;
    if (!credit(worker))
        return false;
    if (updates)
        history->counts.remainders++;
    publish(history, rank, updates);
    worker->late_sent = true;
    return true;
}

static void compute(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];
    struct history_event event = {
        .kind = EVENT_COMPUTED, .rank = rank, .generation = worker->generation};
    double jitter = 0.2 + kofn_random_exponential(&history->random);

    worker->activity = ACTIVITY_COMPUTES;
    event.time = history->now + 1 + (uint64_t)(worker->mean_ns * jitter);
    event.u.token = worker->token = ++history->tokens;
    history_post(history, event);
}

/* Has the closed round work of this worker that the server waits for? */
static bool owed(const struct history *history, const struct history_worker *worker)
{
    const struct kofn_round_config *config = &history->round.config;
    uint32_t least = config->algorithm->partial ? 1 : config->local_steps;

    return config->publish != KOFN_PUBLISH_EAGER && worker->gate.round == worker->round &&
           worker->gate.state == KOFN_GATE_CLOSED && worker->updates >= least && !worker->published;
}

/* kofn_worker_take(): goes as far as the gate allows; a change of the gate calls it again. */
static void take(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];

    worker->activity = ACTIVITY_WAITS;
    if (worker->gate.state == KOFN_GATE_END || worker->gate.state == KOFN_GATE_EVICTED) {
        history_worker_leave(history, rank, true);
        return;
    }
    if (worker->gate.state != KOFN_GATE_OPEN || worker->gate.round <= worker->round) {
        if (owed(history, worker) && credit(worker))
            publish(history, rank, 0);
        return;
    }
    if (!publish_late(history, rank))
        return;
    worker->round = worker->version = history->version; /* the newest model, wherever the gate is */
    worker->updates = worker->published = 0;
    worker->first = 0;
    worker->late_sent = false;
    worker->bad_from = 0;
    worker->first_update = worker->finished;
    send_beat(history, rank);
    compute(history, rank);
}

/* kofn_worker_report(); false if those who wait anyway have to wait for their credit first. */
static bool report(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];
    const struct kofn_round_config *config = &history->round.config;
    bool eager = config->publish == KOFN_PUBLISH_EAGER;
    bool last = config->algorithm->worker_may == KOFN_WORKER_WAITS &&
                worker->updates >= config->local_steps;
    bool gradient = config->algorithm->payload == KOFN_PAYLOAD_GRADIENT;

    if (last && eager) {
        if (!gradient && over(worker))
            return true;
        if (!credit(worker))
            return worker->gate.state == KOFN_GATE_END || worker->gate.state == KOFN_GATE_EVICTED;
        publish(history, rank, 0);
    } else if (eager && config->algorithm->partial && !over(worker) && credit(worker)) {
        publish(history, rank, 0);
    } else {
        history->counts.skipped += eager && config->algorithm->partial && !over(worker);
        send_beat(history, rank);
    }
    return true;
}

static void finish(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];

    worker->updates++;
    worker->total++;
    if (worker->finished == HISTORY_UPDATES) {
        history_fail(history, "rank %u has finished more updates than there is room for", rank);
        return;
    }
    worker->fates[worker->finished++] = (struct history_update){FATE_OPEN, worker->round};
    if (history->kind == HISTORY_WILD && !worker->bad_from && history_chance(history, 40))
        worker->bad_from = worker->updates;
}

static void go_on(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];
    const struct kofn_round_config *config = &history->round.config;
    bool last = config->algorithm->worker_may == KOFN_WORKER_WAITS &&
                worker->updates >= config->local_steps;

    if (!report(history, rank)) {
        worker->activity = ACTIVITY_STARVES;
        return;
    }
    if (last || over(worker))
        take(history, rank);
    else
        compute(history, rank);
}

void history_worker_poke(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];

    if (!worker->alive || worker->frozen)
        return;
    if (worker->computed) {
        worker->computed = false;
        finish(history, rank);
        go_on(history, rank);
    } else if (worker->activity == ACTIVITY_WAITS) {
        take(history, rank);
    } else if (worker->activity == ACTIVITY_STARVES) {
        go_on(history, rank);
    } else if (worker->activity == ACTIVITY_COMPUTES && history->interrupts && over(worker)) {
        worker->token = 0;
        take(history, rank);
    }
}

void history_worker_event(struct history *history, const struct history_event *event)
{
    struct history_worker *worker = &history->workers[event->rank];

    if (!worker->alive || event->generation != worker->generation)
        return;
    switch (event->kind) {
    case EVENT_COMPUTED:
        if (event->u.token != worker->token)
            return;
        worker->computed = true;
        break;
    case EVENT_THAW:
        if (event->u.token != worker->thaw_token)
            return;
        worker->frozen = false;
        break;
    case EVENT_GATE:
        worker->gate = event->u.gate;
        break;
    default:
        worker->receipts[event->u.receipt.sequence % KOFN_RECEIPTS] = event->u.receipt;
        return; /* nobody waits for a receipt */
    }
    history_worker_poke(history, event->rank);
}

void history_worker_join(struct history *history, uint32_t rank, uint32_t generation)
{
    struct history_worker *worker = &history->workers[rank];

    worker->alive = true;
    worker->frozen = worker->computed = worker->late_sent = false;
    worker->generation = generation;
    worker->activity = ACTIVITY_WAITS;
    worker->gate = (struct kofn_gate){0};
    for (uint32_t i = 0; i < KOFN_RECEIPTS; i++)
        worker->receipts[i].sequence = 0;
    worker->round = worker->version = worker->updates = worker->total = worker->published = 0;
    worker->sequence = worker->first = 0;
    worker->first_update = worker->finished;
    worker->data_ns = worker->beat_ns = worker->control_ns = 0;
}

void history_worker_leave(struct history *history, uint32_t rank, bool in_order)
{
    struct history_worker *worker = &history->workers[rank];
    struct history_event event = {
        .kind = EVENT_CONTROL, .rank = rank, .generation = worker->generation};

    event.u.control.in_order = in_order;
    event.u.control.total = in_order ? worker->total : 0;
    event.time = history->now + history_below(history, 10 * KOFN_NS_PER_MS);
    if (history->kind == HISTORY_CALM) /* what was sent before arrives before */
        event.time = KOFN_MAX(event.time, worker->data_ns);
    history_post(history, event);
    worker->alive = false;
    worker->died |= !in_order;
    history->counts.deaths += !in_order;
}
