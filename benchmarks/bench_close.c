/* How long after its K-th worker is done a round is merged and the next model out, beside a worker
 * whose local updates take 50 ms and are cut off by nothing: STSyn, 3 of 4, shared memory, models
 * of 1 MiB. The others take 2 ms for an update, and do 40 a round; all of them sleep, so that cores
 * do not matter.
 *
 * Contenders: the three ways to publish. Eagerly, all is in memory when the round closes; on close,
 * the slow worker is waited for until its update is finished; what is pulled is read without it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kofn/kofn.h>

#include "base/clock.h"
#include "base/log.h"
#include "benchmarks/harness.h"

#define WORKERS 4u
#define WAIT_FOR 3u
#define LOCAL_STEPS 40u
#define PARAMETERS ((1u << 20) / sizeof(float))
#define UPDATE_NS (2 * KOFN_NS_PER_MS)
#define SLOW_NS (50 * KOFN_NS_PER_MS)
#define ROUNDS 15u /* of a sample, behind */
#define WARM 3u    /* that do not count */
#define PATIENCE_NS (10 * KOFN_NS_PER_S)

/* Workers that are slow on purpose need not be reported. */
static void complain(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "kofn: %s\n", message);
}

static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR, .write = complain};

/* Updates until the server ends the job. */
static int work(struct kofn_worker *worker, uint32_t rank, float *model)
{
    uint64_t ns = rank ? UPDATE_NS : SLOW_NS;
    struct timespec step = {.tv_nsec = (long)ns};
    struct kofn_update update = {.loss = 1};
    int rc = kofn_worker_take(worker, model, NULL);

    while (!rc) {
        nanosleep(&step, NULL);
        for (size_t i = 0; i < PARAMETERS; i++)
            model[i] += 1;
        rc = kofn_worker_report(worker, model, &update);
        if (rc == KOFN_ROUND_OVER)
            rc = kofn_worker_take(worker, model, NULL);
    }
    return rc == KOFN_JOB_OVER ? 0 : rc;
}

static int be_worker(const char *address, uint32_t rank)
{
    struct kofn_worker_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .rank = rank,
                                    .parameters = PARAMETERS,
                                    .log = &quiet};
    float *model = calloc(PARAMETERS, sizeof(*model));
    struct kofn_worker *worker;
    int rc;

    if (!model)
        return KOFN_NO_MEMORY;
    rc = kofn_worker_open(&attr, &worker);
    if (rc)
        goto free_model;
    rc = work(worker, rank, model);
    kofn_worker_close(worker);

free_model:
    free(model);
    return rc;
}

/* The mean time from the close of a round to its model, in ns. */
static int serve(const char *address, enum kofn_publish publish, double *ns)
{
    struct kofn_server_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .workers = WORKERS,
                                    .parameters = PARAMETERS,
                                    .algorithm = "stsyn",
                                    .wait_for = WAIT_FOR,
                                    .local_steps = LOCAL_STEPS,
                                    .publish = publish,
                                    .log = &quiet};
    float *model = calloc(PARAMETERS, sizeof(*model));
    struct kofn_server *server;
    int rc;

    if (!model)
        return kofn_error(NULL, KOFN_NO_MEMORY, "no memory for a model");
    rc = kofn_server_open(&attr, &server);
    if (rc)
        goto free_model;
    rc = kofn_server_start(server, model);
    *ns = 0;
    for (uint32_t i = 0; !rc && i < WARM + ROUNDS; i++) {
        struct kofn_round_report report = {.size = sizeof(report)};

        rc = kofn_server_step(server, PATIENCE_NS, &report);
        if (!rc && i >= WARM)
            *ns += (double)(report.published_ns - report.closed_ns) / ROUNDS;
    }
    kofn_server_close(server);

free_model:
    free(model);
    return rc;
}

static int measure(void *arg, double *ns, const char **why)
{
    enum kofn_publish publish = *(const enum kofn_publish *)arg;
    pid_t children[WORKERS] = {0};
    int rc = 0, failed = 0, how;
    char address[64];

    (void)why;
    snprintf(address, sizeof(address), "shm:bench-%ld-%llx", (long)getpid(),
             (unsigned long long)kofn_now_ns());
    fflush(NULL);
    for (uint32_t rank = 0; !rc && rank < WORKERS; rank++) {
        children[rank] = fork();
        if (children[rank] == 0)
            _exit(be_worker(address, rank) ? 1 : 0);
        if (children[rank] < 0)
            rc = kofn_error_errno(NULL, "fork");
    }
    rc = rc ? rc : serve(address, publish, ns);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        if (children[rank] > 0 && waitpid(children[rank], &how, 0) > 0)
            failed += !WIFEXITED(how) || WEXITSTATUS(how);
    return !rc && failed ? kofn_error(NULL, KOFN_GONE, "%d workers have failed", failed) : rc;
}

int main(int argc, char **argv)
{
    static const char name[] = "K-th worker done to merged, one at updates of 50 ms";
    static enum kofn_publish modes[] = {KOFN_PUBLISH_PULL, KOFN_PUBLISH_EAGER,
                                        KOFN_PUBLISH_ON_CLOSE};
    static struct bench_contender pull = {.name = "pull", .measure = measure, .arg = &modes[0]};
    static struct bench_contender eager = {.name = "eager", .measure = measure, .arg = &modes[1]};
    static struct bench_contender close = {
        .name = "on-close", .measure = measure, .arg = &modes[2]};
    struct bench_contender *all[] = {&pull, &eager, &close};
    struct bench bench;
    int rc = bench_open(&bench, argc, argv, "A round's close beside a long local update.");

    if (rc)
        return rc > 0 ? 0 : 2;
    rc = bench_alternate(&bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : bench_compare(&bench, name, "ns", &pull, &eager, NULL);
    rc = rc ? rc : bench_compare(&bench, name, "ns", &pull, &close, NULL);
    return bench_close(&bench, rc);
}
