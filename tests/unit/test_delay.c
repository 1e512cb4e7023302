/* Delay models: specifications are taken whole or refused with one clear line; draws follow the
 * distribution that is announced; a recorded trace comes back as it was written.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/delay.h"
#include "sim/trace.h"
#include "tests/lib/caught_log.h"

#define DRAWS 100000

static struct kofn_delay parsed(const char *spec)
{
    struct kofn_delay delay = {0};

    CU_ASSERT_EQUAL_FATAL(kofn_delay_parse(kofn_text(spec), NULL, &delay), 0);
    return delay;
}

/* Every model is understood, with its units, and with @round. */
static void test_specifications(void)
{
    static const struct {
        const char *spec;
        struct kofn_delay expected;
    } cases[] = {
        {"none", {.kind = KOFN_DELAY_NONE}},
        {"none@round", {.kind = KOFN_DELAY_NONE, .per_round = true}},
        {"exp:40ms", {.kind = KOFN_DELAY_EXP, .second = 4e7}},
        {"exp:1e-4@round", {.kind = KOFN_DELAY_EXP, .second = 1e5, .per_round = true}},
        {"shifted-exp:1,500ms", {.kind = KOFN_DELAY_SHIFTED_EXP, .first = 1e9, .second = 5e8}},
        {"shifted-exp:0,1us", {.kind = KOFN_DELAY_SHIFTED_EXP, .first = 0, .second = 1e3}},
        {"pareto:2,1ms", {.kind = KOFN_DELAY_PARETO, .first = 1e6, .second = 2}},
        {"uniform:0,2s@round",
         {.kind = KOFN_DELAY_UNIFORM, .first = 0, .second = 2e9, .per_round = true}},
        {"uniform:40ms,40ms", {.kind = KOFN_DELAY_UNIFORM, .first = 4e7, .second = 4e7}},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn_delay delay = parsed(cases[i].spec);

        CU_ASSERT_EQUAL(delay.kind, cases[i].expected.kind);
        CU_ASSERT_EQUAL(delay.per_round, cases[i].expected.per_round);
        CU_ASSERT_EQUAL(delay.first, cases[i].expected.first);
        CU_ASSERT_EQUAL(delay.second, cases[i].expected.second);
    }
}

/* A trace's file name may have commas, colons and at-signs of its own. */
static void test_trace_names(void)
{
    struct kofn_delay delay = parsed("trace:/tmp/a,b:c@d.csv@round");

    CU_ASSERT(delay.per_round);
    CU_ASSERT(kofn_text_is(delay.path, "/tmp/a,b:c@d.csv"));
    delay = parsed("trace:x@roundabout");
    CU_ASSERT(!delay.per_round);
    CU_ASSERT(kofn_text_is(delay.path, "x@roundabout"));
}

