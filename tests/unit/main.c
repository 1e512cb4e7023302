/* The unit tests: one suite a file, listed in suites.h, those with threads in thread_suites.h
 * (SUITES says which). `unit NAME...` runs those alone, `unit -l` lists them.
 */
#include "tests/lib/runner.h"

#include "base/base.h"

#define SUITE(name) void kofn_suite_##name(void);
#include SUITES
#undef SUITE

static const struct kofn_suite suites[] = {
#define SUITE(name) {#name, kofn_suite_##name},
#include SUITES
#undef SUITE
};

int main(int argc, char **argv)
{
    return kofn_suites_run(suites, KOFN_ARRAY_SIZE(suites), argc, argv);
}
