/* Rows G1 to G3: unequal numbers of local updates, 1, 3 and 10 on (x - b)^2 / 2, make simulated
 * jobs come to rest where the theory of src/theory/bias.h says, which is not the optimum.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "tests/unit/sim_fixture.h"
#include "theory/bias.h"

#define WORKERS 3
#define ROUNDS 400
#define RATE 0.1

static const double optima[WORKERS] = {0, 1, 4}, steps[WORKERS] = {1, 3, 10};

/* While rank 2 finishes 10 local updates, the others finish 3 and 1: ms each. */
static const double takes[WORKERS] = {7e6, 3e6, 1e6};

static void nothing(void *arg, uint32_t rank)
{
    (void)arg, (void)rank;
}

static void begin(void *arg, uint32_t rank, const float *x, uint64_t due)
{
    (void)arg, (void)rank, (void)x, (void)due;
}

static float step(void *arg, uint32_t rank, float *x)
{
    (void)arg;
    *x = (float)((double)*x - RATE * ((double)*x - optima[rank]));
    return 0;
}

/* Where STSyn with K = 1 and U = 10 comes to rest. */
static double rest(enum kofn_publish publish, enum kofn_weights weights)
{
    const struct kofn_sim_work work = {
        .parameters = 1, .fresh = nothing, .begin = begin, .step = step, .drop = nothing};
    const float first = 0;
    struct kofn_delay delay = {0};
    struct kofn_sim_attr attr;
    struct kofn_round_report report;
    struct kofn_sim *sim;
    double model;

    CU_ASSERT_EQUAL_FATAL(kofn_delay_use_samples(&delay, WORKERS, 1, takes, NULL), 0);
    attr = sim_attr("stsyn", WORKERS, 1, 10, &delay);
    attr.round.publish = publish;
    attr.round.weights = weights;
    attr.work = &work;
    attr.model = &first;
    sim = sim_open(&attr);
    for (int i = 0; i < ROUNDS; i++) {
        sim_next(sim, &report);
        CU_ASSERT_EQUAL(report.updates, 1 + 3 + 10);
    }
    model = (double)*kofn_sim_model(sim);
    kofn_sim_close(sim);
    kofn_delay_close(&delay);
    return model;
}

static void test_rest(void)
{
    double pull[WORKERS], nova[WORKERS], uniform, fednova;

    for (int i = 0; i < WORKERS; i++) {
        pull[i] = kofn_bias_pull(RATE, steps[i]);
        nova[i] = pull[i] / steps[i];
    }
    uniform = kofn_bias_fixed_point(pull, optima, WORKERS);
    fednova = kofn_bias_fixed_point(nova, optima, WORKERS);
    CU_ASSERT_DOUBLE_EQUAL(uniform, 2.81348, 1e-5);
    CU_ASSERT_DOUBLE_EQUAL(fednova, 1.37342, 1e-5);
    for (int publish = KOFN_PUBLISH_EAGER; publish <= KOFN_PUBLISH_PULL; publish++) {
        CU_ASSERT_DOUBLE_EQUAL(rest((enum kofn_publish)publish, KOFN_WEIGHTS_UNIFORM), uniform,
                               1e-5);
        CU_ASSERT_DOUBLE_EQUAL(rest((enum kofn_publish)publish, KOFN_WEIGHTS_FEDNOVA), fednova,
                               1e-5);
    }
}

void kofn_suite_bias(void)
{
    CU_pSuite suite = CU_add_suite("bias", NULL, NULL);

    CU_add_test(suite, "where unequal workers come to rest: G1 to G3", test_rest);
}
