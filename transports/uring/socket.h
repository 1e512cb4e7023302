/* socket.h: TCP sockets as this transport uses them: never blocking, without delay, and given up
 * when the other host shows no sign of life.
 *
 * Threads: no state. Errors are logged where a log is given.
 */
#ifndef KOFN_TRANSPORTS_URING_SOCKET_H
#define KOFN_TRANSPORTS_URING_SOCKET_H

#include "transports/transport.h"

/* Listens on any free port.
 *
 * @host    a number; a wildcard, "" or NULL = all addresses of this host
 * @fd      out
 * @port    out
 */
int kofn__socket_listen(const char *host, int *fd, uint16_t *port, const struct kofn_log *log);

/* Accepts one connection: 0, KOFN_AGAIN if there is none, KOFN_SYSTEM with errno set if there is no
 * descriptor left.
 */
int kofn__socket_accept(int listener, int *fd);

/* Connects, at the latest by @deadline.
 *
 * @host       a number
 * @interface  the connection comes from its address; "" = from wherever the system likes
 * Returns 0, KOFN_TIMEOUT, KOFN_SYSTEM, KOFN_INVALID.
 */
int kofn__socket_connect(const char *host, uint16_t port, const char *interface, uint64_t deadline,
                         int *fd, const struct kofn_log *log);

/* What sends on @fd, or on what is accepted from it, paces itself as @name says, "bbr" or
 * another; "" = as the host does. allowed(): 0, KOFN_UNSUPPORTED where that is not to be had
 * (logged, with those that are), KOFN_SYSTEM.
 */
#define KOFN__CONGESTION 16u /* bytes of a name, with its zero: the kernel's limit */
void kofn__socket_congestion(int fd, const char *name);
int kofn__socket_congestion_allowed(const char *name, const struct kofn_log *log);

/* No delay; after about @peer_timeout ns without a sign of the other host a connection that is idle
 * has failed. TCP_USER_TIMEOUT, which is for those that are not, is not set: it would also end one
 * whose reader is merely stopped. For those there is kofn__socket_lost().
 */
void kofn__socket_tune(int fd, uint64_t peer_timeout);

/* True if what was sent last has not been acknowledged for @peer_timeout ns, although there is room
 * for it at the other side. @under_way: out, is there anything that is not acknowledged yet?
 */
bool kofn__socket_lost(int fd, uint64_t peer_timeout, bool *under_way);

/* Where the other side is, "10.0.0.7:1234", for messages. */
#define KOFN__SOCKET_NAME (KOFN_HOST_BYTES + 8)
void kofn__socket_name(int fd, char name[KOFN__SOCKET_NAME]);

/* Sends @bytes at once, waiting for it if need be, at the latest until @deadline: for a greeting.
 */
int kofn__socket_send_all(int fd, const void *bytes, size_t count, uint64_t deadline);

/* Closes so that what has been sent arrives: unread bytes would make the kernel throw it away. Does
 * not wait. */
void kofn__socket_close(int fd);

/* Waits until the other host has acknowledged all that was sent, but not beyond @deadline. */
void kofn__socket_drain(int fd, uint64_t deadline);

#endif
