#include <CUnit/CUnit.h>
#include <string.h>

#include "core/attr.h"

struct known {
    size_t size;
    uint64_t first, second;
};

struct newer {
    struct known known;
    uint64_t third;
};

/* A caller that knows fewer fields gets the default of the others, and nothing of it is read beyond
 * its size.
 */
static void test_a_caller_that_knows_less(void)
{
    struct known caller = {offsetof(struct known, second), 7, 8}, taken;

    CU_ASSERT_EQUAL(kofn__attr_take(&caller, &taken, sizeof(taken)), 0);
    CU_ASSERT_EQUAL(taken.size, sizeof(taken));
    CU_ASSERT_EQUAL(taken.first, 7);
    CU_ASSERT_EQUAL(taken.second, 0);
}

/* A caller that knows more is served, unless it asks for what is not there. */
static void test_a_caller_that_knows_more(void)
{
    struct newer caller = {{sizeof(caller), 7, 8}, 0};
    struct known taken;

    CU_ASSERT_EQUAL(kofn__attr_take(&caller, &taken, sizeof(taken)), 0);
    CU_ASSERT_EQUAL(taken.size, sizeof(taken));
    CU_ASSERT_EQUAL(taken.second, 8);
    caller.third = 1;
    taken.second = 9;
    CU_ASSERT_EQUAL(kofn__attr_take(&caller, &taken, sizeof(taken)), KOFN_UNSUPPORTED);
    CU_ASSERT_EQUAL(taken.second, 9);
}

static void test_a_size_that_is_not_set(void)
{
    struct known caller = {0, 7, 8}, taken = {0};

    CU_ASSERT_EQUAL(kofn__attr_take(NULL, &taken, sizeof(taken)), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn__attr_take(&caller, &taken, sizeof(taken)), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn__report_give(&taken, sizeof(taken), &caller), KOFN_INVALID);
    CU_ASSERT_EQUAL(caller.first, 7);
}

/* A report is written as far as the caller has room for it. */
static void test_reports_of_other_sizes(void)
{
    struct known report = {0, 1, 2};
    struct known less = {offsetof(struct known, second), 7, 8};
    struct newer more = {{sizeof(more), 7, 8}, 9};

    CU_ASSERT_EQUAL(kofn__report_give(&report, sizeof(report), &less), 0);
    CU_ASSERT_EQUAL(less.size, offsetof(struct known, second));
    CU_ASSERT_EQUAL(less.first, 1);
    CU_ASSERT_EQUAL(less.second, 8);
    CU_ASSERT_EQUAL(kofn__report_give(&report, sizeof(report), &more), 0);
    CU_ASSERT_EQUAL(more.known.size, sizeof(more));
    CU_ASSERT_EQUAL(more.known.second, 2);
    CU_ASSERT_EQUAL(more.third, 9);
}

void kofn_suite_attr(void)
{
    CU_pSuite suite = CU_add_suite("attr", NULL, NULL);

    CU_add_test(suite, "a caller that knows less", test_a_caller_that_knows_less);
    CU_add_test(suite, "a caller that knows more", test_a_caller_that_knows_more);
    CU_add_test(suite, "a size that is not set", test_a_size_that_is_not_set);
    CU_add_test(suite, "reports of other sizes", test_reports_of_other_sizes);
}
