#include "core/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define BACKLOG 128
#define RETRY_NS                                                                                   \
    (10 * KOFN_NS_PER_MS) /* between two attempts to reach a server that is not there yet */

static const char scheme[] = "shm:";

void kofn_fds_close(struct kofn_fds *fds)
{
    for (uint32_t i = 0; i < fds->count; i++)
        close(fds->fds[i]);
    fds->count = 0;
}

/* The abstract socket address of "shm:NAME". */
static int socket_address(const char *address, struct sockaddr_un *result, socklen_t *length,
                          const struct kofn_log *log)
{
    const char *name = address + strlen(scheme);
    int used;

    if (strncmp(address, scheme, strlen(scheme)) || !*name || strlen(address) >= KOFN_ADDRESS_BYTES)
        return kofn_error(log, KOFN_INVALID, "address '%.120s' is not of the form shm:NAME",
                          address);
    memset(result, 0, sizeof(*result));
    result->sun_family = AF_UNIX;
    used = snprintf(result->sun_path + 1, sizeof(result->sun_path) - 1, "kofn.%s", name);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)used);
    return 0;
}

int kofn_channel_listen(const char *address, char name[KOFN_ADDRESS_BYTES], int *fd,
                        const struct kofn_log *log)
{
    struct sockaddr_un where;
    char fresh[KOFN_ADDRESS_BYTES];
    socklen_t length;
    int listener, rc;

    if (!address) {
        snprintf(fresh, sizeof(fresh), "%s%ld-%llx", scheme, (long)getpid(),
                 (unsigned long long)kofn_now_ns());
        address = fresh;
    }
    rc = socket_address(address, &where, &length, log);
    if (rc)
        return rc;
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0)
        return kofn_error_errno(log, "control channel: socket");
    if (bind(listener, (struct sockaddr *)&where, length) || listen(listener, BACKLOG)) {
        rc = kofn_error_errno(log, "control channel: cannot listen on %s", address);
        close(listener);
        return rc;
    }
    snprintf(name, KOFN_ADDRESS_BYTES, "%s", address);
    *fd = listener;
    return 0;
}

int kofn_channel_accept(int listener, int *fd, int *pid, const struct kofn_log *log)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (accepted < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        return kofn_error_errno(log, "control channel: a worker cannot be let in");
    if (accepted < 0)
        return KOFN_AGAIN; /* nothing there, or it has hung up already: the next one is as good */
    if (getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &peer, &length) ||
        (peer.uid != geteuid() && peer.uid != 0)) {
        close(accepted);
        return kofn_error(log, KOFN_REFUSED, "a process of another user tried to join; refused");
    }
    *fd = accepted;
    *pid = peer.pid;
    return 0;
}

static int connect_once(const struct sockaddr_un *where, socklen_t length, int *fd)
{
    int tried = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (tried < 0)
        return KOFN_SYSTEM;
    if (connect(tried, (const struct sockaddr *)where, length)) {
        int error = errno;

        close(tried);
        errno = error;
        return error == ECONNREFUSED || error == EAGAIN || error == EINTR ? KOFN_AGAIN
                                                                          : KOFN_SYSTEM;
    }
    *fd = tried;
    return 0;
}

int kofn_channel_connect(const char *address, uint64_t deadline, int *fd,
                         const struct kofn_log *log)
{
    struct timespec pause = {.tv_nsec = RETRY_NS};
    struct sockaddr_un where;
    uint64_t began = kofn_now_ns();
    socklen_t length;
    int rc;

    rc = socket_address(address, &where, &length, log);
    if (rc)
        return rc;
    while ((rc = connect_once(&where, length, fd)) == KOFN_AGAIN) {
        if (kofn_now_ns() >= deadline)
            return kofn_error(log, KOFN_TIMEOUT, "no server at %s for %.1f s", address,
                              (double)(kofn_now_ns() - began) / 1e9);
        nanosleep(&pause, NULL);
    }
    return rc ? kofn_error_errno(log, "cannot connect to %s", address) : 0;
}

int kofn_channel_send(int fd, const struct kofn_wire *message, const struct kofn_fds *fds)
{
    unsigned char bytes[KOFN_WIRE_BYTES];
    union {
        char bytes[CMSG_SPACE(sizeof(int) * KOFN_CHANNEL_FDS)];
        struct cmsghdr align;
    } control;
    struct iovec part = {bytes, kofn_wire_pack(message, bytes)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

    if (fds && fds->count) {
        struct cmsghdr *rights;

        memset(&control, 0, sizeof(control));
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fds->count);
        rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fds->count);
        memcpy(CMSG_DATA(rights), fds->fds, sizeof(int) * fds->count);
    }
    if (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return 0;
    return errno == EAGAIN || errno == EINTR ? KOFN_AGAIN : KOFN_GONE;
}

/* Takes the descriptors out of a received header, never more than there is room for. */
static void take_fds(struct msghdr *header, struct kofn_fds *fds)
{
    fds->count = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        size_t count;

        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            if (fds->count < KOFN_CHANNEL_FDS)
                fds->fds[fds->count++] = fd;
            else
                close(fd);
        }
    }
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

int kofn_channel_receive(int fd, uint64_t deadline, struct kofn_wire *message, struct kofn_fds *fds,
                         const char **reason)
{
    unsigned char
        bytes[KOFN_WIRE_BYTES + 1]; /* one more, so that too long a message is seen as such */
    union {
        char bytes[CMSG_SPACE(sizeof(int) * KOFN_CHANNEL_FDS)];
        struct cmsghdr align;
    } control;
    struct iovec part = {bytes, sizeof(bytes)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control)};
    struct kofn_fds received = {0};
    ssize_t length;
    int rc = wait_readable(fd, deadline);

    if (rc)
        return rc;
    length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 &&
        errno == ECONNRESET) /* it closed with unread mail; what it sent is still here */
        length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0)
        return errno == EAGAIN || errno == EINTR ? KOFN_AGAIN : KOFN_GONE;
    take_fds(&header, &received); /* even an empty message can have some */
    if (header.msg_flags & MSG_CTRUNC) {
        kofn_fds_close(&received);
        *reason = "descriptors that cannot be taken: too many of them, or too many open files";
        return KOFN_PROTOCOL;
    }
    rc = length ? kofn_wire_unpack(bytes, (size_t)length, message, reason) : KOFN_GONE;
    if (!rc && fds)
        *fds = received;
    else
        kofn_fds_close(&received);
    return rc;
}
