/* base.h: what every file of kofn needs: static asserts, cache lines, small arithmetic. */
#ifndef KOFN_BASE_BASE_H
#define KOFN_BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kofn/types.h>

#define KOFN_CACHE_LINE 64
#define KOFN_PAGE 4096

#define KOFN_STATIC_ASSERT(condition, why) _Static_assert(condition, why)
#define KOFN_LINE_ALIGNED _Alignas(KOFN_CACHE_LINE)
#define KOFN_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define KOFN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define KOFN_MAX(a, b) ((a) > (b) ? (a) : (b))
#define KOFN_LIKELY(x) __builtin_expect(!!(x), 1)
#define KOFN_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Rounds @value up to a multiple of @unit, a power of two. */
static inline uint64_t kofn_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

#endif
