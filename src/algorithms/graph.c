#include "algorithms/graph.h"

#include <stdlib.h>
#include <string.h>

/* By their place in enum kofn_graph_kind. */
static const char *const names[] = {"star", "tree", "line", "ring", "exponential"};

const char *kofn_graph_name(size_t index)
{
    return index < KOFN_ARRAY_SIZE(names) ? names[index] : NULL;
}

int kofn_graph_find(struct kofn_text name)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++)
        if (kofn_text_is(name, names[i]))
            return (int)i;
    return -1;
}

void kofn_graph_free(struct kofn_graph *graph)
{
    free(graph->own_model);
    free(graph->own_mass);
    free(graph->models);
    free(graph->masses);
    free(graph->by_node);
    memset(graph, 0, sizeof(*graph));
}

int kofn_graph_reserve(uint32_t nodes, size_t models, size_t masses, const struct kofn_log *log,
                       struct kofn_graph *graph)
{
    *graph = (struct kofn_graph){.nodes = nodes};
    graph->own_model = calloc(nodes, sizeof(*graph->own_model));
    graph->own_mass = calloc(nodes, sizeof(*graph->own_mass));
    graph->models = calloc(models + 1, sizeof(*graph->models));
    graph->masses = calloc(masses + 1, sizeof(*graph->masses));
    if (graph->own_model && graph->own_mass && graph->models && graph->masses)
        return 0;
    kofn_graph_free(graph);
    return kofn_error(log, KOFN_NO_MEMORY, "topology: %zu edges", models + masses);
}

/* ---- the edges of each node ---- */

/* Sorts @edges by one of their ends, those of a node as they are in the list: @first has nodes + 1
 * elements of zero, @places one an edge.
 */
static struct kofn_graph_ends sort_ends(const struct kofn_graph_edge *edges, size_t count,
                                        bool by_from, uint32_t nodes, uint32_t *first,
                                        uint32_t *places)
{
    for (size_t i = 0; i < count; i++)
        first[(by_from ? edges[i].from : edges[i].to) + 1]++;
    for (uint32_t node = 0; node < nodes; node++)
        first[node + 1] += first[node];
    for (size_t i = 0; i < count; i++)
        places[first[by_from ? edges[i].from : edges[i].to]++] = (uint32_t)i;
    for (uint32_t node = nodes; node > 0; node--) /* each has moved on to the next one's */
        first[node] = first[node - 1];
    first[0] = 0;
    return (struct kofn_graph_ends){first, places};
}

int kofn_graph_index(struct kofn_graph *graph, const struct kofn_log *log)
{
    size_t heads = graph->nodes + (size_t)1, models = graph->model_count;
    size_t masses = graph->mass_count;
    uint32_t *next = calloc(4 * heads + 2 * (models + masses), sizeof(*next));

    if (!next) {
        kofn_graph_free(graph);
        return kofn_error(log, KOFN_NO_MEMORY, "topology: %zu edges", models + masses);
    }
    graph->by_node = next;
    graph->models_to = sort_ends(graph->models, models, false, graph->nodes, next, next + heads);
    next += heads + models;
    graph->models_from = sort_ends(graph->models, models, true, graph->nodes, next, next + heads);
    next += heads + models;
    graph->masses_to = sort_ends(graph->masses, masses, false, graph->nodes, next, next + heads);
    next += heads + masses;
    graph->masses_from = sort_ends(graph->masses, masses, true, graph->nodes, next, next + heads);
    return 0;
}

/* ---- built-in ones; places are counted from the root ---- */

static void add_model(struct kofn_graph *graph, uint32_t from, uint32_t to)
{
    graph->models[graph->model_count++] = (struct kofn_graph_edge){
        (from + graph->root) % graph->nodes, (to + graph->root) % graph->nodes, 1};
}

static void add_mass(struct kofn_graph *graph, uint32_t from, uint32_t to)
{
    graph->masses[graph->mass_count++] = (struct kofn_graph_edge){
        (from + graph->root) % graph->nodes, (to + graph->root) % graph->nodes, 1};
}

/* Models go down, mass goes up. */
static void add_child(struct kofn_graph *graph, uint32_t parent, uint32_t child)
{
    add_model(graph, parent, child);
    add_mass(graph, child, parent);
}

static void add_both(struct kofn_graph *graph, uint32_t from, uint32_t to)
{
    add_model(graph, from, to);
    add_mass(graph, from, to);
}

static void connect(enum kofn_graph_kind kind, uint32_t place, struct kofn_graph *graph)
{
    uint32_t nodes = graph->nodes, before = (place + nodes - 1) % nodes;

    switch (kind) {
    case KOFN_GRAPH_STAR:
        if (place)
            add_child(graph, 0, place);
        break;
    case KOFN_GRAPH_TREE:
        if (place)
            add_child(graph, (place - 1) / 2, place);
        break;
    case KOFN_GRAPH_LINE:
        if (place)
            add_child(graph, place - 1, place);
        break;
    case KOFN_GRAPH_RING:
        if (nodes > 1)
            add_both(graph, place, (place + 1) % nodes);
        break;
    case KOFN_GRAPH_EXPONENTIAL:
        for (uint64_t hop = 1; hop < nodes; hop *= 2)
            add_both(graph, place, (uint32_t)((place + hop) % nodes));
        break;
    case KOFN_GRAPH_BOTH_WAYS:
        if (nodes > 1)
            add_both(graph, place, (place + 1) % nodes);
        if (nodes > 2)
            add_both(graph, place, before);
        break;
    }
}

/* All that a node weighs weighs the same, and all its shares are equal. */
static void weigh(struct kofn_graph *graph)
{
    for (uint32_t node = 0; node < graph->nodes; node++)
        graph->own_model[node] = graph->own_mass[node] = 1;
    for (size_t i = 0; i < graph->model_count; i++)
        graph->own_model[graph->models[i].to]++;
    for (size_t i = 0; i < graph->mass_count; i++)
        graph->own_mass[graph->masses[i].from]++;
    for (uint32_t node = 0; node < graph->nodes; node++) {
        graph->own_model[node] = 1 / graph->own_model[node];
        graph->own_mass[node] = 1 / graph->own_mass[node];
    }
    for (size_t i = 0; i < graph->model_count; i++)
        graph->models[i].weight = graph->own_model[graph->models[i].to];
    for (size_t i = 0; i < graph->mass_count; i++)
        graph->masses[i].weight = graph->own_mass[graph->masses[i].from];
}

int kofn_graph_make(enum kofn_graph_kind kind, uint32_t nodes, uint32_t root,
                    const struct kofn_log *log, struct kofn_graph *graph)
{
    size_t most = 2 * (size_t)nodes;
    int rc;

    if (root == KOFN_ROOT_ANY)
        root = 0;
    if (root >= nodes)
        return kofn_error(log, KOFN_INVALID,
                          "topology: rank %u cannot be the root: the %u workers have ranks 0 to %u",
                          root, nodes, nodes - 1);
    for (uint64_t hop = 4; kind == KOFN_GRAPH_EXPONENTIAL && hop < nodes; hop *= 2)
        most += nodes;
    rc = kofn_graph_reserve(nodes, most, most, log, graph);
    if (rc)
        return rc;
    graph->root = root;
    graph->acyclic = kind <= KOFN_GRAPH_LINE || nodes == 1;
    for (uint32_t place = 0; place < nodes; place++)
        connect(kind, place, graph);
    weigh(graph);
    return kofn_graph_index(graph, log);
}
