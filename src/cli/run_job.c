/* run_job.c: a job from its first round to its end: the server's loop, and what is done beside it.
 */
#include <kofn/kofn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/run.h"
#include "cli/stop.h"

#define LOOK_NS (50 * KOFN_NS_PER_MS) /* at least so often the loop looks up */
#define STOP_NS (2 * KOFN_NS_PER_S)   /* for workers to finish the update they are in */
#define LEAVE_NS (1 * KOFN_NS_PER_S)  /* for their processes to end after that */

static double seconds_since(const struct kofn_run *run, uint64_t now)
{
    return run->start_ns && now > run->start_ns ? (double)(now - run->start_ns) / 1e9 : 0;
}

/* ---- start ---- */

static int refuse_start(struct kofn_run *run, int64_t rank)
{
    char text[KOFN_CHILD_TEXT];

    return kofn_error(run->log, KOFN_GONE, "rank %lld (pid %d) could not start: %s",
                      (long long)rank, (int)run->children.list[rank].pid,
                      kofn_child_end(&run->children.list[rank], text));
}

/* Is there anything to wait for? A worker that ends before it has joined would be waited for, and a
 * signal that came before the server could be woken has woken nobody: whatever comes from here on
 * does (kofn_stop_wakes()).
 */
static int check_start(struct kofn_run *run)
{
    int64_t failed;

    kofn_children_look(&run->children);
    if (kofn_stop_signal())
        return KOFN_INTERRUPTED;
    failed = kofn_children_failed(&run->children);
    return failed < 0 ? 0 : refuse_start(run, failed);
}

/* Waits for the workers, and lets the first round begin. */
static int start(struct kofn_run *run)
{
    float *first = calloc(run->workload.parameters, sizeof(float));
    int rc;

    if (!first)
        return kofn_error(run->log, KOFN_NO_MEMORY, "a model of %zu parameters",
                          run->workload.parameters);
    kofn_model_init(run->workload.model, first);
    do {
        rc = check_start(run);
        if (rc)
            break;
        rc = kofn_server_start(run->server, first);
    } while (rc == KOFN_INTERRUPTED);
    free(first);
    return rc;
}

/* ---- beside the rounds ---- */

void kofn_run_take_score(struct kofn_run *run, bool wait)
{
    if (!kofn_evaluator_take(run->evaluator, wait, &run->score))
        return;
    run->scored = true;
    if (kofn_curve_add(&run->result.curve, &run->score))
        kofn_log(run->log, KOFN_LOG_WARN, "no memory for the curve; it is cut off");
    kofn_ending_score(&run->ending, run->conf, &run->score);
}

static void give_model(struct kofn_run *run, uint64_t now)
{
    const struct kofn_point point = {.seconds = seconds_since(run, now),
                                     .round = run->tally.rounds};

    kofn_evaluator_give(run->evaluator, kofn_server_model(run->server), &point);
}

/* What is known of the workers now, into the result. */
static void read_members(struct kofn_run *run)
{
    for (uint32_t rank = 0; rank < run->terms.workers; rank++) {
        run->result.members[rank].size = sizeof(run->result.members[rank]);
        kofn_server_member(run->server, rank, &run->result.members[rank]);
    }
}

static void show(struct kofn_run *run, uint64_t now)
{
    struct kofn_moment moment = {.seconds = seconds_since(run, now),
                                 .seconds_limit = (double)run->terms.seconds / 1e9,
                                 .rounds = run->tally.rounds,
                                 .rounds_limit = run->terms.rounds,
                                 .score = run->scored ? &run->score : NULL,
                                 .workers = run->terms.workers};

    if (run->display.mode == KOFN_DISPLAY_LIVE) {
        read_members(run);
        moment.members = run->result.members;
    }
    kofn_display_show(&run->display, &moment);
}

/* Everything that is not the server's work; each part of it when it is due. */
static void look_up(struct kofn_run *run, uint64_t now)
{
    kofn_children_look(&run->children);
    kofn_run_take_score(run, false);
    if (now >= run->score_ns && kofn_evaluator_free(run->evaluator) && run->tally.rounds) {
        give_model(run, now);
        run->score_ns = now + run->conf->eval_every;
    }
    if (now >= run->show_ns) {
        show(run, now);
        run->show_ns = kofn_deadline(now, kofn_display_interval(&run->display));
    }
}

/* ---- rounds ---- */

static uint64_t end_of(const struct kofn_run *run)
{
    return run->terms.seconds ? kofn_deadline(run->start_ns, run->terms.seconds) : KOFN_FOREVER;
}

