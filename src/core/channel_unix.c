/* channel_unix.c: the control channel between processes of one host: a Unix socket of packets, in
 * the abstract namespace. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/channel.h"

#define BACKLOG 128

static const char scheme[] = "shm:";

/* The abstract socket address of "shm:NAME". */
static int socket_address(const char *address, struct sockaddr_un *result, socklen_t *length,
                          const struct kofn_log *log)
{
    const char *name = address + strlen(scheme);
    int used;

    memset(result, 0, sizeof(*result));
    result->sun_family = AF_UNIX;
    used = strncmp(address, scheme, strlen(scheme)) || !*name
               ? -1
               : snprintf(result->sun_path + 1, sizeof(result->sun_path) - 1, "kofn.%s", name);
    if (used < 0 || used >= (int)sizeof(result->sun_path) - 1)
        return kofn_error(log, KOFN_INVALID,
                          "address '%.120s' is not of the form shm:NAME or tcp:HOST:PORT", address);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)used);
    return 0;
}

int kofn__unix_listen(const struct kofn_listener_attr *attr, struct kofn_listener *listener)
{
    struct sockaddr_un where;
    socklen_t length;
    int fd, rc;

    if (attr->address)
        snprintf(listener->address, KOFN_ADDRESS_BYTES, "%s", attr->address);
    else
        snprintf(listener->address, KOFN_ADDRESS_BYTES, "%s%ld-%llx", scheme, (long)getpid(),
                 (unsigned long long)kofn_now_ns());
    rc = socket_address(listener->address, &where, &length, attr->log);
    if (rc)
        return rc;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return kofn_error_errno(attr->log, "control channel: socket");
    if (bind(fd, (struct sockaddr *)&where, length) || listen(fd, BACKLOG)) {
        rc = kofn_error_errno(attr->log, "control channel: cannot listen on %s", listener->address);
        close(fd);
        return rc;
    }
    listener->fd = fd;
    return 0;
}

int kofn__unix_identify(int fd, struct kofn_channel *channel, const struct kofn_log *log)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) ||
        (peer.uid != geteuid() && peer.uid != 0))
        return kofn_error(log, KOFN_REFUSED, "a process of another user tried to join; refused");
    channel->pid = (uint32_t)peer.pid;
    return 0;
}

int kofn__unix_connect(const struct kofn_connect_attr *attr, int *fd, const char **why)
{
    struct sockaddr_un where;
    socklen_t length;
    int tried, error, rc = socket_address(attr->address, &where, &length, attr->log);

    if (rc)
        return rc;
    tried = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (tried < 0)
        return kofn_error_errno(attr->log, "cannot connect to %s", attr->address);
    if (!connect(tried, (const struct sockaddr *)&where, length)) {
        *fd = tried;
        return 0;
    }
    error = errno;
    close(tried);
    errno = error;
    if (error != ECONNREFUSED && error != EAGAIN && error != EINTR)
        return kofn_error_errno(attr->log, "cannot connect to %s", attr->address);
    *why = error == EAGAIN ? "its queue is full" : "nobody listens";
    return KOFN_AGAIN;
}

int kofn__unix_send(int fd, const struct kofn_wire *message, const struct kofn_fds *fds)
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

int kofn__unix_receive(int fd, struct kofn_wire *message, struct kofn_fds *fds, const char **reason)
{
    /* one more, so that too long a message is seen as such */
    unsigned char bytes[KOFN_WIRE_BYTES + 1];
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
    ssize_t length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int rc;

    if (length < 0 &&
        errno == ECONNRESET) /* it closed with unread mail; what it sent is still here */
        length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return KOFN_AGAIN;
    *reason = "its process has ended, or closed its connection";
    if (length < 0)
        return KOFN_GONE;
    take_fds(&header, &received); /* even an empty message can have some */
    if (header.msg_flags & MSG_CTRUNC) {
        *reason = "descriptors that cannot be taken: too many of them, or too many open files";
        rc = KOFN_PROTOCOL;
    } else {
        rc = length ? kofn_wire_unpack(bytes, (size_t)length, message, reason) : KOFN_GONE;
    }
    if (!rc && fds)
        *fds = received;
    else
        kofn_fds_close(&received);
    return rc;
}
