/* graph_file.c: graphs that are written down as matrices.
 *
 *     # comments, and empty lines, anywhere
 *     W
 *     1    0    0
 *     0.5  0.5  0
 *     0.5  0    0.5
 *     A
 *     ...
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/graph.h"
#include "base/file.h"

#define SUM_SLACK 1e-6
#define FILE_BYTES ((size_t)1 << 24)

struct reader {
    struct kofn_text rest; /* lines not read yet */
    unsigned line;
    const char *name;
    uint32_t nodes;
    const struct kofn_log *log;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct kofn_text trim(struct kofn_text text)
{
    const char *comment = text.length ? memchr(text.start, '#', text.length) : NULL;

    if (comment)
        text.length = (size_t)(comment - text.start);
    while (text.length && is_blank(*text.start))
        text.start++, text.length--;
    while (text.length && is_blank(text.start[text.length - 1]))
        text.length--;
    return text;
}

/* The next line that says something; empty at the end. */
static struct kofn_text next_line(struct reader *reader)
{
    struct kofn_text line = {0};

    while (reader->rest.start && !line.length) {
        line = trim(kofn_text_cut(&reader->rest, '\n'));
        reader->line++;
    }
    return line;
}

static struct kofn_text next_word(struct kofn_text *line)
{
    struct kofn_text word = *line;
    size_t length = 0;

    if (!line->length)
        return word;
    while (length < line->length && !is_blank(line->start[length]))
        length++;
    word.length = length;
    line->start += length;
    line->length -= length;
    *line = trim(*line);
    return word;
}

static int read_row(struct reader *reader, const char *matrix, uint32_t row, double *out)
{
    struct kofn_text line = next_line(reader);
    struct kofn_bad bad;

    for (uint32_t column = 0; column < reader->nodes; column++) {
        struct kofn_text word = next_word(&line);

        if (!word.length)
            return kofn_error(reader->log, KOFN_INVALID,
                              "%s:%u: row %u of %s ends after %u of %u numbers, one a worker",
                              reader->name, reader->line, row, matrix, column, reader->nodes);
        if (kofn_parse_float(word, 0, 1, &out[column], &bad))
            return kofn_error(reader->log, KOFN_INVALID, "%s:%u: " KOFN_BAD, reader->name,
                              reader->line, KOFN_BAD_ARGS(&bad));
    }
    if (line.length)
        return kofn_error(reader->log, KOFN_INVALID,
                          "%s:%u: row %u of %s has more than %u numbers, one a worker",
                          reader->name, reader->line, row, matrix, reader->nodes);
    return 0;
}

static int read_matrix(struct reader *reader, const char *matrix, double *out)
{
    struct kofn_text line = next_line(reader);
    int rc = 0;

    if (!kofn_text_is(line, matrix))
        return kofn_error(reader->log, KOFN_INVALID,
                          "%s:%u: here is to be a line \"%s\" and the matrix behind it",
                          reader->name, reader->line, matrix);
    for (uint32_t row = 0; row < reader->nodes && !rc; row++)
        rc = read_row(reader, matrix, row, out + (size_t)row * reader->nodes);
    return rc;
}

/* Rows of W, columns of A add up to 1, and nobody gives all away. */
static int check(const struct reader *reader, const double *matrix, bool columns)
{
    size_t n = reader->nodes;

    for (size_t i = 0; i < n; i++) {
        double sum = 0;

        for (size_t j = 0; j < n; j++)
            sum += columns ? matrix[j * n + i] : matrix[i * n + j];
        if (fabs(sum - 1) > SUM_SLACK)
            return kofn_error(reader->log, KOFN_INVALID,
                              columns ? "%s: column %zu of A adds up to %g, not 1: mass would be %s"
                                      : "%s: row %zu of W adds up to %g, not 1: models would %s",
                              reader->name, i, sum,
                              columns ? (sum > 1 ? "made" : "lost")
                                      : (sum > 1 ? "grow" : "shrink"));
        if (!(matrix[i * n + i] > 0))
            return kofn_error(reader->log, KOFN_INVALID,
                              "%s: entry %zu of the diagonal of %s is 0: a node keeps a part of "
                              "its own",
                              reader->name, i, columns ? "A" : "W");
    }
    return 0;
}

static size_t count_edges(const double *matrix, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n * n; i++)
        count += matrix[i] > 0 && i / n != i % n;
    return count;
}

