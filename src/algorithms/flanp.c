/* FLANP (Reisizadeh et al.): local SGD among the fastest workers, ever more of them: the
 * differences of the first K are averaged, the others cancelled; once a round moves the model by no
 * more than a threshold, these K have told what they know, and K doubles.
 */
#include <math.h>

#include "algorithms/algorithm.h"
#include "algorithms/schedules.h"
#include "round/round.h"

uint32_t kofn_flanp_wait_for(uint32_t workers, uint32_t before, double moved, double threshold)
{
    if (isnan(moved) || moved > threshold)
        return before;
    return before > workers / 2 ? workers : 2 * before;
}

static void adapt(struct kofn_round *round, uint64_t now)
{
    (void)now;
    round->asked = kofn_flanp_wait_for(round->config.workers, round->asked, round->moved,
                                       round->config.small_move);
}

const struct kofn_algorithm kofn_flanp = {
    .name = "flanp",
    .summary = "local SGD of the first K workers; K doubles where the model hardly moves",
    .source = "Reisizadeh et al.: Straggler-Resilient Federated Learning (arXiv 2012.14453)",
    .payload = KOFN_PAYLOAD_DELTA,
    .worker_may = KOFN_WORKER_WAITS,
    .baseline = true,
    .eager = true,
    .cancels = true,
    .exact = true,
    .measures = true,
    .current = kofn_current_same_round,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
    .adapt = adapt,
};
