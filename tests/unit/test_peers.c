/* Simulated jobs without a server: times that are known exactly, and what must come out. */
#include "sim/peers.h"

#include <stdlib.h>

#include "algorithms/algorithm.h"
#include "sim_fixture.h"

#define MOST 16
#define CENTRE(rank) (3.0f * (float)(rank)-4.0f) /* of node rank's parabola */

/* f_i = (x - CENTRE(i))^2 / 2, in two coordinates, the second one mirrored. */
struct parabolas {
    struct kofn_sim_work work;
    const float *x[MOST];
    float first[2];
};

static void begin(void *arg, uint32_t rank, const float *x, uint64_t due)
{
    struct parabolas *parabolas = arg;

    (void)due;
    parabolas->x[rank] = x;
}

static float gradient(void *arg, uint32_t rank, float *out)
{
    struct parabolas *parabolas = arg;

    out[0] = parabolas->x[rank][0] - CENTRE(rank);
    out[1] = parabolas->x[rank][1] + CENTRE(rank);
    return 0.5f * (out[0] * out[0] + out[1] * out[1]);
}

/* A job, and what it happened in. */
struct job {
    struct kofn_delay delay;
    struct kofn_graph graph;
    struct parabolas parabolas;
    struct kofn_peers_attr attr;
    struct kofn_peers *peers;
    uint64_t history; /* a digest of who finished when, with what model */
};

static void finished(void *arg, const struct kofn_node *node)
{
    struct job *job = arg;
    uint32_t bits = 0;

    if (node->parameters)
        memcpy(&bits, node->model, sizeof(bits));
    job->history = (job->history ^ node->rank ^ (uint64_t)bits << 8) * UINT64_C(1099511628211);
}

static void job_open(struct job *job, const char *algorithm, const char *topology, uint32_t nodes,
                     const char *delay, bool works)
{
    const struct kofn_algorithm *found = kofn_algorithm_find(algorithm);

    memset(job, 0, sizeof(*job));
    CU_ASSERT_FATAL(!kofn_delay_open(delay, NULL, &job->delay));
    if (found->peers->any_graph)
        CU_ASSERT_FATAL(!kofn_graph_open(topology, nodes, 0, NULL, &job->graph));
    if (!found->peers->any_graph)
        CU_ASSERT_FATAL(!kofn_graph_make(found->peers->graph, nodes, 0, NULL, &job->graph));
    job->parabolas.work = (struct kofn_sim_work){
        .parameters = 2, .begin = begin, .gradient = gradient, .arg = &job->parabolas};
    job->attr = (struct kofn_peers_attr){.algorithm = found,
                                         .graph = &job->graph,
                                         .delay = &job->delay,
                                         .payload_bytes = 1000,
                                         .seed = 3,
                                         .learning_rate = 0.1,
                                         .work = works ? &job->parabolas.work : NULL,
                                         .model = job->parabolas.first,
                                         .finished = finished,
                                         .arg = job};
}

static void job_close(struct job *job)
{
    kofn_peers_close(job->peers);
    kofn_graph_free(&job->graph);
    kofn_delay_close(&job->delay);
}

/* Opens and runs @rounds rounds; returns the mean seconds of one, from the first to the last. */
static double job_run(struct job *job, uint32_t rounds)
{
    struct kofn_round_report report = {0};
    uint64_t first = 0;

    if (!job->peers)
        CU_ASSERT_FATAL(!kofn_peers_open(&job->attr, &job->peers));
    for (uint32_t i = 0; i < rounds; i++) {
        CU_ASSERT_FATAL(!kofn_peers_step(job->peers, KOFN_FOREVER, UINT64_MAX, &report));
        if (!i)
            first = report.published_ns;
    }
    return (double)(report.published_ns - first) / (rounds - 1) / 1e9;
}

/* Where the mean of all gradients is 0. */
static float optimum(uint32_t nodes)
{
    float sum = 0;

    for (uint32_t rank = 0; rank < nodes; rank++)
        sum += CENTRE(rank);
    return sum / (float)nodes;
}

static const char *const topologies[] = {"star", "tree", "line", "ring", "exponential"};

