/* The option table and what reads it: rows that fit together, precedence, and answers to mistakes.
 */
#include <ctype.h>
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "cli/option.h"
#include "cli/terms.h"
#include "tests/lib/caught_log.h"

static const struct kofn_command run = {.name = "run", .bit = KOFN_FOR_RUN, .text = "Runs.\n"};
static const struct kofn_command info = {
    .name = "info", .bit = KOFN_FOR_INFO, .accepts = KOFN_FOR_ALL, .text = "Shows.\n"};

static struct kofn_caught caught;
static struct kofn_options options;
static char directory[] = "/tmp/kofn-options-XXXXXX";

/* Nothing of the machine that runs the tests gets in: no environment, no file of the user's. */
static int set_up(void)
{
    char name[KOFN_OPTION_NAME_BYTES];

    if (!mkdtemp(directory) || setenv("XDG_CONFIG_HOME", directory, 1))
        return 1;
    for (size_t i = 0; i < kofn_option_count; i++)
        if (kofn_option_environment(&kofn_option_table[i], name))
            unsetenv(name);
    kofn_caught_reset(&caught);
    return 0;
}

static int tear_down(void)
{
    return rmdir(directory);
}

/* Reads options from a command line, which is split at spaces. */
static int read_line(const struct kofn_command *command, const char *line)
{
    static char copy[512]; /* values point into it */
    char *argv[32] = {copy}, *rest = copy;
    int argc = 0;

    snprintf(copy, sizeof(copy), "%s %s", command->name, line);
    while ((argv[argc] = strsep(&rest, " ")))
        argc += *argv[argc] != '\0';
    kofn_options_free(&options);
    return kofn_options_read(&options, command, argc, argv, &caught.log);
}

/* The line is refused, with one message that has @part in it. */
static bool refused(const char *line, const char *part)
{
    return read_line(&run, line) == KOFN_INVALID && kofn_caught_one(&caught, part);
}

/* The options on the line are right one by one, but not together. */
static bool unfit(const char *line, const char *part)
{
    struct kofn_terms terms;

    return !read_line(&run, line) &&
           kofn_terms_make(&options, &caught.log, &terms) == KOFN_INVALID &&
           kofn_caught_one(&caught, part);
}

