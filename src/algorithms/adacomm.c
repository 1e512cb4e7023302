/* AdaComm (Wang, Joshi): local SGD whose U falls with the loss: many local updates between two
 * averages while the loss is high, few where they would keep it from falling.
 *
 * U = ceil(sqrt(F / F0) U0), never more than before; F is a running mean of what merged updates say
 * of their mini-batches, F0 that of the first ones (round/pursuit.h).
 */
#include "algorithms/schedules.h"

#include <math.h>

#include "algorithms/algorithm.h"
#include "round/round.h"

uint32_t kofn_adacomm_steps(uint32_t first, uint32_t before, double first_loss, double loss)
{
    double steps;

    if (!(first_loss > 0) || !(loss >= 0) || !isfinite(first_loss) || !isfinite(loss))
        return before;
    steps = ceil(sqrt(loss / first_loss) * first);
    return (uint32_t)fmax(1, fmin(steps, before));
}

static uint32_t steps(const struct kofn_round *round)
{
    return kofn_adacomm_steps(round->first_steps, round->config.local_steps,
                              round->pursuit.first_loss, round->pursuit.loss);
}

const struct kofn_algorithm kofn_adacomm = {
    .name = "adacomm",
    .summary = "local SGD whose U falls as the loss does",
    .source = "Wang, Joshi: Adaptive Communication Strategies (arXiv 1810.08313)",
    .payload = KOFN_PAYLOAD_DELTA,
    .worker_may = KOFN_WORKER_WAITS,
    .baseline = true,
    .needs_all = true,
    .current = kofn_current_same_round,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
    .steps = steps,
};
