/* peers_open.c: a simulation of peers: its set-up, and its end. */
#include <stdlib.h>

#include "sim/peers_inside.h"

static int open_peer(struct kofn_peers *peers, uint32_t rank)
{
    const struct kofn_peers_attr *attr = &peers->attr;
    const struct kofn_node_attr node = {.algorithm = attr->algorithm,
                                        .graph = attr->graph,
                                        .rank = rank,
                                        .parameters = peers->parameters,
                                        .first = attr->model,
                                        .learning_rate = attr->learning_rate,
                                        .seed = attr->seed,
                                        .log = attr->log};
    struct kofn_peer *peer = &peers->list[rank];
    int rc = kofn_node_open(&node, &peer->node);

    if (rc)
        return rc;
    peer->links = calloc(peer->node.out_count + 1u, sizeof(*peer->links));
    if (!peer->links)
        return kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %u peers", peers->count);
    kofn_delay_source_init(&peer->delays, attr->seed, rank);
    return 0;
}

/* The receiver's edge of each of @edges: nodes have theirs in the order of the graph. */
static void join_edges(struct kofn_peers *peers, const struct kofn_graph_edge *edges, size_t count,
                       uint32_t *in, uint32_t *out)
{
    for (size_t i = 0; i < count; i++)
        peers->list[edges[i].from].links[out[edges[i].from]++].in = in[edges[i].to]++;
}

static int find_edges(struct kofn_peers *peers)
{
    const struct kofn_graph *graph = peers->attr.graph;
    const struct kofn_node_ops *ops = peers->attr.algorithm->peers;
    uint32_t *in = calloc(2 * (size_t)peers->count, sizeof(*in));

    if (!in)
        return kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %u peers", peers->count);
    if (ops->models)
        join_edges(peers, graph->models, graph->model_count, in, in + peers->count);
    if (ops->masses)
        join_edges(peers, graph->masses, graph->mass_count, in, in + peers->count);
    free(in);
    return 0;
}

static int open_parts(struct kofn_peers *peers)
{
    int rc = 0;

    peers->list = calloc(peers->count, sizeof(*peers->list));
    peers->gradient = kofn_node_vector(peers->parameters);
    peers->mean = kofn_node_vector(peers->parameters);
    peers->sum = calloc(peers->parameters + 1, sizeof(*peers->sum));
    if (!peers->list || !peers->gradient || !peers->mean || !peers->sum ||
        kofn_timers_open(&peers->timers, peers->count))
        return kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %u peers", peers->count);
    for (uint32_t rank = 0; rank < peers->count && !rc; rank++)
        rc = open_peer(peers, rank);
    return rc ? rc : find_edges(peers);
}

int kofn_peers_open(const struct kofn_peers_attr *attr, struct kofn_peers **peers_p)
{
    struct kofn_peers *peers = calloc(1, sizeof(*peers));
    int rc;

    if (!peers)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "simulation: %zu bytes", sizeof(*peers));
    peers->attr = *attr;
    peers->log = attr->log;
    peers->count = attr->graph->nodes;
    peers->root = attr->graph->root;
    peers->parameters = attr->work ? attr->work->parameters : 0;
    peers->now = peers->report.opened_ns = 1;
    kofn_random_seed(&peers->random, attr->seed, kofn_stream_of(KOFN_STREAM_LOSS, 0));
    rc = open_parts(peers);
    if (rc) {
        kofn_peers_close(peers);
        return rc;
    }
    for (uint32_t rank = 0; rank < peers->count; rank++)
        kofn_peer_begin(peers, rank);
    *peers_p = peers;
    return 0;
}

static void close_peer(struct kofn_peer *peer)
{
    for (uint32_t i = 0; peer->node.in && i < peer->node.in_count; i++) {
        free(peer->node.in[i].slot);
        free(peer->node.in[i].before);
    }
    kofn_node_close(&peer->node);
    free(peer->links);
}

void kofn_peers_close(struct kofn_peers *peers)
{
    const struct kofn_sim_work *work = peers ? peers->attr.work : NULL;

    if (!peers)
        return;
    kofn_peers_letters_close(peers);
    for (uint32_t rank = 0; peers->list && rank < peers->count; rank++) {
        if (work && work->drop && peers->list[rank].begin_ns)
            work->drop(work->arg, rank); /* it may be reading the node's parameters */
        close_peer(&peers->list[rank]);
    }
    kofn_timers_close(&peers->timers);
    free(peers->list);
    free(peers->gradient);
    free(peers->mean);
    free(peers->sum);
    free(peers);
}
