/* Sends without a copy, as far as they are arithmetic: what is tried, what is concluded from it. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "transports/uring/zero_copy.h"

#define PART 524288u

/* Sends @parts parts; a plain one takes @plain ns, one without a copy @in_place, and its memory
 * comes back at once. Returns how many went without a copy. */
static unsigned send_parts(struct kofn__zero_copy *zero, unsigned parts, uint64_t plain,
                           uint64_t in_place, bool copied)
{
    unsigned count = 0;

    for (unsigned i = 0; i < parts; i++) {
        bool this_way = kofn__zero_copy_next(zero, PART);

        kofn__zero_copy_sent(zero, this_way, PART, this_way ? in_place : plain);
        if (this_way)
            kofn__zero_copy_told(zero, 1, copied);
        count += this_way;
    }
    return count;
}

/* Both ways are tried equally often, and the cheaper one stays, whichever that is. */
static void test_cheaper_stays(void)
{
    struct kofn__zero_copy zero = {.mode = ZERO_COPY_AUTO, .trying = true};

    CU_ASSERT_EQUAL(send_parts(&zero, 2 * KOFN__ZERO_COPY_TRIALS, 100, 50, false),
                    KOFN__ZERO_COPY_TRIALS);
    CU_ASSERT_EQUAL(send_parts(&zero, 100, 100, 50, false), 100);
    zero = (struct kofn__zero_copy){.mode = ZERO_COPY_AUTO, .trying = true};
    CU_ASSERT_EQUAL(send_parts(&zero, 2 * KOFN__ZERO_COPY_TRIALS, 50, 100, false),
                    KOFN__ZERO_COPY_TRIALS);
    CU_ASSERT_EQUAL(send_parts(&zero, 100, 50, 100, false), 0);
}

/* Where the kernel copies all the same, one trial is enough; where it has no room, none more; and
 * what is short is never sent so, nor by who does not want it. */
static void test_no_use(void)
{
    struct kofn__zero_copy zero = {.mode = ZERO_COPY_AUTO, .trying = true};

    CU_ASSERT_EQUAL(send_parts(&zero, 100, 100, 1, true), 1);
    zero = (struct kofn__zero_copy){.mode = ZERO_COPY_AUTO, .trying = true};
    kofn__zero_copy_refused(&zero);
    CU_ASSERT_EQUAL(send_parts(&zero, 100, 100, 1, false), 0);
    zero = (struct kofn__zero_copy){.mode = ZERO_COPY_ALWAYS, .chosen = true};
    CU_ASSERT_FALSE(kofn__zero_copy_next(&zero, KOFN__ZERO_COPY_LEAST - 1));
    CU_ASSERT_EQUAL(send_parts(&zero, 100, 1, 100, true), 100);
    zero = (struct kofn__zero_copy){.mode = ZERO_COPY_NEVER};
    CU_ASSERT_EQUAL(send_parts(&zero, 100, 100, 1, false), 0);
}

/* Memory is pending until the kernel has told of every send, in ranges of any size, also beyond the
 * wrap of its counter; nothing is concluded before that. */
static void test_pending(void)
{
    struct kofn__zero_copy zero = {
        .mode = ZERO_COPY_AUTO, .trying = true, .sent = UINT32_MAX - 1, .told = UINT32_MAX - 1};

    for (unsigned i = 0; i < 2 * KOFN__ZERO_COPY_TRIALS; i++) {
        bool this_way = kofn__zero_copy_next(&zero, PART);

        kofn__zero_copy_sent(&zero, this_way, PART, this_way ? 1 : 2);
    }
    CU_ASSERT(kofn__zero_copy_pending(&zero));
    kofn__zero_copy_told(&zero, KOFN__ZERO_COPY_TRIALS - 1, false);
    CU_ASSERT(kofn__zero_copy_pending(&zero));
    CU_ASSERT(zero.trying);
    kofn__zero_copy_told(&zero, 5, false); /* more than there are: not believed */
    CU_ASSERT_FALSE(kofn__zero_copy_pending(&zero));
    CU_ASSERT(!zero.trying && zero.chosen);
}

/* Parts of other sizes than the one that is measured go plainly meanwhile, and shorter ones for
 * good. */
static void test_one_size(void)
{
    struct kofn__zero_copy zero = {.mode = ZERO_COPY_AUTO, .trying = true};

    CU_ASSERT_FALSE(kofn__zero_copy_next(&zero, PART));
    kofn__zero_copy_sent(&zero, false, PART, 100);
    CU_ASSERT_FALSE(kofn__zero_copy_next(&zero, PART / 2));
    CU_ASSERT(kofn__zero_copy_next(&zero, PART));
    send_parts(&zero, 2 * KOFN__ZERO_COPY_TRIALS, 100, 50, false);
    CU_ASSERT(zero.chosen);
    CU_ASSERT_FALSE(kofn__zero_copy_next(&zero, PART / 2));
    CU_ASSERT(kofn__zero_copy_next(&zero, PART));
}

void kofn_suite_zero_copy(void)
{
    CU_pSuite suite = CU_add_suite("zero_copy", NULL, NULL);

    CU_add_test(suite, "cheaper stays", test_cheaper_stays);
    CU_add_test(suite, "no use", test_no_use);
    CU_add_test(suite, "pending", test_pending);
    CU_add_test(suite, "one size", test_one_size);
}
