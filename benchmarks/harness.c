#include "benchmarks/harness.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"

/* more digits than a benchmark can promise */
#define ROWS_FORMAT (JSON_INDENT(2) | JSON_REAL_PRECISION(4))

static const struct option options[] = {
    {"json", required_argument, NULL, 'j'},
    {"seconds", required_argument, NULL, 's'},
    {"repeat", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static void print_help(const struct bench *bench, const char *summary)
{
    printf("Usage: %s [--json FILE] [--seconds S] [--repeat N]\n%s\n\n"
           "  --json FILE   write the rows to FILE as well\n"
           "  --seconds S   go on for S seconds a comparison [%g]\n"
           "  --repeat N    but for at least N rounds [%u]\n",
           bench->program, summary, bench->seconds, bench->repeat);
}

static int read_option(struct bench *bench, int letter)
{
    struct kofn_bad bad;
    uint64_t number = 0;
    int rc = 0;

    if (letter == 'j') {
        bench->json = optarg;
    } else if (letter == 's') {
        rc = kofn_parse_float(kofn_text(optarg), 0, 1e6, &bench->seconds, &bad);
    } else if (letter == 'r') {
        rc = kofn_parse_uint(kofn_text(optarg), 1, BENCH_ROUNDS_MAX, &number, &bad);
        if (!rc)
            bench->repeat = (unsigned)number;
    } else {
        return KOFN_INVALID; /* getopt has said what is wrong */
    }
    if (rc)
        kofn_error(NULL, rc, "%s: " KOFN_BAD, bench->program, KOFN_BAD_ARGS(&bad));
    return rc;
}

int bench_open(struct bench *bench, int argc, char **argv, const char *summary)
{
    const char *slash = strrchr(argv[0], '/');
    int letter, rc;

    setvbuf(stdout, NULL, _IOLBF, 0); /* a row is there, in a file too, as soon as it is measured */
    *bench = (struct bench){.program = slash ? slash + 1 : argv[0], .seconds = 3, .repeat = 7};
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == 'h') {
            print_help(bench, summary);
            return 1;
        }
        rc = read_option(bench, letter);
        if (rc)
            return rc;
    }
    if (optind < argc)
        return kofn_error(NULL, KOFN_INVALID, "%s: %s: no such argument", bench->program,
                          argv[optind]);
    snprintf(bench->command, sizeof(bench->command), "benchmarks/%s --seconds %g --repeat %u",
             bench->program, bench->seconds, bench->repeat);
    bench->rows = json_array();
    if (!bench->rows)
        return kofn_error(NULL, KOFN_NO_MEMORY, "%s: out of memory", bench->program);
    return 0;
}

int bench_close(struct bench *bench, int rc)
{
    if (rc == 0 && bench->json && json_dump_file(bench->rows, bench->json, ROWS_FORMAT))
        rc = kofn_error_errno(NULL, "%s: cannot write %s", bench->program, bench->json);
    json_decref(bench->rows);
    return rc ? 1 : 0;
}

/* ---- measuring ---- */

/* One sample of each. @round is negative for the one that is thrown away. */
static int measure_round(struct bench *bench, struct bench_contender *const contenders[],
                         size_t count, int round)
{
    for (size_t i = 0; i < count; i++) {
        struct bench_contender *contender = contenders[i];
        const char *why = "not available";
        double value;
        int rc;

        if (contender->missing)
            continue;
        rc = contender->measure(contender->arg, &value, &why);
        if (rc == KOFN_UNSUPPORTED) {
            contender->missing = why;
            continue;
        }
        if (rc)
            return kofn_error(NULL, rc, "%s: %s failed", bench->program, contender->name);
        if (round >= 0) {
            contender->samples[round] = value;
            contender->rounds = (unsigned)round + 1;
        }
    }
    return 0;
}

int bench_alternate(struct bench *bench, struct bench_contender *const contenders[], size_t count)
{
    uint64_t end = 0;
    int rc = 0;

    for (int round = -1; rc == 0 && round < (int)BENCH_ROUNDS_MAX; round++) {
        if (round == 0)
            end = kofn_now_ns() + (uint64_t)(bench->seconds * 1e9);
        else if (round >= (int)bench->repeat && kofn_now_ns() >= end)
            break;
        rc = measure_round(bench, contenders, count, round);
    }
    return rc;
}

/* ---- results ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_middle(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), ascending);
    return values[count / 2];
}

/* The value at @part (0 to 1) of the sorted @values, interpolated. */
static double quantile(const double *values, unsigned count, double part)
{
    double at = part * (count - 1);
    unsigned low = (unsigned)at, high = KOFN_MIN(low + 1, count - 1);

    return values[low] + (at - low) * (values[high] - values[low]);
}

double bench_median(const struct bench_contender *contender)
{
    double sorted[BENCH_ROUNDS_MAX];

    if (contender->missing || contender->rounds == 0)
        return NAN;
    memcpy(sorted, contender->samples, contender->rounds * sizeof(double));
    qsort(sorted, contender->rounds, sizeof(double), ascending);
    return quantile(sorted, contender->rounds, 0.5);
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

struct ratio {
    double median, low, high; /* quartiles */
};

static struct ratio ratio_of(const struct bench_contender *ours,
                             const struct bench_contender *against)
{
    unsigned rounds = KOFN_MIN(ours->rounds, against->rounds);
    double ratios[BENCH_ROUNDS_MAX];

    if (ours->missing || against->missing || rounds == 0)
        return (struct ratio){NAN, NAN, NAN};
    for (unsigned i = 0; i < rounds; i++)
        ratios[i] = ours->samples[i] / against->samples[i];
    qsort(ratios, rounds, sizeof(double), ascending);
    return (struct ratio){quantile(ratios, rounds, 0.5), quantile(ratios, rounds, 0.25),
                          quantile(ratios, rounds, 0.75)};
}

int bench_compare(struct bench *bench, const char *name, const char *unit,
                  const struct bench_contender *ours, const struct bench_contender *against,
                  const char *bar)
{
    const struct bench_contender *absent = ours->missing ? ours : against->missing ? against : NULL;
    struct ratio ratio = ratio_of(ours, against);
    json_t *row = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:s?, s:[o,o], s:s}", "name", name,
                            "value", number(bench_median(ours)), "unit", unit, "against",
                            against->name, "against_value", number(bench_median(against)), "ratio",
                            number(ratio.median), "bar", bar, "spread", number(ratio.low),
                            number(ratio.high), "command", bench->command);

    if (!row || json_array_append_new(bench->rows, row))
        return kofn_error(NULL, KOFN_NO_MEMORY, "%s: no memory for a row", bench->program);
    if (absent) {
        json_object_set_new(row, "spread", json_null());
        json_object_set_new(row, "missing", json_sprintf("%s: %s", absent->name, absent->missing));
        printf("%s: missing: %s: %s\n", name, absent->name, absent->missing);
        return 0;
    }
    printf("%s: %.4g %s, %s %.4g: ratio %.3f (%.3f to %.3f, %u rounds)%s%s\n", name,
           bench_median(ours), unit, against->name, bench_median(against), ratio.median, ratio.low,
           ratio.high, KOFN_MIN(ours->rounds, against->rounds), bar ? ", bar " : "",
           bar ? bar : "");
    return 0;
}
