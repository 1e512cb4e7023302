/* The K-sync family under the virtual clock: rows A2 and B1 to B8 of the theory of Dutta et al.,
 * and what each of the four promises: who is cancelled, who waits, what may be stale, how many are
 * merged.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "tests/unit/sim_fixture.h"

#define ROUNDS 40000
#define TOGETHER 200

struct row {
    const char *algorithm, *delay;
    uint32_t workers, wait_for;
    double time, staleness;
};

static const struct row rows[] = {
    {"ksync", "exp:1", 8, 4, 0.634524, 0},
    {"ksync", "shifted-exp:1,1", 8, 4, 1.63452, 0},
    {"ksync", "pareto:2,1", 8, 4, 1.39239, 0},
    {"kbatch-sync", "exp:1", 8, 4, 0.5, 0},
    {"kbatch-sync", "shifted-exp:1,1", 8, 4, 1.63123, 0},
    {"kasync", "exp:1", 8, 1, 0.125, 7},
    {"kasync", "exp:1", 8, 4, 0.634524, 1},
    {"kasync", "exp:1", 8, 8, 2.71786, 0},
    {"kbatch-async", "exp:1", 8, 1, 0.125, 7},
    {"kbatch-async", "exp:1", 8, 4, 0.5, 1.75},
    {"kbatch-async", "shifted-exp:1,1", 8, 1, 0.25, 7},
    {"kbatch-async", "shifted-exp:1,1", 8, 4, 1, 1.75},
    {"kbatch-async", "uniform:1,3", 5, 20, 8, 0.2}, /* more mini-batches than workers */
};

static void test_rows(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rows); i++) {
        struct kofn_sim_attr attr;
        struct kofn_delay delay;
        struct sim_means means;
        char what[64];

        sim_delay(rows[i].delay, &delay);
        attr = sim_attr(rows[i].algorithm, rows[i].workers, rows[i].wait_for, 1, &delay);
        means = sim_run_batches(&attr, 1000, ROUNDS, TOGETHER);
        snprintf(what, sizeof(what), "%s, K = %u, %s", rows[i].algorithm, rows[i].wait_for,
                 rows[i].delay);
        CU_ASSERT(sim_mean_near(&means.time, rows[i].time, what));
        CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&means.staleness), rows[i].staleness,
                               1e-3 * rows[i].staleness); /* by Little's law, whatever the delay */
        CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&means.updates) * rows[i].workers, rows[i].wait_for,
                               1e-9);
        CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&means.publications), rows[i].wait_for, 1e-9);
    }
}

/* Row A2: the variance of the 4th of 8. */
static void test_variance(void)
{
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;
    struct kofn_sim *sim;
    struct sim_mean squares = {0};

    sim_delay("exp:1", &delay);
    attr = sim_attr("ksync", 8, 4, 1, &delay);
    sim = sim_open(&attr);
    for (int i = 0; i < ROUNDS; i++) {
        double off;

        sim_next(sim, &report);
        off = (double)(report.published_ns - report.opened_ns) / 1e9 - 0.6345238095;
        sim_mean_add(&squares, off * off);
    }
    kofn_sim_close(sim);
    CU_ASSERT(sim_mean_near(&squares, 0.1038109410, "variance"));
}

/* Row B6: with K = 1 one merged update in N is fresh where delays are exponential; fewer where what
 * has been computed for long is likely to be done soon.
 */
static void test_fresh(void)
{
    static const struct {
        const char *delay;
        bool less;
    } cases[] = {{"exp:1", false}, {"shifted-exp:1,1", true}, {"pareto:3,1", true}};
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct sim_mean fresh = {0};
        struct kofn_sim *sim;

        sim_delay(cases[i].delay, &delay);
        attr = sim_attr("kbatch-async", 8, 1, 1, &delay);
        sim = sim_open(&attr);
        for (int j = 0; j < ROUNDS; j++) {
            sim_next(sim, &report);
            sim_mean_add(&fresh, report.staleness == 0);
        }
        kofn_sim_close(sim);
        CU_ASSERT(cases[i].less ? sim_mean_value(&fresh) < 0.01
                                : sim_mean_near(&fresh, 0.125, "fresh updates"));
    }
}

/* Rows B7 and B8: how much longer the rounds of one algorithm are than those of another. */
static void test_ratios(void)
{
    static const struct {
        const char *slow, *fast, *delay;
        uint32_t slow_k, fast_k;
        double ratio;
    } cases[] = {
        {"sync", "kbatch-async", "exp:1", 8, 1, 21.7429},
        {"sync", "kasync", "shifted-exp:1,1", 8, 1, 14.8714},
        {"kasync", "kbatch-async", "exp:1", 4, 4, 1.26905},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn_sim_attr attr;
        struct kofn_delay delay;
        struct sim_mean slow, fast;
        double ratio, error;

        sim_delay(cases[i].delay, &delay);
        attr = sim_attr(cases[i].slow, 8, cases[i].slow_k, 1, &delay);
        slow = sim_run_batches(&attr, 1000, ROUNDS, TOGETHER).time;
        attr = sim_attr(cases[i].fast, 8, cases[i].fast_k, 1, &delay);
        attr.seed = 2;
        fast = sim_run_batches(&attr, 1000, ROUNDS, TOGETHER).time;
        ratio = sim_mean_value(&slow) / sim_mean_value(&fast);
        error = ratio * hypot(sim_mean_error(&slow) / sim_mean_value(&slow),
                              sim_mean_error(&fast) / sim_mean_value(&fast));
        CU_ASSERT_DOUBLE_EQUAL(ratio, cases[i].ratio, 4 * error);
        CU_ASSERT(error < 0.01 * ratio);
    }
}

