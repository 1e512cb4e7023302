/* Who sends what to whom: built-in graphs, and files, good and bad. */
#include <CUnit/CUnit.h>
#include <math.h>
#include <string.h>

#include "algorithms/graph.h"
#include "base/random.h"
#include "tests/lib/caught_log.h"

/* Rows of W and columns of A, of edges and what stays. */
static bool stochastic(const struct kofn_graph *graph)
{
    for (uint32_t node = 0; node < graph->nodes; node++) {
        double row = graph->own_model[node], column = graph->own_mass[node];

        for (size_t i = 0; i < graph->model_count; i++)
            row += graph->models[i].to == node ? graph->models[i].weight : 0;
        for (size_t i = 0; i < graph->mass_count; i++)
            column += graph->masses[i].from == node ? graph->masses[i].weight : 0;
        if (fabs(row - 1) > 1e-12 || fabs(column - 1) > 1e-12 || !(graph->own_model[node] > 0) ||
            !(graph->own_mass[node] > 0))
            return false;
    }
    return true;
}

/* Every built-in graph, of any size and with any root, is one that a job can converge on. */
static void test_built_in_graphs(void)
{
    for (int kind = KOFN_GRAPH_STAR; kind <= KOFN_GRAPH_BOTH_WAYS; kind++)
        for (uint32_t nodes = 1; nodes <= 9; nodes++)
            for (uint32_t root = 0; root < nodes; root++) {
                struct kofn_graph graph;

                CU_ASSERT_FATAL(
                    !kofn_graph_make((enum kofn_graph_kind)kind, nodes, root, NULL, &graph));
                CU_ASSERT_EQUAL(graph.root, root);
                CU_ASSERT(stochastic(&graph));
                CU_ASSERT(kofn_graph_is_root(&graph, root));
                for (size_t i = 0; i < graph.model_count; i++)
                    CU_ASSERT_NOT_EQUAL(graph.models[i].from, graph.models[i].to);
                kofn_graph_free(&graph);
            }
}

/* Down the tree go models, up goes mass: a leaf is no root. */
static void test_only_the_root_of_a_tree_is_one(void)
{
    struct kofn_graph graph;

    CU_ASSERT_FATAL(!kofn_graph_make(KOFN_GRAPH_TREE, 7, 2, NULL, &graph));
    for (uint32_t node = 0; node < 7; node++)
        CU_ASSERT_EQUAL(kofn_graph_is_root(&graph, node), node == 2);
    kofn_graph_free(&graph);
}

/* Mass comes back on rings, and not on trees. */
static void test_cycles(void)
{
    for (int kind = KOFN_GRAPH_STAR; kind <= KOFN_GRAPH_BOTH_WAYS; kind++) {
        struct kofn_graph graph;

        CU_ASSERT_FATAL(!kofn_graph_make((enum kofn_graph_kind)kind, 6, 2, NULL, &graph));
        CU_ASSERT_EQUAL(graph.acyclic, kind <= KOFN_GRAPH_LINE);
        CU_ASSERT(!kofn_graph_find_cycles(&graph));
        CU_ASSERT_EQUAL(graph.acyclic, kind <= KOFN_GRAPH_LINE);
        kofn_graph_free(&graph);
    }
}

/* Adds an edge to either list. */
static void add(struct kofn_graph_edge *edges, size_t *count, uint32_t from, uint32_t to)
{
    edges[(*count)++] = (struct kofn_graph_edge){from, to, 1};
}

/* The smallest root is the smallest node that is one, and mass runs in cycles if some node gets
 * back what it gave: random graphs, against what walking from every node finds.
 */
static void test_random_graphs(void)
{
    enum { NODES = 6 };
    struct kofn_random random;
    uint32_t none = 0, cyclic = 0;

    kofn_random_seed(&random, 1, 1);
    for (int n = 0; n < 2000; n++) {
        bool to[NODES][NODES] = {{false}}, cycles = false;
        uint32_t expected = KOFN_ROOT_ANY, found;
        struct kofn_graph graph;

        CU_ASSERT_FATAL(!kofn_graph_reserve(NODES, NODES * NODES, NODES * NODES, NULL, &graph));
        for (uint32_t i = 0; i < NODES * NODES; i++) {
            if (i / NODES != i % NODES && kofn_random_uniform(&random) < 0.3)
                add(graph.models, &graph.model_count, i / NODES, i % NODES);
            if (i / NODES == i % NODES || kofn_random_uniform(&random) >= 0.25)
                continue;
            add(graph.masses, &graph.mass_count, i / NODES, i % NODES);
            to[i / NODES][i % NODES] = true;
        }
        CU_ASSERT_FATAL(!kofn_graph_index(&graph, NULL));
        for (uint32_t node = NODES; node-- > 0;)
            if (kofn_graph_is_root(&graph, node))
                expected = node;
        CU_ASSERT(!kofn_graph_first_root(&graph, &found));
        CU_ASSERT_EQUAL(found, expected);
        for (int k = 0; k < NODES; k++)
            for (int i = 0; i < NODES; i++)
                for (int j = 0; j < NODES; j++)
                    to[i][j] |= to[i][k] && to[k][j];
        for (int i = 0; i < NODES; i++)
            cycles |= to[i][i];
        CU_ASSERT(!kofn_graph_find_cycles(&graph));
        CU_ASSERT_EQUAL(graph.acyclic, !cycles);
        none += expected == KOFN_ROOT_ANY;
        cyclic += cycles;
        kofn_graph_free(&graph);
    }
    CU_ASSERT(none > 100 && none < 1900);
    CU_ASSERT(cyclic > 100 && cyclic < 1900);
}

