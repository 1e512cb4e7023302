/* Workers that lag behind the clock: whatever is asked, and whenever, the answer is the one of a
 * simulation in which every update is done in its time.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "tests/unit/sim_fixture.h"

#define MOST_WORKERS 40
#define STEPS 30

/* Who watches updates sees them in their time: nobody lags then. */
static void watch(void *arg, const struct kofn_trace_record *record)
{
    (void)record;
    ++*(uint64_t *)arg;
}

/* The doubles may be NaN. */
static bool same(double a, double b)
{
    return !memcmp(&a, &b, sizeof(a));
}

static bool same_round(const struct kofn_round_report *a, const struct kofn_round_report *b)
{
    return a->round == b->round && a->close == b->close && a->wait_for == b->wait_for &&
           a->living == b->living && a->merged == b->merged && a->late == b->late &&
           a->refused == b->refused && a->publications == b->publications && a->bytes == b->bytes &&
           a->updates == b->updates && same(a->staleness, b->staleness) &&
           a->opened_ns == b->opened_ns && a->closed_ns == b->closed_ns &&
           a->published_ns == b->published_ns && a->contributions == b->contributions;
}

static bool same_member(const struct kofn_member_report *a, const struct kofn_member_report *b)
{
    return a->state == b->state && a->cause == b->cause && a->round == b->round &&
           a->updates == b->updates && a->finished == b->finished && a->merged == b->merged &&
           a->late == b->late && a->refused == b->refused && a->lost == b->lost &&
           a->publications == b->publications && a->first_k == b->first_k &&
           a->last_progress_ns == b->last_progress_ns && same(a->late_p50, b->late_p50) &&
           same(a->late_p99, b->late_p99) && same(a->pace, b->pace) &&
           same(a->compute_mean, b->compute_mean) && same(a->wait_mean, b->wait_mean) &&
           same(a->idle_fraction, b->idle_fraction) && same(a->pace_mean, b->pace_mean) &&
           same(a->silence, b->silence);
}

static void compare(struct kofn_sim *lagging, struct kofn_sim *prompt, uint32_t workers)
{
    struct kofn_member_report a[MOST_WORKERS], b[MOST_WORKERS];
    struct kofn_sim_totals these, those;

    CU_ASSERT_EQUAL(kofn_sim_now(lagging), kofn_sim_now(prompt));
    CU_ASSERT_EQUAL(kofn_sim_events(lagging), kofn_sim_events(prompt));
    kofn_sim_totals(lagging, &these);
    kofn_sim_totals(prompt, &those);
    CU_ASSERT_EQUAL(these.finished, those.finished);
    CU_ASSERT_EQUAL(these.busy_ns, those.busy_ns);
    kofn_sim_members(lagging, a);
    kofn_sim_members(prompt, b);
    for (uint32_t rank = 0; rank < workers; rank++) {
        CU_ASSERT(same_member(&a[rank], &b[rank]));
        CU_ASSERT_EQUAL(kofn_sim_merged(lagging, rank), kofn_sim_merged(prompt, rank));
    }
}

static uint32_t up_to(struct kofn_random *random, uint32_t most)
{
    return 1 + (uint32_t)kofn_random_below(random, most);
}

static struct kofn_sim_attr random_attr(struct kofn_random *random, const struct kofn_delay *delay,
                                        const struct kofn_straggler *straggler)
{
    bool waits = kofn_random_below(random, 2);
    uint32_t workers = up_to(random, MOST_WORKERS), steps = waits ? 1 : up_to(random, 40);
    struct kofn_sim_attr attr =
        sim_attr(waits ? "ksync" : "stsyn", workers, up_to(random, workers), steps, delay);

    attr.seed = kofn_random_next(random);
    attr.compute_share =
        kofn_random_below(random, 2) ? (double)kofn_random_below(random, 5) / 4 : 0;
    attr.publish_ns = kofn_random_below(random, 2) * KOFN_NS_PER_MS;
    attr.round.late = kofn_random_below(random, 2) ? KOFN_LATE_MERGE : KOFN_LATE_REFUSE;
    attr.leave_out_most = !waits && kofn_random_below(random, 4) == 0;
    attr.stragglers = straggler;
    attr.straggler_count = straggler->rank < workers;
    return attr;
}

