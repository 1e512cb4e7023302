/* Messages of parts that know of no rank name it all the same. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <kofn/kofn.h>

#include "base/clock.h"
#include "tests/lib/caught_log.h"

static struct kofn_caught caught;

/* The rank is put in front of what names none, and of nothing else; the level is that of the log
 * behind.
 */
static void test_rank_is_named_once(void)
{
    struct kofn_rank_log named;

    kofn_caught_reset(&caught);
    kofn_rank_log_init(&named, &caught.log, 7);
    kofn_log(&named.log, KOFN_LOG_WARN, "tcp: a socket: %s", "100 % gone");
    CU_ASSERT(kofn_caught_one(&caught, "rank 7: tcp: a socket: 100 % gone"));
    CU_ASSERT_EQUAL(kofn_error(&named.log, KOFN_GONE, "verbs: rank 7: gone"), KOFN_GONE);
    CU_ASSERT_EQUAL(strcmp(caught.last, "verbs: rank 7: gone"), 0);
    kofn_caught_reset(&caught);
    kofn_log(&named.log, KOFN_LOG_INFO, "not wanted");
    CU_ASSERT_EQUAL(caught.count, 0);
    CU_ASSERT(!kofn_log_wants(&named.log, KOFN_LOG_INFO));
}

/* So a worker that looks for its server in vain says which one it is. */
static void test_worker_without_a_server(void)
{
    static const char *const addresses[] = {"tcp:127.0.0.1:1", "shm:nobody-is-here"};
    struct kofn_worker_attr attr = {
        .size = sizeof(attr), .rank = 3, .parameters = 1, .timeout = 1, .log = &caught.log};
    struct kofn_worker *worker;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(addresses); i++) {
        kofn_caught_reset(&caught);
        attr.address = addresses[i];
        CU_ASSERT_EQUAL(kofn_worker_open(&attr, &worker), KOFN_TIMEOUT);
        CU_ASSERT(kofn_caught_one(&caught, "rank 3: no server at"));
    }
}

void kofn_suite_log(void)
{
    CU_pSuite suite = CU_add_suite("log", NULL, NULL);

    CU_add_test(suite, "the rank is named once", test_rank_is_named_once);
    CU_add_test(suite, "a worker without a server", test_worker_without_a_server);
}
