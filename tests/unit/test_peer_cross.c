/* One algorithm, two worlds: real peers over the transport `self`, under a script that plays the
 * part of time and of the network, make the same activations with the same models as the simulator
 * does with the same seed and delays. And peers that lose a neighbour go on.
 */
#include "algorithms/algorithm.h"
#include "core/peer.h"
#include "sim/peers.h"
#include "sim_fixture.h"
#include "transports/self/self.h"

#define MOST 8
#define FLIGHTS 4096

static const float first[2] = {1, -1};

/* Of node @rank at @x. */
static void slope(uint32_t rank, const float *x, float *out)
{
    out[0] = x[0] - 3.0f * (float)rank;
    out[1] = 2 * (x[1] + (float)rank) + 0.25f * x[0];
}

/* Who finished when, with which model. */
static uint64_t digest(uint64_t history, uint32_t rank, uint64_t time, const float *model)
{
    uint32_t bits[2];

    memcpy(bits, model, sizeof(bits));
    history = (history ^ rank ^ time) * UINT64_C(1099511628211);
    return (history ^ bits[0] ^ (uint64_t)bits[1] << 32) * UINT64_C(1099511628211);
}

/* ---- the simulator's ---- */

struct simulated {
    const float *x[MOST];
    struct kofn_peers *peers;
    uint64_t history, left; /* activations to come */
};

static void begin(void *arg, uint32_t rank, const float *x, uint64_t due)
{
    (void)due;
    ((struct simulated *)arg)->x[rank] = x;
}

static float gradient(void *arg, uint32_t rank, float *out)
{
    slope(rank, ((struct simulated *)arg)->x[rank], out);
    return 0;
}

static void finished(void *arg, const struct kofn_node *node)
{
    struct simulated *simulated = arg;

    if (!simulated->left)
        return;
    simulated->left--;
    simulated->history =
        digest(simulated->history, node->rank, kofn_peers_now(simulated->peers), node->model);
}

static uint64_t simulate(const struct kofn_graph *graph, const struct kofn_delay *delay,
                         uint64_t latency, uint64_t activations)
{
    struct simulated simulated = {.left = activations};
    const struct kofn_sim_work work = {
        .parameters = 2, .begin = begin, .gradient = gradient, .arg = &simulated};
    const struct kofn_peers_attr attr = {.algorithm = &kofn_rfast,
                                         .graph = graph,
                                         .delay = delay,
                                         .net = {.latency_ns = latency},
                                         .seed = 5,
                                         .learning_rate = 0.1,
                                         .work = &work,
                                         .model = first,
                                         .finished = finished,
                                         .arg = &simulated};
    struct kofn_round_report report;

    CU_ASSERT_FATAL(!kofn_peers_open(&attr, &simulated.peers));
    while (simulated.left)
        CU_ASSERT_FATAL(!kofn_peers_step(simulated.peers, KOFN_FOREVER, UINT64_MAX, &report));
    CU_ASSERT_EQUAL(kofn_peers_mail(simulated.peers).skipped, 0);
    kofn_peers_close(simulated.peers);
    return simulated.history;
}

/* ---- the real ones ---- */

/* A message under way; all take the same time, so the first sent is the first there. */
struct flight {
    uint64_t time;
    uint32_t to, edge;
};

struct world {
    const struct kofn_graph *graph;
    struct kofn_fabric *fabrics[MOST]; /* of the hub of each */
    struct kofn_peer_attr attrs[MOST];
    struct kofn_peer_end peers[MOST];
    struct kofn_delay_source delays[MOST];
    uint64_t due[MOST]; /* an update ends */
    struct flight flights[FLIGHTS];
    size_t landed, started; /* of them, counted on and on */
};

static uint32_t edge_at(const struct world *world, uint32_t from, const struct kofn_node_out *out)
{
    return kofn_node_in_edge(&world->peers[out->to].node, from, out->kind);
}

static void open_peer(struct world *world, uint32_t rank)
{
    const struct kofn_fabric_attr fabric = {.workers = 2 * MOST, .seed = 1};

    CU_ASSERT_FATAL(!kofn_fabric_open(&fabric, &world->fabrics[rank]));
    world->attrs[rank] = (struct kofn_peer_attr){.node = {.algorithm = &kofn_rfast,
                                                          .graph = world->graph,
                                                          .rank = rank,
                                                          .parameters = 2,
                                                          .first = first,
                                                          .learning_rate = 0.1,
                                                          .seed = 5},
                                                 .transport = &kofn_self,
                                                 .context = world->fabrics[rank]};
    CU_ASSERT_FATAL(!kofn_peer_open(&world->attrs[rank], &world->peers[rank]));
    kofn_delay_source_init(&world->delays[rank], 5, rank);
}

