/* visitors.c: connections until it is known whose they are. Whoever connects has a few seconds to
 * show the token of an admission; strangers cost a bounded number of descriptors and nothing else.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transports/uring/hub.h"
#include "transports/uring/socket.h"

#define ACCEPTS 256 /* in one go */
#define PAUSE_NS (100 * KOFN_NS_PER_MS)

int kofn__visitors_open(struct kofn__tcp_hub *hub, const char *host,
                        const struct kofn__tcp_options *options)
{
    int rc = kofn__socket_listen(host, &hub->listener, &hub->port, hub->hub.log);

    if (rc)
        return rc;
    kofn__socket_congestion(hub->listener, options->congestion);
    rc = kofn__driver_watch_owner(&hub->driver, KOFN__KEY_LISTENER, hub->listener);
    return rc ? kofn_error(hub->hub.log, rc, "tcp: cannot watch a socket") : 0;
}

/* Forgets a visitor, whose socket is closed or somebody else's from here on. */
static void forget(struct kofn__tcp_hub *hub, struct kofn__visitor *visitor)
{
    kofn__driver_unwatch(&hub->driver, KOFN__KEY_VISITORS + (uint32_t)(visitor - hub->visitors));
    visitor->fd = -1;
    hub->visitor_count--;
}

static void drop(struct kofn__tcp_hub *hub, struct kofn__visitor *visitor)
{
    int fd = visitor->fd;

    forget(hub, visitor);
    shutdown(fd, SHUT_RDWR);
    close(fd);
}

void kofn__visitors_close(struct kofn__tcp_hub *hub)
{
    for (uint32_t i = 0; i < KOFN__VISITORS; i++)
        if (hub->visitors[i].fd >= 0)
            drop(hub, &hub->visitors[i]);
    if (hub->listener < 0)
        return;
    kofn__driver_unwatch(&hub->driver, KOFN__KEY_LISTENER);
    close(hub->listener);
    hub->listener = -1;
}

/* The visitor has shown all of its greeting. */
static void judge(struct kofn__tcp_hub *hub, struct kofn__visitor *visitor)
{
    int fd = visitor->fd;

    if (!kofn__greeting_valid(&visitor->greeting)) {
        hub->strangers++;
        drop(hub, visitor);
        return;
    }
    forget(hub, visitor);
    if (kofn__member_attach(hub, &visitor->greeting, fd))
        return;
    hub->strangers++;
    shutdown(fd, SHUT_RDWR);
    close(fd);
}

/* Not a byte more than the greeting is read: what follows is for the member. */
static void read_greeting(struct kofn__tcp_hub *hub, struct kofn__visitor *visitor)
{
    char *place = (char *)&visitor->greeting + visitor->have;
    ssize_t count =
        recv(visitor->fd, place, sizeof(visitor->greeting) - visitor->have, MSG_DONTWAIT);

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        drop(hub, visitor);
        return;
    }
    visitor->have += (uint32_t)count;
    if (visitor->have == sizeof(visitor->greeting))
        judge(hub, visitor);
}

/* A place for a new visitor; where there is none, that of the one who has waited longest. */
static struct kofn__visitor *place_for_visitor(struct kofn__tcp_hub *hub)
{
    struct kofn__visitor *oldest = &hub->visitors[0];

    for (uint32_t i = 0; i < KOFN__VISITORS; i++) {
        struct kofn__visitor *visitor = &hub->visitors[i];

        if (visitor->fd < 0)
            return visitor;
        if (visitor->deadline < oldest->deadline)
            oldest = visitor;
    }
    hub->strangers++;
    drop(hub, oldest);
    return oldest;
}

static void welcome(struct kofn__tcp_hub *hub, int fd)
{
    struct kofn__visitor *visitor = place_for_visitor(hub);

    kofn__socket_tune(fd, hub->peer_timeout);
    *visitor = (struct kofn__visitor){
        .fd = fd,
        .deadline = kofn_deadline(kofn_now_ns(), KOFN_MIN(KOFN__GREETING_NS, hub->peer_timeout))};
    hub->visitor_count++;
    if (kofn__driver_watch(&hub->driver, KOFN__KEY_VISITORS + (uint32_t)(visitor - hub->visitors),
                           fd, false))
        drop(hub, visitor);
    else
        read_greeting(hub, visitor);
}

/* Without a descriptor the listener would report the same connection without end. */
static void pause_listening(struct kofn__tcp_hub *hub)
{
    kofn__driver_unwatch(&hub->driver, KOFN__KEY_LISTENER);
    hub->paused_ns = kofn_deadline(kofn_now_ns(), PAUSE_NS);
}

static void accept_all(struct kofn__tcp_hub *hub)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd, rc = kofn__socket_accept(hub->listener, &fd);

        if (rc == KOFN_SYSTEM)
            pause_listening(hub);
        if (rc)
            return;
        welcome(hub, fd);
    }
}

void kofn__visitors_ready(struct kofn__tcp_hub *hub, uint32_t key)
{
    if (key == KOFN__KEY_LISTENER)
        accept_all(hub);
    else if (hub->visitors[key - KOFN__KEY_VISITORS].fd >= 0)
        read_greeting(hub, &hub->visitors[key - KOFN__KEY_VISITORS]);
}

void kofn__visitors_expire(struct kofn__tcp_hub *hub, uint64_t now)
{
    for (uint32_t i = 0; i < KOFN__VISITORS && hub->visitor_count; i++)
        if (hub->visitors[i].fd >= 0 && now >= hub->visitors[i].deadline) {
            hub->strangers++;
            drop(hub, &hub->visitors[i]);
        }
    if (hub->paused_ns && now >= hub->paused_ns) {
        hub->paused_ns = 0;
        kofn__driver_watch_owner(&hub->driver, KOFN__KEY_LISTENER, hub->listener);
    }
}
