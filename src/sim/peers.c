#include "sim/peers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "sim/post.h"
#include "sim/timers.h"

/* An out-edge, beside what the node knows of it. */
struct link {
    uint32_t in;      /* the receiver's edge */
    uint64_t free_ns; /* a message, or its credit, is under way until then */
    uint64_t last_ns; /* the last one is at the receiver's link */
};

struct peer {
    struct kofn_node node;
    struct link *links; /* by out-edge; owned */
    struct kofn_delay_source delays;
    uint64_t begin_ns, busy_ns;
    uint64_t out_ns, in_ns; /* its links are free again */
    bool waits;             /* its update is finished, and the activation not complete */
};

struct letter {
    float *data;
    double scalar;
    struct link *link;
    uint32_t next; /* of those that are not in use; by place, from 1 */
};

struct kofn_peers {
    struct kofn_peers_attr attr;
    const struct kofn_log *log;
    struct peer *list;
    uint32_t count, root;
    size_t parameters;
    struct kofn_timers timers;
    struct kofn_post post;
    struct kofn_random random; /* loss */
    uint64_t now, events;
    int status;

    struct letter *letters; /* of messages under way; owned */
    uint32_t letter_count, spare_letter;
    float **spare; /* buffers that nobody uses; with places for all there are */
    size_t spare_count, buffer_count;

    float *gradient, *mean;
    double *sum; /* for the mean */
    struct kofn_peers_mail mail;
    struct kofn_round_report report; /* since the last round */
    double loss_sum;
    bool round_over;
};

/* ---- messages ---- */

static int no_memory(struct kofn_peers *peers)
{
    if (!peers->status)
        peers->status =
            kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %zu messages", peers->post.count);
    return peers->status;
}

/* A buffer of the size of a model; NULL without memory. */
static float *take_buffer(struct kofn_peers *peers)
{
    float **spare;

    if (peers->spare_count)
        return peers->spare[--peers->spare_count];
    spare = realloc(peers->spare, (peers->buffer_count + 1) * sizeof(*spare));
    if (!spare)
        return NULL;
    peers->spare = spare;
    peers->buffer_count++;
    return kofn_node_vector(peers->parameters);
}

static int grow_letters(struct kofn_peers *peers)
{
    uint32_t count = peers->letter_count ? 2 * peers->letter_count : 64;
    struct letter *letters = realloc(peers->letters, count * sizeof(*letters));

    if (!letters)
        return KOFN_NO_MEMORY;
    peers->letters = letters;
    for (uint32_t i = peers->letter_count; i < count; i++) {
        letters[i] = (struct letter){.next = peers->spare_letter};
        peers->spare_letter = i + 1;
    }
    peers->letter_count = count;
    return 0;
}

/* The place of a letter with a copy of what @out says. UINT32_MAX without memory. */
static uint32_t write_letter(struct kofn_peers *peers, const struct kofn_node_out *out,
                             struct link *link)
{
    struct letter *letter;
    uint32_t place;

    if (!peers->spare_letter && grow_letters(peers))
        return UINT32_MAX;
    place = peers->spare_letter - 1;
    letter = &peers->letters[place];
    if (peers->parameters) {
        letter->data = take_buffer(peers);
        if (!letter->data)
            return UINT32_MAX;
        memcpy(letter->data, out->data, peers->parameters * sizeof(float));
    }
    letter->scalar = out->scalar;
    letter->link = link;
    peers->spare_letter = letter->next;
    return place;
}

static bool is_lost(struct kofn_peers *peers)
{
    return peers->attr.net.loss > 0 && kofn_random_uniform(&peers->random) < peers->attr.net.loss;
}

static uint64_t transfer_ns(const struct kofn_peers *peers)
{
    double ns = (double)peers->attr.payload_bytes * peers->attr.net.byte_ns;

    return (uint64_t)fmin(ns, (double)KOFN_DURATION_MAX);
}

/* When the first byte of a message that @from sends now is at its receiver's link. */
static uint64_t travel(struct kofn_peers *peers, struct peer *from)
{
    uint64_t latency = peers->attr.net.latency_ns, takes = transfer_ns(peers), time;

    from->out_ns = KOFN_MAX(from->out_ns, peers->now);
    time = kofn_deadline(from->out_ns, latency);
    from->out_ns = kofn_deadline(from->out_ns, takes);
    while (!from->node.ops->lossy && is_lost(peers)) {
        time = kofn_deadline(time, 2 * latency + takes);
        peers->mail.lost++;
    }
    return time;
}

