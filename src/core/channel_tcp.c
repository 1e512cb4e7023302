/* channel_tcp.c: the control channel between hosts: TCP, whose kernels find out by themselves that
 * the other one does not answer any more. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/channel.h"

#define BACKLOG 1024
#define PROBES 3                   /* of a silent connection, at least, until it has failed */
#define PROBE_S UINT64_C(2)        /* between them at most: the other side may know of its end */
#define TRY_NS (3 * KOFN_NS_PER_S) /* for one address of a name that has several */

/* ---- what both sides set ---- */

static void set(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value)); /* what cannot be set is the system's */
}

/* The connection fails when the other host has not answered for @silence: what was sent is not
 * acknowledged for that long, or, where nothing is sent, neither are probes.
 */
static void set_options(int fd, uint64_t silence)
{
    int seconds =
        (int)KOFN_MIN(KOFN_MAX(silence / (PROBES + 1) / KOFN_NS_PER_S, UINT64_C(1)), PROBE_S);

    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES); /* where there is no time-out of the user's */
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
        (int)KOFN_MIN(silence / KOFN_NS_PER_MS, (uint64_t)INT32_MAX));
}

int kofn__tcp_identify(int fd, uint64_t silence, struct kofn_channel *channel)
{
    struct sockaddr_storage local, peer;
    socklen_t local_bytes = sizeof(local), peer_bytes = sizeof(peer);

    if (getsockname(fd, (struct sockaddr *)&local, &local_bytes) ||
        getpeername(fd, (struct sockaddr *)&peer, &peer_bytes))
        return KOFN_AGAIN; /* it has hung up already */
    kofn__tcp_host((struct sockaddr *)&local, channel->path.local);
    kofn__tcp_host((struct sockaddr *)&peer, channel->path.peer);
    set_options(fd, silence);
    return 0;
}

/* ---- the server ---- */

/* Listens on @info's address. Returns the descriptor, or -1 and errno. */
static int listen_on(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    int error;

    if (fd < 0)
        return -1;
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* connections of the last job may still be ending */
    if (info->ai_family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !kofn__tcp_wildcard(info->ai_addr));
    if (!bind(fd, info->ai_addr, info->ai_addrlen) && !listen(fd, BACKLOG))
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* IPv6 first where all addresses are meant: such a socket serves IPv4, too. */
static int listen_on_first(const struct addrinfo *list, bool all)
{
    int fd = -1;

    for (int pass = all ? 0 : 1; pass < 2 && fd < 0; pass++)
        for (const struct addrinfo *info = list; info && fd < 0; info = info->ai_next)
            if (pass || info->ai_family == AF_INET6)
                fd = listen_on(info);
    return fd;
}

/* May everybody who can reach @list's addresses join? */
static int check_reach(const struct kofn_listener_attr *attr, const struct addrinfo *list)
{
    for (const struct addrinfo *info = list; info; info = info->ai_next)
        if (!attr->insecure && !kofn__tcp_loopback(info->ai_addr))
            return kofn_error(attr->log, KOFN_INVALID,
                              "%s can be reached from other hosts, and whoever connects can join: "
                              "nothing is authenticated yet; say --insecure if you trust that "
                              "network",
                              attr->address);
    return 0;
}

static int look_up(const struct kofn_listener_attr *attr, const struct kofn_tcp_name *name,
                   struct addrinfo **list)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int error = getaddrinfo(*name->host ? name->host : NULL, name->port, &hints, list);

    if (!error)
        return 0;
    return kofn_error(attr->log, error == EAI_SYSTEM ? KOFN_SYSTEM : KOFN_INVALID,
                      "cannot listen on %s: %s", attr->address, gai_strerror(error));
}

int kofn__tcp_listen(const struct kofn_listener_attr *attr, struct kofn_listener *listener)
{
    struct kofn_listener_attr given = *attr;
    struct sockaddr_storage where;
    socklen_t bytes = sizeof(where);
    struct kofn_tcp_name name;
    struct addrinfo *list;
    int rc;

    given.address = attr->address ? attr->address : "tcp:127.0.0.1:0";
    rc = kofn__tcp_parse(given.address, &name, attr->log);
    rc = rc ? rc : look_up(&given, &name, &list);
    if (rc)
        return rc;
    rc = check_reach(&given, list);
    if (!rc) {
        listener->fd = listen_on_first(list, !*name.host);
        if (listener->fd < 0 || getsockname(listener->fd, (struct sockaddr *)&where, &bytes))
            rc = kofn_error_errno(attr->log, "control channel: cannot listen on %s", given.address);
    }
    freeaddrinfo(list);
    if (rc) {
        kofn_listener_close(listener);
        return rc;
    }
    listener->network = true;
    kofn__tcp_public((struct sockaddr *)&where, listener->address);
    if (!kofn__tcp_wildcard((struct sockaddr *)&where))
        kofn__tcp_host((struct sockaddr *)&where, listener->host);
    return 0;
}

