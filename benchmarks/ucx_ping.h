/* ucx_ping.h: UCX as a contender: one run of ucx_perftest, two processes on this host. */
#ifndef KOFN_BENCHMARKS_UCX_PING_H
#define KOFN_BENCHMARKS_UCX_PING_H

#include <stddef.h>

struct ucx_ping {
    const char *test;       /* "ucp_put_lat" */
    const char *transports; /* UCX_TLS: "posix,self" */
    size_t bytes;
    unsigned iterations;
    int here, there; /* CPUs of client and server, -1 = any */
};

/* One sample: the median latency that ucx_perftest reports, in ns one way. Returns KOFN_UNSUPPORTED
 * and @why if it is not installed, else KOFN_SYSTEM or KOFN_FORMAT (logged).
 */
int ucx_ping_measure(const struct ucx_ping *ping, double *ns, const char **why);

#endif
