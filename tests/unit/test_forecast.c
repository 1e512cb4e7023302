/* Plans: what theory says of a job is what the closed forms say (1e-4), and what the simulation of
 * the same job says (4 standard errors). Rows of the order statistics and of STSyn.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "algorithms/graph.h"
#include "base/clock.h"
#include "cli/forecast.h"
#include "theory/bias.h"
#include "theory/special.h"

struct row {
    const char *algorithm, *delay;
    uint32_t workers, wait_for, local_steps;
    double time, updates, uploads; /* 0: not asked */
    uint64_t latency;
    double staleness;
};

struct job {
    struct kofn_conf conf;
    struct kofn_terms terms;
    struct kofn_delay delay;
    struct kofn_case job;
};

static void open_job(const struct row *row, struct job *job)
{
    memset(job, 0, sizeof(*job));
    job->conf = (struct kofn_conf){.delay = row->delay,
                                   .latency = row->latency,
                                   .quorum = 1,
                                   .seed = 3,
                                   .lr = 0.1,
                                   .grace = KOFN_NS_PER_S};
    job->terms.suspect_after = KOFN_FOREVER;
    CU_ASSERT_EQUAL_FATAL(kofn_delay_open(row->delay, NULL, &job->delay), 0);
    job->job = (struct kofn_case){.algorithm = kofn_algorithm_find(row->algorithm),
                                  .workers = row->workers,
                                  .wait_for = row->wait_for,
                                  .local_steps = row->local_steps,
                                  .conf = &job->conf,
                                  .terms = &job->terms,
                                  .delay = &job->delay,
                                  .payload_bytes = 100};
}

static const struct row rows[] = {
    {"sync", "exp:1", 8, 8, 1, 2.71786, 1, 8, 0, 0},
    {"local", "exp:1", 16, 16, 2, 5.1742, 2, 16, 0, 0},
    {"ksync", "exp:1", 8, 4, 1, 0.634524, 0.5, 4, 0, 0},
    {"ksync", "exp:100us", 20, 5, 1, 2.79511e-05, 0.25, 5, 0, 0},
    {"ksync", "exp:1", 3, 2, 1, 0.833333, 2.0 / 3, 2, 0, 0},
    {"ksync", "shifted-exp:1,1", 8, 4, 1, 1.63452, 0.5, 4, 0, 0},
    {"ksync", "pareto:2,1", 8, 4, 1, 1.39239, 0.5, 4, 0, 0},
    {"kbatch-sync", "exp:1", 8, 4, 1, 0.5, 0.5, 3.310547, 0, 0},
    {"kbatch-sync", "shifted-exp:1,1", 8, 4, 1, 1.63123, 0.5, 0, 0, 0},
    {"kasync", "exp:1", 8, 1, 1, 0.125, 0.125, 1, 0, 7},
    {"kasync", "exp:1", 8, 4, 1, 0.634524, 0.5, 4, 0, 1},
    {"kasync", "exp:1", 8, 8, 1, 2.71786, 1, 8, 0, 0},
    {"kasync", "shifted-exp:1,1", 8, 1, 1, 0.25, 0.125, 1, 0, 7},
    {"kbatch-async", "exp:1", 8, 1, 1, 0.125, 0.125, 1, 0, 7},
    {"kbatch-async", "exp:1", 8, 4, 1, 0.5, 0.5, 3.310547, 0, 1.75},
    {"kbatch-async", "shifted-exp:1,1", 8, 1, 1, 0.25, 0.125, 1, 0, 7},
    {"kbatch-async", "shifted-exp:1,1", 8, 4, 1, 1, 0.5, 0, 0, 1.75},
    {"stsyn", "exp:1", 4, 3, 3, 3.30808, 3.30808, 3.87867, 0, 0},
    {"stsyn", "exp:1", 20, 5, 10, 7.56773, 7.56773, 19.9871, 0, 0},
    {"stsyn", "exp:1", 20, 10, 10, 9.50322, 9.50322, 19.9982, 0, 0},
    {"stsyn", "exp:1", 20, 20, 10, 16.7761, 16.7761, 20, 0, 0},
    {"stsyn", "exp:1", 20, 1, 10, 5.04913, 5.04913, 19.7939, 0, 0},
    {"stsyn", "exp:1", 8, 4, 1, 0.634524, 0.634524, 4, 0, 0},
    {"stsyn", "exp:100us", 20, 5, 1, 2.79511e-05 * 1, 0.279511, 5, 0, 0},
    {"stsyn", "pareto:2,1", 8, 4, 1, 1.39239, 0, 4, 0, 0},
    {"stsyn", "shifted-exp:0.5,1", 4, 3, 3, 4.80808, 3.00099, 3.95537, 0, 0},
    {"stsyn", "shifted-exp:0.25,0.5", 8, 5, 4, 3.01645, 3.7802, 7.96788, 0, 0},
    {"stsyn", "exp:1@round", 20, 5, 10, 2.79511, INFINITY, 18.0417, 0, 0},
    {"adacomm", "exp:1", 16, 16, 2, 5.1742, 2, 16, 0, 0},
    {"fedbuff", "exp:1", 8, 1, 1, 0.125, 0.125, 1, 0, 7},
    {"fedbuff", "shifted-exp:1,1", 8, 4, 3, 3, 1.5, 0, 0, 1.75},
    {"flanp", "exp:1", 8, 4, 1, 0.634524, 0.5, 4, 0, 0},
    {"flanp", "exp:1", 20, 5, 10, 7.56773, 0, 5, 0, 0},
    /* E3, E4: constant updates, and what local SGD takes with random ones; D is twice the latency
     */
    {"overlap", "uniform:1,1", 4, 4, 2, 2, 2, 4, 250 * KOFN_NS_PER_MS, 0},
    {"overlap", "uniform:1,1", 4, 4, 2, 3, 2, 4, 1500 * KOFN_NS_PER_MS, 0},
    {"overlap", "uniform:1,1", 4, 4, 2, 2, 2, 4, 0, 0},
    {"local", "uniform:1,1", 4, 4, 2, 2.5, 2, 4, 250 * KOFN_NS_PER_MS, 0},
    {"local", "uniform:1,1", 4, 4, 2, 5, 2, 4, 1500 * KOFN_NS_PER_MS, 0},
    {"local", "exp:1", 16, 16, 2, 6.1742, 2, 16, 500 * KOFN_NS_PER_MS, 0},
};

