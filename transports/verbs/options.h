/* options.h: what a user says of devices, ports and connections, and where it may be said.
 *
 * An option is KEY=VALUE in the options of a hub or an endpoint, else KOFN_VERBS_KEY in the
 * environment, else, for some, a hint in the variables of other programs: NCCL_IB_HCA,
 * NCCL_IB_GID_INDEX, NCCL_IB_TC, NCCL_IB_SL, UCX_NET_DEVICES.
 */
#ifndef KOFN_TRANSPORTS_VERBS_OPTIONS_H
#define KOFN_TRANSPORTS_VERBS_OPTIONS_H

#include "base/parse.h"

#define KOFN__VERBS_NAME_BYTES 64
#define KOFN__VERBS_RETRIES 6 /* 7 would never end towards a queue pair that is no more (rxe) */

/* How the server learns that a publication has arrived. */
enum kofn__verbs_mode {
    KOFN__VERBS_IMM,    /* the stamp comes with an immediate */
    KOFN__VERBS_ATOMIC, /* the sequence is swapped in by an atomic operation, and polled */
    KOFN__VERBS_POLL,   /* one write that ends in the sequence, which is polled */
};

enum kofn__verbs_connect {
    KOFN__VERBS_TCP,    /* what is needed travels in the offers, over the control channel */
    KOFN__VERBS_RDMACM, /* offers say where to connect with the RDMA connection manager */
};

/* Which devices may be used: a list "NAME[:PORT],..."; "^" before it excludes those. */
struct kofn__verbs_filter {
    char text[256]; /* "" = all */
    bool prefix;    /* names need only begin so, unless "=" stands before the list (NCCL) */
    bool named;     /* by the user of kofn, not by a hint */
};

struct kofn__verbs_options {
    struct kofn__verbs_filter filter;
    uint64_t port;    /* 0 = the first that is active */
    int64_t gid;      /* index; -1 = by priority */
    uint64_t mtu;     /* bytes; 0 = what the port has */
    uint64_t level;   /* service level */
    int64_t traffic;  /* class; -1 = 106 for RoCE v2, else 0 */
    uint64_t hops;    /* limit */
    uint64_t retries; /* of what is not acknowledged */
    uint64_t timeout; /* until the first retry: 4.096 us * 2^timeout; 0 = by the peer's time-out */
    uint64_t inlined; /* bytes to ask for */
    uint64_t mode;    /* enum kofn__verbs_mode */
    uint64_t connect; /* enum kofn__verbs_connect */
    uint64_t unsafe;  /* 1: poll even if the device does not say that it may be done */
    uint64_t relaxed; /* 1: payload may be written in any order */
};

/* Reads @text, then what it does not say from the environment. KOFN_INVALID: logged, with what is
 * wrong.
 */
int kofn__verbs_options_read(struct kofn__verbs_options *options, const char *text,
                             const struct kofn_log *log);

/* May port @port of device @name be used? @port 0: any port of it? */
bool kofn__verbs_filter_passes(const struct kofn__verbs_filter *filter, const char *name,
                               uint32_t port);

/* True if the user of kofn has named devices: then software devices may be used, too. To exclude
 * some names none.
 */
bool kofn__verbs_filter_names(const struct kofn__verbs_filter *filter);

const char *kofn__verbs_mode_name(uint32_t mode);

#endif