/* Whatever is wrong is said in one line that shows the bad part; the model is not touched. */
static void test_bad_specifications(void)
{
    static const struct {
        const char *spec, *message;
    } cases[] = {
        {"", "unknown model \"\""},
        {"expo:1", "unknown model \"expo\"; did you mean \"exp\"?"},
        {"shifted_exp:1,2", "did you mean \"shifted-exp\"?"},
        {"gaussian:1", "known: none, exp, shifted-exp, pareto, uniform, trace"},
        {"exp", "0 arguments, expected exp:MEAN"},
        {"exp:", "MEAN \"\" is not a duration"},
        {"exp:40mz", "MEAN \"mz\" is not a unit (ns, us, ms, s, m, h)"},
        {"exp:-1", "MEAN \"-1\" is negative"},
        {"exp:nan", "MEAN \"nan\" is not a duration"},
        {"exp:0", "MEAN \"0\" must be more than 0"},
        {"exp:1,2", "2 arguments, expected exp:MEAN"},
        {"exp:1 ", "\" \" is not a unit"},
        {"exp:1@rounds", "unknown suffix @rounds; did you mean \"round\"?"},
        {"exp@rund:1", "unknown suffix @rund:1"},
        {"exp:1@round@round", "unknown suffix @round"},
        {"none:1", "1 argument, expected none"},
        {"none:", "1 argument, expected none"},
        {"shifted-exp:1", "1 argument, expected shifted-exp:SHIFT,MEAN"},
        {"shifted-exp:1,0", "MEAN \"0\" must be more than 0"},
        {"shifted-exp:,1", "SHIFT \"\" is not a duration"},
        {"pareto:0,1", "SHAPE \"0\" is too small"},
        {"pareto:2s,1", "SHAPE \"2s\" is not a number"},
        {"pareto:nan,1", "SHAPE \"nan\" is not a number"},
        {"pareto:2,0", "SCALE \"0\" must be more than 0"},
        {"uniform:2,1", "HI \"1\" is less than LO"},
        {"uniform:1,2,3", "3 arguments, expected uniform:LO,HI"},
        {"trace", "0 arguments, expected trace:FILE"},
        {"trace:", "0 arguments, expected trace:FILE"},
        {"trace:@round", "0 arguments, expected trace:FILE"},
    };
    struct kofn_delay delay = {.first = 42};
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(kofn_delay_parse(kofn_text(cases[i].spec), &caught.log, &delay),
                        KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, cases[i].message));
    }
    CU_ASSERT_EQUAL(delay.first, 42);
}

/* The mean of many draws is the mean that is announced, and the share of draws up to x is the
 * announced distribution at x, for every model: the largest gap stays below the 0.1 % bound of
 * Kolmogorov and Smirnov.
 */
static void test_draws_follow_the_distribution(void)
{
    static const char *const specs[] = {"exp:40ms", "shifted-exp:1,2", "pareto:3,1ms",
                                        "uniform:1,3"};
    static double draws[DRAWS];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(specs); i++) {
        struct kofn_delay delay = parsed(specs[i]);
        double mean = kofn_delay_mean(&delay), sum = 0, gap = 0;
        struct kofn_random random;

        kofn_random_seed(&random, 11, i);
        for (int n = 0; n < DRAWS; n++)
            sum += draws[n] = kofn_delay_draw(&delay, 0, &random);
        CU_ASSERT_DOUBLE_EQUAL(sum / DRAWS / mean, 1, 0.015);
        for (double x = 0; x < 5 * mean; x += mean / 50) {
            int below = 0;

            for (int n = 0; n < DRAWS; n++)
                below += draws[n] <= x;
            gap = fmax(gap, fabs((double)below / DRAWS - kofn_delay_cdf(&delay, x)));
        }
        CU_ASSERT(gap < 1.95 / sqrt(DRAWS));
    }
}

/* The edges: no delay is 0, a constant is constant, a mean that diverges is infinite, a draw never
 * is. */
static void test_edges(void)
{
    struct kofn_delay none = parsed("none"), constant = parsed("uniform:5us,5us"),
                      wild = parsed("pareto:0.01,1s");
    struct kofn_random random;

    kofn_random_seed(&random, 1, 1);
    CU_ASSERT_EQUAL(kofn_delay_draw(&none, 3, &random), 0);
    CU_ASSERT_EQUAL(kofn_delay_mean(&none), 0);
    CU_ASSERT_EQUAL(kofn_delay_cdf(&none, 0), 1);
    CU_ASSERT_EQUAL(kofn_delay_draw(&constant, 3, &random), 5000);
    CU_ASSERT_EQUAL(kofn_delay_cdf(&constant, 4999), 0);
    CU_ASSERT_EQUAL(kofn_delay_cdf(&constant, 5000), 1);
    CU_ASSERT(isinf(kofn_delay_mean(&wild)));
    for (int i = 0; i < 1000; i++) {
        double ns = kofn_delay_draw(&wild, 0, &random);

        CU_ASSERT(ns >= 1e9 && ns <= (double)KOFN_DURATION_MAX);
    }
}

