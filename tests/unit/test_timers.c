/* The two queues of a simulation. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "base/clock.h"
#include "base/random.h"
#include "sim/post.h"
#include "sim/timers.h"

#define WORKERS 37
#define STEPS 20000

/* The timer that runs out first, of those of equal time the one of the lowest rank. */
static uint32_t first_of(const uint64_t *times)
{
    uint32_t first = 0;

    for (uint32_t rank = 1; rank < WORKERS; rank++)
        if (times[rank] < times[first])
            first = rank;
    return first;
}

/* However timers are set, one by one or many at a time, the first is the one that a search finds.
 */
static void test_first_timer(void)
{
    struct kofn_timers timers;
    struct kofn_random random;
    uint64_t times[WORKERS];

    kofn_random_seed(&random, 1, 1);
    CU_ASSERT_EQUAL_FATAL(kofn_timers_open(&timers, WORKERS), 0);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        times[rank] = KOFN_FOREVER;
    for (int step = 0; step < STEPS; step++) {
        bool many = kofn_random_below(&random, 10) == 0;
        uint64_t count = many ? kofn_random_below(&random, WORKERS) : 1;

        if (many)
            kofn_timers_begin(&timers);
        while (count--) {
            uint32_t rank = (uint32_t)kofn_random_below(&random, WORKERS);
            bool stops = kofn_random_below(&random, 8) == 0;

            times[rank] = stops ? KOFN_FOREVER : kofn_random_below(&random, 50);
            kofn_timers_set(&timers, rank, times[rank]);
        }
        if (many)
            kofn_timers_end(&timers);
        CU_ASSERT_EQUAL(kofn_timers_first(&timers).rank, first_of(times));
        CU_ASSERT_EQUAL(kofn_timers_first(&timers).time, times[first_of(times)]);
    }
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        CU_ASSERT_EQUAL(kofn_timers_time(&timers, rank), times[rank]);
    kofn_timers_close(&timers);
}

/* A single worker has a heap, too. */
static void test_one_timer(void)
{
    struct kofn_timers timers;

    CU_ASSERT_EQUAL_FATAL(kofn_timers_open(&timers, 1), 0);
    CU_ASSERT_EQUAL(kofn_timers_first(&timers).time, KOFN_FOREVER);
    kofn_timers_set(&timers, 0, 5);
    kofn_timers_begin(&timers);
    kofn_timers_set(&timers, 0, 3);
    kofn_timers_end(&timers);
    CU_ASSERT_EQUAL(kofn_timers_first(&timers).time, 3);
    kofn_timers_close(&timers);
}

/* Messages arrive by time, and those of one time in the order in which they were sent. */
static void test_post_order(void)
{
    struct kofn_post post = {0};
    struct kofn_random random;
    struct kofn_mail last = {0}, mail;
    size_t under_way = 0, taken = 0, sent = 0;

    kofn_random_seed(&random, 2, 2);
    CU_ASSERT_EQUAL(kofn_post_next(&post), KOFN_FOREVER);
    while (sent < STEPS || under_way) {
        if (sent < STEPS && kofn_random_below(&random, 3)) {
            mail = (struct kofn_mail){.time = last.time + kofn_random_below(&random, 9),
                                      .sequence = sent};
            CU_ASSERT_EQUAL_FATAL(kofn_post_send(&post, &mail), 0);
            sent++;
            under_way++;
        } else if (under_way) {
            mail = kofn_post_take(&post);
            CU_ASSERT(mail.time >= last.time);
            CU_ASSERT(!taken || mail.time > last.time || mail.sequence > last.sequence);
            last = mail;
            taken++;
            under_way--;
        }
    }
    CU_ASSERT_EQUAL(taken, STEPS);
    kofn_post_close(&post);
}

void kofn_suite_timers(void)
{
    CU_pSuite suite = CU_add_suite("timers", NULL, NULL);

    CU_add_test(suite, "the first timer is the one a search finds", test_first_timer);
    CU_add_test(suite, "one timer", test_one_timer);
    CU_add_test(suite, "messages arrive by time, then in order", test_post_order);
}
