/* suites.h: the unit test suites, one line a file tests/unit/test_NAME.c, in alphabetical order. Included
 * several times by main.c with different meanings of SUITE(), so it has no include guard.
 */
SUITE(delay)
SUITE(parse)
SUITE(random)
SUITE(status)
SUITE(straggler)
