/* Polling that behaves: how long it spins, that it yields, and that it then asks for sleep, under a
 * clock of ours. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "base/backoff.h"

/* The clock goes on by so much at every look. One thread runs these tests. */
static uint64_t looks, step_ns;

static uint64_t fake_clock(void)
{
    return ++looks * step_ns;
}

static struct kofn_backoff backoff_of(uint64_t spin_ns, uint32_t yields, uint64_t step)
{
    struct kofn_backoff backoff;

    kofn_backoff_init(&backoff, spin_ns, yields);
    backoff.clock = fake_clock;
    looks = 0;
    step_ns = step;
    return backoff;
}

/* Takes steps while they are @stage; returns how many. */
static unsigned count(struct kofn_backoff *backoff, enum kofn_backoff_stage stage,
                      enum kofn_backoff_stage *next)
{
    unsigned steps = 0;

    while ((*next = kofn_backoff_step(backoff)) == stage && steps < 1000000)
        steps++;
    return steps;
}

/* Without a budget no turn is spun and no clock is read. */
static void test_no_budget_never_spins(void)
{
    struct kofn_backoff backoff = backoff_of(0, 3, 100);

    for (int wait = 0; wait < 3; wait++) {
        kofn_backoff_reset(&backoff);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_EQUAL(kofn_backoff_step(&backoff), KOFN_BACKOFF_YIELD);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_EQUAL(kofn_backoff_step(&backoff), KOFN_BACKOFF_SLEEP);
    }
    CU_ASSERT_EQUAL(looks, 0);
}

/* Spin until the budget is used up, then yield so many times, then sleep until reset; and so again.
 */
static void test_stages_in_order(void)
{
    struct kofn_backoff backoff = backoff_of(50000, 2, 1000);

    for (int wait = 0; wait < 2; wait++) {
        enum kofn_backoff_stage next;
        unsigned spins = count(&backoff, KOFN_BACKOFF_SPIN, &next);

        /* the budget starts at the first look, and each of the 50 looks after it comes a batch
         * later */
        CU_ASSERT_EQUAL(spins, 51 * KOFN_BACKOFF_BATCH);
        CU_ASSERT_EQUAL(next, KOFN_BACKOFF_YIELD);
        CU_ASSERT_EQUAL(count(&backoff, KOFN_BACKOFF_YIELD, &next), 1);
        CU_ASSERT_EQUAL(next, KOFN_BACKOFF_SLEEP);
        CU_ASSERT_EQUAL(kofn_backoff_step(&backoff), KOFN_BACKOFF_SLEEP);
        kofn_backoff_reset(&backoff);
    }
}

/* What arrives within the first batch costs no look at the clock. */
static void test_short_waits_read_no_clock(void)
{
    struct kofn_backoff backoff = backoff_of(50000, 2, 1000);

    for (int wait = 0; wait < 100; wait++) {
        kofn_backoff_reset(&backoff);
        for (int i = 0; i < KOFN_BACKOFF_BATCH; i++)
            CU_ASSERT_EQUAL(kofn_backoff_step(&backoff), KOFN_BACKOFF_SPIN);
    }
    CU_ASSERT_EQUAL(looks, 0);
}

/* A budget shorter than a batch is not stretched to one. */
static void test_small_budget_small_batch(void)
{
    struct kofn_backoff backoff = backoff_of(2 * KOFN_BACKOFF_TURN_NS, 0, 1000000);
    enum kofn_backoff_stage next;

    CU_ASSERT_EQUAL(count(&backoff, KOFN_BACKOFF_SPIN, &next), 6);
    CU_ASSERT_EQUAL(next, KOFN_BACKOFF_SLEEP);
}

void kofn_suite_backoff(void)
{
    CU_pSuite suite = CU_add_suite("backoff", NULL, NULL);

    CU_add_test(suite, "no budget never spins", test_no_budget_never_spins);
    CU_add_test(suite, "stages in order", test_stages_in_order);
    CU_add_test(suite, "short waits read no clock", test_short_waits_read_no_clock);
    CU_add_test(suite, "small budget, small batch", test_small_budget_small_batch);
}
