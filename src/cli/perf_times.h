/* perf_times.h: times that were measured, every one of them: who compares latencies compares a few
 * per cent. Their memory is touched before the first is recorded, so that recording is a store. In
 * ns. Zeroed = none, and no room.
 *
 * Threads: one.
 */
#ifndef KOFN_CLI_PERF_TIMES_H
#define KOFN_CLI_PERF_TIMES_H

#include "base/mem.h"

struct kofn_perf_times {
    struct kofn_memory memory;
    uint64_t *list; /* in it */
    uint64_t count;
};

/* Room for @most times, at least 1. Returns KOFN_NO_MEMORY or KOFN_SYSTEM, logged. */
int kofn_perf_times_init(struct kofn_perf_times *times, uint64_t most, const struct kofn_log *log);

/* To be called for each time, and not more often than there is room for. */
static inline void kofn_perf_times_record(struct kofn_perf_times *times, uint64_t ns)
{
    times->list[times->count++] = ns;
}

/* Puts them in ascending order, as what follows needs them. */
void kofn_perf_times_sort(struct kofn_perf_times *times);

/* The smallest that at least @percent % of all do not exceed (nearest rank); 0 % is the least. Of
 * one or more, sorted.
 */
uint64_t kofn_perf_times_percentile(const struct kofn_perf_times *times, double percent);

/* Mean and standard deviation (of all, not of a sample), of one or more. */
double kofn_perf_times_mean(const struct kofn_perf_times *times);
double kofn_perf_times_deviation(const struct kofn_perf_times *times);

/* Gives the memory back; nothing if there is none. */
void kofn_perf_times_free(struct kofn_perf_times *times);

#endif
