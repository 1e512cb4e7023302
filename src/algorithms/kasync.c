/* K-async and K-batch-async SGD (Dutta et al.): K gradients make the next model, at whatever model
 * each of them was made; nobody is cancelled.
 *
 * K-async waits for K distinct workers; these idle until their gradients are merged, and read the
 * model that follows. K-batch-async counts gradients from anyone; who has sent one fetches the
 * current model at once and goes on, so that nobody ever idles. Weights are 1/K. Mean staleness is
 * N/K - 1 and (N - 1)/K, whatever the delays.
 */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_kasync = {
    .name = "kasync",
    .summary = "the gradients of K distinct workers, stale ones too; those K wait, nobody else",
    .source = "Dutta et al.: Slow and Stale Gradients Can Win the Race (arXiv 1803.01113)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_WAITS,
    .single_step = true,
    .eager = true,
    .stale = true,
    .exact = true,
    .current = kofn_current_any,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};

const struct kofn_algorithm kofn_kbatch_async = {
    .name = "kbatch-async",
    .summary = "K gradients from anyone, stale ones too; nobody waits",
    .source = "Dutta et al.: Slow and Stale Gradients Can Win the Race (arXiv 1803.01113)",
    .payload = KOFN_PAYLOAD_GRADIENT,
    .worker_may = KOFN_WORKER_FETCHES,
    .single_step = true,
    .eager = true,
    .stale = true,
    .exact = true,
    .current = kofn_current_any,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