static void write_file(const char *name, const char *text, char path[256])
{
    FILE *file;

    snprintf(path, 256, "%s/%s", directory, name);
    file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

/* ---- the table ---- */

/* Names, letters, environment variables and fields belong to one option each. */
static void test_rows_are_distinct(void)
{
    char a[KOFN_OPTION_NAME_BYTES], b[KOFN_OPTION_NAME_BYTES];

    for (size_t i = 0; i < kofn_option_count; i++)
        for (size_t j = 0; j < i; j++) {
            const struct kofn_option *x = &kofn_option_table[i], *y = &kofn_option_table[j];

            CU_ASSERT_STRING_NOT_EQUAL(x->name, y->name);
            CU_ASSERT(!x->letter || x->letter != y->letter);
            CU_ASSERT_NOT_EQUAL(x->offset, y->offset);
            if (kofn_option_environment(x, a) && kofn_option_environment(y, b))
                CU_ASSERT_STRING_NOT_EQUAL(a, b);
        }
}

/* A row is complete, its name is one that can be typed and set in an environment, and its text is
 * no sentence. */
static void test_rows_are_well_formed(void)
{
    for (size_t i = 0; i < kofn_option_count; i++) {
        const struct kofn_option *option = &kofn_option_table[i];

        CU_ASSERT(strspn(option->name, "abcdefghijklmnopqrstuvwxyz-") == strlen(option->name));
        CU_ASSERT(strlen(option->name) > 1 && islower(option->name[0]));
        CU_ASSERT_PTR_NOT_NULL(option->doc);
        CU_ASSERT_PTR_NOT_NULL(option->group);
        CU_ASSERT_PTR_NOT_NULL(option->parse);
        CU_ASSERT_NOT_EQUAL(option->commands, 0);
        CU_ASSERT(option->offset < sizeof(struct kofn_conf));
        CU_ASSERT_PTR_EQUAL(kofn_option_find(option->name), option);
        CU_ASSERT(option->doc[strlen(option->doc) - 1] != '.');
        CU_ASSERT(option->argument || option->value); /* a switch is off unless it is given */
    }
    CU_ASSERT_PTR_NULL(kofn_option_find("no-such-option"));
}

/* Every default is a text that its own parser takes. */
static void test_defaults_parse(void)
{
    struct kofn_conf conf;

    for (size_t i = 0; i < kofn_option_count; i++) {
        const struct kofn_option *option = &kofn_option_table[i];

        if (option->value)
            CU_ASSERT_EQUAL(option->parse(option, option->value, option->name, &caught.log,
                                          (char *)&conf + option->offset),
                            0);
    }
    CU_ASSERT_EQUAL(read_line(&run, ""), 0);
    CU_ASSERT_EQUAL(options.conf.workers, 4);
    CU_ASSERT_EQUAL(options.conf.wait_for, 0);
    CU_ASSERT_PTR_EQUAL(options.conf.algorithm, &kofn_stsyn);
    CU_ASSERT_EQUAL(options.conf.grace, 250 * KOFN_NS_PER_MS);
    CU_ASSERT_PTR_NULL(options.conf.json);
    CU_ASSERT_EQUAL(kofn_options_value(&options, "workers")->origin, KOFN_ORIGIN_DEFAULT);
}

/* --help of a command names every option of it with its letter, argument, default and choices, and
 * no other. */
static void test_help_mentions_every_option(void)
{
    char *text = NULL, head[64];
    size_t length;

    FILE *stream = open_memstream(&text, &length);

    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    kofn_options_help(&run, stream);
    fclose(stream);
    for (size_t i = 0; i < kofn_option_count; i++) {
        const struct kofn_option *option = &kofn_option_table[i];

        snprintf(head, sizeof(head), "%c%c%c --%s%s%s", option->letter ? '-' : ' ',
                 option->letter ? option->letter : ' ', option->letter ? ',' : ' ', option->name,
                 option->argument ? " " : "", option->argument ? option->argument : "");
        CU_ASSERT_EQUAL(strstr(text, head) != NULL, (option->commands & KOFN_FOR_RUN) != 0);
        for (size_t j = 0; option->choice && option->choice(j); j++)
            CU_ASSERT_PTR_NOT_NULL(strstr(text, option->choice(j)));
    }
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        CU_ASSERT(end - line <= 80);
    free(text);
}

/* ---- where values come from ---- */

/* The command line beats the environment, the environment the file, the file the default. */
static void test_precedence(void)
{
    char path[256], line[300];

    write_file("some.conf", "# a job\nworkers = 5\n  wait-for=2   # of them\n\nlocal-steps = 7\n",
               path);
    setenv("KOFN_LOCAL_STEPS", "8", 1);
    setenv("KOFN_WAIT_FOR", "3", 1);
    snprintf(line, sizeof(line), "--wait-for 4 --config %s", path);
    CU_ASSERT_EQUAL(read_line(&run, line), 0);
    CU_ASSERT_EQUAL(options.conf.workers, 5);
    CU_ASSERT_EQUAL(options.conf.local_steps, 8);
    CU_ASSERT_EQUAL(options.conf.wait_for, 4);
    CU_ASSERT_EQUAL(options.conf.batch, 64);
    CU_ASSERT_EQUAL(kofn_options_value(&options, "workers")->origin, KOFN_ORIGIN_FILE);
    CU_ASSERT_EQUAL(kofn_options_value(&options, "local-steps")->origin, KOFN_ORIGIN_ENVIRONMENT);
    CU_ASSERT_EQUAL(kofn_options_value(&options, "wait-for")->origin, KOFN_ORIGIN_FLAG);
    CU_ASSERT_EQUAL(kofn_options_value(&options, "batch")->origin, KOFN_ORIGIN_DEFAULT);
    unsetenv("KOFN_LOCAL_STEPS");
    unsetenv("KOFN_WAIT_FOR");
    unlink(path);
}

/* The file is found where it usually is, and by KOFN_CONFIG; without one there is nothing to read.
 */
static void test_file_is_found(void)
{
    char path[256];

    CU_ASSERT_EQUAL(read_line(&run, ""), 0);
    CU_ASSERT_PTR_NULL(options.file);
    write_file("kofn.conf", "workers = 9\n", path);
    CU_ASSERT_EQUAL(read_line(&run, ""), 0);
    CU_ASSERT_EQUAL(options.conf.workers, 9);
    unlink(path);
    write_file("other.conf", "workers = 10\n", path);
    setenv("KOFN_CONFIG", path, 1);
    CU_ASSERT_EQUAL(read_line(&run, ""), 0);
    CU_ASSERT_EQUAL(options.conf.workers, 10);
    unlink(path);
    CU_ASSERT_EQUAL(read_line(&run, ""), KOFN_SYSTEM);
    CU_ASSERT(kofn_caught_one(&caught, "other.conf"));
    unsetenv("KOFN_CONFIG");
}

/* An option that may be repeated keeps all that one origin says of it, and nothing of a weaker one.
 */
static void test_repeated_options_join(void)
{
    setenv("KOFN_STRAGGLER", "rank=0,factor=2 rank=1,factor=2", 1);
    CU_ASSERT_EQUAL(read_line(&run, ""), 0);
    CU_ASSERT_STRING_EQUAL(options.conf.straggler, "rank=0,factor=2 rank=1,factor=2");
    CU_ASSERT_EQUAL(read_line(&run, "--straggler rank=2,factor=3 --straggler rank=3,factor=4"), 0);
    CU_ASSERT_STRING_EQUAL(options.conf.straggler, "rank=2,factor=3 rank=3,factor=4");
    unsetenv("KOFN_STRAGGLER");
    CU_ASSERT_EQUAL(read_line(&run, "--lr 1 --lr 2 -vv"), 0);
    CU_ASSERT_EQUAL(options.conf.lr, 2.0);
    CU_ASSERT_EQUAL(options.conf.verbose, 2);
}

/* What `info` shows is what other commands would use, so it takes their options. */
static void test_info_takes_all(void)
{
    CU_ASSERT_EQUAL(read_line(&info, "-n 3 --delay exp:1ms -q"), 0);
    CU_ASSERT_EQUAL(options.conf.workers, 3);
    CU_ASSERT_STRING_EQUAL(kofn_options_value(&options, "delay")->text, "exp:1ms");
}

/* What a command takes for the sake of others must be right, and changes nothing. */
static void test_options_of_others(void)
{
    CU_ASSERT_EQUAL(read_line(&info, "--delay exp:1ms --record trace.csv --json -"), 0);
    CU_ASSERT_STRING_EQUAL(options.conf.delay, "none");
    CU_ASSERT_PTR_NULL(options.conf.record);
    CU_ASSERT_STRING_EQUAL(options.conf.json, "-"); /* its own */
    CU_ASSERT_EQUAL(read_line(&info, "--delay exp:no"), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "delay exp:no"));
}

