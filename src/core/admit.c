/* admit.c: how workers become members, how their end is noticed, and when their memory may be used
 * again. */
#include "core/server.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GUEST_NS (5 * KOFN_NS_PER_S) /* how long a handshake may take */
#define ALIVE_NS KOFN_NS_PER_S       /* how often workers are told that the server lives */
#define EVENTS 64

/* What an epoll event belongs to: a kind and an index in one word. */
enum watched { WATCH_LISTENER, WATCH_GUEST, WATCH_PEER };

static uint64_t watch_key(enum watched kind, uint32_t index)
{
    return (uint64_t)kind << 32 | index;
}

static int watch(struct kofn_server *server, int fd, enum watched kind, uint32_t index,
                 int operation)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = watch_key(kind, index)};

    return epoll_ctl(server->epoll, operation, fd, &event);
}

int kofn__admit_open(struct kofn_server *server)
{
    int rc;

    for (int i = 0; i < (int)KOFN_GUESTS; i++)
        server->guests[i].control = -1;
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        return kofn_error_errno(server->log, "control channel: epoll");
    rc = kofn_channel_listen(server->attr.address, server->address, &server->listener, server->log);
    if (rc)
        goto close_epoll;
    if (watch(server, server->listener, WATCH_LISTENER, 0, EPOLL_CTL_ADD)) {
        rc = kofn_error_errno(server->log, "control channel: epoll");
        goto close_listener;
    }
    return 0;

close_listener:
    close(server->listener);
close_epoll:
    close(server->epoll);
    return rc;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void kofn__admit_close(struct kofn_server *server)
{
    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        close_fd(&server->peers[rank].control);
        close_fd(&server->peers[rank].pidfd);
    }
    for (uint32_t i = 0; i < KOFN_GUESTS; i++)
        close_fd(&server->guests[i].control);
    close(server->listener);
    close(server->epoll);
}

/* Can nothing be written to the member's slot any more? */
static bool process_ended(const struct kofn_peer *peer)
{
    struct pollfd process = {.fd = peer->pidfd, .events = POLLIN};

    if (peer->left || peer->pidfd < 0)
        return true; /* it has unmapped its slot itself, or had ended before it could be watched */
    return poll(&process, 1, 0) == 1;
}

/* ---- guests: connections on their way to membership ---- */

/* Ends a connection that was not a member yet; the slot it may have got is free again. */
static void drop_guest(struct kofn_server *server, struct kofn_guest *guest)
{
    uint32_t rank = guest->hello.hello.rank;

    if (guest->welcomed) {
        server->hub->ops->hub_evict(server->hub, rank);
        server->peers[rank].evicted = true;
    }
    close_fd(&guest->control); /* closing takes it out of the epoll set */
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
    kofn_log(server->log, KOFN_LOG_WARN, "pid %u may not join: %s", guest->pid,
             message.refused.text);
    kofn_channel_send(guest->control, &message, NULL);
    drop_guest(server, guest);
}

static void accept_guests(struct kofn_server *server, uint64_t now)
{
    for (uint32_t i = 0; i < KOFN_GUESTS; i++) {
        struct kofn_guest *guest = &server->guests[i];
        int pid;

        if (guest->control >= 0)
            continue;
        memset(guest, 0, sizeof(*guest));
        guest->control = -1;
        if (kofn_channel_accept(server->listener, &guest->control, &pid, server->log))
            return;
        guest->pid = (uint32_t)pid;
        guest->deadline = now + GUEST_NS;
        if (watch(server, guest->control, WATCH_GUEST, i, EPOLL_CTL_ADD))
            drop_guest(server, guest);
    }
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
    close_fd(&peer->control);
    close_fd(&peer->pidfd);
    return true;
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
    welcome.welcome.worker_may = algorithm->worker_may;
    welcome.welcome.partial = algorithm->partial;
    welcome.welcome.depth = server->hub->slot.depth;
    welcome.welcome.pid = (uint32_t)getpid();
    welcome.offer.length = offer->length;
    memcpy(welcome.offer.bytes, offer->bytes, offer->length);
    memcpy(fds.fds, offer->fds, sizeof(int) * offer->fd_count);
    return kofn_channel_send(guest->control, &welcome, &fds);
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
    peer->evicted = peer->left = false;
    peer->sequence = peer->released = peer->pushed = 0;
    peer->pid = pid;
    peer->refusals = 0;
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
    kofn_round_join(&server->round, rank, peer->epoch, now);
    peer->announced = KOFN_MEMBER_JOINING;
    kofn__serve_gate(server, rank);
    return 0;
}

