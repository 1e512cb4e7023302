#include "benchmarks/sum8.h"

#include <string.h>

#include "base/base.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* One kernel: @LANES floats at a time, stored at @at by @STORE. */
#define SUM8(NAME, TARGET, LANES, STORE)                                                           \
    TARGET static void NAME(float *out, const float *const from[8], size_t first, size_t last)     \
    {                                                                                              \
        typedef float vector __attribute__((vector_size(4 * LANES), may_alias));                   \
        const float *a = from[0], *b = from[1], *c = from[2], *d = from[3];                        \
        const float *e = from[4], *f = from[5], *g = from[6], *h = from[7];                        \
                                                                                                   \
        for (size_t i = first; i < last; i += LANES) {                                             \
            vector sum = *(const vector *)(a + i) + *(const vector *)(b + i);                      \
                                                                                                   \
            sum += *(const vector *)(c + i);                                                       \
            sum += *(const vector *)(d + i);                                                       \
            sum += *(const vector *)(e + i);                                                       \
            sum += *(const vector *)(f + i);                                                       \
            sum += *(const vector *)(g + i);                                                       \
            sum += *(const vector *)(h + i);                                                       \
            STORE(out + i, sum);                                                                   \
        }                                                                                          \
    }

#define PLAIN(at, sum) (*(vector *)(at) = (sum))

SUM8(sum_portable, , 4, PLAIN)

#ifdef __x86_64__
#define STREAM4(at, sum) _mm_stream_ps(at, (__m128)(sum))
#define STREAM8(at, sum) _mm256_stream_ps(at, (__m256)(sum))
#define STREAM16(at, sum) _mm512_stream_ps(at, (__m512)(sum))

SUM8(stream_portable, , 4, STREAM4)
SUM8(sum_avx2, __attribute__((target("avx2"))), 8, PLAIN)
SUM8(stream_avx2, __attribute__((target("avx2"))), 8, STREAM8)
SUM8(sum_avx512, __attribute__((target("avx512f"))), 16, PLAIN)
SUM8(stream_avx512, __attribute__((target("avx512f"))), 16, STREAM16)
#else
#define stream_portable sum_portable
#endif

static const struct sum8 kernels[] = {
    {"portable", sum_portable, stream_portable},
#ifdef __x86_64__
    {"avx2", sum_avx2, stream_avx2},
    {"avx512", sum_avx512, stream_avx512},
#endif
};

const struct sum8 *sum8_find(const char *name)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kernels); i++)
        if (strcmp(kernels[i].name, name) == 0)
            return &kernels[i];
    return NULL;
}
