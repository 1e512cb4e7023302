#include "algorithms/node.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"

float *kofn_node_vector(size_t elements)
{
    size_t bytes = kofn_round_up((elements + 1) * sizeof(float), KOFN_CACHE_LINE);
    float *vector = aligned_alloc(KOFN_CACHE_LINE, bytes);

    return vector ? memset(vector, 0, bytes) : NULL;
}

void kofn_node_tell(struct kofn_node *node, enum kofn_edge_kind kind)
{
    for (uint32_t i = 0; i < node->out_count; i++)
        if (node->out[i].kind == kind && !node->out[i].cut) {
            node->out[i].due = true;
            node->out[i].sequence++;
        }
}

/* ---- edges ---- */

static uint32_t degree(const struct kofn_graph_ends *ends, uint32_t node)
{
    return ends->first[node + 1] - ends->first[node];
}

static void take_ins(struct kofn_node *node, enum kofn_edge_kind kind,
                     const struct kofn_graph_edge *edges, const struct kofn_graph_ends *ends)
{
    for (uint32_t i = ends->first[node->rank]; i < ends->first[node->rank + 1]; i++) {
        const struct kofn_graph_edge *edge = &edges[ends->places[i]];

        node->in[node->in_count++] =
            (struct kofn_node_in){.from = edge->from, .kind = kind, .weight = (float)edge->weight};
    }
}

static void take_outs(struct kofn_node *node, enum kofn_edge_kind kind,
                      const struct kofn_graph_edge *edges, const struct kofn_graph_ends *ends)
{
    for (uint32_t i = ends->first[node->rank]; i < ends->first[node->rank + 1]; i++) {
        const struct kofn_graph_edge *edge = &edges[ends->places[i]];

        node->out[node->out_count++] =
            (struct kofn_node_out){.to = edge->to, .kind = kind, .share = (float)edge->weight};
    }
}

static int open_edges(struct kofn_node *node, const struct kofn_graph *graph)
{
    bool models = node->ops->models, masses = node->ops->masses;
    uint32_t ins = (models ? degree(&graph->models_to, node->rank) : 0) +
                   (masses ? degree(&graph->masses_to, node->rank) : 0);
    uint32_t outs = (models ? degree(&graph->models_from, node->rank) : 0) +
                    (masses ? degree(&graph->masses_from, node->rank) : 0);
    uint32_t most = KOFN_MAX(ins, outs) + 1;

    node->in = calloc(ins + 1u, sizeof(*node->in));
    node->out = calloc(outs + 1u, sizeof(*node->out));
    node->slots = calloc(most, sizeof(*node->slots));
    node->vectors = calloc(2 * (size_t)most, sizeof(*node->vectors));
    node->weights = calloc(most, sizeof(*node->weights));
    if (!node->in || !node->out || !node->slots || !node->vectors || !node->weights)
        return KOFN_NO_MEMORY;
    node->lists = most;
    if (models) {
        take_ins(node, KOFN_EDGE_MODEL, graph->models, &graph->models_to);
        take_outs(node, KOFN_EDGE_MODEL, graph->models, &graph->models_from);
    }
    if (masses) {
        take_ins(node, KOFN_EDGE_MASS, graph->masses, &graph->masses_to);
        take_outs(node, KOFN_EDGE_MASS, graph->masses, &graph->masses_from);
    }
    return 0;
}

uint32_t kofn_node_in_edge(const struct kofn_node *node, uint32_t from, enum kofn_edge_kind kind)
{
    for (uint32_t i = 0; i < node->in_count; i++)
        if (node->in[i].from == from && node->in[i].kind == kind)
            return i;
    return KOFN_ROOT_ANY;
}

/* ---- the node ---- */

