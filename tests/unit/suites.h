/* suites.h: the unit test suites, one line a file tests/unit/test_NAME.c, in alphabetical order. Included
 * several times by main.c with different meanings of SUITE(), so it has no include guard.
 */
SUITE(backoff)
SUITE(delay)
SUITE(histogram)
SUITE(mem)
SUITE(parse)
SUITE(place)
SUITE(place_bind)
SUITE(place_quota)
SUITE(place_random)
SUITE(random)
SUITE(reduce)
SUITE(reduce_pool)
SUITE(status)
SUITE(straggler)
