/* Simulated rounds have the means that theory gives them, messages cost what they are said to cost,
 * and nothing is lost on the way. The rows D1 to D8 are those of the STSyn model: M workers that
 * wait for the K-th to finish U updates.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <string.h>

#include "tests/unit/sim_fixture.h"

struct row {
    const char *delay;
    uint32_t workers, wait_for, local_steps, rounds;
    double time, updates, uploads; /* 0: not asked */
};

static void check_row(const struct row *row, const char *algorithm, enum kofn_publish publish)
{
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct sim_means means;

    sim_delay(row->delay, &delay);
    attr = sim_attr(algorithm, row->workers, row->wait_for, row->local_steps, &delay);
    attr.round.publish = publish;
    means = sim_run(&attr, 0, row->rounds);
    CU_ASSERT(sim_mean_near(&means.time, row->time, row->delay));
    CU_ASSERT(row->updates == 0 || sim_mean_near(&means.updates, row->updates, row->delay));
    CU_ASSERT(row->uploads == 0 || sim_mean_near(&means.uploads, row->uploads, row->delay));
}

static const struct row stsyn_rows[] = {
    {"exp:1", 4, 3, 3, 20000, 3.30808, 3.30808, 3.87867},
    {"exp:1", 20, 5, 10, 5000, 7.56773, 7.56773, 19.9871},
    {"exp:1", 20, 10, 10, 5000, 9.50322, 9.50322, 19.9982},
    {"exp:1", 20, 20, 10, 5000, 16.7761, 16.7761, 20},
    {"exp:1", 20, 1, 10, 5000, 5.04913, 5.04913, 19.7939},
    {"exp:1", 8, 4, 1, 20000, 0.634524, 0.634524, 4},
    {"shifted-exp:0.5,1", 4, 3, 3, 20000, 4.80808, 3.00099, 3.95537},
    {"shifted-exp:0.25,0.5", 8, 5, 4, 10000, 3.01645, 3.7802, 7.96788},
    {"exp:1@round", 20, 5, 10, 2000, 2.79511, 0, 18.0417},
};

static void test_stsyn_eager(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(stsyn_rows); i++)
        check_row(&stsyn_rows[i], "stsyn", KOFN_PUBLISH_EAGER);
}

/* Where messages cost nothing it makes no difference when updates are sent. */
static void test_stsyn_on_close(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(stsyn_rows); i++)
        check_row(&stsyn_rows[i], "stsyn", KOFN_PUBLISH_ON_CLOSE);
}

/* What the authors' code does beyond the paper. Row D9: with one draw a worker and round, which
 * makes the mean of the updates infinite, and a cap of 1.5 U they are 5.48 a worker; rounds take as
 * long as without. Whoever has done most is left out, and nothing of it is lost silently: all but
 * one are merged, and its updates are refused.
 */
static void test_stsyn_of_its_authors(void)
{
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct sim_means means, fewer;

    sim_delay("exp:1@round", &delay);
    attr = sim_attr("stsyn", 20, 5, 10, &delay);
    attr.most_steps = 15;
    means = sim_run(&attr, 0, 2000);
    CU_ASSERT(sim_mean_near(&means.time, 2.79511, "time"));
    CU_ASSERT(sim_mean_near(&means.updates, 5.48231, "updates"));
    CU_ASSERT(sim_mean_near(&means.uploads, 18.0417, "uploads"));
    attr.leave_out_most = true;
    fewer = sim_run(&attr, 0, 2000);
    CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&fewer.uploads), sim_mean_value(&means.uploads) - 1,
                           1e-9);
    CU_ASSERT(sim_mean_value(&fewer.updates) < sim_mean_value(&means.updates) - 14.0 / 20);
    CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&fewer.time), sim_mean_value(&means.time), 1e-9);
}

/* The slowest of eight: H_8 for one update (row A1); for local SGD that of their U-th updates. */
static void test_all(void)
{
    const struct row sync = {"exp:1", 8, 8, 1, 20000, 2.71786, 1, 8};
    const struct row local = {"exp:1", 16, 16, 2, 10000, 5.1742, 2, 16};

    check_row(&sync, "sync", KOFN_PUBLISH_EAGER);
    check_row(&local, "local", KOFN_PUBLISH_EAGER);
    check_row(&local, "local", KOFN_PUBLISH_ON_CLOSE);
}

