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
                                    .iterations = KOFN_PERF_ITERATIONS_MAX,
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
    CU_ASSERT_PTR_NULL(kofn_perf_order_read("perf bw 8 10 1 2 1 1", &order));
    CU_ASSERT_EQUAL(order.test, KOFN_PERF_BW);
}

/* Mean and deviation are exact, whatever the buckets of the histogram are. */
static void test_times(void)
{
    static const uint64_t samples[] = {1000, 3001, 5003, 999999};
    struct kofn_perf_times times = {0};
    double mean = 0, variance = 0;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(samples); i++) {
        kofn_perf_times_record(&times, samples[i]);
        mean += (double)samples[i] / KOFN_ARRAY_SIZE(samples);
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(samples); i++)
        variance += pow((double)samples[i] - mean, 2);
    CU_ASSERT_DOUBLE_EQUAL(times.mean, mean, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(times.spread / variance, 1, 1e-12);
    CU_ASSERT_EQUAL(times.histogram.count, KOFN_ARRAY_SIZE(samples));
    CU_ASSERT_EQUAL(times.histogram.min, 1000);
    CU_ASSERT_EQUAL(times.histogram.max, 999999);
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
    CU_add_test(suite, "counters", test_counters);
}
