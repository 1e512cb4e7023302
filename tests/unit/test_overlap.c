/* Overlap Local-SGD: rows E1 to E5 of its theory, and what it promises: the average of a round is
 * used at the end of the next one, all of a round were pulled to the same anchor, and nobody is
 * ahead by more than a round.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>

#include "base/random.h"
#include "math/anchor.h"
#include "tests/unit/engine.h"
#include "tests/unit/sim_fixture.h"

/* ---- the arithmetic ---- */

#define WORKERS 4
#define SIZE 7

static bool merge_all(void *arg, const struct kofn_merge *merge)
{
    (void)arg;
    return kofn_reduce_select()->merge[KOFN_F32](merge, 0, SIZE);
}

static double mean_at(float vectors[WORKERS][SIZE], int i)
{
    double sum = 0;

    for (int worker = 0; worker < WORKERS; worker++)
        sum += (double)vectors[worker][i];
    return sum / WORKERS;
}

/* E1: y = (1 - alpha) mean(x) + alpha z does not move when models and anchor are mixed; E2: a
 * pullback shrinks what a worker deviates from the mean by exactly 1 - alpha.
 */
static void test_invariants(void)
{
    const double alpha = 0.6;
    float x[WORKERS][SIZE], deltas[WORKERS][SIZE], before[WORKERS][SIZE], z[SIZE], next[SIZE];
    const void *updates[WORKERS + 1];
    float weights[WORKERS + 1];
    struct kofn_anchor anchor = {.rate = 1};
    struct kofn_random random;

    kofn_random_seed(&random, 5, 0);
    CU_ASSERT_EQUAL_FATAL(kofn_anchor_open(&anchor, SIZE), 0);
    for (int i = 0; i < WORKERS * SIZE; i++)
        x[i / SIZE][i % SIZE] = (float)kofn_random_uniform(&random);
    memset(z, 0, sizeof(z));
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < WORKERS * SIZE; i++) /* local updates */
            x[i / SIZE][i % SIZE] += (float)kofn_random_uniform(&random) - 0.5f;
        memcpy(before, x, sizeof(before));
        for (int worker = 0; worker < WORKERS; worker++) {
            kofn_anchor_pull(x[worker], deltas[worker], z, alpha, SIZE);
            updates[worker] = deltas[worker];
            weights[worker] = 1.0f / WORKERS;
        }
        CU_ASSERT(kofn_anchor_merge(&anchor, merge_all, NULL, next, z, updates, weights, WORKERS));
        for (int i = 0; i < SIZE; i++) {
            double y = (1 - alpha) * mean_at(before, i) + alpha * (double)z[i];

            CU_ASSERT_DOUBLE_EQUAL((1 - alpha) * mean_at(x, i) + alpha * (double)next[i], y, 2e-6);
            for (int worker = 0; worker < WORKERS; worker++)
                CU_ASSERT_DOUBLE_EQUAL(
                    (double)x[worker][i] - mean_at(x, i),
                    (1 - alpha) * ((double)before[worker][i] - mean_at(before, i)), 2e-6);
        }
        memcpy(z, next, sizeof(z));
    }
    kofn_anchor_close(&anchor);
}

/* Heavy ball and Nesterov, with exact values; what is tried and not committed moves nothing, and
 * neither does a merge of nothing.
 */
static void test_motion(void)
{
    float base[SIZE] = {1}, update[SIZE] = {2}, out[SIZE];
    const void *updates[2] = {update};
    float weights[2] = {0.5f};
    struct kofn_anchor anchor = {.rate = 0.5, .momentum = 0.5};

    for (int nesterov = 0; nesterov <= 1; nesterov++) {
        anchor.nesterov = nesterov;
        CU_ASSERT_EQUAL_FATAL(kofn_anchor_open(&anchor, SIZE), 0);
        for (int tries = 0; tries < 2; tries++) {
            CU_ASSERT(kofn_anchor_merge(&anchor, merge_all, NULL, out, base, updates, weights, 1));
            /* d = 1, v' = 1: 1 + 0.5 * 1, or 1 + 0.5 * (1 + 0.5) */
            CU_ASSERT_EQUAL(out[0], nesterov ? 1.75f : 1.5f);
            weights[0] = 0.5f;
        }
        kofn_anchor_commit(&anchor);
        CU_ASSERT(kofn_anchor_merge(&anchor, merge_all, NULL, out, base, updates, weights, 1));
        /* v' = 0.5 + 1: 1 + 0.5 * 1.5, or 1 + 0.5 * (1 + 0.75) */
        CU_ASSERT_EQUAL(out[0], nesterov ? 1.875f : 1.75f);
        CU_ASSERT(kofn_anchor_merge(&anchor, merge_all, NULL, out, base, updates, weights, 0));
        CU_ASSERT_EQUAL(out[0], 1);
        kofn_anchor_close(&anchor);
    }
}

