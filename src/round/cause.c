/* cause.c: why a worker is late, from the times in its stamps. */
#include "round/round.h"

#define CAUSE_RATIO 1.5 /* a time that is this much above the median's explains lateness */

static double post_mean(const struct kofn_member *member)
{
    return member->publications ? (double)member->post_ns / (double)member->publications : 0;
}

static double wait_mean(const struct kofn_member *member)
{
    return member->publications ? (double)member->wait_ns / (double)member->publications : 0;
}

static double median_of(const struct kofn_round *round,
                        double (*mean)(const struct kofn_member *member))
{
    size_t count = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        if (round->members[rank].timed_updates)
            round->scratch[count++] = mean(&round->members[rank]);
    return kofn_median(round->scratch, count);
}

struct kofn_usual kofn_round_usual(const struct kofn_round *round)
{
    return (struct kofn_usual){.compute = median_of(round, kofn_member_compute_mean),
                               .post = median_of(round, post_mean),
                               .wait = median_of(round, wait_mean)};
}

enum kofn_cause kofn_round_cause(const struct kofn_round *round, uint32_t rank)
{
    struct kofn_usual usual = kofn_round_usual(round);

    return kofn_round_cause_beside(round, rank, &usual);
}

enum kofn_cause kofn_round_cause_beside(const struct kofn_round *round, uint32_t rank,
                                        const struct kofn_usual *usual)
{
    const struct kofn_member *member = &round->members[rank];
    double post, wait;

    if (member->state == KOFN_MEMBER_GONE)
        return KOFN_CAUSE_DEAD;
    if (!(usual->compute > 0) || !member->publications)
        return KOFN_CAUSE_NONE;
    if (kofn_member_compute_mean(member) > CAUSE_RATIO * usual->compute)
        return KOFN_CAUSE_COMPUTE;
    /* what holds up everybody alike makes nobody late */
    post = post_mean(member) - usual->post;
    wait = wait_mean(member) - usual->wait;
    if (KOFN_MAX(post, wait) < (CAUSE_RATIO - 1) * usual->compute)
        return KOFN_CAUSE_NONE;
    return post >= wait ? KOFN_CAUSE_NETWORK : KOFN_CAUSE_SERVER;
}
