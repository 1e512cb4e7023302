#include "sim/sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "round/account.h"
#include "sim/inside.h"

/* ---- messages ---- */

/* How much later a message of @bytes is there because it was lost and sent again. */
static uint64_t resent(struct kofn_sim *sim, double bytes)
{
    double ns = kofn_net_resent_ns(&sim->attr.net, bytes, &sim->random);

    return (uint64_t)fmin(ns, (double)KOFN_DURATION_MAX);
}

static void send(struct kofn_sim *sim, const struct kofn_mail *mail)
{
    if (kofn_post_send(&sim->post, mail) && !sim->status)
        sim->status =
            kofn_error(sim->log, KOFN_NO_MEMORY, "simulation: %zu messages", sim->post.count);
}

/* When a message sent at @time arrives on a channel of its own, in which nothing is overtaken. */
static uint64_t arrival(struct kofn_sim *sim, uint64_t time, double bytes, uint64_t *last)
{
    time = kofn_deadline(time, sim->attr.net.latency_ns + resent(sim, bytes));
    *last = KOFN_MAX(*last, time);
    return *last;
}

static uint64_t transfer(double bytes, double byte_ns)
{
    return (uint64_t)fmin(bytes * byte_ns, (double)KOFN_DURATION_MAX);
}

void kofn_sim_send_data(struct kofn_sim *sim, uint32_t rank, const struct kofn_stamp *stamp)
{
    const struct kofn_sim_net *net = &sim->attr.net;
    struct kofn_sim_worker *worker = &sim->workers[rank];
    double bytes = (double)sim->attr.payload_bytes;
    struct kofn_mail mail;

    if (sim->instant) {
        kofn_sim_server_data(sim, rank, stamp);
        return;
    }
    mail = (struct kofn_mail){.kind = net->ingest_byte_ns > 0 ? KOFN_MAIL_DOOR : KOFN_MAIL_DATA,
                              .rank = rank,
                              .time = sim->now,
                              .sequence = stamp->sequence};
    worker->stamps[stamp->sequence % KOFN_SIM_RING] = *stamp;
    if (!net->ring) { /* else what it costs to bring them together is charged with the model */
        worker->link_ns =
            kofn_deadline(KOFN_MAX(worker->link_ns, sim->now), transfer(bytes, net->byte_ns));
        mail.time = arrival(sim, worker->link_ns, bytes, &worker->data_ns);
    }
    send(sim, &mail);
}

/* A publication at the server's door: it comes in behind those that came before it. */
static void come_in(struct kofn_sim *sim, struct kofn_mail *mail)
{
    uint64_t takes = transfer((double)sim->attr.payload_bytes, sim->attr.net.ingest_byte_ns);

    sim->ingest_ns = kofn_deadline(KOFN_MAX(sim->ingest_ns, sim->now), takes);
    mail->kind = KOFN_MAIL_DATA;
    mail->time = sim->ingest_ns;
    send(sim, mail);
}

void kofn_sim_send_beat(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    struct kofn_mail mail;

    if (sim->instant) {
        kofn_sim_server_beat(sim, rank, (struct kofn_beat){worker->round, worker->updates});
        return;
    }
    mail = (struct kofn_mail){
        .kind = KOFN_MAIL_BEAT, .rank = rank, .round = worker->round, .updates = worker->updates};
    mail.time = arrival(sim, sim->now, 0, &worker->beat_ns);
    send(sim, &mail);
}

