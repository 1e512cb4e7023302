/* report.c: what the server says of its workers: messages when a state changes, and the account of
 * each. */
#include "core/server.h"

#include <stdio.h>
#include <string.h>

#include "round/account.h"

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

static void say_slow(const struct kofn_server *server, uint32_t rank)
{
    const struct kofn_round *round = &server->round;
    const struct kofn_peer *peer = &server->peers[rank];
    double median = round->median_pace_ns, pace = round->members[rank].pace_ns;
    double silent = (double)round->members[rank].silent_ns;
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

static void say_suspect(const struct kofn_server *server, uint32_t rank)
{
    const struct kofn_round *round = &server->round;
    const struct kofn_peer *peer = &server->peers[rank];

    kofn_log(server->log, KOFN_LOG_WARN,
             "rank %u (%s, pid %u): suspect: no local update for %.1f s in round %u; going on "
             "without it "
             "(K = %u of %u left)",
             rank, peer->host, peer->pid, (double)round->members[rank].silent_ns / 1e9,
             round->number, KOFN_MIN(round->asked, round->available), round->available);
}

static void say_better(const struct kofn_server *server, uint32_t rank, const char *what)
{
    const struct kofn_peer *peer = &server->peers[rank];

    kofn_log(server->log, KOFN_LOG_WARN, "rank %u (%s, pid %u): %s in round %u", rank, peer->host,
             peer->pid, what, server->round.number);
}

void kofn__report_states(struct kofn_server *server)
{
    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        const struct kofn_member *member = &server->round.members[rank];
        enum kofn_member_state state = member->state;
        struct kofn_peer *peer = &server->peers[rank];

        if (state == peer->announced)
            continue;
        if (state == KOFN_MEMBER_SUSPECT)
            say_suspect(server, rank);
        else if (peer->announced == KOFN_MEMBER_SUSPECT && kofn_member_available(member))
            say_better(server, rank, "is back");
        else if (state == KOFN_MEMBER_READY && peer->announced == KOFN_MEMBER_SLOW)
            say_better(server, rank, "keeps up again");
        if (state == KOFN_MEMBER_SLOW)
            say_slow(server, rank);
        peer->announced = state;
    }
}

int kofn_server_member(const struct kofn_server *server, uint32_t rank,
                       struct kofn_member_report *report)
{
    struct kofn_member_report result;
    const struct kofn_peer *peer;
    uint64_t now = kofn_now_ns();

    if (rank >= server->attr.workers)
        return KOFN_INVALID;
    peer = &server->peers[rank];
    kofn_round_member(&server->round, rank, now, kofn_round_recent(&server->round, now), &result);
    result.epoch = peer->epoch;
    result.pid = (int32_t)peer->pid;
    result.rejoins = peer->rejoins;
    snprintf(result.host, sizeof(result.host), "%s", peer->host);
    return kofn__report_give(&result, sizeof(result), report);
}
