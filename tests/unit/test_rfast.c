/* The mathematics of R-FAST, on the lines that jobs run: a trace, and what must hold whatever is
 * lost, late or torn. */
#include <CUnit/CUnit.h>
#include <stdio.h>

#define FIXTURE_REAL double
#define FIXTURE(name) f64_##name
#include "rfast_fixture.h"
#undef FIXTURE_REAL
#undef FIXTURE

#define FIXTURE_REAL float
#define FIXTURE(name) f32_##name
#include "rfast_fixture.h"

/* Star of 3, f_i = (x - b_i)^2 / 2, b = (0, 3, 6), gamma = 0.1, activations 0, 1, 2, 0, 1, 2...: x
 * and z of all, and the running sums of the leaves.
 */
static const struct {
    double x[3], z[3], rho[2];
} trace[] = {
    {{0, 0, 0}, {0, -3, -6}, {0, 0}},
    {{0, 0.15, 0}, {0, -1.425, -6}, {-1.425, 0}},
    {{0, 0.15, 0.3}, {0, -1.425, -2.85}, {-1.425, -2.85}},
    {{0, 0.15, 0.3}, {-4.275, -1.425, -2.85}, {-1.425, -2.85}},
    {{0, 0.14625, 0.3}, {-4.275, -0.714375, -2.85}, {-2.139375, -2.85}},
    {{0, 0.14625, 0.2925}, {-4.275, -0.714375, -1.42875}, {-2.139375, -4.27875}},
    {{0.4275, 0.14625, 0.2925}, {-5.990625, -0.714375, -1.42875}, {-2.139375, -4.27875}},
    {{0.4275, 0.32259375, 0.2925}, {-5.990625, -0.26901562, -1.42875}, {-2.40839062, -4.27875}},
    {{0.4275, 0.32259375, 0.4314375},
     {-5.990625, -0.26901562, -0.64490625},
     {-2.40839062, -4.92365625}},
};

static void test_trace(void)
{
    struct f64_job *job = calloc(1, sizeof(*job));
    struct kofn_graph graph;

    CU_ASSERT_FATAL(job && !kofn_graph_make(KOFN_GRAPH_STAR, 3, 0, NULL, &graph));
    job->graph = &graph;
    job->conf = (struct rfast_conf){.gamma = 0.1, .delay = 1, .remainder = true};
    for (uint32_t node = 0; node < 3; node++)
        for (int i = 0; i < RFAST_D; i++) {
            job->a[node][i] = 1;
            job->b[node][i] = 3 * node;
        }
    f64_start(job);
    for (size_t row = 0; row < KOFN_ARRAY_SIZE(trace); row++) {
        f64_activate(job, row % 3);
        for (int node = 0; node < 3; node++) {
            CU_ASSERT_DOUBLE_EQUAL(job->x[node][0], trace[row].x[node], 1e-8);
            CU_ASSERT_DOUBLE_EQUAL(job->z[node][0], trace[row].z[node], 1e-8);
        }
        for (int leaf = 0; leaf < 2; leaf++)
            CU_ASSERT_DOUBLE_EQUAL(job->masses[leaf].sum[0], trace[row].rho[leaf], 1e-8);
    }
    kofn_graph_free(&graph);
    free(job);
}

/* ---- seven nodes, different quadratics ---- */

#define JOB_START(type)                                                                            \
    static void type##_set(struct type##_job *job, const struct kofn_graph *graph,                 \
                           const struct rfast_conf *conf, double far)                              \
    {                                                                                              \
        job->graph = graph;                                                                        \
        job->conf = *conf;                                                                         \
        kofn_random_seed(&job->random, 7, 1);                                                      \
        for (uint32_t node = 0; node < graph->nodes; node++)                                       \
            for (int i = 0; i < RFAST_D; i++) {                                                    \
                job->a[node][i] = 0.5 + kofn_random_uniform(&job->random);                         \
                job->b[node][i] = 4 * kofn_random_normal(&job->random);                            \
                job->x[node][i] = far > 0 ? (float)far : 0;                                        \
            }                                                                                      \
        type##_start(job);                                                                         \
    }
