#include "cli/perf_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/perf.h"

#define US 1e3
#define MIB 1048576.0
#define GBIT 1.25e8 /* bytes of 10^9 bits */

static bool wants_json(const struct kofn_perf_conf *conf)
{
    return conf->json || conf->json_file;
}

/* Names the columns, once: those of perftest, in its words; what is ours stands beside them. */
static void head(struct kofn_perf_report *report)
{
    const char *unit = report->conf->gbits ? "Gb/sec" : "MiB/sec";

    if (report->headed)
        return;
    report->headed = true;
    if (report->conf->test == KOFN_PERF_BW)
        printf(" #bytes     #iterations    BW peak[%s]    BW average[%s]   MsgRate[Mpps]\n", unit,
               unit);
    else
        printf(" #bytes %s#iterations    t_min[usec]    t_max[usec]  t_typical[usec]    "
               "t_avg[usec]    t_stdev[usec]   99%% percentile[usec]   99.9%% percentile[usec]   "
               "99.99%% percentile[usec]\n",
               report->conf->test == KOFN_PERF_QUORUM ? "arrival " : "");
}

static void add_row(struct kofn_perf_report *report, json_t *row)
{
    if (report->rows)
        json_array_append_new(report->rows, row);
}

static double us(const struct kofn_perf_times *times, double percent)
{
    return (double)kofn_perf_times_percentile(times, percent) / US;
}

void kofn_perf_report_times(struct kofn_perf_report *report, uint64_t bytes, const char *arrival,
                            struct kofn_perf_times *times)
{
    uint64_t count = times->count;
    double mean = kofn_perf_times_mean(times) / US;
    double deviation = kofn_perf_times_deviation(times) / US;

    kofn_perf_times_sort(times);
    if (report->rows)
        add_row(report, json_pack("{s:I,s:s*,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "bytes",
                                  (json_int_t)bytes, "arrival", arrival, "iterations",
                                  (json_int_t)count, "t_min", us(times, 0), "t_max", us(times, 100),
                                  "t_typical", us(times, 50), "t_avg", mean, "t_stdev", deviation,
                                  "p50", us(times, 50), "p90", us(times, 90), "p99", us(times, 99),
                                  "p99_9", us(times, 99.9), "p99_99", us(times, 99.99)));
    if (report->conf->json)
        return;
    head(report);
    printf(" %-7" PRIu64, bytes);
    if (arrival)
        printf("%-8s", arrival);
    printf(" %-14" PRIu64 " %-14.2f %-12.2f %-18.2f %-14.2f %-15.2f %-22.2f %-24.2f %.2f\n", count,
           us(times, 0), us(times, 100), us(times, 50), mean, deviation, us(times, 99),
           us(times, 99.9), us(times, 99.99));
    fflush(stdout);
}

void kofn_perf_report_bandwidth(struct kofn_perf_report *report, uint64_t bytes,
                                uint64_t iterations, double peak, double average)
{
    double unit = report->conf->gbits ? GBIT : MIB, rate = average / (double)bytes / 1e6;

    if (report->rows)
        add_row(report, json_pack("{s:I,s:I,s:f,s:f,s:f}", "bytes", (json_int_t)bytes, "iterations",
                                  (json_int_t)iterations, "bw_peak", peak / unit, "bw_average",
                                  average / unit, "msg_rate", rate));
    if (report->conf->json)
        return;
    head(report);
    printf(" %-10" PRIu64 " %-14" PRIu64 " %-19.2f %-21.2f %.6f\n", bytes, iterations, peak / unit,
           average / unit, rate);
    fflush(stdout);
}

/* ---- the device ---- */

void kofn_perf_report_device(struct kofn_perf_report *report, const char *counters)
{
    if (report->device[0] || !counters)
        return;
    snprintf(report->device, sizeof(report->device), "%s", counters);
    kofn_perf_counters_read(report->device, &report->before);
}

/* What has been counted since, as JSON. */
static json_t *count_json(const struct kofn_perf_report *report)
{
    json_t *json = json_object();
    struct kofn_perf_counters now = {0};

    if (report->device[0])
        kofn_perf_counters_read(report->device, &now);
    for (size_t i = 0; json && i < now.count; i++)
        json_object_set_new(
            json, now.list[i].name,
            json_integer((json_int_t)kofn_perf_counter_grown(&report->before, &now.list[i])));
    return json;
}

/* The same as lines, of those that have grown. */
static void print_counters(const struct kofn_perf_report *report)
{
    struct kofn_perf_counters now;

    if (!report->device[0])
        return;
    kofn_perf_counters_read(report->device, &now);
    printf("counted meanwhile in %s:\n", report->device);
    for (size_t i = 0; i < now.count; i++) {
        uint64_t more = kofn_perf_counter_grown(&report->before, &now.list[i]);

        if (more)
            printf("  %s %" PRIu64 "\n", now.list[i].name, more);
    }
}

/* ---- begin and end ---- */

/* Times are those of a CPU that changes its frequency under the measurement. */
static void warn_of_frequency(const struct kofn_perf_conf *conf)
{
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "re");
    char governor[32] = "";

    if (!file)
        return; /* it has none: a virtual machine */
    if (fscanf(file, "%31s", governor) == 1 && strcmp(governor, "performance"))
        kofn_log(conf->log, KOFN_LOG_WARN,
                 "perf: the frequency of the CPUs is governed by \"%s\": times may be longer than "
                 "they need be; -F: say nothing",
                 governor);
    fclose(file);
}

int kofn_perf_report_begin(struct kofn_perf_report *report, const struct kofn_perf_conf *conf)
{
    int rc;

    *report = (struct kofn_perf_report){.conf = conf};
    rc = kofn_output_open(&report->output, conf->json_file, "--out_json_file", conf->log);
    if (rc)
        return rc;
    if (wants_json(conf) && !(report->rows = json_array())) {
        kofn_output_drop(&report->output);
        return kofn_error(conf->log, KOFN_NO_MEMORY, "perf: no memory for a report");
    }
    if (!conf->any_frequency)
        warn_of_frequency(conf);
    return 0;
}

static int write_json(struct kofn_perf_report *report)
{
    const struct kofn_perf_conf *conf = report->conf;
    json_t *whole =
        json_pack("{s:s,s:s,s:o,s:s,s:s,s:O,s:o}", "test", kofn_perf_tests[conf->test], "transport",
                  conf->ops->name, "options", kofn_json_text(conf->options), "time_unit", "us",
                  "bandwidth_unit", conf->gbits ? "Gb/s" : "MiB/s", "results", report->rows,
                  "hw_counters", count_json(report));
    int rc = 0;

    if (conf->json_file) {
        rc = kofn_json_write(json_incref(whole), report->output.stream, conf->log);
        rc = rc ? rc : kofn_output_commit(&report->output, conf->log);
    }
    if (conf->json && !rc)
        rc = kofn_json_write(json_incref(whole), stdout, conf->log);
    json_decref(whole);
    return rc;
}

int kofn_perf_report_end(struct kofn_perf_report *report, bool good)
{
    int rc = 0;

    if (good && !report->conf->json)
        print_counters(report);
    if (good && report->rows)
        rc = write_json(report);
    kofn_output_drop(&report->output);
    json_decref(report->rows);
    report->rows = NULL;
    return rc;
}