static void join_edges(struct world *world, uint32_t rank)
{
    static const struct kofn_path nowhere;

    for (uint32_t i = 0; i < world->peers[rank].node.out_count; i++) {
        uint32_t to = world->peers[rank].node.out[i].to;
        uint32_t edge = edge_at(world, rank, &world->peers[rank].node.out[i]);
        struct kofn_offer offer = {0}, answer = {0};

        CU_ASSERT_FATAL(!kofn_peer_admit(&world->peers[to], edge, &nowhere, &offer));
        CU_ASSERT_FATAL(!kofn_peer_join(&world->peers[rank], i, edge, &nowhere, "a peer",
                                        world->fabrics[to], &offer, &answer));
        CU_ASSERT_FATAL(!kofn_peer_connect(&world->peers[to], edge, &answer));
    }
}

static void world_open(struct world *world, const struct kofn_graph *graph)
{
    memset(world, 0, sizeof(*world));
    world->graph = graph;
    for (uint32_t rank = 0; rank < graph->nodes; rank++)
        open_peer(world, rank);
    for (uint32_t rank = 0; rank < graph->nodes; rank++)
        join_edges(world, rank);
}

static void world_close(struct world *world)
{
    for (uint32_t rank = 0; rank < world->graph->nodes; rank++)
        kofn_peer_close(&world->peers[rank]);
    for (uint32_t rank = 0; rank < world->graph->nodes; rank++)
        kofn_fabric_close(world->fabrics[rank]);
}

/* A message lands: its payload and its stamp; and the gate that answers it goes back at once. */
static void land(struct world *world)
{
    const struct flight *flight = &world->flights[world->landed++ % FLIGHTS];
    struct kofn_fabric *fabric = world->fabrics[flight->to];

    CU_ASSERT(!kofn_fabric_deliver(fabric, flight->edge, KOFN_CHANNEL_DATA));
    CU_ASSERT(!kofn_fabric_deliver(fabric, flight->edge, KOFN_CHANNEL_DATA));
    kofn_peer_take(&world->peers[flight->to]);
    while (!kofn_fabric_deliver(fabric, flight->edge, KOFN_CHANNEL_DOWN))
        ;
}

static void take_off(struct world *world, uint32_t rank, uint64_t time)
{
    struct kofn_peer_end *peer = &world->peers[rank];
    uint64_t sent[4 * MOST];

    for (uint32_t i = 0; i < peer->node.out_count; i++)
        sent[i] = peer->out[i].sequence;
    kofn_peer_send(peer);
    for (uint32_t i = 0; i < peer->node.out_count; i++)
        if (peer->out[i].sequence > sent[i])
            world->flights[world->started++ % FLIGHTS] = (struct flight){
                time, peer->node.out[i].to, edge_at(world, rank, &peer->node.out[i])};
}

static void start_update(struct world *world, const struct kofn_delay *delay, uint32_t rank,
                         uint64_t now)
{
    double takes =
        kofn_delay_next(delay, &world->delays[rank], world->peers[rank].node.activations);

    kofn_node_begin(&world->peers[rank].node);
    world->due[rank] = now + (uint64_t)fmax(1, takes);
}

static uint32_t next_rank(const struct world *world)
{
    uint32_t next = 0;

    for (uint32_t rank = 1; rank < world->graph->nodes; rank++)
        if (world->due[rank] < world->due[next])
            next = rank;
    return next;
}

static uint64_t play(struct world *world, const struct kofn_delay *delay, uint64_t latency,
                     uint64_t activations)
{
    uint64_t history = 0;
    float g[2];

    for (uint32_t rank = 0; rank < world->graph->nodes; rank++)
        start_update(world, delay, rank, 0);
    while (activations--) {
        uint32_t rank = next_rank(world);
        struct kofn_node *node = &world->peers[rank].node;
        uint64_t now = world->due[rank];

        while (world->landed < world->started &&
               world->flights[world->landed % FLIGHTS].time <= now)
            land(world);
        slope(rank, node->point, g);
        kofn_node_finish(node, g);
        history = digest(history, rank, now, node->model);
        take_off(world, rank, now + latency);
        start_update(world, delay, rank, now);
    }
    return history;
}

