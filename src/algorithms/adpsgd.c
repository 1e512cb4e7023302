/* AD-PSGD (Lian et al. 2018): while a node computes a gradient on a copy of its model, its model is
 * averaged with that of a random neighbour; then it takes its step, on whatever the average is.
 *
 * On a ring of an even number of nodes those of even rank ask and the others answer, so that no two
 * wait for each other: an average is one exchange, atomic at whoever answers. A node that asks
 * takes its step when it has its answer.
 */
#include "algorithms/algorithm.h"
#include "algorithms/node.h"

#include <string.h>

static int open_node(struct kofn_node *node)
{
    node->v = kofn_node_vector(node->parameters);
    node->point = node->v;
    for (uint32_t i = 0; i < node->out_count; i++)
        node->out[i].data = node->x;
    return node->v ? 0 : KOFN_NO_MEMORY;
}

static bool asks(const struct kofn_node *node)
{
    return node->rank % 2 == 0;
}

static void say(struct kofn_node_out *out)
{
    out->sequence++;
    out->due = true;
}

static void begin(struct kofn_node *node)
{
    if (node->parameters)
        memcpy(node->v, node->x, node->parameters * sizeof(*node->x));
    if (!asks(node) || !node->out_count)
        return;
    node->partner = (uint32_t)kofn_random_below(&node->random, node->out_count);
    say(&node->out[node->partner]);
}

static bool complete(const struct kofn_node *node)
{
    return node->partner == KOFN_ROOT_ANY;
}

static void finish(struct kofn_node *node, const float *gradient)
{
    for (size_t i = 0; i < node->parameters; i++)
        node->x[i] -= node->rate * gradient[i];
}

static float *arrive(struct kofn_node *node, struct kofn_node_in *in, float *data, double scalar)
{
    (void)scalar;
    if (asks(node)) { /* the answer: the average */
        if (node->parameters)
            memcpy(node->x, data, node->parameters * sizeof(*data));
        node->partner = KOFN_ROOT_ANY;
        return data;
    }
    for (size_t i = 0; i < node->parameters; i++)
        node->x[i] = 0.5f * (node->x[i] + data[i]);
    for (uint32_t i = 0; i < node->out_count; i++)
        if (node->out[i].to == in->from)
            say(&node->out[i]);
    return data;
}

static const struct kofn_node_ops peers = {
    .graph = KOFN_GRAPH_BOTH_WAYS,
    .models = true,
    .pairs = true,
    .complete = complete,
    .open = open_node,
    .begin = begin,
    .finish = finish,
    .arrive = arrive,
};

const struct kofn_algorithm kofn_adpsgd = {
    .name = "adpsgd",
    .summary = "no server: averages with one random neighbour on a ring while it computes",
    .source = "Lian et al.: Asynchronous Decentralized Parallel SGD (arXiv 1710.06952)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_CONTINUES,
    .baseline = true,
    .single_step = true,
    .eager = true,
    .peers = &peers,
};
