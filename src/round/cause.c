/* cause.c: why a worker is late: what takes it so long, against what is usual. */
#include "round/watch.h"

#include "base/clock.h"

#define RECENT_NS (100 * KOFN_NS_PER_MS)
#define CAUSE_SHARE 0.5 /* of a usual update: so much longer under way explains lateness */

static double pace_mean(const struct kofn_member *member)
{
    return member->finished ? (double)member->busy_ns / (double)member->finished : 0;
}

static double pace(const struct kofn_member *member)
{
    return member->pace_ns;
}

static double post_mean(const struct kofn_member *member)
{
    return member->publications ? (double)member->post_ns / (double)member->publications : 0;
}

static double wait_mean(const struct kofn_member *member)
{
    return member->publications ? (double)member->wait_ns / (double)member->publications : 0;
}

/* Over the workers that have got anywhere. */
static double median_of(const struct kofn_round *round,
                        double (*mean)(const struct kofn_member *member))
{
    size_t count = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        if (round->members[rank].busy_ns && round->members[rank].finished)
            round->scratch[count++] = mean(&round->members[rank]);
    return kofn_median(round->scratch, count);
}

struct kofn_usual kofn_round_usual(const struct kofn_round *round)
{
    return (struct kofn_usual){.pace_mean = median_of(round, pace_mean),
                               .pace = median_of(round, pace),
                               .post = median_of(round, post_mean),
                               .wait = median_of(round, wait_mean)};
}

const struct kofn_usual *kofn_round_recent(const struct kofn_round *round, uint64_t now)
{
    struct kofn_recent *recent = round->recent;

    if (!recent->at_ns || now - recent->at_ns >= RECENT_NS || recent->number != round->number ||
        recent->phase != round->phase || recent->publications != round->publications)
        *recent = (struct kofn_recent){kofn_round_usual(round), now, round->number,
                                       round->publications, round->phase};
    return &recent->usual;
}

/* How much longer a local update takes @member than is usual, ns: lately if it is slow now, else
 * over the whole job; 0 where that is too little to speak of, or may be an accident.
 */
static double lag(const struct kofn_round *round, const struct kofn_member *member,
                  const struct kofn_usual *usual)
{
    double lost =
        (double)member->busy_ns - KOFN_SLOW_ENTER * usual->pace_mean * (double)member->finished;

    if (member->state == KOFN_MEMBER_SLOW && usual->pace > 0 &&
        member->pace_ns > KOFN_SLOW_ENTER * usual->pace)
        return member->pace_ns - usual->pace;
    if (member->finished && kofn_watch_evident(round, lost, usual->pace_mean))
        return pace_mean(member) - usual->pace_mean;
    return 0;
}

/* Are the publications of @member, @ns each beyond what is usual, late by that? */
static bool holds_up(const struct kofn_round *round, const struct kofn_member *member, double ns,
                     double pace)
{
    return kofn_watch_evident(round, (ns - CAUSE_SHARE * pace) * (double)member->publications,
                              pace);
}

enum kofn_cause kofn_round_cause(const struct kofn_round *round, uint32_t rank,
                                 const struct kofn_usual *usual)
{
    const struct kofn_member *member = &round->members[rank];
    double behind = lag(round, member, usual), post, wait;

    if (member->state == KOFN_MEMBER_GONE)
        return KOFN_CAUSE_DEAD;
    if (member->state == KOFN_MEMBER_SUSPECT)
        return KOFN_CAUSE_NONE;
    /* what holds up everybody alike makes nobody late */
    post = post_mean(member) - usual->post;
    wait = wait_mean(member) - usual->wait;
    if (behind > 0) /* one that goes on computing has posted in that time, too */
        return kofn_algorithm_goes_on(round->config.algorithm) && post > CAUSE_SHARE * behind
                   ? KOFN_CAUSE_NETWORK
                   : KOFN_CAUSE_COMPUTE;
    if (!holds_up(round, member, KOFN_MAX(post, wait), usual->pace_mean))
        return KOFN_CAUSE_NONE;
    return post >= wait ? KOFN_CAUSE_NETWORK : KOFN_CAUSE_SERVER;
}
