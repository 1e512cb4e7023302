#include "sim/peers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/peers_inside.h"

/* ---- activations ---- */

void kofn_peer_begin(struct kofn_peers *peers, uint32_t rank)
{
    const struct kofn_peers_attr *attr = &peers->attr;
    struct kofn_peer *peer = &peers->list[rank];
    double takes = kofn_delay_next(attr->delay, &peer->delays, peer->node.activations);

    takes *= kofn_straggler_factor(attr->stragglers, attr->straggler_count, rank, peers->now - 1);
    takes = fmax(1, fmin(takes, (double)KOFN_DURATION_MAX));
    peer->begin_ns = peers->now;
    kofn_node_begin(&peer->node);
    kofn_timers_set(&peers->timers, rank, kofn_deadline(peers->now, (uint64_t)takes));
    if (attr->work)
        attr->work->begin(attr->work->arg, rank, peer->node.point,
                          kofn_timers_time(&peers->timers, rank));
    kofn_peer_send_due(peers, peer);
}

static void count_round(struct kofn_peers *peers)
{
    struct kofn_round_report *report = &peers->report;

    report->size = sizeof(*report);
    report->round++;
    report->close = KOFN_CLOSE_REACHED;
    report->living = peers->count;
    report->loss = report->updates ? peers->loss_sum / (double)report->updates : 0;
    report->closed_ns = report->published_ns = peers->now;
    peers->round_over = true;
}

static void finish(struct kofn_peers *peers, uint32_t rank)
{
    struct kofn_peer *peer = &peers->list[rank];
    const struct kofn_sim_work *work = peers->attr.work;

    peer->waits = false;
    if (work)
        peers->loss_sum += (double)work->gradient(work->arg, rank, peers->gradient);
    kofn_node_finish(&peer->node, peers->gradient);
    peers->report.updates++;
    if (peers->attr.finished)
        peers->attr.finished(peers->attr.arg, &peer->node);
    kofn_peer_send_due(peers, peer);
    kofn_peer_begin(peers, rank);
    if (rank == peers->root)
        count_round(peers);
}

static void run_out(struct kofn_peers *peers, uint32_t rank)
{
    struct kofn_peer *peer = &peers->list[rank];
    const struct kofn_trace_record record = {.rank = rank,
                                             .round = (uint32_t)peer->node.activations,
                                             .start_ns = peer->begin_ns - 1,
                                             .delay_ns = peers->now - peer->begin_ns};

    kofn_timers_set(&peers->timers, rank, KOFN_FOREVER);
    peer->busy_ns += peers->now - peer->begin_ns;
    if (peers->attr.updated)
        peers->attr.updated(peers->attr.arg, &record);
    peer->waits = true;
    if (kofn_node_complete(&peer->node))
        finish(peers, rank);
}

static void take_mail(struct kofn_peers *peers)
{
    struct kofn_peer *peer = kofn_peers_deliver(peers);

    if (peer && peer->waits && kofn_node_complete(&peer->node))
        finish(peers, (uint32_t)(peer - peers->list));
}

/* ---- the loop ---- */

static void take_report(struct kofn_peers *peers, struct kofn_round_report *report)
{
    *report = peers->report;
    peers->report = (struct kofn_round_report){.round = report->round, .opened_ns = peers->now};
    peers->loss_sum = 0;
    peers->round_over = false;
}

int kofn_peers_step(struct kofn_peers *peers, uint64_t until, uint64_t events,
                    struct kofn_round_report *report)
{
    uint64_t limit = kofn_deadline(peers->events, events);