void kofn_sim_send_gate(struct kofn_sim *sim, uint32_t rank, bool opens)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    double bytes = opens ? (double)sim->attr.payload_bytes : 0;
    uint8_t state = sim->gates_closed ? KOFN_GATE_CLOSED : KOFN_GATE_OPEN;
    struct kofn_mail mail;

    if (sim->instant) {
        kofn_sim_worker_gate(sim, rank, sim->round.number, state, worker->granted);
        return;
    }
    mail = (struct kofn_mail){.kind = KOFN_MAIL_GATE,
                              .rank = rank,
                              .round = sim->round.number,
                              .state = state,
                              .sequence = worker->granted};
    if (sim->attr.net.ring && opens)
        mail.time = worker->down_ns = kofn_deadline(sim->now, sim->ring.done_ns[rank]);
    else
        mail.time = arrival(sim, kofn_deadline(sim->now, transfer(bytes, sim->attr.net.byte_ns)),
                            bytes, &worker->down_ns);
    send(sim, &mail);
}

void kofn_sim_send_read(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_mail mail = {.kind = KOFN_MAIL_READ, .rank = rank};

    if (sim->instant) {
        kofn_sim_asked(sim, rank);
        return;
    }
    mail.time = arrival(sim, sim->now, 0, &sim->workers[rank].down_ns);
    send(sim, &mail);
}

static void deliver(struct kofn_sim *sim)
{
    struct kofn_mail mail = kofn_post_take(&sim->post);

    switch ((enum kofn_mail_kind)mail.kind) {
    case KOFN_MAIL_DOOR:
        come_in(sim, &mail);
        break;
    case KOFN_MAIL_DATA:
        if (!sim->manners.keeps || kofn_sim_read_whole(sim, mail.rank, mail.sequence))
            kofn_sim_server_data(sim, mail.rank,
                                 &sim->workers[mail.rank].stamps[mail.sequence % KOFN_SIM_RING]);
        break;
    case KOFN_MAIL_BEAT:
        kofn_sim_server_beat(sim, mail.rank, (struct kofn_beat){mail.round, mail.updates});
        break;
    case KOFN_MAIL_GATE:
        kofn_sim_worker_gate(sim, mail.rank, mail.round, mail.state, mail.sequence);
        break;
    case KOFN_MAIL_READ:
        kofn_sim_asked(sim, mail.rank);
        break;
    case KOFN_MAIL_PEER: /* there are none */
        break;
    }
}

/* ---- the loop ---- */

/* When the machine has to look at the time, though nothing happens. */
static uint64_t next_tick(const struct kofn_sim *sim)
{
    const struct kofn_round *round = &sim->round;

    if (sim->attr.round.suspect_after == KOFN_FOREVER && round->phase == KOFN_PHASE_OPEN &&
        kofn_round_deadline(round) <= sim->now)
        return KOFN_FOREVER;
    return kofn_round_next_tick(round, sim->now);
}

static void tick(struct kofn_sim *sim)
{
    kofn_round_tick(&sim->round, sim->now);
    sim->tick_ns = next_tick(sim);
}

static void merge_and_open(struct kofn_sim *sim, struct kofn_round_report *report)
{
    if (!sim->algorithm->exact)
        kofn_sim_lag_end(sim, sim->now + 1);
    kofn_sim_server_merge(sim);
    kofn_round_describe(&sim->round, report);
    report->size = sizeof(*report);
    report->bytes = sim->attr.net.ring
                        ? 2 * (sim->attr.round.workers - UINT64_C(1)) * sim->attr.payload_bytes
                        : sim->bytes;
    report->updates = sim->merged_updates;
    report->loss = sim->merged_updates ? sim->loss_sum / (double)sim->merged_updates : 0;
    report->published_ns = sim->now;
    kofn_sim_server_open(sim);
    sim->tick_ns = next_tick(sim);
}

/* @rank's timer has been set anew: fetches what whoever is first among its neighbours now will
 * need. With thousands of workers it lies far away.
 */
static void look_ahead(const struct kofn_sim *sim, uint32_t rank)
{
    uint32_t soon = kofn_timers_soon(&sim->timers, rank);
    const char *worker = (const char *)&sim->workers[soon];
    const char *member = (const char *)&sim->round.members[soon];
    size_t hot = sim->manners.each ? KOFN_SIM_WORKER_WARM : KOFN_SIM_WORKER_HOT;

    for (size_t line = 0; line < hot; line += KOFN_CACHE_LINE)
        __builtin_prefetch(worker + line, 1);
    for (size_t line = 0; line < KOFN_MEMBER_HOT; line += KOFN_CACHE_LINE)
        __builtin_prefetch(member + line, 1);
}

