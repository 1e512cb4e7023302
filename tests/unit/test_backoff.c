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

        /* the budget starts at the first look; between two batches there are two */
        CU_ASSERT_EQUAL(spins, 26 * KOFN_BACKOFF_BATCH);
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

    CU_ASSERT_EQUAL(count(&backoff, KOFN_BACKOFF_SPIN, &next), 4);
    CU_ASSERT_EQUAL(next, KOFN_BACKOFF_SLEEP);
}

/* Who finds the core wanted offers it in every turn, of later waits too, until nobody wants it. */
static void test_crowded_core_is_offered_every_turn(void)
{
    struct kofn_backoff backoff = backoff_of(1000000, 0, 2000);

    for (int i = 0; i < KOFN_BACKOFF_BATCH; i++)
        kofn_backoff_step(&backoff);
    CU_ASSERT_EQUAL(looks, 0);
    for (uint64_t turn = 1; turn <= 10; turn++) {
        CU_ASSERT_EQUAL(kofn_backoff_step(&backoff), KOFN_BACKOFF_SPIN);
        CU_ASSERT_EQUAL(looks, 2 * turn);
        if (turn % 4 == 0)
            kofn_backoff_reset(&backoff);
    }
    step_ns = 10;
    kofn_backoff_step(&backoff); /* nobody has taken it */
    looks = 0;
    for (int i = 1; i < KOFN_BACKOFF_BATCH; i++)
        CU_ASSERT_EQUAL(kofn_backoff_step(&backoff), KOFN_BACKOFF_SPIN);
    CU_ASSERT_EQUAL(looks, 0);
}

/* Who finds that somebody computes on its core sleeps at once, in this wait and in the next ones;
 * then it tries again, and less often each time that nothing has changed.
 */
static void test_computing_neighbour_is_left_alone(void)
{
    struct kofn_backoff backoff = backoff_of(1000000000, 0, 3000000);
    unsigned waits[2] = {0, 0};

    for (int part = 0; part < 2; part++) {
        unsigned spins = 0;

        while (kofn_backoff_step(&backoff) == KOFN_BACKOFF_SPIN)
            spins++;
        CU_ASSERT_EQUAL(spins, KOFN_BACKOFF_BATCH + 1);
        looks = 0;
        for (kofn_backoff_reset(&backoff); kofn_backoff_step(&backoff) == KOFN_BACKOFF_SLEEP;
             kofn_backoff_reset(&backoff))
            waits[part]++;
        CU_ASSERT_EQUAL(looks, 0);
        kofn_backoff_reset(&backoff);
    }
    CU_ASSERT(waits[0] >= 16);
    CU_ASSERT(waits[1] > waits[0]);
}

/* A wait that is begun with a deadline does not spin beyond it, nor beyond its budget. */
static void test_deadline_ends_the_spin(void)
{
    struct kofn_backoff backoff = backoff_of(50000, 0, 500);
    enum kofn_backoff_stage next;

    kofn_backoff_begin(&backoff, 0, 10000);
    CU_ASSERT_EQUAL(count(&backoff, KOFN_BACKOFF_SPIN, &next), 11 * KOFN_BACKOFF_BATCH);
    CU_ASSERT_EQUAL(next, KOFN_BACKOFF_SLEEP);
    looks = 0;
    kofn_backoff_begin(&backoff, 0, 1000000000);
    CU_ASSERT_EQUAL(count(&backoff, KOFN_BACKOFF_SPIN, &next), 51 * KOFN_BACKOFF_BATCH);
    CU_ASSERT_EQUAL(next, KOFN_BACKOFF_SLEEP);
}

void kofn_suite_backoff(void)
{
    CU_pSuite suite = CU_add_suite("backoff", NULL, NULL);

    CU_add_test(suite, "no budget never spins", test_no_budget_never_spins);
    CU_add_test(suite, "stages in order", test_stages_in_order);
    CU_add_test(suite, "short waits read no clock", test_short_waits_read_no_clock);
    CU_add_test(suite, "small budget, small batch", test_small_budget_small_batch);
    CU_add_test(suite, "crowded core", test_crowded_core_is_offered_every_turn);
    CU_add_test(suite, "computing neighbour", test_computing_neighbour_is_left_alone);
    CU_add_test(suite, "deadline ends the spin", test_deadline_ends_the_spin);
}
