/* OSGP (Assran et al. 2019): push-sum on the directed exponential graph, communication behind
 * computation. After step k a node keeps one half of its x and of its weight w and sends the other
 * to the node 2^(k mod log2 N) places further; gradients are taken at z = x / w.
 *
 * As in the paper a message carries its own half alone, so that none may be lost: a lost one is
 * sent again. What has arrived is taken in at the end of a step, and no step k ends before what
 * step k - 1 of the one in turn has sent is there (an overlap of one step).
 */
#include "algorithms/algorithm.h"
#include "algorithms/node.h"

#include <string.h>

/* x is biased; z is the model; v is sent; what arrives gathers in g. */
static int open_node(struct kofn_node *node)
{
    node->z = kofn_node_vector(node->parameters);
    node->v = kofn_node_vector(node->parameters);
    node->g = kofn_node_vector(node->parameters);
    if (!node->z || !node->v || !node->g)
        return KOFN_NO_MEMORY;
    if (node->parameters)
        memcpy(node->z, node->x, node->parameters * sizeof(*node->x));
    node->scalar = 1;
    node->point = node->model = node->z;
    for (uint32_t i = 0; i < node->out_count; i++)
        node->out[i].data = node->v;
    return 0;
}

static void begin(struct kofn_node *node)
{
    (void)node; /* z is as the last step has left it */
}

/* Out-edges are in the order of their hops: who is to hear of step @step. */
static uint32_t turn(const struct kofn_node *node, uint64_t step)
{
    return (uint32_t)(step % node->out_count);
}

static bool complete(const struct kofn_node *node)
{
    uint32_t hop, from, edge;

    if (!node->activations || !node->out_count)
        return true;
    hop = UINT32_C(1) << turn(node, node->activations - 1);
    from = (node->rank + node->nodes - hop) % node->nodes;
    edge = kofn_node_in_edge(node, from, KOFN_EDGE_MASS);
    return node->in[edge].sequence >= node->activations;
}

static void finish(struct kofn_node *node, const float *gradient)
{
    float keep = node->out_count ? 0.5f : 1;

    for (size_t i = 0; i < node->parameters; i++) {
        node->v[i] = keep * (node->x[i] - node->rate * gradient[i]);
        node->x[i] = node->v[i] + node->g[i];
        node->g[i] = 0;
    }
    if (node->out_count) {
        struct kofn_node_out *out = &node->out[turn(node, node->activations)];

        node->scalar /= 2;
        out->scalar = node->scalar;
        out->sequence = node->activations + 1;
        out->due = true;
    }
    node->scalar += node->received;
    node->received = 0;
    for (size_t i = 0; i < node->parameters; i++)
        node->z[i] = node->x[i] / (float)node->scalar;
}

static float *arrive(struct kofn_node *node, struct kofn_node_in *in, float *data, double scalar)
{
    (void)in;
    for (size_t i = 0; i < node->parameters; i++)
        node->g[i] += data[i];
    node->received += scalar;
    return data;
}

static const struct kofn_node_ops peers = {
    .graph = KOFN_GRAPH_EXPONENTIAL,
    .masses = true,
    .even = true,
    .complete = complete,
    .open = open_node,
    .begin = begin,
    .finish = finish,
    .arrive = arrive,
};

const struct kofn_algorithm kofn_osgp = {
    .name = "osgp",
    .summary = "no server: push-sum on the directed exponential graph, one step overlapped",
    .source = "Assran, Loizou, Ballas, Rabbat: Stochastic Gradient Push (arXiv 1811.10792)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_CONTINUES,
    .baseline = true,
    .single_step = true,
    .eager = true,
    .peers = &peers,
};
