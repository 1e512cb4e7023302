/* Delay models and traces: the first line is a specification, the rest the trace it reads. What is
 * accepted can be drawn from, and its draws, its mean and its distribution are what they may be.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/delay.h"
#include "sim/trace.h"

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

static const struct kofn_log silent = {KOFN_LOG_DEBUG, forget, NULL};

/* False if the trace cannot be used; @delay then has none. */
static bool use_trace(struct kofn_text text, struct kofn_delay *delay)
{
    struct kofn_trace trace;
    int rc;

    if (kofn_trace_parse(text.start, text.length, "fuzz", &silent, &trace))
        return false;
    expect(trace.count && trace.workers && trace.workers <= KOFN_TRACE_WORKERS);
    for (size_t i = 0; i < trace.count; i++)
        expect(trace.records[i].rank < trace.workers && trace.records[i].cancelled <= 1);
    rc = kofn_delay_use_trace(delay, &trace, &silent);
    kofn_trace_free(&trace);
    return !rc;
}

static void draw(const struct kofn_delay *delay)
{
    struct kofn_delay_source source;
    double ns, before = 0, mean = kofn_delay_mean(delay), share;

    expect(mean >= 0);
    kofn_delay_source_init(&source, 1, 7);
    for (uint64_t i = 0; i < 16; i++) {
        ns = kofn_delay_next(delay, &source, i / 2);
        expect(ns >= 0 && ns <= (double)KOFN_DURATION_MAX);
        expect(!delay->per_round || i % 2 == 0 || ns == before);
        share = kofn_delay_cdf(delay, ns);
        expect(share >= 0 && share <= 1);
        before = ns;
    }
    expect(kofn_delay_cdf(delay, -1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kofn_text rest = {(const char *)(bytes ? bytes : (const uint8_t *)""), size};
    struct kofn_text spec = kofn_text_cut(&rest, '\n');
    struct kofn_delay delay;

    if (kofn_delay_parse(spec, &silent, &delay))
        return 0;
    if (delay.kind == KOFN_DELAY_TRACE && !use_trace(rest, &delay))
        return 0;
    draw(&delay);
    kofn_delay_close(&delay);
    return 0;
}
