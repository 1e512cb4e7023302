/* Faults: real processes that are slow, stopped, killed or hostile; one suite a file, listed in
 * suites.h. */
#include "tests/lib/runner.h"

#include "base/base.h"

#define SUITE(name) void kofn_suite_##name(void);
#include "tests/fault/suites.h"
#undef SUITE

static const struct kofn_suite suites[] = {
#define SUITE(name) {#name, kofn_suite_##name},
#include "tests/fault/suites.h"
#undef SUITE
};

int main(int argc, char **argv)
{
    return kofn_suites_run(suites, KOFN_ARRAY_SIZE(suites), argc, argv);
}
