/* rfast_fixture.h: R-FAST on small quadratics in f64 or f32, atomic activations, messages that are
 * lost, late, or land element by element: what the rows F of the mathematics are checked on.
 *
 * Included once with FIXTURE_REAL (the type) and FIXTURE(name) defined; no include guard.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KOFN_RFAST_REAL FIXTURE_REAL
#define KOFN_RFAST_NAME FIXTURE
#include "algorithms/rfast_steps.h"
#undef KOFN_RFAST_REAL
#undef KOFN_RFAST_NAME

#ifndef FIXTURE_ONCE
#define FIXTURE_ONCE
#include "algorithms/graph.h"
#include "base/random.h"

#define RFAST_NODES 8
#define RFAST_EDGES 32
#define RFAST_DELAY 64
#define RFAST_D 2 /* coordinates */

struct rfast_conf {
    double gamma, loss, sigma;
    uint32_t delay; /* activations a message takes: 1 to this */
    bool remainder, increments, torn;
};
#endif

/* An edge of either graph: what is under way, by the activation it arrives at. */
struct FIXTURE(edge) {
    FIXTURE_REAL sum[RFAST_D], sent[RFAST_D], slot[RFAST_D], consumed[RFAST_D];
    struct {
        FIXTURE_REAL value[RFAST_D];
        uint64_t due[RFAST_D], sequence;
        bool under_way[RFAST_D];
    } mail[RFAST_DELAY];
    uint64_t sequence, arrived[RFAST_D];
};

struct FIXTURE(job) {
    const struct kofn_graph *graph;
    struct rfast_conf conf;
    struct kofn_random random;
    uint64_t activations;
    double a[RFAST_NODES][RFAST_D], b[RFAST_NODES][RFAST_D], couple; /* gradient a (x - b) */
    FIXTURE_REAL x[RFAST_NODES][RFAST_D], z[RFAST_NODES][RFAST_D], g[RFAST_NODES][RFAST_D];
    struct FIXTURE(edge) models[RFAST_EDGES], masses[RFAST_EDGES];
    double largest; /* |rho| */
};

static void FIXTURE(gradient)(struct FIXTURE(job) * job, uint32_t node, FIXTURE_REAL *out)
{
    const FIXTURE_REAL *x = job->x[node];

    for (int i = 0; i < RFAST_D; i++)
        out[i] =
            (FIXTURE_REAL)(job->a[node][i] * ((double)x[i] - job->b[node][i]) +
                           job->couple * ((double)x[1 - i] - job->b[node][1 - i]) +
                           (job->conf.sigma > 0 ? job->conf.sigma * kofn_random_normal(&job->random)
                                                : 0));
}

static void FIXTURE(start)(struct FIXTURE(job) * job)
{
    for (uint32_t node = 0; node < job->graph->nodes; node++) {
        FIXTURE(gradient)(job, node, job->g[node]);
        memcpy(job->z[node], job->g[node], sizeof(job->z[node]));
    }
    for (size_t e = 0; e < job->graph->model_count; e++) /* a common start */
        memcpy(job->models[e].slot, job->x[0], sizeof(job->x[0]));
}

static void FIXTURE(send)(struct FIXTURE(job) * job, struct FIXTURE(edge) * edge,
                          const FIXTURE_REAL *value, bool mass)
{
    uint64_t place, late = 0;
    FIXTURE_REAL content[RFAST_D];

    for (int i = 0; i < RFAST_D; i++) {
        content[i] = mass && job->conf.increments ? value[i] - edge->sent[i] : value[i];
        edge->sent[i] = value[i];
    }
    edge->sequence++;
    if (kofn_random_uniform(&job->random) < job->conf.loss)
        return;
    place = edge->sequence % RFAST_DELAY;
    edge->mail[place].sequence = edge->sequence;
    for (int i = 0; i < RFAST_D; i++) {
        if (!i || job->conf.torn)
            late = kofn_random_below(&job->random, job->conf.delay);
        edge->mail[place].value[i] = content[i];
        edge->mail[place].due[i] = job->activations + 1 + late;
        edge->mail[place].under_way[i] = true;
    }
}

