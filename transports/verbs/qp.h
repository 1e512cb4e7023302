/* qp.h: queue pairs: made, connected, given up.
 *
 * Every member has two: `data` for payload, `words` for beats, gates, receipts and wake-ups, so
 * that these never wait behind payload.
 */
#ifndef KOFN_TRANSPORTS_VERBS_QP_H
#define KOFN_TRANSPORTS_VERBS_QP_H

#include "transports/verbs/device.h"

enum kofn__verbs_which { KOFN__VERBS_DATA, KOFN__VERBS_WORDS, KOFN__VERBS_PAIRS };

/* What one side of a connection tells the other; part of an offer. */
struct kofn__verbs_end {
    unsigned char gid[16];
    uint32_t qpn[KOFN__VERBS_PAIRS], psn[KOFN__VERBS_PAIRS];
    uint32_t mtu; /* bytes */
    uint16_t lid;
    uint8_t routed, depth; /* depth: reads and atomics that may be under way at this side */
};

/* The send queue of one queue pair: what is posted and what is known to be over. Every so many
 * requests ask for a completion, which stands for all before it.
 */
struct kofn__verbs_lane {
    struct ibv_qp *qp;
    uint64_t owner;      /* goes into the upper half of every wr_id */
    uint32_t depth;      /* requests it holds */
    uint32_t posted;     /* so far */
    uint32_t done;       /* of those: over */
    uint32_t signalled;  /* `posted` behind the last one with a completion */
    uint32_t inlined;    /* bytes that a request may carry itself */
    uint32_t probes;     /* without an answer in between */
    uint64_t stalled_ns; /* since when nothing has been completed although something is posted */
};

struct kofn__verbs_queues {
    struct ibv_cq *send, *receive;
    struct ibv_srq *shared;   /* NULL: a receive queue of its own */
    uint32_t sends, receives; /* depths */
};

/* Makes a queue pair; asks for options.inlined bytes and takes what it gets. Logged. */
int kofn__verbs_lane_open(struct kofn__verbs_lane *lane, struct kofn__verbs_port *port,
                          const struct kofn__verbs_queues *queues, uint64_t owner);

/* Ends it; its requests are flushed to its queues. */
void kofn__verbs_lane_fail(struct kofn__verbs_lane *lane);
void kofn__verbs_lane_close(struct kofn__verbs_lane *lane);

/* What this side tells the other; numbers of requests begin at random. */
void kofn__verbs_end_fill(struct kofn__verbs_end *end, const struct kofn__verbs_port *port,
                          const struct kofn__verbs_lane lanes[KOFN__VERBS_PAIRS]);

/* True if @end can be that of another device on the same network; else @why says what is wrong. */
bool kofn__verbs_end_valid(const struct kofn__verbs_end *end, const struct kofn__verbs_port *port,
                           const char **why);

/* What both sides' ends, and the options of @port, say of a queue pair that is ready to receive,
 * and to send: whichever way they were exchanged.
 */
void kofn__verbs_receive_attr(const struct kofn__verbs_end *ours,
                              const struct kofn__verbs_end *theirs, struct ibv_qp_attr *attr);
void kofn__verbs_send_attr(const struct kofn__verbs_port *port, const struct kofn__verbs_end *ours,
                           const struct kofn__verbs_end *theirs, struct ibv_qp_attr *attr);

/* Takes both lanes to ready-to-send: this side may be written to, and may post once the other side
 * has done the same. @access: what the other side may do, of IBV_ACCESS_REMOTE_*. @rank is for
 * messages.
 */
int kofn__verbs_connect(struct kofn__verbs_port *port,
                        struct kofn__verbs_lane lanes[KOFN__VERBS_PAIRS],
                        const struct kofn__verbs_end *ours, const struct kofn__verbs_end *theirs,
                        unsigned access, uint32_t rank);

/* Posts a chain of @count requests, all of this lane; the caller has looked for room. The last one
 * asks for a completion if @signal, or if it is time to. Returns 0, or KOFN_GONE: logged by nobody
 * yet.
 */
int kofn__verbs_lane_post(struct kofn__verbs_lane *lane, struct ibv_send_wr *first,
                          struct ibv_send_wr *last, uint32_t count, bool signal);

/* Requests that fit in now. */
static inline uint32_t kofn__verbs_lane_room(const struct kofn__verbs_lane *lane)
{
    return lane->depth - (lane->posted - lane->done);
}

/* True if everything up to @mark (a value of `posted`) is over. */
static inline bool kofn__verbs_lane_past(const struct kofn__verbs_lane *lane, uint32_t mark)
{
    return (int32_t)(lane->done - mark) >= 0;
}

/* A completion has come for @wr_id of this lane. */
static inline void kofn__verbs_lane_complete(struct kofn__verbs_lane *lane, uint64_t wr_id)
{
    lane->done = (uint32_t)wr_id;
    lane->stalled_ns = 0;
    lane->probes = 0;
}

/* If nothing has been acknowledged for a while, posts a write of nothing: should the last packet of
 * what was sent be lost, the other side only learns that from one that follows it, long before the
 * time-out of the device.
 */
void kofn__verbs_lane_probe(struct kofn__verbs_lane *lane, uint64_t address, uint32_t key,
                            uint64_t now);

#endif
