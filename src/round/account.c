#include "round/account.h"

#include <math.h>

static double mean_seconds(uint64_t sum_ns, uint64_t count)
{
    return count ? (double)sum_ns / (double)count / 1e9 : NAN;
}

static double percentile(const struct kofn_histogram *lateness, double percent)
{
    return lateness->count ? (double)kofn_histogram_percentile(lateness, percent) / 1e9 : NAN;
}

static double idle(const struct kofn_member *member, uint64_t now)
{
    uint64_t end = kofn_member_connected(member) ? now : member->left_ns;
    double wall = (double)(end - member->joined_ns);

    return member->joined_ns && wall > 0 ? KOFN_MAX(0.0, 1 - (double)member->busy_ns / wall) : NAN;
}

static double silence(const struct kofn_round *round, uint32_t rank, uint64_t now)
{
    return kofn_member_connected(&round->members[rank])
               ? (double)kofn_round_silence(round, rank, now) / 1e9
               : 0;
}

void kofn_round_member(const struct kofn_round *round, uint32_t rank, uint64_t now,
                       const struct kofn_usual *usual, struct kofn_member_report *report)
{
    const struct kofn_member *member = &round->members[rank];
    uint64_t dropped = kofn_round_dropped(round, rank);

    *report = (struct kofn_member_report){
        .rank = rank,
        .epoch = member->epoch,
        .state = member->state,
        .cause = kofn_round_cause(round, rank, usual),
        .round = member->round,
        .updates = member->updates,
        .finished = member->finished,
        .merged = member->merged,
        .late = member->late,
        .refused = member->refused + dropped,
        .lost =
            kofn_member_lost(member) - (kofn_member_connected(member) ? member->dropped : dropped),
        .publications = member->publications,
        .first_k = member->first_k,
        .late_p50 = percentile(&round->lateness[rank], 50),
        .late_p99 = percentile(&round->lateness[rank], 99),
        .pace = member->pace_ns > 0 ? member->pace_ns / 1e9 : NAN,
        .compute_mean = mean_seconds(member->compute_ns, member->timed_updates),
        .post_mean = mean_seconds(member->post_ns, member->publications),
        .wait_mean = mean_seconds(member->wait_ns, member->publications),
        .idle_fraction = idle(member, now),
        .last_progress_ns = member->progress_ns,
        .pace_mean = member->busy_ns ? mean_seconds(member->busy_ns, member->finished) : NAN,
        .silence = silence(round, rank, now),
    };
}

void kofn_round_describe(const struct kofn_round *round, struct kofn_round_report *report)
{
    bool adds = kofn_algorithm_adds(round->config.algorithm);
    uint32_t count = (adds ? round->reached : round->merged) + round->late_count;

    *report = (struct kofn_round_report){
        .size = sizeof(*report),
        .round = round->number,
        .close = round->close,
        .wait_for = round->wait_for,
        .living = round->available,
        .merged = round->merged,
        .late = round->late_count,
        .refused = round->refused,
        .publications = round->publications,
        .staleness = count ? round->staleness / count : 0,
        .contributions = count,
        .opened_ns = round->opened_ns,
        .closed_ns = round->closed_ns,
    };
}
