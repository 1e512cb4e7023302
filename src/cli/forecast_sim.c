/* forecast_sim.c: forecasts by simulation, without gradients. */
#include <math.h>
#include <stdlib.h>

#include "algorithms/algorithm.h"
#include "algorithms/node.h"
#include "base/clock.h"
#include "cli/engine.h"
#include "cli/parts.h"

#define PARTS_LEAST 8u    /* of the longest simulation */
#define PARTS_PRECISE 16u /* fewer say too little of their own error */
#define PART_EVENTS 2000u /* at least, as long as there are enough of them */
#define WARM_ROUNDS 8u    /* before the first part */
#define WARM_UPDATES 4u   /* of each worker, likewise */
#define ROUND_SHARE 4u    /* a round costs as much as an event of every so many-th worker */

struct trial {
    const struct kofn_case *job;
    const struct kofn_effort *effort;
    struct kofn_engine engine;
    struct kofn_parts parts;
    uint64_t rounds;     /* so far */
    double busy;         /* of all workers, before this part */
    double finished;     /* the same */
    double *rounds_in;   /* rounds that a worker was merged in; owned */
    double *pull_before; /* what every worker pulled before this part; owned */
    bool even;           /* all pull alike, however often they come */
    bool counts_rounds;  /* a worker pulls with every round, whatever it did in it */
};

static void note_members(void *arg, const struct kofn_round *round)
{
    struct trial *trial = arg;

    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        trial->rounds_in[rank] +=
            round->members[rank].held.sequence || round->members[rank].added_updates;
}

/* The job with this case's algorithm, numbers and delays in place of its own. */
static int open_sim(struct trial *trial, const struct kofn_log *log)
{
    const struct kofn_case *job = trial->job;
    struct kofn_sim_attr attr = kofn_engine_attr(job->conf, job->terms);

    attr.round.algorithm = job->algorithm;
    attr.round.workers = job->workers;
    attr.round.wait_for = job->wait_for;
    attr.round.local_steps = job->local_steps;
    attr.round.quorum = KOFN_MIN(job->conf->quorum, job->workers);
    attr.round.publish = job->publish;
    attr.delay = job->delay;
    attr.compute_share = job->compute_share;
    attr.publish_ns = (uint64_t)job->publish_ns;
    attr.payload_bytes = job->payload_bytes;
    attr.closed = note_members;
    attr.arg = trial;
    attr.log = log;
    return kofn_engine_open(&attr, job->conf, &trial->engine);
}

/* ---- parts ---- */

static void add_round(struct kofn_part *part, const struct kofn_round_report *report)
{
    double merged = report->contributions;
    double seconds = (double)(report->published_ns - report->opened_ns) / 1e9;

    part->sum[KOFN_ROUND_TIME] += seconds;
    part->sum[KOFN_UPLOADS] += report->merged;
    part->sum[KOFN_PUBLICATIONS] += report->publications;
    part->sum[KOFN_BYTES] += (double)report->bytes;
    part->sum[KOFN_STALENESS] += report->staleness * merged;
    part->merged += merged;
    part->updates += (double)report->updates;
    part->seconds += seconds;
    part->rounds++;
}

/* A worker pulls with every local update of it that is merged; with FedNova's weights, which divide
 * their number out, with every round. That is the limit of a small learning rate.
 */
static void add_pull(struct trial *trial, double *pull)
{
    for (uint32_t rank = 0; rank < trial->job->workers && !trial->even; rank++) {
        double all = trial->counts_rounds ? trial->rounds_in[rank]
                                          : (double)kofn_engine_merged(&trial->engine, rank);

        pull[rank] = all - trial->pull_before[rank];
        trial->pull_before[rank] = all;
    }
}

/* What only the workers know, at the end of a part. */
static void add_workers(struct trial *trial, struct kofn_part *part, double *pull)
{
    struct kofn_sim_totals totals;

    kofn_engine_totals(&trial->engine, &totals);
    part->sum[KOFN_UPDATES] = (totals.finished - trial->finished) / trial->job->workers;
    part->sum[KOFN_IDLE] = totals.busy_ns / 1e9 - trial->busy;
    trial->finished = totals.finished;
    trial->busy = totals.busy_ns / 1e9;
    add_pull(trial, pull);
}

static int run_part(struct trial *trial, uint64_t rounds)
{
    struct kofn_round_report report;
    double *pull;
    struct kofn_part *part = kofn_parts_next(&trial->parts, &pull);

    for (uint64_t i = 0; i < rounds; i++) {
        int rc = kofn_engine_step(&trial->engine, KOFN_FOREVER, UINT64_MAX, &report);

        if (rc)
            return rc;
        add_round(part, &report);
    }
    trial->rounds += rounds;
    add_workers(trial, part, pull);
    return 0;
}

/* ---- how long ---- */

/* Events, and what the rounds cost beside them. */
static uint64_t work_of(const struct trial *trial)
{
    return kofn_engine_events(&trial->engine) +
           trial->rounds * (1 + trial->job->workers / ROUND_SHARE);
}

