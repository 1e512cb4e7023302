/* suites.h: the suites of faults, one line a file tests/fault/test_NAME.c; see tests/unit/suites.h.
 */
SUITE(end)
SUITE(end_tcp)
SUITE(half_joined)
SUITE(joining)
SUITE(joining_tcp)
SUITE(network)
SUITE(pull)
SUITE(pull_tcp)
SUITE(rejoin)
SUITE(return)
SUITE(workers)
SUITE(workers_tcp)
