/* channel.h: the control channel: whole messages between a server and its workers.
 *
 * It sets memberships up and ends them; nothing of a round travels on it. An address is one of
 *
 *   shm:NAME         a Unix socket in the abstract namespace (nothing to clean up), which also
 *                    carries descriptors. Only processes of the same user, or root, are let in: the
 *                    kernel tells who connects.
 *   tcp:HOST:PORT    a name, a number, a number in brackets ([::1]), or * for all addresses of this
 *                    host. No descriptors travel, and nobody tells which process is at the other
 *                    end. Nothing is authenticated.
 *
 * The end of a process closes its connection: the other side learns of a death from it. A host that
 * ends without a word is found out by the kernel, which goes on asking it while its processes
 * compute: the connection then fails after the attributes' `silence`.
 *
 * Threads: a channel and a listener belong to one thread each. Nothing here waits but
 * kofn_channel_connect() and kofn_channel_finish(), and kofn_channel_receive() if it is told to.
 */
#ifndef KOFN_CORE_CHANNEL_H
#define KOFN_CORE_CHANNEL_H

#include "base/log.h"
#include "proto/frame.h"
#include "transports/transport.h"

/* What @bytes may take to be made ready for a device, page by page: up to 7 s a GiB have been seen.
 * For so long nobody is to be given up who joins.
 */
static inline uint64_t kofn_pin_ns(uint64_t bytes)
{
    return 10 * bytes;
}

#define KOFN_CHANNEL_FDS 4
#define KOFN_ADDRESS_BYTES 300 /* of an address, with its final zero */

/* Descriptors that travel with a message; the sender keeps its own, the receiver owns what it gets.
 */
struct kofn_fds {
    uint32_t count;
    int fds[KOFN_CHANNEL_FDS];
};

void kofn_fds_close(struct kofn_fds *fds);

/* One connection; for others to read only. */
struct kofn_channel {
    int fd;                /* for poll() and epoll: readable = kofn_channel_receive() */
    bool network;          /* no descriptors travel, and `pid` is not known */
    uint32_t pid;          /* of the process at the other end, as the kernel says */
    struct kofn_path path; /* over a network: where its ends are */
    bool ended;            /* the other side has closed it, in order */
    int error;             /* of the network, that sending has met with; 0 = none */
    struct kofn_frame in;  /* over a network: a message that has not come to its end */
    uint32_t out_left;     /* bytes at the end of `out` that have not gone out */
    uint32_t out_length;
    unsigned char out[KOFN_FRAME_BYTES];
};

struct kofn_listener {
    int fd; /* for poll() and epoll */
    bool network;
    uint64_t silence;
    char address[KOFN_ADDRESS_BYTES]; /* to connect to */
    char host[KOFN_HOST_BYTES];       /* over a network: the number it listens on, "" for all */
};

struct kofn_listener_attr {
    const char *address; /* NULL: a fresh one that only this host can reach */
    bool network;        /* which kind, where there is no address */
    bool insecure;       /* may be reached from other hosts */
    uint64_t silence;    /* of the other host, until the connection has failed; over a network */
    const struct kofn_log *log;
};

struct kofn_connect_attr {
    const char *address;
    uint64_t deadline;
    uint64_t silence;
    const struct kofn_log *log;
};

/* True if @address is one of a network. */
bool kofn_address_network(const char *address);

/* KOFN_INVALID (not an address; to be reached from other hosts, and not allowed to), KOFN_SYSTEM.
 */
int kofn_listener_open(const struct kofn_listener_attr *attr, struct kofn_listener *listener);
void kofn_listener_close(struct kofn_listener *listener);

/* Accepts one connection: 0; KOFN_AGAIN if there is none; KOFN_REFUSED for another user's;
 * KOFN_SYSTEM or KOFN_NO_MEMORY if there is one and nothing to hold it with: it goes on waiting.
 */
int kofn_listener_accept(const struct kofn_listener *listener, struct kofn_channel **channel_p,
                         const struct kofn_log *log);

