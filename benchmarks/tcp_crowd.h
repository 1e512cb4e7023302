/* tcp_crowd.h: a server with a thousand workers connected over TCP, who are played by one process
 * that holds all their connections: how soon it knows that K of them have published, and what it
 * costs when none of them does anything. The server is kofn's, or one that reads and does nothing
 * else.
 */
#ifndef KOFN_BENCHMARKS_TCP_CROWD_H
#define KOFN_BENCHMARKS_TCP_CROWD_H

#include <stdint.h>

struct tcp_crowd;

/* For `options`: the server reads its connections and counts, no more. */
extern const char tcp_crowd_bare[];

/* Connects them. @options: of the hub. @here, @there: CPUs of server and driver, -1 = any.
 * Returns KOFN_UNSUPPORTED if there are not descriptors enough for so many; KOFN_NO_MEMORY,
 * KOFN_SYSTEM or what the transport says (logged).
 */
int tcp_crowd_open(uint32_t workers, const char *options, int here, int there,
                   struct tcp_crowd **crowd_p);
void tcp_crowd_close(struct tcp_crowd *crowd);

struct tcp_crowd_sample {
    double p99_ns; /* from the moment the K-th publication is sent until the server knows of it */
    double cpu_ns; /* CPU time of the server's process, for a publication */
};

/* One sample: @rounds times all workers publish 8 bytes, in a random order, one right after the
 * other. KOFN_GONE if one takes seconds (logged).
 */
int tcp_crowd_run(struct tcp_crowd *crowd, uint32_t wait_for, uint32_t rounds,
                  struct tcp_crowd_sample *sample);

/* One sample: CPU time of the server's process, in ns a second, while it waits for @seconds and
 * nothing comes.
 */
int tcp_crowd_idle(struct tcp_crowd *crowd, double seconds, double *ns);

#endif