static void FIXTURE(deliver)(struct FIXTURE(job) * job, struct FIXTURE(edge) * edge, bool mass)
{
    for (int m = 0; m < RFAST_DELAY; m++)
        for (int i = 0; i < RFAST_D; i++) {
            if (!edge->mail[m].under_way[i] || edge->mail[m].due[i] > job->activations)
                continue;
            edge->mail[m].under_way[i] = false;
            if (mass && job->conf.increments) {
                edge->slot[i] += edge->mail[m].value[i];
            } else if (edge->mail[m].sequence > edge->arrived[i]) { /* never backwards */
                edge->slot[i] = edge->mail[m].value[i];
                edge->arrived[i] = edge->mail[m].sequence;
            }
        }
}

/* One atomic activation of @node. */
static void FIXTURE(activate)(struct FIXTURE(job) * job, uint32_t node)
{
    const struct kofn_graph *graph = job->graph;
    const FIXTURE_REAL *slots[RFAST_EDGES];
    FIXTURE_REAL weights[RFAST_EDGES], v[RFAST_D], gradient[RFAST_D];
    FIXTURE_REAL *consumed[RFAST_EDGES], *sums[RFAST_EDGES];
    size_t in = 0, out = 0;

    for (size_t e = 0; e < graph->model_count; e++)
        FIXTURE(deliver)(job, &job->models[e], false);
    for (size_t e = 0; e < graph->mass_count; e++)
        FIXTURE(deliver)(job, &job->masses[e], true);
    for (size_t e = 0; e < graph->model_count; e++)
        if (graph->models[e].to == node) {
            slots[in] = job->models[e].slot;
            weights[in++] = (FIXTURE_REAL)graph->models[e].weight;
        }
    FIXTURE(mix)
    (RFAST_D, (FIXTURE_REAL)job->conf.gamma, (FIXTURE_REAL)graph->own_model[node], job->z[node],
     job->x[node], v, in, weights, slots);
    FIXTURE(gradient)(job, node, gradient);
    in = 0;
    for (size_t e = 0; e < graph->mass_count; e++) {
        if (graph->masses[e].to == node) {
            slots[in] = job->masses[e].slot;
            consumed[in++] = job->masses[e].consumed;
        }
        if (graph->masses[e].from == node) {
            sums[out] = job->masses[e].sum;
            weights[out++] = (FIXTURE_REAL)graph->masses[e].weight;
        }
    }
    FIXTURE(track)
    (RFAST_D, (FIXTURE_REAL)graph->own_mass[node], job->conf.remainder, gradient, job->z[node],
     job->g[node], in, slots, consumed, out, weights, sums);
    for (size_t e = 0; e < graph->model_count; e++)
        if (graph->models[e].from == node)
            FIXTURE(send)(job, &job->models[e], v, false);
    for (size_t e = 0; e < graph->mass_count; e++)
        if (graph->masses[e].from == node) {
            FIXTURE(send)(job, &job->masses[e], job->masses[e].sum, true);
            for (int i = 0; i < RFAST_D; i++)
                job->largest = fmax(job->largest, fabs((double)job->masses[e].sum[i]));
        }
    job->activations++;
}

/* sum z + sum (rho - rho~) - sum g, the largest over coordinates. */
static double FIXTURE(violation)(const struct FIXTURE(job) * job)
{
    double worst = 0;

    for (int i = 0; i < RFAST_D; i++) {
        double sum = 0;

        for (uint32_t node = 0; node < job->graph->nodes; node++)
            sum += (double)job->z[node][i] - (double)job->g[node][i];
        for (size_t e = 0; e < job->graph->mass_count; e++)
            sum += (double)job->masses[e].sum[i] - (double)job->masses[e].consumed[i];
        worst = fmax(worst, fabs(sum));
    }
    return worst;
}
