/* reduce_kernels.h: the kernels of reduce.h, written once for vectors of any width.
 *
 * Included by one source file for each instruction set, which defines before:
 *
 *   LANES             f32 elements in a vector
 *   TARGET            the attribute that lets the compiler use the instructions, or nothing
 *   STREAM(p, v)      stores vector v at p, aligned to the vector, past the caches
 *   FENCE()           orders such stores before later ones
 *   WIDEN_BF16(p)     the vector of the LANES bf16 elements at p
 *   WIDEN_F16(p)      the same of f16 elements
 *   NARROW_F16(p, v)  stores vector v as f16 elements at p
 *
 * and gets `static` functions, which KERNEL_TABLE() puts into a table.
 *
 * Loops handle blocks of two lines: enough independent sums to hide their latency, few enough to
 * stay in registers.
 */
#include <string.h>

#include "math/half.h"
#include "math/reduce.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* see reduce.h; gcc does not contract in ISO mode */
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define KERNEL TARGET static
#define INLINE TARGET static inline __attribute__((always_inline))

#define BLOCK (2 * KOFN_CACHE_LINE / sizeof(float))
#define VECTORS (BLOCK / LANES)

/* Updates read side by side: with more streams than this the hardware's prefetchers lose them. A
 * power of two. */
#define GROUP 8
/* Elements a merge does at a time: a line, and two vectors at least. */
#define STEP (LANES > 8 ? 2 * LANES : KOFN_CACHE_LINE / sizeof(float))
/* Elements of a tile, the columns summed before the next: with its sources it passes through the
 * first-level cache. */
#define TILE 4096

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint16_t words __attribute__((vector_size(4 * LANES)));
typedef float vector_at __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t halves_at __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint16_t words_at __attribute__((vector_size(4 * LANES), aligned(2), may_alias));

INLINE vector load(const float *at)
{
    return *(const vector_at *)at;
}

INLINE void store(float *at, vector value, bool stream)
{
    if (stream)
        STREAM(at, value);
    else
        *(vector_at *)at = value;
}

/* Element @i and those after it, widened. @element is a constant wherever this is inlined. */
INLINE vector load_element(const void *array, size_t i, enum kofn_element element)
{
    if (element == KOFN_F32)
        return load((const float *)array + i);
    if (element == KOFN_BF16)
        return WIDEN_BF16((const uint16_t *)array + i);
    return WIDEN_F16((const uint16_t *)array + i);
}

INLINE float one_element(const void *array, size_t i, enum kofn_element element)
{
    if (element == KOFN_F32)
        return ((const float *)array)[i];
    if (element == KOFN_BF16)
        return kofn_bf16_widen(((const uint16_t *)array)[i]);
    return kofn_f16_widen(((const uint16_t *)array)[i]);
}

/* All zero bits but the sign where @value is finite, else some: inf - inf and NaN - NaN are NaN. */
INLINE bits not_finite(vector value)
{
    return (bits)(value - value);
}

INLINE bool none_set(bits found)
{
    uint32_t any = 0;

    for (size_t i = 0; i < LANES; i++)
        any |= found[i];
    return (any & 0x7fffffff) == 0;
}

/* Elements from @at to the next that starts a line, at most @n. */
INLINE size_t to_line(const float *at, size_t n)
{
    size_t head = -(uintptr_t)at / sizeof(float) % (KOFN_CACHE_LINE / sizeof(float));

    return KOFN_MIN(head, n);
}

/* ---- merge ---- */

/* The definition; used for the ends of a range. */
INLINE bool merge_ends(const struct kofn_merge *merge, size_t first, size_t last,
                       enum kofn_element element)
{
    bool finite = true;

    for (size_t i = first; i < last; i++) {
        float sum = merge->base ? merge->base[i] : 0;

        for (size_t k = 0; k < merge->count; k++) {
            float product = merge->weights[k] * one_element(merge->updates[k], i, element);

            sum += product;
        }
        merge->out[i] = sum;
        finite &= __builtin_isfinite(sum);
    }
    return finite;
}

/* out[i] = from[i] + sum of @count updates from element @at on, for @n elements in whole steps.
 * @count is a constant, so that the loops over it vanish and weights and pointers stay in
 * registers: the fewer instructions a line takes, the more lines are on their way from memory at a
 * time.
 */
