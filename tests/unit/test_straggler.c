/* Stragglers: who is slow, by how much, from when to when. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "base/clock.h"
#include "sim/straggler.h"
#include "tests/lib/caught_log.h"

/* Keys come in any order; the times may be left out. */
static void test_specifications(void)
{
    struct kofn_straggler s;

    CU_ASSERT_EQUAL(kofn_straggler_parse(kofn_text("rank=3,factor=5"), NULL, &s), 0);
    CU_ASSERT_EQUAL(s.rank, 3);
    CU_ASSERT_EQUAL(s.factor, 5);
    CU_ASSERT_EQUAL(s.from_ns, 0);
    CU_ASSERT_EQUAL(s.to_ns, KOFN_FOREVER);
    CU_ASSERT_EQUAL(kofn_straggler_parse(kofn_text("to=2,from=500ms,factor=0.5,rank=0"), NULL, &s),
                    0);
    CU_ASSERT_EQUAL(s.rank, 0);
    CU_ASSERT_EQUAL(s.factor, 0.5);
    CU_ASSERT_EQUAL(s.from_ns, 500000000);
    CU_ASSERT_EQUAL(s.to_ns, 2000000000);
}

/* Whatever is wrong is said in one line; the straggler is not touched. */
static void test_bad_specifications(void)
{
    static const struct {
        const char *spec, *message;
    } cases[] = {
        {"", "unknown key \"\""},
        {"rank=1", "factor is missing"},
        {"factor=2", "rank is missing"},
        {"rank=1,factr=2", "unknown key \"factr\"; did you mean \"factor\"?"},
        {"rank=1,speed=2", "known: rank, factor, from, to"},
        {"rank=1,factor", "factor has no value"},
        {"rank=1,factor=", "factor \"\" is not a number"},
        {"rank=1,factor=0", "factor \"0\" is too small"},
        {"rank=1,factor=-2", "factor \"-2\" is too small"},
        {"rank=1,factor=nan", "factor \"nan\" is not a number"},
        {"rank=1,factor=inf", "factor \"inf\" is not a number"},
        {"rank=1,factor=5x", "factor \"5x\" is not a number"},
        {"rank=-1,factor=5", "rank \"-1\" is not a whole number"},
        {"rank=99999999999,factor=5", "rank \"99999999999\" is too large"},
        {"rank=1,factor=5,", "unknown key \"\""},
        {"rank=1,factor=5,rank=2", "rank is there twice"},
        {"rank=1,factor=5,from=2,to=1", "ends before it begins"},
        {"rank=1,factor=5,from=2,to=2", "ends before it begins"},
        {"rank=1,factor=5,from=2d", "from \"d\" is not a unit"},
    };
    struct kofn_straggler s = {.rank = 42};
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(kofn_straggler_parse(kofn_text(cases[i].spec), &caught.log, &s),
                        KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, cases[i].message));
    }
    CU_ASSERT_EQUAL(s.rank, 42);
}

/* A factor holds for its worker, from its first moment to just before its last; several multiply.
 */
static void test_factor(void)
{
    static const struct kofn_straggler list[] = {
        {.rank = 1, .factor = 5, .from_ns = 100, .to_ns = 200},
        {.rank = 1, .factor = 2, .from_ns = 150, .to_ns = KOFN_FOREVER},
        {.rank = 2, .factor = 0.5, .from_ns = 0, .to_ns = KOFN_FOREVER},
    };
    static const struct {
        uint32_t rank;
        uint64_t time;
        double factor;
    } cases[] = {{1, 0, 1},    {1, 99, 1},  {1, 100, 5}, {1, 149, 5},    {1, 150, 10},
                 {1, 199, 10}, {1, 200, 2}, {0, 150, 1}, {2, 1000, 0.5}, {3, 0, 1}};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++)
        CU_ASSERT_EQUAL(kofn_straggler_factor(list, 3, cases[i].rank, cases[i].time),
                        cases[i].factor);
    CU_ASSERT_EQUAL(kofn_straggler_factor(NULL, 0, 1, 150), 1);
}

/* A straggler that no worker can be is refused before the job starts. */
static void test_rank_is_a_worker(void)
{
    struct kofn_straggler s = {.rank = 8, .factor = 2};
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL(kofn_straggler_check(&s, 1, 9, &caught.log), 0);
    CU_ASSERT_EQUAL(kofn_straggler_check(&s, 1, 8, &caught.log), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "rank 8, but the 8 workers have ranks 0 to 7"));
}

void kofn_suite_straggler(void)
{
    CU_pSuite suite = CU_add_suite("straggler", NULL, NULL);

    CU_add_test(suite, "specifications", test_specifications);
    CU_add_test(suite, "bad specifications", test_bad_specifications);
    CU_add_test(suite, "factor", test_factor);
    CU_add_test(suite, "rank is a worker", test_rank_is_a_worker);
}
