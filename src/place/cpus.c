#include "place/cpus.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kofn_cpus_add(struct kofn_cpus *set, int cpu)
{
    set->word[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

void kofn_cpus_remove(struct kofn_cpus *set, int cpu)
{
    set->word[cpu / 64] &= ~(UINT64_C(1) << (cpu % 64));
}

bool kofn_cpus_has(const struct kofn_cpus *set, int cpu)
{
    return cpu >= 0 && cpu < KOFN_CPUS_MAX && (set->word[cpu / 64] >> (cpu % 64) & 1);
}

int kofn_cpus_next(const struct kofn_cpus *set, int cpu)
{
    unsigned from = (unsigned)(cpu + 1);

    for (unsigned i = from / 64; i < KOFN_ARRAY_SIZE(set->word); i++) {
        uint64_t word = set->word[i];

        if (i == from / 64)
            word &= ~UINT64_C(0) << (from % 64);
        if (word)
            return (int)(i * 64) + __builtin_ctzll(word);
    }
    return -1;
}

unsigned kofn_cpus_count(const struct kofn_cpus *set)
{
    unsigned count = 0;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(set->word); i++)
        count += (unsigned)__builtin_popcountll(set->word[i]);
    return count;
}

bool kofn_cpus_equal(const struct kofn_cpus *a, const struct kofn_cpus *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

struct kofn_cpus kofn_cpus_both(const struct kofn_cpus *a, const struct kofn_cpus *b)
{
    struct kofn_cpus both = *a;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(both.word); i++)
        both.word[i] &= b->word[i];
    return both;
}

void kofn_cpus_minus(struct kofn_cpus *set, const struct kofn_cpus *other)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(set->word); i++)
        set->word[i] &= ~other->word[i];
}

void kofn_cpus_pick_evenly(const struct kofn_cpus *set, unsigned count, int *cpu)
{
    unsigned size = kofn_cpus_count(set), picked = 0, index = 0;

    /* the i-th pick is member i * size / count: distinct, as size >= count */
    for (int c = kofn_cpus_next(set, -1); c >= 0 && picked < count; c = kofn_cpus_next(set, c))
        if (index++ == (uint64_t)picked * size / count)
            cpu[picked++] = c;
}

/* One number below KOFN_CPUS_MAX at *@text_p, or -1; moves *@text_p behind it. */
static int parse_number(const char **text_p)
{
    const char *text = *text_p;
    int value = 0;

    if (!isdigit((unsigned char)*text))
        return -1;
    for (; isdigit((unsigned char)*text); text++) {
        value = value * 10 + (*text - '0');
        if (value >= KOFN_CPUS_MAX)
            return -1;
    }
    *text_p = text;
    return value;
}

/* One "5" or "0-3" at *@text_p into @set. */
static bool parse_range(const char **text_p, struct kofn_cpus *set)
{
    int first = parse_number(text_p), last = first;

    if (first >= 0 && **text_p == '-') {
        ++*text_p;
        last = parse_number(text_p);
    }
    if (first < 0 || last < first)
        return false;
    for (int cpu = first; cpu <= last; cpu++)
        kofn_cpus_add(set, cpu);
    return true;
}

int kofn_cpus_parse(const char *text, const struct kofn_log *log, struct kofn_cpus *set)
{
    struct kofn_cpus parsed = {{0}};
    const char *at = text;

    while (parse_range(&at, &parsed)) {
        if (*at == '\0') {
            *set = parsed;
            return 0;
        }
        if (*at++ != ',')
            break;
    }
    return kofn_error(log, KOFN_INVALID,
                      "\"%.64s\" is no list of CPUs: wanted numbers below %d and ascending ranges, "
                      "such as 0-3,8",
                      text, KOFN_CPUS_MAX);
}

const char *kofn_cpus_format(const struct kofn_cpus *set, char *buffer, size_t size)
{
    size_t used = 0;

    snprintf(buffer, size, "none");
    for (int first = kofn_cpus_next(set, -1); first >= 0;) {
        const char *comma = used ? "," : "";
        char range[32];
        size_t bytes;
        int last = first;

        while (kofn_cpus_has(set, last + 1))
            last++;
        if (last > first)
            bytes = (size_t)snprintf(range, sizeof(range), "%s%d-%d", comma, first, last);
        else
            bytes = (size_t)snprintf(range, sizeof(range), "%s%d", comma, first);
        /* whatever comes after this range, ",..." and the final zero must still fit */
        if (used + bytes + sizeof(",...") > size) {
            snprintf(buffer + used, size - used, "%s...", comma);
            break;
        }
        memcpy(buffer + used, range, bytes + 1);
        used += bytes;
        first = kofn_cpus_next(set, last);
    }
    return buffer;
}

int kofn_cpus_of_thread(const struct kofn_log *log, struct kofn_cpus *set)
{
    size_t bytes = CPU_ALLOC_SIZE(KOFN_CPUS_MAX);
    cpu_set_t *mask = CPU_ALLOC(KOFN_CPUS_MAX);
    struct kofn_cpus found = {{0}};
    int rc = 0;

    if (!mask)
        return kofn_error(log, KOFN_NO_MEMORY, "place: no memory for a mask of %d CPUs",
                          KOFN_CPUS_MAX);
    CPU_ZERO_S(bytes, mask);
    if (sched_getaffinity(0, bytes, mask)) {
        rc = kofn_error_errno(log, "place: the kernel does not say which CPUs may be used");
        goto free_mask;
    }
    for (int cpu = 0; cpu < KOFN_CPUS_MAX; cpu++)
        if (CPU_ISSET_S((size_t)cpu, bytes, mask))
            kofn_cpus_add(&found, cpu);
    *set = found;

free_mask:
    CPU_FREE(mask);
    return rc;
}