static size_t take_edges(const double *matrix, size_t n, double *own, struct kofn_graph_edge *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n * n; i++) {
        if (i / n == i % n)
            own[i / n] = matrix[i];
        else if (matrix[i] > 0)
            out[count++] =
                (struct kofn_graph_edge){(uint32_t)(i % n), (uint32_t)(i / n), matrix[i]};
    }
    return count;
}

static int choose_root(const struct reader *reader, uint32_t root, struct kofn_graph *graph)
{
    int rc;

    graph->root = root;
    if (root != KOFN_ROOT_ANY && (root >= graph->nodes || !kofn_graph_is_root(graph, root)))
        return kofn_error(reader->log, KOFN_INVALID,
                          "%s: rank %u is no root: models from it do not reach everybody by W, or "
                          "mass from everybody does not reach it by A",
                          reader->name, root);
    if (root != KOFN_ROOT_ANY)
        return 0;
    rc = kofn_graph_first_root(graph, &graph->root);
    if (rc)
        return kofn_error(reader->log, rc, "%s: a root of %u workers", reader->name, graph->nodes);
    if (graph->root != KOFN_ROOT_ANY)
        return 0;
    return kofn_error(reader->log, KOFN_INVALID,
                      "%s: W and A have no common root: no node's models reach everybody by W "
                      "whom mass from everybody reaches by A",
                      reader->name);
}

/* What follows from the edges. */
static int complete(const struct reader *reader, uint32_t root, struct kofn_graph *graph)
{
    int rc = kofn_graph_index(graph, reader->log);

    if (rc)
        return rc;
    rc = kofn_graph_find_cycles(graph);
    if (rc)
        kofn_error(reader->log, rc, "%s: cycles of %u workers", reader->name, graph->nodes);
    else
        rc = choose_root(reader, root, graph);
    if (rc)
        kofn_graph_free(graph);
    return rc;
}

static int read_both(struct reader *reader, double *w, double *a)
{
    struct kofn_text more;
    int rc;

    rc = read_matrix(reader, "W", w);
    if (!rc)
        rc = read_matrix(reader, "A", a);
    if (rc)
        return rc;
    more = next_line(reader);
    if (more.length)
        return kofn_error(reader->log, KOFN_INVALID,
                          "%s:%u: there is more behind the %u rows of A, one a worker",
                          reader->name, reader->line, reader->nodes);
    rc = check(reader, w, false);
    return rc ? rc : check(reader, a, true);
}

int kofn_graph_parse(const char *text, size_t length, const char *name, uint32_t nodes,
                     uint32_t root, const struct kofn_log *log, struct kofn_graph *graph)
{
    struct reader reader = {.rest = {text, length}, .name = name, .nodes = nodes, .log = log};
    size_t n = nodes;
    double *w;
    int rc;

    if (!nodes || nodes > KOFN_GRAPH_FILE_NODES)
        return kofn_error(log, KOFN_INVALID, "%s: a file is for 1 to %u workers, not for %u", name,
                          KOFN_GRAPH_FILE_NODES, nodes);
    w = calloc(2 * n * n, sizeof(*w));
    if (!w)
        return kofn_error(log, KOFN_NO_MEMORY, "%s: two matrices of %u rows", name, nodes);
    rc = read_both(&reader, w, w + n * n);
    if (!rc)
        rc = kofn_graph_reserve(nodes, count_edges(w, n), count_edges(w + n * n, n), log, graph);
    if (!rc) {
        graph->model_count = take_edges(w, n, graph->own_model, graph->models);
        graph->mass_count = take_edges(w + n * n, n, graph->own_mass, graph->masses);
        rc = complete(&reader, root, graph);
    }
    free(w);
    return rc;
}

int kofn_graph_open(const char *spec, uint32_t nodes, uint32_t root, const struct kofn_log *log,
                    struct kofn_graph *graph)
{
    int kind = kofn_graph_find(kofn_text(spec)), rc;
    uint8_t *bytes;
    size_t length;

    if (kind >= 0)
        return kofn_graph_make((enum kofn_graph_kind)kind, nodes, root, log, graph);
    if (strncmp(spec, "file:", 5))
        return kofn_error(
            log, KOFN_INVALID,
            "topology %.64s: unknown; known: star, tree, line, ring, exponential, file:PATH", spec);
    rc = kofn_file_read(spec + 5, FILE_BYTES, log, &bytes, &length);
    if (rc)
        return rc;
    rc = kofn_graph_parse((const char *)bytes, length, spec + 5, nodes, root, log, graph);
    free(bytes);
    return rc;
}