/* ---- mistakes ---- */

static void test_bad_lines_are_refused(void)
{
    CU_ASSERT(refused("--wrokers 3", "did you mean --workers"));
    CU_ASSERT(refused("--zzz", "no such option"));
    CU_ASSERT(refused("--l 3", "is it --"));
    CU_ASSERT(refused("-Z", "-Z"));
    CU_ASSERT(refused("--lr", "ETA is missing"));
    CU_ASSERT(refused("-n", "N is missing"));
    CU_ASSERT(refused("--quiet=3", "takes no value"));
    CU_ASSERT(refused("extra", "unexpected argument"));
    CU_ASSERT(refused("--workers 0", "--workers: 0 is too small"));
    CU_ASSERT(refused("--workers 3x", "\"3x\""));
    CU_ASSERT(refused("--wait-for 0", "too small"));
    CU_ASSERT(refused("--wait-for=", "--wait-for"));
    CU_ASSERT(refused("--seconds 5mz", "not a unit"));
    CU_ASSERT(refused("--grace 0", "too short"));
    CU_ASSERT(refused("--lr nan", "--lr"));
    CU_ASSERT(refused("--target-accuracy 90", "too large"));
    CU_ASSERT(refused("--algorithm stsym", "did you mean \"stsyn\""));
    CU_ASSERT(refused("--transport self", "known: shm"));
    CU_ASSERT(refused("--late keep", "merge, refuse"));
    CU_ASSERT(refused("--delay exq:1ms", "did you mean \"exp\""));
    CU_ASSERT(refused("--straggler rank=1,fctor=2", "did you mean \"factor\""));
    CU_ASSERT(refused("--split dirichlet:x", "dirichlet"));
}

