/* What communication costs a worker: the CPU time of a local update with it and without.
 *
 * One worker with a core to itself; its server has another. STSyn, eager: the worker publishes
 * after every local update, which computes and sends the difference to the model it began with, and
 * takes the model of the next round every five. The same process runs both loops in turns, so that
 * code and memory are the same. The local update is that of the built-in MLP, on one thread, with a
 * mini-batch that makes it take as long as a row says.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kofn/kofn.h>

#include "base/clock.h"
#include "base/log.h"
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "train/model.h"
#include "train/sgd.h"

#define LOCAL_STEPS 5u
#define BATCH_MAX 16384u
#define RATE 1e-3     /* small: what is learned does not matter, that it stays finite does */
#define REPEAT 4      /* a sample is short and the difference small: so many more of them */
#define CALIBRATION 4 /* tries to hit the time of an update */

/* A model of 256 features, so many units and 10 classes, and how long an update takes. */
struct row {
    uint32_t hidden;
    unsigned ms;
    const char *bar;
};

static const struct row rows[] = {
    {100, 5, "<= 1.01"}, {1500, 5, NULL}, {1500, 40, "<= 1.01"}, {15000, 40, NULL}};

struct loop {
    struct kofn_data *data;
    struct kofn_model *model;
    struct kofn_sgd sgd;
    size_t parameters;
    uint32_t batch, next, *index; /* the next mini-batch begins with sample index[next] */
    float *own, *taken, *gradient;
    struct kofn_worker *worker;
    pid_t server;
};

/* ---- the local update ---- */

static void update(struct loop *loop, float *parameters)
{
    struct kofn_batch batch = {.count = loop->batch};

    if (loop->next + loop->batch > loop->data->train.count)
        loop->next = 0;
    batch.index = loop->index + loop->next;
    loop->next += loop->batch;
    kofn_model_gradient(loop->model, parameters, &batch, loop->gradient);
    kofn_sgd_step(&loop->sgd, parameters, loop->gradient);
}

static double cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Chooses the mini-batch with which an update takes about @us. */
static void calibrate(struct loop *loop, double us)
{
    double most = KOFN_MIN(BATCH_MAX, loop->data->train.count);

    loop->batch = 16;
    for (int i = 0; i < CALIBRATION; i++) {
        double start = cpu_us(), batch;

        update(loop, loop->own);
        update(loop, loop->own);
        batch = loop->batch * us / ((cpu_us() - start) / 2);
        loop->batch = (uint32_t)KOFN_MIN(KOFN_MAX(batch, 1.0), most);
    }
}

/* ---- the two loops ---- */

static int measure_alone(void *arg, double *us, const char **why)
{
    struct loop *loop = arg;
    double start = cpu_us();

    (void)why;
    for (uint32_t i = 0; i < LOCAL_STEPS; i++)
        update(loop, loop->own);
    *us = (cpu_us() - start) / LOCAL_STEPS;
    return 0;
}

/* A round: until its gate closes, and the model of the next one. */
static int measure_publishing(void *arg, double *us, const char **why)
{
    struct loop *loop = arg;
    double start = cpu_us();
    uint32_t updates = 0;
    int rc = 0;

    (void)why;
    for (; !rc; updates++) {
        update(loop, loop->taken);
        rc = kofn_worker_report(loop->worker, loop->taken, NULL);
    }
    if (rc == KOFN_ROUND_OVER)
        rc = kofn_worker_take(loop->worker, loop->taken, NULL);
    *us = (cpu_us() - start) / updates;
    return rc;
}

/* ---- server and worker ---- */

static void forget(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg, (void)level, (void)message;
}

/* The worker is silent while the other loop runs, and leaves before the server: that is no news. */
static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR, .write = forget};

static int serve(const char *address, size_t parameters, const float *model, int cpu)
{
    struct kofn_server_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .workers = 1,
                                    .parameters = parameters,
                                    .algorithm = "stsyn",
                                    .local_steps = LOCAL_STEPS,
                                    .spin = kofn_spin_budget(2),
                                    .log = &quiet};
    struct kofn_server *server;
    int rc = bench_pin(cpu);

    rc = rc ? rc : kofn_server_open(&attr, &server);
    if (rc)
        return rc;
    rc = kofn_server_start(server, model);
    while (!rc) {
        rc = kofn_server_step(server, KOFN_NS_PER_S, NULL);
        if (rc == KOFN_TIMEOUT)
            rc = 0;
    }
    kofn_server_close(server);
    return rc == KOFN_GONE ? 0 : rc; /* the worker has left */
}