static void close_to(double value, double expected, double share)
{
    if (isinf(expected)) {
        CU_ASSERT(isinf(value));
        return;
    }
    CU_ASSERT_DOUBLE_EQUAL(value, expected, share * expected);
    if (fabs(value - expected) > share * expected)
        printf("# %g instead of %g\n", value, expected);
}

/* Every row of the table, to 1e-4; and not by simulation, but where theory says nothing. */
static void test_rows(void)
{
    struct kofn_forecast forecast;
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rows) && kofn_special_available(); i++) {
        open_job(&rows[i], &job);
        CU_ASSERT_EQUAL_FATAL(
            kofn_forecast(&job.job, &(struct kofn_effort){.events = 100000}, NULL, &forecast), 0);
        CU_ASSERT_STRING_NOT_EQUAL(forecast.method[KOFN_ROUND_TIME], "simulation");
        close_to(forecast.value[KOFN_ROUND_TIME], rows[i].time, 1e-4);
        if (rows[i].uploads > 0)
            close_to(forecast.value[KOFN_UPLOADS], rows[i].uploads, 1e-4);
        if (rows[i].updates > 0)
            close_to(forecast.value[KOFN_UPDATES], rows[i].updates, 1e-4);
        close_to(forecast.value[KOFN_STALENESS], rows[i].staleness, 1e-4);
        kofn_delay_close(&job.delay);
    }
}

