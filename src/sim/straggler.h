/* straggler.h: workers that are made slow on purpose.
 *
 * `rank=R,factor=F[,from=T][,to=T]`: from time `from` (0) to time `to` (the end) of the job, a
 * local update of worker R takes F times as long, injected delay and real compute alike. F below 1
 * makes a worker fast. Several may concern one worker; their factors multiply.
 */
#ifndef KOFN_SIM_STRAGGLER_H
#define KOFN_SIM_STRAGGLER_H

#include "base/log.h"
#include "base/parse.h"

#define KOFN_STRAGGLER_FACTOR_MIN 1e-3
#define KOFN_STRAGGLER_FACTOR_MAX 1e6

struct kofn_straggler {
    uint32_t rank;
    double factor;
    uint64_t from_ns; /* since the start of the job; first moment it holds */
    uint64_t to_ns;   /* first moment it no longer holds; KOFN_FOREVER: never */
};

/* Parses one specification; keys in any order, each once. KOFN_INVALID; logged. */
int kofn_straggler_parse(struct kofn_text spec, const struct kofn_log *log,
                         struct kofn_straggler *straggler);

/* KOFN_INVALID, logged, if one of @count stragglers is not among @workers workers. */
int kofn_straggler_check(const struct kofn_straggler *list, size_t count, uint32_t workers,
                         const struct kofn_log *log);

/* By how much worker @rank is slower at @time_ns since the start of the job; 1 if it is not. */
double kofn_straggler_factor(const struct kofn_straggler *list, size_t count, uint32_t rank,
                             uint64_t time_ns);

#endif
