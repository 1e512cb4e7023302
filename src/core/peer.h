/* peer.h: one peer of a job without a server: a node (algorithms/node.h) joined to a transport.
 *
 * The receiving side of a peer is a hub, in which every in-edge is a member of its own: member i is
 * in-edge i, with a slot that nobody else writes to. Its sending side is an endpoint for every
 * out-edge, in the hub of the neighbour there. A slot has two buffers: the newest message is read
 * where it lies, and everything older is released at once; whoever has no credit leaves its message
 * out, and the next one makes up for it. So nobody waits for anybody, and nothing is copied on the
 * way in.
 *
 * Nothing here sets connections up: offers are handed over by whoever does (meet.h, or a test).
 *
 * Threads: one. Errors of one edge are losses of the neighbour; the others are not touched.
 */
#ifndef KOFN_CORE_PEER_H
#define KOFN_CORE_PEER_H

#include "algorithms/node.h"
#include "transports/transport.h"

struct kofn_peer_attr {
    struct kofn_node_attr node; /* of an algorithm that is lossy; with parameters */
    const struct kofn_transport_ops *transport;
    const char *options; /* the transport's own; NULL = none */
    const char *bind;    /* as in kofn_hub_attr */
    uint64_t spin, peer_timeout;
    double loss;   /* share of messages that are not sent, drawn from the seed */
    void *context; /* of the hub: as in kofn_hub_attr */
    const struct kofn_log *log;
};

struct kofn_peer_out {
    struct kofn_endpoint *endpoint; /* NULL: not connected, or cut */
    uint64_t sequence;              /* of the newest message */
};

struct kofn_peer_end {
    struct kofn_node node;
    const struct kofn_peer_attr *attr;
    struct kofn_hub *hub; /* NULL: nothing comes in */
    struct kofn_geometry slot;
    bool *connected;           /* by in-edge; owned */
    struct kofn_peer_out *out; /* by out-edge; owned */
    struct kofn_random random; /* loss */
    uint64_t sent, lost, skipped;
    uint32_t failed; /* a rank whose connection has failed; KOFN_ROOT_ANY = none */
};

/* Opens the node and its hub; @attr outlives it. KOFN_INVALID, KOFN_NO_MEMORY, and what hub_open()
 * returns; logged.
 */
int kofn_peer_open(const struct kofn_peer_attr *attr, struct kofn_peer_end *peer);
void kofn_peer_close(struct kofn_peer_end *peer);

/* The handshake of in-edge @index: gives the neighbour an offer; takes its answer: KOFN_AGAIN while
 * the connection is being made, and then to be called again with NULL.
 */
int kofn_peer_admit(struct kofn_peer_end *peer, uint32_t index, const struct kofn_path *path,
                    struct kofn_offer *offer);
int kofn_peer_connect(struct kofn_peer_end *peer, uint32_t index, const struct kofn_offer *answer);

/* The handshake of out-edge @index: takes the neighbour's offer (as endpoint_open() does), and
 * answers. @edge: its index there. @name outlives the peer.
 */
int kofn_peer_join(struct kofn_peer_end *peer, uint32_t index, uint32_t edge,
                   const struct kofn_path *path, const char *name, void *context,
                   const struct kofn_offer *offer, struct kofn_offer *answer);

/* Undoes what the two above have done of an edge, in whatever state it is. An in-edge can be
 * admitted again once this has returned 0: KOFN_AGAIN while the neighbour could still write to its
 * slot.
 * @gone: its process is known to have ended.
 */
int kofn_peer_release(struct kofn_peer_end *peer, uint32_t index, bool gone);
void kofn_peer_leave(struct kofn_peer_end *peer, uint32_t index);

/* Takes in what has arrived, and lets what has been begun go on. peer->failed may be set after it.
 */
void kofn_peer_take(struct kofn_peer_end *peer);

/* Takes in what has arrived until @deadline; sleeps where nothing does. Returns 0 at the deadline,
 * or earlier; KOFN_INTERRUPTED after a signal.
 */
int kofn_peer_wait(struct kofn_peer_end *peer, uint64_t deadline);

/* Sends what is due: what is left out or lost is counted, and made up for by the next. */
void kofn_peer_send(struct kofn_peer_end *peer);

/* The peer of rank @rank is gone: takes in what of it has arrived, cuts its edges, and goes on with
 * the others.
 */
void kofn_peer_lose(struct kofn_peer_end *peer, uint32_t rank);

#endif
