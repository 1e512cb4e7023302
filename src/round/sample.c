/* sample.c: what the close of a round says of its members: how late each is, and its pace. */
#include "round/watch.h"

#define PACE_UPDATES 24.0 /* the time of about so many usual updates makes the pace of a worker */
#define AHEAD 8u          /* ranks: what comes from memory takes as long as a few of them */
#define LONGEST 1e18      /* ns, 31 years: of an arrival that is no more than reckoned */

/* When @member reached (or, at its pace in this round, would reach) its U-th local update, in ns
 * from the opening; a member without a finished update is taken to be at half of its first.
 */
static double reckoned_arrival(const struct kofn_round *round, const struct kofn_member *member,
                               uint64_t now)
{
    double elapsed = (double)(now - round->opened_ns), done = 0.5;

    if (member->reached)
        return (double)(member->reached_ns - round->opened_ns);
    if (member->round == round->number && member->updates)
        done = member->updates;
    return KOFN_MIN(elapsed * KOFN_MAX(1.0, round->config.local_steps / done), LONGEST);
}

/* The same as far as it has been seen: of one that is not there when the round closes no more is
 * known than that it is at work, which may take it one more update.
 */
static double seen_arrival(const struct kofn_round *round, const struct kofn_member *member,
                           uint64_t now)
{
    double seen = (double)(now - round->opened_ns);
    double update = member->paced_ns / KOFN_MAX(member->paced_updates, 1.0);

    if (!member->reached && member->finished)
        seen += update;
    return KOFN_MIN(reckoned_arrival(round, member, now), seen);
}

/* The closed round's sample of @member: when it arrived or, for one that is on its way, when it
 * would have. Workers that are cut off before their U-th update never arrive at all: without them
 * the deadline would shrink by itself. That one without a finished update is reckoned too long or
 * too short makes no odds: it is behind the deadline, where neither a median nor a MAD looks
 * closer.
 */
static void sample_deadline(struct kofn_round *round, struct kofn_member *member, uint64_t now)
{
    bool on_its_way = kofn_member_available(member) && member->round == round->number;

    member->sampled = member->reached || on_its_way;
    if (member->sampled)
        kofn_deadline_add(&round->deadline, reckoned_arrival(round, member, now));
}

void kofn_watch_late(struct kofn_round *round, struct kofn_member *member,
                     const struct kofn_stamp *stamp, uint64_t now)
{
    double elapsed = (double)(now - round->previous_opened_ns);

    if (member->sampled || stamp->from || stamp->round + 1 != round->number)
        return;
    member->sampled = true;
    kofn_deadline_add(&round->deadline,
                      elapsed * KOFN_MAX(1.0, (double)round->config.local_steps / stamp->updates));
}

/* What of the closed round @member has computed in, ns. One that computes until its round closes,
 * or is cancelled by that, has used all of the round's time, for whatever it has finished, be it of
 * an earlier round; of one that waits for the others, the stamps say what it has used.
 */
static uint64_t busy_in(const struct kofn_round *round, const struct kofn_member *member,
                        uint64_t now)
{
    const struct kofn_algorithm *algorithm = round->config.algorithm;

    if (kofn_algorithm_goes_on(algorithm) || (algorithm->cancels && !member->reached))
        return now - KOFN_MAX(round->opened_ns, member->joined_ns);
    return member->compute_ns - member->paced_compute_ns;
}

/* What of its pace @member keeps, beside what is new. */
static double keeps(const struct kofn_round *round, const struct kofn_member *member)
{
    double updates = round->config.local_steps;

    if (round->median_pace_ns > 0)
        updates = KOFN_MAX(updates, (double)member->unpaced_ns / round->median_pace_ns);
    return 1 - KOFN_MIN(0.5, updates / PACE_UPDATES);
}

/* The closed round's part of @member's pace. Of one that has not been heard of, the time is kept
 * until it is: it may be in a long update, but also frozen.
 */
static void sample_pace(struct kofn_round *round, struct kofn_member *member, uint64_t now)
{
    bool goes_on = kofn_algorithm_goes_on(round->config.algorithm);
    uint64_t count = goes_on ? member->finished : member->timed_updates;
    uint64_t updates = count - member->paced_count;

    member->unpaced_ns += busy_in(round, member, now);
    member->paced_compute_ns = member->compute_ns;
    if (!member->unpaced_ns || (!updates && member->round != round->number))
        return;
    kofn_member_pace(member, (double)member->unpaced_ns, (double)updates, keeps(round, member));
    kofn_watch_weigh(round, member, (double)member->unpaced_ns, (double)updates);
    member->busy_ns += member->unpaced_ns;
    member->unpaced_ns = 0;
    member->paced_count = count;
}

/* How far behind the median @rank is, ns. */
static uint64_t behind_of(const double *arrival, uint32_t rank, double median)
{
    return arrival[rank] > median ? (uint64_t)(arrival[rank] - median) : 0;
}

/* Fetches where a few ranks further on will be recorded: histograms are large, and far apart. */
static void look_ahead(const struct kofn_round *round, uint32_t rank, const double *arrival,
                       double median)
{
    const struct kofn_histogram *next;

    if (rank + AHEAD >= round->config.workers)
        return;
    next = &round->lateness[rank + AHEAD];
    __builtin_prefetch(next, 1);
    __builtin_prefetch(
        &next->buckets[kofn_histogram_bucket(behind_of(arrival, rank + AHEAD, median))], 1);
}

void kofn_watch_closed(struct kofn_round *round, uint64_t now)
{
    double *arrival = round->scratch + round->config.workers, median;
    size_t count = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        arrival[rank] = seen_arrival(round, member, now);
        if (kofn_member_connected(member))
            round->scratch[count++] = arrival[rank];
        sample_deadline(round, member, now);
    }
    median = kofn_median(round->scratch, count);
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];

        look_ahead(round, rank, arrival, median);
        if (kofn_member_connected(member))
            kofn_histogram_record(&round->lateness[rank], behind_of(arrival, rank, median));
        if (kofn_member_available(member) && member->state != KOFN_MEMBER_JOINING)
            sample_pace(round, member, now);
    }
}
