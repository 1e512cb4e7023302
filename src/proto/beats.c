#include "proto/beats.h"

#include "base/barrier.h"

/* A vector load is no atomic to ThreadSanitizer, which then takes the words below for a race. */
#if defined(__SANITIZE_THREAD__)
#define DENSE 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DENSE 0
#endif
#endif
#ifndef DENSE
#ifdef __x86_64__
#define DENSE 1
#else
#define DENSE 0
#endif
#endif

/* What has been found so far. */
struct finds {
    uint32_t *changed;
    uint32_t count, max;
};

/* Looks at words @from to @to - 1, one at a time, and stops when there is no room for more. */
static inline void scan_words(const char *beats, size_t stride, uint64_t *seen, uint32_t from,
                              uint32_t to, struct finds *finds)
{
    for (uint32_t i = from; i < to; i++) {
        uint64_t word = kofn_peer_load64(beats + i * stride);

        if (KOFN_LIKELY(word == seen[i]))
            continue;
        if (finds->count == finds->max)
            return;
        seen[i] = word;
        finds->changed[finds->count++] = i;
    }
}

#if DENSE
#define WORDS_A_STEP 16u /* two lines of beats */

__attribute__((target("avx2"))) static inline __m256i differing(const char *beats,
                                                                const uint64_t *seen)
{
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)beats),
                            _mm256_loadu_si256((const __m256i *)(const void *)seen));
}

/* Two lines a step; a step in which something differs is gone through word by word. x86 keeps loads
 * in order and words whole inside a vector load, and what is reported has been loaded once more.
 */
__attribute__((target("avx2"))) static void scan_dense(const char *beats, uint64_t *seen,
                                                       uint32_t n, struct finds *finds)
{
    uint32_t i = 0;

    for (; i + WORDS_A_STEP <= n; i += WORDS_A_STEP) {
        const char *step = beats + (size_t)i * 8;
        __m256i low =
            _mm256_or_si256(differing(step, seen + i), differing(step + 32, seen + i + 4));
        __m256i high = _mm256_or_si256(differing(step + 64, seen + i + 8),
                                       differing(step + 96, seen + i + 12));
        __m256i any = _mm256_or_si256(low, high);

        if (KOFN_LIKELY(_mm256_testz_si256(any, any)))
            continue;
        scan_words(beats, 8, seen, i, i + WORDS_A_STEP, finds);
        if (finds->count == finds->max)
            return;
    }
    scan_words(beats, 8, seen, i, n, finds);
}
#endif

uint32_t kofn_beats_scan(const char *beats, size_t stride, uint64_t *seen, uint32_t n,
                         uint32_t *changed, uint32_t max)
{
    struct finds finds = {.changed = changed, .max = max};

#if DENSE
    if (stride == 8 && __builtin_cpu_supports("avx2")) {
        scan_dense(beats, seen, n, &finds);
        return finds.count;
    }
#endif
    scan_words(beats, stride, seen, 0, n, &finds);
    return finds.count;
}
