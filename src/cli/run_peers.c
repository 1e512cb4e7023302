/* run_peers.c: a job without a server on this machine: its processes are started, watched and
 * stopped; the mean of their models is evaluated now and then, and what they did is put together.
 */
#include <kofn/kofn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "cli/engine.h"
#include "cli/peer_loop.h"
#include "cli/stop.h"

#define LOOK_NS (5 * KOFN_NS_PER_MS)
#define MEET_NS (40 * KOFN_NS_PER_S)
#define STOP_NS (5 * KOFN_NS_PER_S) /* for peers to finish the update they are in */

struct peers {
    struct kofn_run *run;
    struct kofn_graph graph;
    struct kofn_peer_task task;
    struct kofn_peer_board *board;
    size_t bytes; /* of the mapping */
    float *first, *mean;
    double *sum;
    uint64_t asked; /* the request for models that is not answered; 0 = none */
    bool *dead;     /* by rank; said already */
};

/* ---- set-up ---- */

static size_t models_bytes(const struct peers *peers)
{
    return kofn_round_up(
        (size_t)peers->graph.nodes * peers->run->workload.parameters * sizeof(float), KOFN_PAGE);
}

static int open_board(struct peers *peers)
{
    size_t head = kofn_round_up(sizeof(*peers->board), KOFN_PAGE);
    size_t list = kofn_round_up(peers->graph.nodes * sizeof(struct kofn_peer_share), KOFN_PAGE);
    size_t models = models_bytes(peers);
    char *memory;

    peers->bytes = head + list + 3 * models;
    memory = mmap(NULL, peers->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return kofn_error_errno(peers->run->log, "peers: %zu bytes of shared memory", peers->bytes);
    peers->board = (struct kofn_peer_board *)(void *)memory;
    peers->board->list = (struct kofn_peer_share *)(void *)(memory + head);
    peers->board->models = (float *)(void *)(memory + head + list);
    peers->board->residuals = (float *)(void *)(memory + head + list + models);
    peers->board->scales = (float *)(void *)(memory + head + list + 2 * models);
    peers->board->parent = getpid();
    return 0;
}

static int open_parts(struct peers *peers)
{
    struct kofn_run *run = peers->run;
    size_t n = run->workload.parameters;
    int rc = kofn_engine_graph(run->terms.algorithm, run->terms.workers, run->conf, run->log,
                               &peers->graph);

    if (!rc)
        rc = open_board(peers);
    if (rc)
        return rc;
    peers->first = calloc(n, sizeof(*peers->first));
    peers->mean = calloc(n, sizeof(*peers->mean));
    peers->sum = calloc(2 * n, sizeof(*peers->sum));
    peers->dead = calloc(peers->graph.nodes, sizeof(*peers->dead));
    if (!peers->first || !peers->mean || !peers->sum || !peers->dead)
        return kofn_error(run->log, KOFN_NO_MEMORY, "a model of %zu parameters", n);
    kofn_model_init(run->workload.model, peers->first);
    peers->task = (struct kofn_peer_task){
        .run = run, .graph = &peers->graph, .first = peers->first, .board = peers->board};
    return 0;
}

static void close_parts(struct peers *peers)
{
    if (peers->board)
        munmap(peers->board, peers->bytes);
    kofn_graph_free(&peers->graph);
    free(peers->first);
    free(peers->mean);
    free(peers->sum);
    free(peers->dead);
}

/* In the process of rank @rank. */
static int work(void *arg, uint32_t rank, const struct kofn_log *log)
{
    struct peers *peers = arg;
    struct kofn_run *run = peers->run;

    if (run->conf->pin == KOFN_PIN_AUTO &&
        kofn_place_bind_thread(&run->map, kofn_place_worker(rank), log))
        return KOFN_EXIT_FAILED;
    return kofn_peer_loop(&peers->task, rank, log) ? KOFN_EXIT_FAILED : KOFN_EXIT_DONE;
}

/* ---- start ---- */

static void rest(void)
{
    const struct timespec pause = {.tv_nsec = LOOK_NS};

    nanosleep(&pause, NULL);
}

static bool all_connected(const struct peers *peers)
{
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++)
        if (!kofn_board_look(&peers->board->list[rank].connected))
            return false;
    return true;
}

