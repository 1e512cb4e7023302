/* forecast_theory.c: what src/theory says of each algorithm. It holds for workers that are alike
 * and messages that cost nothing.
 */
#include <math.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "algorithms/node.h"
#include "cli/engine.h"
#include "cli/forecast.h"
#include "theory/ksync.h"
#include "theory/order.h"
#include "theory/overlap.h"
#include "theory/stsyn.h"

/* A question: the job, its delay in seconds, the answer. */
struct question {
    const struct kofn_case *job;
    struct kofn_distribution update;
    bool per_round;
    struct kofn_forecast *forecast;
};

static bool distribution_of(const struct kofn_delay *delay, struct kofn_distribution *distribution)
{
    double first = delay->first / 1e9, second = delay->second / 1e9;

    switch (delay->kind) {
    case KOFN_DELAY_EXP:
        *distribution = (struct kofn_distribution){.kind = KOFN_DISTRIBUTION_EXP, .second = second};
        return true;
    case KOFN_DELAY_SHIFTED_EXP:
        *distribution = (struct kofn_distribution){
            .kind = KOFN_DISTRIBUTION_SHIFTED_EXP, .first = first, .second = second};
        return true;
    case KOFN_DELAY_PARETO:
        *distribution = (struct kofn_distribution){
            .kind = KOFN_DISTRIBUTION_PARETO, .first = first, .second = delay->second};
        return true;
    case KOFN_DELAY_UNIFORM:
        *distribution = (struct kofn_distribution){
            .kind = KOFN_DISTRIBUTION_UNIFORM, .first = first, .second = second};
        return true;
    default:
        return false; /* of a trace every worker has its own */
    }
}

static void set(struct question *question, enum kofn_quantity quantity, int rc,
                struct kofn_prediction prediction)
{
    struct kofn_forecast *forecast = question->forecast;

    if (rc || prediction.method == KOFN_METHOD_NONE || prediction.upper_bound)
        return;
    forecast->value[quantity] = prediction.value;
    forecast->error[quantity] = prediction.error;
    forecast->method[quantity] = kofn_method_name(prediction.method);
}

static void set_exact(struct question *question, enum kofn_quantity quantity, double value)
{
    set(question, quantity, 0, kofn_prediction_exact(value));
}

static double mean_of(const struct question *question)
{
    return kofn_delay_mean(question->job->delay) / 1e9;
}

/* 1 - work / time, where both are known: @work is what a worker computes in a round. */
static void set_idle(struct question *question, double work)
{
    const struct kofn_forecast *forecast = question->forecast;
    double time = forecast->value[KOFN_ROUND_TIME];

    if (forecast->method[KOFN_ROUND_TIME] && isfinite(time) && isfinite(work))
        set(question, KOFN_IDLE, 0,
            (struct kofn_prediction){.value = fmax(0, 1 - work / time),
                                     .error = work / time * forecast->error[KOFN_ROUND_TIME] / time,
                                     .method =
                                         strcmp(forecast->method[KOFN_ROUND_TIME], "closed-form")
                                             ? KOFN_METHOD_QUADRATURE
                                             : KOFN_METHOD_CLOSED_FORM});
}

/* What every member sends once, and nothing is stale. */
static void set_members(struct question *question, double members)
{
    set_exact(question, KOFN_UPLOADS, members);
    set_exact(question, KOFN_PUBLICATIONS, members);
    set_exact(question, KOFN_STALENESS, 0);
}

static bool is_ring(const struct kofn_case *job)
{
    return job->conf->collective == KOFN_COLLECTIVE_RING;
}

/* What bringing all updates together, and the model back, takes: seconds. In a ring as sim/ring.h
 * has it where nothing is lost.
 */
static double reduce_seconds(const struct kofn_case *job)
{
    double latency = (double)job->conf->latency / 1e9, rate = job->conf->bandwidth;
    double steps = is_ring(job) ? 2 * (job->workers - 1.0) : 2;
    double share = (double)job->payload_bytes / job->workers;

    return steps * (latency + (is_ring(job) && rate > 0 ? share / rate : 0));
}

