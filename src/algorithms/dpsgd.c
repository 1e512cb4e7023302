/* D-PSGD (Lian et al. 2017): synchronous gossip on a ring. In its round k every node computes a
 * gradient on its own model while those of its two neighbours travel, and then
 *
 *   x = sum over itself and its neighbours of x_j / 3 - lr gradient(x_i)
 *
 * Nobody is more than one round ahead of a neighbour, so two messages of each are enough to hold.
 */
#include "algorithms/algorithm.h"
#include "algorithms/node.h"

#include <string.h>

static int open_node(struct kofn_node *node)
{
    for (uint32_t i = 0; i < node->out_count; i++)
        node->out[i].data = node->x;
    return 0;
}

static void begin(struct kofn_node *node)
{
    (void)node; /* the gradient is that of the node's own model */
}

/* Message k is the model after k rounds. */
static bool complete(const struct kofn_node *node)
{
    for (uint32_t i = 0; i < node->in_count; i++)
        if (node->in[i].sequence < node->activations)
            return false;
    return true;
}

static const float *model_of_round(const struct kofn_node *node, const struct kofn_node_in *in)
{
    if (!node->activations)
        return node->first;
    return in->sequence > node->activations ? in->before : in->slot;
}

static void finish(struct kofn_node *node, const float *gradient)
{
    for (size_t i = 0; i < node->parameters; i++)
        node->x[i] = node->own_model * node->x[i] - node->rate * gradient[i];
    for (uint32_t k = 0; k < node->in_count; k++) {
        const float *model = model_of_round(node, &node->in[k]);

        for (size_t i = 0; i < node->parameters; i++)
            node->x[i] += node->in[k].weight * model[i];
    }
    kofn_node_tell(node, KOFN_EDGE_MODEL);
}

static float *arrive(struct kofn_node *node, struct kofn_node_in *in, float *data, double scalar)
{
    float *unused = in->before;

    (void)node, (void)scalar;
    in->before = in->slot;
    in->slot = data;
    return unused;
}

static const struct kofn_node_ops peers = {
    .graph = KOFN_GRAPH_BOTH_WAYS,
    .models = true,
    .even = true,
    .complete = complete,
    .open = open_node,
    .begin = begin,
    .finish = finish,
    .arrive = arrive,
};

const struct kofn_algorithm kofn_dpsgd = {
    .name = "dpsgd",
    .summary = "no server: synchronous gossip with the two neighbours on a ring",
    .source = "Lian et al.: Can Decentralized Algorithms Outperform Centralized Algorithms? "
              "(arXiv 1705.09056)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_CONTINUES,
    .baseline = true,
    .single_step = true,
    .eager = true,
    .peers = &peers,
};
