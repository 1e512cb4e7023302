/* graph.h: who sends what to whom where peers have no server between them.
 *
 * Two directed graphs over the same nodes. Along an edge of W a node sends its model: w_ij, the
 * weight of `from` = j at `to` = i, and all that a node weighs, its own model with w_ii, adds up to
 * 1. Along an edge of A it sends a share of its mass: a_ij of what j = `from` has goes to i = `to`,
 * a_jj stays, and the shares of one node add up to 1. A job can converge if some node, a root, is
 * reached from by models to all, and reaches by mass from all.
 *
 *     star         the root and everybody else
 *     tree         a binary tree; in both, models go down and mass goes up
 *     line         a path that begins at the root, the same
 *     ring         each to the next one, both
 *     exponential  each to those 1, 2, 4, 8... places further, both
 *     file:PATH    two matrices, each behind a line that says which: W, A
 *
 * In a built-in one, all that a node weighs or shares out weighs the same. Every node of the
 * built-in ones can be the root: ranks are counted from it, around.
 */
#ifndef KOFN_ALGORITHMS_GRAPH_H
#define KOFN_ALGORITHMS_GRAPH_H

#include "base/log.h"
#include "base/parse.h"

#define KOFN_GRAPH_FILE_NODES 512u /* of a file: every node may reach every other */
#define KOFN_ROOT_ANY UINT32_MAX

struct kofn_graph_edge {
    uint32_t from, to;
    double weight;
};

/* The edges of each node: those of node i are edges[places[first[i]]] to
 * edges[places[first[i + 1] - 1]], in the order of the list.
 */
struct kofn_graph_ends {
    const uint32_t *first, *places;
};

struct kofn_graph {
    uint32_t nodes, root;
    bool acyclic;      /* mass comes back to nobody: what an edge has ever carried is bounded */
    double *own_model; /* w_ii, by node; owned */
    double *own_mass;  /* a_ii, by node; owned */
    struct kofn_graph_edge *models; /* of W; owned */
    struct kofn_graph_edge *masses; /* of A; owned */
    size_t model_count, mass_count;
    struct kofn_graph_ends models_to, models_from, masses_to, masses_from; /* by that end */
    uint32_t *by_node; /* what they point to; owned */
};

enum kofn_graph_kind {
    KOFN_GRAPH_STAR,
    KOFN_GRAPH_TREE,
    KOFN_GRAPH_LINE,
    KOFN_GRAPH_RING,
    KOFN_GRAPH_EXPONENTIAL,
    KOFN_GRAPH_BOTH_WAYS, /* a ring in both directions */
};

/* The kind called @name, of those a person may ask for; -1 for none. The index-th of these names;
 * NULL behind the last.
 */
int kofn_graph_find(struct kofn_text name);
const char *kofn_graph_name(size_t index);

/* A built-in graph. KOFN_INVALID (@root is none of @nodes), KOFN_NO_MEMORY; logged. */
int kofn_graph_make(enum kofn_graph_kind kind, uint32_t nodes, uint32_t root,
                    const struct kofn_log *log, struct kofn_graph *graph);

/* The graph of a file's text; @name is for messages. @root: KOFN_ROOT_ANY takes the smallest there
 * is. KOFN_INVALID: not two matrices of @nodes rows and columns, a negative entry, a row of W or a
 * column of A that does not add up to 1 (within 1e-6), a 0 on a diagonal, no common root, or @root
 * is none; KOFN_NO_MEMORY; logged.
 */
int kofn_graph_parse(const char *text, size_t length, const char *name, uint32_t nodes,
                     uint32_t root, const struct kofn_log *log, struct kofn_graph *graph);

/* What @spec names, a built-in graph or file:PATH. Also returns what kofn_file_read() returns. */
int kofn_graph_open(const char *spec, uint32_t nodes, uint32_t root, const struct kofn_log *log,
                    struct kofn_graph *graph);

void kofn_graph_free(struct kofn_graph *graph);

/* True if models from @node reach everybody and mass from everybody reaches @node: O(nodes +
 * edges). False without memory.
 */
bool kofn_graph_is_root(const struct kofn_graph *graph, uint32_t node);

/* ---- graph_file.c uses it, too; O(nodes + edges) ---- */

/* The smallest rank that is a root, to @root; KOFN_ROOT_ANY if there is none. KOFN_NO_MEMORY; not
 * logged.
 */
int kofn_graph_first_root(const struct kofn_graph *graph, uint32_t *root);

/* Finds out whether mass runs in cycles: graph->acyclic. KOFN_NO_MEMORY; not logged. */
int kofn_graph_find_cycles(struct kofn_graph *graph);

/* Sorts its edges by node. KOFN_NO_MEMORY, and the graph is freed; logged. */
int kofn_graph_index(struct kofn_graph *graph, const struct kofn_log *log);

/* A graph without edges, with room for @models and @masses of them. KOFN_NO_MEMORY; logged. */
int kofn_graph_reserve(uint32_t nodes, size_t models, size_t masses, const struct kofn_log *log,
                       struct kofn_graph *graph);

#endif
