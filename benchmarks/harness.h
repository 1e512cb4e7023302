/* harness.h: what benchmark programs share: options, contenders that alternate, rows of results.
 *
 * A program measures contenders in turns (A B C A B C ...), so that a machine that changes its mind
 * about frequency or neighbours treats all alike, and compares them pairwise: each round gives one
 * ratio, the row has their median and quartiles. Rows are printed for people and, with --json FILE,
 * written as a JSON list of
 *
 *   name value unit against against_value ratio bar spread command  (and missing, where something
 * is)
 *
 * value and against_value are medians; ratio is value / against_value, spread its quartiles; bar is
 * "<= X", ">= X" or null where nothing is promised.
 *
 * Threads: one. Errors: as in kofn, with messages on stderr.
 */
#ifndef KOFN_BENCHMARKS_HARNESS_H
#define KOFN_BENCHMARKS_HARNESS_H

#include <jansson.h>

#include "base/base.h"

#define BENCH_ROUNDS_MAX 1000u

struct bench {
    const char *program; /* without its folder */
    char command[256];   /* what to type to have the rows again */
    double seconds;      /* rounds of one alternation go on for so long, */
    unsigned repeat;     /* and there are at least so many */
    const char *json;    /* file for the rows, or NULL */
    json_t *rows;
};

struct bench_contender {
    const char *name;
    /* Takes one sample: 0, or a negative status. KOFN_UNSUPPORTED: it is not there, and @why says
     * what is missing; the others go on without it.
     */
    int (*measure)(void *arg, double *value, const char **why);
    void *arg;

    /* filled by bench_alternate() */
    const char *missing; /* NULL = measured */
    unsigned rounds;
    double samples[BENCH_ROUNDS_MAX]; /* one a round, in the same order for all */
};

/* Reads --json FILE, --seconds S, --repeat N, --help. Returns 0; 1 after --help; KOFN_INVALID
 * (logged), which is exit status 2; KOFN_NO_MEMORY.
 */
int bench_open(struct bench *bench, int argc, char **argv, const char *summary);

/* Writes the rows if a file was asked for, and frees. Returns the exit status: @rc if it is not 0,
 * as 1. */
int bench_close(struct bench *bench, int rc);

/* Measures @contenders in turns; a first round is thrown away. Returns a negative status if one
 * fails. */
int bench_alternate(struct bench *bench, struct bench_contender *const contenders[], size_t count);

/* Sorts @count values, of which there is one at least, and returns the one in the middle. */
double bench_middle(double *values, size_t count);

/* The median of what was measured; NaN if it is missing. */
double bench_median(const struct bench_contender *contender);

/* Adds the row that compares @ours with @against. @bar may be NULL. */
int bench_compare(struct bench *bench, const char *name, const char *unit,
                  const struct bench_contender *ours, const struct bench_contender *against,
                  const char *bar);

#endif
