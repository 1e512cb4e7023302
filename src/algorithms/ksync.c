/* K-sync and K-batch-sync SGD (Dutta et al.): all gradients of a round are at the same model, K of
 * them make the next one, and whoever is not done is cancelled.
 *
 * K-sync waits for the first K of N workers. K-batch-sync counts mini-batches: a worker that has
 * finished one sends it and takes another at the same model. Weights are 1/K.
 */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_ksync = {
    .name = "ksync",
    .summary = "the gradients of the first K workers at one model; the others are cancelled",
    .source = "Dutta et al.: Slow and Stale Gradients Can Win the Race (arXiv 1803.01113)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_WAITS,
    .single_step = true,
    .eager = true,
    .cancels = true,
    .exact = true,
    .current = kofn_current_same_round,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};

const struct kofn_algorithm kofn_kbatch_sync = {
    .name = "kbatch-sync",
    .summary = "the first K mini-batches at one model, from anyone; the others are cancelled",
    .source = "Dutta et al.: Slow and Stale Gradients Can Win the Race (arXiv 1803.01113)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_REPEATS,
    .single_step = true,
    .eager = true,
    .cancels = true,
    .exact = true,
    .current = kofn_current_same_round,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
