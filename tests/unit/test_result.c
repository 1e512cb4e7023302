/* Results: means over rounds, and the JSON that other programs read. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/result.h"
#include "cli/table.h"
#include "tests/lib/caught_log.h"

/* The keys that are promised; see kofn-run(1). */
static const char *const keys[] = {"algorithm",
                                   "workers",
                                   "k",
                                   "local_steps",
                                   "transport",
                                   "ended",
                                   "rounds",
                                   "seconds",
                                   "round_time_mean",
                                   "updates_per_worker_mean",
                                   "uploads_mean",
                                   "publications_mean",
                                   "bytes_mean",
                                   "staleness_mean",
                                   "loss",
                                   "accuracy",
                                   "idle_fraction_mean",
                                   "method",
                                   "per_worker"};
static const char *const worker_keys[] = {
    "rank", "host",    "pid",      "state",    "updates",          "merged",  "late", "refused",
    "lost", "first_k", "late_p50", "late_p99", "update_time_mean", "rejoins", "cause"};

static void fill(struct kofn_result *result, uint32_t workers)
{
    kofn_result_init(result);
    result->method = "measured";
    result->version = "1.2.3";
    result->algorithm = "stsyn";
    result->workers = workers;
    result->wait_for = 1;
    result->local_steps = 2;
    result->members = calloc(workers, sizeof(*result->members));
    CU_ASSERT_PTR_NOT_NULL_FATAL(result->members);
    for (uint32_t i = 0; i < workers; i++)
        result->members[i] = (struct kofn_member_report){.rank = i,
                                                         .state = KOFN_MEMBER_READY,
                                                         .late_p50 = NAN,
                                                         .late_p99 = INFINITY,
                                                         .idle_fraction = NAN,
                                                         .compute_mean = 0.01,
                                                         .pace = NAN};
}

/* Writes @result and reads it back; the caller releases it. */
static json_t *written(const struct kofn_result *result)
{
    struct kofn_caught caught;
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    json_t *json;

    kofn_caught_reset(&caught);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    CU_ASSERT_EQUAL(kofn_result_write_json(result, stream, &caught.log), 0);
    fclose(stream);
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(json);
    return json;
}

/* Every promised key is there, whatever is known; what is not known, not finite or does not apply
 * is null. */
static void test_keys_are_always_there(void)
{
    struct kofn_result result;
    json_t *json, *worker;

    fill(&result, 2);
    json = written(&result);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(keys); i++)
        CU_ASSERT_PTR_NOT_NULL(json_object_get(json, keys[i]));
    CU_ASSERT(json_is_null(json_object_get(json, "round_time_mean")));
    CU_ASSERT(json_is_null(json_object_get(json, "transport")));
    CU_ASSERT(json_is_null(json_object_get(json, "ended")));
    CU_ASSERT_EQUAL(json_array_size(json_object_get(json, "per_worker")), 2);
    worker = json_array_get(json_object_get(json, "per_worker"), 1);
    CU_ASSERT_EQUAL(json_object_size(worker), KOFN_ARRAY_SIZE(worker_keys));
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(worker_keys); i++)
        CU_ASSERT_PTR_NOT_NULL(json_object_get(worker, worker_keys[i]));
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(worker, "rank")), 1);
    CU_ASSERT(json_is_null(json_object_get(worker, "late_p50")));
    CU_ASSERT(json_is_null(json_object_get(worker, "late_p99")));
    CU_ASSERT(json_is_null(json_object_get(worker, "cause")));
    CU_ASSERT(json_is_null(json_object_get(worker, "pid")));
    json_decref(json);
    kofn_result_free(&result);
}

/* How a job ended, and what an update took, stand in the JSON as in what people read. */
static void test_end_and_update_time(void)
{
    struct kofn_result result;
    char *text = NULL;
    json_t *json, *workers;
    size_t length;
    FILE *stream;

    fill(&result, 3);
    result.ended = KOFN_ENDED_WORKERS_LOST;
    result.rounds = 1;
    result.members[0].finished = 2; /* and compute_mean alone is known */
    result.members[1].finished = 2;
    result.members[1].pace_mean = 0.02;
    json = written(&result);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json, "ended")), "workers-lost");
    workers = json_object_get(json, "per_worker");
    CU_ASSERT_EQUAL(
        json_real_value(json_object_get(json_array_get(workers, 0), "update_time_mean")), 0.01);
    CU_ASSERT_EQUAL(
        json_real_value(json_object_get(json_array_get(workers, 1), "update_time_mean")), 0.02);
    CU_ASSERT(json_is_null(json_object_get(json_array_get(workers, 2), "update_time_mean")));
    json_decref(json);
    stream = open_memstream(&text, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    kofn_result_print_summary(&result, stream);
    fclose(stream);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, ": 1 round in - (no worker is left)\n"));
    free(text);
    kofn_result_free(&result);
}