INLINE bits merge_group(float *out, const float *from, const struct kofn_merge *merge, size_t k,
                        size_t count, size_t at, size_t n, enum kofn_element element, bool stream)
{
    const void *updates[GROUP];
    vector weights[GROUP];
    bits found = {0};

    UNROLL
    for (size_t u = 0; u < count; u++) {
        updates[u] = merge->updates[k + u];
        weights[u] = merge->weights[k + u] - (vector){0}; /* in every lane */
    }
    for (size_t i = 0; i < n; i += STEP) {
        UNROLL
        for (size_t j = i; j < i + STEP; j += LANES) {
            vector sum = {0};

            if (from)
                sum = load(from + j);
            UNROLL
            for (size_t u = 0; u < count; u++) {
                vector product = weights[u] * load_element(updates[u], at + j, element);

                sum += product;
            }
            found |= not_finite(sum);
            store(out + j, sum, stream);
        }
    }
    return found;
}

/* The same for a @count that is known at run time, one of those below. */
INLINE bits merge_some(float *out, const float *from, const struct kofn_merge *merge, size_t k,
                       size_t count, size_t at, size_t n, enum kofn_element element, bool stream)
{
    switch (count) {
    case 8:
        return merge_group(out, from, merge, k, 8, at, n, element, stream);
    case 4:
        return merge_group(out, from, merge, k, 4, at, n, element, stream);
    case 2:
        return merge_group(out, from, merge, k, 2, at, n, element, stream);
    case 1:
        return merge_group(out, from, merge, k, 1, at, n, element, stream);
    default:
        return merge_group(out, from, merge, k, 0, at, n, element, stream);
    }
}

/* A tile of columns: groups of updates are summed in @scratch, the last group writes the result. */
INLINE bits merge_tile(const struct kofn_merge *merge, float *scratch, size_t at, size_t n,
                       enum kofn_element element)
{
    const float *from = merge->base ? merge->base + at : NULL;
    size_t size = GROUP, left = merge->count, k = 0;

    for (;; k += size, left -= size, from = scratch) {
        while (size > left)
            size /= 2;
        if (size == left)
            break;
        merge_some(scratch, from, merge, k, size, at, n, element, false);
    }
    if (merge->stream)
        return merge_some(merge->out + at, from, merge, k, size, at, n, element, true);
    return merge_some(merge->out + at, from, merge, k, size, at, n, element, false);
}

INLINE bool merge_range(const struct kofn_merge *merge, size_t first, size_t last,
                        enum kofn_element element)
{
    KOFN_LINE_ALIGNED float scratch[TILE];
    size_t at = first + to_line(merge->out + first, last - first);
    bool finite = merge_ends(merge, first, at, element);
    bits found = {0};

    for (size_t n; (n = KOFN_MIN((last - at) / STEP * STEP, (size_t)TILE)) > 0; at += n)
        found |= merge_tile(merge, scratch, at, n, element);
    if (merge->stream)
        FENCE();
    return merge_ends(merge, at, last, element) && finite && none_set(found);
}

KERNEL bool merge_f32(const struct kofn_merge *merge, size_t first, size_t last)
{
    return merge_range(merge, first, last, KOFN_F32);
}

KERNEL bool merge_bf16(const struct kofn_merge *merge, size_t first, size_t last)
{
    return merge_range(merge, first, last, KOFN_BF16);
}

KERNEL bool merge_f16(const struct kofn_merge *merge, size_t first, size_t last)
{
    return merge_range(merge, first, last, KOFN_F16);
}

/* ---- all_finite ---- */

#define LOOK 4096 /* elements between two looks at what was found */

KERNEL bool all_finite_f32(const void *array, size_t n)
{
    const float *at = array;
    size_t i = 0;

    while (n - i >= BLOCK) {
        size_t end = i + KOFN_MIN((n - i) / BLOCK * BLOCK, (size_t)LOOK);
        bits found[VECTORS] = {{0}};

        for (; i < end; i += BLOCK) {
            UNROLL
            for (size_t j = 0; j < VECTORS; j++)
                found[j] |= not_finite(load(at + i + j * LANES));
        }
        for (size_t j = 0; j < VECTORS; j++)
            if (!none_set(found[j]))
                return false;
    }
    for (; i < n; i++)
        if (!__builtin_isfinite(at[i]))
            return false;
    return true;
}

/* A 16-bit float is finite unless all bits of its @exponent are set. */
INLINE bool all_finite_half(const uint16_t *at, size_t n, uint16_t exponent)
{
    const words mask = exponent - (words){0};
    size_t i = 0;

    while (n - i >= 2 * LANES) {
        size_t end = i + KOFN_MIN((n - i) / (2 * LANES) * (2 * LANES), (size_t)LOOK);
        words found = {0};

        for (; i < end; i += 2 * LANES)
            found |= (words)((*(const words_at *)(at + i) & mask) == mask);
        for (size_t j = 0; j < 2 * LANES; j++)
            if (found[j])
                return false;
    }
    for (; i < n; i++)
        if ((at[i] & exponent) == exponent)
            return false;
    return true;
}

