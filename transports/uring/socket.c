#include "transports/uring/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/interface.h"
#include "base/log.h"

#define BACKLOG 4096 /* a thousand workers may come at the same moment; the kernel caps it */
#define DISCARD 65536
#define DISCARDS 64 /* of a peer that goes on sending no more is read at the end */
#define DRAIN_STEP (KOFN_NS_PER_MS)

static bool wildcard(const char *host)
{
    return !host || !*host || !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
}

/* Fills @address from a number; KOFN_INVALID if it is none. */
static int resolve(const char *host, uint16_t port, struct sockaddr_storage *address,
                   socklen_t *length)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *found;
    char service[8];

    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &hints, &found))
        return KOFN_INVALID;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Binds and listens; -1 with errno set if that cannot be. */
static int listen_on(const struct sockaddr_storage *address, socklen_t length)
{
    int fd = new_socket(address->ss_family), zero = 0, error;

    if (fd < 0)
        return -1;
    if (address->ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (!bind(fd, (const struct sockaddr *)address, length) && !listen(fd, BACKLOG))
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)address)->sin_port);
}

int kofn__socket_listen(const char *host, int *fd, uint16_t *port, const struct kofn_log *log)
{
    bool all = wildcard(host);
    struct sockaddr_storage address;
    socklen_t length;
    int listener;

    if (resolve(all ? "::" : host, 0, &address, &length))
        return kofn_error(log, KOFN_INVALID, "tcp: cannot listen on '%s': not the number of a host",
                          host);
    listener = listen_on(&address, length);
    if (listener < 0 && all && !resolve("0.0.0.0", 0, &address, &length))
        listener = listen_on(&address, length); /* a host without IPv6 */
    if (listener < 0)
        return kofn_error_errno(log, "tcp: cannot listen on %s", all ? "any address" : host);
    length = sizeof(address);
    if (getsockname(listener, (struct sockaddr *)&address, &length)) {
        int rc = kofn_error_errno(log, "tcp: getsockname");

        close(listener);
        return rc;
    }
    *port = port_of(&address);
    *fd = listener;
    return 0;
}

int kofn__socket_accept(int listener, int *fd)
{
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (accepted >= 0) {
        *fd = accepted;
        return 0;
    }
    return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM ? KOFN_SYSTEM
                                                                                     : KOFN_AGAIN;
}

/* Sleeps until @fd has one of @events, at most until @deadline. */
static bool await(int fd, short events, uint64_t deadline)
{
    struct pollfd waiting = {.fd = fd, .events = events};
    uint64_t now;

    while ((now = kofn_now_ns()) < deadline) {
        uint64_t ms = (deadline - now) / KOFN_NS_PER_MS + 1;
        int rc = poll(&waiting, 1, (int)KOFN_MIN(ms, (uint64_t)INT32_MAX));

        if (rc > 0)
            return true;
        if (rc < 0 && errno != EINTR)
            return false;
    }
    return false;
}

/* The outcome of a connect() that was under way: 0 or an errno. */
static int finish_connect(int fd, uint64_t deadline)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (!await(fd, POLLOUT, deadline))
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) ? errno : error;
}

/* Lets what @fd connects to see the address of @interface. */
static int come_from(int fd, const char *interface, const struct sockaddr_storage *to,
                     const struct kofn_log *log)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)to;
    enum kofn_interface_kind kind = to->ss_family == AF_INET                ? KOFN_INTERFACE_IPV4
                                    : IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) ? KOFN_INTERFACE_LINK
                                                                            : KOFN_INTERFACE_IPV6;
    struct sockaddr_storage own;
    char host[KOFN_HOST_BYTES];
    socklen_t length;
    int rc;

    if (!*interface)
        return 0;
    rc = kofn_interface_host(interface, kind, host, sizeof(host), "tcp", log);
    if (rc)
        return rc;
    if (resolve(host, 0, &own, &length) || bind(fd, (struct sockaddr *)&own, length))
        return kofn_error_errno(log, "tcp: interface=%s: bind to %s", interface, host);
    return 0;
}

