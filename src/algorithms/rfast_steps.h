/* rfast_steps.h: the steps S1 to S3 of R-FAST over vectors of one type, f32 for jobs and f64 for
 * tests of the mathematics.
 *
 * Whoever includes this has defined KOFN_RFAST_REAL, the type, and KOFN_RFAST_NAME(name), what the
 * functions are called; there is no include guard. Pure: no allocation, no state.
 *
 * A slot holds what has arrived of a neighbour. It may be written while it is read, each element at
 * once: every element is read one time, and what is taken in is what is remembered as taken in.
 */
#include <stdbool.h>
#include <stddef.h>

#define KOFN_RFAST_BLOCK 256 /* elements that are worked on together: they stay in the cache */

/* S1 and S2: a step along the tracker, then the neighbours' models.
 *
 * @rate     gamma
 * @own      w_ii
 * @x        in: the model; out: w_ii v + sum of w_ij slot_j
 * @v        out: x - gamma z, what is sent to neighbours
 * @slots    @count vectors, the newest models of the in-neighbours
 */
static void KOFN_RFAST_NAME(mix)(size_t elements, KOFN_RFAST_REAL rate, KOFN_RFAST_REAL own,
                                 const KOFN_RFAST_REAL *z, KOFN_RFAST_REAL *x, KOFN_RFAST_REAL *v,
                                 size_t count, const KOFN_RFAST_REAL *weights,
                                 const KOFN_RFAST_REAL *const *slots)
{
    for (size_t i = 0; i < elements; i++) {
        v[i] = x[i] - rate * z[i];
        x[i] = own * v[i];
    }
    for (size_t j = 0; j < count; j++)
        for (size_t i = 0; i < elements; i++)
            x[i] += weights[j] * slots[j][i];
}

/* S3: the new gradient and what has arrived go into the tracker, and shares of it to neighbours.
 *
 * @own       a_ii, where the sender does not keep the remainder
 * @remainder the sender keeps what rounding has not let into the running sums
 * @gradient  at the model of mix()
 * @g         in: the gradient before; out: this one, as it was computed
 * @slots     @in vectors: running sums of in-neighbours, as they have arrived
 * @consumed  in: what of them had been taken in; out: what has been now
 * @sums      @out vectors: running sums for out-neighbours, to which a_ji of the tracker is added
 */
static void KOFN_RFAST_NAME(track)(size_t elements, KOFN_RFAST_REAL own, bool remainder,
                                   const KOFN_RFAST_REAL *gradient, KOFN_RFAST_REAL *z,
                                   KOFN_RFAST_REAL *g, size_t in,
                                   const KOFN_RFAST_REAL *const *slots,
                                   KOFN_RFAST_REAL *const *consumed, size_t out,
                                   const KOFN_RFAST_REAL *shares, KOFN_RFAST_REAL *const *sums)
{
    KOFN_RFAST_REAL half[KOFN_RFAST_BLOCK], left[KOFN_RFAST_BLOCK];

    for (size_t first = 0; first < elements; first += KOFN_RFAST_BLOCK) {
        size_t block = elements - first < KOFN_RFAST_BLOCK ? elements - first : KOFN_RFAST_BLOCK;

        for (size_t i = 0; i < block; i++)
            half[i] = z[first + i] + (gradient[first + i] - g[first + i]);
        for (size_t j = 0; j < in; j++)
            for (size_t i = 0; i < block; i++) {
                KOFN_RFAST_REAL snapshot = slots[j][first + i];

                half[i] += snapshot - consumed[j][first + i];
                consumed[j][first + i] = snapshot;
            }
        for (size_t i = 0; i < block; i++)
            left[i] = half[i];
        for (size_t j = 0; j < out; j++)
            for (size_t i = 0; i < block; i++) {
                KOFN_RFAST_REAL before = sums[j][first + i];

                sums[j][first + i] = before + shares[j] * half[i];
                left[i] -= sums[j][first + i] - before;
            }
        for (size_t i = 0; i < block; i++) {
            z[first + i] = remainder ? left[i] : own * half[i];
            g[first + i] = gradient[first + i];
        }
    }
}

#undef KOFN_RFAST_BLOCK
