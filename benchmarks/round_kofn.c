/* The rounds of kofn itself. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kofn/kofn.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "benchmarks/round_contenders.h"
#include "benchmarks/round_data.h"

static void complain(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "kofn: %s\n", message);
}

/* Workers that wait for a CPU look slow, and are reported: not in the middle of a measurement. */
static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR, .write = complain};

/* What the workers tell the benchmark, in memory they share. */
struct outcome {
    double median; /* ns a round, of worker 0 */
    uint32_t wrong[ROUND_WORKERS];
};

static bool right(const float *model, size_t count, uint32_t round)
{
    double wanted = round % 2 ? 0 : round_expect(ROUND_WORKERS, round - 1, count);

    return round_read(model, count) == wanted;
}

/* The next model: a copy at @copy or, without one, where the server has published it. */
static int next_model(struct kofn_worker *worker, float *copy, const float **model, uint32_t *round)
{
    *model = copy;
    return copy ? kofn_worker_take(worker, copy, round) : kofn_worker_view(worker, model, round);
}

/* Rounds until the server ends the job. */
static int work(struct kofn_worker *worker, uint32_t rank, const struct round_shape *shape,
                float *copy, double *times, uint32_t *wrong)
{
    size_t count = shape->bytes / sizeof(float);
    double before = 0, now;
    const float *model;
    uint32_t round;
    bool good;
    int rc = next_model(worker, copy, &model, &round);

    for (uint32_t i = 0; !rc; i++) {
        float *update = kofn_worker_gradient(worker);

        if (!update)
            return KOFN_GONE;
        round_fill(update, count, rank, round);
        rc = kofn_worker_report(worker, NULL, NULL);
        if (rc == KOFN_ROUND_OVER)
            rc = next_model(worker, copy, &model, &round);
        if (rc)
            break;
        good = right(model, count, round);
        now = round_clock();
        if (i >= shape->warm && i < shape->warm + shape->rounds)
            times[i - shape->warm] = now - before;
        before = now;
        if (i < shape->warm + shape->rounds) /* the end of the job cuts the last round short */
            *wrong += !good;
    }
    return rc == KOFN_JOB_OVER ? 0 : rc;
}

static int be_worker(const struct round_kofn *job, const char *address, uint32_t rank,
                     struct outcome *outcome)
{
    const struct round_shape *shape = job->shape;
    struct kofn_worker_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .rank = rank,
                                    .parameters = shape->bytes / sizeof(float),
                                    .spin = job->spin,
                                    .log = &quiet};
    double *times = calloc(shape->rounds, sizeof(*times));
    float *copy = NULL;
    struct kofn_worker *worker;
    int rc;

    if (job->copy)
        copy = aligned_alloc(KOFN_PAGE, kofn_round_up(shape->bytes, KOFN_PAGE));
    if (!times || (job->copy && !copy))
        return KOFN_NO_MEMORY;
    rc = kofn_worker_open(&attr, &worker);
    if (rc)
        return rc;
    rc = work(worker, rank, shape, copy, times, &outcome->wrong[rank]);
    kofn_worker_close(worker);
    if (!rc && rank == 0)
        outcome->median = round_median(times, shape->rounds);
    free(times);
    free(copy);
    return rc;
}

static int serve(const struct round_kofn *job, const char *address)
{
    /* with a learning rate of -N the step is the plain sum of the updates */
    struct kofn_server_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .workers = ROUND_WORKERS,
                                    .parameters = job->shape->bytes / sizeof(float),
                                    .algorithm = "sync",
                                    .learning_rate = -(double)ROUND_WORKERS,
                                    .merge_threads = job->merge_threads,
                                    .spin = job->spin,
                                    .log = &quiet};
    float *model = calloc(1, job->shape->bytes);
    struct kofn_server *server;
    int rc;

    if (!model)
        return kofn_error(NULL, KOFN_NO_MEMORY, "no memory for a model");
    rc = kofn_server_open(&attr, &server);
    if (rc)
        goto free_model;
    rc = kofn_server_start(server, model);
    /* one more: the end of the job takes the place of the last model */
    for (uint32_t i = 0; !rc && i <= job->shape->warm + job->shape->rounds; i++)
        rc = kofn_server_step(server, ROUND_PATIENCE * KOFN_NS_PER_S, NULL);
    kofn_server_close(server);

free_model:
    free(model);
    return rc;
}

static int wait_for_all(const pid_t *children)
{
    int failed = 0, how;

    for (uint32_t rank = 0; rank < ROUND_WORKERS; rank++)
        if (children[rank] > 0 && waitpid(children[rank], &how, 0) > 0)
            failed += !WIFEXITED(how) || WEXITSTATUS(how);
    return failed ? kofn_error(NULL, KOFN_GONE, "%d workers have failed", failed) : 0;
}

static int run(const struct round_kofn *job, struct outcome *outcome)
{
    pid_t children[ROUND_WORKERS] = {0};
    char address[64];
    int rc = 0, ended;

    snprintf(address, sizeof(address), "shm:bench-%ld-%llx", (long)getpid(),
             (unsigned long long)kofn_now_ns());
    fflush(NULL);
    for (uint32_t rank = 0; !rc && rank < ROUND_WORKERS; rank++) {
        children[rank] = fork();
        if (children[rank] == 0)
            _exit(be_worker(job, address, rank, outcome) ? 1 : 0);
        if (children[rank] < 0)
            rc = kofn_error_errno(NULL, "fork");
    }
    rc = rc ? rc : serve(job, address);
    ended = wait_for_all(children);
    return rc ? rc : ended;
}

int round_kofn_measure(void *arg, double *us, const char **why)
{
    struct outcome *outcome =
        mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t wrong = 0;
    int rc;

    (void)why;
    if (outcome == MAP_FAILED)
        return kofn_error_errno(NULL, "mmap");
    rc = run(arg, outcome);
    for (uint32_t rank = 0; rank < ROUND_WORKERS; rank++)
        wrong += outcome->wrong[rank];
    if (!rc && wrong)
        rc = kofn_error(NULL, KOFN_FORMAT, "%u models were wrong", wrong);
    *us = outcome->median / 1e3;
    munmap(outcome, sizeof(*outcome));
    return rc;
}