/* Whatever is lost, late or left out, R-FAST comes to the optimum of all, slow ones included, and
 * loses no mass.
 */
static void test_rfast_converges(void)
{
    const struct kofn_straggler slow = {.rank = 3, .factor = 5, .to_ns = KOFN_FOREVER};
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(topologies); i++) {
        job_open(&job, "rfast", topologies[i], 6, "exp:10ms", true);
        job.attr.stragglers = &slow;
        job.attr.straggler_count = 1;
        job.attr.net = (struct kofn_sim_net){.latency_ns = 3000000, .byte_ns = 1000, .loss = 0.3};
        job.attr.learning_rate = 0.2;
        job_run(&job, 20000);
        CU_ASSERT_DOUBLE_EQUAL(kofn_peers_model(job.peers)[0], optimum(6), 1e-3);
        CU_ASSERT_DOUBLE_EQUAL(kofn_peers_model(job.peers)[1], -optimum(6), 1e-3);
        CU_ASSERT(kofn_peers_violation(job.peers) < 1e-5);
        CU_ASSERT(kofn_peers_mail(job.peers).lost > 0);
        CU_ASSERT(kofn_peers_mail(job.peers).skipped > 0);
        job_close(&job);
    }
}

#define SENT 1024

/* What was sent along each link of six nodes, by sequence. */
struct sums {
    float sent[6][6][SENT][2];
    uint64_t taken;
    bool wrong;
};

static void compare_sums(void *arg, const struct kofn_node *node)
{
    struct sums *sums = arg;

    for (uint32_t i = 0; i < node->out_count; i++)
        if (node->out[i].kind == KOFN_EDGE_MASS)
            memcpy(sums->sent[node->rank][node->out[i].to][node->out[i].sequence % SENT],
                   node->out[i].sum, sizeof(sums->sent[0][0][0]));
    for (uint32_t i = 0; i < node->in_count && node->activations > 1; i++) {
        const struct kofn_node_in *in = &node->in[i];

        if (in->kind != KOFN_EDGE_MASS || !in->sequence)
            continue;
        sums->taken++;
        sums->wrong |= memcmp(in->consumed, sums->sent[in->from][node->rank][in->sequence % SENT],
                              sizeof(sums->sent[0][0][0])) != 0;
    }
}

/* What a node has taken in along a link is, bit for bit, what its neighbour had given along it up
 * to the newest message, whichever before that were lost: that the law holds says nothing of it.
 */
static void test_rfast_takes_in_what_was_sent(void)
{
    struct sums *sums = calloc(1, sizeof(*sums));
    struct job job;

    CU_ASSERT_FATAL(sums != NULL);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(topologies); i++) {
        job_open(&job, "rfast", topologies[i], 6, "exp:10ms", true);
        job.attr.net = (struct kofn_sim_net){.latency_ns = 3000000, .byte_ns = 1000, .loss = 0.4};
        job.attr.finished = compare_sums;
        job.attr.arg = sums;
        job_run(&job, 3000);
        CU_ASSERT(kofn_peers_mail(job.peers).lost > 1000);
        job_close(&job);
    }
    CU_ASSERT(sums->taken > 50000);
    CU_ASSERT(!sums->wrong);
    free(sums);
}

/* Nobody waits: the root's pace is that of its own updates, whoever is slow. */
static void test_rfast_waits_for_nobody(void)
{
    const struct kofn_straggler slow = {.rank = 1, .factor = 50, .to_ns = KOFN_FOREVER};
    struct kofn_member_report reports[4];
    struct job job;

    job_open(&job, "rfast", "tree", 4, "uniform:10ms,10ms", false);
    job.attr.stragglers = &slow;
    job.attr.straggler_count = 1;
    job.attr.net.latency_ns = KOFN_NS_PER_S;
    CU_ASSERT_DOUBLE_EQUAL(job_run(&job, 101), 0.010, 1e-12);
    kofn_peers_members(job.peers, reports);
    CU_ASSERT_EQUAL(reports[0].finished, 101);
    CU_ASSERT_EQUAL(reports[1].finished, 2);
    CU_ASSERT_DOUBLE_EQUAL(reports[1].idle_fraction, 0, 1e-9);
    job_close(&job);
}

