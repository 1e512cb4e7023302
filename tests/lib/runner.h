/* runner.h: runs CUnit suites, each in a process of its own, and reports every test in TAP.
 *
 * A suite that crashes, leaks under a sanitizer or hangs fails alone: its remaining tests are reported as not
 * ok, the next suite runs all the same. KOFN_TEST_SECONDS sets how long one suite may take (default 120,
 * four times as much under a sanitizer). KOFN_TEST_NAMES, an extended regular expression, leaves only the tests
 * whose names match it.
 */
#ifndef KOFN_TESTS_RUNNER_H
#define KOFN_TESTS_RUNNER_H

#include <stddef.h>

struct kofn_suite {
    const char *name;
    void (*add)(void); /* registers exactly one suite with CUnit */
};

/* main() of a test program: without arguments every suite, else those named; `-l` lists them. Returns the
 * exit status: 0 when every test passed or was skipped, 1 when one failed, 2 for an unknown name.
 */
int kofn_suites_run(const struct kofn_suite *suites, size_t count, int argc, char **argv);

/* Marks the running test as skipped; @why says what is missing. The test returns right after. */
void kofn_test_skip(const char *why);

#endif
