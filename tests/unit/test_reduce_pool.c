/* Threads that share a merge: the result does not depend on how many they are. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "math/reduce_pool.h"

#define N 200003
#define SOURCES 9

static struct kofn_reduce_pool *pool_of(unsigned threads, uint64_t spin)
{
    struct kofn_reduce_pool_attr attr = {.threads = threads, .spin = spin};
    struct kofn_reduce_pool *pool = NULL;

    CU_ASSERT_EQUAL_FATAL(kofn_reduce_pool_open(&attr, &pool), 0);
    return pool;
}

/* One thread or five, spinning or sleeping: the same bits, and a NaN in anybody's share is
 * reported. */
static void test_threads_change_nothing(void)
{
    float *memory = malloc((SOURCES + 2) * N * sizeof(float));
    float *expected = memory, *out = memory + N, weights[SOURCES];
    const void *updates[SOURCES];
    struct kofn_merge merge = {expected, NULL, updates, weights, SOURCES, false};
    struct kofn_random random;

    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    kofn_random_seed(&random, 3, 0);
    for (size_t k = 0; k < SOURCES; k++) {
        float *update = memory + (2 + k) * N;

        for (size_t i = 0; i < N; i++)
            update[i] = (float)kofn_random_uniform(&random);
        updates[k] = update;
        weights[k] = (float)kofn_random_uniform(&random);
    }
    CU_ASSERT_TRUE(kofn_reduce_select()->merge[KOFN_F32](&merge, 0, N));
    merge.out = out;
    for (unsigned threads = 1; threads <= 5; threads++) {
        struct kofn_reduce_pool *pool = pool_of(threads, threads % 2 * 20000);
        float *culprit = memory + 4 * N + threads * (N / 6);
        float was = *culprit;

        memset(out, 0, N * sizeof(float));
        CU_ASSERT_TRUE(kofn_reduce_pool_merge(pool, KOFN_F32, &merge, N));
        CU_ASSERT_EQUAL(memcmp(out, expected, N * sizeof(float)), 0);
        *culprit = NAN;
        CU_ASSERT_FALSE(kofn_reduce_pool_merge(pool, KOFN_F32, &merge, N));
        CU_ASSERT_FALSE(kofn_reduce_pool_all_finite(pool, KOFN_F32, updates[2], N));
        CU_ASSERT_TRUE(kofn_reduce_pool_all_finite(pool, KOFN_F32, updates[3], N));
        *culprit = was;
        CU_ASSERT_TRUE(kofn_reduce_pool_merge(pool, KOFN_F32, &merge, N));
        CU_ASSERT_EQUAL(memcmp(out, expected, N * sizeof(float)), 0);
        kofn_reduce_pool_close(pool);
    }
    free(memory);
}

struct visits {
    unsigned char *count; /* a range belongs to one thread: plain bytes, so that a race is one */
    size_t fail_at;
};

static bool visit(void *arg, size_t first, size_t last)
{
    struct visits *visits = arg;

    for (size_t i = first; i < last; i++)
        visits->count[i]++;
    return visits->fail_at < first || visits->fail_at >= last;
}

/* Job after job, every element is visited once, all of them before run() returns, and one failure
 * is a failure. */
static void test_every_element_once(void)
{
    static const size_t sizes[] = {0, 1, 16384, 16385, 33000, 131072, N};
    struct visits visits = {.count = malloc(N)};

    CU_ASSERT_PTR_NOT_NULL_FATAL(visits.count);
    for (unsigned spin = 0; spin <= 1; spin++) {
        struct kofn_reduce_pool *pool = pool_of(3, spin * 20000);

        for (unsigned job = 0; job < 300; job++) {
            size_t n = sizes[job % KOFN_ARRAY_SIZE(sizes)], wrong = 0;

            memset(visits.count, 0, N);
            visits.fail_at = job % 3 && n ? (size_t)job * 7919 % n : SIZE_MAX;
            CU_ASSERT_EQUAL(kofn_reduce_pool_run(pool, visit, &visits, n),
                            visits.fail_at == SIZE_MAX);
            for (size_t i = 0; i < N; i++)
                wrong += visits.count[i] != (i < n);
            CU_ASSERT_EQUAL(wrong, 0);
        }
        kofn_reduce_pool_close(pool);
    }
    free(visits.count);
}

static void mark(void *arg, unsigned thread)
{
    __atomic_add_fetch((unsigned *)arg + thread, 1, __ATOMIC_SEQ_CST);
}

static void swallow(void *arg, enum kofn_log_level level, const char *message)
{
    (void)level;
    snprintf(arg, KOFN_LOG_LINE, "%s", message);
}

/* Each thread but the caller is given its number once, so that it can be bound; impossible counts
 * are refused. */
static void test_open(void)
{
    unsigned started[4] = {0};
    char said[KOFN_LOG_LINE] = "";
    const struct kofn_log log = {KOFN_LOG_ERROR, swallow, said};
    struct kofn_reduce_pool_attr attr = {.threads = 4, .start = mark, .arg = started};
    struct kofn_reduce_pool *pool = NULL;

    CU_ASSERT_EQUAL_FATAL(kofn_reduce_pool_open(&attr, &pool), 0);
    CU_ASSERT_PTR_EQUAL(kofn_reduce_pool_ops(pool), kofn_reduce_select());
    kofn_reduce_pool_close(pool);
    CU_ASSERT_EQUAL(started[0], 0);
    for (unsigned thread = 1; thread < 4; thread++)
        CU_ASSERT_EQUAL(started[thread], 1);

    attr.log = &log;
    pool = NULL;
    attr.threads = 0;
    CU_ASSERT_EQUAL(kofn_reduce_pool_open(&attr, &pool), KOFN_INVALID);
    attr.threads = KOFN_REDUCE_THREADS_MAX + 1;
    CU_ASSERT_EQUAL(kofn_reduce_pool_open(&attr, &pool), KOFN_INVALID);
    CU_ASSERT_PTR_NULL(pool);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "1025"));
    kofn_reduce_pool_close(NULL);
}

void kofn_suite_reduce_pool(void)
{
    CU_pSuite suite = CU_add_suite("reduce_pool", NULL, NULL);

    CU_add_test(suite, "threads change nothing", test_threads_change_nothing);
    CU_add_test(suite, "every element once", test_every_element_once);
    CU_add_test(suite, "open", test_open);
}
