/* Kernels for x86 with AVX2 and F16C (2013 and later). */
#ifdef __x86_64__
#include <immintrin.h>

#define LANES 8
#define TARGET __attribute__((target("avx2,f16c")))
#define STREAM(at, value) _mm256_stream_ps(at, (__m256)(value))
#define FENCE() _mm_sfence()
#define WIDEN_BF16(at)                                                                             \
    ((vector)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(at))), 16))
#define WIDEN_F16(at) ((vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(at))))
#define NARROW_F16(at, value)                                                                      \
    _mm_storeu_si128((__m128i *)(at), _mm256_cvtps_ph((__m256)(value), _MM_FROUND_TO_NEAREST_INT))

#include "math/reduce_kernels.h"
#include "math/reduce_tables.h"

const struct kofn_reduce_ops kofn__reduce_avx2 = KERNEL_TABLE("avx2");
#else
typedef int kofn__reduce_no_avx2; /* ISO C wants a declaration in every file */
#endif
