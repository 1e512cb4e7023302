/* What the papers compare with: how K and U follow the training, what FedBuff and elastic averaging
 * merge; and the outer momentum of DiLoCo.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "algorithms/schedules.h"
#include "math/distance.h"
#include "tests/unit/engine.h"
#include "tests/unit/sim_fixture.h"

/* U = ceil(sqrt(F / F0) U0), never more than before, never 0; without a loss it stays. */
static void test_adacomm(void)
{
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 10, 2.3, 2.3), 10);
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 10, 2.3, 1), 7); /* 6.59 */
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 5, 2.3, 1), 5);
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 10, 2.3, 0.1), 3); /* 2.09 */
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 10, 2.3, 9), 10);
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 10, 2.3, 0), 1);
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 8, NAN, 1), 8);
    CU_ASSERT_EQUAL(kofn_adacomm_steps(10, 8, 2, INFINITY), 8);
}

/* K doubles, up to N, after a move that is no larger than the threshold. */
static void test_flanp(void)
{
    CU_ASSERT_EQUAL(kofn_flanp_wait_for(20, 5, 0.21, 0.2), 5);
    CU_ASSERT_EQUAL(kofn_flanp_wait_for(20, 5, 0.2, 0.2), 10);
    CU_ASSERT_EQUAL(kofn_flanp_wait_for(20, 10, 0, 0.2), 20);
    CU_ASSERT_EQUAL(kofn_flanp_wait_for(20, 15, 0, 0.2), 20);
    CU_ASSERT_EQUAL(kofn_flanp_wait_for(20, 20, 0, 0.2), 20);
    CU_ASSERT_EQUAL(kofn_flanp_wait_for(3, 1, 0, 0.2), 2);
    CU_ASSERT_EQUAL(kofn_flanp_wait_for(20, 5, NAN, 0.2), 5);
}

static void test_distance(void)
{
    float a[19], b[19];

    for (int i = 0; i < 19; i++) {
        a[i] = (float)(i + 1);
        b[i] = i % 2 ? 0 : a[i];
    }
    CU_ASSERT_EQUAL(kofn_distance_squared(a, a, 19), 0);
    CU_ASSERT_EQUAL(kofn_distance_squared(a, b, 19), 4 * 285); /* 2^2 + 4^2 + ... + 18^2 */
    CU_ASSERT_EQUAL(kofn_distance_squared(a, b, 0), 0);
    b[18] = NAN;
    CU_ASSERT(isnan(kofn_distance_squared(a, b, 19)));
}

/* ---- under the virtual clock ---- */

/* One parameter; each local update adds 1 (or, of worker r, 1 + r), and says the loss. */
struct counting {
    float loss, shrink; /* the loss of the next update is shrunk */
    bool by_rank;
};

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
    struct counting *work = arg;
    float loss = work->loss;

    *x += work->by_rank ? 1 + (float)rank : 1;
    work->loss *= work->shrink;
    return loss;
}

static struct kofn_sim_work work_of(struct counting *work)
{
    return (struct kofn_sim_work){.parameters = 1,
                                  .fresh = nothing,
                                  .begin = begin,
                                  .step = step,
                                  .drop = nothing,
                                  .arg = work};
}

static const float zero;

static struct kofn_sim_attr attr_of(const char *algorithm, uint32_t workers, uint32_t wait_for,
                                    uint32_t local_steps, const struct kofn_delay *delay,
                                    const struct kofn_sim_work *work)
{
    struct kofn_sim_attr attr = sim_attr(algorithm, workers, wait_for, local_steps, delay);

    attr.work = work;
    attr.model = &zero;
    return attr;
}