static const struct {
    enum kofn_graph_kind kind;
    uint32_t nodes;
    uint64_t latency;
} rows[] = {
    {KOFN_GRAPH_STAR, 4, 0},        {KOFN_GRAPH_TREE, 7, 0},
    {KOFN_GRAPH_TREE, 7, 900000},   {KOFN_GRAPH_LINE, 3, 500000},
    {KOFN_GRAPH_RING, 5, 900000},   {KOFN_GRAPH_RING, 8, 0},
    {KOFN_GRAPH_EXPONENTIAL, 8, 1}, {KOFN_GRAPH_EXPONENTIAL, 6, 900000},
};

/* The same seed and delays: the same activations at the same times with the same models, bit for
 * bit. (Updates take so long that no message finds another one under way: then alone the simulator,
 * whose edges carry one, and two buffers are the same.)
 */
static void test_same_history(void)
{
    struct world *world = calloc(1, sizeof(*world));
    struct kofn_delay delay;

    CU_ASSERT_FATAL(world && !kofn_delay_open("uniform:2ms,20ms", NULL, &delay));
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rows); i++) {
        struct kofn_graph graph;

        CU_ASSERT_FATAL(!kofn_graph_make(rows[i].kind, rows[i].nodes, 0, NULL, &graph));
        world_open(world, &graph);
        CU_ASSERT_EQUAL(play(world, &delay, rows[i].latency, 3000),
                        simulate(&graph, &delay, rows[i].latency, 3000));
        CU_ASSERT_EQUAL(world->peers[0].skipped, 0);
        world_close(world);
        kofn_graph_free(&graph);
    }
    kofn_delay_close(&delay);
    free(world);
}

/* How far the law is violated over the peers but @lost. */
static double violation(const struct world *world, uint32_t lost)
{
    double sum[2] = {0}, scale[2] = {0};

    for (uint32_t rank = 0; rank < world->graph->nodes; rank++)
        if (rank != lost)
            kofn_node_residual(&world->peers[rank].node, sum, scale);
    return fmax(fabs(sum[0]) / scale[0], fabs(sum[1]) / scale[1]);
}

/* One activation of @rank; what it sends lands at once. */
static void activate(struct world *world, uint32_t rank)
{
    struct kofn_node *node = &world->peers[rank].node;
    float g[2];

    kofn_node_begin(node);
    slope(rank, node->point, g);
    kofn_node_finish(node, g);
    take_off(world, rank, 0);
    while (world->landed < world->started)
        land(world);
}

/* What is left of the law once nothing is under way: all that was ever given along a link has been
 * taken in, bit for bit, and all trackers together are all gradients.
 */
static void check_drained(const struct world *world)
{
    double z = 0, g = 0, scale = 0;

    for (uint32_t rank = 0; rank < world->graph->nodes; rank++) {
        const struct kofn_node *node = &world->peers[rank].node;

        z += (double)node->z[0];
        g += (double)node->g[0];
        scale += fabs((double)node->g[0]);
        for (uint32_t i = 0; i < node->out_count; i++) {
            const struct kofn_node *to = &world->peers[node->out[i].to].node;
            uint32_t edge = edge_at(world, rank, &node->out[i]);

            if (node->out[i].kind == KOFN_EDGE_MASS)
                CU_ASSERT(!memcmp(to->in[edge].consumed, node->out[i].sum, 2 * sizeof(float)));
        }
    }
    CU_ASSERT_DOUBLE_EQUAL(z, g, 1e-5 * (scale + 1));
}

/* Peers that activate at random, half of whose messages are lost: then none is lost any more, and
 * each makes a last activation, leaves first, so that all mass comes to the root. (Places of a tree
 * are in that order, and mass runs in no cycles: it comes to rest.)
 */
static void test_drained(void)
{
    static const enum kofn_graph_kind kinds[] = {KOFN_GRAPH_STAR, KOFN_GRAPH_TREE, KOFN_GRAPH_LINE};
    struct world *world = calloc(1, sizeof(*world));
    struct kofn_random random;
    struct kofn_graph graph;

    CU_ASSERT_FATAL(world != NULL);
    kofn_random_seed(&random, 3, 1);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kinds); i++) {
        uint64_t lost = 0;

        CU_ASSERT_FATAL(!kofn_graph_make(kinds[i], 7, 0, NULL, &graph));
        world_open(world, &graph);
        for (uint32_t rank = 0; rank < 7; rank++)
            world->attrs[rank].loss = 0.5;
        for (int n = 0; n < 4000; n++)
            activate(world, (uint32_t)kofn_random_below(&random, 7));
        for (uint32_t rank = 7; rank-- > 0;) {
            world->attrs[rank].loss = 0;
            activate(world, rank);
            lost += world->peers[rank].lost;
        }
        CU_ASSERT(lost > 1000);
        check_drained(world);
        world_close(world);
        kofn_graph_free(&graph);
    }
    free(world);
}