/* Nobody idles in STSyn; in local SGD whoever is done does: 1 - E[sum]/E[max]. */
static void test_idle(void)
{
    struct kofn_delay delay;
    struct kofn_member_report members[16];
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;
    double idle = 0;

    sim_delay("exp:1", &delay);
    for (int local = 0; local < 2; local++) {
        attr = sim_attr(local ? "local" : "stsyn", 16, local ? 16 : 5, 2, &delay);
        sim = sim_open(&attr);
        for (int i = 0; i < 5000; i++)
            sim_next(sim, &report);
        idle = 0;
        kofn_sim_members(sim, members);
        for (uint32_t rank = 0; rank < 16; rank++)
            idle += members[rank].idle_fraction / 16;
        CU_ASSERT_DOUBLE_EQUAL(idle, local ? 1 - 2 / 5.1742 : 0, local ? 0.01 : 1e-12);
        kofn_sim_close(sim);
    }
}

/* What a local update takes is found though the close of a round cuts off long ones more often than
 * short ones: the mean of those that were finished is too small.
 */
static void test_pace_with_updates_cut_off(void)
{
    struct kofn_delay delay;
    struct kofn_member_report members[16];
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;

    sim_delay("exp:1", &delay);
    attr = sim_attr("stsyn", 16, 5, 2, &delay);
    sim = sim_open(&attr);
    for (int i = 0; i < 5000; i++)
        sim_next(sim, &report);
    kofn_sim_members(sim, members);
    for (uint32_t rank = 0; rank < 16; rank++) {
        CU_ASSERT_DOUBLE_EQUAL(members[rank].pace_mean, 1, 0.06);
        CU_ASSERT(members[rank].compute_mean < 0.8);
    }
    kofn_sim_close(sim);
}

/* Constant times: a round takes the update, and what its messages cost, to the nanosecond. */
static void test_message_costs(void)
{
    static const struct {
        struct kofn_sim_net net;
        uint64_t costs;
    } cases[] = {
        {{.latency_ns = 300}, 600},
        {{.byte_ns = 2.5}, 200},        /* 40 bytes, there and back */
        {{.ingest_byte_ns = 10}, 1600}, /* four workers' */
        {{.latency_ns = 7, .byte_ns = 1, .ingest_byte_ns = 1}, 14 + 80 + 160},
    };
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct sim_means means;

    sim_delay("uniform:1ms,1ms", &delay);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        attr = sim_attr("sync", 4, 4, 1, &delay);
        attr.net = cases[i].net;
        means = sim_run(&attr, 1, 5); /* the first model is there when the job begins */
        CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&means.time), 1e-3 + (double)cases[i].costs / 1e9,
                               1e-12);
    }
}

/* Lost messages are sent again: P(lost) = 1/2 costs a round trip on average, each way. */
static void test_loss(void)
{
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct sim_means means;

    sim_delay("uniform:1us,1us", &delay);
    attr = sim_attr("sync", 1, 1, 1, &delay);
    attr.net = (struct kofn_sim_net){.latency_ns = 100000, .loss = 0.5};
    means = sim_run(&attr, 1, 20000);
    CU_ASSERT(sim_mean_near(&means.time, 1e-6 + 2e-4 + 2 * 2e-4, "loss"));
}

/* Over a slow and lossy network every finished update is merged, late, refused or still under way.
 */