/* With @round a worker's updates of one round all take the same time, and the next round is drawn
 * anew; without it every update is. The same seed gives a worker the same delays, other workers
 * others.
 */
static void test_sources(void)
{
    struct kofn_delay each = parsed("exp:1"), rounds = parsed("exp:1@round");
    struct kofn_delay_source a, b, other;
    double first;

    kofn_delay_source_init(&a, 1, 0);
    kofn_delay_source_init(&b, 1, 0);
    kofn_delay_source_init(&other, 1, 1);
    first = kofn_delay_next(&rounds, &a, 0);
    CU_ASSERT_EQUAL(kofn_delay_next(&rounds, &a, 0), first);
    CU_ASSERT_NOT_EQUAL(kofn_delay_next(&rounds, &a, 1), first);
    CU_ASSERT_EQUAL(kofn_delay_next(&each, &b, 0), first);
    CU_ASSERT_NOT_EQUAL(kofn_delay_next(&each, &b, 0), first);
    CU_ASSERT_NOT_EQUAL(kofn_delay_next(&each, &other, 0), first);
}

/* However far somebody looks ahead, at whatever draw, a source gives what draws one by one from its
 * stream would have been; with @round, one of them a round.
 */
static void test_foresight(void)
{
    struct kofn_delay each = parsed("exp:1"), rounds = parsed("exp:1@round");
    struct kofn_delay_source a, b;
    struct kofn_random stream, same, looks;

    kofn_delay_source_init(&a, 7, 3);
    kofn_delay_source_init(&b, 7, 3);
    kofn_random_seed(&stream, 7, kofn_stream_of(KOFN_STREAM_DELAY, 3));
    kofn_random_seed(&looks, 1, 1);
    for (uint64_t round = 0; round < 1000; round++) {
        uint32_t skipped = (uint32_t)kofn_random_below(&looks, KOFN_DELAY_AHEAD);
        double ns = 0;

        same = stream;
        for (uint32_t i = 0; i <= skipped; i++)
            ns = kofn_delay_draw(&each, 3, &same);
        if (kofn_random_below(&looks, 2))
            CU_ASSERT_EQUAL(kofn_delay_peek(&each, &a, round, skipped), ns);
        ns = kofn_delay_draw(&each, 3, &stream);
        CU_ASSERT_EQUAL(kofn_delay_next(&each, &a, round), ns);
        CU_ASSERT_EQUAL(kofn_delay_peek(&rounds, &b, round, skipped), ns);
        CU_ASSERT_EQUAL(kofn_delay_next(&rounds, &b, round), ns);
        CU_ASSERT_EQUAL(kofn_delay_peek(&rounds, &b, round, skipped), ns);
    }
}

static const char head[] =
    "# kofn-trace 1\nrank,round,update,start_ns,compute_ns,delay_ns,publish_ns,cancelled\n";

/* Parses the header followed by @rows. */
static int parse_rows(const char *rows, const struct kofn_log *log, struct kofn_trace *trace)
{
    char text[2048];
    int length = snprintf(text, sizeof(text), "%s%s", head, rows);

    return kofn_trace_parse(text, (size_t)length, "t", log, trace);
}

/* A worker draws what it did itself; one that is missing does as its lower neighbour, ranks beyond
 * the trace start again from 0; cancelled updates are not drawn unless a worker has no others,
 * which is said.
 */