/* A round lasts as long as its U, which falls with the loss and never grows. */
static void test_adacomm_rounds(void)
{
    struct counting counting = {.loss = 2, .shrink = 0.999f};
    const struct kofn_sim_work work = work_of(&counting);
    struct kofn_round_report report;
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;
    uint64_t before = 16, first = 0;

    sim_delay("uniform:1ms,1ms", &delay);
    attr = attr_of("adacomm", 4, 4, 16, &delay, &work);
    sim = sim_open(&attr);
    for (int i = 0; i < 200; i++) {
        uint64_t steps;

        if (i == 100)
            counting.shrink = 1.01f; /* it gets worse again: U stays */
        sim_next(sim, &report);
        steps = (report.published_ns - report.opened_ns) / KOFN_NS_PER_MS;
        CU_ASSERT_EQUAL(report.updates, 4 * steps);
        CU_ASSERT(steps <= before);
        first = first ? first : steps;
        before = steps;
    }
    CU_ASSERT_EQUAL(first, 16);
    CU_ASSERT(before >= 1 && before <= 4);
    kofn_sim_close(sim);
}

/* What was finished and cancelled with its round is refused: nothing is lost, and once the job has
 * ended nothing is left.
 */
static void check_cancelled(struct kofn_sim *sim, uint32_t workers)
{
    struct kofn_member_report reports[8];
    uint64_t finished = 0, merged = 0, refused = 0;

    CU_ASSERT_FATAL(workers <= KOFN_ARRAY_SIZE(reports));
    kofn_sim_stop(sim);
    kofn_sim_members(sim, reports);
    for (uint32_t rank = 0; rank < workers; rank++) {
        CU_ASSERT_EQUAL(reports[rank].lost, 0);
        CU_ASSERT_EQUAL(reports[rank].late, 0);
        finished += reports[rank].finished;
        merged += reports[rank].merged;
        refused += reports[rank].refused;
    }
    CU_ASSERT(refused > merged);
    CU_ASSERT_EQUAL(finished, merged + refused);
}

/* The difference of the first K is U; as long as that is more than the threshold K stays. Others
 * are cancelled, and their time is lost.
 */
static void test_flanp_rounds(void)
{
    struct counting counting = {.loss = 1, .shrink = 1};
    const struct kofn_sim_work work = work_of(&counting);
    struct kofn_round_report report;
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;

    sim_delay("exp:1ms", &delay);
    attr = attr_of("flanp", 5, 1, 3, &delay, &work);
    attr.round.small_move = 2.999;
    sim = sim_open(&attr);
    for (int i = 0; i < 20; i++) {
        sim_next(sim, &report);
        CU_ASSERT_EQUAL(report.merged, 1);
        CU_ASSERT_EQUAL(report.late, 0);
        CU_ASSERT_EQUAL(*kofn_sim_model(sim), (float)(3 * (i + 1)));
    }
    check_cancelled(sim, 5);
    kofn_sim_close(sim);
    attr.round.small_move = 3;
    sim = sim_open(&attr);
    for (uint32_t i = 0; i < 20; i++) {
        sim_next(sim, &report);
        CU_ASSERT_EQUAL(report.merged, i < 2 ? 1u << i : i == 2 ? 4 : 5);
    }
    kofn_sim_close(sim);
}

/* As K-batch-async with U updates each: a round takes K U E[X] / N, and mean staleness is
 * (N - 1) / K, whatever the delay; each weighs 1 / K / sqrt(1 + s).
 */
static void test_fedbuff(void)
{
    struct counting counting = {.loss = 1, .shrink = 1};
    const struct kofn_sim_work work = work_of(&counting);
    static const char *const delays[] = {"exp:1", "shifted-exp:0.5,0.5"};
    struct kofn_round_report report;
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct sim_means means;
    struct kofn_sim *sim;
    float model = 0;

    for (int i = 0; i < 2; i++) {
        sim_delay(delays[i], &delay);
        attr = sim_attr("fedbuff", 8, 4, 3, &delay);
        means = sim_run_batches(&attr, 1000, 20000, 200);
        CU_ASSERT(sim_mean_near(&means.time, 1.5, "fedbuff"));
        CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&means.staleness), 1.75, 2e-3);
        CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&means.publications), 4, 1e-9);
    }
    sim_delay("exp:1", &delay);
    attr = attr_of("fedbuff", 4, 1, 3, &delay, &work); /* K = 1: the weight is that of one */
    attr.round.staleness_weight = kofn_algorithm_find("fedbuff")->staleness_weight;
    sim = sim_open(&attr);
    for (int i = 0; i < 200; i++) {
        sim_next(sim, &report);
        CU_ASSERT_DOUBLE_EQUAL(*kofn_sim_model(sim) - model, 3 / sqrt(1 + report.staleness), 1e-4);
        model = *kofn_sim_model(sim);
    }
    kofn_sim_close(sim);
}

