#include "cli/worker_loop.h"

#include <kofn/kofn.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/stop.h"
#include "train/sgd.h"

#define TRACE_FLUSH_NS (500 * KOFN_NS_PER_MS) /* what a killed worker may leave unsaid */

/* A worker at work. */
struct loop {
    const struct kofn_worker_task *task;
    const struct kofn_log *log;
    uint32_t rank;
    struct kofn_worker *worker;
    struct kofn_learner learner;
    struct kofn_delay_source delays;
    struct kofn_sgd sgd;
    float *model;
    float *gradient; /* own memory, where the payload is DELTA; else NULL */
    struct kofn_busy *busy;
    uint64_t flushed_ns;
    size_t parameters;
};

/* One local update, while it is made. */
struct step {
    uint32_t round, update;
    uint64_t begin, computed;
    float loss;
};

/* Who goes on without a record says so where the parent sees it: the file is its to drop. */
static int flush_record(struct loop *loop)
{
    if (!loop->task->trace || !kofn_trace_flush(loop->task->trace, loop->log))
        return 0;
    loop->busy->record_failed = true;
    return KOFN_SYSTEM;
}

static void record(struct loop *loop, const struct step *step, uint64_t end, uint64_t published,
                   bool cancelled)
{
    const struct kofn_trace_record line = {.rank = loop->rank,
                                           .round = step->round,
                                           .update = step->update,
                                           .cancelled = cancelled,
                                           .start_ns = step->begin - loop->busy->start_ns,
                                           .compute_ns = step->computed - step->begin,
                                           .delay_ns = end - step->computed,
                                           .publish_ns = published - end};

    if (!loop->task->trace)
        return;
    kofn_trace_add(loop->task->trace, &line);
    if (published - loop->flushed_ns > TRACE_FLUSH_NS || loop->task->trace->status) {
        flush_record(loop);
        loop->flushed_ns = published;
    }
}

/* What is to be waited after the computing of @step, ns: the injected delay, and for a straggler so
 * much that both together take its factor times as long.
 */
static uint64_t pause_of(struct loop *loop, const struct step *step)
{
    const struct kofn_terms *terms = loop->task->terms;
    double factor = kofn_straggler_factor(terms->stragglers, terms->straggler_count, loop->rank,
                                          step->begin - loop->busy->start_ns);
    double compute = (double)(step->computed - step->begin);
    double delay = kofn_delay_next(&terms->delay, &loop->delays, step->round);
    double pause = factor * (compute + delay) - compute;

    return pause > 0 ? (uint64_t)fmin(pause, (double)KOFN_DURATION_MAX) : 0;
}

/* After a call that a signal has interrupted: is it to be made again? */
static bool again(const struct loop *loop, int rc)
{
    return rc == KOFN_INTERRUPTED && !(loop->task->stops && kofn_stop_signal());
}

/* kofn_worker_pause(), going on after signals. */
static int pause_for(struct loop *loop, uint64_t duration)
{
    uint64_t until = kofn_deadline(kofn_now_ns(), duration), now;
    int rc;

    do {
        now = kofn_now_ns();
        rc = kofn_worker_pause(loop->worker, until > now ? until - now : 0);
    } while (again(loop, rc));
    return rc;
}

/* One local update. Returns 0 for another one on the same model, or what the library says. */
static int work(struct loop *loop, struct step *step)
{
    /* where the payload is a gradient it is written straight to where it is sent from */
    float *gradient = loop->gradient;
    struct kofn_update update;
    uint64_t pause, end;
    int rc = 0;

    while (!gradient && (rc == 0 || again(loop, rc))) {
        gradient = kofn_worker_gradient(loop->worker);
        rc = gradient ? 0 : kofn_worker_report(loop->worker, NULL, NULL);
    }
    if (rc) /* the job is over, or the server gone */
        return rc;
    step->begin = kofn_now_ns();
    step->loss = kofn_learner_gradient(&loop->learner, loop->model, gradient);
    step->computed = kofn_now_ns();
    pause = pause_of(loop, step);
    if (pause)
        rc = pause_for(loop, pause);
    end = kofn_now_ns();
    loop->busy->busy_ns += end - step->begin;
    loop->busy->end_ns = end;
    if (rc) {
        /* too late: the model has not been touched, and the update never was */
        record(loop, step, end, end, true);
        return rc;
    }
    if (loop->gradient)
        kofn_sgd_step(&loop->sgd, loop->model, gradient);
    update = (struct kofn_update){.loss = step->loss, .compute_ns = end - step->begin};
    do
        rc = kofn_worker_report(loop->worker, loop->model, &update);
    while (again(loop, rc));
    loop->busy->updates += rc >= 0;
    record(loop, step, end, kofn_now_ns(), false);
    return rc;
}

