/* What is read out of a trace in which updates were cut off. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>

#include "sim/fit.h"
#include "tests/lib/caught_log.h"

#define RECORDS 40000

static struct kofn_trace_record record(uint32_t rank, double cost, double limit)
{
    struct kofn_trace_record record = {.rank = rank, .round = 1, .cancelled = cost > limit};

    record.delay_ns = (uint64_t)fmin(cost, limit);
    return record;
}

/* Updates of mean 1 ms that are cut off at independent exponential times: the mean comes out, at
 * any strength of the cutting, though the finished ones alone are much faster.
 */
static void test_censored_mean(void)
{
    static const double limits[] = {1e9, 2e6, 0.5e6};
    struct kofn_trace_record *records = calloc(RECORDS, sizeof(*records));
    struct kofn_random random;

    CU_ASSERT_PTR_NOT_NULL_FATAL(records);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(limits); i++) {
        struct kofn_trace trace = {.records = records, .count = RECORDS, .workers = 1};
        struct kofn_fit fit;

        kofn_random_seed(&random, 7, i);
        for (size_t j = 0; j < RECORDS; j++)
            records[j] = record(0, 1e6 * kofn_random_exponential(&random),
                                limits[i] * kofn_random_exponential(&random));
        CU_ASSERT_EQUAL_FATAL(kofn_fit_trace(&trace, NULL, &fit), 0);
        CU_ASSERT_DOUBLE_EQUAL(fit.list[0].mean, 1e6, i < 2 ? 0.03e6 : 0.1e6);
        CU_ASSERT_DOUBLE_EQUAL(fit.list[0].p50, log(2) * 1e6, 0.03e6);
        CU_ASSERT(i == 0 || fit.list[0].naive < 0.8e6);
        CU_ASSERT_FALSE(fit.list[0].borrowed);
        kofn_fit_free(&fit);
    }
    free(records);
}

/* What is never seen beyond a limit is spread behind it, so that even then the mean comes out. */
static void test_hidden_tail(void)
{
    struct kofn_trace_record *records = calloc(RECORDS, sizeof(*records));
    struct kofn_trace trace = {.records = records, .count = RECORDS, .workers = 1};
    struct kofn_random random;
    struct kofn_fit fit;

    CU_ASSERT_PTR_NOT_NULL_FATAL(records);
    kofn_random_seed(&random, 8, 0);
    for (size_t j = 0; j < RECORDS; j++)
        records[j] = record(0, 1e6 * kofn_random_exponential(&random), 1.5e6);
    CU_ASSERT_EQUAL_FATAL(kofn_fit_trace(&trace, NULL, &fit), 0);
    CU_ASSERT_DOUBLE_EQUAL(fit.list[0].mean, 1e6, 0.04e6);
    kofn_fit_free(&fit);
    free(records);
}

/* The draws of a fitted delay have the fitted mean, worker by worker. */
static void test_draws(void)
{
    struct kofn_trace_record *records = calloc(RECORDS, sizeof(*records));
    struct kofn_trace trace = {.records = records, .count = RECORDS, .workers = 2};
    struct kofn_delay delay = {0};
    struct kofn_random random;
    struct kofn_fit fit;

    CU_ASSERT_PTR_NOT_NULL_FATAL(records);
    kofn_random_seed(&random, 9, 0);
    for (size_t j = 0; j < RECORDS; j++)
        records[j] = record(j % 2, (j % 2 ? 5e6 : 1e6) * (1 + kofn_random_exponential(&random)),
                            20e6 * kofn_random_exponential(&random));
    CU_ASSERT_EQUAL_FATAL(kofn_fit_trace(&trace, NULL, &fit), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_fit_delay(&fit, NULL, &delay), 0);
    for (uint32_t rank = 0; rank < 2; rank++) {
        double sum = 0;

        for (int i = 0; i < 20000; i++)
            sum += kofn_delay_draw(&delay, rank, &random);
        CU_ASSERT_DOUBLE_EQUAL(sum / 20000, fit.list[rank].mean, 0.03 * fit.list[rank].mean);
        CU_ASSERT_DOUBLE_EQUAL(fit.list[rank].mean, rank ? 10e6 : 2e6, rank ? 0.4e6 : 0.08e6);
        CU_ASSERT(fit.list[rank].low >= (rank ? 5e6 : 1e6) - 1);
    }
    kofn_delay_close(&delay);
    kofn_fit_free(&fit);
    free(records);
}