/* Both go on by a round, or to the same time between two. */
static void step_both(struct kofn_sim *lagging, struct kofn_sim *prompt, struct kofn_random *random)
{
    struct kofn_round_report a, b;
    uint64_t until = KOFN_FOREVER;
    int rc;

    if (kofn_random_below(random, 2))
        until = kofn_sim_now(prompt) + kofn_random_below(random, 20) * KOFN_NS_PER_S / 2;
    rc = kofn_sim_step(prompt, until, UINT64_MAX, &b);
    CU_ASSERT_EQUAL_FATAL(kofn_sim_step(lagging, until, UINT64_MAX, &a), rc);
    if (!rc)
        CU_ASSERT(same_round(&a, &b));
}

/* Many updates that end in one moment, those of stragglers, of any U and of closed rounds
 * included.
 */
static void test_same(void)
{
    static const char *const delays[] = {"exp:1s",        "uniform:1s,1s", "uniform:0,3ns",
                                         "pareto:1.2,1s", "exp:1s@round",  "uniform:500ms,2s"};
    struct kofn_random random;

    kofn_random_seed(&random, 5, 5);
    for (size_t i = 0; i < 120; i++) {
        struct kofn_straggler straggler = {.rank = (uint32_t)kofn_random_below(&random, 10),
                                           .factor = i % 2 ? 7.5 : 0.25,
                                           .from_ns = 3 * KOFN_NS_PER_S,
                                           .to_ns = 90 * KOFN_NS_PER_S};
        struct kofn_sim *lagging, *prompt;
        struct kofn_sim_attr attr;
        struct kofn_delay delay;
        uint64_t watched = 0;

        sim_delay(delays[i % KOFN_ARRAY_SIZE(delays)], &delay);
        attr = random_attr(&random, &delay, &straggler);
        lagging = sim_open(&attr);
        attr.updated = watch;
        attr.arg = &watched;
        prompt = sim_open(&attr);
        for (int step = 0; step < STEPS; step++) {
            step_both(lagging, prompt, &random);
            compare(lagging, prompt, attr.round.workers);
        }
        CU_ASSERT(watched > 0);
        kofn_sim_stop(lagging);
        kofn_sim_stop(prompt);
        compare(lagging, prompt, attr.round.workers);
        kofn_sim_close(lagging);
        kofn_sim_close(prompt);
    }
}

/* However few events somebody asks for at a time, rounds come out the same. */
static void test_few_events(void)
{
    struct kofn_round_report a, b;
    struct kofn_sim *whole, *pieces;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;
    int rc;

    sim_delay("exp:1s", &delay);
    attr = sim_attr("stsyn", 20, 5, 20, &delay);
    whole = sim_open(&attr);
    pieces = sim_open(&attr);
    for (int round = 0; round < STEPS; round++) {
        sim_next(whole, &a);
        do
            rc = kofn_sim_step(pieces, KOFN_FOREVER, 7, &b);
        while (rc == KOFN_AGAIN);
        CU_ASSERT_EQUAL_FATAL(rc, 0);
        CU_ASSERT(same_round(&a, &b));
        compare(whole, pieces, 20);
    }
    kofn_sim_close(whole);
    kofn_sim_close(pieces);
}

void kofn_suite_sim_lag(void)
{
    CU_pSuite suite = CU_add_suite("sim_lag", NULL, NULL);

    CU_add_test(suite, "the same as when nobody lags", test_same);
    CU_add_test(suite, "the same in pieces", test_few_events);
}
