/* What is done to the updates of a round beyond their mean: the step size for stale gradients, with
 * the models it needs, and the screens.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>

#include "base/random.h"
#include "math/screen.h"
#include "math/versions.h"
#include "tests/unit/engine.h"
#include "tests/unit/sim_fixture.h"

/* ---- the models that are kept ---- */

/* Those in use and the newest few are there, with their distances; of others the next older one
 * stands in, and the memory is bounded, however many come.
 */
static void test_versions(void)
{
    const uint32_t in_use[] = {2, 5};
    struct kofn_versions versions;

    CU_ASSERT_EQUAL_FATAL(kofn_versions_open(&versions, 2, 2), 0);
    CU_ASSERT_EQUAL(kofn_versions_apart(&versions, 1), 0);
    for (uint32_t version = 1; version <= 20; version++) {
        const float model[] = {(float)version, 0};

        CU_ASSERT_EQUAL(kofn_versions_keep(&versions, version, model, in_use, 2), 0);
        CU_ASSERT_EQUAL(kofn_versions_apart(&versions, version), 0);
    }
    CU_ASSERT_EQUAL(versions.room, 2 + KOFN_VERSIONS_SPARE);
    for (uint32_t version = 17; version <= 20; version++)
        CU_ASSERT_EQUAL(kofn_versions_apart(&versions, version), (20 - version) * (20 - version));
    CU_ASSERT_EQUAL(kofn_versions_apart(&versions, 5), 15 * 15);
    CU_ASSERT_EQUAL(kofn_versions_apart(&versions, 2), 18 * 18);
    CU_ASSERT_EQUAL(kofn_versions_apart(&versions, 4), 18 * 18); /* 2 stands in */
    CU_ASSERT_EQUAL(kofn_versions_apart(&versions, 1), 18 * 18); /* the oldest there is */
    kofn_versions_close(&versions);
}

/* ---- eq. 13 ---- */

static void test_damp(void)
{
    CU_ASSERT_EQUAL(kofn_rules_damp(0.02, 0.1, 0), 1); /* nothing has moved: no division */
    CU_ASSERT_EQUAL(kofn_rules_damp(0.02, 0.1, 0.19), 1);
    CU_ASSERT_DOUBLE_EQUAL(kofn_rules_damp(0.02, 0.1, 0.4), 0.5, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(kofn_rules_damp(0.02, 0.1, 1e300), 0, 1e-15);
    CU_ASSERT_EQUAL(kofn_rules_damp(0.02, 0.1, INFINITY), 0);
}

static void nothing(void *arg, uint32_t rank)
{
    (void)arg, (void)rank;
}

static void begin(void *arg, uint32_t rank, const float *x, uint64_t due)
{
    (void)arg, (void)rank, (void)x, (void)due;
}

static float gradient(void *arg, uint32_t rank, float *out)
{
    (void)arg, (void)rank;
    *out = -1;
    return 0;
}

/* With gradients of -1 the model is a sum of steps: each is min(C / (w - w')^2, eta), w' the model
 * as many rounds ago as the gradient is stale.
 */
static void test_steps(void)
{
    static const char *const names[] = {"kasync", "kbatch-async"};
    enum { ROUNDS = 200 };
    const double c = 1e-3, eta = 0.1;
    const struct kofn_sim_work work = {
        .parameters = 1, .fresh = nothing, .begin = begin, .gradient = gradient, .drop = nothing};
    const float zero = 0;
    struct kofn_round_report report;
    struct kofn_sim_attr attr;
    struct kofn_delay delay;
    struct kofn_sim *sim;
    double w[ROUNDS + 1];
    int damped;

    sim_delay("exp:1ms", &delay);
    for (int i = 0; i < 2; i++) {
        attr = sim_attr(names[i], 4, 1, 1, &delay);
        attr.learning_rate = eta;
        attr.rules.staleness_step = c;
        attr.work = &work;
        attr.model = &zero;
        sim = sim_open(&attr);
        w[0] = 0;
        damped = 0;
        for (int j = 0; j < ROUNDS; j++) {
            double apart, step;

            sim_next(sim, &report);
            CU_ASSERT_FATAL(report.staleness <= j);
            apart = w[j] - w[j - (int)report.staleness];
            step = apart * apart * eta > c ? c / (apart * apart) : eta;
            damped += step < eta;
            w[j + 1] = *kofn_sim_model(sim);
            CU_ASSERT_DOUBLE_EQUAL(w[j + 1] - w[j], step, 1e-5);
        }
        CU_ASSERT(damped > ROUNDS / 4);
        kofn_sim_close(sim);
    }
}

/* The same over the real engines: while one worker holds its gradient, another makes three steps.
 */
static void test_steps_of_server(void)
{
    struct kofn_server_attr attr = engine_attr("kasync", 2, 1, 1);
    static struct engine engine;

    attr.learning_rate = 0.5;
    attr.staleness_step = 0.3; /* of three steps |w - w'|^2 is 3 * 0.25: more than 0.3 / 0.5 */
    engine_open(&engine, &attr);
    CU_ASSERT_EQUAL(engine_take_all(&engine), 2);
    for (uint32_t i = 0; i < 3; i++) {
        engine_update(&engine, 0);
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
        CU_ASSERT_EQUAL(engine_merged(&engine, 0, i), 0.5f); /* fresh */
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_take(&engine, 0), 0);
    }
    engine_update(&engine, 1);
    engine_deliver(&engine);
    CU_ASSERT_EQUAL(engine_step(&engine, NULL), 0);
    CU_ASSERT_DOUBLE_EQUAL(engine_merged(&engine, 1, 0), 0.3 / 0.75, 1e-6);
    engine_close(&engine);
}