/* A worker of which little is known takes the shape of all and its own mean; one that is not in the
 * trace, what all have.
 */
static void test_few(void)
{
    struct kofn_trace_record records[104];
    struct kofn_trace trace = {.records = records, .count = 104, .workers = 4};
    struct kofn_fit fit;

    for (int i = 0; i < 100; i++)
        records[i] = record(0, 1e6 + i * 1e4, INFINITY);
    for (int i = 100; i < 102; i++)
        records[i] = record(1, 6e6, INFINITY); /* rank 1 finished two */
    for (int i = 102; i < 104; i++)
        records[i] = record(3, 9e6, 4e6); /* rank 3 none in twice 4 ms */
    CU_ASSERT_EQUAL_FATAL(kofn_fit_trace(&trace, NULL, &fit), 0);
    CU_ASSERT_FALSE(fit.list[0].borrowed);
    CU_ASSERT_DOUBLE_EQUAL(fit.list[0].mean, 1.495e6, 1);
    CU_ASSERT(fit.list[1].borrowed && fit.list[2].borrowed && fit.list[3].borrowed);
    CU_ASSERT_DOUBLE_EQUAL(fit.list[1].mean, 6e6, 1);
    CU_ASSERT_DOUBLE_EQUAL(fit.list[3].mean, 16e6, 1);
    CU_ASSERT(fit.list[2].mean > 1.4e6 && fit.list[2].mean < 6e6);
    kofn_fit_free(&fit);
}

/* Computing and publishing are told apart from injected delay. */
static void test_shares(void)
{
    struct kofn_trace_record records[] = {
        {.compute_ns = 30, .delay_ns = 10, .publish_ns = 4},
        {.compute_ns = 30, .delay_ns = 10, .publish_ns = 0},
        {.compute_ns = 30, .delay_ns = 10, .publish_ns = 8},
    };
    struct kofn_trace trace = {.records = records, .count = 3, .workers = 1};
    struct kofn_fit fit;

    CU_ASSERT_EQUAL_FATAL(kofn_fit_trace(&trace, NULL, &fit), 0);
    CU_ASSERT_DOUBLE_EQUAL(fit.compute_share, 0.75, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(fit.publish, 6, 1e-12);
    kofn_fit_free(&fit);
}

/* A trace in which nothing was finished says nothing. */
static void test_nothing_finished(void)
{
    struct kofn_trace_record records[] = {{.delay_ns = 10, .cancelled = 1}};
    struct kofn_trace trace = {.records = records, .count = 1, .workers = 1};
    struct kofn_caught caught;
    struct kofn_fit fit = {0};

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL(kofn_fit_trace(&trace, &caught.log, &fit), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "no worker finished"));
    CU_ASSERT_PTR_NULL(fit.list);
}

void kofn_suite_fit(void)
{
    CU_pSuite suite = CU_add_suite("fit", NULL, NULL);

    CU_add_test(suite, "cut off updates are not forgotten", test_censored_mean);
    CU_add_test(suite, "a tail that was never seen", test_hidden_tail);
    CU_add_test(suite, "draws have the fitted means", test_draws);
    CU_add_test(suite, "workers of which little is known", test_few);
    CU_add_test(suite, "computing, injected delay and publishing", test_shares);
    CU_add_test(suite, "a trace without a finished update", test_nothing_finished);
}