/* Starts the server's process and joins it. */
static int join(struct loop *loop, int here, int there)
{
    char address[64];
    struct kofn_worker_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .parameters = loop->parameters,
                                    .spin = kofn_spin_budget(2)};
    pid_t parent = getpid();
    int rc;

    snprintf(address, sizeof(address), "shm:bench-%ld-%llx", (long)parent,
             (unsigned long long)kofn_now_ns());
    fflush(NULL);
    loop->server = fork();
    if (loop->server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(getppid() != parent || serve(address, loop->parameters, loop->own, there) ? 1 : 0);
    }
    if (loop->server < 0)
        return kofn_error_errno(NULL, "overhead: fork");
    rc = bench_pin(here);
    rc = rc ? rc : kofn_worker_open(&attr, &loop->worker);
    return rc ? rc : kofn_worker_take(loop->worker, loop->taken, NULL);
}

static float *array_of(size_t parameters)
{
    return aligned_alloc(KOFN_PAGE, kofn_round_up(parameters * sizeof(float), KOFN_PAGE));
}

static int allocate(struct loop *loop, uint32_t hidden)
{
    struct kofn_model_attr attr = {
        .name = "mlp", .data = loop->data, .batch = BATCH_MAX, .hidden = hidden};
    int rc = kofn_model_open(&attr, NULL, &loop->model);

    if (rc)
        return rc;
    loop->parameters = kofn_model_parameters(loop->model);
    loop->own = array_of(loop->parameters);
    loop->taken = array_of(loop->parameters);
    loop->gradient = array_of(loop->parameters);
    loop->index = calloc(loop->data->train.count, sizeof(*loop->index));
    if (!loop->own || !loop->taken || !loop->gradient || !loop->index)
        return kofn_error(NULL, KOFN_NO_MEMORY, "overhead: no memory for %zu parameters",
                          loop->parameters);
    for (uint32_t i = 0; i < loop->data->train.count; i++)
        loop->index[i] = i;
    kofn_model_init(loop->model, loop->own);
    return kofn_sgd_open(loop->parameters, RATE, 0, NULL, &loop->sgd);
}

/* Returns KOFN_GONE if the server has not ended well. */
static int close_loop(struct loop *loop)
{
    int status = 0, rc = 0;

    kofn_worker_close(loop->worker);
    if (loop->server > 0)
        waitpid(loop->server, &status, 0);
    if (status)
        rc = kofn_error(NULL, KOFN_GONE, "overhead: the server has failed");
    kofn_sgd_close(&loop->sgd);
    kofn_model_close(loop->model);
    free(loop->own);
    free(loop->taken);
    free(loop->gradient);
    free(loop->index);
    kofn_data_close(loop->data);
    return rc;
}

/* ---- rows ---- */

static int compare(struct bench *bench, struct loop *loop, const struct row *row)
{
    static struct bench_contender ours, alone;
    struct bench_contender *all[] = {&ours, &alone};
    char name[100];
    int rc;

    ours =
        (struct bench_contender){.name = "publishing", .measure = measure_publishing, .arg = loop};
    alone = (struct bench_contender){
        .name = "without communication", .measure = measure_alone, .arg = loop};
    calibrate(loop, row->ms * 1e3);
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    if (rc)
        return rc;
    snprintf(name, sizeof(name), "CPU time of a local update of %u ms, %.2f M parameters", row->ms,
             (double)loop->parameters / 1e6);
    return bench_compare(bench, name, "us", &ours, &alone, row->bar);
}

static int run(struct bench *bench, const struct row *row, int here, int there)
{
    struct loop loop = {0};
    int rc = kofn_data_open("synthetic", 1, NULL, &loop.data), closed;

    if (rc)
        return rc;
    rc = allocate(&loop, row->hidden);
    rc = rc ? rc : join(&loop, here, there);
    rc = rc ? rc : compare(bench, &loop, row);
    closed = close_loop(&loop);
    return rc ? rc : closed;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int cpus[2] = {-1, -1}, rc;

    rc = bench_open(&bench, argc, argv, "CPU time that communication costs a worker.");
    if (rc)
        return rc > 0 ? 0 : 2;
    bench.repeat = KOFN_MIN(bench.repeat * REPEAT, BENCH_ROUNDS_MAX);
    if (bench_cores(cpus, 2) < 2)
        fprintf(stderr, "%s: fewer than two cores: worker and server share one\n", bench.program);
    for (size_t i = 0; !rc && i < KOFN_ARRAY_SIZE(rows); i++)
        rc = run(&bench, &rows[i], cpus[0], cpus[1]);
    return bench_close(&bench, rc);
}
