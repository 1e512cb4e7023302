#include "transports/verbs/qp.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"

#define DEPTH 16      /* reads and atomics under way */
#define RNR_TIMER 12  /* 0.64 ms until a message that found no receive request comes again */
#define RNR_RETRIES 7 /* for ever: whether a server hangs is for the control channel to say */
#define PROBE_NS (20 * KOFN_NS_PER_MS)
#define PROBES 6 /* each twice as late as the one before */

/* ---- lanes ---- */

int kofn__verbs_lane_open(struct kofn__verbs_lane *lane, struct kofn__verbs_port *port,
                          const struct kofn__verbs_queues *queues, uint64_t owner)
{
    uint32_t inlined = (uint32_t)port->options.inlined;
    struct ibv_qp_init_attr attr;
    struct ibv_qp *qp;

    for (;; inlined /= 2) { /* some devices refuse what they cannot grant */
        attr = (struct ibv_qp_init_attr){.send_cq = queues->send,
                                         .recv_cq = queues->receive,
                                         .srq = queues->shared,
                                         .qp_type = IBV_QPT_RC,
                                         .cap = {.max_send_wr = queues->sends,
                                                 .max_recv_wr = queues->receives,
                                                 .max_send_sge = 1,
                                                 .max_recv_sge = 1,
                                                 .max_inline_data = inlined}};
        qp = ibv_create_qp(port->pd, &attr);
        if (qp || !inlined || (errno != EINVAL && errno != ENOTSUP))
            break;
    }
    if (!qp)
        return kofn_error_errno(port->log, "verbs: %s: cannot make a queue pair of %u requests",
                                port->name, queues->sends);
    *lane = (struct kofn__verbs_lane){.qp = qp,
                                      .owner = owner << 32,
                                      .depth = queues->sends,
                                      .inlined = attr.cap.max_inline_data};
    return 0;
}

void kofn__verbs_lane_fail(struct kofn__verbs_lane *lane)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

    if (lane->qp)
        ibv_modify_qp(lane->qp, &attr, IBV_QP_STATE);
}

void kofn__verbs_lane_close(struct kofn__verbs_lane *lane)
{
    if (lane->qp)
        ibv_destroy_qp(lane->qp);
    lane->qp = NULL;
}

int kofn__verbs_lane_post(struct kofn__verbs_lane *lane, struct ibv_send_wr *first,
                          struct ibv_send_wr *last, uint32_t count, bool signal)
{
    struct ibv_send_wr *bad;
    uint32_t number = lane->posted;

    lane->posted += count;
    if (signal || lane->posted - lane->signalled >= lane->depth / 2) {
        last->send_flags |= IBV_SEND_SIGNALED;
        lane->signalled = lane->posted;
    }
    for (struct ibv_send_wr *wr = first; wr; wr = wr->next)
        wr->wr_id = lane->owner | ++number;
    return ibv_post_send(lane->qp, first, &bad) ? KOFN_GONE : 0;
}

void kofn__verbs_lane_probe(struct kofn__verbs_lane *lane, uint64_t address, uint32_t key,
                            uint64_t now)
{
    struct ibv_send_wr wr = {.opcode = IBV_WR_RDMA_WRITE,
                             .wr.rdma = {.remote_addr = address, .rkey = key}};

    if (lane->posted == lane->done || kofn__verbs_lane_past(lane, lane->posted)) {
        lane->stalled_ns = 0;
        return;
    }
    if (!lane->stalled_ns) {
        lane->stalled_ns = now;
        return;
    }
    if (lane->probes >= PROBES || now - lane->stalled_ns < PROBE_NS << lane->probes ||
        kofn__verbs_lane_room(lane) < 2)
        return;
    if (!kofn__verbs_lane_post(lane, &wr, &wr, 1, true))
        lane->probes++;
}

/* ---- the two ends ---- */

static uint32_t random_psn(void)
{
    uint32_t psn = 0;

    if (getrandom(&psn, sizeof(psn), GRND_NONBLOCK) != sizeof(psn))
        psn = (uint32_t)kofn_now_ns();
    return psn & 0xffffff;
}

void kofn__verbs_end_fill(struct kofn__verbs_end *end, const struct kofn__verbs_port *port,
                          const struct kofn__verbs_lane lanes[KOFN__VERBS_PAIRS])
{
    *end = (struct kofn__verbs_end){
        .mtu = port->mtu,
        .lid = port->attr.lid,
        .routed = port->routed,
        .depth = (uint8_t)KOFN_MAX(0, KOFN_MIN(DEPTH, KOFN_MIN(port->limits.max_qp_rd_atom,
                                                               port->limits.max_qp_init_rd_atom)))};
    memcpy(end->gid, port->gid.gid.raw, sizeof(end->gid));
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++) {
        end->qpn[i] = lanes[i].qp->qp_num;
        end->psn[i] = random_psn();
    }
}