/* Exactly K are merged, though more finish in the same moment; the late ones of K-sync and
 * K-batch-sync are dropped, those of the others go into the next round.
 */
static void test_ties(void)
{
    static const struct {
        const char *algorithm;
        uint32_t wait_for, merged, second_ms; /* workers merged; the second round takes so long */
    } cases[] = {
        {"ksync", 3, 3, 1},  {"kbatch-sync", 3, 3, 1},  {"kbatch-sync", 13, 8, 2},
        {"kasync", 3, 3, 0}, {"kbatch-async", 3, 3, 0},
    };
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;
    struct kofn_sim *sim;

    sim_delay("uniform:1ms,1ms", &delay);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        attr = sim_attr(cases[i].algorithm, 8, cases[i].wait_for, 1, &delay);
        sim = sim_open(&attr);
        sim_next(sim, &report);
        CU_ASSERT_EQUAL(report.contributions, cases[i].wait_for);
        CU_ASSERT_EQUAL(report.updates, cases[i].wait_for);
        CU_ASSERT_EQUAL(report.merged, cases[i].merged);
        CU_ASSERT_EQUAL(report.wait_for, cases[i].wait_for);
        sim_next(sim, &report);
        CU_ASSERT_EQUAL(report.published_ns - report.opened_ns,
                        cases[i].second_ms * KOFN_NS_PER_MS);
        CU_ASSERT_EQUAL(report.refused, 0);
        kofn_sim_close(sim);
    }
}

/* Who waits for its gradient to be merged idles; nobody else does. */
static void test_idle(void)
{
    static const struct {
        const char *algorithm;
        double idle;
    } cases[] = {
        {"ksync", 1 - 0.5 / 0.634524},
        {"kbatch-sync", 0},
        {"kasync", 1 - 0.5 / 0.634524},
        {"kbatch-async", 0},
    };
    struct kofn_member_report members[8];
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;
    struct kofn_sim *sim;

    sim_delay("exp:1", &delay);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        double idle = 0;

        attr = sim_attr(cases[i].algorithm, 8, 4, 1, &delay);
        sim = sim_open(&attr);
        for (int j = 0; j < ROUNDS; j++)
            sim_next(sim, &report);
        kofn_sim_members(sim, members);
        for (int rank = 0; rank < 8; rank++) {
            idle += members[rank].idle_fraction / 8;
            CU_ASSERT_EQUAL(members[rank].finished,
                            members[rank].merged + members[rank].late + members[rank].refused);
            CU_ASSERT_EQUAL(members[rank].late + members[rank].refused, 0);
        }
        CU_ASSERT_DOUBLE_EQUAL(idle, cases[i].idle, 0.01);
        kofn_sim_close(sim);
    }
}

/* Over a slow network, too, exactly K are merged and nothing is lost: what K-sync cuts off is
 * refused, what the others have is stale.
 */
static void test_slow_network(void)
{
    static const char *const names[] = {"ksync", "kbatch-sync", "kasync", "kbatch-async"};
    struct kofn_member_report members[8];
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;
    struct kofn_sim *sim;

    sim_delay("exp:1ms", &delay);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        uint64_t refused = 0, open = 0;
        double staleness = 0;

        attr = sim_attr(names[i], 8, 3, 1, &delay);
        attr.net = (struct kofn_sim_net){
            .latency_ns = 300000, .byte_ns = 1000, .ingest_byte_ns = 200, .loss = 0.02};
        sim = sim_open(&attr);
        for (int j = 0; j < 2000; j++) {
            sim_next(sim, &report);
            CU_ASSERT_EQUAL(report.contributions, 3);
            staleness += report.staleness / 2000;
        }
        kofn_sim_members(sim, members);
        for (int rank = 0; rank < 8; rank++) {
            refused += members[rank].refused;
            CU_ASSERT_EQUAL(members[rank].late, 0);
            CU_ASSERT(members[rank].finished >= members[rank].merged + members[rank].refused);
            open += members[rank].finished - members[rank].merged - members[rank].refused;
        }
        CU_ASSERT(open <= 16);
        CU_ASSERT(i < 2 ? refused > 0 && staleness == 0 : refused == 0 && staleness > 1);
        kofn_sim_close(sim);
    }
}

void kofn_suite_sim_ksync(void)
{
    CU_pSuite suite = CU_add_suite("sim_ksync", NULL, NULL);

    CU_add_test(suite, "times and staleness: B1 to B5", test_rows);
    CU_add_test(suite, "the variance of a round: A2", test_variance);
    CU_add_test(suite, "fresh updates: B6", test_fresh);
    CU_add_test(suite, "ratios: B7, B8", test_ratios);
    CU_add_test(suite, "exactly K are merged", test_ties);
    CU_add_test(suite, "who waits", test_idle);
    CU_add_test(suite, "a slow network", test_slow_network);
}
