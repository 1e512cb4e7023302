/* guests.c: the listener, and connections on their way to membership: bounded in number and time.
 */
#include "core/server.h"

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
        epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->listener, &event);
    server->listening = guests;
}

int kofn__guests_open(struct kofn_server *server)
{
    int rc;

    for (uint32_t i = 0; i < KOFN_GUESTS; i++)
        server->guests[i].control = -1;
    rc = kofn_channel_listen(server->attr.address, server->address, &server->listener, server->log);
    if (rc)
        return rc;
    if (kofn__admit_watch(server, server->listener, KOFN_WATCHED_LISTENER, 0, EPOLL_CTL_ADD)) {
        rc = kofn_error_errno(server->log, "control channel: epoll");
        close(server->listener);
        return rc;
    }
    server->listening = true;
    return 0;
}

static void hang_up(struct kofn_guest *guest)
{
    if (guest->control >= 0)
        close(guest->control); /* which takes it out of the epoll set */
    guest->control = -1;
}

void kofn__guests_close(struct kofn_server *server)
{
    for (uint32_t i = 0; i < KOFN_GUESTS; i++)
        hang_up(&server->guests[i]);
    close(server->listener);
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
    kofn_log(server->log, KOFN_LOG_WARN, "pid %u may not join: %s", guest->pid,
             message.refused.text);
    kofn_channel_send(guest->control, &message, NULL);
    drop_guest(server, guest);
}

/* Takes in one connection. False if there is none, or none can be taken. */
static bool accept_one(struct kofn_server *server, uint32_t place, uint64_t now)
{
    struct kofn_guest fresh = {.control = -1, .deadline = now + GUEST_NS};
    struct kofn_guest *guest = &server->guests[place];
    int pid, rc = kofn_channel_accept(server->listener, &fresh.control, &pid, server->log);

    if (rc == KOFN_REFUSED)
        return true;
    if (rc && rc != KOFN_AGAIN) { /* it goes on waiting: said once in a while, not at every look */
        listen_for(server, false);
        server->listen_ns = now + REST_NS;
    }
    if (rc)
        return false;
    fresh.pid = (uint32_t)pid;
    *guest = fresh;
    if (kofn__admit_watch(server, guest->control, KOFN_WATCHED_GUEST, place, EPOLL_CTL_ADD))
        drop_guest(server, guest);
    return true;
}

void kofn__guests_accept(struct kofn_server *server, uint64_t now)
{
    for (uint32_t i = 0; i < KOFN_GUESTS; i++)
        if (server->guests[i].control < 0 && !accept_one(server, i, now))
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
    welcome.welcome.worker_may = algorithm->worker_may;
    welcome.welcome.partial = algorithm->partial;
    welcome.welcome.depth = server->hub->slot.depth;
    welcome.welcome.pid = (uint32_t)getpid();
    welcome.offer.length = offer->length;
    memcpy(welcome.offer.bytes, offer->bytes, offer->length);
    memcpy(fds.fds, offer->fds, sizeof(int) * offer->fd_count);
    return kofn_channel_send(guest->control, &welcome, &fds);
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

/* @pid  out: of the process that has it */
static bool rank_taken(const struct kofn_server *server, uint32_t rank, uint32_t *pid)
{
    *pid = server->peers[rank].pid;
    if (kofn_member_connected(&server->round.members[rank]))
        return true;
    for (uint32_t i = 0; i < KOFN_GUESTS; i++) {
        const struct kofn_guest *guest = &server->guests[i];

        *pid = guest->pid;
        if (guest->control >= 0 && guest->greeted && guest->hello.hello.rank == rank)
            return true;
    }
    return false;
}

static void hello(struct kofn_server *server, struct kofn_guest *guest,
                  const struct kofn_wire *message)
{
    uint32_t rank = message->hello.rank, holder;

    if (rank >= server->attr.workers)
        refuse(server, guest, KOFN_INVALID, "rank %u is not below the number of workers, %u", rank,
               server->attr.workers);
    else if (message->hello.parameters != server->attr.parameters)
        refuse(server, guest, KOFN_INVALID, "its model has %llu parameters, the server's has %llu",
               (unsigned long long)message->hello.parameters,
               (unsigned long long)server->attr.parameters);
    else if (rank_taken(server, rank, &holder))
        refuse(server, guest, KOFN_INVALID, "rank %u is taken by pid %u", rank, holder);
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
    kofn__admit_watch(server, peer->control, KOFN_WATCHED_PEER, rank, EPOLL_CTL_MOD);
    kofn_channel_send(peer->control, &go, NULL);
    kofn_log(server->log, KOFN_LOG_INFO, "rank %u (%s, pid %u) has joined", rank, peer->host,
             peer->pid);
}

void kofn__guests_event(struct kofn_server *server, uint32_t index, uint64_t now)
{
    struct kofn_guest *guest = &server->guests[index];
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

static void look_after(struct kofn_server *server, struct kofn_guest *guest, uint64_t now)
{
    if (guest->greeted && !guest->welcomed) {
        if (now >= guest->deadline)
            give_up_held(server, guest->hello.hello.rank);
        welcome(server, guest);
        if (guest->welcomed) /* the rest of the handshake has its own time */
            guest->deadline = now + GUEST_NS;
    }
    if (guest->control < 0 || now < guest->deadline)
        return;
    if (guest->greeted && !guest->welcomed)
        refuse(server, guest, KOFN_TIMEOUT,
               "pid %u, which had rank %u before, may still write to its slot",
               server->peers[guest->hello.hello.rank].pid, guest->hello.hello.rank);
    else
        drop_guest(server, guest);
}

void kofn__guests_look(struct kofn_server *server, uint64_t now)
{
    bool room = false;

    for (uint32_t i = 0; i < KOFN_GUESTS; i++) {
        if (server->guests[i].control >= 0)
            look_after(server, &server->guests[i], now);
        room |= server->guests[i].control < 0;
    }
    if (room && now >= server->listen_ns)
        listen_for(server, true);
}
