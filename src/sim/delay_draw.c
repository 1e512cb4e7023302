/* delay_draw.c: draws from a delay model, its mean, its distribution, and what a trace has
 * measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/delay.h"
#include "sim/trace.h"

/* What rank r did is cost[begin[r]] to cost[end[r] - 1], ascending; never empty. Ranks may share
 * costs.
 */
struct kofn_delay_samples {
    uint32_t workers;
    size_t count;
    size_t *begin, *end;
    double *cost; /* ns */
};

static void samples_free(struct kofn_delay_samples *samples)
{
    if (!samples)
        return;
    free(samples->begin);
    free(samples->end);
    free(samples->cost);
    free(samples);
}

static struct kofn_delay_samples *samples_new(uint32_t workers, size_t count)
{
    struct kofn_delay_samples *samples = calloc(1, sizeof(*samples));

    if (!samples)
        return NULL;
    samples->workers = workers;
    samples->begin = calloc(workers, sizeof(*samples->begin));
    samples->end = calloc(workers, sizeof(*samples->end));
    samples->cost = calloc(count, sizeof(*samples->cost));
    if (samples->begin && samples->end && samples->cost)
        return samples;
    samples_free(samples);
    return NULL;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Whether a draw uses @record: finished updates, and cancelled ones where a worker has nothing
 * else. */
static bool is_used(const struct kofn_trace_record *record, const size_t *finished)
{
    return !record->cancelled || !finished[record->rank];
}

/* Sorts the costs by rank, and each rank's by size. */
static void collect(struct kofn_delay_samples *samples, const struct kofn_trace *trace,
                    const size_t *finished)
{
    size_t total = 0, rank;

    for (size_t i = 0; i < trace->count; i++)
        samples->end[trace->records[i].rank] += is_used(&trace->records[i], finished);
    for (rank = 0; rank < samples->workers; rank++) {
        samples->begin[rank] = total;
        total += samples->end[rank];
        samples->end[rank] = samples->begin[rank];
    }
    samples->count = total;
    for (size_t i = 0; i < trace->count; i++)
        if (is_used(&trace->records[i], finished))
            samples->cost[samples->end[trace->records[i].rank]++] =
                (double)KOFN_MIN(kofn_trace_cost(&trace->records[i]), KOFN_DURATION_MAX);
    for (rank = 0; rank < samples->workers; rank++)
        qsort(samples->cost + samples->begin[rank], samples->end[rank] - samples->begin[rank],
              sizeof(*samples->cost), ascending);
}

/* A rank that is not in the trace takes its lower neighbour's costs (the first ones, the first rank
 * there is). */
static void fill_gaps(struct kofn_delay_samples *samples)
{
    uint32_t from = 0;

    while (samples->begin[from] == samples->end[from])
        from++; /* there is at least one sample */
    for (uint32_t rank = 0; rank < samples->workers; rank++) {
        if (samples->begin[rank] != samples->end[rank])
            from = rank;
        samples->begin[rank] = samples->begin[from];
        samples->end[rank] = samples->end[from];
    }
}

int kofn_delay_use_trace(struct kofn_delay *delay, const struct kofn_trace *trace,
                         const struct kofn_log *log)
{
    struct kofn_delay_samples *samples;
    size_t *finished, total = 0;
    int rc = 0;

    finished = calloc(trace->workers, sizeof(*finished));
    samples = samples_new(trace->workers, trace->count);
    if (!finished || !samples) {
        rc = kofn_error(log, KOFN_NO_MEMORY, "delay trace: %zu records", trace->count);
        goto free_all;
    }
    for (size_t i = 0; i < trace->count; i++)
        if (!trace->records[i].cancelled) {
            finished[trace->records[i].rank]++;
            total++;
        }
    if (!total) {
        rc = kofn_error(log, KOFN_INVALID, "delay trace: no worker finished a local update in it");
        goto free_all;
    }
    collect(samples, trace, finished);
    for (uint32_t rank = 0; rank < trace->workers; rank++)
        if (!finished[rank] && samples->end[rank] > samples->begin[rank])
            kofn_log(
                log, KOFN_LOG_WARN,
                "delay trace: rank %u finished no local update; drawing from its %zu cancelled "
                "ones, which were longer than recorded",
                rank, samples->end[rank] - samples->begin[rank]);
    fill_gaps(samples);
    kofn_delay_close(delay);
    delay->samples = samples;
    samples = NULL;

free_all:
    samples_free(samples);
    free(finished);
    return rc;
}

int kofn_delay_use_samples(struct kofn_delay *delay, uint32_t workers, size_t count,
                           const double *costs, const struct kofn_log *log)
{
    struct kofn_delay_samples *samples = samples_new(workers, workers * count);

    if (!samples)
        return kofn_error(log, KOFN_NO_MEMORY, "delay: %zu costs of %u workers", count, workers);
    samples->count = workers * count;
    for (uint32_t rank = 0; rank < workers; rank++) {
        samples->begin[rank] = rank * count;
        samples->end[rank] = (rank + 1) * count;
    }
    memcpy(samples->cost, costs, samples->count * sizeof(*costs));
    kofn_delay_close(delay);
    *delay = (struct kofn_delay){.kind = KOFN_DELAY_TRACE, .samples = samples};
    return 0;
}

void kofn_delay_close(struct kofn_delay *delay)
{
    samples_free(delay->samples);
    delay->samples = NULL;
}

static double draw_sample(const struct kofn_delay_samples *samples, uint32_t rank,
                          struct kofn_random *random)
{
    size_t begin, count;

