#include "math/reduce.h"

#include <stdio.h>
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

/* Reads a number from a file of the first CPU's cache @index; 0 if there is none. */
static size_t cache_number(unsigned index, const char *name)
{
    unsigned long value = 0;
    char path[96];
    FILE *file;

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%u/%s", index, name);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lu", &value) != 1) /* sizes are in KiB and say so behind the number */
        value = 0;
    fclose(file);
    return value;
}

/* Not from sysconf(): on some machines glibc takes the caches of all dies together for one. */
size_t kofn_reduce_stream_bytes(void)
{
    size_t level = 0, kib = 0, next;

    for (unsigned index = 0; (next = cache_number(index, "level")) > 0; index++)
        if (next >= level) {
            level = next;
            kib = cache_number(index, "size");
        }
    return (kib ? kib << 10 : LAST_LEVEL_GUESS) / 2;
}
