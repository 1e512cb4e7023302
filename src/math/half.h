/* half.h: the two 16-bit float formats a payload may have, one element at a time.
 *
 * bf16 is the upper half of an f32; f16 is IEEE 754 binary16. Narrowing rounds to nearest, ties to
 * even; a NaN stays a NaN (made quiet), what is too large becomes infinity. These are the
 * definition that the vector kernels agree with bit for bit (a signalling NaN excepted).
 */
#ifndef KOFN_MATH_HALF_H
#define KOFN_MATH_HALF_H

#include <string.h>

#include "base/base.h"

static inline uint32_t kofn_f32_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline float kofn_f32_from_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline float kofn_bf16_widen(uint16_t half)
{
    return kofn_f32_from_bits((uint32_t)half << 16);
}

static inline uint16_t kofn_bf16_narrow(float value)
{
    uint32_t bits = kofn_f32_bits(value);

    if ((bits & 0x7fffffff) > 0x7f800000) /* rounding up could carry a NaN into infinity */
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float kofn_f16_widen(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t rest = (uint32_t)(half & 0x7fff) << 13; /* exponent and fraction in their f32 places */

    if (rest >= 0x0f800000) /* infinity, NaN: the largest exponent of one is that of the other */
        return kofn_f32_from_bits(sign | (rest + (UINT32_C(224) << 23)));
    if (rest < 0x00800000) { /* zero, subnormal: f32 has the exponents for it, so the hardware
                                normalizes */
        float value = kofn_f32_from_bits(rest | UINT32_C(113) << 23) - 0x1p-14f;

        return kofn_f32_from_bits(sign | kofn_f32_bits(value));
    }
    return kofn_f32_from_bits(sign | (rest + (UINT32_C(112) << 23)));
}

static inline uint16_t kofn_f16_narrow(float value)
{
    uint32_t bits = kofn_f32_bits(value);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;

    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff));
    if (rest >= 0x47800000) /* 65536 and more */
        return (uint16_t)(sign | 0x7c00);
    if (rest <
        0x38800000) /* below 2^-14: the last bit of a sum with 1/2 is that of a subnormal f16 */
        return (uint16_t)(sign | (kofn_f32_bits(kofn_f32_from_bits(rest) + 0.5f) - 0x3f000000));
    rest -= UINT32_C(112) << 23;
    return (uint16_t)(sign | ((rest + 0xfff + (rest >> 13 & 1)) >>
                              13)); /* may carry into infinity: right */
}

#endif