/* ---- the worker ---- */

/* Waits for the end of a connect() that has begun. Returns its errno; EINTR after a signal. */
static int wait_connected(int fd, uint64_t until)
{
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    uint64_t now = kofn_now_ns(), left = until > now ? until - now : 0;
    socklen_t bytes = sizeof(int);
    int error = 0, n;

    n = poll(&waiting, 1, (int)KOFN_MIN(left / KOFN_NS_PER_MS + (left > 0), (uint64_t)INT32_MAX));
    if (!n)
        return ETIMEDOUT;
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes))
        return errno;
    return error;
}

/* A port of this host that nobody listens on can connect to itself, if the kernel happens to choose
 * it for the other end as well. */
static bool own_echo(int fd)
{
    struct sockaddr_storage local = {0}, peer = {0};
    socklen_t local_bytes = sizeof(local), peer_bytes = sizeof(peer);
    char here[KOFN_HOST_BYTES], there[KOFN_HOST_BYTES];

    if (getsockname(fd, (struct sockaddr *)&local, &local_bytes) ||
        getpeername(fd, (struct sockaddr *)&peer, &peer_bytes))
        return false;
    kofn__tcp_host((struct sockaddr *)&local, here);
    kofn__tcp_host((struct sockaddr *)&peer, there);
    return !strcmp(here, there) &&
           kofn__tcp_port((struct sockaddr *)&local) == kofn__tcp_port((struct sockaddr *)&peer);
}

/* Connects to one address. Returns 0 or an errno. */
static int try_address(const struct addrinfo *info, uint64_t until, int *fd)
{
    int tried = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    int error;

    if (tried < 0)
        return errno;
    error = connect(tried, info->ai_addr, info->ai_addrlen) ? errno : 0;
    if (error == EINPROGRESS || error == EINTR)
        error = wait_connected(tried, until);
    if (!error && own_echo(tried))
        error = ECONNREFUSED;
    if (error)
        close(tried);
    else
        *fd = tried;
    return error;
}

/* Can @error be over later: is it the other side's, or the network's? */
static bool may_pass(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL: /* no route from here, or all ports are taken: for now */
    case EAGAIN:
        return true;
    default:
        return false;
    }
}

int kofn__tcp_connect(const struct kofn_connect_attr *attr, int *fd, const char **why)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct kofn_tcp_name name;
    struct addrinfo *list;
    bool refused = true; /* by all of its addresses */
    int error = 0, rc = kofn__tcp_parse(attr->address, &name, attr->log);

    if (rc)
        return rc;
    rc = getaddrinfo(*name.host ? name.host : NULL, name.port, &hints, &list);
    if (rc == EAI_AGAIN || rc == EAI_NONAME) { /* names of hosts can come up later, too */
        *why = gai_strerror(rc);
        return KOFN_AGAIN;
    }
    if (rc)
        return kofn_error(attr->log, KOFN_INVALID, "cannot connect to %s: %s", attr->address,
                          gai_strerror(rc));
    for (const struct addrinfo *info = list; info; info = info->ai_next) {
        uint64_t until = info->ai_next ? kofn_deadline(kofn_now_ns(), TRY_NS) : attr->deadline;

        error = try_address(info, KOFN_MIN(until, attr->deadline), fd);
        if (!error || error == EINTR)
            break;
        refused &= error == ECONNREFUSED;
    }
    freeaddrinfo(list);
    if (!error)
        return 0;
    if (error == EINTR)
        return KOFN_INTERRUPTED;
    errno = error;
    if (!may_pass(error))
        return kofn_error_errno(attr->log, "cannot connect to %s", attr->address);
    *why = strerror(error);
    return refused ? KOFN_GONE : KOFN_AGAIN;
}