static void send(struct kofn_peers *peers, struct peer *from, uint32_t index)
{
    const struct kofn_node_out *out = &from->node.out[index];
    struct link *link = &from->links[index];
    struct kofn_mail mail = {
        .kind = KOFN_MAIL_DOOR, .rank = out->to, .round = link->in, .sequence = out->sequence};

    if (from->node.ops->lossy && link->free_ns > peers->now) {
        peers->mail.skipped++;
        return;
    }
    peers->mail.sent++;
    if (from->node.ops->lossy && is_lost(peers)) {
        peers->mail.lost++;
        return;
    }
    peers->report.publications++;
    peers->report.bytes += peers->attr.payload_bytes;
    mail.time = travel(peers, from);
    link->last_ns = mail.time = KOFN_MAX(link->last_ns, mail.time); /* nothing is overtaken */
    link->free_ns = KOFN_FOREVER;
    mail.updates = write_letter(peers, out, link);
    if (mail.updates == UINT32_MAX) {
        no_memory(peers);
    } else if (kofn_post_send(&peers->post, &mail)) {
        free(peers->letters[mail.updates].data);
        no_memory(peers);
    }
}

static void send_due(struct kofn_peers *peers, struct peer *peer)
{
    for (uint32_t i = 0; i < peer->node.out_count; i++)
        if (peer->node.out[i].due) {
            peer->node.out[i].due = false;
            send(peers, peer, i);
        }
}

/* ---- activations ---- */

static void begin(struct kofn_peers *peers, uint32_t rank)
{
    const struct kofn_peers_attr *attr = &peers->attr;
    struct peer *peer = &peers->list[rank];
    double takes = kofn_delay_next(attr->delay, &peer->delays, peer->node.activations);

    takes *= kofn_straggler_factor(attr->stragglers, attr->straggler_count, rank, peers->now - 1);
    takes = fmax(1, fmin(takes, (double)KOFN_DURATION_MAX));
    peer->begin_ns = peers->now;
    kofn_node_begin(&peer->node);
    kofn_timers_set(&peers->timers, rank, kofn_deadline(peers->now, (uint64_t)takes));
    if (attr->work)
        attr->work->begin(attr->work->arg, rank, peer->node.point,
                          kofn_timers_time(&peers->timers, rank));
    send_due(peers, peer);
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
    struct peer *peer = &peers->list[rank];
    const struct kofn_sim_work *work = peers->attr.work;

    peer->waits = false;
    if (work)
        peers->loss_sum += (double)work->gradient(work->arg, rank, peers->gradient);
    kofn_node_finish(&peer->node, peers->gradient);
    peers->report.updates++;
    if (peers->attr.finished)
        peers->attr.finished(peers->attr.arg, &peer->node);
    send_due(peers, peer);
    begin(peers, rank);
    if (rank == peers->root)
        count_round(peers);
}

static void run_out(struct kofn_peers *peers, uint32_t rank)
{
    struct peer *peer = &peers->list[rank];
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

/* A message is at the receiver's link: it comes in behind those that were there before it. */
static bool come_in(struct kofn_peers *peers, struct kofn_mail *mail)
{
    struct peer *peer = &peers->list[mail->rank];

    peer->in_ns = kofn_deadline(KOFN_MAX(peer->in_ns, peers->now), transfer_ns(peers));
    if (peer->in_ns == peers->now)
        return true;
    mail->kind = KOFN_MAIL_PEER;
    mail->time = peer->in_ns;
    if (kofn_post_send(&peers->post, mail))
        no_memory(peers);
    return false;
}

static void take_in(struct kofn_peers *peers, const struct kofn_mail *mail)
{
    struct letter *letter = &peers->letters[mail->updates];
    struct peer *peer = &peers->list[mail->rank];
    float *unused =
        kofn_node_arrive(&peer->node, mail->round, letter->data, letter->scalar, mail->sequence);

    letter->link->free_ns = kofn_deadline(peers->now, peers->attr.net.latency_ns);
    *letter = (struct letter){.next = peers->spare_letter};
    peers->spare_letter = mail->updates + 1;
    if (unused)
        peers->spare[peers->spare_count++] = unused;
    send_due(peers, peer);
    if (peer->waits && kofn_node_complete(&peer->node))
        finish(peers, mail->rank);
}

static void deliver(struct kofn_peers *peers)
{
    struct kofn_mail mail = kofn_post_take(&peers->post);

    if (mail.kind == KOFN_MAIL_PEER || come_in(peers, &mail))
        take_in(peers, &mail);
}

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
            deliver(peers);
        else
            run_out(peers, timer.rank);
    }
    return peers->status;
}

/* ---- set-up ---- */