/* ---- E5 ---- */

struct trace {
    double x[2], z, v;
};

static const struct trace plain[] = {
    {{0.0760000000, -0.2280000000}, -0.0760000000, -0.0760000000},
    {{0.0550240000, -0.3474720000}, -0.1462240000, -0.0702240000},
    {{0.0060933760, -0.4283153280}, -0.2111109760, -0.0648869760},
    {{-0.0486923318, -0.4934407519}, -0.2710665418, -0.0599555658},
};
static const struct trace with_momentum[] = {
    {{0.0760000000, -0.2280000000}, -0.0760000000, -0.0760000000},
    {{0.0550240000, -0.3474720000}, -0.1994240000, -0.1234240000},
    {{-0.0258266240, -0.4602353280}, -0.3294277760, -0.1300037760},
    {{-0.1300244918, -0.5747729119}, -0.4434013450, -0.1139735690},
};
#define TRACE 4

static const float optima[] = {1, -3};

/* The lines that move anchors and models, in f64. */
struct f64_merge {
    double *out;
    const double *base;
    const void *const *updates;
    const double *weights;
    size_t count;
};
#define KOFN_ANCHOR_REAL double
#define KOFN_ANCHOR_MERGE struct f64_merge
#define KOFN_ANCHOR_NAME(name) f64_##name
#include "math/anchor_steps.h"

static bool merge_one(void *arg, const struct f64_merge *merge)
{
    double sum = merge->base ? *merge->base : 0;

    (void)arg;
    for (size_t k = 0; k < merge->count; k++)
        sum += merge->weights[k] * *(const double *)merge->updates[k];
    *merge->out = sum;
    return true;
}

static void trace_in_f64(double beta, const struct trace *trace)
{
    const struct kofn_anchor anchor = {.rate = 1, .momentum = beta};
    double x[2] = {0}, deltas[2], z = 0, v = 0, next;

    for (int i = 0; i < TRACE; i++) {
        double weights[] = {0.5, 0.5, 0};
        const void *updates[] = {&deltas[0], &deltas[1], NULL};

        for (int rank = 0; rank < 2; rank++) {
            for (int step = 0; step < 2; step++)
                x[rank] -= 0.1 * (x[rank] - (double)optima[rank]);
            f64_pull(&x[rank], &deltas[rank], &z, 0.6, 1);
            CU_ASSERT_DOUBLE_EQUAL(x[rank], trace[i].x[rank], 1e-10);
        }
        CU_ASSERT(f64_move(&anchor, &v, &next, merge_one, NULL, &z, &z, updates, weights, 2));
        v = next;
        CU_ASSERT_DOUBLE_EQUAL(z, trace[i].z, 1e-10);
        CU_ASSERT_DOUBLE_EQUAL(v, trace[i].v, 1e-10);
    }
}

/* The outer step of DiLoCo, z' = z + rate (d + momentum v'), written as it is defined. */
static void test_nesterov(void)
{
    const struct kofn_anchor anchor = {.rate = 0.7, .momentum = 0.9, .nesterov = true};
    double z = 0.3, v = 0, next, expected = z, velocity = 0;

    for (int i = 1; i <= 20; i++) {
        double updates_of[] = {0.1 * i, -0.35}, weights[] = {0.25, 0.75, 0};
        double d = 0.25 * updates_of[0] + 0.75 * updates_of[1];
        const void *updates[] = {&updates_of[0], &updates_of[1], NULL};

        velocity = 0.9 * velocity + d;
        expected += 0.7 * (d + 0.9 * velocity);
        CU_ASSERT(f64_move(&anchor, &v, &next, merge_one, NULL, &z, &z, updates, weights, 2));
        v = next;
        CU_ASSERT_DOUBLE_EQUAL(z, expected, 1e-12);
        CU_ASSERT_DOUBLE_EQUAL(v, velocity, 1e-12);
    }
}

#define TRACE_NEAR 4e-8 /* of jobs, whose models are f32: the last bit of 0.5 is 6e-8 */

/* The parameters of two workers on (x - b)^2 / 2. */
struct quadratics {
    double pulled[2]; /* x where its updates of a round began */
    int begun[2], fresh;
};

static void fresh(void *arg, uint32_t rank)
{
    struct quadratics *work = arg;

    (void)rank;
    work->fresh++;
}

static void begin(void *arg, uint32_t rank, const float *x, uint64_t due)
{
    struct quadratics *work = arg;

    (void)due;
    if (work->begun[rank]++ % 2 == 0)
        work->pulled[rank] = (double)*x;
}