    if (rank >= samples->workers)
        rank %= samples->workers;
    begin = samples->begin[rank];
    count = samples->end[rank] - begin;
    return samples->cost[begin + kofn_random_below(random, count)];
}

double kofn_delay_draw(const struct kofn_delay *delay, uint32_t rank, struct kofn_random *random)
{
    double ns = 0;

    switch (delay->kind) {
    case KOFN_DELAY_NONE:
        return 0;
    case KOFN_DELAY_EXP:
    case KOFN_DELAY_SHIFTED_EXP:
        ns = delay->first + delay->second * kofn_random_exponential(random);
        break;
    case KOFN_DELAY_PARETO:
        /* U^(-1/shape), with U = e^-E */
        ns = delay->first * exp(kofn_random_exponential(random) / delay->second);
        break;
    case KOFN_DELAY_UNIFORM:
        ns = delay->first + (delay->second - delay->first) * kofn_random_uniform(random);
        break;
    case KOFN_DELAY_TRACE:
        ns = draw_sample(delay->samples, rank, random);
        break;
    }
    return KOFN_MIN(ns, (double)KOFN_DURATION_MAX);
}

static double samples_mean(const struct kofn_delay_samples *samples)
{
    double mean = 0;

    for (uint32_t rank = 0; rank < samples->workers; rank++) {
        double sum = 0;

        for (size_t i = samples->begin[rank]; i < samples->end[rank]; i++)
            sum += samples->cost[i];
        mean += sum / (double)(samples->end[rank] - samples->begin[rank]);
    }
    return mean / samples->workers;
}

/* How many costs of @rank are at most @ns. */
static size_t count_up_to(const struct kofn_delay_samples *samples, uint32_t rank, double ns)
{
    size_t low = samples->begin[rank], high = samples->end[rank], middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (samples->cost[middle] <= ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low - samples->begin[rank];
}

static double samples_cdf(const struct kofn_delay_samples *samples, double ns)
{
    double sum = 0;

    for (uint32_t rank = 0; rank < samples->workers; rank++)
        sum += (double)count_up_to(samples, rank, ns) /
               (double)(samples->end[rank] - samples->begin[rank]);
    return sum / samples->workers;
}

double kofn_delay_mean(const struct kofn_delay *delay)
{
    switch (delay->kind) {
    case KOFN_DELAY_NONE:
        break;
    case KOFN_DELAY_EXP:
    case KOFN_DELAY_SHIFTED_EXP:
        return delay->first + delay->second;
    case KOFN_DELAY_PARETO:
        return delay->second > 1 ? delay->first * delay->second / (delay->second - 1) : INFINITY;
    case KOFN_DELAY_UNIFORM:
        return (delay->first + delay->second) / 2;
    case KOFN_DELAY_TRACE:
        return samples_mean(delay->samples);
    }
    return 0;
}

double kofn_delay_cdf(const struct kofn_delay *delay, double ns)
{
    switch (delay->kind) {
    case KOFN_DELAY_NONE:
        break;
    case KOFN_DELAY_EXP:
    case KOFN_DELAY_SHIFTED_EXP:
        return ns <= delay->first ? 0 : -expm1((delay->first - ns) / delay->second);
    case KOFN_DELAY_PARETO:
        return ns <= delay->first ? 0 : -expm1(delay->second * log(delay->first / ns));
    case KOFN_DELAY_UNIFORM:
        if (ns < delay->first)
            return 0;
        return ns >= delay->second ? 1 : (ns - delay->first) / (delay->second - delay->first);
    case KOFN_DELAY_TRACE:
        return samples_cdf(delay->samples, ns);
    }
    return ns >= 0 ? 1 : 0;
}

void kofn_delay_source_init(struct kofn_delay_source *source, uint64_t seed, uint32_t rank)
{
    *source = (struct kofn_delay_source){.drawn = -1, .rank = rank};
    kofn_random_seed(&source->random, seed, kofn_stream_of(KOFN_STREAM_DELAY, rank));
}

/* Too few draws are left: moves them to the front, and draws as many as there is room for. */
static void refill(const struct kofn_delay *delay, struct kofn_delay_source *source)
{
    uint8_t left = 0;

    while (source->used < source->filled)
        source->ahead[left++] = source->ahead[source->used++];
    for (source->used = 0; left < KOFN_DELAY_AHEAD; left++)
        source->ahead[left] = kofn_delay_draw(delay, source->rank, &source->random);
    source->filled = left;
}

static double draw_next(const struct kofn_delay *delay, struct kofn_delay_source *source)
{
    if (source->used == source->filled)
        refill(delay, source);
    return source->ahead[source->used++];
}

double kofn_delay_next(const struct kofn_delay *delay, struct kofn_delay_source *source,
                       uint64_t round)
{
    if (!delay->per_round)
        return draw_next(delay, source);
    if (source->drawn < 0 || source->round != round) {
        source->drawn = draw_next(delay, source);
        source->round = round;
    }
    return source->drawn;
}

double kofn_delay_peek(const struct kofn_delay *delay, struct kofn_delay_source *source,
                       uint64_t round, uint32_t skipped)
{
    if (delay->per_round) {
        if (source->drawn >= 0 && source->round == round)
            return source->drawn;
        skipped = 0; /* they all take what is drawn first */
    }
    if (source->used + skipped >= source->filled)
        refill(delay, source);
    return source->ahead[source->used + skipped];
}