/* A command line may hold any bytes; the JSON is valid all the same. */
static void test_text_that_is_no_utf8(void)
{
    struct kofn_result result;
    json_t *json;

    fill(&result, 1);
    result.command = "kofn run --data idx:\xff\xfe\"\\";
    json = written(&result);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json, "command")),
                           "kofn run --data idx:?\?\"\\");
    json_decref(json);
    kofn_result_free(&result);
}

/* Means are over rounds; staleness is over merged publications; updates are those finished, a
 * worker and round. */
static void test_means(void)
{
    struct kofn_round_report report = {.opened_ns = 0,
                                       .published_ns = 1000000000,
                                       .merged = 3,
                                       .wait_for = 2,
                                       .contributions = 3,
                                       .publications = 5,
                                       .bytes = 100,
                                       .staleness = 0};
    static struct kofn_tally tally;
    struct kofn_result result;

    fill(&result, 4);
    kofn_tally_add(&tally, &report);
    report.opened_ns = 1000000000;
    report.published_ns = 4000000000;
    report.merged = 1;
    report.late = 1;
    report.wait_for = 3;
    report.contributions = 2;
    report.staleness = 0.5;
    report.publications = 7;
    report.bytes = 300;
    kofn_tally_add(&tally, &report);
    for (uint32_t i = 0; i < 4; i++)
        result.members[i].finished = 10;
    result.members[0].idle_fraction = 0.25;
    result.members[1].idle_fraction = 0.75;
    kofn_result_finish(&result, &tally);
    CU_ASSERT_EQUAL(result.rounds, 2);
    CU_ASSERT_EQUAL(result.wait_for_last, 3);
    CU_ASSERT_DOUBLE_EQUAL(result.round_time_mean, 2, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(result.uploads_mean, 2, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(result.publications_mean, 6, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(result.bytes_mean, 200, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(result.staleness_mean, 1.0 / 5, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(result.updates_per_worker_mean, 5, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(result.idle_fraction_mean, 0.5, 1e-12);
    kofn_result_free(&result);
}

/* A job in which no round closed has counts, and no means. */
static void test_no_rounds(void)
{
    static const struct kofn_tally none;
    struct kofn_result result;

    fill(&result, 2);
    kofn_result_finish(&result, &none);
    CU_ASSERT_EQUAL(result.rounds, 0);
    CU_ASSERT(isnan(result.round_time_mean));
    CU_ASSERT(isnan(result.updates_per_worker_mean));
    CU_ASSERT(isnan(result.staleness_mean));
    kofn_result_free(&result);
}

/* Slow and dead workers are named in the summary with their cause, others are not. */
static void test_slow_workers_are_named(void)
{
    static struct kofn_tally tally;
    struct kofn_result result;
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);

    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    fill(&result, 4);
    for (uint32_t i = 0; i < 4; i++)
        result.members[i].finished = 10;
    result.members[2].cause = KOFN_CAUSE_COMPUTE;
    result.members[2].compute_mean = 0.03;
    result.members[2].pace = 0.2; /* lately */
    result.members[2].pace_mean = 0.05;
    result.members[3].cause = KOFN_CAUSE_DEAD;
    kofn_result_finish(&result, &tally);
    kofn_result_print_summary(&result, stream);
    fclose(stream);
    CU_ASSERT_PTR_NOT_NULL(strstr(text,
                                  "rank 2 was slow: a local update took it 50.0 ms, 5.0x as long "
                                  "as the others; lately, 200 ms (cause: compute)\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "rank 3 (pid 0) is dead"));
    CU_ASSERT_PTR_NULL(strstr(text, "rank 0"));
    free(text);
    kofn_result_free(&result);
}

/* Whoever has joined again is named, or counted where there are several; else nothing is said. */
static void test_who_has_joined_again(void)
{
    static const struct {
        uint64_t rejoins[2];
        const char *line;
    } cases[] = {{{0, 1}, "rank 1 has joined again 1 time\n"},
                 {{3, 0}, "rank 0 has joined again 3 times\n"},
                 {{3, 1}, "2 workers have joined again, 4 times in all\n"},
                 {{0, 0}, NULL}};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        static struct kofn_tally tally;
        struct kofn_result result;
        char *text = NULL;
        size_t length;
        FILE *stream = open_memstream(&text, &length);

        CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
        fill(&result, 2);
        for (uint32_t rank = 0; rank < 2; rank++)
            result.members[rank].rejoins = cases[i].rejoins[rank];
        kofn_result_finish(&result, &tally);
        kofn_result_print_summary(&result, stream);
        fclose(stream);
        if (cases[i].line)
            CU_ASSERT_PTR_NOT_NULL(strstr(text, cases[i].line))
        else
            CU_ASSERT_PTR_NULL(strstr(text, "again"))
        free(text);
        kofn_result_free(&result);
    }
}

/* The summary of a job of four with @member as rank 2; to be freed. */
static char *summary_with(const struct kofn_member_report *member)
{
    static struct kofn_tally tally;
    struct kofn_result result;
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);

    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    fill(&result, 4);
    for (uint32_t i = 0; i < 4; i++) {
        result.members[i].finished = 10;
        result.members[i].pace = 0.02;
    }
    result.members[2] = *member;
    kofn_result_finish(&result, &tally);
    kofn_result_print_summary(&result, stream);
    fclose(stream);
    kofn_result_free(&result);
    return text;
}

/* Who is slow now is so by what it takes lately; of who is silent that is said, and since when, and
 * not what its updates took before.
 */
static void test_slow_now_and_silent(void)
{
    const struct {
        struct kofn_member_report member;
        const char *text;
    } cases[] = {
        {{.state = KOFN_MEMBER_SLOW, .cause = KOFN_CAUSE_COMPUTE, .pace = 0.2, .pace_mean = 0.05},
         "rank 2 is slow: lately a local update takes it 200 ms, 10.0x as long as the others; over "
         "the whole job, 50.0 ms (cause: compute)\n"},
        {{.state = KOFN_MEMBER_SLOW, .cause = KOFN_CAUSE_COMPUTE, .pace = 0.2, .pace_mean = 0.19},
         "takes it 200 ms, 10.0x as long as the others (cause: compute)\n"},
        {{.state = KOFN_MEMBER_SUSPECT, .pace = 0.02, .round = 12, .silence = 8.3},
         "rank 2 is suspect: no local update since round 12, for 8.30 s\n"},
        {{.state = KOFN_MEMBER_SLOW, .pace = 0.02, .round = 9, .silence = 0.7},
         "rank 2 is slow: no local update since round 9, for 700 ms\n"},
        {{.state = KOFN_MEMBER_SLOW, .pace = 0.021},
         "rank 2 was slow for a while; lately a local update takes it 21.0 ms\n"},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn_member_report member = cases[i].member;
        char *text;

        member.rank = 2;
        member.finished = 10;
        text = summary_with(&member);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, cases[i].text));
        free(text);
    }
}

/* Times and sizes have three digits and the unit that suits them. */
static void test_numbers_for_people(void)
{
    static const struct {
        double seconds;
        const char *text;
    } times[] = {
        {0, "0 s"},           {1e-9, "1.00 ns"},  {1.234e-6, "1.23 us"}, {9.996e-4, "1.00 ms"},
        {0.0401, "40.1 ms"},  {0.2004, "200 ms"}, {1, "1.00 s"},         {999.4, "999 s"},
        {123456, "123456 s"}, {NAN, "-"},         {INFINITY, "-"}};
    char text[KOFN_CELL_BYTES];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(times); i++)
        CU_ASSERT_STRING_EQUAL(kofn_show_seconds(times[i].seconds, text), times[i].text);
    CU_ASSERT_STRING_EQUAL(kofn_show_bytes(0, text), "0.00 B");
    CU_ASSERT_STRING_EQUAL(kofn_show_bytes(8388608, text), "8.39 MB");
    CU_ASSERT_STRING_EQUAL(kofn_show_number(NAN, 2, text), "-");
}

/* Columns line up: every line of a table with a right-aligned last column is equally long. */
static void test_columns_line_up(void)
{
    static const char *const names[] = {"rank", "<state", "updates"};
    struct kofn_table table;
    char *text = NULL, *line, *rest;
    size_t length, first = 0;
    FILE *stream = open_memstream(&text, &length);

    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    kofn_table_init(&table, names, KOFN_ARRAY_SIZE(names));
    for (int i = 0; i < 100; i++) { /* more rows than there is room for at first */
        kofn_table_cell(&table, "%d", i);
        kofn_table_cell(&table, "%s", i % 2 ? "ready" : "x");
        kofn_table_cell(&table, "%d", i * i * i);
    }
    kofn_table_print(&table, stream);
    fclose(stream);
    kofn_table_free(&table);
    for (rest = text; (line = strsep(&rest, "\n")) && *line;) {
        first = first ? first : strlen(line);
        CU_ASSERT_EQUAL(strlen(line), first);
    }
    free(text);
}

void kofn_suite_result(void)
{
    CU_pSuite suite = CU_add_suite("result", NULL, NULL);

    CU_add_test(suite, "keys are always there", test_keys_are_always_there);
    CU_add_test(suite, "end and update time", test_end_and_update_time);
    CU_add_test(suite, "text that is no UTF-8", test_text_that_is_no_utf8);
    CU_add_test(suite, "means", test_means);
    CU_add_test(suite, "no rounds", test_no_rounds);
    CU_add_test(suite, "slow workers are named", test_slow_workers_are_named);
    CU_add_test(suite, "who has joined again", test_who_has_joined_again);
    CU_add_test(suite, "slow now, and silent", test_slow_now_and_silent);
    CU_add_test(suite, "numbers for people", test_numbers_for_people);
    CU_add_test(suite, "columns line up", test_columns_line_up);
}