static float step(void *arg, uint32_t rank, float *x)
{
    (void)arg;
    *x = (float)((double)*x - 0.1 * ((double)*x - (double)optima[rank]));
    return 0;
}

static void drop(void *arg, uint32_t rank)
{
    (void)arg, (void)rank;
}

static void trace_in_sim(double beta, const struct trace *trace)
{
    struct quadratics work = {0};
    const struct kofn_sim_work calls = {
        .parameters = 1, .fresh = fresh, .begin = begin, .step = step, .drop = drop, .arg = &work};
    const float zero = 0;
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;
    struct kofn_sim *sim;

    sim_delay("uniform:1ms,1ms", &delay);
    attr = sim_attr("overlap", 2, 2, 2, &delay);
    attr.rules = (struct kofn_rules){.alpha = 0.6, .beta = beta};
    attr.work = &calls;
    attr.model = &zero;
    sim = sim_open(&attr);
    for (int i = 0; i < TRACE; i++) {
        sim_next(sim, &report);
        CU_ASSERT_EQUAL(report.merged, 2);
        CU_ASSERT_EQUAL(report.staleness, 0);
        CU_ASSERT_DOUBLE_EQUAL(*kofn_sim_model(sim), trace[i].z, TRACE_NEAR);
        for (int rank = 0; rank < 2; rank++)
            CU_ASSERT_DOUBLE_EQUAL(work.pulled[rank], trace[i].x[rank], TRACE_NEAR);
    }
    CU_ASSERT_EQUAL(work.fresh, 2); /* each begins once: momentum is kept over rounds */
    kofn_sim_close(sim);
}

/* The same with the real engines: parameter 0 is x, and what engine.h counts with is not used. */
static void trace_in_engine(double beta, const struct trace *trace)
{
    struct kofn_server_attr attr = engine_attr("overlap", 2, 2, 2);
    static struct engine engine;
    const struct kofn_update update = {.compute_ns = 1};
    uint32_t round;

    attr.beta = beta; /* alpha is 0.6 where nothing is said */
    engine_open(&engine, &attr);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    for (int i = 0; i < TRACE; i++) {
        for (int rank = 0; rank < 2; rank++) {
            struct engine_worker *worker = &engine.workers[rank];

            step(NULL, (uint32_t)rank, worker->model);
            CU_ASSERT_EQUAL(kofn_worker_report(worker->handle, worker->model, &update), 0);
            step(NULL, (uint32_t)rank, worker->model);
            CU_ASSERT_EQUAL(kofn_worker_report(worker->handle, worker->model, &update),
                            KOFN_ROUND_OVER);
            CU_ASSERT_EQUAL(kofn_worker_take(worker->handle, worker->model, &round), 0);
            CU_ASSERT_EQUAL(round, (uint32_t)i + 2); /* at once, though this one is not merged */
            CU_ASSERT_DOUBLE_EQUAL(*worker->model, trace[i].x[rank], TRACE_NEAR);
        }
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        engine_deliver(&engine);
        CU_ASSERT_DOUBLE_EQUAL(*kofn_server_model(engine.server), trace[i].z, TRACE_NEAR);
    }
    engine_close(&engine);
}

static void test_trace(void)
{
    trace_in_f64(0, plain);
    trace_in_f64(0.7, with_momentum);
    trace_in_sim(0, plain);
    trace_in_sim(0.7, with_momentum);
    trace_in_engine(0, plain);
    trace_in_engine(0.7, with_momentum);
}

/* ---- E3, E4 ---- */

static const struct {
    const char *delay;
    uint32_t workers, steps;
    double reduce, time, error; /* error: of the table's own simulation */
    double local;               /* time of a round of local SGD */
} rows[] = {
    {"uniform:1,1", 4, 2, 0.5, 2, 0, 2.5},
    {"uniform:1,1", 4, 2, 3, 3, 0, 5},
    {"exp:1", 16, 2, 0, 3.24639, 0.0064, 5.1742},
    {"exp:1", 16, 2, 1, 3.54862, 0.007, 6.1742},
};

/* Round times: D is what an update and a model take together. */
static void test_times(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rows); i++) {
        struct kofn_sim_attr attr;
        struct kofn_delay delay;
        struct sim_means means;
        double time, error;

        sim_delay(rows[i].delay, &delay);
        attr = sim_attr("overlap", rows[i].workers, rows[i].workers, rows[i].steps, &delay);
        attr.net.latency_ns = (uint64_t)(rows[i].reduce / 2 * 1e9);
        means = sim_run_batches(&attr, 100, 40000, 100);
        time = sim_mean_value(&means.time);
        error = sim_mean_error(&means.time);
        CU_ASSERT_DOUBLE_EQUAL(time, rows[i].time,
                               4 * sqrt(error * error + rows[i].error * rows[i].error) + 1e-9);
        CU_ASSERT_DOUBLE_EQUAL(sim_mean_value(&means.updates), rows[i].steps, 1e-9);
        CU_ASSERT_EQUAL(sim_mean_value(&means.staleness), 0);
        attr = sim_attr("local", rows[i].workers, rows[i].workers, rows[i].steps, &delay);
        attr.net.latency_ns = (uint64_t)(rows[i].reduce / 2 * 1e9);
        means = sim_run(&attr, 0, 20000);
        CU_ASSERT(time < sim_mean_value(&means.time)); /* E4 */
        CU_ASSERT(sim_mean_near(&means.time, rows[i].local, "local"));
    }
}