static void test_trace_draws(void)
{
    struct kofn_delay delay = parsed("trace:unused");
    struct kofn_random random;
    struct kofn_trace trace;
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL_FATAL(parse_rows("0,1,0,0,10,100,0,0\n"
                                     "0,1,1,0,20,200,0,0\n"
                                     "0,1,2,0,1,1,0,1\n"
                                     "2,1,0,0,7,0,0,1\n"
                                     "3,1,0,0,5,1000,0,0\n",
                                     NULL, &trace),
                          0);
    CU_ASSERT_EQUAL(trace.count, 5);
    CU_ASSERT_EQUAL(trace.workers, 4);
    CU_ASSERT_EQUAL_FATAL(kofn_delay_use_trace(&delay, &trace, &caught.log), 0);
    CU_ASSERT(kofn_caught_one(&caught, "rank 2 finished no local update"));
    kofn_trace_free(&trace);
    kofn_random_seed(&random, 1, 1);
    for (uint32_t rank = 0; rank < 12; rank++) {
        int small = 0, large = 0;

        for (int i = 0; i < 200; i++) {
            double ns = kofn_delay_draw(&delay, rank, &random);

            if (rank % 4 >= 2) {
                CU_ASSERT_EQUAL(ns, rank % 4 == 2 ? 7 : 1005);
                continue;
            }
            small += ns == 110;
            large += ns == 220;
        }
        if (rank % 4 < 2) {
            CU_ASSERT_EQUAL(small + large, 200);
            CU_ASSERT(small > 50 && large > 50);
        }
    }
    CU_ASSERT_DOUBLE_EQUAL(kofn_delay_mean(&delay), (165 + 165 + 7 + 1005) / 4.0, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(kofn_delay_cdf(&delay, 110), (0.5 + 0.5 + 1 + 0) / 4, 1e-12);
    kofn_delay_close(&delay);
    kofn_delay_close(&delay);
}

/* A trace that is cut off or damaged is refused in one line that names the place. */
static void test_bad_traces(void)
{
    static const struct {
        const char *text, *message;
    } whole[] = {
        {"", "does not begin with"},
        {"rank,round\n", "does not begin with"},
        {"# kofn-trace 2\n", "version \"2\""},
        {"# kofn-trace 1", "line 1: cut off"},
        {"# kofn-trace 1\n", "the column names must be"},
        {"# kofn-trace 1\n# so\nrank,round\n", "line 3: the column names must be"},
    };
    static const struct {
        const char *rows, *message;
    } cases[] = {
        {"", "no local update"},
        {"# nothing\n", "no local update"},
        {"0,1,0,0,10,100,0\n", "line 3: cancelled \"\" is not a whole number"},
        {"0,1,0,0,10,100,0,0,0\n", "line 3: more than 8 columns"},
        {"0,1,0,0,10,100,0,2\n", "line 3: cancelled \"2\" is too large"},
        {"0,1,0,0,10,100,0,0\n1048576,1,0,0,10,100,0,0\n", "line 4: rank \"1048576\" is too large"},
        {"0,1,0,0,-10,100,0,0\n", "line 3: compute_ns \"-10\" is not a whole number"},
        {"0,1,0,0,99999999999999999999999,100,0,0\n", "compute_ns \"9999999999999999"},
        {"0,1,0,0,10,100,0,0\n\n", "line 4: rank \"\""},
        {"0,1,0,0,10,100,0,0\n0,1,0,0,10,1", "line 4: cut off"},
    };
    struct kofn_trace trace = {.count = 42};
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(whole); i++) {
        CU_ASSERT_EQUAL(
            kofn_trace_parse(whole[i].text, strlen(whole[i].text), "t", &caught.log, &trace),
            KOFN_FORMAT);
        CU_ASSERT(kofn_caught_one(&caught, whole[i].message));
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(parse_rows(cases[i].rows, &caught.log, &trace), KOFN_FORMAT);
        CU_ASSERT(kofn_caught_one(&caught, cases[i].message));
    }
    CU_ASSERT_EQUAL(trace.count, 42);
}

