/* channel.h: the control channel: whole messages, with file descriptors, between a server and its
 * workers.
 *
 * shm:NAME is a Unix socket in the abstract namespace (nothing to clean up), SOCK_SEQPACKET so that
 * a message arrives whole. Only processes of the same user, or root, are let in: the kernel tells
 * who connects. The end of a process closes its socket: the other side learns of a death from it.
 */
#ifndef KOFN_CORE_CHANNEL_H
#define KOFN_CORE_CHANNEL_H

#include "base/log.h"
#include "proto/wire.h"

#define KOFN_CHANNEL_FDS 4

/* Descriptors that travel with a message; the sender keeps its own, the receiver owns what it gets.
 */
struct kofn_fds {
    uint32_t count;
    int fds[KOFN_CHANNEL_FDS];
};

void kofn_fds_close(struct kofn_fds *fds);

/* Listens on "shm:NAME", or on a fresh name if @address is NULL. Not blocking, close-on-exec.
 * @name  out: the address to connect to, at most KOFN_ADDRESS_BYTES
 * @fd    out
 */
#define KOFN_ADDRESS_BYTES 100
int kofn_channel_listen(const char *address, char name[KOFN_ADDRESS_BYTES], int *fd,
                        const struct kofn_log *log);

/* Accepts one connection: 0; KOFN_AGAIN if there is none; KOFN_REFUSED for another user's;
 * KOFN_SYSTEM or KOFN_NO_MEMORY if there is one and no descriptor for it: it goes on waiting.
 * @pid  out: of the process that connected
 */
int kofn_channel_accept(int listener, int *fd, int *pid, const struct kofn_log *log);

/* Connects to @address, waiting for it to appear until @deadline. KOFN_TIMEOUT, KOFN_INVALID (not
 * an address). */
int kofn_channel_connect(const char *address, uint64_t deadline, int *fd,
                         const struct kofn_log *log);

/* Sends one message without waiting: 0, KOFN_GONE, KOFN_AGAIN if the peer has stopped reading. */
int kofn_channel_send(int fd, const struct kofn_wire *message, const struct kofn_fds *fds);

/* Receives one message: 0, KOFN_AGAIN at @deadline (0 = do not wait), KOFN_GONE if the peer has
 * closed, KOFN_PROTOCOL with @reason set, KOFN_INTERRUPTED.
 * @fds  out: what came with it, may be NULL (then they are closed)
 */
int kofn_channel_receive(int fd, uint64_t deadline, struct kofn_wire *message, struct kofn_fds *fds,
                         const char **reason);

#endif
