#include "cli/parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "theory/bias.h"

KOFN_STATIC_ASSERT(KOFN_PARTS <= KOFN_BIAS_PARTS, "the bias is estimated from all parts");

int kofn_parts_open(struct kofn_parts *parts, uint32_t workers)
{
    memset(parts, 0, sizeof(*parts));
    parts->workers = workers;
    parts->pull = calloc((size_t)KOFN_PARTS * workers, sizeof(*parts->pull));
    return parts->pull ? 0 : KOFN_NO_MEMORY;
}

void kofn_parts_close(struct kofn_parts *parts)
{
    free(parts->pull);
    parts->pull = NULL;
}

static double *pull_of(const struct kofn_parts *parts, uint32_t part)
{
    return parts->pull + (size_t)part * parts->workers;
}

struct kofn_part *kofn_parts_next(struct kofn_parts *parts, double **pull)
{
    struct kofn_part *part = &parts->list[parts->count];

    *pull = pull_of(parts, parts->count);
    parts->count++;
    memset(part, 0, sizeof(*part));
    memset(*pull, 0, parts->workers * sizeof(**pull));
    return part;
}

static struct kofn_part sum_of(const struct kofn_part *one, const struct kofn_part *other)
{
    struct kofn_part sum = {.rounds = one->rounds + other->rounds,
                            .seconds = one->seconds + other->seconds,
                            .merged = one->merged + other->merged,
                            .updates = one->updates + other->updates};

    for (int i = 0; i < KOFN_QUANTITIES; i++)
        sum.sum[i] = one->sum[i] + other->sum[i];
    return sum;
}

void kofn_parts_fold(struct kofn_parts *parts)
{
    parts->count /= 2;
    for (uint32_t i = 0; i < parts->count; i++) {
        const double *one = pull_of(parts, 2 * i), *other = pull_of(parts, 2 * i + 1);
        double *pull = pull_of(parts, i);

        parts->list[i] = sum_of(&parts->list[2 * i], &parts->list[2 * i + 1]);
        for (uint32_t rank = 0; rank < parts->workers; rank++)
            pull[rank] = one[rank] + other[rank];
    }
}

/* ---- means ---- */

/* Rounding is no idleness. */
static double idle_of(double busy)
{
    return busy < 1 - 1e-9 ? 1 - busy : 0;
}

/* The mean of a quantity over a part; NaN where there is none. */
static double mean_of(const struct kofn_parts *parts, const struct kofn_part *part,
                      enum kofn_quantity quantity)
{
    if (quantity == KOFN_STALENESS)
        return part->merged > 0 ? part->sum[quantity] / part->merged : NAN;
    if (quantity == KOFN_IDLE)
        return idle_of(part->sum[quantity] / (part->seconds * parts->workers));
    return part->sum[quantity] / part->rounds;
}

struct kofn_mean kofn_parts_mean(const struct kofn_parts *parts, enum kofn_quantity quantity)
{
    double mean = 0, squares = 0, known = 0;

    for (uint32_t i = 0; i < parts->count; i++) {
        double value = mean_of(parts, &parts->list[i], quantity), off = value - mean;

        if (!isfinite(value))
            continue;
        known++;
        mean += off / known;
        squares += off * (value - mean);
    }
    return (struct kofn_mean){known > 0 ? mean : NAN,
                              known > 1 ? sqrt(squares / (known * (known - 1))) : NAN};
}

struct kofn_mean kofn_parts_rate(const struct kofn_parts *parts)
{
    double updates = 0, seconds = 0, squares = 0, count = parts->count, rate;

    for (uint32_t i = 0; i < parts->count; i++) {
        updates += parts->list[i].updates;
        seconds += parts->list[i].seconds;
    }
    rate = updates / seconds;
    for (uint32_t i = 0; i < parts->count; i++) {
        double off = parts->list[i].updates - rate * parts->list[i].seconds;

        squares += off * off;
    }
    return (struct kofn_mean){rate,
                              count > 1 ? sqrt(squares * count / (count - 1)) / seconds : NAN};
}

struct kofn_mean kofn_parts_bias(const struct kofn_parts *parts)
{
    struct kofn_mean bias;

    kofn_bias_estimate(parts->pull, parts->count, parts->workers, &bias.value, &bias.error);
    return bias;
}

bool kofn_mean_is_precise(const struct kofn_mean *mean, enum kofn_quantity quantity,
                          double precision)
{
    bool may_be_zero = quantity == KOFN_STALENESS || quantity == KOFN_IDLE;
    double scale = may_be_zero ? fmax(mean->value, 1) : mean->value;

    return isnan(mean->value) || mean->error <= precision * scale;
}
