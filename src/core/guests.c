/* guests.c: the listener, and connections on their way to membership: bounded in number and time.
 */
#include "core/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GUEST_NS (5 * KOFN_NS_PER_S) /* how long a handshake may take */
#define REST_NS KOFN_NS_PER_S /* until the next try, where there is no descriptor for a guest */

/* Lets the listener wake the server, or not: it is not to while nobody can be let in. */
static void listen_for(struct kofn_server *server, bool guests)
{
    struct epoll_event event = {.events = guests ? EPOLLIN : 0,
                                .data.u64 = (uint64_t)KOFN_WATCHED_LISTENER << 32};

    if (guests != server->listening)
        epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->listener.fd, &event);
    server->listening = guests;
}

int kofn__guests_open(struct kofn_server *server, bool network)
{
    struct kofn_listener_attr attr = {.address = server->attr.address,
                                      .network = network,
                                      .insecure = server->attr.insecure,
                                      .silence = server->attr.peer_timeout,
                                      .log = server->log};
    int rc = kofn_listener_open(&attr, &server->listener);

    if (rc)
        return rc;
    if (kofn__admit_watch(server, server->listener.fd, KOFN_WATCHED_LISTENER, 0, EPOLL_CTL_ADD)) {
        rc = kofn_error_errno(server->log, "control channel: epoll");
        kofn_listener_close(&server->listener);
        return rc;
    }
    server->listening = true;
    return 0;
}

static void hang_up(struct kofn_guest *guest)
{
    kofn_channel_close(guest->control); /* which takes it out of the epoll set */
    guest->control = NULL;
}

void kofn__guests_close(struct kofn_server *server)
{
    for (uint32_t i = 0; i < KOFN_GUESTS; i++)
        hang_up(&server->guests[i]);
    kofn_listener_close(&server->listener);
}

/* Ends a connection that was not a member yet; the slot it may have got is free again. */
static void drop_guest(struct kofn_server *server, struct kofn_guest *guest)
{
    uint32_t rank = guest->hello.hello.rank;

    if (guest->welcomed) {
        server->hub->ops->hub_evict(server->hub, rank);
        server->peers[rank].evicted = true;
    }
    hang_up(guest);
}

