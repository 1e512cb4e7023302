#include "cli/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "algorithms/node.h"
#include "base/clock.h"
#include "cli/engine.h"
#include "theory/bias.h"

#define BATCHES 25 /* rounds depend on one another: errors are those of means of so many parts */
#define ROUNDS_LEAST 100
#define ROUNDS_MOST 1000000

const char *kofn_quantity_key(enum kofn_quantity quantity)
{
    static const char *const keys[] = {
        "round_time_mean", "updates_per_worker_mean", "uploads_mean",      "publications_mean",
        "bytes_mean",      "staleness_mean",          "idle_fraction_mean"};

    return keys[quantity];
}

/* ---- simulation ---- */

/* Sums of a part of the rounds. */
struct part {
    double sum[KOFN_QUANTITIES];
    double rounds, merged, seconds; /* merged: publications, for the staleness */
};

struct trial {
    const struct kofn_case *job;
    struct kofn_engine engine;
    struct part parts[BATCHES];
    double busy;       /* of all workers, before this part */
    double finished;   /* the same */
    double *rounds_in; /* rounds that a worker was merged in; owned */
};

static double byte_ns(double rate)
{
    return rate > 0 ? 1e9 / rate : 0;
}

static void note_members(void *arg, const struct kofn_round *round)
{
    struct trial *trial = arg;

    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        trial->rounds_in[rank] +=
            round->members[rank].held.sequence || round->members[rank].added_updates;
}

static int open_sim(struct trial *trial, const struct kofn_log *log)
{
    const struct kofn_case *job = trial->job;
    const struct kofn_conf *conf = job->conf;
    const struct kofn_sim_attr attr = {
        .round = {.algorithm = job->algorithm,
                  .workers = job->workers,
                  .wait_for = job->wait_for,
                  .local_steps = job->local_steps,
                  .quorum = KOFN_MIN(conf->quorum, job->workers),
                  .publish = job->publish,
                  .weights = (enum kofn_weights)conf->weights,
                  .late = (enum kofn_late)conf->late,
                  .staleness_weight = job->terms->staleness_weight,
                  .grace = conf->grace,
                  .deadline = conf->deadline.ns,
                  .deadline_adaptive = conf->deadline.adaptive,
                  .suspect_after = job->terms->suspect_after,
                  .adapt_every = conf->adapt_every,
                  .small_move = conf->small_move},
        .rules = job->terms->rules,
        .delay = job->delay,
        .stragglers = job->terms->stragglers,
        .straggler_count = job->terms->straggler_count,
        .net = {.latency_ns = conf->latency,
                .byte_ns = byte_ns(conf->bandwidth),
                .ingest_byte_ns = byte_ns(conf->ingest),
                .loss = conf->loss,
                .ring = conf->collective == KOFN_COLLECTIVE_RING},
        .compute_share = job->compute_share,
        .publish_ns = (uint64_t)job->publish_ns,
        .payload_bytes = job->payload_bytes,
        .seed = conf->seed,
        .learning_rate = conf->lr,
        .closed = note_members,
        .arg = trial,
        .log = log,
    };

    return kofn_engine_open(&attr, conf, &trial->engine);
}

static void add_round(struct part *part, const struct kofn_round_report *report)
{
    double merged = report->contributions;
    double seconds = (double)(report->published_ns - report->opened_ns) / 1e9;

    part->sum[KOFN_ROUND_TIME] += seconds;
    part->sum[KOFN_UPLOADS] += report->merged;
    part->sum[KOFN_PUBLICATIONS] += report->publications;
    part->sum[KOFN_BYTES] += (double)report->bytes;
    part->sum[KOFN_STALENESS] += report->staleness * merged;
    part->merged += merged;
    part->seconds += seconds;
    part->rounds++;
}