/* One event, at @next. */
static void happen(struct kofn_sim *sim, struct kofn_timer timer, uint64_t next)
{
    enum kofn_phase phase = sim->round.phase;

    sim->now = next;
    sim->events++;
    if (timer.time == next) {
        if (sim->lags)
            kofn_sim_lag_finish(sim, timer.rank);
        else
            kofn_sim_worker_finish(sim, timer.rank);
        look_ahead(sim, timer.rank);
    } else if (kofn_post_next(&sim->post) == next) {
        deliver(sim);
    } else {
        tick(sim);
    }
    if (sim->round.phase == phase)
        return;
    kofn_sim_server_close_gates(sim);
    if (sim->manners.keeps)
        kofn_sim_read_owed(sim);
    sim->tick_ns = KOFN_MIN(sim->tick_ns, next_tick(sim));
}

int kofn_sim_step(struct kofn_sim *sim, uint64_t until, uint64_t events,
                  struct kofn_round_report *report)
{
    uint64_t limit = kofn_deadline(sim->events, events);

    until = kofn_deadline(until, 1); /* on this clock */
    while (!sim->status) {
        struct kofn_timer timer = kofn_timers_first(&sim->timers);
        uint64_t next = KOFN_MIN(timer.time, kofn_post_next(&sim->post));

        next = KOFN_MIN(next, sim->tick_ns);
        if (sim->round.phase == KOFN_PHASE_READY && (next > sim->now || sim->algorithm->exact)) {
            merge_and_open(sim, report);
            return sim->status;
        }
        if (next > until && until != KOFN_FOREVER) {
            sim->now = KOFN_MAX(sim->now, until);
            kofn_sim_lag_end(sim, sim->now + 1);
            return KOFN_TIMEOUT;
        }
        if (next == KOFN_FOREVER)
            return kofn_error(sim->log, KOFN_GONE,
                              "simulation: nothing can happen any more in round %u",
                              sim->round.number);
        if (sim->events >= limit) {
            kofn_sim_lag_end(sim, sim->now);
            return KOFN_AGAIN;
        }
        happen(sim, timer, next);
    }
    return sim->status;
}

void kofn_sim_stop(struct kofn_sim *sim)
{
    if (sim->round.phase == KOFN_PHASE_OPEN)
        kofn_round_stop(&sim->round, sim->now);
    while (sim->round.phase == KOFN_PHASE_COLLECTING)
        kofn_round_stop(&sim->round, sim->now);
    kofn_sim_server_merge(sim);
    kofn_round_end(&sim->round);
}

/* ---- set-up ---- */

static bool costs_nothing(const struct kofn_sim_net *net)
{
    return !net->latency_ns && !(net->byte_ns > 0) && !(net->ingest_byte_ns > 0);
}

static void fix(struct kofn_sim *sim, const struct kofn_sim_attr *attr)
{
    sim->attr = *attr;
    sim->log = attr->log;
    sim->algorithm = attr->round.algorithm;
    sim->manners =
        kofn_manners_make(sim->algorithm->payload, attr->round.publish, sim->algorithm->worker_may,
                          kofn_algorithm_manners(sim->algorithm));
    sim->depth = sim->manners.keeps ? KOFN_DEPTH_PULL : KOFN_DEPTH;
    if (attr->rules.staleness_step > 0) {
        sim->attr.round.damp = kofn_sim_bytes_damp;
        sim->attr.round.damp_arg = sim;
    }
    sim->instant = costs_nothing(&attr->net);
    sim->now = 1; /* 0 means "never" in a member's account */
    sim->tick_ns = KOFN_FOREVER;
    kofn_random_seed(&sim->random, attr->seed, kofn_stream_of(KOFN_STREAM_LOSS, 0));
}