static int open_peer(struct kofn_peers *peers, uint32_t rank)
{
    const struct kofn_peers_attr *attr = &peers->attr;
    const struct kofn_node_attr node = {.algorithm = attr->algorithm,
                                        .graph = attr->graph,
                                        .rank = rank,
                                        .parameters = peers->parameters,
                                        .first = attr->model,
                                        .learning_rate = attr->learning_rate,
                                        .seed = attr->seed,
                                        .log = attr->log};
    struct peer *peer = &peers->list[rank];
    int rc = kofn_node_open(&node, &peer->node);

    if (rc)
        return rc;
    peer->links = calloc(peer->node.out_count + 1u, sizeof(*peer->links));
    if (!peer->links)
        return kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %u peers", peers->count);
    kofn_delay_source_init(&peer->delays, attr->seed, rank);
    return 0;
}

/* The receiver's edge of each of @edges: nodes have theirs in the order of the graph. */
static void join_edges(struct kofn_peers *peers, const struct kofn_graph_edge *edges, size_t count,
                       uint32_t *in, uint32_t *out)
{
    for (size_t i = 0; i < count; i++)
        peers->list[edges[i].from].links[out[edges[i].from]++].in = in[edges[i].to]++;
}

static int find_edges(struct kofn_peers *peers)
{
    const struct kofn_graph *graph = peers->attr.graph;
    const struct kofn_node_ops *ops = peers->attr.algorithm->peers;
    uint32_t *in = calloc(2 * (size_t)peers->count, sizeof(*in));

    if (!in)
        return kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %u peers", peers->count);
    if (ops->models)
        join_edges(peers, graph->models, graph->model_count, in, in + peers->count);
    if (ops->masses)
        join_edges(peers, graph->masses, graph->mass_count, in, in + peers->count);
    free(in);
    return 0;
}

static int open_parts(struct kofn_peers *peers)
{
    int rc = 0;

    peers->list = calloc(peers->count, sizeof(*peers->list));
    peers->gradient = kofn_node_vector(peers->parameters);
    peers->mean = kofn_node_vector(peers->parameters);
    peers->sum = calloc(peers->parameters + 1, sizeof(*peers->sum));
    if (!peers->list || !peers->gradient || !peers->mean || !peers->sum ||
        kofn_timers_open(&peers->timers, peers->count))
        return kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %u peers", peers->count);
    for (uint32_t rank = 0; rank < peers->count && !rc; rank++)
        rc = open_peer(peers, rank);
    return rc ? rc : find_edges(peers);
}

int kofn_peers_open(const struct kofn_peers_attr *attr, struct kofn_peers **peers_p)
{
    struct kofn_peers *peers = calloc(1, sizeof(*peers));
    int rc;

    if (!peers)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "simulation: %zu bytes", sizeof(*peers));
    peers->attr = *attr;
    peers->log = attr->log;
    peers->count = attr->graph->nodes;
    peers->root = attr->graph->root;
    peers->parameters = attr->work ? attr->work->parameters : 0;
    peers->now = peers->report.opened_ns = 1;
    kofn_random_seed(&peers->random, attr->seed, kofn_stream_of(KOFN_STREAM_LOSS, 0));
    rc = open_parts(peers);
    if (rc) {
        kofn_peers_close(peers);
        return rc;
    }
    for (uint32_t rank = 0; rank < peers->count; rank++)
        begin(peers, rank);
    *peers_p = peers;
    return 0;
}

static void close_peer(struct peer *peer)
{
    for (uint32_t i = 0; peer->node.in && i < peer->node.in_count; i++) {
        free(peer->node.in[i].slot);
        free(peer->node.in[i].before);
    }
    kofn_node_close(&peer->node);
    free(peer->links);
}

void kofn_peers_close(struct kofn_peers *peers)
{
    const struct kofn_sim_work *work = peers ? peers->attr.work : NULL;

    if (!peers)
        return;
    while (peers->post.count)
        free(peers->letters[kofn_post_take(&peers->post).updates].data);
    for (uint32_t rank = 0; peers->list && rank < peers->count; rank++) {
        if (work && work->drop && peers->list[rank].begin_ns)
            work->drop(work->arg, rank); /* it may be reading the node's parameters */
        close_peer(&peers->list[rank]);
    }
    while (peers->spare_count)
        free(peers->spare[--peers->spare_count]);
    kofn_timers_close(&peers->timers);
    kofn_post_close(&peers->post);
    free(peers->list);
    free(peers->letters);
    free(peers->spare);
    free(peers->gradient);
    free(peers->mean);
    free(peers->sum);
    free(peers);
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

static uint64_t busy_of(const struct kofn_peers *peers, const struct peer *peer)
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
        const struct peer *peer = &peers->list[rank];
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
