/* report.c: what the server says of its workers: messages when a state changes, and the account of
 * each. */
#include "core/server.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attr.h"

const char *kofn_member_state_name(enum kofn_member_state state)
{
    static const char *const names[] = {"absent",  "joining", "ready", "slow",
                                        "suspect", "gone",    "left"};

    return (size_t)state < KOFN_ARRAY_SIZE(names) ? names[state] : "unknown";
}

const char *kofn_cause_name(enum kofn_cause cause)
{
    static const char *const names[] = {"none", "compute", "network", "server", "dead"};

    return (size_t)cause < KOFN_ARRAY_SIZE(names) ? names[cause] : "unknown";
}

static void say_slow(const struct kofn_server *server, uint32_t rank, uint64_t now)
{
    const struct kofn_round *round = &server->round;
    const struct kofn_peer *peer = &server->peers[rank];
    double median = round->median_pace_ns, pace = round->members[rank].pace_ns;
    double silent = (double)kofn_round_silence(round, rank, now);
    bool waited = round->config.algorithm->needs_all && !kofn_round_deadline(round);

    if (pace > silent)
        kofn_log(server->log, KOFN_LOG_WARN,
                 "rank %u (%s, pid %u): slow: a local update takes it %.3g ms, %.1fx the median, "
                 "in round %u; %s",
                 rank, peer->host, peer->pid, pace / 1e6, pace / median, round->number,
                 waited ? "the others wait for it" : "nobody waits for it");
    else
        kofn_log(server->log, KOFN_LOG_WARN,
                 "rank %u (%s, pid %u): slow: no local update for %.2f s in round %u, %.1fx the "
                 "median; %s",
                 rank, peer->host, peer->pid, silent / 1e9, round->number, silent / median,
                 waited ? "the others wait for it" : "nobody waits for it");
}

static void say_suspect(const struct kofn_server *server, uint32_t rank, uint64_t now)
{
    const struct kofn_round *round = &server->round;
    const struct kofn_peer *peer = &server->peers[rank];

    kofn_log(server->log, KOFN_LOG_WARN,
             "rank %u (%s, pid %u): suspect: no local update for %.1f s in round %u; going on "
             "without it "
             "(K = %u of %u left)",
             rank, peer->host, peer->pid, (double)kofn_round_silence(round, rank, now) / 1e9,
             round->number, KOFN_MIN(round->config.wait_for, round->available), round->available);
}

static void say_better(const struct kofn_server *server, uint32_t rank, const char *what)
{
    const struct kofn_peer *peer = &server->peers[rank];

    kofn_log(server->log, KOFN_LOG_WARN, "rank %u (%s, pid %u): %s in round %u", rank, peer->host,
             peer->pid, what, server->round.number);
}

void kofn__report_states(struct kofn_server *server, uint64_t now)
{
    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        const struct kofn_member *member = &server->round.members[rank];
        enum kofn_member_state state = member->state;
        struct kofn_peer *peer = &server->peers[rank];

        if (state == peer->announced)
            continue;
        if (state == KOFN_MEMBER_SUSPECT)
            say_suspect(server, rank, now);
        else if (peer->announced == KOFN_MEMBER_SUSPECT && kofn_member_available(member))
            say_better(server, rank, "is back");
        else if (state == KOFN_MEMBER_READY && peer->announced == KOFN_MEMBER_SLOW)
            say_better(server, rank, "keeps up again");
        if (state == KOFN_MEMBER_SLOW)
            say_slow(server, rank, now);
        peer->announced = state;
    }
}

static double mean_seconds(uint64_t sum_ns, uint64_t count)
{
    return count ? (double)sum_ns / (double)count / 1e9 : NAN;
}

static double lateness(const struct kofn_member *member, double percent)
{
    return member->lateness.count
               ? (double)kofn_histogram_percentile(&member->lateness, percent) / 1e9
               : NAN;
}

static double idle(const struct kofn_member *member, uint64_t now)
{
    uint64_t end = kofn_member_connected(member) ? now : member->left_ns;
    double wall = (double)(end - member->joined_ns);

    return member->joined_ns && wall > 0 ? KOFN_MAX(0.0, 1 - (double)member->busy_ns / wall) : NAN;
}

int kofn_server_member(const struct kofn_server *server, uint32_t rank,
                       struct kofn_member_report *report)
{
    const struct kofn_member *member;
    const struct kofn_peer *peer;
    struct kofn_member_report result;

    if (rank >= server->attr.workers)
        return KOFN_INVALID;
    member = &server->round.members[rank];
    peer = &server->peers[rank];
    result = (struct kofn_member_report){
        .rank = rank,
        .epoch = peer->epoch,
        .pid = (int32_t)peer->pid,
        .state = member->state,
        .cause = kofn_round_cause(&server->round, rank),
        .round = member->round,
        .updates = member->updates,
        .finished = member->finished,
        .merged = member->merged,
        .late = member->late,
        .refused = member->refused,
        .lost = kofn_member_lost(member),
        .publications = member->publications,
        .first_k = member->first_k,
        .late_p50 = lateness(member, 50),
        .late_p99 = lateness(member, 99),
        .pace = member->pace_ns > 0 ? member->pace_ns / 1e9 : NAN,
        .compute_mean = mean_seconds(member->compute_ns, member->timed_updates),
        .post_mean = mean_seconds(member->post_ns, member->publications),
        .wait_mean = mean_seconds(member->wait_ns, member->publications),
        .idle_fraction = idle(member, kofn_now_ns()),
        .last_progress_ns = member->progress_ns,
    };
    snprintf(result.host, sizeof(result.host), "%s", peer->host);
    return kofn__report_give(&result, sizeof(result), report);
}