JOB_START(f64)
JOB_START(f32)

/* x*, where the gradients of all add up to 0. */
static void find_optimum(const struct f64_job *job, double *optimum)
{
    double a[RFAST_D] = {0}, r[RFAST_D] = {0}, c = job->couple * job->graph->nodes, det;

    for (uint32_t node = 0; node < job->graph->nodes; node++)
        for (int i = 0; i < RFAST_D; i++) {
            a[i] += job->a[node][i];
            r[i] += job->a[node][i] * job->b[node][i] + job->couple * job->b[node][1 - i];
        }
    det = a[0] * a[1] - c * c;
    optimum[0] = (r[0] * a[1] - c * r[1]) / det;
    optimum[1] = (r[1] * a[0] - c * r[0]) / det;
}

static double distance(const struct f64_job *job)
{
    double optimum[RFAST_D], worst = 0;

    find_optimum(job, optimum);
    for (uint32_t node = 0; node < job->graph->nodes; node++)
        for (int i = 0; i < RFAST_D; i++)
            worst = fmax(worst, fabs(job->x[node][i] - optimum[i]));
    return worst;
}

/* Runs @count activations of nodes drawn at random; returns the largest violation of the law on the
 * way.
 */
static double go(struct f64_job *job, uint64_t count)
{
    double worst = 0;

    for (uint64_t i = 0; i < count; i++) {
        f64_activate(job, (uint32_t)kofn_random_below(&job->random, job->graph->nodes));
        worst = fmax(worst, f64_violation(job));
    }
    return worst;
}

static const struct {
    enum kofn_graph_kind kind;
    double loss;
    uint32_t delay;
    double gamma;
    uint64_t activations;
} settings[] = {
    {KOFN_GRAPH_TREE, 0, 1, 0.02, 60000},
    {KOFN_GRAPH_TREE, 0.3, 10, 0.02, 60000},
    {KOFN_GRAPH_TREE, 0.6, 25, 0.01, 240000},
    {KOFN_GRAPH_RING, 0, 1, 0.02, 60000},
    {KOFN_GRAPH_RING, 0.3, 10, 0.02, 60000},
    {KOFN_GRAPH_RING, 0.6, 25, 0.01, 320000},
    {KOFN_GRAPH_EXPONENTIAL, 0.3, 10, 0.02, 160000},
};

/* Whatever is lost or late, no mass is, and all nodes come to the optimum of the sum. */
static void test_law_and_optimum(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(settings); i++) {
        const struct rfast_conf conf = {.gamma = settings[i].gamma,
                                        .loss = settings[i].loss,
                                        .delay = settings[i].delay,
                                        .remainder = true};
        struct f64_job *job = calloc(1, sizeof(*job));
        struct kofn_graph graph;
        double violated;

        CU_ASSERT_FATAL(job && !kofn_graph_make(settings[i].kind, 7, 0, NULL, &graph));
        f64_set(job, &graph, &conf, 0);
        violated = go(job, settings[i].activations);
        CU_ASSERT(violated < 1e-10);
        CU_ASSERT(distance(job) < 1e-10);
        if (violated >= 1e-10 || distance(job) >= 1e-10)
            printf("# setting %zu: law %g, distance %g\n", i, violated, distance(job));
        kofn_graph_free(&graph);
        free(job);
    }
}

/* Plain increments in place of running sums lose what is lost: such a job must miss the optimum, or
 * the test before this one tests nothing.
 */
static void test_increments_miss_the_optimum(void)
{
    const enum kofn_graph_kind kinds[] = {KOFN_GRAPH_TREE, KOFN_GRAPH_RING};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kinds); i++) {
        const struct rfast_conf conf = {
            .gamma = 0.02, .loss = 0.3, .delay = 10, .remainder = true, .increments = true};
        struct f64_job *job = calloc(1, sizeof(*job));
        struct kofn_graph graph;

        CU_ASSERT_FATAL(job && !kofn_graph_make(kinds[i], 7, 0, NULL, &graph));
        f64_set(job, &graph, &conf, 0);
        go(job, 60000);
        CU_ASSERT(distance(job) > 0.05);
        kofn_graph_free(&graph);
        free(job);
    }
}