/* ---- who is ahead, and who is behind ---- */

static int finish_round(struct engine *engine, uint32_t rank)
{
    int rc = engine_update(engine, rank);

    return rc ? rc : engine_update(engine, rank);
}

/* A worker sends its round and computes the next one while the others still make that; it cannot
 * begin a third.
 */
static void test_one_round_ahead(void)
{
    struct kofn_server_attr attr = engine_attr("overlap", 3, 3, 2);
    static struct engine engine;

    engine_open(&engine, &attr);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 3);
    CU_ASSERT_EQUAL(finish_round(&engine, 0), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), 0);
    CU_ASSERT_EQUAL(finish_round(&engine, 0), KOFN_ROUND_OVER);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), KOFN_INTERRUPTED);
    for (uint32_t rank = 1; rank < 3; rank++) {
        CU_ASSERT_EQUAL(finish_round(&engine, rank), KOFN_ROUND_OVER);
        CU_ASSERT_EQUAL(engine_take(&engine, rank), 0);
    }
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_take(&engine, 0), 0);
    CU_ASSERT_EQUAL(engine.workers[0].round, 3);
    engine_close(&engine);
}

/* A worker that missed rounds is pulled to the newest anchor, and takes part in that round, on
 * time: all of a round were pulled to the same anchor, and no local update is counted twice.
 */
static void test_behind(void)
{
    struct kofn_server_attr attr = engine_attr("overlap", 3, 3, 2);
    struct kofn_round_report report = {.size = sizeof(report)};
    static struct engine engine;

    attr.deadline = KOFN_NS_PER_S;
    attr.quorum = 2;
    engine_open(&engine, &attr);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 3);
    CU_ASSERT_EQUAL(engine_update(&engine, 2), 0);
    for (int round = 0; round < 3; round++) {
        for (uint32_t rank = 0; rank < 2; rank++) {
            CU_ASSERT_EQUAL(finish_round(&engine, rank), KOFN_ROUND_OVER);
            CU_ASSERT_EQUAL(engine_take(&engine, rank), 0);
        }
        engine_deliver(&engine);
        engine_skip(&engine, 2 * KOFN_NS_PER_S);
        CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
        CU_ASSERT_EQUAL(report.close, KOFN_CLOSE_DEADLINE);
        CU_ASSERT_EQUAL(report.merged, 2);
        engine_deliver(&engine);
    }
    CU_ASSERT_EQUAL(engine_update(&engine, 2), KOFN_ROUND_OVER);
    CU_ASSERT_EQUAL(engine_take(&engine, 2), 0);
    CU_ASSERT_EQUAL(engine.workers[2].round, 5);
    for (uint32_t rank = 0; rank < 2; rank++) {
        CU_ASSERT_EQUAL(finish_round(&engine, rank), KOFN_ROUND_OVER);
        CU_ASSERT_EQUAL(engine_take(&engine, rank), 0);
    }
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
    CU_ASSERT_EQUAL(report.merged, 3);
    CU_ASSERT_EQUAL(report.staleness, 0);
    CU_ASSERT_EQUAL(report.late, 0);
    for (uint32_t rank = 0; rank < 3; rank++) {
        struct kofn_member_report member = engine_member(&engine, rank);

        CU_ASSERT_EQUAL(member.merged, rank == 2 ? 2 : 8);
        CU_ASSERT_EQUAL(member.finished, member.merged);
    }
    engine_close(&engine);
}

void kofn_suite_overlap(void)
{
    CU_pSuite suite = CU_add_suite("overlap", NULL, NULL);

    CU_add_test(suite, "what mixing keeps: E1, E2", test_invariants);
    CU_add_test(suite, "momentum of an anchor", test_motion);
    CU_add_test(suite, "the trace E5", test_trace);
    CU_add_test(suite, "an outer step with momentum", test_nesterov);
    CU_add_test(suite, "round times: E3, E4", test_times);
    CU_add_test(suite, "at most a round ahead", test_one_round_ahead);
    CU_add_test(suite, "whoever missed rounds", test_behind);
}