/* A guest that has said who it is gets its slot, as soon as the rank's former one is free. */
static void welcome(struct kofn_server *server, struct kofn_guest *guest)
{
    uint32_t rank = guest->hello.hello.rank;
    struct kofn_offer offer = {0};
    struct kofn_fds fds = {0};
    int rc = kofn__admit_seat(server, rank, guest->pid, guest->hello.hello.host, &offer);

    if (rc == KOFN_AGAIN)
        return;
    if (rc) {
        refuse(server, guest, rc, "no slot for rank %u: %s", rank, kofn_status_text(rc));
        return;
    }
    guest->welcomed = true;
    rc = send_welcome(server, guest, server->peers[rank].epoch, &offer);
    fds.count = offer.fd_count;
    memcpy(fds.fds, offer.fds, sizeof(int) * offer.fd_count);
    kofn_fds_close(&fds);
    if (rc) /* it has hung up: its end will be seen on its channel */
        kofn_log(server->log, KOFN_LOG_INFO, "pid %u hung up while it joined as rank %u",
                 guest->pid, rank);
}

static bool rank_taken(const struct kofn_server *server, uint32_t rank)
{
    if (kofn_member_connected(&server->round.members[rank]))
        return true;
    for (uint32_t i = 0; i < KOFN_GUESTS; i++)
        if (server->guests[i].control >= 0 && server->guests[i].greeted &&
            server->guests[i].hello.hello.rank == rank)
            return true;
    return false;
}

static void hello(struct kofn_server *server, struct kofn_guest *guest,
                  const struct kofn_wire *message)
{
    uint32_t rank = message->hello.rank;

    if (rank >= server->attr.workers)
        refuse(server, guest, KOFN_INVALID, "rank %u is not below the number of workers, %u", rank,
               server->attr.workers);
    else if (message->hello.parameters != server->attr.parameters)
        refuse(server, guest, KOFN_INVALID, "its model has %llu parameters, the server's has %llu",
               (unsigned long long)message->hello.parameters,
               (unsigned long long)server->attr.parameters);
    else if (rank_taken(server, rank))
        refuse(server, guest, KOFN_INVALID, "rank %u is taken by pid %u", rank,
               server->peers[rank].pid);
    else {
        guest->hello = *message;
        guest->greeted = true;
        welcome(server, guest);
    }
}

/* The guest has its slot and has answered: it is a member from here on. */
static void ready(struct kofn_server *server, struct kofn_guest *guest,
                  const struct kofn_wire *message, struct kofn_fds *fds, uint64_t now)
{
    uint32_t rank = guest->hello.hello.rank;
    struct kofn_peer *peer = &server->peers[rank];
    struct kofn_offer offer = {.length = message->offer.length, .fd_count = fds->count};
    struct kofn_wire go = {.type = KOFN_WIRE_GO};

    memcpy(offer.bytes, message->offer.bytes, message->offer.length);
    memcpy(offer.fds, fds->fds, sizeof(int) * fds->count);
    fds->count = 0; /* the hub owns them now */
    if (kofn__admit_member(server, rank, &offer, now)) {
        refuse(server, guest, KOFN_PROTOCOL, "rank %u: its end of the transport cannot be used",
               rank);
        return;
    }
    peer->control = guest->control;
    guest->control = -1;
    peer->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)guest->pid, 0);
    watch(server, peer->control, WATCH_PEER, rank, EPOLL_CTL_MOD);
    kofn_channel_send(peer->control, &go, NULL);
    kofn_log(server->log, KOFN_LOG_INFO, "rank %u (%s, pid %u) has joined", rank, peer->host,
             peer->pid);
}

static void guest_event(struct kofn_server *server, struct kofn_guest *guest, uint64_t now)
{
    struct kofn_wire message;
    struct kofn_fds fds = {0};
    const char *reason;
    int rc;

    if (guest->control < 0)
        return;
    rc = kofn_channel_receive(guest->control, 0, &message, &fds, &reason);
    if (rc == KOFN_AGAIN || rc == KOFN_INTERRUPTED)
        return;
    if (rc == KOFN_PROTOCOL)
        refuse(server, guest, rc, "it sent %s", reason);
    else if (rc)
        drop_guest(server, guest);
    else if (!guest->greeted && message.type == KOFN_WIRE_HELLO)
        hello(server, guest, &message);
    else if (guest->welcomed && message.type == KOFN_WIRE_READY)
        ready(server, guest, &message, &fds, now);
    else
        refuse(server, guest, KOFN_PROTOCOL, "its message is out of turn");
    kofn_fds_close(&fds);
}

