#include "math/reduce.h"

#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "math/reduce_tables.h"

#define LAST_LEVEL_GUESS (16u << 20) /* bytes, where the system does not say */

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
static bool has_avx2(void)
{
    unsigned a, b, c, d;

    /* clang's builtin does not know f16c */
    return __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

/* Slowest first. */
static const struct {
    const struct kofn_reduce_ops *ops;
    bool (*runs_here)(void);
} tables[] = {
    {&kofn__reduce_portable, always},
#ifdef __x86_64__
    {&kofn__reduce_avx2, has_avx2},
    {&kofn__reduce_avx512, has_avx512},
#endif
};

const struct kofn_reduce_ops *kofn_reduce_at(size_t index)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(tables); i++)
        if (tables[i].runs_here() && index-- == 0)
            return tables[i].ops;
    return NULL;
}

const struct kofn_reduce_ops *kofn_reduce_select(void)
{
    size_t i = KOFN_ARRAY_SIZE(tables);

    while (!tables[--i].runs_here())
        ; /* the first runs everywhere */
    return tables[i].ops;
}

size_t kofn_reduce_stream_bytes(void)
{
    long bytes = -1;

#ifdef _SC_LEVEL3_CACHE_SIZE
    bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return (bytes > 0 ? (size_t)bytes : LAST_LEVEL_GUESS) / 2;
}