static int start(struct peers *peers)
{
    struct kofn_run *run = peers->run;
    uint64_t deadline = kofn_deadline(kofn_now_ns(), MEET_NS);
    char text[KOFN_CHILD_TEXT];
    int64_t failed;

    kofn_children_go(&run->children);
    while (!all_connected(peers)) {
        kofn_children_look(&run->children);
        failed = kofn_children_failed(&run->children);
        if (kofn_stop_signal())
            return KOFN_INTERRUPTED;
        if (failed >= 0)
            return kofn_error(run->log, KOFN_GONE, "rank %lld (pid %d) could not start: %s",
                              (long long)failed, (int)run->children.list[failed].pid,
                              kofn_child_end(&run->children.list[failed], text));
        if (kofn_now_ns() > deadline)
            return kofn_error(run->log, KOFN_TIMEOUT, "the peers have not found one another");
        rest();
    }
    run->start_ns = peers->board->start_ns = kofn_now_ns();
    kofn_board_say(&peers->board->go, 1);
    return 0;
}

/* ---- the job ---- */

static uint64_t rounds_of(const struct peers *peers, uint32_t rank)
{
    return __atomic_load_n(&peers->board->list[rank].busy.rounds, __ATOMIC_ACQUIRE);
}

static double seconds_at(const struct peers *peers, uint64_t now)
{
    return (double)kofn_since(now, peers->run->start_ns) / 1e9;
}

static bool ended(const struct peers *peers, uint32_t rank)
{
    return peers->run->children.list[rank].ended;
}

/* The mean of the models of those that @counts; false if there is none. */
static bool take_mean(struct peers *peers, bool (*counts)(const struct peers *, uint32_t))
{
    size_t n = peers->run->workload.parameters;
    uint32_t count = 0;

    memset(peers->sum, 0, n * sizeof(*peers->sum));
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++) {
        if (!counts(peers, rank))
            continue;
        count++;
        for (size_t i = 0; i < n; i++)
            peers->sum[i] += (double)peers->board->models[rank * n + i];
    }
    for (size_t i = 0; i < n && count; i++)
        peers->mean[i] = (float)(peers->sum[i] / count);
    return count > 0;
}

static bool is_living(const struct peers *peers, uint32_t rank)
{
    return !ended(peers, rank);
}

static bool has_finished(const struct peers *peers, uint32_t rank)
{
    return kofn_board_look(&peers->board->list[rank].finished) != 0;
}

static bool all_copied(const struct peers *peers)
{
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++)
        if (is_living(peers, rank) &&
            __atomic_load_n(&peers->board->list[rank].copied, __ATOMIC_ACQUIRE) != peers->asked)
            return false;
    return true;
}

static void give(struct peers *peers, uint64_t now)
{
    const struct kofn_point point = {.seconds = seconds_at(peers, now),
                                     .round = rounds_of(peers, peers->graph.root)};

    kofn_evaluator_give(peers->run->evaluator, peers->mean, &point);
}

/* Asks for models when an evaluation is due, and has their mean evaluated once all have answered.
 */
static void evaluate(struct peers *peers, uint64_t now)
{
    struct kofn_run *run = peers->run;

    kofn_run_take_score(run, false);
    if (!peers->asked && now >= run->score_ns && kofn_evaluator_free(run->evaluator)) {
        peers->asked = peers->board->wanted + 1;
        __atomic_store_n(&peers->board->wanted, peers->asked, __ATOMIC_RELEASE);
        run->score_ns = now + run->conf->eval_every;
    }
    if (!peers->asked || !all_copied(peers))
        return;
    peers->asked = 0;
    if (take_mean(peers, is_living))
        give(peers, now);
}

static void show(struct peers *peers, uint64_t now)
{
    struct kofn_run *run = peers->run;
    const struct kofn_moment moment = {.seconds = seconds_at(peers, now),
                                       .seconds_limit = (double)run->terms.seconds / 1e9,
                                       .rounds = rounds_of(peers, peers->graph.root),
                                       .rounds_limit = run->terms.rounds,
                                       .score = run->scored ? &run->score : NULL,
                                       .workers = run->terms.workers};

    if (now < run->show_ns)
        return;
    kofn_display_show(&run->display, &moment);
    run->show_ns = kofn_deadline(now, kofn_display_interval(&run->display));
}

