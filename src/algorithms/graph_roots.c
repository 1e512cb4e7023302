/* graph_roots.c: which nodes of a graph can be the root, and whether mass runs in cycles: each a
 * walk or two along all edges.
 */
#include <stdlib.h>
#include <string.h>

#include "algorithms/graph.h"

/* A way to go: along edges, or against them. */
struct way {
    const struct kofn_graph_edge *edges;
    const struct kofn_graph_ends *ends; /* by the end that one comes from */
    bool back;
};

/* Marks @node and all that can be reached from it, but those marked already; returns how many.
 * @queue: room for all nodes.
 */
static uint32_t reach(const struct way *way, uint32_t node, bool *reached, uint32_t *queue)
{
    uint32_t count = 0, next = 0;

    reached[node] = true;
    queue[count++] = node;
    while (next < count) {
        uint32_t at = queue[next++];

        for (uint32_t i = way->ends->first[at]; i < way->ends->first[at + 1]; i++) {
            const struct kofn_graph_edge *edge = &way->edges[way->ends->places[i]];
            uint32_t to = way->back ? edge->from : edge->to;

            if (reached[to])
                continue;
            reached[to] = true;
            queue[count++] = to;
        }
    }
    return count;
}

static struct way models_along(const struct kofn_graph *graph)
{
    return (struct way){graph->models, &graph->models_from, false};
}

static struct way models_against(const struct kofn_graph *graph)
{
    return (struct way){graph->models, &graph->models_to, true};
}

static struct way masses_along(const struct kofn_graph *graph)
{
    return (struct way){graph->masses, &graph->masses_from, false};
}

static struct way masses_against(const struct kofn_graph *graph)
{
    return (struct way){graph->masses, &graph->masses_to, true};
}

bool kofn_graph_is_root(const struct kofn_graph *graph, uint32_t node)
{
    const struct way down = models_along(graph), up = masses_against(graph);
    uint32_t *queue = calloc(graph->nodes, sizeof(*queue));
    bool *reached = calloc(2 * (size_t)graph->nodes, sizeof(*reached)), root;

    root = queue && reached && reach(&down, node, reached, queue) == graph->nodes &&
           reach(&up, node, reached + graph->nodes, queue) == graph->nodes;
    free(queue);
    free(reached);
    return root;
}

/* Marks in @all those from which all can be reached by @way, of which @reverse is the opposite. The
 * last one that is not reached from those before it is one of them, if any is; and so are those
 * that reach it.
 */
static void mark_sources(uint32_t nodes, const struct way *way, const struct way *reverse,
                         bool *all, uint32_t *queue)
{
    uint32_t last = 0;

    memset(all, 0, nodes * sizeof(*all));
    for (uint32_t node = 0; node < nodes; node++)
        if (!all[node]) {
            last = node;
            reach(way, node, all, queue);
        }
    memset(all, 0, nodes * sizeof(*all));
    if (reach(way, last, all, queue) < nodes) {
        memset(all, 0, nodes * sizeof(*all));
        return;
    }
    memset(all, 0, nodes * sizeof(*all));
    reach(reverse, last, all, queue);
}

int kofn_graph_first_root(const struct kofn_graph *graph, uint32_t *root)
{
    const struct way along[] = {models_along(graph), models_against(graph)};
    const struct way against[] = {masses_against(graph), masses_along(graph)};
    uint32_t nodes = graph->nodes, *queue = calloc(nodes, sizeof(*queue));
    bool *down = calloc(2 * (size_t)nodes, sizeof(*down)), *up = down ? down + nodes : NULL;
    int rc = queue && down ? 0 : KOFN_NO_MEMORY;

    if (!rc) {
        mark_sources(nodes, &along[0], &along[1], down, queue);
        mark_sources(nodes, &against[0], &against[1], up, queue);
        *root = KOFN_ROOT_ANY;
        for (uint32_t node = nodes; node-- > 0;)
            if (down[node] && up[node])
                *root = node;
    }
    free(queue);
    free(down);
    return rc;
}

int kofn_graph_find_cycles(struct kofn_graph *graph)
{
    uint32_t *left = calloc(2 * (size_t)graph->nodes, sizeof(*left)), count = 0, next = 0;
    uint32_t *queue = left ? left + graph->nodes : NULL;

    if (!left)
        return KOFN_NO_MEMORY;
    for (uint32_t node = 0; node < graph->nodes; node++) {
        left[node] = graph->masses_to.first[node + 1] - graph->masses_to.first[node];
        if (!left[node])
            queue[count++] = node;
    }
    /* whoever gets nothing from those that are left is taken out, until nobody is */
    while (next < count) {
        uint32_t node = queue[next++];

        for (uint32_t i = graph->masses_from.first[node]; i < graph->masses_from.first[node + 1];
             i++) {
            uint32_t to = graph->masses[graph->masses_from.places[i]].to;

            if (!--left[to])
                queue[count++] = to;
        }
    }
    graph->acyclic = count == graph->nodes;
    free(left);
    return 0;
}
