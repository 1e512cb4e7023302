#include "cli/perf_times.h"

#include <math.h>
#include <stdlib.h>

#include "base/histogram.h"

int kofn_perf_times_init(struct kofn_perf_times *times, uint64_t most, const struct kofn_log *log)
{
    int rc;

    *times = (struct kofn_perf_times){0};
    rc = kofn_memory_map(&times->memory, most * sizeof(*times->list), KOFN_MEMORY_POPULATE, log);
    times->list = times->memory.address;
    return rc;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

void kofn_perf_times_sort(struct kofn_perf_times *times)
{
    qsort(times->list, times->count, sizeof(*times->list), compare);
}

uint64_t kofn_perf_times_percentile(const struct kofn_perf_times *times, double percent)
{
    return times->list[kofn_nearest_rank(times->count, percent) - 1];
}

double kofn_perf_times_mean(const struct kofn_perf_times *times)
{
    double sum = 0;

    for (uint64_t i = 0; i < times->count; i++)
        sum += (double)times->list[i];
    return sum / (double)times->count;
}

double kofn_perf_times_deviation(const struct kofn_perf_times *times)
{
    double mean = kofn_perf_times_mean(times), sum = 0;

    for (uint64_t i = 0; i < times->count; i++)
        sum += ((double)times->list[i] - mean) * ((double)times->list[i] - mean);
    return sqrt(sum / (double)times->count);
}

void kofn_perf_times_free(struct kofn_perf_times *times)
{
    kofn_memory_unmap(&times->memory);
    *times = (struct kofn_perf_times){0};
}
