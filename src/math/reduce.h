/* reduce.h: the arithmetic on models and updates: weighted merge, delta, copy, and the search for
 * NaN.
 *
 * Models are f32; updates are f32, bf16 or f16 and are widened as they are read. Every kernel goes
 * over memory once. The instruction set is chosen once, at set-up: kofn_reduce_select() returns a
 * table of functions.
 *
 * Results: element i of a merge is ((base + w0 u0) + w1 u1) + ... in f32, in the order of the
 * updates, each product and each sum rounded by itself. No kernel fuses them, though the hardware
 * could: a fused product is no faster where memory is the limit, and so the result is the same, bit
 * for bit, on every instruction set, however many threads share the range and wherever it is cut.
 * (Which NaN comes out of several is not fixed.)
 *
 * Arrays need the alignment of their elements only; lines (64 B) are faster. Counts are in
 * elements. Threads: no state; any number, on disjoint outputs. Nothing here allocates or fails.
 */
#ifndef KOFN_MATH_REDUCE_H
#define KOFN_MATH_REDUCE_H

#include "base/base.h"

/* What an update's elements are. */
enum kofn_element { KOFN_F32, KOFN_BF16, KOFN_F16, KOFN_ELEMENTS };

/* Bytes of one element. */
static inline size_t kofn_element_bytes(enum kofn_element element)
{
    return element == KOFN_F32 ? 4 : 2;
}

/* out[i] = base[i] + sum over k < count of weights[k] * updates[k][i] */
struct kofn_merge {
    float *out;
    const float *base;          /* NULL = zeros; may be @out itself, but not overlap it otherwise */
    const void *const *updates; /* none overlaps @out */
    const float *weights;
    size_t count; /* any, 0 included */
    bool stream;  /* write @out past the caches: see kofn_reduce_stream_bytes() */
};

struct kofn_reduce_ops {
    const char *name; /* "avx2" */

    /* Merges elements @first to @last - 1. Returns true if all results are finite; then so were all
     * inputs, because NaN and infinity cannot get lost in a sum. (False without a bad input means
     * overflow.)
     */
    bool (*merge[KOFN_ELEMENTS])(const struct kofn_merge *merge, size_t first, size_t last);

    /* True if none of @n elements is NaN or infinite. */
    bool (*all_finite[KOFN_ELEMENTS])(const void *array, size_t n);

    /* out = x - theta: an update. @out has the element type of the index. */
    void (*delta[KOFN_ELEMENTS])(void *out, const float *x, const float *theta, size_t n,
                                 bool stream);

    /* out = (x - theta) - out: what an update has grown by since it was @out. */
    void (*delta_sub)(float *out, const float *x, const float *theta, size_t n);

    /* a = b = source: one read, two writes; no array overlaps another. */
    void (*copy2)(float *a, float *b, const float *source, size_t n, bool stream);
};

/* The fastest table that this machine can run; never NULL. */
const struct kofn_reduce_ops *kofn_reduce_select(void);

/* The index-th table that this machine can run, slowest first; NULL behind the last. For tests and
 * lists. */
const struct kofn_reduce_ops *kofn_reduce_at(size_t index);

/* Outputs of at least so many bytes are better written past the caches (`stream`): they would not
 * stay there until somebody reads them, and a plain store first reads the line it overwrites. Half
 * the last-level cache. Asks the system: call it at set-up.
 */
size_t kofn_reduce_stream_bytes(void);

/* accumulator += weight * update: how late updates are gathered. Returns false if a sum is not
 * finite; as the accumulator is spoilt by then, check a stranger's update with all_finite() before.
 */
static inline bool kofn_reduce_accumulate(const struct kofn_reduce_ops *ops,
                                          enum kofn_element element, float *accumulator,
                                          const void *update, float weight, size_t n)
{
    struct kofn_merge merge = {accumulator, accumulator, &update, &weight, 1, false};

    return ops->merge[element](&merge, 0, n);
}

#endif
