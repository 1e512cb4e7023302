/* Local SGD (periodic averaging, FedAvg with full participation): every worker does U local updates
 * on the same model; the server averages the models, that is, adds the mean of the differences.
 */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_local = {
    .name = "local",
    .summary = "all N workers do U local updates, then their models are averaged",
    .source = "Stich: Local SGD Converges Fast and Communicates Little (arXiv 1805.09767)",
    .payload = KOFN_PAYLOAD_DELTA,
    .worker_may = KOFN_WORKER_WAITS,
    .baseline = true,
    .needs_all = true,
    .current = kofn_current_same_round,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
