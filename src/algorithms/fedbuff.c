/* FedBuff (Nguyen et al.): K-batch-async with U local updates each: the differences of K workers,
 * or K of anyone, make the next model, at whatever model each of them was begun. One of staleness s
 * has the weight 1/sqrt(1+s) (--staleness-weight 0.5) in a mean over K.
 */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_fedbuff = {
    .name = "fedbuff",
    .summary = "K differences of U local updates from anyone, stale ones too; nobody waits",
    .source = "Nguyen et al.: Federated Learning with Buffered Asynchronous Aggregation "
              "(arXiv 2106.06639)",
    .payload = KOFN_PAYLOAD_DELTA,
    .worker_may = KOFN_WORKER_FETCHES,
    .baseline = true,
    .eager = true,
    .stale = true,
    .exact = true,
    .staleness_weight = 0.5,
    .current = kofn_current_any,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