/* What only the workers know, at the end of a part. */
static void add_workers(struct trial *trial, struct part *part)
{
    struct kofn_sim_totals totals;

    kofn_engine_totals(&trial->engine, &totals);
    part->sum[KOFN_UPDATES] = (totals.finished - trial->finished) / trial->job->workers;
    part->sum[KOFN_IDLE] = totals.busy_ns / 1e9 - trial->busy;
    trial->finished = totals.finished;
    trial->busy = totals.busy_ns / 1e9;
}

/* Rounding is no idleness. */
static double idle_of(double busy)
{
    return busy < 1 - 1e-9 ? 1 - busy : 0;
}

/* Peers merge nothing, so nothing is stale. */
static bool has(const struct kofn_case *job, enum kofn_quantity quantity)
{
    return !job->algorithm->peers || (quantity != KOFN_UPLOADS && quantity != KOFN_STALENESS);
}

/* The mean of a quantity over a part; NaN where there is none. */
static double mean_of(const struct trial *trial, const struct part *part,
                      enum kofn_quantity quantity)
{
    if (quantity == KOFN_STALENESS)
        return part->merged > 0 ? part->sum[quantity] / part->merged : NAN;
    if (quantity == KOFN_IDLE)
        return idle_of(part->sum[quantity] / (part->seconds * trial->job->workers));
    return part->sum[quantity] / part->rounds;
}

static void take_means(const struct trial *trial, enum kofn_quantity quantity,
                       struct kofn_forecast *forecast)
{
    double sum = 0, squares = 0;
    int count = 0;

    for (int i = 0; i < BATCHES; i++) {
        double mean = mean_of(trial, &trial->parts[i], quantity);

        if (!isfinite(mean))
            continue;
        sum += mean;
        squares += mean * mean;
        count++;
    }
    if (!count)
        return;
    sum /= count;
    forecast->value[quantity] = sum;
    forecast->error[quantity] =
        count > 1 ? sqrt(fmax(0, squares / count - sum * sum) / (count - 1)) : NAN;
    forecast->method[quantity] = "simulation";
}

/* How many rounds a part has: as many as fit into the events, from how many the first ones take. */
static int run_part(struct trial *trial, struct part *part, uint64_t rounds, double *merged)
{
    struct kofn_round_report report;

    while ((uint64_t)part->rounds < rounds) {
        int rc = kofn_engine_step(&trial->engine, KOFN_FOREVER, UINT64_MAX, &report);

        if (rc)
            return rc;
        add_round(part, &report);
        *merged += (double)report.updates;
    }
    add_workers(trial, part);
    return 0;
}

/* A worker pulls with every local update of it that is merged; with FedNova's weights, which divide
 * their number out, with every round. That is the limit of a small learning rate.
 */
static double bias_of(const struct trial *trial)
{
    const struct kofn_node_ops *peers = trial->job->algorithm->peers;
    bool rounds = trial->job->conf->weights == KOFN_WEIGHTS_FEDNOVA;
    uint32_t workers = trial->job->workers;
    double *pull = calloc(workers, sizeof(*pull)), bias;

    if (!pull)
        return NAN;
    /* a tracker holds the newest gradient of everybody once, however often they come */
    if (peers && (peers->tracks || peers->even)) {
        free(pull);
        return 0;
    }
    for (uint32_t rank = 0; rank < workers; rank++)
        pull[rank] =
            rounds ? trial->rounds_in[rank] : (double)kofn_engine_merged(&trial->engine, rank);
    bias = kofn_bias(pull, workers);
    free(pull);
    return bias;
}

