/* STSyn (Zhu, Zhang, Wang): a round closes when the K-th worker has finished its U-th local update;
 * nobody stops computing before that; whoever has finished at least one update is merged, with
 * equal weight.
 *
 * Counted are publications that have arrived (eager) or beats (on-close): the round machine knows
 * which.
 */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_stsyn = {
    .name = "stsyn",
    .summary = "closes at the K-th worker's U-th local update; all finished work is merged",
    .source = "Zhu, Zhang, Wang: STSyn (arXiv 2210.03521)",
    .payload = KOFN_PAYLOAD_DELTA,
    .worker_may = KOFN_WORKER_CONTINUES,
    .partial = true,
    .current = kofn_current_same_round,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
