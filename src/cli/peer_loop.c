#include "cli/peer_loop.h"

#include <kofn/kofn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/meet.h"

#define MEET_NS (30 * KOFN_NS_PER_S)
#define LOOK_NS (100 * KOFN_NS_PER_MS) /* between two looks at who has ended */
#define MEET_PAUSE_NS (500 * KOFN_NS_PER_US)

struct loop {
    const struct kofn_peer_task *task;
    struct kofn_peer_board *board;
    struct kofn_peer_share *share;
    const struct kofn_log *log;
    struct kofn_rank_log named; /* for its transport, and its meeting */
    uint32_t rank;
    size_t parameters;
    struct kofn_peer_attr attr;
    struct kofn_peer_end peer;
    struct kofn_meeting meeting;
    struct kofn_learner learner;
    struct kofn_delay_source delays;
    float *gradient;
    uint64_t looked_ns, flushed_ns;
};

static bool is_over(const struct loop *loop)
{
    return kofn_board_look(&loop->board->stop) || getppid() != loop->board->parent;
}

/* ---- meeting ---- */

static const char *address_of(void *arg, uint32_t rank)
{
    const struct loop *loop = arg;
    const struct kofn_peer_share *share = &loop->board->list[rank];

    return kofn_board_look(&share->listens) ? share->address : NULL;
}

static void pause_ns(uint64_t ns)
{
    const struct timespec pause = {.tv_nsec = (long)ns};

    nanosleep(&pause, NULL);
}

/* Until all edges are connected, everywhere. */
static int meet(struct loop *loop)
{
    uint64_t deadline = kofn_deadline(kofn_now_ns(), MEET_NS);
    int rc = kofn_meet_open(&loop->peer, &loop->meeting);

    if (rc)
        return rc;
    snprintf(loop->share->address, sizeof(loop->share->address), "%s",
             loop->meeting.listener.address);
    kofn_board_say(&loop->share->listens, 1);
    while ((rc = kofn_meet_step(&loop->meeting, address_of, loop)) == KOFN_AGAIN) {
        if (is_over(loop))
            return 0;
        if (kofn_now_ns() > deadline)
            return kofn_error(loop->log, KOFN_TIMEOUT,
                              "rank %u: its neighbours are not all there "
                              "after %.0f s",
                              loop->rank, (double)MEET_NS / 1e9);
        pause_ns(MEET_PAUSE_NS);
    }
    kofn_board_say(&loop->share->connected, !rc);
    while (!rc && !kofn_board_look(&loop->board->go) && !is_over(loop)) {
        kofn_peer_take(&loop->peer);
        pause_ns(MEET_PAUSE_NS);
    }
    return rc;
}

/* ---- neighbours that end ---- */

static void lose(struct loop *loop, uint32_t rank)
{
    kofn_log(loop->log, KOFN_LOG_WARN,
             "rank %u: rank %u is gone, with the mass it had; going on without it", loop->rank,
             rank);
    kofn_peer_lose(&loop->peer, rank);
}

static void look_around(struct loop *loop, uint64_t now)
{
    uint32_t lost;

    if (loop->peer.failed != KOFN_ROOT_ANY && !is_over(loop))
        lose(loop, loop->peer.failed);
    if (now - loop->looked_ns < LOOK_NS || is_over(loop))
        return;
    loop->looked_ns = now;
    while ((lost = kofn_meet_lost(&loop->meeting)) != KOFN_ROOT_ANY && !is_over(loop))
        lose(loop, lost);
}

/* ---- activations ---- */

/* Until when this update lasts: injected delay, and a straggler's factor on both. */
static uint64_t end_of(struct loop *loop, uint64_t begin, uint64_t computed)
{
    const struct kofn_terms *terms = &loop->task->run->terms;
    double factor = kofn_straggler_factor(terms->stragglers, terms->straggler_count, loop->rank,
                                          begin - loop->board->start_ns);
    double delay = kofn_delay_next(&terms->delay, &loop->delays, loop->peer.node.activations);
    double takes = factor * ((double)(computed - begin) + delay);

    return kofn_deadline(begin, (uint64_t)fmin(takes, (double)KOFN_DURATION_MAX));
}

static void record(struct loop *loop, uint64_t begin, uint64_t computed, uint64_t end,
                   bool cancelled)
{
    struct kofn_trace_writer *trace = loop->task->run->files.trace;
    const struct kofn_trace_record line = {.rank = loop->rank,
                                           .round = (uint32_t)loop->peer.node.activations,
                                           .cancelled = cancelled,
                                           .start_ns = begin - loop->board->start_ns,
                                           .compute_ns = computed - begin,
                                           .delay_ns = end - computed};

    if (!trace)
        return;
    kofn_trace_add(trace, &line);
    if (end - loop->flushed_ns < KOFN_NS_PER_S / 2)
        return;
    loop->flushed_ns = end;
    loop->share->busy.record_failed |= kofn_trace_flush(trace, loop->log) != 0;
}

static void copy_model(struct loop *loop)
{
    memcpy(loop->board->models + loop->rank * loop->parameters, loop->peer.node.model,
           loop->parameters * sizeof(float));
}

