/* Kernels for any machine: vectors of 16 bytes, which the compiler turns into SSE2, NEON or plain
 * code.
 */
#include "math/half.h"

#define LANES 4
#define TARGET

#ifdef __SSE2__
#include <emmintrin.h>

#define STREAM(at, value) _mm_stream_ps(at, (__m128)(value))
#define FENCE() _mm_sfence()
#else
#define STREAM(at, value) (*(vector_at *)(at) = (value))
#define FENCE() ((void)0)
#endif

#define WIDEN_BF16(at) ((vector)(__builtin_convertvector(*(const halves_at *)(at), bits) << 16))

#ifdef __aarch64__
#include <arm_neon.h>

#define WIDEN_F16(at) ((vector)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))))
#define NARROW_F16(at, value) vst1_u16(at, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)(value))))
#else
typedef float lanes __attribute__((vector_size(16)));

/* Not inlined: they are long, and the kernels have many copies of what they inline. */
static __attribute__((noinline)) lanes widen_f16(const uint16_t *at)
{
    return (lanes){kofn_f16_widen(at[0]), kofn_f16_widen(at[1]), kofn_f16_widen(at[2]),
                   kofn_f16_widen(at[3])};
}

static __attribute__((noinline)) void narrow_f16(uint16_t *at, lanes value)
{
    for (int i = 0; i < LANES; i++)
        at[i] = kofn_f16_narrow(value[i]);
}

#define WIDEN_F16(at) widen_f16(at)
#define NARROW_F16(at, value) narrow_f16(at, value)
#endif

#include "math/reduce_kernels.h"
#include "math/reduce_tables.h"

const struct kofn_reduce_ops kofn__reduce_portable = KERNEL_TABLE("portable");
