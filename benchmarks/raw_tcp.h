/* raw_tcp.h: the least that two processes can do to tell each other something over TCP: 8 bytes go
 * over loopback, 8 come back, and both sides do nothing but try to receive, or sleep in recv().
 */
#ifndef KOFN_BENCHMARKS_RAW_TCP_H
#define KOFN_BENCHMARKS_RAW_TCP_H

#include <stdbool.h>

struct raw_tcp;

/* Starts the other process. @here, @there: CPUs of the caller, which is bound to it while it
 * measures, and of the other. @sleeps: neither side polls. Returns KOFN_NO_MEMORY or KOFN_SYSTEM (logged).
 */
int raw_tcp_open(int here, int there, bool sleeps, struct raw_tcp **ping_p);

/* One sample, in ns one way: half a round trip, the median over @trips of them. Returns
 * KOFN_GONE if the other process does not answer (logged).
 */
int raw_tcp_measure(struct raw_tcp *ping, unsigned trips, double *ns);

/* Ends the other process. NULL is allowed. */
void raw_tcp_close(struct raw_tcp *ping);

#endif
