/* rules.h: how a merge is made, beyond the weights of its members: what an algorithm or an option
 * adds to the mean of a round. Plain numbers; the server, the simulator and the tests follow the
 * same ones.
 */
#ifndef KOFN_ROUND_RULES_H
#define KOFN_ROUND_RULES_H

#include "algorithms/algorithm.h"

struct kofn_rules {
    /* overlap: after U local updates a worker goes to (1 - alpha) x + alpha z; the anchor z moves
     * by v = beta v + mean(x) - z.
     */
    double alpha, beta;
};

#define KOFN_ALPHA 0.6 /* where nothing is said: as in the paper's runs on skewed data */

/* How a model moves by the mean of a round: see math/anchor.h. */
struct kofn_motion {
    double rate, momentum;
    bool nesterov;
};

static inline struct kofn_motion kofn_rules_motion(const struct kofn_rules *rules,
                                                   const struct kofn_algorithm *algorithm)
{
    return (struct kofn_motion){.rate = 1, .momentum = algorithm->ahead ? rules->beta : 0};
}

#endif
