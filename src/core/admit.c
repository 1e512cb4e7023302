/* admit.c: how members get their slots, how their end is noticed, and when their memory may be used
 * again. */
#include "core/server.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ALIVE_NS KOFN_NS_PER_S /* how often workers are told that the server lives */
#define EVENTS 64
#define LEAVE_NS (500 * KOFN_NS_PER_MS) /* for what a leaving worker has sent to arrive */

int kofn__admit_watch(struct kofn_server *server, int fd, enum kofn_watched kind, uint32_t index,
                      int operation)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | index};

    return epoll_ctl(server->epoll, operation, fd, &event);
}

int kofn__admit_open(struct kofn_server *server, bool network)
{
    int rc;

    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        return kofn_error_errno(server->log, "control channel: epoll");
    rc = kofn__guests_open(server, network);
    if (rc)
        close(server->epoll);
    return rc;
}

/* Ends what is known of a rank's process: its connection, and its pidfd. */
static void hang_up(struct kofn_peer *peer)
{
    kofn_channel_close(peer->control); /* which takes it out of the epoll set */
    peer->control = NULL;
    if (peer->pidfd >= 0)
        close(peer->pidfd);
    peer->pidfd = -1;
}

void kofn__admit_close(struct kofn_server *server)
{
    for (uint32_t rank = 0; server->peers && rank < server->attr.workers; rank++)
        hang_up(&server->peers[rank]);
    kofn__guests_close(server);
    close(server->epoll);
}

/* Can the process not write to the member's slot any more? Over a network nobody knows. */
static bool process_ended(const struct kofn_peer *peer)
{
    struct pollfd process = {.fd = peer->pidfd, .events = POLLIN};

    if (peer->network)
        return false;
    if (peer->left || peer->ended || peer->pidfd < 0)
        return true; /* it has unmapped its slot itself, or has never had it */
    return poll(&process, 1, 0) == 1;
}

/* Frees the slot of a rank whose member is gone, if nothing of it is still to be merged. */
static bool reclaim(struct kofn_server *server, uint32_t rank)
{
    struct kofn_peer *peer = &server->peers[rank];

    if (!peer->admitted)
        return true;
    if (!peer->evicted || server->round.members[rank].held.sequence ||
        server->hub->ops->hub_reclaim(server->hub, rank, process_ended(peer)))
        return false;
    peer->admitted = false;
    hang_up(peer);
    return true;
}

int kofn__admit_seat(struct kofn_server *server, uint32_t rank, uint32_t pid, const char *host,
                     struct kofn_offer *offer)
{
    struct kofn_peer *peer = &server->peers[rank];
    int rc;

    if (!reclaim(server, rank))
        return KOFN_AGAIN;
    rc = server->hub->ops->hub_admit(server->hub, rank, peer->epoch + 1, offer);
    if (rc)
        return rc;
    peer->epoch++;
    peer->admitted = true;
    peer->evicted = peer->expelled = peer->left = peer->ended = peer->network = false;
    peer->sequence = peer->released = peer->pushed = 0;
    peer->read_round = peer->read_updates = 0;
    peer->pid = pid;
    peer->refusals = peer->late_count = 0;
    server->beats_seen[rank] = 0;
    snprintf(peer->host, sizeof(peer->host), "%s", host);
    return 0;
}

int kofn__admit_member(struct kofn_server *server, uint32_t rank, const struct kofn_offer *offer,
                       uint64_t now)
{
    struct kofn_peer *peer = &server->peers[rank];
    int rc = server->hub->ops->hub_connect(server->hub, rank, offer);

    if (rc)
        return rc;
    peer->rejoins += server->round.members[rank].epoch != 0;
    kofn_round_join(&server->round, rank, peer->epoch, now);
    peer->announced = KOFN_MEMBER_JOINING;
    peer->return_ns = 0;
    kofn__serve_gate(server, rank);
    return 0;
}

/* ---- members ---- */

void kofn__admit_last_beat(struct kofn_server *server, uint32_t rank)
{
    struct kofn_beat beat;

    if (kofn_beat_unpack(kofn_hub_beat_word(server->hub, rank), &beat))
        kofn_round_last_beat(&server->round, rank, beat, kofn_now_ns());
}

