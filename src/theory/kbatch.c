#include "theory/kbatch.h"

#include <complex.h>
#include <math.h>
#include <stdlib.h>

#include "theory/special.h"

#define NEGLIGIBLE 1e-18 /* a probability that no sum notices, even to the power N */
#define COUNTS 16384     /* values that one worker's count may take at a time */
#define LENGTH (1 << 17) /* longest transform */

struct kbatch {
    const struct kofn_renewal *stream;
    double workers, wait_for;
    double *p;           /* COUNTS: of one worker's count */
    double complex *sum; /* LENGTH: of all workers' counts, modulo the length of the transform */
};

/* One worker's count at a time: it is `least` + i with probability p[i], i < `values`. */
struct counts {
    double least, mean, variance;
    size_t values;
};

/* The most updates that a worker has certainly finished by @time. */
static uint64_t certain(const struct kofn_renewal *stream, double time)
{
    uint64_t low = 0, high = 1;

    while (kofn_renewal_tail(stream, high, time) < NEGLIGIBLE)
        high *= 2;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (kofn_renewal_tail(stream, middle, time) < NEGLIGIBLE)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* False if they take too many values, or are no numbers. */
static bool count(struct kbatch *kbatch, double time, struct counts *counts)
{
    uint64_t least = certain(kbatch->stream, time);
    double above = 1, next, mean = 0, square = 0;
    size_t i;

    for (i = 0; above >= NEGLIGIBLE; i++) {
        if (i == COUNTS)
            return false;
        next = kofn_renewal_cdf(kbatch->stream, least + i + 1, time);
        kbatch->p[i] = above - next;
        mean += (double)i * kbatch->p[i];
        square += (double)i * (double)i * kbatch->p[i];
        above = next;
    }
    *counts = (struct counts){.least = (double)least,
                              .mean = (double)least + mean,
                              .variance = fmax(0, square - mean * mean),
                              .values = i};
    return !isnan(above);
}

/* The power of two that leaves far more room than the sum of all counts spreads, or 0 if that is
 * too much. */
static size_t transform_length(double deviation)
{
    size_t length = 64;

    while ((double)length < 40 * deviation + 64 && length <= LENGTH)
        length *= 2;
    return length <= LENGTH ? length : 0;
}

/* The sum over r = from .. from + count - 1 of exp(i angle r). */
static double complex turns(double angle, double from, double count)
{
    double half = angle / 2;

    /* a geometric sum, written as the middle of it times a ratio of sines */
    return cexp(I * (angle * (from + (count - 1) / 2))) * (sin(half * count) / sin(half));
}

/* P(count_all < K), from the transform of one worker's count beyond the least, which fills @length
 * of kbatch->sum. The N workers' counts beyond their least are @missing or more for K in all;
 * nearly all of their probability is within half a length of that. */
static double inverted(const struct kbatch *kbatch, size_t length, double missing)
{
    const double half = (double)length / 2, faintest = exp(2 * log(NEGLIGIBLE) / kbatch->workers);
    double total = half; /* of frequency 0, whose transform is 1 */

    for (size_t j = 1; j <= length / 2; j++) {
        double complex z = kbatch->sum[j];
        double square = creal(z) * creal(z) + cimag(z) * cimag(z), size, angle;
        double frequency = 2 * M_PI * (double)j / (double)length;

        if (square <= faintest) /* most of them where N is large */
            continue;
        size = exp(kbatch->workers / 2 * log(square));
        angle = kbatch->workers * carg(z);
        /* a frequency and its negative are conjugate, and half the length is its own negative */
        total += (2 * j < length ? 2 : 1) * size *
                 creal(cexp(I * angle) * turns(frequency, missing - half, half));
    }
    return total / (double)length;
}

/* P(fewer than K updates in all by @time). */
static double fewer(double time, void *arg)
{
    struct kbatch *kbatch = arg;
    struct counts counts;
    double deviation, missing;
    size_t length;

    if (!count(kbatch, time, &counts))
        return NAN;
    deviation = sqrt(kbatch->workers * counts.variance);
    missing = kbatch->wait_for - kbatch->workers * counts.mean;
    length = transform_length(deviation);
    if (!length)
        return NAN;
    if (fabs(missing) > (double)length / 4) /* 10 deviations, and 16 more */
        return missing > 0;

    for (size_t i = 0; i < length; i++)
        kbatch->sum[i] = 0;
    for (size_t i = 0; i < counts.values; i++)
        kbatch->sum[i % length] += kbatch->p[i];
    kofn_special_transform((double *)kbatch->sum, length);
    return inverted(kbatch, length, kbatch->wait_for - kbatch->workers * counts.least);
}

/* The time by which all workers are expected to have finished @updates. */
static double time_of(struct kbatch *kbatch, double updates)
{
    struct counts counts = {0};
    double left = 0, right = kbatch->stream->shift + kbatch->stream->mean, middle;

    while (count(kbatch, right, &counts) && kbatch->workers * counts.mean < updates)
        right *= 2;
    for (int i = 0; i < 20; i++) {
        middle = (left + right) / 2;
        if (count(kbatch, middle, &counts) && kbatch->workers * counts.mean < updates)
            left = middle;
        else
            right = middle;
    }
    return right;
}

static struct kofn_prediction integrated(struct kbatch *kbatch)
{
    /* a bit more than 10 deviations of a Poisson count, which is more widely spread than ours, on
     * either side; and 3 of ours, within which most of the change is */
    double k = kbatch->wait_for, spread = 10 * sqrt(k) + 40, middle = time_of(kbatch, k), near;
    struct kofn_prediction mean = {.method = KOFN_METHOD_QUADRATURE};
    struct counts counts;
    double points[5];

    if (!count(kbatch, middle, &counts))
        return kofn_prediction_none();
    near = fmin(spread, 3 * sqrt(kbatch->workers * counts.variance));
    points[0] = k > spread ? time_of(kbatch, k - spread) : 0;
    points[1] = k > near ? time_of(kbatch, k - near) : points[0];
    points[2] = middle;
    points[3] = time_of(kbatch, k + near);
    points[4] = time_of(kbatch, k + 2 * spread);
    mean.value = points[0];
    for (size_t i = 1; i < KOFN_ARRAY_SIZE(points); i++) {
        double shift = kbatch->stream->shift, from = points[i - 1], to = points[i];

        /* a worker's first update begins to be possible: a kink */
        if (from < shift && shift < to) {
            if (!kofn_special_integrate(fewer, kbatch, from, shift, middle, &mean))
                return kofn_prediction_none();
            from = shift;
        }
        if (!kofn_special_integrate(fewer, kbatch, from, to, middle, &mean))
            return kofn_prediction_none();
    }
    return kofn_prediction_settled(mean);
}

struct kofn_prediction kofn__kbatch_mean(const struct kofn_renewal *stream, uint32_t workers,
                                         uint32_t wait_for)
{
    struct kbatch kbatch = {.stream = stream, .workers = workers, .wait_for = wait_for};
    struct kofn_prediction mean = kofn_prediction_none();

    kbatch.p = malloc(COUNTS * sizeof(*kbatch.p));
    kbatch.sum = malloc(LENGTH * sizeof(*kbatch.sum));
    if (kbatch.p && kbatch.sum)
        mean = integrated(&kbatch);
    free(kbatch.sum);
    free(kbatch.p);
    return mean;
}