/* A rank's former member is gone and still holds a publication: the guest can have the slot when
 * the round has closed. It waits for that as long as a handshake may take; a round that does not
 * close meanwhile may be waiting for nobody but the guest.
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

static void look_after_guests(struct kofn_server *server, uint64_t now)
{
    for (uint32_t i = 0; i < KOFN_GUESTS; i++) {
        struct kofn_guest *guest = &server->guests[i];

        if (guest->control < 0)
            continue;
        if (guest->greeted && !guest->welcomed) {
            if (now >= guest->deadline)
                give_up_held(server, guest->hello.hello.rank);
            welcome(server, guest);
            if (guest->welcomed) /* the rest of the handshake has its own time */
                guest->deadline = now + GUEST_NS;
        }
        if (guest->control < 0 || now < guest->deadline)
            continue;
        if (guest->greeted && !guest->welcomed)
            refuse(server, guest, KOFN_TIMEOUT,
                   "pid %u, which had rank %u before, may still write to its slot",
                   server->peers[guest->hello.hello.rank].pid, guest->hello.hello.rank);
        else
            drop_guest(server, guest);
    }
}

/* ---- members ---- */

static void take_out(struct kofn_server *server, uint32_t rank, uint64_t total)
{
    struct kofn_peer *peer = &server->peers[rank];

    kofn_round_leave(&server->round, rank, peer->left, total, kofn_now_ns());
    server->hub->ops->hub_evict(server->hub, rank);
    peer->evicted = true;
}

/* What arrived before the end is still taken in: it is complete, and its writer cannot send it
 * again. */
static void drain(struct kofn_server *server)
{
    while (kofn__serve_arrivals(server)) {
    }
}

void kofn__admit_gone(struct kofn_server *server, uint32_t rank, const char *why)
{
    struct kofn_peer *peer = &server->peers[rank];

    if (!peer->admitted || peer->evicted)
        return;
    take_out(server, rank, 0);
    peer->announced = KOFN_MEMBER_GONE;
    kofn_log(server->log, KOFN_LOG_WARN,
             "rank %u (%s, pid %u): gone in round %u: %s; going on without it (K = %u of %u left)",
             rank, peer->host, peer->pid, server->round.number, why,
             KOFN_MIN(server->round.config.wait_for, server->round.available),
             server->round.available);
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
}

static void member_leaves(struct kofn_server *server, uint32_t rank, uint64_t finished)
{
    struct kofn_peer *peer = &server->peers[rank];

    if (!peer->evicted)
        drain(server);
    peer->left = true; /* it writes no more, evicted or not: its rank can be given again */
    if (peer->evicted)
        return;
    take_out(server, rank, finished);
    kofn_log(server->log, KOFN_LOG_INFO, "rank %u (pid %u) has left", rank, peer->pid);
}

static void peer_event(struct kofn_server *server, uint32_t rank)
{
    struct kofn_peer *peer = &server->peers[rank];
    struct kofn_wire message;
    const char *reason = "";
    int rc;

    if (peer->control < 0)
        return;
    rc = kofn_channel_receive(peer->control, 0, &message, NULL, &reason);
    if (rc == KOFN_AGAIN || rc == KOFN_INTERRUPTED)
        return;
    if (!rc && message.type == KOFN_WIRE_BYE) {
        member_leaves(server, rank, KOFN_MIN(message.bye.finished, UINT32_MAX));
        return;
    }
    drain(server);
    kofn__admit_gone(server, rank,
                     rc == KOFN_GONE ? "its process has ended, or closed its connection"
                     : rc            ? reason
                                     : "it sent a message out of turn");
    close_fd(&peer->control); /* closing takes it out of the epoll set */
}

static void say_alive(struct kofn_server *server, uint64_t now)
{
    struct kofn_wire alive = {.type = KOFN_WIRE_ALIVE};

    if (now < server->alive_ns)
        return;
    server->alive_ns = now + ALIVE_NS;
    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        if (server->peers[rank].control >= 0)
            kofn_channel_send(server->peers[rank].control, &alive,
                              NULL); /* one that sleeps gets fewer */
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

        switch ((enum watched)(events[i].data.u64 >> 32)) {
        case WATCH_LISTENER:
            accept_guests(server, now);
            break;
        case WATCH_GUEST:
            guest_event(server, &server->guests[index], now);
            break;
        case WATCH_PEER:
            peer_event(server, index);
            break;
        }
    }
    look_after_guests(server, now);
    say_alive(server, now);
    return count < 0 ? KOFN_INTERRUPTED : 0;
}