/* What others see of this peer, after an activation that ended at @end. */
static void show(struct loop *loop, uint64_t begin, uint64_t end)
{
    struct kofn_peer_share *share = loop->share;
    uint64_t wanted = __atomic_load_n(&loop->board->wanted, __ATOMIC_ACQUIRE);
    const struct kofn_terms *terms = &loop->task->run->terms;

    share->sent = loop->peer.sent;
    share->lost = loop->peer.lost;
    share->skipped = loop->peer.skipped;
    share->busy.updates = loop->peer.node.activations;
    __atomic_store_n(&share->busy.rounds, loop->peer.node.activations, __ATOMIC_RELEASE);
    if (wanted != share->copied) {
        copy_model(loop);
        __atomic_store_n(&share->copied, wanted, __ATOMIC_RELEASE);
    }
    if (loop->rank != loop->task->graph->root)
        return;
    kofn_histogram_record(&loop->board->round_times, end - begin);
    if (terms->rounds && loop->peer.node.activations >= terms->rounds)
        kofn_board_say(&loop->board->stop, 1);
}

static void activate(struct loop *loop)
{
    struct kofn_node *node = &loop->peer.node;
    uint64_t begin = kofn_now_ns(), computed, until, now;
    bool over;

    kofn_peer_take(&loop->peer);
    look_around(loop, begin);
    kofn_node_begin(node);
    kofn_learner_gradient(&loop->learner, node->point, loop->gradient);
    computed = now = kofn_now_ns();
    until = end_of(loop, begin, computed);
    while (now < until && !is_over(loop)) {
        kofn_peer_wait(&loop->peer, until);
        now = kofn_now_ns();
        look_around(loop, now);
    }
    over = is_over(loop);
    loop->share->busy.busy_ns += now - begin;
    loop->share->busy.end_ns = now;
    record(loop, begin, computed, now, over);
    if (over)
        return;
    kofn_peer_take(&loop->peer);
    kofn_node_finish(node, loop->gradient);
    kofn_peer_send(&loop->peer);
    show(loop, begin, kofn_now_ns());
}

/* The last of this peer, for the account. */
static int conclude(struct loop *loop)
{
    size_t n = loop->parameters, at = loop->rank * n;
    double *sum = calloc(2 * n, sizeof(*sum));

    if (!sum)
        return kofn_error(loop->log, KOFN_NO_MEMORY, "rank %u: its account", loop->rank);
    kofn_node_residual(&loop->peer.node, sum, sum + n);
    for (size_t i = 0; i < n; i++) {
        loop->board->residuals[at + i] = (float)sum[i];
        loop->board->scales[at + i] = (float)sum[n + i];
    }
    free(sum);
    copy_model(loop);
    kofn_board_say(&loop->share->finished, 1);
    return 0;
}

static int work(struct loop *loop)
{
    int rc = meet(loop);

    if (rc || !kofn_board_look(&loop->board->go))
        return rc;
    loop->share->busy.start_ns = loop->looked_ns = kofn_now_ns();
    while (!is_over(loop))
        activate(loop);
    return conclude(loop);
}

static void set_up(struct loop *loop)
{
    const struct kofn_run *run = loop->task->run;

    kofn_rank_log_init(&loop->named, loop->log, loop->rank);
    loop->attr = (struct kofn_peer_attr){
        .node = {.algorithm = run->terms.algorithm,
                 .graph = loop->task->graph,
                 .rank = loop->rank,
                 .parameters = loop->parameters,
                 .first = loop->task->first,
                 .learning_rate = run->conf->lr,
                 .seed = run->conf->seed,
                 .log = loop->log},
        .transport = run->conf->transport,
        .options = run->conf->transport_options,
        .bind = "127.0.0.1",
        .peer_timeout = run->conf->peer_timeout,
        .loss = run->conf->loss,
        .log = &loop->named.log,
    };
    kofn_delay_source_init(&loop->delays, run->conf->seed, loop->rank);
}

int kofn_peer_loop(const struct kofn_peer_task *task, uint32_t rank, const struct kofn_log *log)
{
    struct loop loop = {.task = task,
                        .board = task->board,
                        .share = &task->board->list[rank],
                        .log = log,
                        .rank = rank,
                        .parameters = task->run->workload.parameters};
    int rc;

    set_up(&loop);
    rc = kofn_learner_open(&loop.learner, &task->run->workload, rank, log);
    if (rc)
        return rc;
    loop.gradient = kofn_node_vector(loop.parameters);
    rc = loop.gradient ? kofn_peer_open(&loop.attr, &loop.peer)
                       : kofn_error(log, KOFN_NO_MEMORY, "rank %u: a gradient", rank);
    if (!rc) {
        rc = work(&loop);
        kofn_meet_close(&loop.meeting);
        kofn_peer_close(&loop.peer);
    }
    if (task->run->files.trace && kofn_trace_flush(task->run->files.trace, log))
        loop.share->busy.record_failed = true;
    free(loop.gradient);
    kofn_learner_close(&loop.learner);
    return rc;
}