static int work_until_over(struct loop *loop)
{
    struct step step = {0};
    int rc;

    for (;;) {
        do
            rc = kofn_worker_take(loop->worker, loop->model, &step.round);
        while (again(loop, rc));
        loop->busy->end_ns = kofn_now_ns(); /* what it waited for does not matter */
        if (rc)
            return rc;
        if (!loop->busy->start_ns)
            loop->busy->start_ns = loop->busy->end_ns;
        loop->busy->rounds++;
        loop->busy->round = step.round;
        if (!(kofn_worker_job(loop->worker)->pullback > 0)) /* else the model is still its own */
            kofn_sgd_reset(&loop->sgd);
        for (step.update = 0; !rc; step.update++)
            rc = loop->task->stops && kofn_stop_signal() ? KOFN_INTERRUPTED : work(loop, &step);
        if (rc != KOFN_ROUND_OVER)
            return rc;
    }
}

/* Only the server knows its algorithm. */
static int check_momentum(const struct loop *loop)
{
    const struct kofn_job *job = kofn_worker_job(loop->worker);

    if (job->payload != KOFN_PAYLOAD_GRADIENT || loop->task->momentum <= 0)
        return 0;
    return kofn_error(loop->log, KOFN_INVALID,
                      "rank %u: --momentum: with algorithm %s the server makes the step; workers "
                      "have no momentum",
                      loop->rank, job->algorithm);
}

static int allocate(struct loop *loop)
{
    size_t bytes = kofn_round_up(loop->parameters * sizeof(float), KOFN_CACHE_LINE);

    loop->model = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (kofn_worker_job(loop->worker)->payload == KOFN_PAYLOAD_DELTA)
        loop->gradient = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (!loop->model ||
        (!loop->gradient && kofn_worker_job(loop->worker)->payload == KOFN_PAYLOAD_DELTA))
        return kofn_error(loop->log, KOFN_NO_MEMORY, "rank %u: a model of %zu bytes", loop->rank,
                          bytes);
    return 0;
}

int kofn_worker_loop(const struct kofn_worker_task *task, uint32_t rank, const struct kofn_log *log)
{
    struct kofn_worker_attr attr = {.size = sizeof(attr),
                                    .address = task->address,
                                    .rank = rank,
                                    .parameters = task->workload->parameters,
                                    .timeout = task->timeout,
                                    .spin = task->spin,
                                    .log = log,
                                    .transport = task->transport,
                                    .transport_options = task->transport_options,
                                    .workload = task->description};
    struct loop loop = {.task = task,
                        .log = log,
                        .rank = rank,
                        .busy = task->busy,
                        .parameters = task->workload->parameters};
    int rc;

    kofn_delay_source_init(&loop.delays, task->workload->seed, rank);
    rc = kofn_learner_open(&loop.learner, task->workload, rank, log);
    if (rc)
        return rc;
    rc = kofn_sgd_open(loop.parameters, task->lr, task->momentum, log, &loop.sgd);
    if (rc)
        goto close_learner;
    do
        rc = kofn_worker_open(&attr, &loop.worker);
    while (again(&loop, rc));
    if (rc)
        goto close_sgd;
    rc = check_momentum(&loop);
    if (!rc)
        rc = allocate(&loop);
    if (!rc)
        rc = work_until_over(&loop);
    free(loop.gradient);
    free(loop.model);
    kofn_worker_close(loop.worker);
    if (flush_record(&loop) && rc >= 0)
        rc = KOFN_SYSTEM;
close_sgd:
    kofn_sgd_close(&loop.sgd);
close_learner:
    kofn_learner_close(&loop.learner);
    return rc == KOFN_JOB_OVER ? 0 : rc;
}
