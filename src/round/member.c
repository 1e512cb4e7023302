#include "round/member.h"

void kofn_member_join(struct kofn_member *member, uint32_t epoch, uint64_t now)
{
    member->lost_before = kofn_member_lost(member);
    member->state = KOFN_MEMBER_JOINING;
    member->epoch = epoch;
    member->round = member->updates = 0;
    member->settled_round = member->settled_updates = 0;
    member->timed_round = member->timed_in_round = 0;
    member->held.sequence = 0;
    member->reached = member->barred = false;
    member->unpaced_ns = 0;
    member->evidence_ns = 0;
    member->epoch_base = member->finished;
    member->round_base = 0;
    member->progress_ns = member->joined_ns = now;
}

static void count_finished(struct kofn_member *member)
{
    uint64_t finished = member->epoch_base + member->round_base + member->updates;

    member->finished = KOFN_MAX(member->finished, finished);
}

bool kofn_member_progress(struct kofn_member *member, uint32_t round, uint32_t updates,
                          uint64_t now)
{
    if (round < member->round || (round == member->round && updates <= member->updates))
        return false;
    if (round > member->round) {
        member->round_base += member->updates;
        member->round = round;
    }
    member->updates = updates;
    member->progress_ns = now;
    count_finished(member);
    return true;
}

/* Stamps of a round are cumulative, that of a late remainder, too: only what the last one of the
 * same round did not have is added.
 */
static void add_times(struct kofn_member *member, const struct kofn_stamp *stamp)
{
    uint32_t updates = stamp->updates;
    uint64_t compute = stamp->compute_ns;

    member->post_ns += stamp->post_ns;
    member->wait_ns += stamp->wait_ns;
    if (stamp->round == member->timed_round) {
        if (updates <= member->timed_in_round || compute < member->timed_round_ns)
            return;
        updates -= member->timed_in_round;
        compute -= member->timed_round_ns;
    }
    member->timed_round = stamp->round;
    member->timed_in_round = stamp->updates;
    member->timed_round_ns = stamp->compute_ns;
    member->timed_updates += updates;
    member->compute_ns += compute;
}

void kofn_member_pace(struct kofn_member *member, double ns, double updates, double keep)
{
    member->paced_ns = keep * member->paced_ns + ns;
    member->paced_updates = keep * member->paced_updates + updates;
    /* without a single finished update: at least so long, and taken to be half way */
    member->pace_ns = member->paced_ns / KOFN_MAX(member->paced_updates, 0.5);
}

void kofn_member_published(struct kofn_member *member, const struct kofn_stamp *stamp)
{
    member->publications++;
    add_times(member, stamp);
    if (stamp->round == member->round)
        member->round_base = stamp->total - stamp->updates;
    else /* it is further by now, and its beats say how far, but not all that was before */
        member->round_base = KOFN_MAX(member->round_base, stamp->total);
    count_finished(member);
}

void kofn_member_settle(struct kofn_member *member, uint32_t round, uint32_t updates,
                        uint64_t *count)
{
    uint32_t settled = kofn_member_settled(member, round);

    if (updates <= settled)
        return;
    *count += updates - settled;
    member->settled_round = round;
    member->settled_updates = updates;
}

void kofn_member_leave(struct kofn_member *member, bool in_order, uint64_t total, uint64_t now)
{
    member->state = in_order ? KOFN_MEMBER_LEFT : KOFN_MEMBER_GONE;
    member->left_ns = now;
    member->finished = KOFN_MAX(member->finished, member->epoch_base + total);
}

double kofn_member_compute_mean(const struct kofn_member *member)
{
    return member->timed_updates ? (double)member->compute_ns / (double)member->timed_updates : 0;
}

static uint64_t unaccounted(const struct kofn_member *member)
{
    uint64_t accounted = member->merged + member->late + member->refused;

    if (member->held.sequence)
        accounted += member->held.updates - member->held.from;
    return member->finished > accounted ? member->finished - accounted : 0;
}

uint64_t kofn_member_lost(const struct kofn_member *member)
{
    return kofn_member_connected(member) ? member->lost_before : unaccounted(member);
}

void kofn_member_write_off(struct kofn_member *member)
{
    member->lost_before = unaccounted(member);
}

uint64_t kofn_member_dropped(const struct kofn_member *member, uint32_t open)
{
    uint64_t count = unaccounted(member), others = member->lost_before;

    if (open && member->round == open) {
        uint32_t settled = kofn_member_settled(member, open);

        if (member->held.sequence && member->held.round == open)
            settled = KOFN_MAX(settled, member->held.updates);
        others += member->updates > settled ? member->updates - settled : 0;
    }
    return count > others ? count - others : 0;
}
