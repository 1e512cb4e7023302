/* perf_order.h: what a client of kofn perf asks its server for: one size of one test.
 *
 * It travels as a line of text in a greeting; reading one trusts nothing. Pure.
 */
#ifndef KOFN_CLI_PERF_ORDER_H
#define KOFN_CLI_PERF_ORDER_H

#include "base/base.h"

#define KOFN_PERF_BYTES_MAX (UINT64_C(1) << 30) /* of a payload */
#define KOFN_PERF_ITERATIONS_MAX (UINT64_C(1) << 30)
#define KOFN_PERF_TIMES_MAX (UINT64_C(1) << 24) /* where every time is kept: 128 MiB of them */
#define KOFN_PERF_WRITERS_MAX 256u

enum kofn_perf_test { KOFN_PERF_LAT, KOFN_PERF_BW, KOFN_PERF_QUORUM, KOFN_PERF_TESTS };

/* The most iterations of @test. */
static inline uint64_t kofn_perf_most(enum kofn_perf_test test)
{
    return test == KOFN_PERF_BW ? KOFN_PERF_ITERATIONS_MAX : KOFN_PERF_TIMES_MAX;
}

/* "lat", "bw", "quorum" */
extern const char *const kofn_perf_tests[KOFN_PERF_TESTS];

struct kofn_perf_order {
    enum kofn_perf_test test;
    uint64_t bytes;      /* of a payload, 1 to KOFN_PERF_BYTES_MAX */
    uint64_t iterations; /* 1 to kofn_perf_most() */
    uint64_t warm_up;    /* as many before, which do not count */
    uint64_t depth;      /* buffers of a slot */
    uint64_t writers;    /* N */
    uint64_t wait_for;   /* K: 1 to N */
};

/* Writes @order into @text of @size bytes. */
void kofn_perf_order_write(const struct kofn_perf_order *order, char *text, size_t size);

/* Reads it. Returns NULL, or what is wrong; @order is then untouched. */
const char *kofn_perf_order_read(const char *text, struct kofn_perf_order *order);

/* True if both ask for the same. */
bool kofn_perf_order_same(const struct kofn_perf_order *a, const struct kofn_perf_order *b);

#endif
