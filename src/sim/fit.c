#include "sim/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An update of one worker: what it took, or at least took. */
struct observation {
    double ns;
    uint32_t rank;
    bool cancelled;
};

/* Observations [first, last) of one worker, or of all, in order of time. */
struct sample {
    const struct observation *first, *last;
    uint64_t finished;
    double total; /* time of all */
};

/* ---- one distribution ---- */

static int by_rank_and_time(const void *a, const void *b)
{
    const struct observation *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->ns < y->ns || x->ns > y->ns)
        return x->ns < y->ns ? -1 : 1;
    return x->cancelled - y->cancelled; /* what was finished then was at risk still */
}

/* Mean time an update still took from the median of the finished ones on. */
static double excess(const struct sample *sample)
{
    double from = 0, total = 0;
    uint64_t seen = 0, beyond = 0;

    for (const struct observation *o = sample->first; o < sample->last; o++)
        if (!o->cancelled && ++seen == (sample->finished + 1) / 2)
            from = o->ns;
    for (const struct observation *o = sample->first; o < sample->last; o++) {
        total += fmax(0, o->ns - from);
        beyond += !o->cancelled && o->ns > from;
    }
    return beyond ? total / (double)beyond : sample->total / (double)sample->finished;
}

/* The distribution of @sample, which has a finished update: its mean, and its quantiles. */
static double kaplan_meier(const struct sample *sample, double *quantiles)
{
    double survival = 1, mean = 0, last = 0, drawn = 0, low = -1, tail;
    size_t at_risk = (size_t)(sample->last - sample->first);
    uint32_t next = 0;

    for (const struct observation *o = sample->first; o < sample->last; o++, at_risk--) {
        double mass;

        if (o->cancelled)
            continue;
        mass = survival / (double)at_risk;
        low = low < 0 ? o->ns : low;
        last = o->ns;
        survival -= mass;
        mean += mass * o->ns;
        for (; next < KOFN_FIT_QUANTILES && (next + 0.5) / KOFN_FIT_QUANTILES <= 1 - survival;
             next++)
            drawn += quantiles[next] = o->ns;
    }
    tail = survival > 1e-12 ? excess(sample) : 0;
    mean += fmax(survival, 0) * (last + tail);
    for (; next < KOFN_FIT_QUANTILES; next++) {
        double beyond = 1 - (next + 0.5) / KOFN_FIT_QUANTILES;

        drawn += quantiles[next] =
            survival > 1e-12 ? last - tail * log(fmin(1, beyond / survival)) : last;
    }
    /* quantiles cut off a little of the tail: their mean is to be that of the distribution */
    drawn /= KOFN_FIT_QUANTILES;
    for (uint32_t i = 0; i < KOFN_FIT_QUANTILES && drawn > low; i++)
        quantiles[i] = low + (quantiles[i] - low) * (mean - low) / (drawn - low);
    return mean;
}

/* ---- all workers ---- */

static void describe(struct kofn_fit_worker *worker, const double *quantiles)
{
    worker->low = quantiles[0];
    worker->p50 = quantiles[KOFN_FIT_QUANTILES / 2];
    worker->p99 = quantiles[KOFN_FIT_QUANTILES * 99 / 100];
}

/* A worker of which little is known: the shape of all, @pooled, of mean @pooled_mean. */
static void borrow(struct kofn_fit_worker *worker, const struct sample *sample,
                   const double *pooled, double pooled_mean, double *quantiles)
{
    worker->borrowed = true;
    worker->mean = pooled_mean;
    if (sample->last > sample->first)
        worker->mean = sample->total / fmax((double)sample->finished, 0.5);
    for (uint32_t i = 0; i < KOFN_FIT_QUANTILES; i++)
        quantiles[i] = pooled[i] * (pooled_mean > 0 ? worker->mean / pooled_mean : 1);
}

static struct sample sample_of(const struct observation *first, const struct observation *last)
{
    struct sample sample = {.first = first, .last = last};

    for (const struct observation *o = first; o < last; o++) {
        sample.finished += !o->cancelled;
        sample.total += o->ns;
    }
    return sample;
}