int kofn__socket_connect(const char *host, uint16_t port, const char *interface, uint64_t deadline,
                         int *fd, const struct kofn_log *log)
{
    struct sockaddr_storage address;
    socklen_t length;
    int tried, rc, error = 0;

    if (resolve(host, port, &address, &length))
        return kofn_error(log, KOFN_INVALID, "tcp: '%s' is not the number of a host", host);
    tried = new_socket(address.ss_family);
    if (tried < 0)
        return kofn_error_errno(log, "tcp: socket");
    rc = come_from(tried, interface, &address, log);
    if (rc) {
        close(tried);
        return rc;
    }
    if (connect(tried, (struct sockaddr *)&address, length))
        error = errno == EINPROGRESS || errno == EINTR ? finish_connect(tried, deadline) : errno;
    if (error) {
        close(tried);
        errno = error;
        kofn_error_errno(log, "tcp: cannot connect to %s port %u", host, port);
        return error == ETIMEDOUT ? KOFN_TIMEOUT : KOFN_SYSTEM;
    }
    *fd = tried;
    return 0;
}

static int set_congestion(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
}

void kofn__socket_congestion(int fd, const char *name)
{
    if (*name)
        set_congestion(fd, name); /* it has been tried */
}

/* Those that this process may choose; "" if the system does not say. */
static void read_choices(char *names, size_t room)
{
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "r");

    names[0] = 0;
    if (!file)
        return;
    if (fgets(names, (int)room, file))
        names[strcspn(names, "\n")] = 0;
    fclose(file);
}

int kofn__socket_congestion_allowed(const char *name, const struct kofn_log *log)
{
    int fd = new_socket(AF_INET), refused;
    char names[256];

    if (fd < 0)
        return kofn_error_errno(log, "tcp: socket");
    refused = set_congestion(fd, name);
    close(fd);
    if (!refused)
        return 0;
    read_choices(names, sizeof(names));
    return kofn_error(log, KOFN_UNSUPPORTED,
                      "tcp: congestion=%s: this host does not have it, or does not permit it; "
                      "there are: %s",
                      name, names);
}

void kofn__socket_tune(int fd, uint64_t peer_timeout)
{
    unsigned ms = (unsigned)KOFN_MIN(peer_timeout / KOFN_NS_PER_MS, (uint64_t)INT32_MAX);
    int on = 1, idle = (int)KOFN_MAX(ms / 2000, 1u), interval = (int)KOFN_MAX(ms / 6000, 1u);
    int probes = KOFN_MAX(((int)(ms / 1000) - idle) / interval, 2); /* any may be lost */

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!ms)
        return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* Where the other side has no room, nothing is under way but probes, which its kernel answers. What
 * has not been sent again yet is merely new: after a silence in which there was nothing to say.
 */
bool kofn__socket_lost(int fd, uint64_t peer_timeout, bool *under_way)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length))
        return false;
    *under_way = info.tcpi_unacked || info.tcpi_notsent_bytes;
    return info.tcpi_unacked && info.tcpi_retransmits &&
           info.tcpi_last_ack_recv * KOFN_NS_PER_MS >= peer_timeout;
}

void kofn__socket_name(int fd, char name[KOFN__SOCKET_NAME])
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[KOFN_HOST_BYTES], port[8];

    if (getpeername(fd, (struct sockaddr *)&address, &length) ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(name, KOFN__SOCKET_NAME, "unknown");
    else
        snprintf(name, KOFN__SOCKET_NAME, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int kofn__socket_send_all(int fd, const void *bytes, size_t count, uint64_t deadline)
{
    const char *at = bytes;

    while (count) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent >= 0) {
            at += sent;
            count -= (size_t)sent;
        } else if (errno != EAGAIN && errno != EINTR) {
            return KOFN_GONE;
        } else if (!await(fd, POLLOUT, deadline)) {
            return KOFN_TIMEOUT;
        }
    }
    return 0;
}

void kofn__socket_close(int fd)
{
    char discarded[DISCARD];

    for (int i = 0; i < DISCARDS; i++)
        if (recv(fd, discarded, sizeof(discarded), MSG_DONTWAIT) <= 0)
            break;
    shutdown(fd, SHUT_RDWR); /* whoever else has inherited the descriptor: it is over */
    close(fd);
}

void kofn__socket_drain(int fd, uint64_t deadline)
{
    struct timespec step = {.tv_nsec = DRAIN_STEP};
    int unsent = 0;

    while (!ioctl(fd, SIOCOUTQ, &unsent) && unsent > 0 && kofn_now_ns() < deadline)
        nanosleep(&step, NULL);
}
