/* Random histories of whole jobs over the pure round machine; see history.h for what must hold. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/history.h"

/* KOFN_HISTORY=SEED runs that one alone; what all of them together must have seen is then not
 * asked.
 */
static struct history_counts run(uint64_t first, uint64_t count, enum history_kind kind)
{
    const char *only = getenv("KOFN_HISTORY");
    struct history_counts counts = {0};

    for (uint64_t seed = first; seed < first + count; seed++)
        if (!only || strtoull(only, NULL, 10) == seed)
            CU_ASSERT(history_run(seed, kind, &counts));
    return counts;
}

/* Workers and network are slow, nothing fails: besides, nothing is lost but the work of the round
 * in which a worker was when the job ended.
 */
static void test_calm_histories(void)
{
    struct history_counts counts = run(1, 2000, HISTORY_CALM);

    if (getenv("KOFN_HISTORY"))
        return;
    CU_ASSERT(counts.rounds > 10000 && counts.merged > 10000 && counts.late > 1000);
    CU_ASSERT(counts.added > 10000 && counts.exact > 1000 && counts.grown > 50);
    CU_ASSERT(counts.remainders > 100 && counts.covered > 100 && counts.deadline_closes > 100);
    CU_ASSERT_EQUAL(counts.bad + counts.torn + counts.deaths, 0);
}

/* Everything that can go wrong does. */
static void test_wild_histories(void)
{
    struct history_counts counts = run(1, 4000, HISTORY_WILD);

    if (getenv("KOFN_HISTORY"))
        return;
    CU_ASSERT(counts.rounds > 20000 && counts.late > 1000 && counts.remainders > 100);
    CU_ASSERT(counts.suspects > 1000 && counts.comebacks > 500 && counts.rejoins > 1000);
    CU_ASSERT(counts.added > 10000 && counts.exact > 1000 && counts.spoilt > 100);
    CU_ASSERT(counts.bad > 1000 && counts.torn > 500 && counts.skipped > 1000);
    CU_ASSERT(counts.deaths > 500 && counts.evictions > 500 && counts.lost > 0);
}

void kofn_suite_histories(void)
{
    CU_pSuite suite = CU_add_suite("histories", NULL, NULL);

    CU_add_test(suite, "calm histories", test_calm_histories);
    CU_add_test(suite, "wild histories", test_wild_histories);
}