/* The first rounds are not like the others: nobody was late yet, nothing is stale. */
static bool is_warm(const struct trial *trial)
{
    uint64_t updates = (uint64_t)WARM_UPDATES * trial->job->workers, work = work_of(trial);

    return (trial->rounds >= WARM_ROUNDS || work >= trial->effort->events / PARTS_LEAST) &&
           (kofn_engine_events(&trial->engine) >= updates || work >= trial->effort->events);
}

static int warm_up(struct trial *trial)
{
    int rc;

    do {
        rc = run_part(trial, 2);
        trial->parts.count = 0;
    } while (!rc && !is_warm(trial));
    return rc;
}

/* How many rounds a part has at first, as far as the first ones tell. */
static uint64_t first_rounds(const struct trial *trial)
{
    double events = (double)kofn_engine_events(&trial->engine) / (double)trial->rounds;
    double work = (double)work_of(trial) / (double)trial->rounds;
    double wanted = fmax(PART_EVENTS, trial->job->workers) / fmax(events, 1);

    return (uint64_t)fmax(1, fmin(wanted, (double)trial->effort->events / PARTS_LEAST / work));
}

static bool is_precise(const struct trial *trial, const struct kofn_forecast *forecast)
{
    double precision = trial->effort->precision;
    struct kofn_mean mean = kofn_parts_rate(&trial->parts);

    if (!(precision > 0) || trial->parts.count < PARTS_PRECISE ||
        !kofn_mean_is_precise(&mean, KOFN_UPDATES, precision))
        return false;
    for (int i = 0; i < KOFN_QUANTITIES; i++) {
        if (forecast->method[i] || !kofn_case_has(trial->job, (enum kofn_quantity)i))
            continue;
        mean = kofn_parts_mean(&trial->parts, (enum kofn_quantity)i);
        if (!kofn_mean_is_precise(&mean, (enum kofn_quantity)i, precision))
            return false;
    }
    return true;
}

static int run_parts(struct trial *trial, const struct kofn_forecast *forecast)
{
    uint64_t each = first_rounds(trial), work = work_of(trial);
    int rc = 0;

    while (!rc && !is_precise(trial, forecast) &&
           (trial->parts.count < PARTS_LEAST || work_of(trial) - work < trial->effort->events)) {
        if (trial->parts.count == KOFN_PARTS) {
            kofn_parts_fold(&trial->parts);
            each *= 2;
        }
        rc = run_part(trial, each);
    }
    return rc;
}

/* ---- the answer ---- */

bool kofn_case_has(const struct kofn_case *job, enum kofn_quantity quantity)
{
    return !job->algorithm->peers || (quantity != KOFN_UPLOADS && quantity != KOFN_STALENESS);
}

static void take_means(const struct trial *trial, struct kofn_forecast *forecast)
{
    struct kofn_mean mean;

    for (int i = 0; i < KOFN_QUANTITIES; i++) {
        if (forecast->method[i] || !kofn_case_has(trial->job, (enum kofn_quantity)i))
            continue;
        mean = kofn_parts_mean(&trial->parts, (enum kofn_quantity)i);
        if (isnan(mean.value))
            continue;
        forecast->value[i] = mean.value;
        forecast->error[i] = mean.error;
        forecast->method[i] = "simulation";
    }
    mean = kofn_parts_rate(&trial->parts);
    forecast->merged_per_second = mean.value;
    forecast->merged_error = mean.error;
    mean = trial->even ? (struct kofn_mean){0} : kofn_parts_bias(&trial->parts);
    forecast->bias = mean.value;
    forecast->bias_error = mean.error;
}

static int open_trial(struct trial *trial, const struct kofn_log *log)
{
    const struct kofn_node_ops *peers = trial->job->algorithm->peers;
    uint32_t workers = trial->job->workers;

    /* a tracker holds the newest gradient of everybody once */
    trial->even = peers && (peers->tracks || peers->even);
    trial->counts_rounds = trial->job->conf->weights == KOFN_WEIGHTS_FEDNOVA;
    trial->rounds_in = calloc(workers, sizeof(*trial->rounds_in));
    trial->pull_before = calloc(workers, sizeof(*trial->pull_before));
    if (!trial->rounds_in || !trial->pull_before || kofn_parts_open(&trial->parts, workers))
        return kofn_error(log, KOFN_NO_MEMORY, "plan: %u workers", workers);
    return open_sim(trial, log);
}

int kofn_forecast_simulate(const struct kofn_case *job, const struct kofn_effort *effort,
                           const struct kofn_log *log, struct kofn_forecast *forecast)
{
    struct trial *trial = calloc(1, sizeof(*trial));
    int rc;

    if (!trial)
        return kofn_error(log, KOFN_NO_MEMORY, "plan: %zu bytes", sizeof(*trial));
    trial->job = job;
    trial->effort = effort;
    rc = open_trial(trial, log);
    if (!rc)
        rc = warm_up(trial);
    if (!rc)
        rc = run_parts(trial, forecast);
    if (!rc)
        take_means(trial, forecast);
    kofn_engine_close(&trial->engine);
    kofn_parts_close(&trial->parts);
    free(trial->pull_before);
    free(trial->rounds_in);
    free(trial);
    return rc;
}