int kofn_node_open(const struct kofn_node_attr *attr, struct kofn_node *node)
{
    const struct kofn_graph *graph = attr->graph;
    int rc;

    *node = (struct kofn_node){.ops = attr->algorithm->peers,
                               .rank = attr->rank,
                               .nodes = graph->nodes,
                               .parameters = attr->parameters,
                               .rate = (float)attr->learning_rate,
                               .own_model = (float)graph->own_model[attr->rank],
                               .own_mass = (float)graph->own_mass[attr->rank],
                               .first = attr->first,
                               .partner = KOFN_ROOT_ANY};
    if (node->ops->tracks)
        node->rate = (float)(attr->learning_rate / graph->nodes);
    kofn_random_seed(&node->random, attr->seed, kofn_stream_of(KOFN_STREAM_PEER, attr->rank));
    node->x = kofn_node_vector(node->parameters);
    node->acyclic = graph->acyclic;
    rc = node->x ? open_edges(node, graph) : KOFN_NO_MEMORY;
    if (!rc && node->parameters)
        memcpy(node->x, node->first, node->parameters * sizeof(*node->x));
    node->point = node->model = node->x;
    if (!rc)
        rc = node->ops->open(node);
    if (!rc)
        return 0;
    kofn_node_close(node);
    return kofn_error(attr->log, rc, "rank %u: a node of %zu parameters: no memory", attr->rank,
                      attr->parameters);
}

void kofn_node_close(struct kofn_node *node)
{
    for (uint32_t i = 0; node->in && i < node->in_count; i++)
        free(node->in[i].consumed);
    for (uint32_t i = 0; node->out && i < node->out_count; i++)
        free(node->out[i].sum);
    free(node->in);
    free(node->out);
    free(node->slots);
    free(node->vectors);
    free(node->weights);
    free(node->x);
    free(node->z);
    free(node->g);
    free(node->v);
    memset(node, 0, sizeof(*node));
}

void kofn_node_begin(struct kofn_node *node)
{
    node->ops->begin(node);
}

bool kofn_node_complete(const struct kofn_node *node)
{
    return !node->ops->complete || node->ops->complete(node);
}

void kofn_node_finish(struct kofn_node *node, const float *gradient)
{
    node->ops->finish(node, gradient);
    node->activations++;
}

float *kofn_node_arrive(struct kofn_node *node, uint32_t index, float *data, double scalar,
                        uint64_t sequence)
{
    struct kofn_node_in *in = &node->in[index];
    float *unused;

    if (sequence <= in->sequence || in->cut)
        return data; /* something newer has overtaken it, or nobody wants it */
    in->sequence = sequence;
    if (node->ops->arrive)
        return node->ops->arrive(node, in, data, scalar);
    unused = in->slot;
    in->slot = data;
    return unused;
}

/* What has been taken in from a neighbour that is gone: given back, or kept as it has arrived. */
static void settle_in(struct kofn_node *node, struct kofn_node_in *in)
{
    for (size_t i = 0; in->consumed && i < node->parameters; i++) {
        float snapshot = node->acyclic ? 0 : in->slot ? in->slot[i] : in->consumed[i];

        node->z[i] += snapshot - in->consumed[i];
        in->consumed[i] = snapshot;
    }
    in->slot = NULL;
}

/* What it was given: taken back, or lost with it. */
static void settle_out(struct kofn_node *node, struct kofn_node_out *out)
{
    for (size_t i = 0; node->acyclic && out->sum && i < node->parameters; i++) {
        node->z[i] += out->sum[i];
        out->sum[i] = 0;
    }
    out->due = false;
}

void kofn_node_lose(struct kofn_node *node, uint32_t rank)
{
    for (uint32_t k = 0; k < node->in_count; k++) {
        struct kofn_node_in *in = &node->in[k];

        if (in->from != rank || in->cut)
            continue;
        in->cut = true;
        if (in->kind == KOFN_EDGE_MODEL)
            node->own_model += in->weight;
        settle_in(node, in);
    }
    for (uint32_t k = 0; k < node->out_count; k++)
        if (node->out[k].to == rank && !node->out[k].cut) {
            node->out[k].cut = true;
            settle_out(node, &node->out[k]);
        }
}

void kofn_node_residual(const struct kofn_node *node, double *sum, double *scale)
{
    for (size_t i = 0; i < node->parameters; i++) {
        sum[i] += (double)node->z[i] - (double)node->g[i];
        scale[i] += fabs((double)node->z[i]) + fabs((double)node->g[i]);
    }
    for (uint32_t k = 0; k < node->out_count; k++)
        for (size_t i = 0; node->out[k].sum && i < node->parameters; i++) {
            sum[i] += (double)node->out[k].sum[i];
            scale[i] += fabs((double)node->out[k].sum[i]);
        }
    for (uint32_t k = 0; k < node->in_count; k++)
        for (size_t i = 0; node->in[k].consumed && i < node->parameters; i++)
            sum[i] -= (double)node->in[k].consumed[i];
}
