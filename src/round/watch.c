#include "round/watch.h"

#include "base/clock.h"

#define SUSPECT_PACES 20.0 /* times its own pace without progress, and the configured time */
#define QUIET_PACES 2.0    /* so long, and half the configured time: nothing comes of it for now */
#define QUIET_USUAL 4      /* times the usual silence: no sign of anybody */
#define EVIDENT_PACES 16.0 /* usual local updates: less lost, or gained, may be an accident */

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

/* True if @member has not done yet what the round waits, or waited, for. */
static bool owes_work(const struct kofn_round *round, const struct kofn_member *member)
{
    bool done = member->reached ||
                (member->round == round->number && member->updates >= round->config.local_steps);

    return round->config.algorithm->worker_may != KOFN_WORKER_WAITS || !done;
}

/* Has @member done its part in the last round, so that it could but wait for this one to open? */
static bool has_waited(const struct kofn_round *round, const struct kofn_member *member)
{
    if (round->config.algorithm->worker_may != KOFN_WORKER_WAITS)
        return false;
    return member->reached_ns >= round->previous_opened_ns ||
           (member->round + 1 == round->number && member->updates >= round->config.local_steps);
}

/* Who was in the last round has waited for this one while that was merged; who was not even there
 * has owed work all the time since it last got further, however many rounds have come and gone.
 * Once the round has closed, no silence gets longer.
 */
static uint64_t silence(const struct kofn_round *round, const struct kofn_member *member,
                        uint64_t now)
{
    uint64_t since = member->progress_ns, waited = 0, merging;

    if (!owes_work(round, member))
        return 0;
    if (round->phase != KOFN_PHASE_OPEN)
        now = round->closed_ns ? round->closed_ns : round->opened_ns;
    if (member->round == round->number || has_waited(round, member)) {
        since = KOFN_MAX(since, round->opened_ns);
    } else if (member->round + 1 == round->number) {
        merging = KOFN_MAX(since, round->previous_closed_ns);
        waited = round->opened_ns - KOFN_MIN(merging, round->opened_ns);
    }
    return now > since + waited ? now - since - waited : 0;
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
    if (round->phase != KOFN_PHASE_OPEN)
        return false;
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

    return round->phase == KOFN_PHASE_OPEN && pace > 0 && silent >= round->config.suspect_after &&
           (double)silent >= SUSPECT_PACES * pace;
}

bool kofn_watch_evident(const struct kofn_round *round, double ns, double pace)
{
    return pace > 0 &&
           ns >= KOFN_MAX(EVIDENT_PACES * pace, (double)round->config.suspect_after / 8);
}

void kofn_watch_weigh(const struct kofn_round *round, struct kofn_member *member, double ns,
                      double updates)
{
    double pace = round->median_pace_ns, change;
    double most = 2 * KOFN_MAX(EVIDENT_PACES * pace, (double)round->config.suspect_after / 8);

    if (!(pace > 0))
        return;
    change = member->state == KOFN_MEMBER_SLOW ? KOFN_SLOW_LEAVE * pace * updates - ns
                                               : ns - KOFN_SLOW_ENTER * pace * updates;
    member->evidence_ns = KOFN_MIN(KOFN_MAX(member->evidence_ns + change, 0), most);
}

/* What half of the workers have been silent for at most: with many workers a core that is long. Of
 * two it is the shorter silence.
 */
static uint64_t usual_silence(struct kofn_round *round, uint64_t now)
{
    size_t count = 0, longest = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        if (!kofn_member_available(&round->members[rank]))
            continue;
        round->scratch[count] = (double)silence(round, &round->members[rank], now);
        if (round->scratch[count] > round->scratch[longest])
            longest = count;
        count++;
    }
    if (count && count % 2 == 0)
        round->scratch[longest] = round->scratch[--count];
    return (uint64_t)kofn_median(round->scratch, count);
}

/* Slow are those whose local updates take a multiple of the median, and have done so for long
 * enough; a silence well beyond the usual one counts as a long update.
 */
static bool gets_slow(const struct kofn_round *round, const struct kofn_member *member,
                      uint64_t usual, uint64_t now)
{
    uint64_t silence_ns = silence(round, member, now);
    double median = round->median_pace_ns;
    double silent = (double)(silence_ns - KOFN_MIN(silence_ns, QUIET_USUAL * usual));

    return (member->pace_ns > KOFN_SLOW_ENTER * median &&
            kofn_watch_evident(round, member->evidence_ns, median)) ||
           (silent > SUSPECT_PACES / 2 * median &&
            silent >= (double)round->config.suspect_after / 4);
}

/* Only finished updates speak for a slow one. */
static bool keeps_up(const struct kofn_round *round, const struct kofn_member *member)
{
    return member->pace_ns < KOFN_SLOW_LEAVE * round->median_pace_ns &&
           kofn_watch_evident(round, member->evidence_ns, round->median_pace_ns);
}

static enum kofn_member_state judge(const struct kofn_round *round,
                                    const struct kofn_member *member, uint64_t usual, uint64_t now)
{
    if (is_suspect(round, member, now))
        return KOFN_MEMBER_SUSPECT;
    if (!(round->median_pace_ns > 0))
        return member->state;
    if (member->state == KOFN_MEMBER_READY && gets_slow(round, member, usual, now))
        return KOFN_MEMBER_SLOW;
    if (member->state == KOFN_MEMBER_SLOW && keeps_up(round, member))
        return KOFN_MEMBER_READY;
    return member->state; /* others become ready by progress alone: see kofn_round_beat() */
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
    uint64_t usual;

    if (!round->number)
        return;
    round->median_pace_ns = median_pace(round);
    if (all_quiet(round, now))
        round->excused_ns = now;
    usual = usual_silence(round, now);
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        struct kofn_member *member = &round->members[rank];
        enum kofn_member_state state;

        if (!kofn_member_connected(member))
            continue;
        state = judge(round, member, usual, now);
        if (state == member->state)
            continue;
        member->silent_ns = silence(round, member, now);
        member->evidence_ns = 0;
        if (state == KOFN_MEMBER_SUSPECT)
            member->unpaced_ns = 0;
        member->state = state;
        changed = true;
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