static void check_accounts(enum kofn_publish publish, enum kofn_late late, const char *algorithm)
{
    struct kofn_delay delay;
    struct kofn_member_report members[6];
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;
    uint64_t behind = 0, refused = 0;

    sim_delay("exp:1ms", &delay);
    attr = sim_attr(algorithm, 6, strcmp(algorithm, "stsyn") ? 6 : 3, 4, &delay);
    attr.round.publish = publish;
    attr.round.late = late;
    attr.round.grace = 3 * KOFN_NS_PER_MS;
    attr.net = (struct kofn_sim_net){
        .latency_ns = 700000, .byte_ns = 5000, .ingest_byte_ns = 500, .loss = 0.1};
    sim = sim_open(&attr);
    for (int i = 0; i < 500; i++)
        sim_next(sim, &report);
    kofn_sim_members(sim, members);
    for (uint32_t rank = 0; rank < 6; rank++) {
        const struct kofn_member_report *member = &members[rank];
        uint64_t settled = member->merged + member->late + member->refused;

        behind += member->late;
        refused += member->refused;
        CU_ASSERT(settled <= member->finished);
        CU_ASSERT(member->finished - settled <= 40); /* of the last rounds */
        CU_ASSERT_EQUAL(member->lost, 0);
    }
    if (!strcmp(algorithm, "stsyn") && publish == KOFN_PUBLISH_EAGER)
        CU_ASSERT(late == KOFN_LATE_MERGE ? behind > 0 : refused > 0);
    CU_ASSERT(late == KOFN_LATE_MERGE ? refused == 0 : behind == 0);
    kofn_sim_close(sim);
}

static void test_accounts(void)
{
    for (int publish = KOFN_PUBLISH_EAGER; publish <= KOFN_PUBLISH_PULL; publish++)
        for (int late = KOFN_LATE_MERGE; late <= KOFN_LATE_REFUSE; late++) {
            check_accounts((enum kofn_publish)publish, (enum kofn_late)late, "stsyn");
            check_accounts((enum kofn_publish)publish, (enum kofn_late)late, "local");
        }
}

/* A straggler whose updates of 50 ms nothing cuts off: a mean round of 100. */
static double round_beside_long_updates(enum kofn_publish publish, double *lost)
{
    struct kofn_straggler slow = {.rank = 2, .factor = 50, .to_ns = KOFN_FOREVER};
    struct kofn_member_report members[3];
    struct kofn_round_report report;
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;
    double time = 0;

    sim_delay("uniform:1ms,1ms", &delay);
    attr = sim_attr("stsyn", 3, 2, 70, &delay);
    attr.round.publish = publish;
    attr.stragglers = &slow;
    attr.straggler_count = 1;
    attr.compute_share = 1;
    attr.net.latency_ns = 10 * KOFN_NS_PER_US;
    sim = sim_open(&attr);
    for (int i = 0; i < 100; i++) {
        sim_next(sim, &report);
        time += (double)(report.published_ns - report.opened_ns) / 1e9 / 100;
        CU_ASSERT_EQUAL(report.close, KOFN_CLOSE_REACHED);
    }
    kofn_sim_members(sim, members);
    CU_ASSERT(members[2].merged + members[2].late >= 90);
    *lost = (double)(members[2].finished - members[2].merged - members[2].late);
    kofn_sim_close(sim);
    return time;
}

/* What is read when a round closes needs no answer of a worker that is in a long update: a round
 * takes what the K-th takes (who had begun the last round's 71st update before that), and a few
 * messages; what is sent then waits for the update. Nothing of it is lost.
 */
static void test_pull_waits_for_nobody(void)
{
    double lost, read = round_beside_long_updates(KOFN_PUBLISH_PULL, &lost);

    CU_ASSERT(lost <= 2); /* under way */
    CU_ASSERT(read >= 0.07 && read < 0.0715);
    CU_ASSERT(round_beside_long_updates(KOFN_PUBLISH_ON_CLOSE, &lost) > 0.08);
}

/* A deadline closes rounds that wait for a straggler, at the moment it says. */
static void test_deadline(void)
{
    struct kofn_straggler slow = {.rank = 2, .factor = 100, .to_ns = KOFN_FOREVER};
    struct kofn_delay delay;
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;

    sim_delay("uniform:1ms,1ms", &delay);
    attr = sim_attr("stsyn", 3, 3, 2, &delay);
    attr.stragglers = &slow;
    attr.straggler_count = 1;
    attr.round.deadline = 5 * KOFN_NS_PER_MS;
    sim = sim_open(&attr);
    sim_next(sim, &report);
    CU_ASSERT_EQUAL(report.close, KOFN_CLOSE_DEADLINE);
    CU_ASSERT_EQUAL(report.closed_ns - report.opened_ns, attr.round.deadline);
    CU_ASSERT_EQUAL(report.merged, 2);
    CU_ASSERT_EQUAL(report.updates, 10); /* those of the last moment included */
    kofn_sim_close(sim);
}