/* Counts, shares and publication costs of every worker. */
static void count(const struct kofn_trace *trace, struct kofn_fit *fit)
{
    double compute = 0, delay = 0, publish = 0;
    uint64_t published = 0;

    for (size_t i = 0; i < trace->count; i++) {
        const struct kofn_trace_record *record = &trace->records[i];
        struct kofn_fit_worker *worker = &fit->list[record->rank];

        worker->cancelled += record->cancelled != 0;
        worker->finished += !record->cancelled;
        worker->naive += record->cancelled ? 0 : (double)kofn_trace_cost(record);
        compute += (double)record->compute_ns;
        delay += (double)record->delay_ns;
        if (record->cancelled || !record->publish_ns)
            continue;
        publish += (double)record->publish_ns;
        published++;
    }
    fit->compute_share = compute + delay > 0 ? compute / (compute + delay) : 0;
    fit->publish = published ? publish / (double)published : 0;
    for (uint32_t rank = 0; rank < fit->workers; rank++)
        if (fit->list[rank].finished)
            fit->list[rank].naive /= (double)fit->list[rank].finished;
}

static void fit_all(struct kofn_fit *fit, const struct observation *list, const double *pooled,
                    double pooled_mean)
{
    size_t first = 0;

    for (uint32_t rank = 0; rank < fit->workers; rank++) {
        struct kofn_fit_worker *worker = &fit->list[rank];
        double *quantiles = fit->quantiles + (size_t)rank * KOFN_FIT_QUANTILES;
        size_t last = first + worker->finished + worker->cancelled;
        struct sample sample = sample_of(list + first, list + last);

        if (worker->finished >= KOFN_FIT_FEW)
            worker->mean = kaplan_meier(&sample, quantiles);
        else
            borrow(worker, &sample, pooled, pooled_mean, quantiles);
        describe(worker, quantiles);
        first = last;
    }
}

/* The trace as observations: of each rank, or all as if they were one worker's. */
static void observe(const struct kofn_trace *trace, bool ranks, struct observation *list)
{
    for (size_t i = 0; i < trace->count; i++) {
        const struct kofn_trace_record *record = &trace->records[i];

        list[i].ns = (double)KOFN_MIN(kofn_trace_cost(record), KOFN_DURATION_MAX);
        list[i].rank = ranks ? record->rank : 0;
        list[i].cancelled = record->cancelled != 0;
    }
    qsort(list, trace->count, sizeof(*list), by_rank_and_time);
}

static int fit_observations(const struct kofn_trace *trace, struct observation *list,
                            const struct kofn_log *log, struct kofn_fit *fit)
{
    double pooled[KOFN_FIT_QUANTILES], mean;
    struct sample all;

    observe(trace, false, list);
    all = sample_of(list, list + trace->count);
    if (!all.finished)
        return kofn_error(log, KOFN_INVALID, "trace: no worker finished a local update in it");
    mean = kaplan_meier(&all, pooled);
    observe(trace, true, list);
    count(trace, fit);
    fit_all(fit, list, pooled, mean);
    return 0;
}

int kofn_fit_trace(const struct kofn_trace *trace, const struct kofn_log *log, struct kofn_fit *fit)
{
    struct kofn_fit result = {.workers = trace->workers};
    struct observation *list = calloc(trace->count, sizeof(*list));
    int rc;

    result.list = calloc(trace->workers, sizeof(*result.list));
    result.quantiles =
        calloc((size_t)trace->workers * KOFN_FIT_QUANTILES, sizeof(*result.quantiles));
    if (list && result.list && result.quantiles)
        rc = fit_observations(trace, list, log, &result);
    else
        rc = kofn_error(log, KOFN_NO_MEMORY, "trace: %zu records of %u workers", trace->count,
                        trace->workers);
    free(list);
    if (rc)
        kofn_fit_free(&result);
    else
        *fit = result;
    return rc;
}

void kofn_fit_free(struct kofn_fit *fit)
{
    free(fit->list);
    free(fit->quantiles);
    *fit = (struct kofn_fit){0};
}

int kofn_fit_delay(const struct kofn_fit *fit, const struct kofn_log *log, struct kofn_delay *delay)
{
    return kofn_delay_use_samples(delay, fit->workers, KOFN_FIT_QUANTILES, fit->quantiles, log);
}