static void refuse(struct kofn_server *server, struct kofn_guest *guest, int status,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

static void refuse(struct kofn_server *server, struct kofn_guest *guest, int status,
                   const char *format, ...)
{
    struct kofn_wire message = {.type = KOFN_WIRE_REFUSED};
    va_list args;

    message.refused.status = status;
    va_start(args, format);
    vsnprintf(message.refused.text, sizeof(message.refused.text), format, args);
    va_end(args);
    kofn_log(server->log, KOFN_LOG_WARN, "%s may not join: %s", guest->name, message.refused.text);
    kofn_channel_send(guest->control, &message, NULL);
    drop_guest(server, guest);
}

static void turn_away(struct kofn_server *server, struct kofn_guest *guest, int status,
                      bool for_good, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Refuses a guest for a reason that may pass. A worker that has lost its connection is not told so:
 * a refusal would end it, while one that is hung up on comes again, as long as its patience lasts.
 */
static void turn_away(struct kofn_server *server, struct kofn_guest *guest, int status,
                      bool for_good, const char *format, ...)
{
    char text[KOFN_WIRE_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (for_good || !guest->returns) {
        refuse(server, guest, status, "%s", text);
        return;
    }
    kofn_log(server->log, KOFN_LOG_WARN, "%s may not join yet, and will try again: %s", guest->name,
             text);
    drop_guest(server, guest);
}

/* Takes in one connection. False if there is none, or none can be taken. */
static bool accept_one(struct kofn_server *server, uint32_t place, uint64_t now)
{
    struct kofn_guest fresh = {.deadline = now + GUEST_NS};
    struct kofn_guest *guest = &server->guests[place];
    int rc = kofn_listener_accept(&server->listener, &fresh.control, server->log);

    if (rc == KOFN_REFUSED)
        return true;
    if (rc && rc != KOFN_AGAIN) { /* it goes on waiting: said once in a while, not at every look */
        listen_for(server, false);
        server->listen_ns = now + REST_NS;
    }
    if (rc)
        return false;
    if (fresh.control->network)
        snprintf(fresh.name, sizeof(fresh.name), "%s", fresh.control->path.peer);
    else
        snprintf(fresh.name, sizeof(fresh.name), "pid %u", fresh.control->pid);
    *guest = fresh;
    if (kofn__admit_watch(server, guest->control->fd, KOFN_WATCHED_GUEST, place, EPOLL_CTL_ADD))
        drop_guest(server, guest);
    return true;
}

void kofn__guests_accept(struct kofn_server *server, uint64_t now)
{
    for (uint32_t i = 0; i < KOFN_GUESTS; i++)
        if (!server->guests[i].control && !accept_one(server, i, now))
            return;
    listen_for(server, false); /* full: the others wait in the listener's queue */
}

static int send_welcome(struct kofn_server *server, struct kofn_guest *guest, uint32_t epoch,
                        const struct kofn_offer *offer)
{
    const struct kofn_algorithm *algorithm = server->round.config.algorithm;
    struct kofn_wire welcome = {.type = KOFN_WIRE_WELCOME};
    struct kofn_job *job = &welcome.welcome.job;
    struct kofn_fds fds = {.count = offer->fd_count};

    snprintf(job->algorithm, sizeof(job->algorithm), "%s", algorithm->name);
    job->payload = algorithm->payload;
    job->publish = server->attr.publish;
    job->late = server->attr.late;
    job->workers = server->attr.workers;
    job->wait_for = server->attr.wait_for;
    job->local_steps = server->attr.local_steps;
    job->epoch = epoch;
    job->parameters = server->attr.parameters;
    job->pullback = algorithm->ahead ? server->rules.alpha : 0;
    welcome.welcome.worker_may = algorithm->worker_may;
    welcome.welcome.manners = kofn_algorithm_manners(algorithm);
    welcome.welcome.depth = server->hub->slot.depth;
    welcome.welcome.pid = (uint32_t)getpid();
    snprintf(welcome.welcome.transport, sizeof(welcome.welcome.transport), "%s",
             server->hub->ops->name);
    welcome.offer.length = offer->length;
    memcpy(welcome.offer.bytes, offer->bytes, offer->length);
    memcpy(fds.fds, offer->fds, sizeof(int) * offer->fd_count);
    return kofn_channel_send(guest->control, &welcome, &fds);
}

/* Its process: as the kernel says, or over a network as it says itself. */
static uint32_t pid_of(const struct kofn_guest *guest)
{
    return guest->control->network ? guest->hello.hello.pid : guest->control->pid;
}

/* How long a guest may take to answer its welcome. */
static uint64_t answer_ns(const struct kofn_server *server)
{
    return GUEST_NS + kofn_pin_ns(server->hub->slot.slot_bytes + server->hub->model.slot_bytes);
}

/* A guest that has said who it is gets its slot, as soon as the rank's former one is free. */
static void welcome(struct kofn_server *server, struct kofn_guest *guest)
{
    uint32_t rank = guest->hello.hello.rank;
    struct kofn_offer offer = {0};
    struct kofn_fds fds = {0};
    int rc;

    server->hub->path = guest->control->path;
    rc = kofn__admit_seat(server, rank, pid_of(guest), guest->hello.hello.host, &offer);
    if (rc == KOFN_AGAIN)
        return;
    if (rc) {
        turn_away(server, guest, rc, false, "no slot for rank %u: %s", rank, kofn_status_text(rc));
        return;
    }
    guest->welcomed = true; /* the rest of the handshake has its own time */
    guest->deadline = kofn_deadline(kofn_now_ns(), answer_ns(server));
    rc = send_welcome(server, guest, server->peers[rank].epoch, &offer);
    fds.count = offer.fd_count;
    memcpy(fds.fds, offer.fds, sizeof(int) * offer.fd_count);
    kofn_fds_close(&fds);
    if (rc) /* it has hung up: its end will be seen on its channel */
        kofn_log(server->log, KOFN_LOG_INFO, "%s hung up while it joined as rank %u", guest->name,
                 rank);
}

/* The guest that is about to have @rank, or NULL. What it has said last, or that it has ended, may
 * be there already and unread: a worker that is started again must not find its former self in its
 * place.
 */
static const struct kofn_guest *guest_with(struct kofn_server *server, uint32_t rank, uint64_t now)
{
    for (uint32_t i = 0; i < KOFN_GUESTS; i++) {
        const struct kofn_guest *guest = &server->guests[i];

        if (!guest->control || !guest->greeted || guest->hello.hello.rank != rank)
            continue;
        kofn__guests_event(server, i, now);
        if (guest->control)
            return guest;
    }
    return NULL;
}

/* True if somebody has @rank, or is about to: @host and @pid say who. */
static bool rank_taken(struct kofn_server *server, uint32_t rank, uint64_t now, const char **host,
                       uint32_t *pid)
{
    const struct kofn_guest *guest = guest_with(server, rank, now);

    if (guest) {
        *host = guest->hello.hello.host;
        *pid = pid_of(guest);
        return true;
    }
    *host = server->peers[rank].host;
    *pid = server->peers[rank].pid;
    return kofn_member_connected(&server->round.members[rank]);
}

/* The first word of @text that is not in the same place of @other, of words with spaces between. */
static struct kofn_text other_word(const char *text, const char *other)
{
    size_t at = 0, word = 0;

    for (; text[at] && text[at] == other[at]; at++)
        if (text[at] == ' ')
            word = at + 1;
    return (struct kofn_text){text + word, strcspn(text + word, " ")};
}

/* Has the guest come for this job? What it says of it, and NULL or "" for nothing, is compared. */
static bool same_job(struct kofn_server *server, struct kofn_guest *guest,
                     const struct kofn_wire *message)
{
    const char *transport = message->hello.transport, *own = server->hub->ops->name;
    const char *theirs = message->hello.workload, *ours = server->workload;
    struct kofn_text here, there;

    if (*transport && strcmp(transport, own)) {
        refuse(server, guest, KOFN_INVALID, "its transport is %s, the server's is %s", transport,
               own);
        return false;
    }
    if (message->hello.parameters != server->attr.parameters) {
        refuse(server, guest, KOFN_INVALID, "its model has %llu parameters, the server's has %llu",
               (unsigned long long)message->hello.parameters,
               (unsigned long long)server->attr.parameters);
        return false;
    }
    if (!*theirs || !*ours || !strcmp(theirs, ours))
        return true;
    here = other_word(ours, theirs);
    there = other_word(theirs, ours);
    refuse(server, guest, KOFN_INVALID, "it was started with %.*s, the server with %.*s",
           KOFN_TEXT_ARGS(there), KOFN_TEXT_ARGS(here));
    return false;
}

/* A guest that had the rank before, and has lost its connection: whatever it left behind goes. */
static bool may_return(struct kofn_server *server, struct kofn_guest *guest,
                       const struct kofn_wire *message)
{
    uint32_t rank = message->hello.rank,
             pid = guest->control->network ? message->hello.pid : guest->control->pid;
    const char *why;

    guest->returns = message->hello.epoch != 0;
    if (!guest->returns)
        return true;
    why = kofn__admit_return(server, rank, message->hello.epoch, message->hello.finished,
                             message->hello.host, pid);
    if (why) {
        refuse(server, guest, KOFN_REFUSED, "rank %u: %s", rank, why);
        return false;
    }
    for (uint32_t i = 0; i < KOFN_GUESTS; i++) { /* an attempt of its own that came to nothing */
        struct kofn_guest *other = &server->guests[i];

        if (other != guest && other->control && other->greeted && other->hello.hello.rank == rank &&
            pid_of(other) == pid && !strcmp(other->hello.hello.host, message->hello.host))
            drop_guest(server, other);
    }
    return true;
}

static void hello(struct kofn_server *server, struct kofn_guest *guest,
                  const struct kofn_wire *message, uint64_t now)
{
    uint32_t rank = message->hello.rank, pid;
    const char *host;

    if (rank >= server->attr.workers) {
        refuse(server, guest, KOFN_INVALID, "rank %u is not below the number of workers, %u", rank,
               server->attr.workers);
        return;
    }
    if (!same_job(server, guest, message) || !may_return(server, guest, message))
        return;
    if (rank_taken(server, rank, now, &host, &pid)) {
        turn_away(server, guest, KOFN_INVALID, false, "rank %u is taken by pid %u (%s)", rank, pid,
                  host);
        return;
    }
    guest->hello = *message;
    guest->greeted = true;
    welcome(server, guest);
}

/* What tells of the end of a member's process. False if there is no telling: an unwatched one could
 * not be told from one that still writes.
 */
static bool watch_process(struct kofn_peer *peer, const struct kofn_channel *control)
{
    peer->network = control->network;
    if (peer->network)
        return true;
    peer->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)control->pid, 0);
    peer->ended = peer->pidfd < 0 && errno == ESRCH;
    return peer->pidfd >= 0 || peer->ended;
}

static void say_joined(const struct kofn_server *server, uint32_t rank)
{
    const struct kofn_peer *peer = &server->peers[rank];
    const struct kofn_member *member = &server->round.members[rank];

    if (peer->rejoins)
        kofn_log(server->log, KOFN_LOG_WARN,
                 "rank %u (%s, pid %u) has joined again, in round %u, in epoch %u; of what it did "
                 "before %llu local updates are lost",
                 rank, peer->host, peer->pid, server->round.number, peer->epoch,
                 (unsigned long long)(kofn_member_lost(member) - member->dropped));
    else
        kofn_log(server->log, KOFN_LOG_INFO, "rank %u (%s, pid %u) has joined", rank, peer->host,
                 peer->pid);
}

/* Goes on with the connection of a guest that has answered with @offer (NULL: it has, before): once
 * that is made it is a member.
 */
static void connect_guest(struct kofn_server *server, struct kofn_guest *guest,
                          const struct kofn_offer *offer, uint64_t now)
{
    uint32_t rank = guest->hello.hello.rank;
    struct kofn_peer *peer = &server->peers[rank];
    struct kofn_wire go = {.type = KOFN_WIRE_GO};
    int rc = kofn__admit_member(server, rank, offer, now);

    guest->connecting = rc == KOFN_AGAIN;
    if (rc == KOFN_AGAIN)
        return;
    if (rc) {
        turn_away(server, guest, rc, rc == KOFN_PROTOCOL || rc == KOFN_UNSUPPORTED,
                  "rank %u: its end of the transport cannot be used: %s", rank,
                  kofn_status_text(rc));
        return;
    }
    peer->control = guest->control;
    guest->control = NULL;
    kofn__admit_watch(server, peer->control->fd, KOFN_WATCHED_PEER, rank, EPOLL_CTL_MOD);
    kofn_channel_send(peer->control, &go, NULL);
    say_joined(server, rank);
}

/* The guest has its slot and has answered. */
static void ready(struct kofn_server *server, struct kofn_guest *guest,
                  const struct kofn_wire *message, struct kofn_fds *fds, uint64_t now)
{
    uint32_t rank = guest->hello.hello.rank;
    struct kofn_offer offer = {.length = message->offer.length, .fd_count = fds->count};

    memcpy(offer.bytes, message->offer.bytes, message->offer.length);
    memcpy(offer.fds, fds->fds, sizeof(int) * fds->count);
    if (!watch_process(&server->peers[rank], guest->control)) {
        refuse(server, guest, KOFN_SYSTEM, "rank %u: its process cannot be watched: %s", rank,
               strerror(errno));
        return;
    }
    fds->count = 0; /* the hub owns them now */
    connect_guest(server, guest, &offer, now);
    if (guest->connecting) /* the transport keeps to the peer's time-out; this is not to be hit */
        guest->deadline = kofn_deadline(now, server->attr.peer_timeout + GUEST_NS);
}

void kofn__guests_event(struct kofn_server *server, uint32_t index, uint64_t now)
{
    struct kofn_guest *guest = &server->guests[index];
    struct kofn_wire message;
    struct kofn_fds fds = {0};
    const char *reason;
    int rc;

    if (!guest->control)
        return;
    rc = kofn_channel_receive(guest->control, 0, &message, &fds, &reason);
    if (rc == KOFN_AGAIN || rc == KOFN_INTERRUPTED)
        return;
    if (rc == KOFN_PROTOCOL)
        refuse(server, guest, rc, "it sent %s", reason);
    else if (rc)
        drop_guest(server, guest);
    else if (!guest->greeted && message.type == KOFN_WIRE_HELLO)
        hello(server, guest, &message, now);
    else if (guest->welcomed && !guest->connecting && message.type == KOFN_WIRE_READY)
        ready(server, guest, &message, &fds, now);
    else
        refuse(server, guest, KOFN_PROTOCOL, "its message is out of turn");
    kofn_fds_close(&fds);
}

/* A rank's former member is gone and still holds a publication: the guest can have the slot when
 * the round has closed. It waits for that as long as a handshake may take; a round that does not
 * close meanwhile may be waiting for nobody but the guest, and one without any member does.
 */
static void give_up_held(struct kofn_server *server, uint32_t rank)
{
    const struct kofn_member *member = &server->round.members[rank];

    if (!member->held.sequence || kofn_member_connected(member))
        return;
    kofn_log(server->log, KOFN_LOG_WARN,
             "rank %u: %u local updates of its former process are lost: it rejoins, and round %u "
             "does not close",
             rank, member->held.updates - member->held.from, server->round.number);
    kofn_round_drop(&server->round, rank);
}

/* A handshake has taken too long. */
static void give_up(struct kofn_server *server, struct kofn_guest *guest)
{
    if (guest->welcomed) {
        turn_away(server, guest, KOFN_TIMEOUT, false,
                  "rank %u: it has its slot, and did not answer within %.1f s",
                  guest->hello.hello.rank, (double)answer_ns(server) / 1e9);
        return;
    }
    kofn_log(server->log, KOFN_LOG_INFO, "%s: connected, but did not join within %.0f s; closed",
             guest->name, (double)GUEST_NS / 1e9);
    drop_guest(server, guest);
}

static void look_after(struct kofn_server *server, struct kofn_guest *guest, uint64_t now)
{
    if (guest->greeted && !guest->welcomed) {
        if (now >= guest->deadline || !server->round.available)
            give_up_held(server, guest->hello.hello.rank);
        welcome(server, guest);
    }
    if (guest->connecting)
        connect_guest(server, guest, NULL, now);
    if (!guest->control || now < guest->deadline)
        return;
    if (guest->greeted && !guest->welcomed)
        turn_away(server, guest, KOFN_TIMEOUT, false,
                  "pid %u, which had rank %u before, may still write to its slot",
                  server->peers[guest->hello.hello.rank].pid, guest->hello.hello.rank);
    else
        give_up(server, guest);
}

void kofn__guests_look(struct kofn_server *server, uint64_t now)
{
    bool room = false;

    for (uint32_t i = 0; i < KOFN_GUESTS; i++) {
        if (server->guests[i].control)
            look_after(server, &server->guests[i], now);
        room |= !server->guests[i].control;
    }
    if (room && now >= server->listen_ns)
        listen_for(server, true);
}