/* Coordinates of one message that land at different times, on a function that couples them: each is
 * some valid past value, and neither the law nor the optimum is touched.
 */
static void test_torn_messages_are_harmless(void)
{
    const struct rfast_conf conf = {
        .gamma = 0.02, .loss = 0.2, .delay = 10, .remainder = true, .torn = true};
    struct f64_job *job = calloc(1, sizeof(*job));
    struct kofn_graph graph;

    CU_ASSERT_FATAL(job && !kofn_graph_make(KOFN_GRAPH_STAR, 3, 0, NULL, &graph));
    job->couple = 0.3;
    f64_set(job, &graph, &conf, 0);
    CU_ASSERT(go(job, 60000) < 1e-10);
    CU_ASSERT(distance(job) < 1e-10);
    kofn_graph_free(&graph);
    free(job);
}

/* On a tree what a child has given its parent is what is in its subtree less what is on the way:
 * rho = sum over the subtree of (g - z) - in flight in it; so it stays bounded.
 */
static void test_sums_stay_bounded_on_a_tree(void)
{
    const struct rfast_conf conf = {
        .gamma = 0.02, .loss = 0.3, .delay = 10, .sigma = 1, .remainder = true};
    struct f64_job *job = calloc(1, sizeof(*job));
    struct kofn_graph graph;
    double worst = 0;

    CU_ASSERT_FATAL(job && !kofn_graph_make(KOFN_GRAPH_TREE, 7, 0, NULL, &graph));
    f64_set(job, &graph, &conf, 0);
    for (int step = 0; step < 20000; step++) {
        double have[RFAST_NODES] = {0};

        go(job, 1);
        for (uint32_t node = 7;
             node-- > 1;) { /* mass edge of node i is number i - 1, children first */
            const struct f64_edge *edge = &job->masses[node - 1];

            have[node] += job->g[node][0] - job->z[node][0];
            worst = fmax(worst, fabs(edge->sum[0] - have[node]));
            have[(node - 1) / 2] += edge->consumed[0];
        }
    }
    CU_ASSERT(worst < 1e-10);
    CU_ASSERT(job->largest < 1e4);
    kofn_graph_free(&graph);
    free(job);
}

/* In f32 on a ring the sums grow and rounding eats mass, unless the sender keeps the remainder. */
static void test_f32_needs_the_remainder(void)
{
    double violated[2];

    for (int remainder = 0; remainder < 2; remainder++) {
        const struct rfast_conf conf = {
            .gamma = 0.02, .delay = 1, .sigma = 10, .remainder = remainder};
        struct f32_job *job = calloc(1, sizeof(*job));
        struct kofn_graph graph;

        CU_ASSERT_FATAL(job && !kofn_graph_make(KOFN_GRAPH_RING, 7, 0, NULL, &graph));
        f32_set(job, &graph, &conf, 300);
        for (int i = 0; i < 60000; i++)
            f32_activate(job, (uint32_t)kofn_random_below(&job->random, 7));
        violated[remainder] = f32_violation(job);
        kofn_graph_free(&graph);
        free(job);
    }
    printf("# f32 ring: %g without, %g with the remainder\n", violated[0], violated[1]);
    CU_ASSERT(violated[1] < 2e-3);
    CU_ASSERT(violated[0] > 20 * violated[1]);
}

void kofn_suite_rfast(void)
{
    CU_pSuite suite = CU_add_suite("rfast", NULL, NULL);

    CU_add_test(suite, "trace", test_trace);
    CU_add_test(suite, "law and optimum", test_law_and_optimum);
    CU_add_test(suite, "increments miss the optimum", test_increments_miss_the_optimum);
    CU_add_test(suite, "torn messages are harmless", test_torn_messages_are_harmless);
    CU_add_test(suite, "sums stay bounded on a tree", test_sums_stay_bounded_on_a_tree);
    CU_add_test(suite, "f32 needs the remainder", test_f32_needs_the_remainder);
}
