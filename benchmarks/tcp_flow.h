/* tcp_flow.h: publications one after the other over TCP, as fast as their credits allow, from a
 * worker's process to the server's; and iperf3, which does nothing but move bytes.
 */
#ifndef KOFN_BENCHMARKS_TCP_FLOW_H
#define KOFN_BENCHMARKS_TCP_FLOW_H

#include <stdint.h>

struct tcp_flow {
    const char *options; /* of the transport, both ends */
    uint64_t bytes;      /* of a publication */
    unsigned seconds;    /* of a sample */
    int here, there;     /* CPUs of server and worker, -1 = any */
};

/* One sample, in bytes a second: publications that were reported, and released at once. Returns
 * what the transport says, KOFN_GONE if the worker cannot go on (logged).
 */
int tcp_flow_measure(const struct tcp_flow *flow, double *rate);

/* One sample of one stream of iperf3, in bytes a second, for flow->seconds, on the same CPUs.
 * Returns KOFN_UNSUPPORTED and @why if it is not installed, else KOFN_FORMAT, KOFN_TIMEOUT,
 * KOFN_SYSTEM (logged).
 */
int iperf_measure(const struct tcp_flow *flow, double *rate, const char **why);

#endif
