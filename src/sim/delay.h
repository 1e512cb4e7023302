/* delay.h: how long a local update takes: the delay models of run, sim and plan.
 *
 *     none                      0
 *     exp:MEAN                  exponential
 *     shifted-exp:SHIFT,MEAN    SHIFT + exponential of mean MEAN
 *     pareto:SHAPE,SCALE        at least SCALE, P(X > x) = (SCALE / x)^SHAPE
 *     uniform:LO,HI             uniform; LO = HI gives a constant
 *     trace:FILE                what was measured: the costs of finished updates in a trace
 * (trace.h)
 *
 * each with an optional suffix `@round`: one draw for all of a worker's updates in a round.
 * Durations as in parse.h. A model is immutable once opened; draws take their randomness as an
 * argument and allocate nothing.
 */
#ifndef KOFN_SIM_DELAY_H
#define KOFN_SIM_DELAY_H

#include "base/log.h"
#include "base/parse.h"
#include "base/random.h"

struct kofn_trace;
struct kofn_delay_samples;

enum kofn_delay_kind {
    KOFN_DELAY_NONE,
    KOFN_DELAY_EXP,
    KOFN_DELAY_SHIFTED_EXP,
    KOFN_DELAY_PARETO,
    KOFN_DELAY_UNIFORM,
    KOFN_DELAY_TRACE,
};

struct kofn_delay {
    enum kofn_delay_kind kind;
    bool per_round;
    double first;  /* ns: SHIFT (0 for exp), SCALE, LO */
    double second; /* ns: MEAN, HI; for pareto SHAPE, a plain number */
    struct kofn_text
        path; /* of trace: FILE, a part of the specification; only for kofn_delay_open() */
    struct kofn_delay_samples *samples; /* of trace: owned; NULL until it is read */
};

/* Parses a specification; reads no file, so that a trace still needs kofn_delay_use_trace().
 * KOFN_INVALID; logged. */
int kofn_delay_parse(struct kofn_text spec, const struct kofn_log *log, struct kofn_delay *delay);

/* Takes the costs of @trace's finished updates into @delay, which was parsed as `trace:`; @trace
 * may be freed afterwards. A worker that never finished one is drawn from its cancelled ones, which
 * is too fast, with a warning. KOFN_INVALID if no worker ever finished one; KOFN_NO_MEMORY; logged.
 */
int kofn_delay_use_trace(struct kofn_delay *delay, const struct kofn_trace *trace,
                         const struct kofn_log *log);

/* Makes @delay, zeroed or open, one of kind trace that draws worker r from the @count costs (ns, in
 * ascending order) at @costs + r * @count; they are copied. KOFN_NO_MEMORY; logged.
 */
int kofn_delay_use_samples(struct kofn_delay *delay, uint32_t workers, size_t count,
                           const double *costs, const struct kofn_log *log);

/* Parses @spec and reads its trace, if it names one. Also returns what kofn_trace_read() returns.
 */
int kofn_delay_open(const char *spec, const struct kofn_log *log, struct kofn_delay *delay);

/* Frees what a trace holds; safe for every model, and twice. */
void kofn_delay_close(struct kofn_delay *delay);

/* The delay of one local update of worker @rank, in ns, from 0 to KOFN_DURATION_MAX. Only a trace
 * looks at the rank: worker r draws from what rank r did (modulo the trace's workers; a rank that
 * is missing there does as its lower neighbour), with replacement. The model must be open;
 * thread-safe but for @random.
 */
double kofn_delay_draw(const struct kofn_delay *delay, uint32_t rank, struct kofn_random *random);

/* Of the delay of a worker picked at random, in ns: its mean (infinite for pareto with SHAPE <= 1),
 * and P(delay <= @ns). O(1), for a trace O(workers) and O(workers log updates).
 */
double kofn_delay_mean(const struct kofn_delay *delay);
double kofn_delay_cdf(const struct kofn_delay *delay, double ns);

#define KOFN_DELAY_AHEAD 15u /* draws a source can hold */

/* The delays of one worker, all of one model: its random stream, and what has been drawn of it but
 * not been used yet. Draws come many at a time: they are independent, so that the core works at
 * several at once, and where there are thousands of workers all but a few of their events find what
 * they need on one line of the cache. Plain data.
 */
struct kofn_delay_source {
    uint32_t rank;
    uint8_t used, filled;           /* of those ahead */
    double ahead[KOFN_DELAY_AHEAD]; /* ns */
    struct kofn_random random;
    double drawn; /* with @round: of that round, ns; negative: nothing yet */
    uint64_t round;
};

void kofn_delay_source_init(struct kofn_delay_source *source, uint64_t seed, uint32_t rank);

/* The delay of the worker's next local update, which belongs to @round, in ns. */
double kofn_delay_next(const struct kofn_delay *delay, struct kofn_delay_source *source,
                       uint64_t round);

/* Foresight: the delay of the worker's next local update but @skipped (below KOFN_DELAY_AHEAD), if
 * all until then belong to @round.
 */
double kofn_delay_peek(const struct kofn_delay *delay, struct kofn_delay_source *source,
                       uint64_t round, uint32_t skipped);

#endif
