/* rules.h: how a merge is made, beyond the weights of its members: what an algorithm or an option
 * adds to the mean of a round. Plain numbers; the server, the simulator and the tests follow the
 * same ones.
 */
#ifndef KOFN_ROUND_RULES_H
#define KOFN_ROUND_RULES_H

#include "round/round.h"

struct kofn_rules {
    /* overlap: after U local updates a worker goes to (1 - alpha) x + alpha z; the anchor z moves
     * by v = beta v + mean(x) - z.
     */
    double alpha, beta;

    /* Others: the mean of a round is a step of Nesterov's momentum (DiLoCo); 0: 1, none. */
    double outer_lr, outer_momentum;

    double staleness_step; /* C of kofn_rules_damp(); 0 = none */
    enum kofn_screening screen;
    uint32_t trim;
};

/* Where nothing is said: alpha as in Overlap's runs on skewed data, and of easgd beta = 0.9 of N
 * alpha; small moves as in STSyn's comparison with flanp.
 */
#define KOFN_ALPHA 0.6
#define KOFN_ELASTIC 0.9
#define KOFN_SMALL_MOVE 0.2

static inline double kofn_rules_alpha(const struct kofn_algorithm *algorithm, uint32_t workers)
{
    return algorithm && algorithm->elastic ? KOFN_ELASTIC / workers : KOFN_ALPHA;
}

/* How a model moves by the mean of a round: see math/anchor.h. */
struct kofn_motion {
    double rate, momentum;
    bool nesterov;
};

/* Of easgd, N workers sent (1 - alpha) (x - z), and the centre is to move by alpha (x - z) of each.
 */
static inline struct kofn_motion kofn_rules_motion(const struct kofn_rules *rules,
                                                   const struct kofn_round_config *config)
{
    if (config->algorithm->elastic)
        return (struct kofn_motion){.rate = config->workers * rules->alpha / (1 - rules->alpha)};
    if (config->algorithm->ahead)
        return (struct kofn_motion){.rate = 1, .momentum = rules->beta};
    return (struct kofn_motion){.rate = rules->outer_lr != 0 ? rules->outer_lr : 1,
                                .momentum = rules->outer_momentum,
                                .nesterov = true};
}

/* The step size for stale gradients (Dutta et al., eq. 13), as a share of the full one: one made at
 * w' and applied at w is worth min(C / |w - w'|^2, eta) / eta, @apart = |w - w'|^2. All of it where
 * nothing has moved.
 */
static inline double kofn_rules_damp(double c, double eta, double apart)
{
    return apart * eta > c ? c / (apart * eta) : 1;
}

#endif
