/* tcp_bare.h: the least that a server of many connections can do: epoll says which have bytes, and
 * those are read and counted. It does not look at them.
 */
#ifndef KOFN_BENCHMARKS_TCP_BARE_H
#define KOFN_BENCHMARKS_TCP_BARE_H

#include <stddef.h>
#include <stdint.h>

struct tcp_bare;

/* Listens on loopback. @port: out. KOFN_NO_MEMORY, KOFN_SYSTEM (logged). */
int tcp_bare_open(uint32_t connections, uint16_t *port, struct tcp_bare **bare_p);
void tcp_bare_close(struct tcp_bare *bare);

/* Accepts one connection, waiting for it, and throws away its first @greeting bytes. */
int tcp_bare_accept(struct tcp_bare *bare, size_t greeting);

/* Reads until @count times @bytes have come, each on one connection, at the latest until @deadline.
 * Returns 0, or KOFN_GONE.
 */
int tcp_bare_collect(struct tcp_bare *bare, uint32_t count, size_t bytes, uint64_t deadline);

/* Sends the same to all. */
void tcp_bare_answer(struct tcp_bare *bare, const void *bytes, size_t count);

#endif
