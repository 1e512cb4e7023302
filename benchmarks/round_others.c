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

/* The script lies with the sources, which the environment names where that is not the program's
 * folder.
 */
static void find_script(struct words *words)
{
    const char *source = getenv("top_srcdir");

    if (source)
        snprintf(words->program, sizeof(words->program), "%s/benchmarks/gloo_round.py", source);
    else
        snprintf(words->program, sizeof(words->program), "%s/gloo_round.py", words->folder);
}

int round_gloo_measure(void *arg, double *us, const char **why)
{
    /* a python of the user's own need not be the one that has the system's PyTorch */
    static const char *const pythons[] = {"python3", "/usr/bin/python3"};
    const struct round_gloo *gloo = arg;
    struct words words;
    char output[256];
    int status = CHILD_ABSENT, rc = 0;

    for (size_t i = 0; !rc && status == CHILD_ABSENT && i < KOFN_ARRAY_SIZE(pythons); i++) {
        rc = spell(&words, gloo->shape, ROUND_WORKERS);
        find_script(&words);
        add(&words, (const char *const[]){pythons[i], words.program, words.processes, words.bytes,
                                          words.rounds, words.warm, NULL});
        if (!rc && bench_child_there(pythons[i]))
            rc = bench_child_run(words.argv, ROUND_PATIENCE, output, sizeof(output), &status);
    }
    if (rc)
        return rc;
    if (status == CHILD_ABSENT) {
        *why = "python3 with PyTorch and gloo is not installed";
        return KOFN_UNSUPPORTED;
    }
    return read_median(&words, output, status, us);
}
