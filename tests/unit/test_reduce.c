/* The kernels on models and updates: every instruction set this machine has, against plain
 * arithmetic. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "math/half.h"
#include "math/reduce.h"

#define SOURCES 20
#define LONGEST 9001
#define SHIFTS 17 /* more elements than a line has: every alignment */
#define GUARD 64  /* elements behind an output that must stay as they were */

static const size_t lengths[] = {0,  1,  3,   15,   16,   17,   31,     32,
                                 33, 64, 100, 4095, 4096, 4097, LONGEST};

/* One update as each element type, in f32 after narrowing, and unaligned by @shift elements. */
struct source {
    float f32[LONGEST + SHIFTS];
    uint16_t bf16[LONGEST + SHIFTS], f16[LONGEST + SHIFTS];
};

struct arrays {
    struct source sources[SOURCES];
    float base[LONGEST + SHIFTS], out[LONGEST + SHIFTS + GUARD], other[LONGEST + SHIFTS + GUARD];
    uint16_t narrow[LONGEST + SHIFTS + GUARD];
    float weights[SOURCES];
    const void *updates[SOURCES];
};

static struct arrays *arrays;

static int set_up(void)
{
    struct kofn_random random;

    arrays = malloc(sizeof(*arrays));
    if (!arrays)
        return -1;
    kofn_random_seed(&random, 1, 0);
    for (size_t k = 0; k < SOURCES; k++) {
        arrays->weights[k] = (float)(0.1 + kofn_random_uniform(&random));
        for (size_t i = 0; i < LONGEST + SHIFTS; i++) {
            float value = (float)kofn_random_normal(&random);

            arrays->sources[k].f32[i] = value;
            arrays->sources[k].bf16[i] = kofn_bf16_narrow(value);
            arrays->sources[k].f16[i] = kofn_f16_narrow(value);
        }
    }
    for (size_t i = 0; i < LONGEST + SHIFTS; i++)
        arrays->base[i] = (float)kofn_random_normal(&random);
    return 0;
}

static int tear_down(void)
{
    free(arrays);
    return 0;
}

static const void *source(size_t k, size_t shift, enum kofn_element element)
{
    const struct source *from = &arrays->sources[k];

    switch (element) {
    case KOFN_BF16:
        return from->bf16 + shift;
    case KOFN_F16:
        return from->f16 + shift;
    default:
        return from->f32 + shift;
    }
}

static float widened(const void *array, size_t i, enum kofn_element element)
{
    switch (element) {
    case KOFN_BF16:
        return kofn_bf16_widen(((const uint16_t *)array)[i]);
    case KOFN_F16:
        return kofn_f16_widen(((const uint16_t *)array)[i]);
    default:
        return ((const float *)array)[i];
    }
}

static struct kofn_merge merge_of(size_t count, size_t shift, enum kofn_element element,
                                  bool with_base, bool stream)
{
    for (size_t k = 0; k < count; k++)
        arrays->updates[k] = source(k, (shift + k) % SHIFTS, element);
    return (struct kofn_merge){
        .out = arrays->out + shift,
        .base = with_base ? arrays->base + (shift * 5) % SHIFTS : NULL,
        .updates = arrays->updates,
        .weights = arrays->weights,
        .count = count,
        .stream = stream,
    };
}

/* Elements of @merge that are not what the definition says: in f32 step by step exactly, in double
 * nearly. */
static size_t wrong_elements(const struct kofn_merge *merge, size_t n, enum kofn_element element)
{
    size_t wrong = 0;

    for (size_t i = 0; i < n; i++) {
        volatile float exact =
            merge->base ? merge->base[i] : 0; /* volatile: rounded at each step */
        double sum = exact, size = fabs(sum);

        for (size_t k = 0; k < merge->count; k++) {
            float update = widened(merge->updates[k], i, element);
            volatile float product = merge->weights[k] * update;

            exact += product;
            sum += (double)merge->weights[k] * update;
            size += fabs((double)merge->weights[k] * update);
        }
        wrong += kofn_f32_bits(merge->out[i]) != kofn_f32_bits(exact);
        wrong += fabs(merge->out[i] - sum) > size * (double)(merge->count + 1) * FLT_EPSILON;
    }
    return wrong;
}

