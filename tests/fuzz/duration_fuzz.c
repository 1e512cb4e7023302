/* Numbers, durations and sizes: whatever the text, the result is in the bounds asked for, or
 * nothing is written and the bad part lies within the text.
 */
#include <math.h>
#include <stdlib.h>

#include "base/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static void expect_within(struct kofn_text text, const struct kofn_bad *bad)
{
    expect(bad->why && bad->part.start >= text.start &&
           bad->part.start + bad->part.length <= text.start + text.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[] = {"exp", "shifted-exp", "pareto", "uniform"};
    struct kofn_text text = {(const char *)(bytes ? bytes : (const uint8_t *)""), size};
    char hint[KOFN_HINT_LENGTH];
    struct kofn_bad bad = {0};
    uint64_t integer = 99;
    double number = 99;

    if (!kofn_parse_duration(text, &integer, &bad))
        expect(integer <= KOFN_DURATION_MAX);
    else
        expect_within(text, &bad);
    if (!kofn_parse_uint(text, 3, 5000, &integer, &bad))
        expect(integer >= 3 && integer <= 5000);
    else
        expect_within(text, &bad);
    if (!kofn_parse_size(text, 3, (uint64_t)1 << 40, &integer, &bad))
        expect(integer >= 3 && integer <= (uint64_t)1 << 40);
    else
        expect_within(text, &bad);
    if (!kofn_parse_float(text, -1e30, 1e30, &number, &bad))
        expect(isfinite(number) && fabs(number) <= 1e30);
    else
        expect_within(text, &bad);
    kofn_hint(hint, text, names, KOFN_ARRAY_SIZE(names));
    while (text.start)
        kofn_text_cut(&text, ',');
    return 0;
}
