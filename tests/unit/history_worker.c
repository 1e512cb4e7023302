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

/* No bytes are moved, and so nothing is read: what would be is sent when the round has closed. Nor
 * is anybody ahead: who would be takes every model here, for the rounds it is all one.
 */
struct kofn_manners history_manners(const struct history *history)
{
    const struct kofn_algorithm *algorithm = history->round.config.algorithm;
    bool eager = history->round.config.publish == KOFN_PUBLISH_EAGER;
    uint32_t told = kofn_algorithm_manners(algorithm) & ~(uint32_t)KOFN_MANNER_AHEAD;

    return kofn_manners_make(algorithm->payload, eager ? KOFN_PUBLISH_EAGER : KOFN_PUBLISH_ON_CLOSE,
                             algorithm->worker_may, told);
}

static bool over(const struct history *history, const struct history_worker *worker)
{
    struct kofn_manners manners = history_manners(history);

    return kofn_manners_over(&manners, worker->gate, worker->round);
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

/* Carries a publication of the updates behind @from one that is not finite? Where it is the sum of
 * all of its round, all that follow do.
 */
static bool is_bad(const struct history *history, const struct history_worker *worker,
                   uint32_t from)
{
    return worker->bad_from && worker->updates >= worker->bad_from &&
           (!history_manners(history).each || from < worker->bad_from);
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
                  .loss = 1 / (1 + (float)worker->finished),
                  .length = 64,
                  .compute_ns = compute,
                  .sequence = ++worker->sequence},
        .first = worker->first_update,
        .bad = is_bad(history, worker, from),
    };
    event.time = arrival_time(history, &worker->data_ns, history->data_delay);
    history_post(history, event);
    worker->published = worker->updates;
    if (history_manners(history).each)
        worker->bad_from = 0;
    if (!worker->first) {
        worker->first = worker->sequence;
        worker->first_updates = worker->updates;
    }
}

/* publish.c, kofn__publish_all() */
static void publish_all(struct history *history, uint32_t rank)
{
    publish(history, rank, history_manners(history).each ? history->workers[rank].published : 0);
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
    struct kofn_manners manners = history_manners(history);
    uint32_t updates;

    if (worker->late_sent || !kofn_manners_late(&manners, worker->updates, worker->published))
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
    struct kofn_manners manners = history_manners(history);

    return kofn_manners_owed(&manners, worker->gate, worker->round, worker->updates,
                             worker->published, history->round.config.local_steps);
}

static bool may_take(const struct history *history, const struct history_worker *worker)
{
    struct kofn_manners manners = history_manners(history);

    return kofn_manners_may_take(&manners, worker->gate, worker->round,
                                 worker->gate.released == worker->sequence % 256);
}

static void begin_round(struct history *history, struct history_worker *worker)
{
    worker->round = worker->version = history->version; /* the newest model, wherever the gate is */
    worker->updates = worker->published = 0;
    worker->first = 0;
    worker->late_sent = false;
    worker->bad_from = 0;
    worker->first_update = worker->finished;
}

/* kofn_worker_take(): goes as far as the gate allows; a change of the gate calls it again. */
static void take(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];

    worker->activity = ACTIVITY_WAITS;
    if (kofn_gate_ended(worker->gate)) {
        history_worker_leave(history, rank, true);
        return;
    }
    if (!may_take(history, worker)) {
        if (owed(history, worker) && credit(worker))
            publish(history, rank, 0);
        return;
    }
    if (!publish_late(history, rank))
        return;
    if (worker->round != history->version) /* who fetches may find the model that it had */
        begin_round(history, worker);
    send_beat(history, rank);
    compute(history, rank);
}

static bool is_last(const struct history *history, const struct history_worker *worker)
{
    struct kofn_manners manners = history_manners(history);

    return kofn_manners_last(&manners, worker->updates, worker->published,
                             history->round.config.local_steps);
}

/* kofn_worker_report(); false if those who wait anyway have to wait for their credit first. */
static bool report(struct history *history, uint32_t rank, bool last)
{
    struct history_worker *worker = &history->workers[rank];
    struct kofn_manners manners = history_manners(history);
    bool is_over = over(history, worker);
    enum kofn_deed deed = kofn_manners_deed(&manners, last, is_over);

    if (deed == KOFN_DEED_LAST) {
        if (!manners.gradient && is_over)
            return true;
        if (!credit(worker))
            return kofn_gate_ended(worker->gate);
        publish_all(history, rank);
    } else if (deed == KOFN_DEED_PUBLISH && credit(worker)) {
        publish(history, rank, 0);
    } else {
        history->counts.skipped += deed == KOFN_DEED_PUBLISH;
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
    struct kofn_manners manners = history_manners(history);
    bool last = is_last(history, worker);

    if (!report(history, rank, last)) {
        worker->activity = ACTIVITY_STARVES;
        return;
    }
    if (kofn_manners_done(&manners, last, over(history, worker)))
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
        if (history_manners(history).cancels && over(history, worker)) {
            take(history, rank);
            return;
        }
        finish(history, rank);
        go_on(history, rank);
    } else if (worker->activity == ACTIVITY_WAITS) {
        take(history, rank);
    } else if (worker->activity == ACTIVITY_STARVES) {
        go_on(history, rank);
    } else if (worker->activity == ACTIVITY_COMPUTES && history->interrupts &&
               over(history, worker)) {
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
