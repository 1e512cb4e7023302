/* anchor_steps.h: how an anchor and the models that are pulled to it move, over vectors of one
 * type, f32 for jobs and f64 for tests of the mathematics.
 *
 * Whoever includes this has defined KOFN_ANCHOR_REAL, the type; KOFN_ANCHOR_MERGE, struct
 * kofn_merge or its like for that type; and KOFN_ANCHOR_NAME(name), what the functions are called.
 * There is no include guard. Pure: no allocation, no state.
 */
#include "math/anchor.h"

/* The formulas of anchor.h, as merges: @next = v', and @out = z'. @updates and @weights, of @count,
 * have room for one more. Returns false if not all that @run has merged is finite.
 */
static bool KOFN_ANCHOR_NAME(move)(const struct kofn_anchor *anchor, const KOFN_ANCHOR_REAL *v,
                                   KOFN_ANCHOR_REAL *next,
                                   bool (*run)(void *arg, const KOFN_ANCHOR_MERGE *merge),
                                   void *arg, KOFN_ANCHOR_REAL *out, const KOFN_ANCHOR_REAL *base,
                                   const void **updates, KOFN_ANCHOR_REAL *weights, size_t count)
{
    KOFN_ANCHOR_REAL rate = (KOFN_ANCHOR_REAL)anchor->rate;
    KOFN_ANCHOR_REAL momentum = (KOFN_ANCHOR_REAL)anchor->momentum;
    const void *moves[] = {next, v};
    /* d + momentum v' = (1 + momentum) v' - momentum v */
    const KOFN_ANCHOR_REAL steps[] = {anchor->nesterov ? rate * (1 + momentum) : rate,
                                      -rate * momentum};
    KOFN_ANCHOR_MERGE velocity = {
        .out = next, .updates = updates, .weights = weights, .count = count + 1};
    KOFN_ANCHOR_MERGE model = {.out = out,
                               .base = base,
                               .updates = moves,
                               .weights = steps,
                               .count = anchor->nesterov ? 2 : 1};

    updates[count] = v;
    weights[count] = momentum;
    return run(arg, &velocity) && run(arg, &model);
}

/* The pullback of anchor.h. */
static void KOFN_ANCHOR_NAME(pull)(KOFN_ANCHOR_REAL *x, KOFN_ANCHOR_REAL *delta,
                                   const KOFN_ANCHOR_REAL *z, double alpha, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (KOFN_ANCHOR_REAL)((double)x[i] + alpha * ((double)z[i] - (double)x[i]));
        delta[i] = x[i] - z[i];
    }
}