/* Share of eight workers that come before the adaptive deadline of a round that waits for all. */
static double share_in_time(const char *algorithm)
{
    struct kofn_delay delay;
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;
    double merged = 0;

    sim_delay("exp:1ms", &delay);
    attr = sim_attr(algorithm, 8, 8, 1, &delay);
    attr.round.deadline_adaptive = true;
    sim = sim_open(&attr);
    for (int i = 0; i < 4000; i++) {
        sim_next(sim, &report);
        merged += i < 1000 ? 0 : report.merged;
    }
    kofn_sim_close(sim);
    return merged / (8 * 3000);
}

/* An adaptive deadline lets in as many as its definition says, also where whoever is cut off never
 * arrives: of exponential times median + 3 MAD is ln 2 + 3 arsinh(1/2) means. Were they not among
 * its samples, it would let in 0.72.
 */
static void test_adaptive_deadline(void)
{
    double expected = 1 - exp(-(log(2) + 3 * asinh(0.5)));

    CU_ASSERT_DOUBLE_EQUAL(share_in_time("ksync"), expected, 0.01);
    CU_ASSERT_DOUBLE_EQUAL(share_in_time("stsyn"), expected, 0.01);
    CU_ASSERT_DOUBLE_EQUAL(share_in_time("local"), expected, 0.01);
}

/* Workers that finish at the same moment are all of the round. */
static void test_ties(void)
{
    struct kofn_delay delay;
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;

    sim_delay("uniform:1ms,1ms", &delay);
    attr = sim_attr("stsyn", 7, 3, 2, &delay);
    sim = sim_open(&attr);
    sim_next(sim, &report);
    CU_ASSERT_EQUAL(report.merged, 7);
    CU_ASSERT_EQUAL(report.updates, 14);
    kofn_sim_close(sim);
}

/* The clock stops where it is told to, and the budget of events ends a step, without harm. */
static void test_steps(void)
{
    struct kofn_delay delay;
    struct kofn_round_report report, whole;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;
    uint64_t steps = 0;

    sim_delay("exp:1ms", &delay);
    attr = sim_attr("stsyn", 5, 3, 4, &delay);
    sim = sim_open(&attr);
    CU_ASSERT_EQUAL(kofn_sim_step(sim, 1000, 100, &report), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(kofn_sim_now(sim), 1000);
    while (kofn_sim_step(sim, KOFN_FOREVER, 1, &report) == KOFN_AGAIN)
        steps++;
    CU_ASSERT(steps > 1); /* workers may lag: not every event ends one */
    kofn_sim_close(sim);
    sim = sim_open(&attr);
    sim_next(sim, &whole);
    CU_ASSERT_EQUAL(memcmp(&report, &whole, offsetof(struct kofn_round_report, contributions)), 0);
    CU_ASSERT_EQUAL(report.contributions, whole.contributions);
    kofn_sim_close(sim);
}

void kofn_suite_sim(void)
{
    CU_pSuite suite = CU_add_suite("sim", NULL, NULL);

    CU_add_test(suite, "STSyn, eager: D1 to D8", test_stsyn_eager);
    CU_add_test(suite, "STSyn, on-close: D1 to D8", test_stsyn_on_close);
    CU_add_test(suite, "STSyn of its authors: D9", test_stsyn_of_its_authors);
    CU_add_test(suite, "sync and local wait for the slowest", test_all);
    CU_add_test(suite, "who idles", test_idle);
    CU_add_test(suite, "pace with updates cut off", test_pace_with_updates_cut_off);
    CU_add_test(suite, "messages cost what they are said to cost", test_message_costs);
    CU_add_test(suite, "lost messages cost a round trip", test_loss);
    CU_add_test(suite, "no finished update is lost", test_accounts);
    CU_add_test(suite, "pull waits for nobody", test_pull_waits_for_nobody);
    CU_add_test(suite, "a deadline closes rounds at its moment", test_deadline);
    CU_add_test(suite, "an adaptive deadline does not shrink", test_adaptive_deadline);
    CU_add_test(suite, "ties are all of the round", test_ties);
    CU_add_test(suite, "steps end where they are told to", test_steps);
}
