/* Stragglers: what is accepted has a factor within its bounds, and a time in which it holds. */
#include <stdlib.h>

#include "base/clock.h"
#include "sim/straggler.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static void forget(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg, (void)level, (void)message;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct kofn_log silent = {KOFN_LOG_DEBUG, forget, NULL};
    struct kofn_text spec = {(const char *)(bytes ? bytes : (const uint8_t *)""), size};
    struct kofn_straggler s;

    if (kofn_straggler_parse(spec, &silent, &s))
        return 0;
    expect(s.factor >= KOFN_STRAGGLER_FACTOR_MIN && s.factor <= KOFN_STRAGGLER_FACTOR_MAX);
    expect(s.from_ns < s.to_ns);
    expect(kofn_straggler_factor(&s, 1, s.rank, s.from_ns) == s.factor);
    expect(kofn_straggler_factor(&s, 1, s.rank, s.to_ns - 1) == s.factor);
    expect(s.to_ns == KOFN_FOREVER || kofn_straggler_factor(&s, 1, s.rank, s.to_ns) == 1);
    expect(kofn_straggler_check(&s, 1, s.rank + 1, &silent) == 0);
    return 0;
}