/* Models travel while gradients are computed: a round of D-PSGD takes the longer of the two, and
 * everybody waits for the slowest.
 */
static void test_dpsgd_times(void)
{
    const struct kofn_straggler slow = {.rank = 2, .factor = 5, .to_ns = KOFN_FOREVER};
    static const struct {
        uint64_t latency_ms;
        size_t slow;
        double round;
    } rows[] = {{0, 0, 0.010}, {4, 0, 0.010}, {15, 0, 0.015}, {0, 1, 0.050}, {60, 1, 0.060}};

    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rows); i++) {
        job_open(&job, "dpsgd", NULL, 6, "uniform:10ms,10ms", false);
        job.attr.stragglers = &slow;
        job.attr.straggler_count = rows[i].slow;
        job.attr.net.latency_ns = rows[i].latency_ms * KOFN_NS_PER_MS;
        job_run(&job, 20); /* until all wait for the slowest */
        CU_ASSERT_DOUBLE_EQUAL(job_run(&job, 41), rows[i].round, 1e-9);
        job_close(&job);
    }
}

/* D-PSGD is x' = W x - lr g(x), in whatever order its messages come: the same numbers as that. */
static void test_dpsgd_is_a_matrix(void)
{
    enum { NODES = 5, ROUNDS = 30 };
    double x[NODES] = {0}, next[NODES], mean = 0;
    struct job job;

    job_open(&job, "dpsgd", NULL, NODES, "uniform:10ms,10ms", true);
    job_run(&job, ROUNDS);
    CU_ASSERT_EQUAL(kofn_peers_step(job.peers, kofn_peers_now(job.peers), UINT64_MAX,
                                    &(struct kofn_round_report){0}),
                    KOFN_TIMEOUT); /* the others have finished the round, too */
    for (int k = 0; k < ROUNDS; k++) {
        for (int i = 0; i < NODES; i++)
            next[i] = (x[i] + x[(i + 1) % NODES] + x[(i + NODES - 1) % NODES]) / 3 -
                      0.1 * (x[i] - (double)CENTRE(i));
        memcpy(x, next, sizeof(x));
    }
    mean = 0;
    for (int i = 0; i < NODES; i++)
        mean += x[i] / NODES;
    CU_ASSERT_DOUBLE_EQUAL(kofn_peers_model(job.peers)[0], mean, 1e-5);
    job_close(&job);
}

/* The mean model of each baseline comes near the optimum of all: at equal paces they are unbiased.
 */
static void test_baselines_converge(void)
{
    static const char *const names[] = {"dpsgd", "adpsgd", "osgp"};
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        job_open(&job, names[i], NULL, 8, "uniform:9ms,11ms", true);
        job.attr.learning_rate = 0.01;
        job.attr.net =
            (struct kofn_sim_net){.latency_ns = KOFN_NS_PER_MS, .byte_ns = 100, .loss = 0.1};
        job_run(&job, 3000);
        CU_ASSERT_DOUBLE_EQUAL(kofn_peers_model(job.peers)[0], optimum(8), 0.15);
        CU_ASSERT(isnan(kofn_peers_violation(job.peers)));
        job_close(&job);
    }
}

/* A link carries one message after the other, each for as long as its bytes take, out of the sender
 * and into the receiver: a node of a ring of D-PSGD sends two and takes in two a round, while it
 * computes. The second is at the receiver one transfer and the latency after it was finished, and
 * in one transfer later; nobody can be faster than its link.
 */
static void test_links(void)
{
    static const struct {
        const char *delay;
        uint64_t latency_ms;
        double round; /* the longest of: update; latency + 2 transfers */
    } rows[] = {{"uniform:1ms,1ms", 0, 0.020},
                {"uniform:1ms,1ms", 15, 0.035},
                {"uniform:1ms,1ms", 50, 0.070},
                {"uniform:60ms,60ms", 15, 0.060}};
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rows); i++) {
        job_open(&job, "dpsgd", NULL, 4, rows[i].delay, false);
        job.attr.net.byte_ns = 10000; /* 10 ms a message */
        job.attr.net.latency_ns = rows[i].latency_ms * KOFN_NS_PER_MS;
        job_run(&job, 20);
        CU_ASSERT_DOUBLE_EQUAL(job_run(&job, 41), rows[i].round, 1e-9);
        job_close(&job);
    }
}

