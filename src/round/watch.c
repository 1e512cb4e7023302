#include "round/watch.h"

#include "base/clock.h"

#define SLOW_ENTER 2.0     /* times the median pace: slow from here */
#define SLOW_LEAVE 1.5     /* and no longer below this */
#define SUSPECT_PACES 20.0 /* times its own pace without progress, and the configured time */
#define QUIET_PACES 2.0    /* so long, and half the configured time: nothing comes of it for now */
#define PACE_UPDATES 24.0  /* about so many of its last local updates make the pace of a worker */
#define LONGEST 1e18       /* ns, 31 years: of an arrival that is no more than reckoned */

void kofn_watch_membership(struct kofn_round *round)
{
    uint32_t possible = 0;

    round->available = 0;
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_member *member = &round->members[rank];

        round->available += kofn_member_available(member);
        /* whoever has reached its count and is gone or suspect since still counts */
        possible += (kofn_member_available(member) && !member->barred) || member->reached;
    }
    if (round->phase != KOFN_PHASE_OPEN)
        return;
    if (!kofn_algorithm_adds(round->config.algorithm)) {
        round->wait_for = KOFN_MIN(round->asked, possible);
        return;
    }
    round->wait_for = round->asked - KOFN_MIN(round->asked, round->spoilt);
    if (!round->available) /* one worker alone could bring all of them */
        round->wait_for = KOFN_MIN(round->wait_for, round->reached);
}

/* When @member reached (or, at its pace in this round, would reach) its U-th local update, in ns
 * from the opening; a member without a finished update is taken to be at half of its first.
 */
static double arrival(const struct kofn_round *round, const struct kofn_member *member,
                      uint64_t now)
{
    double elapsed = (double)(now - round->opened_ns), done = 0.5;

    if (member->reached)
        return (double)(member->reached_ns - round->opened_ns);
    if (member->round == round->number && member->updates)
        done = member->updates;
    return KOFN_MIN(elapsed * KOFN_MAX(1.0, round->config.local_steps / done), LONGEST);
}

/* The closed round's sample of @member: when it arrived or, for one that is on its way, when it
 * would have. Workers that are cut off before their U-th update never arrive at all: without them
 * the deadline would shrink by itself. Of one that has not finished an update nothing is known yet.
 */
static void sample_closed(struct kofn_round *round, struct kofn_member *member, uint64_t now)
{
    bool on_its_way =
        kofn_member_available(member) && member->round == round->number && member->updates > 0;

    member->sampled = member->reached || on_its_way;
    if (member->sampled)
        kofn_deadline_add(&round->deadline, arrival(round, member, now));
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

/* The closed round's part of @member's pace. A worker that computes until its round closes has used
 * all of the round's time; of one that waits for the others, the stamps say what it has used.
 */
static void sample_pace(const struct kofn_round *round, struct kofn_member *member, uint64_t now)
{
    bool all_of_it =
        kofn_algorithm_goes_on(round->config.algorithm) && member->round == round->number;
    double keep = 1 - KOFN_MIN(0.5, round->config.local_steps / PACE_UPDATES);
    uint64_t updates = member->timed_updates - member->paced_timed;
    uint64_t busy = member->compute_ns - member->paced_compute_ns;

    if (all_of_it) {
        busy = now - round->opened_ns;
        updates = member->updates;
    }
    if (updates || all_of_it)
        kofn_member_pace(member, (double)busy, (double)updates, keep);
    member->busy_ns += busy;
    member->paced_timed = member->timed_updates;
    member->paced_compute_ns = member->compute_ns;
}

void kofn_watch_closed(struct kofn_round *round, uint64_t now)
{
    size_t count = 0;
    double median;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        if (kofn_member_connected(&round->members[rank]))
            round->scratch[count++] = arrival(round, &round->members[rank], now);
        sample_closed(round, &round->members[rank], now);
        if (kofn_member_available(&round->members[rank]))
            sample_pace(round, &round->members[rank], now);
    }
    median = kofn_median(round->scratch, count);
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_member *member = &round->members[rank];
        double behind = arrival(round, member, now) - median;

        if (kofn_member_connected(member))
            kofn_histogram_record(&round->lateness[rank], behind > 0 ? (uint64_t)behind : 0);
    }
}

/* True while the round waits for something that @member has not done yet. */
static bool works(const struct kofn_round *round, const struct kofn_member *member)
{
    bool done = member->reached ||
                (member->round == round->number && member->updates >= round->config.local_steps);

    return round->phase == KOFN_PHASE_OPEN &&
           (round->config.algorithm->worker_may != KOFN_WORKER_WAITS || !done);
}

/* Who was in the last round may have waited for this one to open; who was not even there has owed
 * work all the time since it last got further, however many rounds have come and gone.
 */
static uint64_t silence(const struct kofn_round *round, const struct kofn_member *member,
                        uint64_t now)
{
    uint64_t since = member->progress_ns;

    if (member->round + 1 >= round->number)
        since = KOFN_MAX(since, round->opened_ns);
    return works(round, member) && now > since ? now - since : 0;
}