static void fill_guards(void)
{
    memset(arrays->out, 0x5a, sizeof(arrays->out));
    memset(arrays->other, 0x5a, sizeof(arrays->other));
    memset(arrays->narrow, 0x5a, sizeof(arrays->narrow));
}

/* Are all bytes outside of [@from, @to) of @array untouched? */
static bool guarded(const void *array, size_t bytes, const void *from, const void *to)
{
    const unsigned char *at = array;

    for (size_t i = 0; i < bytes; i++)
        if ((at + i < (const unsigned char *)from || at + i >= (const unsigned char *)to) &&
            at[i] != 0x5a)
            return false;
    return true;
}

/* A merge of any number of updates, of any type, length and alignment is the defined sum, bit for
 * bit, on every instruction set, and touches nothing else.
 */
static void test_merge_is_the_defined_sum(void)
{
    const struct kofn_reduce_ops *ops;

    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++)
        for (enum kofn_element element = 0; element < KOFN_ELEMENTS; element++)
            for (size_t count = 0; count <= SOURCES; count++)
                for (size_t l = 0; l < KOFN_ARRAY_SIZE(lengths); l++) {
                    size_t n = lengths[l], shift = (count * 7 + l) % SHIFTS;
                    struct kofn_merge merge =
                        merge_of(count, shift, element, (count + l) % 4 != 0, l % 2 == 0);

                    fill_guards();
                    CU_ASSERT_TRUE(ops->merge[element](&merge, 0, n));
                    CU_ASSERT_EQUAL(wrong_elements(&merge, n, element), 0);
                    CU_ASSERT_TRUE(
                        guarded(arrays->out, sizeof(arrays->out), merge.out, merge.out + n));
                }
}

/* Cutting a range anywhere changes no bit of the result. */
static void test_cuts_do_not_matter(void)
{
    const struct kofn_reduce_ops *ops;

    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++)
        for (size_t cut = 0; cut <= LONGEST; cut += cut < 70 || cut > 4090 ? 13 : 577) {
            struct kofn_merge merge = merge_of(11, cut % SHIFTS, KOFN_F32, true, cut % 2);

            cut = KOFN_MIN(cut, (size_t)LONGEST);
            fill_guards();
            CU_ASSERT_TRUE(ops->merge[KOFN_F32](&merge, cut, LONGEST));
            CU_ASSERT_TRUE(
                guarded(arrays->out, sizeof(arrays->out), merge.out + cut, merge.out + LONGEST));
            CU_ASSERT_TRUE(ops->merge[KOFN_F32](&merge, 0, cut));
            CU_ASSERT_EQUAL(wrong_elements(&merge, LONGEST, KOFN_F32), 0);
        }
}

/* Ten thousand updates are merged like twenty. */
static void test_merge_of_very_many(void)
{
    enum { MANY = 10000, COLUMNS = 133 };
    const struct kofn_reduce_ops *ops;
    const void **updates = malloc(MANY * sizeof(*updates));
    float *weights = malloc(MANY * sizeof(*weights));

    CU_ASSERT_PTR_NOT_NULL_FATAL(updates);
    CU_ASSERT_PTR_NOT_NULL_FATAL(weights);
    for (size_t k = 0; k < MANY; k++) {
        updates[k] = source(k % SOURCES, 0, KOFN_F32);
        updates[k] = (const float *)updates[k] + k % 5000;
        weights[k] = 1.0f / (float)(k + 1);
    }
    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++) {
        struct kofn_merge merge = {arrays->out, arrays->base, updates, weights, MANY, false};

        fill_guards();
        CU_ASSERT_TRUE(ops->merge[KOFN_F32](&merge, 0, COLUMNS));
        CU_ASSERT_EQUAL(wrong_elements(&merge, COLUMNS, KOFN_F32), 0);
    }
    free(updates);
    free(weights);
}