/* What comes to one node from all others goes through its link one by one: the root of a star takes
 * in as many messages a second as its link carries, however fast the leaves are.
 */
static void test_link_of_a_receiver(void)
{
    struct kofn_peers_mail before, after;
    struct job job;
    uint64_t start;
    double seconds;

    job_open(&job, "rfast", "star", 9, "uniform:1ms,1ms", false);
    job.attr.net.byte_ns = 10000; /* 10 ms a message */
    job_run(&job, 1000);
    before = kofn_peers_mail(job.peers);
    start = kofn_peers_now(job.peers);
    job_run(&job, 10000);
    after = kofn_peers_mail(job.peers);
    seconds = (double)(kofn_peers_now(job.peers) - start) / 1e9;
    CU_ASSERT_DOUBLE_EQUAL((double)(after.sent - before.sent), 2 * seconds / 0.010, 20);
    job_close(&job);
}

/* Messages of unequal nodes that are lost and sent again stay in order: two of each neighbour are
 * enough to hold, whoever is ahead.
 */
static void test_dpsgd_with_loss(void)
{
    struct job job;

    job_open(&job, "dpsgd", NULL, 6, "exp:10ms", true);
    job.attr.net = (struct kofn_sim_net){.latency_ns = 3 * KOFN_NS_PER_MS, .loss = 0.3};
    job.attr.learning_rate = 0.01;
    job_run(&job, 2000);
    CU_ASSERT_DOUBLE_EQUAL(kofn_peers_model(job.peers)[0], optimum(6), 0.15);
    job_close(&job);
}

/* Two jobs with one seed are the same in every activation; with another seed, or without
 * arithmetic, who finishes when is still drawn from the seed alone.
 */
static void test_seeds(void)
{
    static const char *const names[] = {"rfast", "dpsgd", "adpsgd", "osgp"};
    uint64_t history[3];
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        for (int run = 0; run < 3; run++) {
            job_open(&job, names[i], "tree", 6, "exp:10ms", true);
            job.attr.seed = run < 2 ? 3 : 4;
            job.attr.net = (struct kofn_sim_net){.latency_ns = 2000000, .loss = 0.2};
            job_run(&job, 300);
            history[run] = job.history;
            job_close(&job);
        }
        CU_ASSERT_EQUAL(history[0], history[1]);
        CU_ASSERT_NOT_EQUAL(history[0], history[2]);
    }
}

/* One node alone is plain SGD. */
static void test_one_node(void)
{
    static const char *const names[] = {"rfast", "dpsgd", "adpsgd", "osgp"};
    struct job job;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        job_open(&job, names[i], "ring", 1, "uniform:1ms,1ms", true);
        job_run(&job, 200);
        CU_ASSERT_DOUBLE_EQUAL(kofn_peers_model(job.peers)[0], CENTRE(0), 1e-4);
        job_close(&job);
    }
}

void kofn_suite_peers(void)
{
    CU_pSuite suite = CU_add_suite("peers", NULL, NULL);

    CU_add_test(suite, "rfast converges", test_rfast_converges);
    CU_add_test(suite, "rfast takes in what was sent", test_rfast_takes_in_what_was_sent);
    CU_add_test(suite, "rfast waits for nobody", test_rfast_waits_for_nobody);
    CU_add_test(suite, "dpsgd: times", test_dpsgd_times);
    CU_add_test(suite, "dpsgd with loss", test_dpsgd_with_loss);
    CU_add_test(suite, "links", test_links);
    CU_add_test(suite, "the link of a receiver", test_link_of_a_receiver);
    CU_add_test(suite, "dpsgd is a matrix", test_dpsgd_is_a_matrix);
    CU_add_test(suite, "baselines converge", test_baselines_converge);
    CU_add_test(suite, "seeds", test_seeds);
    CU_add_test(suite, "one node", test_one_node);
}
