/* perf_times.h: times that were measured: a histogram, and what it does not keep exactly. Zeroed =
 * none yet. All in ns.
 */
#ifndef KOFN_CLI_PERF_TIMES_H
#define KOFN_CLI_PERF_TIMES_H

#include "base/histogram.h"

struct kofn_perf_times {
    struct kofn_histogram histogram;
    double mean;
    double spread; /* sum of the squared distances from it (Welford) */
};

static inline void kofn_perf_times_record(struct kofn_perf_times *times, uint64_t ns)
{
    double value = (double)ns, off = value - times->mean;

    kofn_histogram_record(&times->histogram, ns);
    times->mean += off / (double)times->histogram.count;
    times->spread += off * (value - times->mean);
}

#endif
