#include "core/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define RETRY_NS (10 * KOFN_NS_PER_MS) /* between the first attempts to reach a server */
#define RETRY_MAX_NS (500 * KOFN_NS_PER_MS)
#define SAY_NS (3 * KOFN_NS_PER_S) /* a wait that is worth a word */

void kofn_fds_close(struct kofn_fds *fds)
{
    for (uint32_t i = 0; i < fds->count; i++)
        close(fds->fds[i]);
    fds->count = 0;
}

/* ---- listeners ---- */

int kofn_listener_open(const struct kofn_listener_attr *attr, struct kofn_listener *listener)
{
    struct kofn_listener made = {.fd = -1, .silence = attr->silence};
    bool network = attr->address ? kofn_address_network(attr->address) : attr->network;
    int rc;

    if (attr->address && strlen(attr->address) >= KOFN_ADDRESS_BYTES)
        return kofn_error(attr->log, KOFN_INVALID, "address '%.40s...' is too long", attr->address);
    rc = network ? kofn__tcp_listen(attr, &made) : kofn__unix_listen(attr, &made);
    if (!rc)
        *listener = made;
    return rc;
}

void kofn_listener_close(struct kofn_listener *listener)
{
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}

/* Makes a channel of a connected socket, which is closed if that fails. */
static int make_channel(int fd, bool network, uint64_t silence, struct kofn_channel **channel_p,
                        const struct kofn_log *log)
{
    struct kofn_channel *channel = calloc(1, sizeof(*channel));
    int rc;

    if (!channel) {
        close(fd);
        return kofn_error(log, KOFN_NO_MEMORY, "control channel: no memory for a connection");
    }
    channel->fd = fd;
    channel->network = network;
    rc = network ? kofn__tcp_identify(fd, silence, channel) : kofn__unix_identify(fd, channel, log);
    if (rc) {
        kofn_channel_close(channel);
        return rc;
    }
    *channel_p = channel;
    return 0;
}

int kofn_listener_accept(const struct kofn_listener *listener, struct kofn_channel **channel_p,
                         const struct kofn_log *log)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        return kofn_error_errno(log, "control channel: a worker cannot be let in");
    if (fd < 0)
        return KOFN_AGAIN; /* nothing there, or it has hung up already: the next one is as good */
    return make_channel(fd, listener->network, listener->silence, channel_p, log);
}

/* ---- connecting ---- */

/* A little less than @pause at random, so that those who wait for one server do not all come at
 * once. */
static int sleep_for(uint64_t pause, uint64_t now)
{
    uint64_t ns = pause - (now ^ (uint64_t)getpid() * 2654435761u) % (pause / 4);
    struct timespec time = {.tv_sec = 0, .tv_nsec = (long)ns};

    return nanosleep(&time, NULL) ? KOFN_INTERRUPTED : 0;
}

int kofn_channel_connect(const struct kofn_connect_attr *attr, struct kofn_channel **channel_p)
{
    bool network = kofn_address_network(attr->address), said = false;
    kofn__connect *once = network ? kofn__tcp_connect : kofn__unix_connect;
    uint64_t began = kofn_now_ns(), now = began, pause = RETRY_NS;
    const char *why = "";
    int fd, rc;

    while ((rc = once(attr, &fd, &why)) == KOFN_AGAIN || rc == KOFN_GONE) {
        now = kofn_now_ns();
        if (now >= attr->deadline)
            return kofn_error(attr->log, KOFN_TIMEOUT, "no server at %s for %.1f s: %s",
                              attr->address, (double)(now - began) / 1e9, why);
        if (!said && now - began > SAY_NS)
            kofn_log(attr->log, KOFN_LOG_WARN, "no server at %s yet: %s; waiting for it",
                     attr->address, why);
        said |= now - began > SAY_NS;
        if (sleep_for(KOFN_MIN(pause, attr->deadline - now + KOFN_NS_PER_MS), now))
            return KOFN_INTERRUPTED;
        pause = KOFN_MIN(pause + pause / 2, RETRY_MAX_NS);
    }
    if (rc)
        return rc;
    rc = make_channel(fd, network, attr->silence, channel_p, attr->log);
    return rc == KOFN_AGAIN ? kofn_error(attr->log, KOFN_GONE, "%s hung up at once", attr->address)
                            : rc;
}

int kofn_channel_try(const struct kofn_connect_attr *attr, struct kofn_channel **channel_p,
                     const char **why)
{
    bool network = kofn_address_network(attr->address);
    kofn__connect *once = network ? kofn__tcp_connect : kofn__unix_connect;
    int fd, rc = once(attr, &fd, why);

    if (rc)
        return rc;
    *why = "it hung up at once";
    return make_channel(fd, network, attr->silence, channel_p, attr->log);
}

