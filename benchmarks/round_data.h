/* round_data.h: what a worker does with a round in every contender of bench_round: it fills an
 * update and reads the model that comes back. One copy of that code, so that all do the same work.
 *
 * The figures are small integers, so that sums are exact in any order. Odd rounds are cancelled by
 * the even ones behind them: a model that has applied them all, as kofn's, is what the last odd
 * round made of zeros, or zeros again; a result of one round alone is plus or minus the same.
 *
 * Counts are in f32 elements and a multiple of ROUND_LANES.
 */
#ifndef KOFN_BENCHMARKS_ROUND_DATA_H
#define KOFN_BENCHMARKS_ROUND_DATA_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define ROUND_LANES 16u

static inline float round_sign(uint32_t round)
{
    return round % 2 ? 1.0f : -1.0f;
}

/* The sum of all elements of round @round's update of worker @rank, over ROUND_LANES elements. */
static inline double round_share(uint32_t rank, uint32_t round)
{
    double lane = rank + 1.0 + (round - 1) / 2 % 4; /* odd round and the one behind it: the same */

    return round_sign(round) * (lane * ROUND_LANES + ROUND_LANES * (ROUND_LANES - 1) / 2.0);
}

/* Writes all of an update: rounds are counted from 1. */
static inline void round_fill(float *update, size_t count, uint32_t rank, uint32_t round)
{
    float lanes[ROUND_LANES];

    for (uint32_t j = 0; j < ROUND_LANES; j++)
        lanes[j] = round_sign(round) * (float)(rank + 1 + (round - 1) / 2 % 4 + j);
    for (size_t i = 0; i < count; i += ROUND_LANES)
        for (uint32_t j = 0; j < ROUND_LANES; j++)
            update[i + j] = lanes[j];
}

/* Reads all of a model: the sum of its elements. */
static inline double round_read(const float *model, size_t count)
{
    float lanes[ROUND_LANES] = {0};
    double sum = 0;

    for (size_t i = 0; i < count; i += ROUND_LANES)
        for (uint32_t j = 0; j < ROUND_LANES; j++)
            lanes[j] += model[i + j];
    for (uint32_t j = 0; j < ROUND_LANES; j++)
        sum += lanes[j];
    return sum;
}

/* What round_read() must find in the sum of the updates of @workers in @round. */
static inline double round_expect(uint32_t workers, uint32_t round, size_t count)
{
    double sum = 0;

    for (uint32_t rank = 0; rank < workers; rank++)
        sum += round_share(rank, round);
    return sum * (double)(count / ROUND_LANES);
}

/* ns of CLOCK_MONOTONIC */
static inline double round_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline int round_ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median of @times, which are sorted by it. */
static inline double round_median(double *times, size_t count)
{
    qsort(times, count, sizeof(*times), round_ascending);
    return count % 2 ? times[count / 2] : (times[count / 2 - 1] + times[count / 2]) / 2;
}

#endif