static bool mtu_valid(uint32_t mtu)
{
    return mtu >= 256 && mtu <= 4096 && !(mtu & (mtu - 1));
}

bool kofn__verbs_end_valid(const struct kofn__verbs_end *end, const struct kofn__verbs_port *port,
                           const char **why)
{
    if (!!end->routed != port->routed)
        *why = "one is addressed by GID, the other by LID: RoCE and InfiniBand do not mix";
    else if (!mtu_valid(end->mtu))
        *why = "its MTU is none";
    else if (end->qpn[0] > 0xffffff || end->qpn[1] > 0xffffff || end->psn[0] > 0xffffff ||
             end->psn[1] > 0xffffff)
        *why = "its numbers are out of range";
    else
        return true;
    return false;
}

static enum ibv_mtu mtu_of(uint32_t bytes)
{
    enum ibv_mtu mtu = IBV_MTU_256;

    while (kofn__verbs_mtu_bytes(mtu) < bytes)
        mtu++;
    return mtu;
}

void kofn__verbs_receive_attr(const struct kofn__verbs_end *ours,
                              const struct kofn__verbs_end *theirs, struct ibv_qp_attr *attr)
{
    attr->path_mtu = mtu_of(KOFN_MIN(ours->mtu, theirs->mtu));
    attr->max_dest_rd_atomic = ours->depth;
    attr->min_rnr_timer = RNR_TIMER;
}

void kofn__verbs_send_attr(const struct kofn__verbs_port *port, const struct kofn__verbs_end *ours,
                           const struct kofn__verbs_end *theirs, struct ibv_qp_attr *attr)
{
    attr->timeout = kofn__verbs_port_timeout(port);
    attr->retry_cnt = (uint8_t)port->options.retries;
    attr->rnr_retry = RNR_RETRIES;
    attr->max_rd_atomic = KOFN_MIN(ours->depth, theirs->depth);
}

static int to_init(const struct kofn__verbs_port *port, struct ibv_qp *qp, unsigned access)
{
    struct ibv_qp_attr attr = {
        .qp_state = IBV_QPS_INIT, .port_num = port->number, .qp_access_flags = access};

    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

static int to_receive(const struct kofn__verbs_port *port, struct ibv_qp *qp,
                      const struct kofn__verbs_end *ours, const struct kofn__verbs_end *theirs,
                      int which)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RTR,
                               .dest_qp_num = theirs->qpn[which],
                               .rq_psn = theirs->psn[which],
                               .ah_attr = {.dlid = theirs->lid,
                                           .sl = (uint8_t)port->options.level,
                                           .is_global = port->routed,
                                           .port_num = port->number}};

    kofn__verbs_receive_attr(ours, theirs, &attr);
    if (port->routed) {
        memcpy(attr.ah_attr.grh.dgid.raw, theirs->gid, sizeof(theirs->gid));
        attr.ah_attr.grh.sgid_index = (uint8_t)port->gid.gid_index;
        attr.ah_attr.grh.hop_limit = (uint8_t)port->options.hops;
        attr.ah_attr.grh.traffic_class = port->traffic;
    }
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                             IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
}

static int to_send(const struct kofn__verbs_port *port, struct ibv_qp *qp,
                   const struct kofn__verbs_end *ours, const struct kofn__verbs_end *theirs,
                   int which)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RTS, .sq_psn = ours->psn[which]};

    kofn__verbs_send_attr(port, ours, theirs, &attr);
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                             IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int kofn__verbs_connect(struct kofn__verbs_port *port,
                        struct kofn__verbs_lane lanes[KOFN__VERBS_PAIRS],
                        const struct kofn__verbs_end *ours, const struct kofn__verbs_end *theirs,
                        unsigned access, uint32_t rank)
{
    char text[KOFN__VERBS_GID_TEXT];
    union ibv_gid gid;
    int error = 0;

    memcpy(gid.raw, theirs->gid, sizeof(gid.raw));
    for (int i = 0; !error && i < KOFN__VERBS_PAIRS; i++) {
        error = to_init(port, lanes[i].qp, access);
        error = error ? error : to_receive(port, lanes[i].qp, ours, theirs, i);
        error = error ? error : to_send(port, lanes[i].qp, ours, theirs, i);
    }
    if (!error)
        return 0;
    errno = error;
    return kofn_error_errno(port->log,
                            "verbs: %s: rank %u: cannot connect to %s, QP 0x%x (is it reachable "
                            "from GID index %u?)",
                            port->name, rank, kofn__verbs_gid_print(&gid, text), theirs->qpn[0],
                            port->gid.gid_index);
}