/* Gathering updates one by one gives what merging them at once gives. */
static void test_accumulate_equals_merge(void)
{
    const struct kofn_reduce_ops *ops;

    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++)
        for (enum kofn_element element = 0; element < KOFN_ELEMENTS; element++) {
            struct kofn_merge merge = merge_of(SOURCES, 3, element, false, false);

            fill_guards();
            memset(merge.out, 0, LONGEST * sizeof(float));
            for (size_t k = 0; k < SOURCES; k++)
                CU_ASSERT_TRUE(kofn_reduce_accumulate(ops, element, merge.out, merge.updates[k],
                                                      merge.weights[k], LONGEST));
            CU_ASSERT_EQUAL(wrong_elements(&merge, LONGEST, element), 0);
        }
}

static void put(void *array, size_t i, enum kofn_element element, float value)
{
    if (element == KOFN_F32)
        ((float *)array)[i] = value;
    else
        ((uint16_t *)array)[i] =
            element == KOFN_BF16 ? kofn_bf16_narrow(value) : kofn_f16_narrow(value);
}

/* One NaN or infinity is found wherever it is, in the update and in the merge, and nothing finite
 * is taken for one. */
static void test_not_finite_is_found_everywhere(void)
{
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    static const float good[] = {0, -0.0f, 1e-7f, -6e4f, 65000};
    enum { N = 4096 + 300 };
    const struct kofn_reduce_ops *ops;
    float update[N + 1];
    float weight = -0.5f;

    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++)
        for (enum kofn_element element = 0; element < KOFN_ELEMENTS; element++) {
            char *array = (char *)update + kofn_element_bytes(element);
            const void *updates[9] = {array, array, array, array, array,
                                      array, array, array, array};
            float weights[9] = {weight};
            struct kofn_merge merge = {arrays->out, arrays->base, updates, weights, 9, false};

            for (size_t i = 0; i < N; i++)
                put(array, i, element, good[i % KOFN_ARRAY_SIZE(good)]);
            CU_ASSERT_TRUE(ops->all_finite[element](array, N));
            CU_ASSERT_TRUE(ops->merge[element](&merge, 0, N));
            for (size_t i = 0; i < N; i += i < 300 || i > 4000 ? 1 : 59) {
                put(array, i, element, bad[i % KOFN_ARRAY_SIZE(bad)]);
                CU_ASSERT_FALSE(ops->all_finite[element](array, N));
                CU_ASSERT_TRUE(ops->all_finite[element](array, i));
                CU_ASSERT_TRUE(ops->all_finite[element](
                    array + (i + 1) * kofn_element_bytes(element), N - i - 1));
                merge.stream = i % 2;
                CU_ASSERT_FALSE(ops->merge[element](&merge, 0, N));
                CU_ASSERT_TRUE(ops->merge[element](&merge, 0, i));
                put(array, i, element, 1);
            }
        }
}

/* A sum that overflows is reported though every input is finite. */
static void test_overflow_is_reported(void)
{
    const struct kofn_reduce_ops *ops;
    float huge[40], weights[2] = {1, 1};
    const void *updates[2] = {huge, huge};
    struct kofn_merge merge = {arrays->out, NULL, updates, weights, 2, false};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(huge); i++)
        huge[i] = 1;
    huge[35] = FLT_MAX;
    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++) {
        CU_ASSERT_TRUE(ops->all_finite[KOFN_F32](huge, KOFN_ARRAY_SIZE(huge)));
        CU_ASSERT_FALSE(ops->merge[KOFN_F32](&merge, 0, KOFN_ARRAY_SIZE(huge)));
    }
}

