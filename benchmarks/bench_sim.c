/* How many events of a simulation without gradients a core takes a second, and what a job of 10,000
 * workers and 1,000 rounds takes: STSyn, K-sync and K-batch-async, exponential delays.
 *
 * An event is a local update that ends, finished or cut off. Seconds are CPU time: what else runs
 * on the machine does not count. The contenders are the limits that are promised.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "benchmarks/harness.h"
#include "sim/sim.h"

#define MANY 10000u
#define MANY_ROUNDS 1000u
#define LEAST_EVENTS 5 /* million a second */
#define MOST_SECONDS 30
#define SAMPLE_EVENTS 2000000u

struct job {
    const char *algorithm;
    uint32_t workers, wait_for, local_steps;
    uint64_t rounds; /* 0: as many as SAMPLE_EVENTS events take */
};

static double cpu_seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_sim(const struct job *job, const struct kofn_delay *delay, struct kofn_sim **sim)
{
    struct kofn_sim_attr attr = {
        .round = {.algorithm = kofn_algorithm_find(job->algorithm),
                  .workers = job->workers,
                  .wait_for = job->wait_for,
                  .local_steps = job->local_steps,
                  .late = KOFN_LATE_MERGE,
                  .suspect_after = KOFN_FOREVER},
        .delay = delay,
        .payload_bytes = 40,
        .seed = 1,
        .learning_rate = 0.1,
    };

    return kofn_sim_open(&attr, sim);
}

/* Runs the job; what it took, set-up left out, and how many events it was. */
static int run_job(const struct job *job, double *seconds, double *events)
{
    struct kofn_round_report report;
    struct kofn_delay delay = {0};
    struct kofn_sim *sim = NULL;
    double start = 0;
    uint64_t rounds = 0;
    int rc = kofn_delay_open("exp:1s", NULL, &delay);

    if (!rc)
        rc = open_sim(job, &delay, &sim);
    if (!rc)
        start = cpu_seconds();
    while (!rc && (job->rounds ? rounds < job->rounds : kofn_sim_events(sim) < SAMPLE_EVENTS)) {
        rc = kofn_sim_step(sim, KOFN_FOREVER, UINT64_MAX, &report);
        rounds++;
    }
    if (!rc) {
        *seconds = cpu_seconds() - start;
        *events = (double)kofn_sim_events(sim);
    }
    kofn_sim_close(sim);
    kofn_delay_close(&delay);
    return rc;
}

static int measure_rate(void *arg, double *millions, const char **why)
{
    double seconds = NAN, events = NAN;
    int rc = run_job(arg, &seconds, &events);

    (void)why;
    *millions = events / seconds / 1e6;
    return rc;
}

static int measure_seconds(void *arg, double *seconds, const char **why)
{
    double events;

    (void)why;
    return run_job(arg, seconds, &events);
}

static int measure_limit(void *arg, double *value, const char **why)
{
    (void)why;
    *value = *(const double *)arg;
    return 0;
}

static int compare(struct bench *bench, struct job *job, bool rate)
{
    static double least = LEAST_EVENTS, most = MOST_SECONDS;
    struct bench_contender ours = {
        .name = "kofn", .measure = rate ? measure_rate : measure_seconds, .arg = job};
    struct bench_contender limit = {
        .name = "the limit", .measure = measure_limit, .arg = rate ? &least : &most};
    struct bench_contender *all[] = {&ours, &limit};
    char name[128];
    int rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));

    if (rc)
        return rc;
    if (rate)
        snprintf(name, sizeof(name), "simulation: %s, N = %u, K = %u, events a second of a core",
                 job->algorithm, job->workers, job->wait_for);
    else
        snprintf(name, sizeof(name), "simulation: %s, N = %u, K = %u, U = %u, 1,000 rounds",
                 job->algorithm, job->workers, job->wait_for, job->local_steps);
    return bench_compare(bench, name, rate ? "million/s" : "s", &ours, &limit,
                         rate ? ">= 1.0" : "<= 1.0");
}

static int run(struct bench *bench)
{
    static struct job rates[] = {{"stsyn", 20, 5, 10, 0},      {"stsyn", MANY, MANY / 2, 10, 0},
                                 {"ksync", 8, 4, 1, 0},        {"ksync", MANY, MANY / 2, 1, 0},
                                 {"kbatch-async", 8, 8, 1, 0}, {"kbatch-async", MANY, MANY, 1, 0}};
    static struct job whole[] = {{"stsyn", MANY, MANY / 2, 10, MANY_ROUNDS},
                                 {"ksync", MANY, MANY / 2, 1, MANY_ROUNDS},
                                 {"kbatch-async", MANY, MANY, 1, MANY_ROUNDS}};
    unsigned repeat = bench->repeat;
    double seconds = bench->seconds;
    int rc = 0;

    bench->seconds = seconds / KOFN_ARRAY_SIZE(rates);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rates) && !rc; i++)
        rc = compare(bench, &rates[i], true);
    bench->repeat = 1; /* of a long job, the mean is in itself */
    bench->seconds = 0;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(whole) && !rc; i++)
        rc = compare(bench, &whole[i], false);
    bench->repeat = repeat;
    bench->seconds = seconds;
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int rc = bench_open(&bench, argc, argv, "Events of a simulation.");

    if (rc)
        return rc > 0 ? 0 : 2;
    return bench_close(&bench, run(&bench));
}
