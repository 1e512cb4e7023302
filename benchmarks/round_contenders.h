/* round_contenders.h: one sample each of whole rounds over shared memory, by kofn and by others:
 * the median time of a round at one worker, filling its update and reading the result included.
 */
#ifndef KOFN_BENCHMARKS_ROUND_CONTENDERS_H
#define KOFN_BENCHMARKS_ROUND_CONTENDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUND_WORKERS 8u
#define ROUND_PATIENCE 120u /* seconds that a sample may take */

/* What a sample is. */
struct round_shape {
    size_t bytes;
    uint32_t rounds, warm; /* `warm` rounds before are not counted */
};

/* kofn: a server and its workers, a process each; algorithm sync. */
struct round_kofn {
    const struct round_shape *shape;
    uint64_t spin; /* ns; 0 = who waits sleeps */
    uint32_t merge_threads;
    bool copy; /* workers take copies of the model; else they look at it where it is published */
};

/* Open MPI. "allreduce": all ranks are workers; "star": one more is their server. */
struct round_mpi {
    const struct round_shape *shape;
    const char *kind;
    const char *settings[8]; /* more words for mpirun, NULL at the end */
};

struct round_gloo {
    const struct round_shape *shape;
};

/* The least that a round moves: @threads fill, merge and read, and nothing goes between them. */
struct round_memory {
    const struct round_shape *shape;
    uint32_t threads;
};

/* Each is a bench_contender.measure: @arg is the structure above, @us the sample. */
int round_kofn_measure(void *arg, double *us, const char **why);
int round_mpi_measure(void *arg, double *us, const char **why);
int round_gloo_measure(void *arg, double *us, const char **why);
int round_memory_measure(void *arg, double *us, const char **why);

#endif