/* A receiver that sleeps holds the credits: its neighbours leave messages out, and once it is awake
 * nothing is missing.
 */
static void test_no_credit(void)
{
    struct world *world = calloc(1, sizeof(*world));
    struct kofn_graph graph;
    float g[2] = {1, 1};
    struct kofn_node_in *in;

    CU_ASSERT_FATAL(world && !kofn_graph_make(KOFN_GRAPH_LINE, 2, 0, NULL, &graph));
    world_open(world, &graph);
    for (int i = 0; i < 10; i++) { /* nothing is delivered, so nothing is released */
        kofn_node_begin(&world->peers[1].node);
        kofn_node_finish(&world->peers[1].node, g);
        kofn_peer_send(&world->peers[1]);
    }
    CU_ASSERT_EQUAL(world->peers[1].sent, 2);
    CU_ASSERT_EQUAL(world->peers[1].skipped, 7);
    while (!kofn_fabric_deliver(world->fabrics[0], 0, KOFN_CHANNEL_DATA))
        ;
    kofn_peer_take(&world->peers[0]);
    kofn_fabric_deliver_all(world->fabrics[0]);
    kofn_node_begin(&world->peers[1].node);
    kofn_node_finish(&world->peers[1].node, g);
    kofn_peer_send(&world->peers[1]);
    CU_ASSERT_EQUAL(world->peers[1].sent, 3);
    kofn_fabric_deliver_all(world->fabrics[0]);
    kofn_peer_take(&world->peers[0]);
    in = &world->peers[0].node.in[0];
    CU_ASSERT_EQUAL(in->sequence, 3);
    CU_ASSERT(!memcmp(in->slot, world->peers[1].node.out[0].sum, sizeof(g)));
    CU_ASSERT(violation(world, KOFN_ROOT_ANY) < 1e-6);
    world_close(world);
    kofn_graph_free(&graph);
    free(world);
}

/* A leaf is gone in the middle of the job: nothing of it is looked at or sent to any more, the law
 * holds for the others, and their models go to the optimum of those that are left.
 */
static void test_lost_neighbour(void)
{
    struct world *world = calloc(1, sizeof(*world));
    struct kofn_graph graph;
    struct kofn_delay delay;
    float g[2];

    CU_ASSERT_FATAL(world && !kofn_graph_make(KOFN_GRAPH_STAR, 4, 0, NULL, &graph));
    CU_ASSERT_FATAL(!kofn_delay_open("uniform:2ms,20ms", NULL, &delay));
    world_open(world, &graph);
    play(world, &delay, 0, 500);
    kofn_peer_lose(&world->peers[0], 3);
    for (uint32_t i = 0; i < 6000; i++) {
        uint32_t rank = i % 3;

        while (world->landed < world->started)
            if (world->flights[world->landed % FLIGHTS].to == 3 ||
                !world->peers[0].connected[world->flights[world->landed % FLIGHTS].edge])
                world->landed++;
            else
                land(world);
        slope(rank, world->peers[rank].node.point, g);
        kofn_node_finish(&world->peers[rank].node, g);
        take_off(world, rank, 0);
        kofn_node_begin(&world->peers[rank].node);
    }
    CU_ASSERT(violation(world, 3) < 1e-5);
    for (uint32_t rank = 0; rank < 3; rank++) {
        const float *x = world->peers[rank].node.model;

        CU_ASSERT_DOUBLE_EQUAL(x[0], 3, 1e-4);      /* the mean of 0, 3, 6 */
        CU_ASSERT_DOUBLE_EQUAL(x[1], -1.375, 1e-4); /* 2 (x + 1) + 3 / 4 = 0 */
    }
    world_close(world);
    kofn_delay_close(&delay);
    kofn_graph_free(&graph);
    free(world);
}

void kofn_suite_peer_cross(void)
{
    CU_pSuite suite = CU_add_suite("peer_cross", NULL, NULL);

    CU_add_test(suite, "the same history", test_same_history);
    CU_add_test(suite, "drained", test_drained);
    CU_add_test(suite, "no credit", test_no_credit);
    CU_add_test(suite, "a lost neighbour", test_lost_neighbour);
}