/* A line that never ends is refused at the length a record can have, not read to its end. */
static void test_endless_line(void)
{
    char rows[1500];
    struct kofn_trace trace;
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    memset(rows, '1', sizeof(rows));
    rows[sizeof(rows) - 2] = '\n';
    rows[sizeof(rows) - 1] = '\0';
    CU_ASSERT_EQUAL(parse_rows(rows, &caught.log, &trace), KOFN_FORMAT);
    CU_ASSERT(kofn_caught_one(&caught, "line 3: longer than a record can be"));
}

/* A temporary file's name in @path. */
static void temporary(char path[64])
{
    int fd;

    strcpy(path, "/tmp/kofn-test-XXXXXX");
    fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
}

/* The command of the job is what stands in the first comment, as far as it is sure to be whole. */
static void test_trace_command(void)
{
    static struct kofn_trace_writer writer;
    static const char *const commands[][2] = {{"kofn run -n 3", "kofn run -n 3"}, {NULL, ""}};
    const struct kofn_trace_record record = {0};
    char path[64], text[400];
    struct kofn_trace trace;

    temporary(path);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(commands); i++) {
        CU_ASSERT_EQUAL_FATAL(kofn_trace_create(&writer, path, commands[i][0], NULL), 0);
        kofn_trace_add(&writer, &record);
        CU_ASSERT_EQUAL(kofn_trace_close(&writer, NULL), 0);
        CU_ASSERT_EQUAL_FATAL(kofn_trace_read(path, NULL, &trace), 0);
        CU_ASSERT_STRING_EQUAL(trace.command, commands[i][1]);
        kofn_trace_free(&trace);
    }
    snprintf(text, sizeof(text), "kofn run --record %0*d -u 10", KOFN_TRACE_COMMENT - 22, 7);
    CU_ASSERT_EQUAL_FATAL(kofn_trace_create(&writer, path, text, NULL), 0);
    kofn_trace_add(&writer, &record);
    CU_ASSERT_EQUAL(kofn_trace_close(&writer, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_trace_read(path, NULL, &trace), 0);
    CU_ASSERT(strlen(trace.command) < KOFN_TRACE_COMMENT);
    CU_ASSERT_PTR_NULL(strstr(trace.command, "-u 1")); /* of the 10 */
    kofn_trace_free(&trace);
    unlink(path);
}

/* What is written is read back, records at all limits included, and more than one buffer of them.
 */