/* delta is x - theta in the type of the payload, and delta_sub what has come since. */
static void test_delta(void)
{
    const struct kofn_reduce_ops *ops;

    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++)
        for (size_t l = 0; l < KOFN_ARRAY_SIZE(lengths); l++) {
            size_t n = lengths[l], shift = (l * 3) % SHIFTS, wrong = 0;
            const float *x = arrays->base + l, *theta = arrays->sources[1].f32 + shift;
            float *out = arrays->out + shift, *grown = arrays->other + shift;
            uint16_t *narrow = arrays->narrow + shift;

            fill_guards();
            ops->delta[KOFN_F32](out, x, theta, n, l % 2);
            memcpy(grown, arrays->sources[2].f32, n * sizeof(float));
            ops->delta_sub(grown, x, theta, n);
            for (size_t i = 0; i < n; i++) {
                volatile float difference = x[i] - theta[i];

                wrong += out[i] != difference;
                wrong += grown[i] != difference - arrays->sources[2].f32[i];
            }
            ops->delta[KOFN_BF16](narrow, x, theta, n, l % 2);
            for (size_t i = 0; i < n; i++)
                wrong += narrow[i] != kofn_bf16_narrow(out[i]);
            ops->delta[KOFN_F16](narrow, x, theta, n, l % 2);
            for (size_t i = 0; i < n; i++)
                wrong += narrow[i] != kofn_f16_narrow(out[i]);
            CU_ASSERT_EQUAL(wrong, 0);
            CU_ASSERT_TRUE(guarded(arrays->out, sizeof(arrays->out), out, out + n));
            CU_ASSERT_TRUE(guarded(arrays->other, sizeof(arrays->other), grown, grown + n));
            CU_ASSERT_TRUE(guarded(arrays->narrow, sizeof(arrays->narrow), narrow, narrow + n));
        }
}

/* copy2 gives both destinations the source, whether their alignments agree or not. */
static void test_copy2(void)
{
    const struct kofn_reduce_ops *ops;

    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++)
        for (size_t l = 0; l < KOFN_ARRAY_SIZE(lengths); l++)
            for (size_t shift = 0; shift < SHIFTS; shift++) {
                size_t n = lengths[l];
                float *a = arrays->out + shift, *b = arrays->other + (shift % 3 ? shift : 1);

                fill_guards();
                ops->copy2(a, b, arrays->base + 1, n, shift % 2);
                CU_ASSERT_EQUAL(memcmp(a, arrays->base + 1, n * sizeof(float)), 0);
                CU_ASSERT_EQUAL(memcmp(b, arrays->base + 1, n * sizeof(float)), 0);
                CU_ASSERT_TRUE(guarded(arrays->out, sizeof(arrays->out), a, a + n));
                CU_ASSERT_TRUE(guarded(arrays->other, sizeof(arrays->other), b, b + n));
            }
}

/* The value of an f16 by its definition. */
static double f16_value(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);

    return half & 0x8000 ? -size : size;
}

/* Every 16-bit pattern widens to its value and narrows back to itself; between two of them the
 * nearer one is taken, at the middle the even one.
 */
