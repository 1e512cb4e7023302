/* Nodes as jobs have them: f32, slots of a carrier, sequences. */
#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "algorithms/node.h"

#define NODES 3

/* Three nodes of a star whose messages arrive at once; f_i = (x - b_i)^2 / 2. */
struct net {
    struct kofn_graph graph;
    struct kofn_node nodes[NODES];
    float b[NODES], first;
};

static void net_open(struct net *net)
{
    memset(net, 0, sizeof(*net));
    CU_ASSERT_FATAL(!kofn_graph_make(KOFN_GRAPH_STAR, NODES, 0, NULL, &net->graph));
    for (uint32_t rank = 0; rank < NODES; rank++) {
        const struct kofn_node_attr attr = {.algorithm = &kofn_rfast,
                                            .graph = &net->graph,
                                            .rank = rank,
                                            .parameters = 1,
                                            .first = &net->first,
                                            .learning_rate = 0.1 * NODES};

        net->b[rank] = 3 * (float)rank;
        CU_ASSERT_FATAL(!kofn_node_open(&attr, &net->nodes[rank]));
    }
}

static void net_close(struct net *net)
{
    for (uint32_t rank = 0; rank < NODES; rank++) {
        for (uint32_t i = 0; i < net->nodes[rank].in_count; i++)
            free(net->nodes[rank].in[i].slot);
        kofn_node_close(&net->nodes[rank]);
    }
    kofn_graph_free(&net->graph);
}

static void net_send(struct net *net, uint32_t rank)
{
    for (uint32_t i = 0; i < net->nodes[rank].out_count; i++) {
        struct kofn_node_out *out = &net->nodes[rank].out[i];
        struct kofn_node *to = &net->nodes[out->to];
        float *message = malloc(sizeof(*message));

        if (!out->due || !message) {
            free(message);
            continue;
        }
        *message = *out->data;
        out->due = false;
        free(kofn_node_arrive(to, kofn_node_in_edge(to, rank, out->kind), message, out->scalar,
                              out->sequence));
    }
}

static void net_activate(struct net *net, uint32_t rank)
{
    struct kofn_node *node = &net->nodes[rank];
    float gradient;

    kofn_node_begin(node);
    gradient = *node->point - net->b[rank];
    CU_ASSERT(kofn_node_complete(node));
    kofn_node_finish(node, &gradient);
    net_send(net, rank);
}

/* The first activation of each is its first gradient; from there the exact trace, in f32. */
static void test_trace(void)
{
    static const double x[] = {0, 0.15, 0.3, 0, 0.14625, 0.2925, 0.4275, 0.32259375, 0.4314375};
    static const double z[] = {0,        -1.425,    -2.85,       -4.275,     -0.714375,
                               -1.42875, -5.990625, -0.26901562, -0.64490625};
    struct net net;
    double sum = 0, scale = 0;

    net_open(&net);
    for (uint32_t rank = 0; rank < NODES; rank++)
        net_activate(&net, rank);
    for (uint32_t act = 0; act < KOFN_ARRAY_SIZE(x); act++) {
        net_activate(&net, act % NODES);
        CU_ASSERT_DOUBLE_EQUAL(net.nodes[act % NODES].x[0], x[act], 1e-6);
        CU_ASSERT_DOUBLE_EQUAL(net.nodes[act % NODES].z[0], z[act], 1e-6);
    }
    CU_ASSERT_DOUBLE_EQUAL(*net.nodes[2].out[0].sum, -4.92365625, 1e-6);
    for (uint32_t rank = 0; rank < NODES; rank++)
        kofn_node_residual(&net.nodes[rank], &sum, &scale);
    CU_ASSERT(fabs(sum) < 1e-6 * scale);
    net_close(&net);
}

/* A message that was overtaken by a newer one changes nothing, and its buffer comes back. */
static void test_never_backwards(void)
{
    struct net net;
    struct kofn_node *root;
    uint32_t edge;
    float old = 1, newer = 2, gradient = 0;

    net_open(&net);
    root = &net.nodes[0];
    edge = kofn_node_in_edge(root, 1, KOFN_EDGE_MASS);
    CU_ASSERT_NOT_EQUAL_FATAL(edge, KOFN_ROOT_ANY);
    CU_ASSERT_PTR_NULL(kofn_node_arrive(root, edge, &newer, 0, 5));
    CU_ASSERT_PTR_EQUAL(kofn_node_arrive(root, edge, &old, 0, 4), &old);
    CU_ASSERT_PTR_EQUAL(kofn_node_arrive(root, edge, &newer, 0, 5), &newer);
    for (int i = 0; i < 2; i++) {
        kofn_node_begin(root);
        kofn_node_finish(root, &gradient);
    }
    CU_ASSERT_EQUAL(root->z[0], 2);
    CU_ASSERT_EQUAL(*root->in[edge].consumed, 2);
    root->in[edge].slot = NULL; /* it is not from the heap */
    net_close(&net);
}

void kofn_suite_node(void)
{
    CU_pSuite suite = CU_add_suite("node", NULL, NULL);

    CU_add_test(suite, "trace", test_trace);
    CU_add_test(suite, "never backwards", test_never_backwards);
}