static int open_parts(struct kofn_sim *sim)
{
    uint32_t workers = sim->attr.round.workers;

    sim->workers = kofn_large_alloc(workers * sizeof(*sim->workers));
    if (!sim->workers || kofn_timers_open(&sim->timers, workers) ||
        kofn_round_init(&sim->round, &sim->attr.round) || kofn_sim_bytes_open(sim) ||
        kofn_sim_lag_open(sim) || (sim->attr.net.ring && kofn_ring_open(&sim->ring, workers)))
        return kofn_error(sim->log, KOFN_NO_MEMORY, "simulation: %u workers of %llu bytes", workers,
                          (unsigned long long)sim->attr.payload_bytes);
    return 0;
}

int kofn_sim_open(const struct kofn_sim_attr *attr, struct kofn_sim **sim_p)
{
    struct kofn_sim *sim = calloc(1, sizeof(*sim));
    int rc;

    if (!sim)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "simulation: %zu bytes", sizeof(*sim));
    fix(sim, attr);
    rc = open_parts(sim);
    if (rc) {
        kofn_sim_close(sim);
        return rc;
    }
    for (uint32_t rank = 0; rank < attr->round.workers; rank++) {
        kofn_delay_source_init(&sim->workers[rank].delays, attr->seed, rank);
        kofn_round_join(&sim->round, rank, 1, sim->now);
    }
    kofn_sim_server_open(sim);
    sim->tick_ns = next_tick(sim);
    *sim_p = sim;
    return 0;
}

void kofn_sim_close(struct kofn_sim *sim)
{
    if (!sim)
        return;
    kofn_sim_bytes_close(sim);
    kofn_sim_lag_close(sim);
    kofn_round_fini(&sim->round);
    kofn_timers_close(&sim->timers);
    kofn_post_close(&sim->post);
    kofn_ring_close(&sim->ring);
    free(sim->workers);
    free(sim);
}

/* ---- questions ---- */

uint64_t kofn_sim_now(const struct kofn_sim *sim)
{
    return sim->now - 1;
}

uint64_t kofn_sim_events(const struct kofn_sim *sim)
{
    return sim->events;
}

const float *kofn_sim_model(const struct kofn_sim *sim)
{
    return sim->model->data;
}

static uint64_t busy_of(const struct kofn_sim *sim, const struct kofn_sim_worker *worker)
{
    bool computes = worker->activity == KOFN_SIM_COMPUTES || worker->activity == KOFN_SIM_CUT;

    if (!computes || sim->now < worker->begin_ns)
        return worker->busy_ns;
    return worker->busy_ns + sim->now - worker->begin_ns;
}

void kofn_sim_totals(const struct kofn_sim *sim, struct kofn_sim_totals *totals)
{
    *totals = (struct kofn_sim_totals){0};
    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++) {
        totals->finished += sim->workers[rank].total;
        totals->busy_ns += (double)busy_of(sim, &sim->workers[rank]);
    }
}

uint64_t kofn_sim_merged(const struct kofn_sim *sim, uint32_t rank)
{
    const struct kofn_member *member = &sim->round.members[rank];

    return member->merged + member->late;
}

void kofn_sim_members(const struct kofn_sim *sim, struct kofn_member_report *reports)
{
    struct kofn_usual usual = kofn_round_usual(&sim->round);

    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++) {
        double busy = (double)busy_of(sim, &sim->workers[rank]);

        kofn_round_member(&sim->round, rank, sim->now, &usual, &reports[rank]);
        reports[rank].size = sizeof(reports[rank]);
        reports[rank].idle_fraction =
            sim->now > 1 ? fmax(0, 1 - busy / (double)(sim->now - 1)) : NAN;
    }
}
