/* R-FAST (Zhu, Tian, Huang, Xu, He 2023): every node steps along its tracker of the sum of all
 * gradients, mixes in the newest models of its parents, and hands shares of its tracker on as
 * running sums: a message that is late, lost or overwritten delays mass and loses none.
 *
 *   S1  v = x - gamma z
 *   S2  x = w_ii v + sum over j of w_ij v_j
 *   S3  half = z + sum over j of (rho_ij - rho~_ij) + gradient(x) - g
 *       rho_ji += a_ji half;  z = half - what these sums have grown by;  rho~ = rho;  g = gradient
 *   S4  v and rho_ji are sent, each over its slot at the neighbour
 *
 * z keeps what rounding did not let into the sums (they grow without bound where there are cycles).
 * The first activation of a node computes its first gradient, and z = g.
 */
#include "algorithms/algorithm.h"
#include "algorithms/node.h"

#define KOFN_RFAST_REAL float
#define KOFN_RFAST_NAME(name) name
#include "algorithms/rfast_steps.h"

static int open_node(struct kofn_node *node)
{
    node->z = kofn_node_vector(node->parameters);
    node->g = kofn_node_vector(node->parameters);
    node->v = kofn_node_vector(node->parameters);
    if (!node->z || !node->g || !node->v)
        return KOFN_NO_MEMORY;
    for (uint32_t i = 0; i < node->in_count; i++)
        if (node->in[i].kind == KOFN_EDGE_MASS) {
            node->in[i].consumed = kofn_node_vector(node->parameters);
            if (!node->in[i].consumed)
                return KOFN_NO_MEMORY;
        }
    for (uint32_t i = 0; i < node->out_count; i++) {
        node->out[i].data = node->v;
        if (node->out[i].kind != KOFN_EDGE_MASS)
            continue;
        node->out[i].data = node->out[i].sum = kofn_node_vector(node->parameters);
        if (!node->out[i].sum)
            return KOFN_NO_MEMORY;
    }
    return 0;
}

static void begin(struct kofn_node *node)
{
    size_t count = 0;

    if (!node->activations)
        return; /* the first gradient is that of the first model */
    for (uint32_t i = 0; i < node->in_count; i++) {
        const struct kofn_node_in *in = &node->in[i];

        if (in->kind != KOFN_EDGE_MODEL || in->cut)
            continue;
        node->slots[count] = in->slot ? in->slot : node->first;
        node->weights[count++] = in->weight;
    }
    mix(node->parameters, node->rate, node->own_model, node->z, node->x, node->v, count,
        node->weights, node->slots);
}

static void finish(struct kofn_node *node, const float *gradient)
{
    float **consumed = node->vectors, **sums = node->vectors + node->lists;
    size_t in = 0, out = 0;

    if (!node->activations) {
        for (size_t i = 0; i < node->parameters; i++) {
            node->z[i] += gradient[i]; /* 0, or what a lost neighbour has left */
            node->g[i] = gradient[i];
        }
        return;
    }
    for (uint32_t i = 0; i < node->in_count; i++)
        if (node->in[i].kind == KOFN_EDGE_MASS && node->in[i].slot) {
            node->slots[in] = node->in[i].slot;
            consumed[in++] = node->in[i].consumed;
        }
    for (uint32_t i = 0; i < node->out_count; i++)
        if (node->out[i].kind == KOFN_EDGE_MASS && !node->out[i].cut) {
            node->weights[out] = node->out[i].share;
            sums[out++] = node->out[i].sum;
        }
    track(node->parameters, node->own_mass, true, gradient, node->z, node->g, in, node->slots,
          consumed, out, node->weights, sums);
    kofn_node_tell(node, KOFN_EDGE_MODEL);
    kofn_node_tell(node, KOFN_EDGE_MASS);
}

static const struct kofn_node_ops peers = {
    .any_graph = true,
    .models = true,
    .masses = true,
    .lossy = true,
    .tracks = true,
    .open = open_node,
    .begin = begin,
    .finish = finish,
};

const struct kofn_algorithm kofn_rfast = {
    .name = "rfast",
    .summary = "no server and no rounds: peers on two spanning trees, lost messages lose nothing",
    .source = "Zhu, Tian, Huang, Xu, He: R-FAST (arXiv 2307.11617)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_CONTINUES,
    .single_step = true,
    .eager = true,
    .peers = &peers,
};