static bool is_over(struct kofn_run *run, uint64_t now)
{
    run->result.ended =
        kofn_ending_look(&run->ending, &run->terms, run->tally.rounds, now >= end_of(run));
    return run->result.ended != KOFN_ENDED_NOT;
}

static void count_round(struct kofn_run *run, const struct kofn_round_report *report)
{
    kofn_tally_add(&run->tally, report);
    kofn_ending_round(&run->ending, run->conf, report, run->log);
}

static int serve(struct kofn_run *run)
{
    struct kofn_round_report report = {.size = sizeof(report)};
    uint64_t now = kofn_now_ns(), look_ns = now;
    int rc;

    while (!is_over(run, now)) {
        rc = kofn_server_step(run->server, KOFN_MIN(look_ns + LOOK_NS, end_of(run)) - now, &report);
        now = kofn_now_ns();
        if (!rc)
            count_round(run, &report);
        else if (rc != KOFN_TIMEOUT && rc != KOFN_INTERRUPTED)
            return rc;
        if (now - look_ns < LOOK_NS && rc != KOFN_INTERRUPTED)
            continue;
        look_up(run, now);
        look_ns = now = kofn_now_ns();
    }
    return 0;
}

/* ---- end ---- */

/* As the worker itself knows it: the server does not see what updates cost that were cancelled. */
static double idle_of(const struct kofn_busy *busy)
{
    if (!busy->start_ns || busy->end_ns <= busy->start_ns)
        return NAN;
    return fmax(0, 1 - (double)busy->busy_ns / (double)(busy->end_ns - busy->start_ns));
}

/* The final account of every worker. How it did is told by its state in the job, not by its leaving
 * at the end. */
static void close_accounts(struct kofn_run *run)
{
    struct kofn_member_report *members = run->result.members, last;

    for (uint32_t rank = 0; rank < run->terms.workers; rank++) {
        last.size = sizeof(last);
        if (kofn_server_member(run->server, rank, &last))
            continue;
        if (last.state == KOFN_MEMBER_LEFT) {
            last.state = members[rank].state;
            last.round = members[rank].round;
            last.silence = members[rank].silence;
        }
        if (last.cause == KOFN_CAUSE_NONE)
            last.cause = members[rank].cause;
        if (run->busy)
            last.idle_fraction = idle_of(&run->busy[rank]);
        members[rank] = last;
    }
}

/* Evaluates the model of the last round that has closed: what the end of the job merges beyond it
 * depends on how far everybody happens to be.
 */
static void score_last(struct kofn_run *run, const float *model, uint64_t end)
{
    struct kofn_point last = {.seconds = seconds_since(run, end), .round = run->tally.rounds};

    kofn_run_take_score(run, true); /* one that was running */
    kofn_evaluator_give(run->evaluator, model, &last);
    kofn_run_take_score(run, true);
    run->result.seconds = last.seconds;
    run->result.loss = run->score.loss;
    run->result.accuracy = run->score.accuracy;
}

static int finish(struct kofn_run *run, uint64_t end)
{
    size_t bytes = run->workload.parameters * sizeof(float);
    float *model = malloc(bytes);

    if (!model)
        return kofn_error(run->log, KOFN_NO_MEMORY, "%zu bytes for the last model", bytes);
    memcpy(model, kofn_server_model(run->server), bytes);
    read_members(run);
    kofn_server_stop(run->server, STOP_NS);
    kofn_children_end(&run->children, kofn_deadline(kofn_now_ns(), LEAVE_NS));
    close_accounts(run);
    score_last(run, model, end);
    free(model);
    kofn_result_finish(&run->result, &run->tally);
    return 0;
}

int kofn_run_job(struct kofn_run *run)
{
    uint64_t end;
    int rc;

    rc = kofn_evaluator_open(&run->workload, run->log, &run->evaluator);
    if (rc)
        return rc;
    rc = start(run);
    if (rc)
        return rc == KOFN_INTERRUPTED ? 0 : rc; /* the signal is known to the caller */
    run->start_ns = kofn_now_ns();
    run->score_ns = run->start_ns + run->conf->eval_every;
    run->show_ns = kofn_deadline(run->start_ns, kofn_display_interval(&run->display));
    rc = serve(run);
    end = kofn_now_ns();
    if (rc == KOFN_GONE)
        run->result.ended = KOFN_ENDED_WORKERS_LOST;
    kofn_display_clear(&run->display);
    if (finish(run, end))
        return KOFN_NO_MEMORY;
    return rc ? rc : kofn_ending_judge(&run->ending, run->conf, &run->result, run->log);
}
