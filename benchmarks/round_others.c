/* The rounds of others: programs that print the median time of a round in ns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "benchmarks/child.h"
#include "benchmarks/round_contenders.h"

#define WORDS 32

/* A command line. */
struct words {
    const char *argv[WORDS];
    size_t count;
    char bytes[24], rounds[16], warm[16], processes[16];
    char folder[400], program[440];
};

static void add(struct words *words, const char *const *more)
{
    while (*more && words->count + 1 < WORDS)
        words->argv[words->count++] = *more++;
    words->argv[words->count] = NULL;
}

static int spell(struct words *words, const struct round_shape *shape, uint32_t processes)
{
    words->count = 0;
    snprintf(words->bytes, sizeof(words->bytes), "%zu", shape->bytes);
    snprintf(words->rounds, sizeof(words->rounds), "%u", shape->rounds);
    snprintf(words->warm, sizeof(words->warm), "%u", shape->warm);
    snprintf(words->processes, sizeof(words->processes), "%u", processes);
    return bench_child_folder(words->folder, sizeof(words->folder));
}

static int read_median(const struct words *words, const char *output, int status, double *us)
{
    double ns;

    if (status || sscanf(output, "%lf", &ns) != 1)
        return kofn_error(NULL, KOFN_FORMAT, "%s: exit status %d, output '%.80s'", words->program,
                          status, output);
    *us = ns / 1e3;
    return 0;
}

int round_mpi_measure(void *arg, double *us, const char **why)
{
    static const char *const start[] = {
        "mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", "none", NULL};
    const struct round_mpi *mpi = arg;
    struct words words;
    char output[256];
    int status, rc = spell(&words, mpi->shape, ROUND_WORKERS + !strcmp(mpi->kind, "star"));

    if (rc)
        return rc;
    snprintf(words.program, sizeof(words.program), "%s/mpi_round", words.folder);
    if (!bench_child_there("mpirun") || !bench_child_there(words.program)) {
        *why = "mpirun is not installed, or mpi_round was not built";
        return KOFN_UNSUPPORTED;
    }
    add(&words, start);
    add(&words, mpi->settings);
    add(&words, (const char *const[]){"-n", words.processes, words.program, mpi->kind, words.bytes,
                                      words.rounds, words.warm, NULL});
    rc = bench_child_run(words.argv, ROUND_PATIENCE, output, sizeof(output), &status);
    return rc ? rc : read_median(&words, output, status, us);
}

int round_gloo_measure(void *arg, double *us, const char **why)
{
    const struct round_gloo *gloo = arg;
    struct words words;
    double ns;
    int rc = spell(&words, gloo->shape, ROUND_WORKERS);

    add(&words,
        (const char *const[]){words.processes, words.bytes, words.rounds, words.warm, NULL});
    rc = rc ? rc : bench_child_python("gloo_round.py", words.argv, ROUND_PATIENCE, &ns, why);
    if (!rc)
        *us = ns / 1e3;
    return rc;
}