/* Connects, waiting for the other side to appear until the deadline. KOFN_TIMEOUT, KOFN_INVALID
 * (not an address), KOFN_SYSTEM, KOFN_NO_MEMORY, KOFN_INTERRUPTED (by a signal, while it waited).
 * The look-up of a name has a time-out of its own.
 */
int kofn_channel_connect(const struct kofn_connect_attr *attr, struct kofn_channel **channel_p);

/* The same, once, for a server that has been there before. KOFN_AGAIN and @why if it may be reached
 * later; KOFN_GONE and @why if its host says that nobody listens there any more.
 */
int kofn_channel_try(const struct kofn_connect_attr *attr, struct kofn_channel **channel_p,
                     const char **why);

/* Hangs up and frees. NULL is allowed. */
void kofn_channel_close(struct kofn_channel *channel);

/* Waits until the other side has taken in what was sent, and has hung up: what was said last is
 * lost otherwise, where a message of the other side is still on its way. At most until @deadline.
 */
void kofn_channel_finish(struct kofn_channel *channel, uint64_t deadline);

/* Sends one message without waiting: 0; KOFN_GONE; KOFN_AGAIN if the other side has stopped
 * reading: nothing of the message is sent then. KOFN_UNSUPPORTED: descriptors over a network.
 */
int kofn_channel_send(struct kofn_channel *channel, const struct kofn_wire *message,
                      const struct kofn_fds *fds);

/* Receives one message, waiting for its first bytes until @deadline (0 = not at all).
 * @fds     out, may be NULL: descriptors are then closed
 * @reason  out: what was wrong, with KOFN_PROTOCOL; how it ended, with KOFN_GONE
 * Returns 0, KOFN_AGAIN (not yet, or not all of it), KOFN_GONE, KOFN_PROTOCOL, KOFN_INTERRUPTED.
 */
int kofn_channel_receive(struct kofn_channel *channel, uint64_t deadline, struct kofn_wire *message,
                         struct kofn_fds *fds, const char **reason);

/* ---- between the files of the channel ---- */

/* One attempt to connect: 0; KOFN_AGAIN and @why if the server may be there later, KOFN_GONE if the
 * same is known of its host, but nobody listens; KOFN_INTERRUPTED; errors are logged.
 */
typedef int kofn__connect(const struct kofn_connect_attr *attr, int *fd, const char **why);
kofn__connect kofn__unix_connect, kofn__tcp_connect;

/* channel_unix.c */
int kofn__unix_listen(const struct kofn_listener_attr *attr, struct kofn_listener *listener);
int kofn__unix_identify(int fd, struct kofn_channel *channel, const struct kofn_log *log);
int kofn__unix_send(int fd, const struct kofn_wire *message, const struct kofn_fds *fds);
int kofn__unix_receive(int fd, struct kofn_wire *message, struct kofn_fds *fds,
                       const char **reason);

/* channel_tcp.c */
int kofn__tcp_listen(const struct kofn_listener_attr *attr, struct kofn_listener *listener);
int kofn__tcp_identify(int fd, uint64_t silence, struct kofn_channel *channel);

/* tcp_address.c: what is between "tcp:" and the last colon, and what is behind it. */
struct kofn_tcp_name {
    char host[256]; /* "" = all addresses */
    char port[8];
};
int kofn__tcp_parse(const char *address, struct kofn_tcp_name *name, const struct kofn_log *log);

struct sockaddr;
/* The number of @address, "" where it has none; v4 addresses in a v6 coat as plain ones. */
void kofn__tcp_host(const struct sockaddr *address, char host[KOFN_HOST_BYTES]);
uint16_t kofn__tcp_port(const struct sockaddr *address);
bool kofn__tcp_loopback(const struct sockaddr *address);
bool kofn__tcp_wildcard(const struct sockaddr *address);

/* What others connect to when this host listens on @address: a wildcard becomes the address of an
 * interface that is up.
 */
void kofn__tcp_public(const struct sockaddr *address, char text[KOFN_ADDRESS_BYTES]);

#endif