static struct kofn_overlap_model overlap_model(const struct question *question)
{
    return (struct kofn_overlap_model){.update = &question->update,
                                       .per_round = question->per_round,
                                       .workers = question->job->workers,
                                       .local_steps = question->job->local_steps,
                                       .reduce = reduce_seconds(question->job)};
}

static void ask_local(struct question *question)
{
    struct kofn_overlap_model model = overlap_model(question);
    struct kofn_prediction time;
    int rc = kofn_local_time(&model, &time);

    set(question, KOFN_ROUND_TIME, rc, time);
    set_exact(question, KOFN_UPDATES, question->job->local_steps);
    set_members(question, question->job->workers);
    set_idle(question, question->job->local_steps * mean_of(question));
}

static void ask_overlap(struct question *question)
{
    struct kofn_overlap_model model = overlap_model(question);
    struct kofn_prediction time;
    int rc = kofn_overlap_time(&model, &time);

    set(question, KOFN_ROUND_TIME, rc, time);
    set_exact(question, KOFN_UPDATES, question->job->local_steps);
    set_members(question, question->job->workers);
    set_idle(question, question->job->local_steps * mean_of(question));
}

static struct kofn_stsyn_model stsyn_model(const struct question *question)
{
    return (struct kofn_stsyn_model){.update = &question->update,
                                     .per_round = question->per_round,
                                     .workers = question->job->workers,
                                     .wait_for = question->job->wait_for,
                                     .local_steps = question->job->local_steps};
}

static void ask_stsyn(struct question *question)
{
    const struct kofn_case *job = question->job;
    struct kofn_stsyn_model model = stsyn_model(question);
    struct kofn_prediction time, updates, uploads;
    int rc = kofn_stsyn_time(&model, &time);

    set(question, KOFN_ROUND_TIME, rc, time);
    rc = kofn_stsyn_updates(&model, &updates);
    set(question, KOFN_UPDATES, rc, updates);
    if (job->publish == KOFN_PUBLISH_EAGER) /* every finished update is sent */
        set(question, KOFN_PUBLICATIONS, rc, kofn_prediction_scaled(updates, job->workers, 0));
    rc = kofn_stsyn_uploads(&model, &uploads);
    set(question, KOFN_UPLOADS, rc, uploads);
    if (job->publish != KOFN_PUBLISH_EAGER)
        set(question, KOFN_PUBLICATIONS, rc, uploads);
    set_exact(question, KOFN_STALENESS, 0);
    set_exact(question, KOFN_IDLE, 0);
}

/* ---- the K-sync family ---- */

static void set_time(struct question *question, enum kofn_ksync_scheme scheme)
{
    const struct kofn_case *job = question->job;
    struct kofn_prediction time, staleness;
    int rc = kofn_ksync_time(scheme, &question->update, job->workers, job->wait_for, &time);

    set(question, KOFN_ROUND_TIME, rc, time);
    rc = kofn_ksync_staleness(scheme, job->workers, job->wait_for, &staleness);
    set(question, KOFN_STALENESS, rc, staleness);
    /* K are finished and sent in a round, by N workers */
    set_exact(question, KOFN_UPDATES, (double)job->wait_for / job->workers);
    set_exact(question, KOFN_PUBLICATIONS, job->wait_for);
}

/* The first K of N compute until they are done, the others until the K-th is. */
static void ask_ksync(struct question *question)
{
    const struct kofn_case *job = question->job;
    double work = 0;

    set_time(question, KOFN_KSYNC);
    set_exact(question, KOFN_UPLOADS, job->wait_for);
    for (uint32_t k = 1; k <= job->wait_for; k++) {
        double share = k < job->wait_for ? 1 : 1.0 + job->workers - job->wait_for;
        struct kofn_prediction mean;

        if (kofn_order_mean(&question->update, job->workers, k, &mean) ||
            mean.method == KOFN_METHOD_NONE)
            return;
        work += share * mean.value / job->workers;
    }
    set_idle(question, work);
}

/* Contributors wait; every update that is begun is finished, so K of them are computed in a round.
 */
static void ask_kasync(struct question *question)
{
    const struct kofn_case *job = question->job;

    set_time(question, KOFN_KASYNC);
    set_exact(question, KOFN_UPLOADS, job->wait_for);
    set_idle(question, mean_of(question) * job->wait_for / job->workers);
}

