/* perf_report.h: what kofn perf prints: perftest's columns, or JSON, and what the device has
 * counted meanwhile.
 *
 * Threads: one.
 */
#ifndef KOFN_CLI_PERF_REPORT_H
#define KOFN_CLI_PERF_REPORT_H

#include <jansson.h>

#include "cli/output.h"
#include "cli/perf_counters.h"
#include "cli/perf_times.h"

struct kofn_perf_conf;

struct kofn_perf_report {
    const struct kofn_perf_conf *conf;
    struct kofn_output output;
    bool headed;     /* the columns have been named */
    json_t *rows;    /* NULL where no JSON is wanted */
    char device[96]; /* the directory of its counters; "" = not known, or none */
    struct kofn_perf_counters before;
};

/* Opens what is to be written. Returns KOFN_NO_MEMORY or what kofn_output_open() does; logged. */
int kofn_perf_report_begin(struct kofn_perf_report *report, const struct kofn_perf_conf *conf);

/* @good: all of it is there: the counters, and the JSON, are written. Else nothing is left behind.
 * Returns KOFN_SYSTEM or KOFN_NO_MEMORY; logged.
 */
int kofn_perf_report_end(struct kofn_perf_report *report, bool good);

/* The device whose counters are in directory @counters is used from here on; NULL = none. Of
 * several calls the first counts.
 */
void kofn_perf_report_device(struct kofn_perf_report *report, const char *counters);

/* One row of times, which are sorted for it. @arrival: of quorum, which of N; else NULL. */
void kofn_perf_report_times(struct kofn_perf_report *report, uint64_t bytes, const char *arrival,
                            struct kofn_perf_times *times);

/* One row of bandwidth, in bytes a second. */
void kofn_perf_report_bandwidth(struct kofn_perf_report *report, uint64_t bytes,
                                uint64_t iterations, double peak, double average);

#endif