/* Where both know something, they agree: every quantity, within four standard errors. */
static void test_both_ways(void)
{
    struct kofn_forecast theory, simulated;
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rows); i++)
        for (int publish = KOFN_PUBLISH_EAGER; publish <= KOFN_PUBLISH_ON_CLOSE; publish++) {
            if (publish != KOFN_PUBLISH_EAGER && kofn_algorithm_find(rows[i].algorithm)->eager)
                continue;
            open_job(&rows[i], &job);
            job.job.publish = (enum kofn_publish)publish;
            memset(&theory, 0, sizeof(theory));
            kofn_forecast_theory(&job.job, &theory);
            if (isinf(theory.value[KOFN_UPDATES])) {
                kofn_delay_close(&job.delay);
                continue; /* a simulation takes as long as that */
            }
            CU_ASSERT_EQUAL_FATAL(kofn_forecast_simulated(&job.job,
                                                          &(struct kofn_effort){.events = 300000},
                                                          NULL, &simulated),
                                  0);
            for (int q = 0; q < KOFN_QUANTITIES; q++) {
                double apart = fabs(theory.value[q] - simulated.value[q]);

                if (!theory.method[q])
                    continue;
                CU_ASSERT(apart <= 4 * simulated.error[q] + 1e-6 * fabs(theory.value[q]) + 1e-9);
                if (apart > 4 * simulated.error[q] + 1e-6 * fabs(theory.value[q]) + 1e-9)
                    printf("# %s %s: %s is %g by theory, %g +- %g by simulation\n",
                           rows[i].algorithm, rows[i].delay,
                           kofn_quantity_key((enum kofn_quantity)q), theory.value[q],
                           simulated.value[q], simulated.error[q]);
            }
            kofn_delay_close(&job.delay);
        }
}

/* What a ring adds to the slowest update is known, latency and links, and simulated alike, unless
 * messages are lost: then theory says nothing, and a round takes longer.
 */
static void test_ring(void)
{
    const struct row row = {"sync", "exp:1", 8, 8, 1, 0, 0, 0, 100 * KOFN_NS_PER_MS, 0};
    const double slowest = 761.0 / 280, adds = 14 * (0.1 + 100.0 / 8 / 1000);
    struct kofn_forecast theory, simulated, lossy;
    struct job job;

    open_job(&row, &job);
    job.conf.collective = KOFN_COLLECTIVE_RING;
    job.conf.bandwidth = 1000;
    memset(&theory, 0, sizeof(theory));
    kofn_forecast_theory(&job.job, &theory);
    close_to(theory.value[KOFN_ROUND_TIME], slowest + adds, 1e-9);
    close_to(theory.value[KOFN_BYTES], 2 * 7 * 100, 1e-9);
    CU_ASSERT_EQUAL_FATAL(kofn_forecast_simulated(&job.job, &(struct kofn_effort){.events = 300000},
                                                  NULL, &simulated),
                          0);
    for (int q = 0; q < KOFN_QUANTITIES; q++)
        if (theory.method[q])
            CU_ASSERT_DOUBLE_EQUAL(theory.value[q], simulated.value[q],
                                   4 * simulated.error[q] + 1e-6 * theory.value[q] + 1e-9);
    job.conf.loss = 0.3;
    memset(&theory, 0, sizeof(theory));
    kofn_forecast_theory(&job.job, &theory);
    CU_ASSERT_PTR_NULL(theory.method[KOFN_ROUND_TIME]);
    CU_ASSERT_EQUAL_FATAL(
        kofn_forecast_simulated(&job.job, &(struct kofn_effort){.events = 300000}, NULL, &lossy),
        0);
    CU_ASSERT(lossy.value[KOFN_ROUND_TIME] > simulated.value[KOFN_ROUND_TIME] + 14 * 0.3 * 0.2);
    kofn_delay_close(&job.delay);
}

/* What is lost between peers has not arrived: theory and simulation count alike. */
static void test_lost_between_peers(void)
{
    const struct row row = {"rfast", "exp:1", 4, 4, 1, 0, 0, 0, 0, 0};
    struct kofn_forecast theory = {0}, simulated;
    struct job job;

    open_job(&row, &job);
    job.conf.topology = "tree";
    job.conf.root = KOFN_ROOT_ANY;
    job.conf.loss = 0.3;
    kofn_forecast_theory(&job.job, &theory);
    close_to(theory.value[KOFN_PUBLICATIONS], 6 * 0.7, 1e-9);
    close_to(theory.value[KOFN_BYTES], 6 * 0.7 * 100, 1e-9);
    CU_ASSERT_EQUAL_FATAL(kofn_forecast_simulated(&job.job, &(struct kofn_effort){.events = 300000},
                                                  NULL, &simulated),
                          0);
    for (int q = KOFN_PUBLICATIONS; q <= KOFN_BYTES; q++)
        CU_ASSERT_DOUBLE_EQUAL(theory.value[q], simulated.value[q], 4 * simulated.error[q]);
    kofn_delay_close(&job.delay);
}