/* The root has died, of @cause. */
static int lose_root(struct peers *peers, const char *cause)
{
    struct kofn_run *run = peers->run;
    uint32_t root = peers->graph.root;

    run->result.ended = KOFN_ENDED_ROOT_LOST;
    snprintf(run->result.ended_by, sizeof(run->result.ended_by), "rank %u, the root, is gone: %s",
             root, cause);
    return kofn_error(
        run->log, KOFN_GONE,
        "rank %u (pid %d), the root, where all mass comes together, is gone after %llu "
        "activations: %s; the job ends",
        root, (int)run->children.list[root].pid, (unsigned long long)rounds_of(peers, root), cause);
}

/* Says who has died. Returns KOFN_GONE if the job cannot go on without them. */
static int look_at_children(struct peers *peers)
{
    struct kofn_run *run = peers->run;
    char text[KOFN_CHILD_TEXT];

    kofn_children_look(&run->children);
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++) {
        if (!ended(peers, rank) || peers->dead[rank] || has_finished(peers, rank))
            continue;
        peers->dead[rank] = true;
        kofn_child_end(&run->children.list[rank], text);
        if (rank == peers->graph.root)
            return lose_root(peers, text);
        kofn_log(run->log, KOFN_LOG_WARN, "rank %u (pid %d): gone after %llu activations: %s", rank,
                 (int)run->children.list[rank].pid, (unsigned long long)rounds_of(peers, rank),
                 text);
    }
    return 0;
}

static bool is_over(struct peers *peers, uint64_t now)
{
    struct kofn_run *run = peers->run;

    run->result.ended = kofn_ending_look(
        &run->ending, &run->terms, rounds_of(peers, peers->graph.root),
        run->terms.seconds && now >= kofn_deadline(run->start_ns, run->terms.seconds));
    return run->result.ended != KOFN_ENDED_NOT;
}

static int let_run(struct peers *peers)
{
    uint64_t now = kofn_now_ns();
    int rc = 0;

    while (!rc && !is_over(peers, now)) {
        rest();
        now = kofn_now_ns();
        rc = look_at_children(peers);
        evaluate(peers, now);
        show(peers, now);
    }
    return rc;
}

/* ---- the account ---- */

static void account(const struct peers *peers, uint32_t rank, struct kofn_member_report *report)
{
    const struct kofn_busy *busy = &peers->board->list[rank].busy;
    double wall = (double)kofn_since(busy->end_ns, busy->start_ns) / 1e9;
    double work = (double)busy->busy_ns / 1e9, updates = (double)busy->updates;

    *report = (struct kofn_member_report){
        .size = sizeof(*report),
        .rank = rank,
        .epoch = 1,
        .pid = peers->run->children.list ? (int32_t)peers->run->children.list[rank].pid : 0,
        .state = peers->dead[rank] ? KOFN_MEMBER_GONE : KOFN_MEMBER_READY,
        .cause = peers->dead[rank] ? KOFN_CAUSE_DEAD : KOFN_CAUSE_NONE,
        .round = (uint32_t)busy->rounds,
        .finished = busy->updates,
        .merged = busy->updates,
        .publications = peers->board->list[rank].sent,
        .late_p50 = NAN,
        .late_p99 = NAN,
        .pace = updates > 0 ? wall / updates : NAN,
        .pace_mean = updates > 0 ? wall / updates : NAN,
        .compute_mean = updates > 0 ? work / updates : NAN,
        .post_mean = NAN,
        .wait_mean = NAN,
        .idle_fraction = wall > 0 ? fmax(0, 1 - work / wall) : NAN,
    };
    gethostname(report->host, sizeof(report->host) - 1);
}