KERNEL bool all_finite_bf16(const void *array, size_t n)
{
    return all_finite_half(array, n, 0x7f80);
}
KERNEL bool all_finite_f16(const void *array, size_t n)
{
    return all_finite_half(array, n, 0x7c00);
}

/* ---- delta ---- */

INLINE void delta_blocks(float *out, const float *x, const float *theta, size_t n, bool stream)
{
    for (size_t i = 0; i < n; i += BLOCK) {
        UNROLL
        for (size_t j = 0; j < BLOCK; j += LANES)
            store(out + i + j, load(x + i + j) - load(theta + i + j), stream);
    }
}

KERNEL void delta_f32(void *out_p, const float *x, const float *theta, size_t n, bool stream)
{
    float *out = out_p;
    size_t head = to_line(out, n), blocks = (n - head) / BLOCK * BLOCK;

    for (size_t i = 0; i < head; i++)
        out[i] = x[i] - theta[i];
    if (stream) {
        delta_blocks(out + head, x + head, theta + head, blocks, true);
        FENCE();
    } else {
        delta_blocks(out + head, x + head, theta + head, blocks, false);
    }
    for (size_t i = head + blocks; i < n; i++)
        out[i] = x[i] - theta[i];
}

/* As kofn_bf16_narrow(), which see. */
INLINE void narrow_bf16(uint16_t *at, vector value)
{
    bits raw = (bits)value;
    bits is_nan = (bits)((raw & 0x7fffffff) > 0x7f800000);
    bits rounded = (raw + 0x7fff + (raw >> 16 & 1)) >> 16;
    bits quiet = raw >> 16 | 0x40;

    *(halves_at *)at = __builtin_convertvector((is_nan & quiet) | (~is_nan & rounded), halves);
}

/* Half as much is written as read twice over: there is little to gain from streaming, so these do
 * not. */
KERNEL void delta_bf16(void *out_p, const float *x, const float *theta, size_t n, bool stream)
{
    uint16_t *out = out_p;
    size_t i = 0;

    (void)stream;
    for (; n - i >= LANES; i += LANES)
        narrow_bf16(out + i, load(x + i) - load(theta + i));
    for (; i < n; i++)
        out[i] = kofn_bf16_narrow(x[i] - theta[i]);
}

KERNEL void delta_f16(void *out_p, const float *x, const float *theta, size_t n, bool stream)
{
    uint16_t *out = out_p;
    size_t i = 0;

    (void)stream;
    for (; n - i >= LANES; i += LANES)
        NARROW_F16(out + i, load(x + i) - load(theta + i));
    for (; i < n; i++)
        out[i] = kofn_f16_narrow(x[i] - theta[i]);
}

KERNEL void delta_sub_f32(float *out, const float *x, const float *theta, size_t n)
{
    size_t i = 0;

    for (; n - i >= BLOCK; i += BLOCK) {
        UNROLL
        for (size_t j = 0; j < BLOCK; j += LANES)
            store(out + i + j, load(x + i + j) - load(theta + i + j) - load(out + i + j), false);
    }
    for (; i < n; i++)
        out[i] = x[i] - theta[i] - out[i];
}

/* ---- copy ---- */

INLINE void copy2_blocks(float *a, float *b, const float *source, size_t n, bool stream)
{
    for (size_t i = 0; i < n; i += BLOCK) {
        UNROLL
        for (size_t j = 0; j < BLOCK; j += LANES) {
            vector value = load(source + i + j);

            store(a + i + j, value, stream);
            store(b + i + j, value, stream);
        }
    }
}

KERNEL void copy2_f32(float *a, float *b, const float *source, size_t n, bool stream)
{
    size_t head = to_line(a, n), blocks = (n - head) / BLOCK * BLOCK, tail = n - head - blocks;
    bool together = ((uintptr_t)a - (uintptr_t)b) % KOFN_CACHE_LINE == 0;

    memcpy(a, source, head * sizeof(float));
    memcpy(b, source, head * sizeof(float));
    if (stream && together) { /* streaming stores must be aligned at both */
        copy2_blocks(a + head, b + head, source + head, blocks, true);
        FENCE();
    } else {
        copy2_blocks(a + head, b + head, source + head, blocks, false);
    }
    memcpy(a + n - tail, source + n - tail, tail * sizeof(float));
    memcpy(b + n - tail, source + n - tail, tail * sizeof(float));
}

#define KERNEL_TABLE(label)                                                                        \
    {                                                                                              \
        .name = label, .merge = {merge_f32, merge_bf16, merge_f16},                                \
        .all_finite = {all_finite_f32, all_finite_bf16, all_finite_f16},                           \
        .delta = {delta_f32, delta_bf16, delta_f16}, .delta_sub = delta_sub_f32,                   \
        .copy2 = copy2_f32,                                                                        \
    }
