/* cores.h: which CPUs a benchmark may use, one a core, how to stay on one, and what was used of
 * them.
 */
#ifndef KOFN_BENCHMARKS_CORES_H
#define KOFN_BENCHMARKS_CORES_H

#include <stdbool.h>

#define BENCH_CORES_MAX 1024

/* CPUs this process may run on, one of each core, ascending. Returns how many, at most @max; 0 if
 * it cannot be told.
 */
int bench_cores(int *cpus, int max);

/* Binds the calling thread to @cpu; nothing if it is negative. Returns 0 or KOFN_SYSTEM (logged).
 */
int bench_pin(int cpu);

/* The calling thread goes before everybody else who wants its CPU (SCHED_RR), or no longer: for
 * tails that are not to be the time slices of neighbours. Returns false where that is not
 * permitted; nothing has changed then.
 */
bool bench_first(bool first);

/* CPU time so far, in ns, of this process with all its threads, or, @children, of those of its
 * children that have been waited for.
 */
double bench_cpu_ns(bool children);

#endif
