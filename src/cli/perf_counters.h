/* perf_counters.h: what a device counts, a file each in one directory (hw_counters of an RDMA
 * port): retries, packets out of sequence.
 */
#ifndef KOFN_CLI_PERF_COUNTERS_H
#define KOFN_CLI_PERF_COUNTERS_H

#include "base/base.h"

#define KOFN_PERF_COUNTERS 64
#define KOFN_PERF_COUNTER_BYTES 48 /* of a name */

struct kofn_perf_counters {
    size_t count;
    struct kofn_perf_counter {
        char name[KOFN_PERF_COUNTER_BYTES];
        uint64_t value;
    } list[KOFN_PERF_COUNTERS]; /* by name */
};

/* Reads all there are in @directory; none if it cannot be read. "lifespan", which says how old they
 * may be, is none of them.
 */
void kofn_perf_counters_read(const char *directory, struct kofn_perf_counters *counters);

/* How much more @counter is now than it was in @before; all of it, if it was not there. */
uint64_t kofn_perf_counter_grown(const struct kofn_perf_counters *before,
                                 const struct kofn_perf_counter *counter);

#endif
