/* What kofn perf is made of that needs no transport: orders, times, counters. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/perf_counters.h"
#include "cli/perf_order.h"
#include "cli/perf_times.h"

/* An order that is written is read as it was. */
static void test_orders_travel(void)
{
    struct kofn_perf_order order = {.test = KOFN_PERF_QUORUM,
                                    .bytes = KOFN_PERF_BYTES_MAX,
                                    .iterations = KOFN_PERF_TIMES_MAX,
                                    .warm_up = 0,
                                    .depth = 8,
                                    .writers = KOFN_PERF_WRITERS_MAX,
                                    .wait_for = 1};
    struct kofn_perf_order read;
    char text[128];

    kofn_perf_order_write(&order, text, sizeof(text));
    CU_ASSERT_PTR_NULL(kofn_perf_order_read(text, &read));
    CU_ASSERT_TRUE(kofn_perf_order_same(&order, &read));
    order.wait_for = 2;
    CU_ASSERT_FALSE(kofn_perf_order_same(&order, &read));
}

/* What a client says is judged: an order out of range is none, and nothing of it is taken. */
static void test_orders_are_judged(void)
{
    static const char *const wrong[] = {
        "",
        "perf",
        "mnist",
        "perf lat",
        "perf fast 8 10 1 2 1 1",
        "perf lat 8 10 1 2 1",     /* too short */
        "perf lat 8 10 1 2 1 1 1", /* too long */
        "perf lat  8 10 1 2 1 1",  /* an empty word */
        "perf lat 0 10 1 2 1 1",   /* bytes */
        "perf lat 1073741825 10 1 2 1 1",
        "perf lat 8 0 1 2 1 1", /* iterations */
        "perf lat 8 -1 1 2 1 1",
        "perf lat 8 16777217 1 2 1 1", /* more than times are kept */
        "perf quorum 8 16777217 1 2 1 1",
        "perf bw 8 1073741825 1 2 1 1",
        "perf lat 8 99999999999999999999 1 2 1 1",
        "perf lat 8 10 1073741825 2 1 1", /* warm-up */
        "perf lat 8 10 1 1 1 1",          /* depth */
        "perf lat 8 10 1 9 1 1",
        "perf quorum 8 10 1 2 0 1", /* writers */
        "perf quorum 8 10 1 2 257 1",
        "perf quorum 8 10 1 2 4 0", /* K */
        "perf quorum 8 10 1 2 4 5",
    };
    struct kofn_perf_order order = {.bytes = 77}, same = order;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(wrong); i++) {
        CU_ASSERT_PTR_NOT_NULL(kofn_perf_order_read(wrong[i], &order));
        CU_ASSERT_TRUE(kofn_perf_order_same(&order, &same));
    }
    CU_ASSERT_PTR_NULL(kofn_perf_order_read("perf bw 8 1073741824 1 2 1 1", &order));
    CU_ASSERT_EQUAL(order.test, KOFN_PERF_BW);
}

/* Every time is kept: percentiles are samples, mean and deviation are those of all. */
static void test_times(void)
{
    static const struct {
        double percent;
        uint64_t index; /* of 1000: nearest rank */
    } expected[] = {{0, 0},      {0.05, 0},    {50, 499},    {50.05, 500}, {90, 899},
                    {99.9, 998}, {99.95, 999}, {99.99, 999}, {100, 999}};
    struct kofn_perf_times times;

    CU_ASSERT_EQUAL_FATAL(kofn_perf_times_init(&times, 1000, NULL), 0);
    for (uint64_t i = 0; i < 1000; i++) /* 7 and 1000 have no common factor: every sample once */
        kofn_perf_times_record(&times, 1000003 * (i * 7 % 1000));
    CU_ASSERT_DOUBLE_EQUAL(kofn_perf_times_mean(&times), 1000003 * 499.5, 1e-3);
    CU_ASSERT_DOUBLE_EQUAL(kofn_perf_times_deviation(&times), 1000003 * sqrt(999999 / 12.), 1e-3);
    kofn_perf_times_sort(&times);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(expected); i++)
        CU_ASSERT_EQUAL(kofn_perf_times_percentile(&times, expected[i].percent),
                        1000003 * expected[i].index);
    kofn_perf_times_free(&times);
    CU_ASSERT_EQUAL(times.count, 0);
}

/* Of a single time everything is that time. */
static void test_one_time(void)
{
    struct kofn_perf_times times;

    CU_ASSERT_EQUAL_FATAL(kofn_perf_times_init(&times, 1, NULL), 0);
    kofn_perf_times_record(&times, 77);
    CU_ASSERT_EQUAL(kofn_perf_times_percentile(&times, 0), 77);
    CU_ASSERT_EQUAL(kofn_perf_times_percentile(&times, 50), 77);
    CU_ASSERT_EQUAL(kofn_perf_times_percentile(&times, 99.99), 77);
    CU_ASSERT_EQUAL(kofn_perf_times_mean(&times), 77);
    CU_ASSERT_EQUAL(kofn_perf_times_deviation(&times), 0);
    kofn_perf_times_free(&times);
}

static void put(const char *directory, const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static void take(const char *directory, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    unlink(path);
}

/* Counters are what has grown since; what is no counter is not among them. */
static void test_counters(void)
{
    static const char *const names[] = {"out_of_sequence", "duplicate_request", "lifespan", "text",
                                        "new"};
    char directory[] = "/tmp/kofn-test-XXXXXX";
    struct kofn_perf_counters before, after;

    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    put(directory, "out_of_sequence", "5\n");
    put(directory, "duplicate_request", "18446744073709551615\n");
    put(directory, "lifespan", "10\n");
    put(directory, "text", "none\n");
    kofn_perf_counters_read(directory, &before);
    put(directory, "out_of_sequence", "12\n");
    put(directory, "duplicate_request", "1\n");
    put(directory, "new", "3\n");
    kofn_perf_counters_read(directory, &after);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++)
        take(directory, names[i]);
    rmdir(directory);

    CU_ASSERT_EQUAL(before.count, 2);
    CU_ASSERT_EQUAL_FATAL(after.count, 3);
    CU_ASSERT_STRING_EQUAL(after.list[0].name, "duplicate_request");
    CU_ASSERT_EQUAL(kofn_perf_counter_grown(&before, &after.list[0]), 2); /* it has wrapped */
    CU_ASSERT_STRING_EQUAL(after.list[1].name, "new");
    CU_ASSERT_EQUAL(kofn_perf_counter_grown(&before, &after.list[1]), 3);
    CU_ASSERT_STRING_EQUAL(after.list[2].name, "out_of_sequence");
    CU_ASSERT_EQUAL(kofn_perf_counter_grown(&before, &after.list[2]), 7);
    kofn_perf_counters_read(directory, &after);
    CU_ASSERT_EQUAL(after.count, 0);
}

void kofn_suite_perf(void)
{
    CU_pSuite suite = CU_add_suite("perf", NULL, NULL);

    CU_add_test(suite, "orders travel", test_orders_travel);
    CU_add_test(suite, "orders are judged", test_orders_are_judged);
    CU_add_test(suite, "times", test_times);
    CU_add_test(suite, "one time", test_one_time);
    CU_add_test(suite, "counters", test_counters);
}
