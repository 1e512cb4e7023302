/* Synchronous SGD: every worker computes one gradient on the same model; the server applies their
 * mean. */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_sync = {
    .name = "sync",
    .summary = "all N gradients, then one step of the server; the baseline everybody knows",
    .source = "synchronous mini-batch SGD",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_WAITS,
    .baseline = true,
    .needs_all = true,
    .single_step = true,
    .current = kofn_current_same_round,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
