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

struct tcp_flow_sample {
    double rate;   /* bytes a second */
    double cpu_ns; /* CPU time of both processes, for as many bytes as a publication has */
};

/* One sample: publications that were reported, and released at once. Returns what the transport
 * says, KOFN_GONE if the worker cannot go on (logged).
 */
int tcp_flow_measure(const struct tcp_flow *flow, struct tcp_flow_sample *sample);

/* One sample of one stream of iperf3, for flow->seconds, on the same CPUs. Returns KOFN_UNSUPPORTED
 * and @why if it is not installed, else KOFN_FORMAT, KOFN_TIMEOUT, KOFN_SYSTEM (logged).
 */
int iperf_measure(const struct tcp_flow *flow, struct tcp_flow_sample *sample, const char **why);

#endif