/* What a local update takes @member, as far as anything is known of it. Until the first round has
 * closed, what its stamps say will do, and where nothing is published before that, its beats.
 * 0 = nothing is known.
 */
static double known_pace(const struct kofn_round *round, const struct kofn_member *member)
{
    double mean = kofn_member_compute_mean(member);

    if (member->pace_ns > 0)
        return member->pace_ns;
    if (mean > 0)
        return mean;
    if (member->round != round->number || !member->updates ||
        member->progress_ns <= round->opened_ns)
        return 0;
    return (double)(member->progress_ns - round->opened_ns) / member->updates;
}

/* What a local update of @member is expected to take: of one that nothing is known of, as long as
 * anybody's.
 */
static double expected_pace(const struct kofn_round *round, const struct kofn_member *member)
{
    double pace = known_pace(round, member);

    return pace > 0 ? pace : round->median_pace_ns;
}

/* Nobody that an answer is expected of gets on: that is no sign of any one of them, for it may be
 * the job's first round, long updates or a machine that stands still. Silences are judged from the
 * end of this on, so that it never makes a suspect of the last one available, and all have the same
 * time to come back.
 */
static bool all_quiet(const struct kofn_round *round, uint64_t now)
{
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_member *member = &round->members[rank];
        double limit = KOFN_MAX((double)round->config.suspect_after / 2,
                                QUIET_PACES * expected_pace(round, member));

        if (kofn_member_available(member) && (double)silence(round, member, now) < limit)
            return false;
    }
    return true;
}

/* Has @member been silent for so long, while others were not, that nobody is to wait for it? Where
 * neither its pace nor anybody else's is known, no time is long.
 */
static bool is_suspect(const struct kofn_round *round, const struct kofn_member *member,
                       uint64_t now)
{
    double pace = expected_pace(round, member);
    uint64_t silent = KOFN_MIN(silence(round, member, now), now - KOFN_MIN(now, round->excused_ns));

    return pace > 0 && silent >= round->config.suspect_after &&
           (double)silent >= SUSPECT_PACES * pace;
}

/* Slow are those whose local updates take a multiple of the median; a silence counts as a long
 * update. Both must have lasted for a while: a few updates that fell long, or a moment without the
 * CPU, say nothing.
 */
static bool is_slow(const struct kofn_round *round, const struct kofn_member *member, uint64_t now)
{
    double median = round->median_pace_ns;
    double silent = (double)silence(round, member, now);
    double limit = member->state == KOFN_MEMBER_SLOW ? SLOW_LEAVE : SLOW_ENTER;
    bool evident = member->state == KOFN_MEMBER_SLOW || member->paced_ns >= PACE_UPDATES * median;

    if (!(median > 0))
        return false;
    return (evident && member->pace_ns > limit * median) ||
           (silent > SUSPECT_PACES / 2 * median &&
            silent >= (double)round->config.suspect_after / 4);
}

static enum kofn_member_state judge(const struct kofn_round *round,
                                    const struct kofn_member *member, uint64_t now)
{
    if (is_suspect(round, member, now))
        return KOFN_MEMBER_SUSPECT;
    if (member->state == KOFN_MEMBER_SUSPECT || member->state == KOFN_MEMBER_JOINING)
        return member->state; /* only progress makes them ready: see kofn_round_beat() */
    return is_slow(round, member, now) ? KOFN_MEMBER_SLOW : KOFN_MEMBER_READY;
}

static double median_pace(struct kofn_round *round)
{
    size_t count = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_member *member = &round->members[rank];
        double pace = known_pace(round, member);

        if (kofn_member_connected(member) && pace > 0)
            round->scratch[count++] = pace;
    }
    return kofn_median(round->scratch, count);
}

void kofn_watch_tick(struct kofn_round *round, uint64_t now)
{
    bool changed = false;

    if (!round->number)
        return;
    round->median_pace_ns = median_pace(round);
    if (all_quiet(round, now))
        round->excused_ns = now;
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];
        enum kofn_member_state state;

        if (!kofn_member_connected(member))
            continue;
        state = judge(round, member, now);
        changed |= state != member->state;
        member->state = state;
    }
    if (changed)
        kofn_watch_membership(round);
}

uint64_t kofn_round_deadline(const struct kofn_round *round)
{
    uint64_t span = round->deadline_ns;

    return span ? kofn_deadline(round->opened_ns, span) : 0;
}

uint64_t kofn_round_silence(const struct kofn_round *round, uint32_t rank, uint64_t now)
{
    return silence(round, &round->members[rank], now);
}

uint64_t kofn_round_next_tick(const struct kofn_round *round, uint64_t now)
{
    uint64_t next = kofn_deadline(now, round->config.suspect_after / 8);
    uint64_t deadline = kofn_round_deadline(round);

    if (round->phase == KOFN_PHASE_COLLECTING)
        next = KOFN_MIN(next, kofn_deadline(round->closed_ns, round->config.grace));
    else if (deadline > now)
        next = KOFN_MIN(next, deadline);
    return next;
}