static void take_out(struct kofn_server *server, uint32_t rank, uint64_t total)
{
    struct kofn_peer *peer = &server->peers[rank];

    kofn__admit_last_beat(server, rank);
    kofn_round_leave(&server->round, rank, peer->left, total, kofn_now_ns());
    server->hub->ops->hub_evict(server->hub, rank);
    peer->evicted = true;
}

/* Is there a publication of @rank that has not been taken in? */
static bool has_more(const struct kofn_server *server, uint32_t rank)
{
    struct kofn_hub *hub = server->hub;
    const void *payload;
    struct kofn_stamp stamp;

    return !kofn_slot_begin(&hub->slot, kofn_hub_slot(hub, rank), server->peers[rank].sequence + 1,
                            &payload, &stamp);
}

/* Polling is fair: the publications of @rank are among the first N times D, whatever the others go
 * on sending.
 */
void kofn__admit_drain(struct kofn_server *server, uint32_t rank)
{
    uint32_t depth = server->hub->slot.depth;
    uint64_t most = (uint64_t)server->attr.workers * depth / KOFN_ARRIVALS + depth + 1;

    kofn__pull_last(server, rank);
    do { /* once at least: it may be there that a transport looks at its connections */
        if (!kofn__serve_arrivals(server))
            return;
    } while (--most && !server->peers[rank].evicted && has_more(server, rank));
}

static void member_leaves(struct kofn_server *server, uint32_t rank)
{
    struct kofn_peer *peer = &server->peers[rank];

    server->leaving -= peer->leave_ns != 0;
    peer->leave_ns = 0;
    peer->left = true; /* it writes no more, evicted or not: its rank can be given again */
    if (!peer->evicted)
        kofn__admit_drain(server, rank);
    if (peer->network) { /* which it waits for */
        kofn_channel_close(peer->control);
        peer->control = NULL;
    }
    if (peer->evicted)
        return;
    take_out(server, rank, peer->finished);
    kofn_log(server->log, KOFN_LOG_INFO, "rank %u (pid %u) has left", rank, peer->pid);
}

void kofn__admit_gone(struct kofn_server *server, uint32_t rank, const char *why, bool failed)
{
    struct kofn_peer *peer = &server->peers[rank];

    if (!peer->admitted || peer->evicted || peer->left)
        return;
    if (peer->leave_ns) { /* as it said it would */
        member_leaves(server, rank);
        return;
    }
    take_out(server, rank, 0);
    peer->announced = KOFN_MEMBER_GONE;
    if (failed && peer->network)
        peer->return_ns = kofn_deadline(kofn_now_ns(), server->attr.peer_timeout);
    kofn_log(server->log, KOFN_LOG_WARN,
             "rank %u (%s, pid %u): gone in round %u: %s; going on without it (K = %u of %u left)",
             rank, peer->host, peer->pid, server->round.number, why,
             KOFN_MIN(server->round.asked, server->round.available), server->round.available);
}

bool kofn__admit_awaits(const struct kofn_server *server, uint64_t now)
{
    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        if (server->peers[rank].return_ns > now)
            return true;
    return false;
}

const char *kofn__admit_return(struct kofn_server *server, uint32_t rank, uint32_t epoch,
                               uint32_t finished, const char *host, uint32_t pid)
{
    const struct kofn_member *member = &server->round.members[rank];
    struct kofn_peer *peer = &server->peers[rank];

    if (epoch > peer->epoch)
        return "this server knows nothing of the job that it was in";
    if (peer->expelled)
        return "it was evicted: what it published broke the rules";
    if ((peer->pid != pid || strcmp(peer->host, host)) &&
        (member->epoch == peer->epoch || member->epoch != epoch)) /* else that was no member */
        return "another process has had that rank meanwhile";
    if (kofn_member_connected(member)) {
        kofn__admit_drain(server, rank);
        kofn__admit_gone(server, rank, "its connection has failed, and it comes back", true);
    }
    kofn_round_finished(&server->round, rank, epoch, finished);
    return NULL;
}