/* Round times without a mean are known for all algorithms, whatever else theory knows of them, and
 * with a network and a straggler, too; those with one are not called infinite.
 */
static void test_infinite(void)
{
    static const struct row without[] = {
        {"sync", "pareto:1,1ms", 8, 8, 1, 0, 0, 0, 0, 0},
        {"adacomm", "pareto:0.9,1ms", 4, 4, 2, 0, 0, 0, 0, 0},
        {"kasync", "pareto:0.9,1ms", 8, 4, 1, 0, 0, 0, 0, 0},
        {"fedbuff", "pareto:1,1ms", 4, 2, 1, 0, 0, 0, 0, 0},
        {"overlap", "pareto:0.9,1ms", 4, 4, 2, 0, 0, 0, 0, 0},
        {"dpsgd", "pareto:0.9,1ms", 4, 4, 1, 0, 0, 0, 0, 0},
        {"kbatch-sync", "pareto:0.5,1ms", 2, 2, 1, 0, 0, 0, 0, 0},
        {"flanp", "pareto:0.5,1ms@round", 4, 3, 2, 0, 0, 0, 0, 0},
        {"stsyn", "pareto:0.5,1ms", 4, 3, 2, 0, 0, 0, KOFN_NS_PER_MS, 0},
    };
    static const struct row with[] = {
        {"kbatch-sync", "pareto:0.51,1ms", 2, 1, 1, 0, 0, 0, 0, 0},
        {"flanp", "pareto:0.9,1ms", 4, 3, 2, 0, 0, 0, 0, 0},
        {"stsyn", "pareto:0.9,1ms", 4, 3, 2, 0, 0, 0, KOFN_NS_PER_MS, 0},
        {"kasync", "pareto:1.1,1ms", 4, 2, 1, 0, 0, 0, 0, 0},
    };
    struct kofn_straggler slow = {.rank = 1, .factor = 3, .to_ns = KOFN_FOREVER};
    struct kofn_forecast forecast;
    struct job job;

    for (size_t i = 0; i < 2 * KOFN_ARRAY_SIZE(without); i++) {
        open_job(&without[i / 2], &job);
        job.terms.stragglers = &slow;
        job.terms.straggler_count = i % 2;
        CU_ASSERT_EQUAL(
            kofn_forecast(&job.job, &(struct kofn_effort){.events = 1000}, NULL, &forecast), 0);
        CU_ASSERT(isinf(forecast.value[KOFN_ROUND_TIME]));
        kofn_delay_close(&job.delay);
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(with); i++) {
        open_job(&with[i], &job);
        CU_ASSERT_EQUAL(
            kofn_forecast(&job.job, &(struct kofn_effort){.events = 1000}, NULL, &forecast), 0);
        CU_ASSERT(isfinite(forecast.value[KOFN_ROUND_TIME]));
        kofn_delay_close(&job.delay);
    }
}

/* A straggler merges less than the others: its bias is what is missing. With FedNova's weights the
 * number of its updates does not matter.
 */
static void test_bias_of_straggler(void)
{
    const struct row row = {"stsyn", "exp:1ms", 4, 2, 5, 0, 0, 0, 0, 0};
    struct kofn_straggler slow = {.rank = 3, .factor = 3, .to_ns = KOFN_FOREVER};
    struct kofn_forecast forecast;
    struct job job;

    open_job(&row, &job);
    job.terms.stragglers = &slow;
    job.terms.straggler_count = 1;
    CU_ASSERT_EQUAL_FATAL(
        kofn_forecast(&job.job, &(struct kofn_effort){.events = 200000}, NULL, &forecast), 0);
    CU_ASSERT_DOUBLE_EQUAL(forecast.bias, 0.25 - 1.0 / 10, 0.01);
    CU_ASSERT_DOUBLE_EQUAL(forecast.merged_per_second, 3333, 40);
    job.conf.weights = KOFN_WEIGHTS_FEDNOVA;
    CU_ASSERT_EQUAL_FATAL(
        kofn_forecast(&job.job, &(struct kofn_effort){.events = 200000}, NULL, &forecast), 0);
    CU_ASSERT(forecast.bias < 0.07);
    kofn_delay_close(&job.delay);
}

