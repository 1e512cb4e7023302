/* cores.h: which CPUs a benchmark may use, one a core, and how to stay on one. */
#ifndef KOFN_BENCHMARKS_CORES_H
#define KOFN_BENCHMARKS_CORES_H

#define BENCH_CORES_MAX 1024

/* CPUs this process may run on, one of each core, ascending. Returns how many, at most @max; 0 if
 * it cannot be told.
 */
int bench_cores(int *cpus, int max);

/* Binds the calling thread to @cpu; nothing if it is negative. Returns 0 or KOFN_SYSTEM (logged).
 */
int bench_pin(int cpu);

#endif