/* The law, over those that have stopped in order: see kofn_node_residual(). */
static double violation(struct peers *peers)
{
    size_t n = peers->run->workload.parameters;
    double worst = 0, scale = 0;

    memset(peers->sum, 0, 2 * n * sizeof(*peers->sum));
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++)
        for (size_t i = 0; i < n && has_finished(peers, rank); i++) {
            peers->sum[i] += (double)peers->board->residuals[rank * n + i];
            peers->sum[n + i] += (double)peers->board->scales[rank * n + i];
        }
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(peers->sum[i]));
        scale = fmax(scale, peers->sum[n + i]);
    }
    return scale > 0 ? worst / scale : NAN;
}

static void put_together(struct peers *peers, double seconds)
{
    struct kofn_run *run = peers->run;
    struct kofn_tally *tally = &run->tally;

    tally->rounds = rounds_of(peers, peers->graph.root);
    tally->round_seconds = seconds;
    tally->round_times = peers->board->round_times;
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++) {
        account(peers, rank, &run->result.members[rank]);
        tally->publications += (double)peers->board->list[rank].sent;
    }
    tally->bytes = tally->publications * (double)(run->workload.parameters * sizeof(float));
    run->result.conservation_error = violation(peers);
    run->result.seconds = seconds;
    kofn_result_finish(&run->result, tally);
}

/* Marks who has died on the way, before the processes are forgotten. */
static void stop(struct peers *peers)
{
    struct kofn_run *run = peers->run;
    uint64_t deadline = kofn_deadline(kofn_now_ns(), STOP_NS);
    bool running = true;

    kofn_board_say(&peers->board->stop, 1);
    while (running && kofn_now_ns() < deadline) {
        rest();
        kofn_children_look(&run->children);
        running = false;
        for (uint32_t rank = 0; rank < peers->graph.nodes; rank++)
            running |= !ended(peers, rank);
    }
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++)
        peers->dead[rank] |= !has_finished(peers, rank);
}

static void finish(struct peers *peers, uint64_t end)
{
    struct kofn_run *run = peers->run;

    stop(peers);
    kofn_run_take_score(run, true); /* one that was running */
    put_together(peers, seconds_at(peers, end));
    if (take_mean(peers, has_finished)) {
        give(peers, end);
        kofn_run_take_score(run, true);
        run->result.loss = run->score.loss;
        run->result.accuracy = run->score.accuracy;
    }
    kofn_children_end(&run->children, kofn_now_ns());
}

/* A record that lacks what one peer could not write is none. */
static int check_record(struct peers *peers)
{
    for (uint32_t rank = 0; rank < peers->graph.nodes; rank++) {
        if (!peers->board->list[rank].busy.record_failed)
            continue;
        kofn_job_files_drop_record(&peers->run->files);
        return kofn_error(peers->run->log, KOFN_SYSTEM,
                          "--record: rank %u could not write its local updates; there is no %s",
                          rank, peers->run->conf->record);
    }
    return 0;
}

static int run_job(struct peers *peers)
{
    struct kofn_run *run = peers->run;
    uint64_t end;
    int rc;

    rc = kofn_children_start(&run->children, run->terms.workers, work, peers, run->log);
    if (!rc)
        rc = kofn_evaluator_open(&run->workload, run->log, &run->evaluator);
    if (!rc)
        rc = start(peers);
    if (rc) {
        kofn_board_say(&peers->board->stop, 1);
        kofn_children_end(&run->children, kofn_deadline(kofn_now_ns(), KOFN_NS_PER_S));
        return rc == KOFN_INTERRUPTED ? 0 : rc;
    }
    run->score_ns = run->start_ns + run->conf->eval_every;
    run->show_ns = kofn_deadline(run->start_ns, kofn_display_interval(&run->display));
    rc = let_run(peers);
    end = kofn_now_ns();
    kofn_display_clear(&run->display);
    finish(peers, end);
    if (check_record(peers))
        return KOFN_SYSTEM;
    return rc ? rc : kofn_ending_judge(&run->ending, run->conf, &run->result, run->log);
}

int kofn_run_peers(struct kofn_run *run)
{
    struct peers peers = {.run = run};
    int rc = open_parts(&peers);

    if (!rc)
        rc = run_job(&peers);
    close_parts(&peers);
    return rc;
}