void kofn_channel_close(struct kofn_channel *channel)
{
    if (!channel)
        return;
    close(channel->fd);
    free(channel);
}

/* ---- messages on a stream ---- */

/* Sends what is left of an earlier message. Returns 0, KOFN_AGAIN, KOFN_GONE. */
static int flush(struct kofn_channel *channel)
{
    while (channel->out_left) {
        const unsigned char *from = channel->out + channel->out_length - channel->out_left;
        ssize_t n = send(channel->fd, from, channel->out_left, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return KOFN_AGAIN;
        if (n < 0) {
            channel->error = channel->error ? channel->error : errno;
            return KOFN_GONE;
        }
        channel->out_left -= (uint32_t)n;
    }
    return 0;
}

static int send_frame(struct kofn_channel *channel, const struct kofn_wire *message)
{
    int rc = flush(channel);

    if (rc)
        return rc;
    channel->out_length = channel->out_left = (uint32_t)kofn_frame_pack(message, channel->out);
    rc = flush(channel);
    if (rc != KOFN_AGAIN)
        return rc;
    if (channel->out_left < channel->out_length)
        return 0; /* it has begun: the rest goes out before anything else */
    channel->out_left = 0;
    return KOFN_AGAIN;
}

/* How a connection has come to its end, for @error of the network; 0, and what sending to one that
 * has been closed says, are an end in order.
 */
static const char *text_of_end(int error)
{
    switch (error) {
    case 0:
    case EPIPE:
        return "its process has ended, or closed its connection";
    case ETIMEDOUT:
        return "its host does not answer any more";
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
        return "its host cannot be reached any more";
    case ECONNRESET:
        return "its connection was reset";
    default:
        return "its connection has failed";
    }
}

/* A kernel tells an error once, to whoever asks first: if a send has been told of it, nothing but
 * the end is left to be received.
 */
static int end(struct kofn_channel *channel, int error, const char **reason)
{
    error = error ? error : channel->error;
    *reason = text_of_end(error);
    channel->ended = !error || error == EPIPE;
    return KOFN_GONE;
}

static int receive_frame(struct kofn_channel *channel, struct kofn_wire *message,
                         const char **reason)
{
    struct kofn_frame *frame = &channel->in;
    int wanted;

    while ((wanted = kofn_frame_wanted(frame)) > 0) {
        ssize_t n = recv(channel->fd, frame->bytes + frame->filled, (size_t)wanted, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return KOFN_AGAIN;
        if (n <= 0)
            return end(channel, n ? errno : 0, reason);
        frame->filled += (uint32_t)n;
    }
    *reason = "not a message of kofn";
    return wanted ? KOFN_PROTOCOL : kofn_frame_take(frame, message, reason);
}

/* ---- messages ---- */

int kofn_channel_send(struct kofn_channel *channel, const struct kofn_wire *message,
                      const struct kofn_fds *fds)
{
    if (!channel->network)
        return kofn__unix_send(channel->fd, message, fds);
    return fds && fds->count ? KOFN_UNSUPPORTED : send_frame(channel, message);
}

static int wait_readable(int fd, uint64_t deadline)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    uint64_t now = kofn_now_ns();
    int ms = 0, rc;

    if (deadline > now)
        ms = (int)KOFN_MIN((deadline - now) / KOFN_NS_PER_MS + 1, (uint64_t)INT32_MAX);
    rc = poll(&waiting, 1, ms);
    if (rc < 0)
        return errno == EINTR ? KOFN_INTERRUPTED : KOFN_GONE;
    return rc ? 0 : KOFN_AGAIN;
}

int kofn_channel_receive(struct kofn_channel *channel, uint64_t deadline, struct kofn_wire *message,
                         struct kofn_fds *fds, const char **reason)
{
    int rc = deadline ? wait_readable(channel->fd, deadline) : 0;

    *reason = "its connection has failed";
    if (rc)
        return rc;
    if (fds)
        fds->count = 0;
    return channel->network ? receive_frame(channel, message, reason)
                            : kofn__unix_receive(channel->fd, message, fds, reason);
}

void kofn_channel_finish(struct kofn_channel *channel, uint64_t deadline)
{
    struct kofn_wire message;
    const char *reason;
    int rc;

    if (!channel->network || shutdown(channel->fd, SHUT_WR))
        return; /* what was sent on this host has arrived */
    do
        rc = kofn_channel_receive(channel, deadline, &message, NULL, &reason);
    while ((!rc || rc == KOFN_INTERRUPTED || rc == KOFN_AGAIN) && kofn_now_ns() < deadline);
}