/* Rows G1 and G2: where averaging goes with 1, 3 and 10 local updates. */
static void test_fixed_points(void)
{
    const double optima[] = {0, 1, 4}, steps[] = {1, 3, 10};
    double pull[3], nova[3];

    for (int i = 0; i < 3; i++) {
        pull[i] = kofn_bias_pull(0.1, steps[i]);
        nova[i] = pull[i] / steps[i];
    }
    CU_ASSERT_DOUBLE_EQUAL(kofn_bias_fixed_point(pull, optima, 3), 2.81348, 1e-5);
    CU_ASSERT_DOUBLE_EQUAL(kofn_bias_fixed_point(nova, optima, 3), 1.37342, 1e-5);
    for (int i = 0; i < 3; i++)
        nova[i] = kofn_bias_pull(1e-9, steps[i]) / steps[i];
    CU_ASSERT_DOUBLE_EQUAL(kofn_bias_fixed_point(nova, optima, 3), 5.0 / 3, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(kofn_bias(nova, 3), 0, 1e-6);
    pull[0] = 1;
    pull[1] = pull[2] = 0;
    CU_ASSERT_DOUBLE_EQUAL(kofn_bias(pull, 3), 2.0 / 3, 1e-12);
    pull[0] = 0;
    CU_ASSERT(isnan(kofn_bias(pull, 3)));
}

/* Times that are drawn once a round and can be as short as can be: the mean number of updates is
 * infinite, be there a straggler or a network, which keeps the publications finite.
 */
static void test_endless_updates(void)
{
    static const struct row jobs[] = {
        {"stsyn", "exp:1ms@round", 4, 2, 5, 0, 0, 0, 0, 0},
        {"stsyn", "exp:1ms@round", 4, 2, 5, 0, 0, 0, KOFN_NS_PER_MS, 0},
        {"stsyn", "uniform:1ms,2ms@round", 4, 2, 5, 0, 0, 0, KOFN_NS_PER_MS, 0},
    };
    struct kofn_straggler slow = {.rank = 1, .factor = 3, .to_ns = KOFN_FOREVER};
    struct kofn_forecast forecast;
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(jobs); i++) {
        open_job(&jobs[i], &job);
        job.terms.stragglers = &slow;
        job.terms.straggler_count = 1;
        CU_ASSERT_EQUAL(
            kofn_forecast(&job.job, &(struct kofn_effort){.events = 1000}, NULL, &forecast), 0);
        CU_ASSERT_EQUAL(!!isinf(forecast.value[KOFN_UPDATES]), i < 2);
        CU_ASSERT_EQUAL(!!isinf(forecast.merged_per_second), i < 2);
        CU_ASSERT_EQUAL(!!isinf(forecast.value[KOFN_PUBLICATIONS]), i < 1);
        CU_ASSERT_EQUAL(!!isinf(forecast.value[KOFN_BYTES]), i < 1);
        CU_ASSERT(isfinite(forecast.value[KOFN_ROUND_TIME]));
        kofn_delay_close(&job.delay);
    }
}

void kofn_suite_forecast(void)
{
    CU_pSuite suite = CU_add_suite("forecast", NULL, NULL);

    CU_add_test(suite, "theory's rows", test_rows);
    CU_add_test(suite, "theory and simulation agree", test_both_ways);
    CU_add_test(suite, "a ring", test_ring);
    CU_add_test(suite, "what is lost between peers", test_lost_between_peers);
    CU_add_test(suite, "round times without a mean", test_infinite);
    CU_add_test(suite, "endless updates", test_endless_updates);
    CU_add_test(suite, "the bias of a straggler", test_bias_of_straggler);
    CU_add_test(suite, "fixed points of averaging", test_fixed_points);
}