static int run_trial(struct trial *trial, uint64_t events, struct kofn_forecast *forecast)
{
    struct part warm = {0};
    double merged = 0, seconds = 0;
    uint64_t each = ROUNDS_LEAST / BATCHES, per_round;
    int rc;

    /* the first rounds are not like the others, and tell what a round costs */
    rc = run_part(trial, &warm, 2 * each, &merged);
    if (rc)
        return rc;
    per_round = KOFN_MAX(kofn_engine_events(&trial->engine) / (2 * each), 1u);
    each = KOFN_MAX(each, KOFN_MIN(events / per_round, ROUNDS_MOST) / BATCHES);
    merged = 0;
    for (int i = 0; i < BATCHES && !rc; i++) {
        rc = run_part(trial, &trial->parts[i], each, &merged);
        seconds += trial->parts[i].seconds;
    }
    if (rc)
        return rc;
    for (int i = 0; i < KOFN_QUANTITIES; i++)
        if (!forecast->method[i] && has(trial->job, (enum kofn_quantity)i))
            take_means(trial, (enum kofn_quantity)i, forecast);
    forecast->merged_per_second = merged / seconds;
    forecast->bias = bias_of(trial);
    return 0;
}

static int simulate(const struct kofn_case *job, uint64_t events, const struct kofn_log *log,
                    struct kofn_forecast *forecast)
{
    struct trial *trial = calloc(1, sizeof(*trial));
    int rc;

    if (!trial)
        return kofn_error(log, KOFN_NO_MEMORY, "plan: %zu bytes", sizeof(*trial));
    trial->job = job;
    trial->rounds_in = calloc(job->workers, sizeof(*trial->rounds_in));
    rc = trial->rounds_in ? open_sim(trial, log)
                          : kofn_error(log, KOFN_NO_MEMORY, "plan: %u workers", job->workers);
    if (!rc)
        rc = run_trial(trial, events, forecast);
    kofn_engine_close(&trial->engine);
    free(trial->rounds_in);
    free(trial);
    return rc;
}

/* ---- both ---- */

static void nothing_known(struct kofn_forecast *forecast)
{
    memset(forecast, 0, sizeof(*forecast));
    for (int i = 0; i < KOFN_QUANTITIES; i++)
        forecast->value[i] = forecast->error[i] = NAN;
    forecast->merged_per_second = forecast->bias = NAN;
}

static void find_weakest(struct kofn_forecast *forecast)
{
    forecast->weakest = "closed-form";
    for (int i = 0; i < KOFN_QUANTITIES; i++) {
        const char *method = forecast->method[i];

        if (!method)
            continue;
        if (!strcmp(method, "simulation") || !strcmp(forecast->weakest, "closed-form"))
            forecast->weakest = method;
    }
}

/* Where nobody is late nothing was merged but what was finished and in time. */
static void derive(const struct kofn_case *job, struct kofn_forecast *forecast)
{
    if (isfinite(forecast->merged_per_second))
        return;
    forecast->merged_per_second =
        forecast->value[KOFN_UPDATES] * job->workers / forecast->value[KOFN_ROUND_TIME];
    forecast->bias = 0; /* all workers are alike */
}

static int refuse_infinite(const struct kofn_case *job, const struct kofn_log *log)
{
    return kofn_error(log, KOFN_INVALID,
                      "--delay: %s: with algorithm %s and K = %u of %u the mean time of a round is "
                      "infinite",
                      job->conf->delay, job->algorithm->name, job->wait_for, job->workers);
}

int kofn_forecast_simulated(const struct kofn_case *job, uint64_t events,
                            const struct kofn_log *log, struct kofn_forecast *forecast)
{
    int rc;

    nothing_known(forecast);
    rc = simulate(job, events, log, forecast);
    forecast->weakest = "simulation";
    return rc;
}

int kofn_forecast(const struct kofn_case *job, uint64_t events, const struct kofn_log *log,
                  struct kofn_forecast *forecast)
{
    bool complete = true;
    int rc;

    nothing_known(forecast);
    kofn_forecast_theory(job, forecast);
    if (isinf(forecast->value[KOFN_ROUND_TIME]))
        return refuse_infinite(job, log);
    for (int i = 0; i < KOFN_QUANTITIES; i++)
        complete &= forecast->method[i] || !has(job, (enum kofn_quantity)i);
    if (!complete) {
        rc = simulate(job, events, log, forecast);
        if (rc)
            return rc;
    }
    find_weakest(forecast);
    derive(job, forecast);
    return 0;
}