/* A message says where the bad value stands. */
static void test_messages_name_the_origin(void)
{
    char path[256], line[300];

    setenv("KOFN_LR", "fast", 1);
    CU_ASSERT(refused("", "KOFN_LR: "));
    unsetenv("KOFN_LR");
    write_file("bad.conf", "\nlr = fast\n", path);
    snprintf(line, sizeof(line), "--config %s", path);
    CU_ASSERT(refused(line, "bad.conf:2: lr: "));
    write_file("bad.conf", "wrokers = 3\n", path);
    CU_ASSERT(refused(line, "did you mean \"workers\""));
    write_file("bad.conf", "workers 3\n", path);
    CU_ASSERT(refused(line, "name = value"));
    write_file("bad.conf", "workers =\n", path);
    CU_ASSERT(refused(line, "has no value"));
    write_file("bad.conf", "help = yes\n", path);
    CU_ASSERT(refused(line, "bad.conf:1"));
    unlink(path);
}

/* Options that are right by themselves are held against each other. */
static void test_terms_must_fit(void)
{
    CU_ASSERT(unfit("-n 4 -k 5", "K counts workers"));
    CU_ASSERT(unfit("-a sync -n 4 -k 3", "sync waits for all 4"));
    CU_ASSERT(unfit("-a local -n 4 -k 3", "local waits for all 4"));
    CU_ASSERT(unfit("-a sync -u 2", "one local update"));
    CU_ASSERT(unfit("-a sync --momentum 0.9", "momentum"));
    CU_ASSERT(unfit("-n 4 --quorum 5", "quorum"));
    CU_ASSERT(unfit("-n 8 --straggler rank=8,factor=2", "straggler"));
}

/* K is N where nothing is said, and the default limit of time gives way to other ends. */
static void test_terms_have_defaults(void)
{
    struct kofn_terms terms;

    CU_ASSERT_EQUAL(read_line(&run, "-n 6 -a sync"), 0);
    CU_ASSERT_EQUAL(kofn_terms_make(&options, &caught.log, &terms), 0);
    CU_ASSERT_EQUAL(terms.wait_for, 6);
    CU_ASSERT_EQUAL(terms.local_steps, 1);
    CU_ASSERT_EQUAL(terms.seconds, 30 * KOFN_NS_PER_S);
    kofn_terms_free(&terms);
    CU_ASSERT_EQUAL(read_line(&run, "--rounds 5"), 0);
    CU_ASSERT_EQUAL(kofn_terms_make(&options, &caught.log, &terms), 0);
    CU_ASSERT_EQUAL(terms.seconds, 0);
    CU_ASSERT_EQUAL(terms.rounds, 5);
    kofn_terms_free(&terms);
    CU_ASSERT_EQUAL(read_line(&run, "--rounds 5 --seconds 2 --straggler rank=1,factor=3"), 0);
    CU_ASSERT_EQUAL(kofn_terms_make(&options, &caught.log, &terms), 0);
    CU_ASSERT_EQUAL(terms.seconds, 2 * KOFN_NS_PER_S);
    CU_ASSERT_EQUAL(terms.straggler_count, 1);
    kofn_terms_free(&terms);
}

/* --help is an answer, whatever else is on the line behind it. */
static void test_help_comes_first(void)
{
    CU_ASSERT_EQUAL(read_line(&run, "--help --wrokers"), 0);
    CU_ASSERT(options.conf.help);
    kofn_options_free(&options);
}

void kofn_suite_options(void)
{
    CU_pSuite suite = CU_add_suite("options", set_up, tear_down);

    CU_add_test(suite, "rows are distinct", test_rows_are_distinct);
    CU_add_test(suite, "rows are well formed", test_rows_are_well_formed);
    CU_add_test(suite, "defaults parse", test_defaults_parse);
    CU_add_test(suite, "help mentions every option", test_help_mentions_every_option);
    CU_add_test(suite, "precedence", test_precedence);
    CU_add_test(suite, "file is found", test_file_is_found);
    CU_add_test(suite, "repeated options join", test_repeated_options_join);
    CU_add_test(suite, "info takes all", test_info_takes_all);
    CU_add_test(suite, "options of others", test_options_of_others);
    CU_add_test(suite, "bad lines are refused", test_bad_lines_are_refused);
    CU_add_test(suite, "messages name the origin", test_messages_name_the_origin);
    CU_add_test(suite, "terms must fit", test_terms_must_fit);
    CU_add_test(suite, "terms have defaults", test_terms_have_defaults);
    CU_add_test(suite, "help comes first", test_help_comes_first);
}
