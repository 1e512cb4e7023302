/* Overlap Local-SGD (Wang, Liang, Joshi), with its momentum variant: communication behind
 * computing.
 *
 * The server has an anchor z and its velocity v, the workers have models x of their own. After U
 * local updates a worker is pulled to the newest anchor, x = (1 - alpha) x + alpha z, sends x - z,
 * and computes on at once; the server waits for all and makes v = beta v + mean(x) - z, z = z + v.
 * So what a round averages is used at the end of the next one, and nobody is ahead by more than a
 * round. The anchor that a worker has been pulled to is said by its stamp's version: whatever it
 * computed before, it takes part in the round that this anchor opened, so that all of a round were
 * pulled to the same one. Local momentum is kept.
 *
 * Under mixing y = (1 - alpha) mean(x) + alpha z stays (beta = 0), so an effective step is (1 -
 * alpha) times the learning rate.
 */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_overlap = {
    .name = "overlap",
    .summary = "local SGD whose average is used a round later; models are pulled to an anchor",
    .source = "Wang, Liang, Joshi: Overlap Local-SGD (arXiv 2002.09539)",
    .payload = KOFN_PAYLOAD_DELTA,
    .worker_may = KOFN_WORKER_WAITS,
    .needs_all = true,
    .eager = true,
    .ahead = true,
    .current = kofn_current_same_version,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