/* K mini-batches from anyone. Where the delay has no memory each is anyone's alike, and E|S| is the
 * mean number of boxes that K balls thrown into N of them fill.
 */
static void ask_kbatch(struct question *question, enum kofn_ksync_scheme scheme)
{
    const struct kofn_case *job = question->job;
    double n = job->workers, k = job->wait_for;

    if (question->per_round)
        return; /* one draw for several updates */
    set_time(question, scheme);
    set_exact(question, KOFN_IDLE, 0);
    if (job->wait_for == 1)
        set_exact(question, KOFN_UPLOADS, 1);
    else if (question->update.kind == KOFN_DISTRIBUTION_EXP)
        set_exact(question, KOFN_UPLOADS, n == 1 ? 1 : -n * expm1(k * log1p(-1 / n)));
}

static void ask_kbatch_sync(struct question *question)
{
    ask_kbatch(question, KOFN_KBATCH_SYNC);
}

static void ask_kbatch_async(struct question *question)
{
    ask_kbatch(question, KOFN_KBATCH_ASYNC);
}

/* K-batch-async with U updates at a time: every worker sends as often as it has done U. */
static void ask_fedbuff(struct question *question)
{
    const struct kofn_case *job = question->job;
    double updates = (double)job->wait_for * job->local_steps / job->workers;
    struct kofn_prediction staleness;
    int rc = kofn_ksync_staleness(KOFN_KBATCH_ASYNC, job->workers, job->wait_for, &staleness);

    if (question->per_round)
        return;
    set_exact(question, KOFN_ROUND_TIME, updates * mean_of(question));
    set_exact(question, KOFN_UPDATES, updates);
    set_exact(question, KOFN_PUBLICATIONS, job->wait_for);
    set(question, KOFN_STALENESS, rc, staleness);
    set_exact(question, KOFN_IDLE, 0);
    if (job->wait_for == 1)
        set_exact(question, KOFN_UPLOADS, 1);
}

/* The rounds of STSyn, of whose updates only those of the first K are sent: K-sync, where U is 1.
 */
static void ask_flanp(struct question *question)
{
    const struct kofn_case *job = question->job;
    struct kofn_stsyn_model model = stsyn_model(question);
    struct kofn_prediction time;
    int rc = kofn_stsyn_time(&model, &time);

    if (job->local_steps == 1) {
        ask_ksync(question);
        return;
    }
    set(question, KOFN_ROUND_TIME, rc, time);
    set_members(question, job->wait_for);
}

/* Nobody waits for anybody: everyone makes an activation in the mean time of an update, and sends
 * along all its edges each time, of which some is lost. A renewal process, so exact as a long-run
 * rate.
 */
static void ask_rfast(struct question *question)
{
    const struct kofn_case *job = question->job;
    struct kofn_graph graph;
    double arrived;

    if (kofn_engine_graph(job->algorithm, job->workers, job->conf, NULL, &graph))
        return;
    arrived = (double)(graph.model_count + graph.mass_count) * (1 - job->conf->loss);
    kofn_graph_free(&graph);
    set_exact(question, KOFN_ROUND_TIME, mean_of(question));
    set_exact(question, KOFN_UPDATES, 1);
    set_exact(question, KOFN_PUBLICATIONS, arrived);
    set_exact(question, KOFN_BYTES, arrived * (double)job->payload_bytes);
    set_exact(question, KOFN_IDLE, 0);
}

static const struct {
    const char *name;
    void (*ask)(struct question *question);
} known[] = {
    {"sync", ask_local},      {"local", ask_local},
    {"ksync", ask_ksync},     {"kbatch-sync", ask_kbatch_sync},
    {"kasync", ask_kasync},   {"kbatch-async", ask_kbatch_async},
    {"stsyn", ask_stsyn},     {"overlap", ask_overlap},
    {"rfast", ask_rfast},     {"adacomm", ask_local},
    {"fedbuff", ask_fedbuff}, {"flanp", ask_flanp},
};

/* Where every update travels once, and every model, what that takes is a part of the round like any
 * other: latency, and in a ring the links, too. What is lost is not.
 */
