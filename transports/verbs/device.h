/* device.h: an RDMA device that has been opened, one port of it, and the address it is used with.
 *
 * Threads: one a port.
 */
#ifndef KOFN_TRANSPORTS_VERBS_DEVICE_H
#define KOFN_TRANSPORTS_VERBS_DEVICE_H

#include <infiniband/verbs.h>

#include "transports/transport.h"
#include "transports/verbs/gid.h"
#include "transports/verbs/options.h"

struct kofn__verbs_port {
    const struct kofn_log *log;
    struct ibv_context *context;
    struct ibv_pd *pd;       /* what everything is made in: the domain below, if there is one */
    struct ibv_td *td;       /* thread domain: no locks in the queues; NULL where there is none */
    struct ibv_pd *plain_pd; /* below the parent domain that has the thread domain; else NULL */
    struct ibv_device_attr limits;
    struct ibv_port_attr attr;
    uint8_t number;
    struct ibv_gid_entry gid;
    bool routed;         /* addresses are GIDs: RoCE, or InfiniBand with a GID asked for */
    bool soft;           /* a software device: rxe, siw */
    uint32_t mtu;        /* bytes */
    uint8_t traffic;     /* class */
    int numa_node;       /* -1 = not known */
    uint64_t peer_limit; /* ns without an answer until a connection fails */
    char name[KOFN__VERBS_NAME_BYTES + 16];     /* "mlx5_0 port 1", for messages */
    char counters[KOFN__VERBS_NAME_BYTES + 64]; /* where the kernel shows what it has counted */
    struct kofn__verbs_options options;
};

/* Opens the device and port that @options allow and that suit best: software devices never, unless
 * they are named; else the one with the address @near ("" = any), else the first. Says which in one
 * line. Returns KOFN_LOST if there is none (logged, with why each was not taken), KOFN_NO_MEMORY,
 * KOFN_SYSTEM.
 */
int kofn__verbs_port_open(struct kofn__verbs_port *port, const struct kofn__verbs_options *options,
                          const char *near, uint64_t peer_timeout, const struct kofn_log *log);
void kofn__verbs_port_close(struct kofn__verbs_port *port);

/* The queue pair with this number has failed by itself, as @why says. */
typedef void (*kofn__verbs_broken)(void *arg, uint32_t qpn, const char *why);

/* Takes in what has happened to the device; what has happened to a single queue pair is @broken's.
 * Returns true if nothing of the device can be used any more.
 */
bool kofn__verbs_port_events(struct kofn__verbs_port *port, kofn__verbs_broken broken, void *arg);

/* Registers memory; NULL and logged with the remedy if that cannot be. */
struct ibv_mr *kofn__verbs_register(struct kofn__verbs_port *port, const char *what, void *address,
                                    size_t bytes, unsigned access);

/* Time until a device sends again what was not acknowledged, as 4.096 us * 2^n: so that all
 * @retries end within @limit ns. Pure.
 */
uint8_t kofn__verbs_timeout(uint64_t limit, uint32_t retries);

/* The same of @port: as asked for, else within its peer_limit. */
uint8_t kofn__verbs_port_timeout(const struct kofn__verbs_port *port);

static inline uint32_t kofn__verbs_mtu_bytes(enum ibv_mtu mtu)
{
    return 128u << mtu;
}

#endif
