/* thread_suites.h: like suites.h, the suites of what has threads: the thread sanitizer runs these.
 */
SUITE(channel)
SUITE(choices)
SUITE(cnn)
SUITE(display)
SUITE(mem)
SUITE(parts)
SUITE(reduce_pool)
SUITE(slot)
