/* Elastic averaging (Zhang, Choromanska, LeCun), synchronous: workers keep models of their own,
 * which a spring of strength alpha pulls to a centre, and the centre to them: every U local updates
 * x = x - alpha (x - z), and z = z + alpha sum(x - z), with x and z from before. The same move as
 * Overlap's, but for how far the centre goes: alpha is 0.9 / N where nothing is said.
 */
#include "algorithms/algorithm.h"

const struct kofn_algorithm kofn_easgd = {
    .name = "easgd",
    .summary = "models of their own, which springs of strength alpha hold to a centre",
    .source = "Zhang, Choromanska, LeCun: Elastic Averaging SGD (arXiv 1412.6651)",
    .payload = KOFN_PAYLOAD_DELTA,
    .worker_may = KOFN_WORKER_WAITS,
    .baseline = true,
    .needs_all = true,
    .eager = true,
    .ahead = true,
    .elastic = true,
    .current = kofn_current_same_version,
    .counts = kofn_counts_steps,
    .closed = kofn_closed_by_count,
};
