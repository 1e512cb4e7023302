#include "cli/perf_order.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "proto/slot.h"

#define FIELDS 6

const char *const kofn_perf_tests[KOFN_PERF_TESTS] = {"lat", "bw", "quorum"};

void kofn_perf_order_write(const struct kofn_perf_order *order, char *text, size_t size)
{
    snprintf(text, size,
             "perf %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
             kofn_perf_tests[order->test], order->bytes, order->iterations, order->warm_up,
             order->depth, order->writers, order->wait_for);
}

static bool read_test(struct kofn_text word, enum kofn_perf_test *test)
{
    for (int i = 0; i < KOFN_PERF_TESTS; i++)
        if (strlen(kofn_perf_tests[i]) == word.length &&
            !memcmp(word.start, kofn_perf_tests[i], word.length)) {
            *test = (enum kofn_perf_test)i;
            return true;
        }
    return false;
}

const char *kofn_perf_order_read(const char *text, struct kofn_perf_order *order)
{
    struct kofn_perf_order read = {0};
    const struct {
        uint64_t *value, min, max;
    } fields[FIELDS] = {{&read.bytes, 1, KOFN_PERF_BYTES_MAX},
                        {&read.iterations, 1, KOFN_PERF_ITERATIONS_MAX},
                        {&read.warm_up, 0, KOFN_PERF_ITERATIONS_MAX},
                        {&read.depth, KOFN_DEPTH, KOFN_DEPTH_MAX},
                        {&read.writers, 1, KOFN_PERF_WRITERS_MAX},
                        {&read.wait_for, 1, KOFN_PERF_WRITERS_MAX}};
    struct kofn_text rest = kofn_text(text), word = kofn_text_cut(&rest, ' ');
    struct kofn_bad why;

    if (word.length != 4 || memcmp(word.start, "perf", 4) || !rest.start)
        return "it does not ask for a test";
    if (!read_test(kofn_text_cut(&rest, ' '), &read.test))
        return "it asks for an unknown test";
    for (int i = 0; i < FIELDS; i++)
        if (!rest.start || kofn_parse_uint(kofn_text_cut(&rest, ' '), fields[i].min, fields[i].max,
                                           fields[i].value, &why))
            return "its numbers are out of range";
    if (rest.start || read.wait_for > read.writers || read.iterations > kofn_perf_most(read.test))
        return "its numbers are out of range";
    *order = read;
    return NULL;
}

bool kofn_perf_order_same(const struct kofn_perf_order *a, const struct kofn_perf_order *b)
{
    return a->test == b->test && a->bytes == b->bytes && a->iterations == b->iterations &&
           a->warm_up == b->warm_up && a->depth == b->depth && a->writers == b->writers &&
           a->wait_for == b->wait_for;
}