static bool knows_network(const struct kofn_case *job)
{
    const struct kofn_conf *conf = job->conf;
    const struct kofn_algorithm *algorithm = job->algorithm;

    if (conf->ingest > 0)
        return false;
    if (is_ring(job))
        return !(conf->loss > 0);
    if (conf->bandwidth > 0)
        return false;
    return !conf->latency ||
           (algorithm->needs_all && job->publish == KOFN_PUBLISH_EAGER && !(conf->loss > 0));
}

/* Theory knows little of networks, and nothing of stragglers, deadlines and updates that are
 * finished late.
 */
static bool applies(const struct kofn_case *job)
{
    const struct kofn_conf *conf = job->conf;

    return knows_network(job) && !conf->deadline.ns && !conf->deadline.adaptive &&
           !job->terms->straggler_count && job->terms->suspect_after == UINT64_MAX &&
           !(job->compute_share > 0) && !(job->publish_ns > 0);
}

/* Is the mean time of a round infinite, be there networks and stragglers or not? Where nobody is
 * cut off, it is if that of an update is: in the long run nobody does any. Else a round lasts until
 * the first of the N - K + 1 slowest is done (of all N, where mini-batches count), whose mean is
 * finite if so many times the exponent of the tail is above 1. With deadlines it may be finite
 * anyway.
 */
static bool diverges(const struct kofn_case *job)
{
    const struct kofn_algorithm *algorithm = job->algorithm;
    bool cuts = !algorithm->peers && !algorithm->stale && !algorithm->ahead;
    double among = 1;

    if (job->delay->kind != KOFN_DELAY_PARETO || job->conf->deadline.ns ||
        job->conf->deadline.adaptive || job->terms->suspect_after != UINT64_MAX)
        return false;
    if (cuts)
        among = job->workers - (kofn_algorithm_adds(algorithm) ? 1 : job->wait_for) + 1.0;
    return job->delay->second * among <= 1;
}

/* Whoever goes on until its round closes, with a time that is drawn once a round and may be as
 * short as can be, does an infinite number of updates in the mean, whatever networks and stragglers
 * do; and sends as many, where nothing holds it up.
 */
static void ask_endless(struct question *question)
{
    const struct kofn_case *job = question->job;

    if (!question->per_round || job->algorithm->worker_may != KOFN_WORKER_CONTINUES ||
        job->algorithm->peers || job->wait_for < 2 ||
        kofn_distribution_low(&question->update) > 0 || job->publish_ns > 0)
        return;
    set_exact(question, KOFN_UPDATES, INFINITY);
    if (job->publish == KOFN_PUBLISH_EAGER && !job->conf->latency && !(job->conf->bandwidth > 0) &&
        !(job->conf->ingest > 0)) {
        set_exact(question, KOFN_PUBLICATIONS, INFINITY);
        set_exact(question, KOFN_BYTES, INFINITY);
    }
}

void kofn_forecast_theory(const struct kofn_case *job, struct kofn_forecast *forecast)
{
    struct question question = {
        .job = job, .per_round = job->delay->per_round, .forecast = forecast};
    const char *name = job->algorithm->over ? job->algorithm->over : job->algorithm->name;

    if (diverges(job))
        set_exact(&question, KOFN_ROUND_TIME, INFINITY);
    if (!distribution_of(job->delay, &question.update))
        return;
    ask_endless(&question);
    if (!applies(job))
        return;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(known); i++)
        if (!strcmp(known[i].name, name))
            known[i].ask(&question);
    if (is_ring(job)) {
        set_exact(&question, KOFN_BYTES, 2 * (job->workers - 1.0) * (double)job->payload_bytes);
        return;
    }
    /* updates one way, models the other */
    if (forecast->method[KOFN_PUBLICATIONS] && !job->algorithm->peers) {
        double bytes = (double)job->payload_bytes;

        forecast->value[KOFN_BYTES] = (forecast->value[KOFN_PUBLICATIONS] + job->workers) * bytes;
        forecast->error[KOFN_BYTES] = forecast->error[KOFN_PUBLICATIONS] * bytes;
        forecast->method[KOFN_BYTES] = forecast->method[KOFN_PUBLICATIONS];
    }
}
