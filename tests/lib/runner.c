#include "tests/lib/runner.h"

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <regex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWNESS 4
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOWNESS 4
#endif
#endif
#ifndef SLOWNESS
#define SLOWNESS 1
#endif

/* What a suite's process tells the one that waits for it; in shared memory, so that it survives a
 * crash. */
struct tally {
    unsigned reported, failed;
    char running[128]; /* the test that is running, "" between two */
};

/* CUnit calls back without an argument, so what the callbacks use is static; it belongs to the
 * suite's process. */
static struct tally *tally;
static char skip_reason[256];

void kofn_test_skip(const char *why)
{
    snprintf(skip_reason, sizeof(skip_reason), "%s", why);
}

static void test_start(const CU_pTest test, const CU_pSuite suite)
{
    (void)suite;
    skip_reason[0] = '\0';
    snprintf(tally->running, sizeof(tally->running), "%s", test->pName);
}

static void test_complete(const CU_pTest test, const CU_pSuite suite, CU_pFailureRecord failure)
{
    printf("%s - %s: %s%s%s\n", failure ? "not ok" : "ok", suite->pName, test->pName,
           skip_reason[0] && !failure ? " # SKIP " : "", failure ? "" : skip_reason);
    for (; failure; failure = failure->pNext)
        printf("# %s:%u: %s\n", failure->strFileName, failure->uiLineNumber, failure->strCondition);
    tally->reported++;
    tally->failed += failure != NULL;
    tally->running[0] = '\0';
    fflush(stdout);
}

static void suite_init_failed(const CU_pSuite suite)
{
    printf("# %s: the suite's set-up failed\n", suite->pName);
    fflush(stdout);
}

/* In the suite's process: runs it and leaves by exit(), so that a leak checker has its say. */
static void run_here(CU_pSuite suite, unsigned seconds)
{
    alarm(seconds);
    CU_set_test_start_handler(test_start);
    CU_set_test_complete_handler(test_complete);
    CU_set_suite_init_failure_handler(suite_init_failed);
    CU_run_suite(suite);
    CU_cleanup_registry();
    exit(0);
}

/* Reports what the suite's process left unsaid when it ended with @status; returns how many tests
 * failed. */
static unsigned report_end(const char *name, unsigned count, int status, const struct tally *seen)
{
    unsigned failed = seen->failed;
    const char *where = seen->running[0] ? seen->running : "between or after its tests";

    if (WIFSIGNALED(status))
        printf("# %s: killed by signal %d (%s)%s in: %s\n", name, WTERMSIG(status),
               strsignal(WTERMSIG(status)), WTERMSIG(status) == SIGALRM ? ", out of time," : "",
               where);
    else if (WEXITSTATUS(status))
        printf("# %s: exit status %d in: %s\n", name, WEXITSTATUS(status), where);
    for (unsigned i = seen->reported; i < count; i++, failed++)
        printf("not ok - %s: %s\n", name,
               i == seen->reported && seen->running[0] ? seen->running : "was not run");
    /* all tests done, and then the process failed: a leak, or a crash at exit */
    if (status && seen->reported == count) {
        printf("not ok - %s: ends cleanly\n", name);
        failed++;
    }
    return failed;
}

static unsigned suite_seconds(void)
{
    const char *text = getenv("KOFN_TEST_SECONDS");
    unsigned seconds = text ? (unsigned)strtoul(text, NULL, 10) : 0;

    return (seconds ? seconds : 120) * SLOWNESS;
}

/* Has the tests of the suite run whose names match KOFN_TEST_NAMES; returns how many those are. */
static unsigned choose_tests(CU_pSuite suite)
{
    const char *text = getenv("KOFN_TEST_NAMES");
    unsigned count = 0;
    regex_t names;

    if (!text || !*text)
        return suite->uiNumberOfTests;
    if (regcomp(&names, text, REG_EXTENDED | REG_NOSUB)) {
        fprintf(stderr, "KOFN_TEST_NAMES=%s is not a regular expression\n", text);
        exit(99);
    }
    CU_set_fail_on_inactive(CU_FALSE);
    for (CU_pTest test = suite->pTest; test; test = test->pNext) {
        test->fActive = regexec(&names, test->pName, 0, NULL, 0) ? CU_FALSE : CU_TRUE;
        count += test->fActive == CU_TRUE;
    }
    regfree(&names);
    return count;
}

/* Runs one suite in a process of its own. Returns the number of failed tests; adds to @planned. */
static unsigned run_suite(const struct kofn_suite *entry, unsigned *planned)
{
    CU_pSuite suite;
    unsigned count, failed;
    int status;
    pid_t child;

    CU_initialize_registry();
    entry->add();
    suite = CU_get_registry()->pSuite;
    count = suite ? choose_tests(suite) : 0;
    if (!count) {
        printf("not ok - %s: registers a suite with tests\n", entry->name);
        (*planned)++;
        CU_cleanup_registry();
        return 1;
    }
    memset(tally, 0, sizeof(*tally));
    fflush(stdout);
    child = fork();
    if (!child)
        run_here(suite, suite_seconds());
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("fork");
        exit(99); /* automake's hard error */
    }
    failed = report_end(entry->name, count, status, tally);
    *planned += KOFN_MAX(count, tally->reported) + (status && tally->reported == count);
    CU_cleanup_registry();
    return failed;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], name))
            return true;
    return argc == 1;
}

static bool known(const char *name, const struct kofn_suite *suites, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(suites[i].name, name))
            return true;
    return false;
}

int kofn_suites_run(const struct kofn_suite *suites, size_t count, int argc, char **argv)
{
    unsigned planned = 0, failed = 0;

    if (argc == 2 && !strcmp(argv[1], "-l")) {
        for (size_t i = 0; i < count; i++)
            puts(suites[i].name);
        return 0;
    }
    for (int i = 1; i < argc; i++)
        if (!known(argv[i], suites, count)) {
            fprintf(stderr, "%s: no suite %s; -l lists them\n", argv[0], argv[i]);
            return 2;
        }
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) {
        perror("mmap");
        return 99;
    }
    for (size_t i = 0; i < count; i++)
        if (wanted(suites[i].name, argc, argv))
            failed += run_suite(&suites[i], &planned);
    printf("1..%u\n", planned);
    munmap(tally, sizeof(*tally));
    return failed ? 1 : 0;
}