static void test_half_formats(void)
{
    size_t wrong = 0;

    for (uint32_t half = 0; half < 0x7c00; half++) {
        float low = kofn_f16_widen((uint16_t)half);
        float high = half == 0x7bff ? 65536 : kofn_f16_widen((uint16_t)(half + 1));
        float middle = low + (high - low) / 2;
        uint16_t even = (uint16_t)(half + (half & 1));

        wrong += low != f16_value((uint16_t)half);
        wrong += kofn_f16_widen((uint16_t)(half | 0x8000)) != -low;
        wrong += kofn_f16_narrow(low) != half || kofn_f16_narrow(-low) != (half | 0x8000);
        wrong += kofn_f16_narrow(middle) != even;
        wrong += kofn_f16_narrow(nextafterf(middle, 0)) != half;
        wrong += kofn_f16_narrow(nextafterf(middle, 1e9f)) != half + 1;
    }
    for (uint32_t half = 0; half < 0x7f80; half++) {
        float low = kofn_bf16_widen((uint16_t)half);
        float middle = kofn_f32_from_bits(half << 16 | 0x8000);
        uint16_t even = (uint16_t)(half + (half & 1));

        wrong += kofn_f32_bits(low) != half << 16;
        wrong += kofn_bf16_narrow(low) != half || kofn_bf16_narrow(-low) != (half | 0x8000);
        wrong += kofn_bf16_narrow(middle) != even;
        wrong += kofn_bf16_narrow(kofn_f32_from_bits((half << 16 | 0x8000) + 1)) != half + 1;
        wrong += kofn_bf16_narrow(kofn_f32_from_bits((half << 16 | 0x8000) - 1)) != half;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_TRUE(isinf(kofn_f16_widen(0x7c00)) && isinf(kofn_f16_widen(0xfc00)));
    for (uint32_t nan = 0x7c01; nan <= 0x7fff; nan++)
        wrong += !isnan(kofn_f16_widen((uint16_t)nan));
    for (uint32_t low = 1; low < 0x10000; low++) {
        wrong += (kofn_bf16_narrow(kofn_f32_from_bits(0x7f800000 | low)) & 0x7fff) <= 0x7f80;
        wrong += (kofn_f16_narrow(kofn_f32_from_bits(0xff800000 | low)) & 0x7fff) <= 0x7c00;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* The vector conversions agree with the plain ones on every kind of number. */
static void test_vector_conversions_agree(void)
{
    enum { N = 1 << 16 };
    const struct kofn_reduce_ops *ops;
    uint16_t *half = malloc(N * sizeof(*half));
    float *value = malloc(N * sizeof(*value)), *zero = calloc(N, sizeof(*zero));
    struct kofn_random random;
    size_t wrong = 0;

    CU_ASSERT_FATAL(half && value && zero);
    kofn_random_seed(&random, 2, 0);
    for (size_t v = 0; (ops = kofn_reduce_at(v)); v++)
        for (enum kofn_element element = KOFN_BF16; element < KOFN_ELEMENTS; element++) {
            const float one = 1;
            const void *updates = half;
            struct kofn_merge merge = {value, NULL, &updates, &one, 1, false};

            for (size_t i = 0; i < N; i++)
                half[i] = (uint16_t)i;
            ops->merge[element](&merge, 0, N);
            for (size_t i = 0; i < N; i++) {
                float expected = widened(half, i, element) + 0.0f;

                wrong += isnan(expected) ? !isnan(value[i])
                                         : kofn_f32_bits(value[i]) != kofn_f32_bits(expected);
            }
            for (size_t i = 0; i < N; i++)
                value[i] = kofn_f32_from_bits((uint32_t)kofn_random_next(&random));
            ops->delta[element](half, value, zero, N, false);
            for (size_t i = 0; i < N; i++) {
                volatile float difference = value[i] - zero[i]; /* a NaN is quiet by now */

                wrong += half[i] != (element == KOFN_BF16 ? kofn_bf16_narrow(difference)
                                                          : kofn_f16_narrow(difference));
            }
        }
    CU_ASSERT_EQUAL(wrong, 0);
    free(half);
    free(value);
    free(zero);
}

/* The table chosen is the last of those that can be had, and the first can always be had. */
static void test_selection(void)
{
    const struct kofn_reduce_ops *last = NULL;

    CU_ASSERT_STRING_EQUAL(kofn_reduce_at(0)->name, "portable");
    for (size_t v = 0; kofn_reduce_at(v); v++)
        last = kofn_reduce_at(v);
    CU_ASSERT_PTR_EQUAL(kofn_reduce_select(), last);
    CU_ASSERT(kofn_reduce_stream_bytes() >= 1u << 18);
}

void kofn_suite_reduce(void)
{
    CU_pSuite suite = CU_add_suite("reduce", set_up, tear_down);

    CU_add_test(suite, "merge is the defined sum", test_merge_is_the_defined_sum);
    CU_add_test(suite, "cuts do not matter", test_cuts_do_not_matter);
    CU_add_test(suite, "merge of very many", test_merge_of_very_many);
    CU_add_test(suite, "accumulate equals merge", test_accumulate_equals_merge);
    CU_add_test(suite, "not finite is found everywhere", test_not_finite_is_found_everywhere);
    CU_add_test(suite, "overflow is reported", test_overflow_is_reported);
    CU_add_test(suite, "delta", test_delta);
    CU_add_test(suite, "copy2", test_copy2);
    CU_add_test(suite, "half formats", test_half_formats);
    CU_add_test(suite, "vector conversions agree", test_vector_conversions_agree);
    CU_add_test(suite, "selection", test_selection);
}