/* ---- screens ---- */

#define MOST 70
#define SIZE 37

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* The plain way, on sorted columns. */
static double screened(const float *const *updates, size_t count, size_t i, size_t trim)
{
    float column[MOST];
    double sum = 0;

    for (size_t k = 0; k < count; k++)
        column[k] = updates[k][i];
    qsort(column, count, sizeof(*column), by_value);
    for (size_t k = trim; k < count - trim; k++)
        sum += (double)column[k];
    return sum / (double)(count - 2 * trim);
}

/* Every number of updates, with values that are equal, too. */
static void test_screens(void)
{
    static float data[MOST][SIZE];
    const float *updates[MOST];
    const void *given[MOST];
    struct kofn_screen median, trimmed;
    struct kofn_random random;

    kofn_random_seed(&random, 7, 0);
    for (size_t k = 0; k < MOST; k++) {
        updates[k] = given[k] = data[k];
        for (size_t i = 0; i < SIZE; i++)
            data[k][i] = (float)kofn_random_below(&random, i % 3 ? 1000000 : 3) - 1;
    }
    CU_ASSERT_EQUAL_FATAL(kofn_screen_open(&median, KOFN_SCREENING_MEDIAN, 0, SIZE, MOST), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_screen_open(&trimmed, KOFN_SCREENING_TRIMMED, 2, SIZE, MOST), 0);
    for (size_t count = 1; count <= MOST; count++) {
        const float *a = kofn_screen_updates(&median, given, count);
        const float *b = kofn_screen_updates(&trimmed, given, count);

        for (size_t i = 0; i < SIZE; i++) {
            CU_ASSERT_EQUAL(a[i], (float)screened(updates, count, i, (count - 1) / 2));
            CU_ASSERT_EQUAL(b[i], (float)screened(updates, count, i, KOFN_MIN(2, (count - 1) / 2)));
        }
    }
    data[0][0] = NAN;
    data[1][0] = INFINITY;
    CU_ASSERT(isfinite(*kofn_screen_updates(&trimmed, given, MOST)));
    CU_ASSERT(isfinite(*kofn_screen_updates(&median, given, MOST)));
    kofn_screen_close(&median);
    kofn_screen_close(&trimmed);
}

/* A server that takes the median: what one of three says alone does not get into the model, one
 * that is not a number is refused, and the two that are left are merged.
 */
static void test_screen_of_server(void)
{
    struct kofn_server_attr attr = engine_attr("local", 3, 3, 1);
    struct kofn_round_report report = {.size = sizeof(report)};
    static struct engine engine;
    static const float said[][3] = {{1, 2, 1000}, {3, NAN, 5}};
    static const float merged[] = {2, 2 + 4};
    static const uint32_t members[] = {3, 2};

    attr.screen = KOFN_SCREENING_MEDIAN;
    attr.late = KOFN_LATE_REFUSE;
    engine_open(&engine, &attr);
    for (int round = 0; round < 2; round++) {
        CU_ASSERT_EQUAL(engine_take_all(&engine), 3);
        for (uint32_t rank = 0; rank < 3; rank++) {
            struct engine_worker *worker = &engine.workers[rank];

            *worker->model += said[round][rank];
            CU_ASSERT_EQUAL(kofn_worker_report(worker->handle, worker->model, NULL),
                            KOFN_ROUND_OVER);
        }
        engine_deliver(&engine);
        CU_ASSERT_EQUAL(engine_step(&engine, &report), 0);
        CU_ASSERT_EQUAL(report.merged, members[round]);
        CU_ASSERT_EQUAL(report.refused, 3 - members[round]);
        CU_ASSERT_EQUAL(*kofn_server_model(engine.server), merged[round]);
    }
    engine_close(&engine);
}

void kofn_suite_rules(void)
{
    CU_pSuite suite = CU_add_suite("rules", NULL, NULL);

    CU_add_test(suite, "models that are kept", test_versions);
    CU_add_test(suite, "the step of a stale gradient", test_damp);
    CU_add_test(suite, "steps of stale gradients, simulated", test_steps);
    CU_add_test(suite, "steps of stale gradients, real", test_steps_of_server);
    CU_add_test(suite, "screens", test_screens);
    CU_add_test(suite, "a server that screens", test_screen_of_server);
}