void kofn__admit_evict(struct kofn_server *server, uint32_t rank, const char *why)
{
    struct kofn_peer *peer = &server->peers[rank];
    struct kofn_gate gate = {.round = server->round.number,
                             .state = KOFN_GATE_EVICTED,
                             .released = (uint32_t)(peer->released % 256)};

    kofn_log(server->log, KOFN_LOG_ERROR,
             "rank %u (%s, pid %u): evicted in round %u: it published an update with %s", rank,
             peer->host, peer->pid, server->round.number, why);
    server->hub->ops->hub_gate(server->hub, rank, kofn_gate_pack(gate));
    take_out(server, rank, 0);
    peer->expelled = true;
}

/* BYE may overtake publications, which travel on connections of their own. */
static void bye(struct kofn_server *server, uint32_t rank, const struct kofn_wire *message,
                uint64_t now)
{
    struct kofn_peer *peer = &server->peers[rank];

    peer->finished = KOFN_MIN(message->bye.finished, UINT32_MAX);
    peer->last = message->bye.published;
    if (!peer->evicted)
        kofn__admit_drain(server, rank);
    if (!peer->network || peer->evicted || peer->sequence >= peer->last) {
        member_leaves(server, rank);
        return;
    }
    peer->leave_ns = now + LEAVE_NS;
    server->leaving++;
    kofn__admit_watch(server, peer->control->fd, KOFN_WATCHED_PEER, rank, EPOLL_CTL_DEL);
}

static void look_after_leaving(struct kofn_server *server, uint64_t now)
{
    for (uint32_t rank = 0; server->leaving && rank < server->attr.workers; rank++) {
        const struct kofn_peer *peer = &server->peers[rank];

        if (peer->leave_ns &&
            (peer->evicted || peer->sequence >= peer->last || now >= peer->leave_ns))
            member_leaves(server, rank);
    }
}

static void peer_event(struct kofn_server *server, uint32_t rank, uint64_t now)
{
    struct kofn_peer *peer = &server->peers[rank];
    struct kofn_wire message;
    const char *reason = "";
    int rc;

    if (!peer->control)
        return;
    rc = kofn_channel_receive(peer->control, 0, &message, NULL, &reason);
    if (rc == KOFN_AGAIN || rc == KOFN_INTERRUPTED)
        return;
    if (!rc && message.type == KOFN_WIRE_BYE) {
        bye(server, rank, &message, now);
        return;
    }
    kofn__admit_drain(server, rank);
    kofn__admit_gone(server, rank, rc ? reason : "it sent a message out of turn",
                     rc == KOFN_GONE && !peer->control->ended);
    kofn_channel_close(peer->control);
    peer->control = NULL;
}

/* One that sleeps may get fewer: its channel is full. */
static void tell_all(struct kofn_server *server, enum kofn_wire_type what)
{
    struct kofn_wire message = {.type = what};

    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        if (server->peers[rank].control)
            kofn_channel_send(server->peers[rank].control, &message, NULL);
}

static void say_alive(struct kofn_server *server, uint64_t now)
{
    if (now < server->alive_ns)
        return;
    server->alive_ns = now + ALIVE_NS;
    tell_all(server, KOFN_WIRE_ALIVE);
}

void kofn__admit_dismiss(struct kofn_server *server)
{
    tell_all(server, KOFN_WIRE_END);
}

int kofn__admit_look(struct kofn_server *server, uint64_t now, uint64_t deadline)
{
    struct epoll_event events[EVENTS];
    int ms = deadline > now ? (int)KOFN_MIN((deadline - now) / KOFN_NS_PER_MS + 1, 1000u) : 0;
    int count = epoll_wait(server->epoll, events, EVENTS, ms);

    if (count < 0 && errno != EINTR)
        return kofn_error_errno(server->log, "control channel: epoll");
    for (int i = 0; i < count; i++) {
        uint32_t index = (uint32_t)events[i].data.u64;

        switch ((enum kofn_watched)(events[i].data.u64 >> 32)) {
        case KOFN_WATCHED_LISTENER:
            kofn__guests_accept(server, now);
            break;
        case KOFN_WATCHED_GUEST:
            kofn__guests_event(server, index, now);
            break;
        case KOFN_WATCHED_PEER:
            peer_event(server, index, now);
            break;
        }
    }
    kofn__guests_look(server, now);
    look_after_leaving(server, now);
    say_alive(server, now);
    return count < 0 ? KOFN_INTERRUPTED : 0;
}
