/* Kernels for x86 with AVX-512 F, BW and VL (Skylake-SP, Zen 4 and later). */
#ifdef __x86_64__
#include <immintrin.h>

#define LANES 16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,f16c")))
#define STREAM(at, value) _mm512_stream_ps(at, (__m512)(value))
#define FENCE() _mm_sfence()
#define WIDEN_BF16(at)                                                                             \
    ((vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(at))),   \
                               16))
#define WIDEN_F16(at) ((vector)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(at))))
#define NARROW_F16(at, value)                                                                      \
    _mm256_storeu_si256((__m256i *)(at),                                                           \
                        _mm512_cvtps_ph((__m512)(value), _MM_FROUND_TO_NEAREST_INT))

#include "math/reduce_kernels.h"
#include "math/reduce_tables.h"

const struct kofn_reduce_ops kofn__reduce_avx512 = KERNEL_TABLE("avx512");
#else
typedef int kofn__reduce_no_avx512; /* ISO C wants a declaration in every file */
#endif