/* The largest graphs are made, walked and joined in time that grows with their edges: the line is
 * the worst case of whoever looks for one more node at a time.
 */
static void test_large_graphs(void)
{
    enum { NODES = 100000 };

    for (int kind = KOFN_GRAPH_STAR; kind <= KOFN_GRAPH_BOTH_WAYS; kind++) {
        struct kofn_graph graph;
        uint32_t root;

        CU_ASSERT_FATAL(!kofn_graph_make((enum kofn_graph_kind)kind, NODES, 0, NULL, &graph));
        CU_ASSERT(kofn_graph_is_root(&graph, 0));
        CU_ASSERT(!kofn_graph_first_root(&graph, &root));
        CU_ASSERT_EQUAL(root, 0);
        CU_ASSERT(!kofn_graph_find_cycles(&graph));
        CU_ASSERT_EQUAL(graph.acyclic, kind <= KOFN_GRAPH_LINE);
        kofn_graph_free(&graph);
    }
}

static int parse(const char *text, uint32_t root, struct kofn_caught *caught,
                 struct kofn_graph *graph)
{
    kofn_caught_reset(caught);
    return kofn_graph_parse(text, strlen(text), "file", 3, root, &caught->log, graph);
}

static void test_file(void)
{
    const char *text = "# a star, its middle is 1\n"
                       "W\n .5 .5 0\n 0 1 0  # the root\n 0 0.5 0.5\n\n"
                       "A\n .25 0 0\n.75 1 0.5\n 0 0 .5\n";
    struct kofn_caught caught;
    struct kofn_graph graph;

    CU_ASSERT_FATAL(!parse(text, KOFN_ROOT_ANY, &caught, &graph));
    CU_ASSERT_EQUAL(graph.root, 1);
    CU_ASSERT_EQUAL(graph.model_count, 2);
    CU_ASSERT_EQUAL(graph.models[0].from, 1);
    CU_ASSERT_EQUAL(graph.models[0].to, 0);
    CU_ASSERT_DOUBLE_EQUAL(graph.masses[0].weight, 0.75, 0);
    CU_ASSERT_EQUAL(graph.masses[0].from, 0);
    CU_ASSERT_EQUAL(graph.masses[0].to, 1);
    CU_ASSERT_DOUBLE_EQUAL(graph.own_mass[0], 0.25, 0);
    kofn_graph_free(&graph);
    CU_ASSERT_EQUAL(parse(text, 0, &caught, &graph), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "rank 0 is no root"));
    CU_ASSERT_EQUAL(parse(text, 9, &caught, &graph), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "rank 9 is no root"));
}

static const struct {
    const char *text, *says;
} bad[] = {
    {"", "a line \"W\""},
    {"W\n1 0 0\n0 1 0\n", "row 2 of W ends after 0 of 3"},
    {"W\n1 0\n0 1 0\n0 0 1\n", "row 0 of W ends after 2 of 3"},
    {"W\n1 0 0 0\n", "more than 3"},
    {"W\n1 0 x\n", "\"x\""},
    {"W\n1 0 -1\n", "\"-1\""},
    {"W\n1 0 0\n0 1 0\n0 0 1\nB\n", "a line \"A\""},
    {"W\n1 0 0\n.6 .5 0\n.5 0 .5\nA\n1 .5 .5\n0 .5 0\n0 0 .5\n", "row 1 of W adds up to 1.1"},
    {"W\n1 0 0\n.5 .5 0\n.5 0 .5\nA\n1 .4 .5\n0 .5 0\n0 0 .5\n", "column 1 of A adds up to 0.9"},
    {"W\n1 0 0\n1 0 0\n.5 0 .5\nA\n1 .5 .5\n0 .5 0\n0 0 .5\n", "diagonal of W is 0"},
    {"W\n1 0 0\n.5 .5 0\n.5 0 .5\nA\n1 1 .5\n0 0 0\n0 0 .5\n", "diagonal of A is 0"},
    {"W\n1 0 0\n.5 .5 0\n.5 0 .5\nA\n.5 0 0\n.5 1 .5\n0 0 .5\n", "no common root"},
    {"W\n1 0 0\n0 1 0\n0 0 1\nA\n1 0 0\n0 1 0\n0 0 1\n", "no common root"},
    {"W\n1 0 0\n.5 .5 0\n.5 0 .5\nA\n1 .5 .5\n0 .5 0\n0 0 .5\n1\n", "more behind"},
};

/* Every mistake is refused with one line that says where it is. */
static void test_bad_files(void)
{
    struct kofn_caught caught;
    struct kofn_graph graph;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(bad); i++) {
        CU_ASSERT_EQUAL(parse(bad[i].text, KOFN_ROOT_ANY, &caught, &graph), KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, bad[i].says));
    }
    CU_ASSERT_EQUAL(kofn_graph_open("mesh", 3, 0, &caught.log, &graph), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "mesh"));
    CU_ASSERT_EQUAL(kofn_graph_open("star", 3, 3, &caught.log, &graph), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "ranks 0 to 2"));
}

void kofn_suite_graph(void)
{
    CU_pSuite suite = CU_add_suite("graph", NULL, NULL);

    CU_add_test(suite, "built-in graphs", test_built_in_graphs);
    CU_add_test(suite, "only the root of a tree is one", test_only_the_root_of_a_tree_is_one);
    CU_add_test(suite, "cycles", test_cycles);
    CU_add_test(suite, "random graphs", test_random_graphs);
    CU_add_test(suite, "large graphs", test_large_graphs);
    CU_add_test(suite, "file", test_file);
    CU_add_test(suite, "bad files", test_bad_files);
}