    until = kofn_deadline(until, 1); /* on this clock */
    while (!peers->status) {
        struct kofn_timer timer = kofn_timers_first(&peers->timers);
        uint64_t mail = kofn_post_next(&peers->post), next = KOFN_MIN(timer.time, mail);

        if (peers->round_over) {
            take_report(peers, report);
            return 0;
        }
        if (next > until && until != KOFN_FOREVER) {
            peers->now = KOFN_MAX(peers->now, until);
            return KOFN_TIMEOUT;
        }
        if (next == KOFN_FOREVER)
            return kofn_error(peers->log, KOFN_GONE, "simulation: all peers wait for one another");
        if (peers->events == limit)
            return KOFN_AGAIN;
        peers->events++;
        peers->now = next;
        if (mail == next)
            take_mail(peers);
        else
            run_out(peers, timer.rank);
    }
    return peers->status;
}

/* ---- questions ---- */

uint64_t kofn_peers_now(const struct kofn_peers *peers)
{
    return peers->now - 1;
}

uint64_t kofn_peers_events(const struct kofn_peers *peers)
{
    return peers->events;
}

struct kofn_peers_mail kofn_peers_mail(const struct kofn_peers *peers)
{
    return peers->mail;
}

const float *kofn_peers_model(struct kofn_peers *peers)
{
    memset(peers->sum, 0, peers->parameters * sizeof(*peers->sum));
    for (uint32_t rank = 0; rank < peers->count; rank++)
        for (size_t i = 0; i < peers->parameters; i++)
            peers->sum[i] += (double)peers->list[rank].node.model[i];
    for (size_t i = 0; i < peers->parameters; i++)
        peers->mean[i] = (float)(peers->sum[i] / peers->count);
    return peers->mean;
}

static uint64_t busy_of(const struct kofn_peers *peers, const struct kofn_peer *peer)
{
    return peer->waits ? peer->busy_ns : peer->busy_ns + peers->now - peer->begin_ns;
}

void kofn_peers_totals(const struct kofn_peers *peers, struct kofn_sim_totals *totals)
{
    *totals = (struct kofn_sim_totals){0};
    for (uint32_t rank = 0; rank < peers->count; rank++) {
        totals->finished += (double)peers->list[rank].node.activations;
        totals->busy_ns += (double)busy_of(peers, &peers->list[rank]);
    }
}

uint64_t kofn_peers_finished(const struct kofn_peers *peers, uint32_t rank)
{
    return peers->list[rank].node.activations;
}

void kofn_peers_members(const struct kofn_peers *peers, struct kofn_member_report *reports)
{
    double time = (double)(peers->now - 1);

    for (uint32_t rank = 0; rank < peers->count; rank++) {
        const struct kofn_peer *peer = &peers->list[rank];
        double finished = (double)peer->node.activations, busy = (double)busy_of(peers, peer);

        reports[rank] =
            (struct kofn_member_report){.size = sizeof(*reports),
                                        .rank = rank,
                                        .epoch = 1,
                                        .state = KOFN_MEMBER_READY,
                                        .round = (uint32_t)peer->node.activations,
                                        .finished = peer->node.activations,
                                        .merged = peer->node.activations,
                                        .late_p50 = NAN,
                                        .late_p99 = NAN,
                                        .pace = finished > 0 ? time / finished / 1e9 : NAN,
                                        .compute_mean = finished > 0 ? busy / finished / 1e9 : NAN,
                                        .post_mean = NAN,
                                        .wait_mean = NAN,
                                        .idle_fraction = time > 0 ? fmax(0, 1 - busy / time) : NAN};
        reports[rank].pace_mean = reports[rank].pace;
    }
}

double kofn_peers_violation(const struct kofn_peers *peers)
{
    size_t n = peers->parameters;
    double *sum, worst = 0, scale = 0;

    if (!n || !peers->attr.algorithm->peers->tracks)
        return NAN;
    sum = calloc(2 * n, sizeof(*sum));
    if (!sum)
        return NAN;
    for (uint32_t rank = 0; rank < peers->count; rank++)
        kofn_node_residual(&peers->list[rank].node, sum, sum + n);
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(sum[i]));
        scale = fmax(scale, sum[n + i]);
    }
    free(sum);
    return scale > 0 ? worst / scale : 0;
}