static void test_trace_round_trip(void)
{
    static struct kofn_trace_writer writer;
    struct kofn_trace_record record = {0};
    struct kofn_trace trace;
    char path[64];

    temporary(path);
    CU_ASSERT_EQUAL_FATAL(kofn_trace_create(&writer, path, "stsyn, 8 workers", NULL), 0);
    for (uint32_t i = 0; i < 2000; i++) {
        record = (struct kofn_trace_record){i % 8, i, i / 8, i % 2, i, i + 1, i + 2, i + 3};
        if (i == 1999)
            record = (struct kofn_trace_record){
                KOFN_TRACE_WORKERS - 1, UINT32_MAX,        UINT32_MAX,        1,
                KOFN_DURATION_MAX,      KOFN_DURATION_MAX, KOFN_DURATION_MAX, KOFN_DURATION_MAX};
        kofn_trace_add(&writer, &record);
    }
    CU_ASSERT_EQUAL(kofn_trace_close(&writer, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_trace_read(path, NULL, &trace), 0);
    CU_ASSERT_EQUAL_FATAL(trace.count, 2000);
    CU_ASSERT_EQUAL(trace.workers, KOFN_TRACE_WORKERS);
    for (uint32_t i = 0; i < 1999; i++) {
        record = (struct kofn_trace_record){i % 8, i, i / 8, i % 2, i, i + 1, i + 2, i + 3};
        CU_ASSERT_EQUAL(memcmp(&trace.records[i], &record, sizeof(record)), 0);
    }
    CU_ASSERT_EQUAL(trace.records[1999].publish_ns, KOFN_DURATION_MAX);
    kofn_trace_free(&trace);
    unlink(path);
}

/* A disk that is full is noticed, at the latest when the file is closed. */
static void test_trace_write_error(void)
{
    static struct kofn_trace_writer writer;
    struct kofn_trace_record record = {0};
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL(kofn_trace_create(&writer, "/nowhere/t", NULL, &caught.log), KOFN_SYSTEM);
    CU_ASSERT(kofn_caught_one(&caught, "/nowhere/t: cannot be created: No such file"));
    CU_ASSERT_EQUAL(kofn_trace_create(&writer, "/dev/full", NULL, &caught.log), KOFN_SYSTEM);
    CU_ASSERT(kofn_caught_one(&caught, "No space left"));
    writer = (struct kofn_trace_writer){.fd = open("/dev/full", O_WRONLY)};
    for (int i = 0; i < 2000; i++)
        kofn_trace_add(&writer, &record);
    CU_ASSERT_EQUAL(kofn_trace_close(&writer, &caught.log), KOFN_SYSTEM);
    CU_ASSERT(kofn_caught_one(&caught, "No space left"));
}

/* `trace:FILE` reads the file, and says which file is not there. */
static void test_open(void)
{
    static struct kofn_trace_writer writer;
    struct kofn_delay delay;
    struct kofn_random random;
    struct kofn_caught caught;
    char path[64], spec[80];

    temporary(path);
    CU_ASSERT_EQUAL_FATAL(kofn_trace_create(&writer, path, NULL, NULL), 0);
    kofn_trace_add(&writer, &(struct kofn_trace_record){.compute_ns = 3, .delay_ns = 4});
    CU_ASSERT_EQUAL(kofn_trace_close(&writer, NULL), 0);
    snprintf(spec, sizeof(spec), "trace:%s@round", path);
    CU_ASSERT_EQUAL_FATAL(kofn_delay_open(spec, NULL, &delay), 0);
    kofn_random_seed(&random, 1, 1);
    CU_ASSERT(delay.per_round);
    CU_ASSERT_EQUAL(kofn_delay_draw(&delay, 17, &random), 7);
    kofn_delay_close(&delay);
    unlink(path);
    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL(kofn_delay_open(spec, &caught.log, &delay), KOFN_SYSTEM);
    CU_ASSERT(kofn_caught_one(&caught, "cannot be opened: No such file"));
}

/* Only cancelled updates say nothing about how long one takes. */
static void test_trace_without_finished_updates(void)
{
    struct kofn_delay delay = parsed("trace:unused");
    struct kofn_trace trace;
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL_FATAL(parse_rows("0,1,2,0,1,1,0,1\n", NULL, &trace), 0);
    CU_ASSERT_EQUAL(kofn_delay_use_trace(&delay, &trace, &caught.log), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "no worker finished a local update"));
    kofn_trace_free(&trace);
}

void kofn_suite_delay(void)
{
    CU_pSuite suite = CU_add_suite("delay", NULL, NULL);

    CU_add_test(suite, "specifications", test_specifications);
    CU_add_test(suite, "trace names", test_trace_names);
    CU_add_test(suite, "bad specifications", test_bad_specifications);
    CU_add_test(suite, "draws follow the distribution", test_draws_follow_the_distribution);
    CU_add_test(suite, "edges", test_edges);
    CU_add_test(suite, "sources", test_sources);
    CU_add_test(suite, "foresight", test_foresight);
    CU_add_test(suite, "trace draws", test_trace_draws);
    CU_add_test(suite, "bad traces", test_bad_traces);
    CU_add_test(suite, "endless line", test_endless_line);
    CU_add_test(suite, "trace command", test_trace_command);
    CU_add_test(suite, "trace round trip", test_trace_round_trip);
    CU_add_test(suite, "trace write error", test_trace_write_error);
    CU_add_test(suite, "open", test_open);
    CU_add_test(suite, "trace without finished updates", test_trace_without_finished_updates);
}
