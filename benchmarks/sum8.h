/* sum8.h: the simplest kernel with the traffic of a merge: reads eight arrays, writes their sum. */
#ifndef KOFN_BENCHMARKS_SUM8_H
#define KOFN_BENCHMARKS_SUM8_H

#include <stddef.h>

/* out[i] = from[0][i] + ... + from[7][i] for @first <= i < @last; @first and @last are multiples of
 * 16, arrays on lines. */
typedef void (*sum8_kernel)(float *out, const float *const from[8], size_t first, size_t last);

struct sum8 {
    const char *name;
    sum8_kernel plain, streaming; /* stores through, or past the caches */
};

/* The one with the instructions of the merge kernels called @name ("avx2"); NULL if there is none.
 */
const struct sum8 *sum8_find(const char *name);

#endif