/* Elastic averaging as printed: x = x - alpha (x - z) and z = z + alpha sum(x - z), of what was
 * before. In the long run every worker pulls as much as it grows.
 */
static void test_easgd(void)
{
    struct counting counting = {.loss = 1, .shrink = 1, .by_rank = true};
    const struct kofn_sim_work work = work_of(&counting);
    const double alpha = 0.2;
    double x[4] = {0}, z = 0;
    struct kofn_round_report report;
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;

    sim_delay("exp:1ms", &delay);
    attr = attr_of("easgd", 4, 4, 3, &delay, &work);
    attr.rules.alpha = alpha;
    sim = sim_open(&attr);
    for (int i = 0; i < 50; i++) {
        double sum = 0;

        for (int rank = 0; rank < 4; rank++) {
            double apart = x[rank] + 3 * (1 + rank) - z;

            sum += apart;
            x[rank] = z + (1 - alpha) * apart;
        }
        z += alpha * sum;
        sim_next(sim, &report);
        CU_ASSERT_DOUBLE_EQUAL(*kofn_sim_model(sim), z, 1e-5 * z);
    }
    kofn_sim_close(sim);
}

/* ---- the outer step ---- */

/* The mean of a round is d; v = m v + d, z = z + eta (d + m v): simulated and real. */
static void test_outer(void)
{
    struct counting counting = {.loss = 1, .shrink = 1};
    const struct kofn_sim_work work = work_of(&counting);
    struct kofn_server_attr server = engine_attr("local", 2, 2, 2);
    struct kofn_round_report report;
    static struct engine engine;
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct kofn_sim *sim;
    double v = 0, z = 0;

    sim_delay("exp:1ms", &delay);
    attr = attr_of("local", 2, 2, 2, &delay, &work);
    attr.rules = (struct kofn_rules){.outer_lr = 0.7, .outer_momentum = 0.9};
    server.outer_lr = 0.7;
    server.outer_momentum = 0.9;
    sim = sim_open(&attr);
    engine_open(&engine, &server);
    for (int i = 0; i < 20; i++) {
        v = 0.9 * v + 2;
        z += 0.7 * (2 + 0.9 * v);
        sim_next(sim, &report);
        CU_ASSERT_DOUBLE_EQUAL(*kofn_sim_model(sim), z, 1e-6 * z);
        CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
        for (uint32_t rank = 0; rank < 2; rank++) {
            struct engine_worker *worker = &engine.workers[rank];

            for (int update = 0; update < 2; update++) {
                *worker->model += 1;
                kofn_worker_report(worker->handle, worker->model, NULL);
            }
        }
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        CU_ASSERT_DOUBLE_EQUAL(*kofn_server_model(engine.server), z, 1e-6 * z);
    }
    kofn_sim_close(sim);
    engine_close(&engine);
}

void kofn_suite_baselines(void)
{
    CU_pSuite suite = CU_add_suite("baselines", NULL, NULL);

    CU_add_test(suite, "U of adacomm", test_adacomm);
    CU_add_test(suite, "K of flanp", test_flanp);
    CU_add_test(suite, "distances of models", test_distance);
    CU_add_test(suite, "rounds of adacomm", test_adacomm_rounds);
    CU_add_test(suite, "rounds of flanp", test_flanp_rounds);
    CU_add_test(suite, "fedbuff", test_fedbuff);
    CU_add_test(suite, "easgd", test_easgd);
    CU_add_test(suite, "outer momentum", test_outer);
}
