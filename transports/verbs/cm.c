#include "transports/verbs/cm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

void kofn__verbs_greeting_make(struct kofn__verbs_greeting *greeting,
                               const struct kofn__verbs_offer *offer, uint32_t which)
{
    *greeting = (struct kofn__verbs_greeting){.magic = "kofn-cm1",
                                              .nonce = offer->nonce,
                                              .rank = offer->rank,
                                              .epoch = offer->epoch,
                                              .which = which};
}

void kofn__verbs_cm_address(const struct kofn__verbs_port *port_used, const unsigned char gid[16],
                            uint16_t port, struct sockaddr_storage *address)
{
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)address;

    memset(address, 0, sizeof(*address));
    memcpy(&six->sin6_addr, gid, 16);
    if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        memset(address, 0, sizeof(*address));
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        memcpy(&four->sin_addr, gid + 12, 4);
        return;
    }
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    if (IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
        six->sin6_scope_id = port_used->gid.ndev_ifindex;
}

/* ---- events ---- */

struct rdma_event_channel *kofn__verbs_cm_channel(void)
{
    struct rdma_event_channel *channel = rdma_create_event_channel();

    if (channel)
        fcntl(channel->fd, F_SETFL, fcntl(channel->fd, F_GETFL) | O_NONBLOCK);
    return channel;
}

static void copy_event(struct kofn__verbs_cm_event *copy, const struct rdma_cm_event *event)
{
    *copy = (struct kofn__verbs_cm_event){
        .type = event->event, .status = event->status, .id = event->id};
    if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST || !event->param.conn.private_data ||
        event->param.conn.private_data_len < sizeof(copy->greeting))
        return;
    memcpy(&copy->greeting, event->param.conn.private_data, sizeof(copy->greeting));
    copy->greeted = true;
}

int kofn__verbs_cm_next(struct rdma_event_channel *channel, uint64_t deadline,
                        struct kofn__verbs_cm_event *event)
{
    struct pollfd ready = {.fd = channel->fd, .events = POLLIN};
    struct rdma_cm_event *next;
    uint64_t now;

    while (rdma_get_cm_event(channel, &next)) {
        if (errno != EAGAIN && errno != EINTR)
            return KOFN_SYSTEM;
        now = kofn_now_ns();
        if (now >= deadline)
            return KOFN_AGAIN;
        poll(&ready, 1, (int)((deadline - now + KOFN_NS_PER_MS - 1) / KOFN_NS_PER_MS));
    }
    copy_event(event, next);
    rdma_ack_cm_event(next); /* at once: an id cannot be destroyed while one is out */
    return 0;
}

/* ---- queue pairs ---- */

int kofn__verbs_cm_init(struct kofn__verbs_port *port, struct ibv_qp *qp, struct rdma_cm_id *id,
                        unsigned access)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_INIT};
    int mask = 0;

    if (rdma_init_qp_attr(id, &attr, &mask))
        return errno;
    attr.port_num = port->number;
    attr.qp_access_flags = access;
    return ibv_modify_qp(qp, &attr, mask | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

int kofn__verbs_cm_ready(struct kofn__verbs_port *port, struct ibv_qp *qp, struct rdma_cm_id *id,
                         const struct kofn__verbs_end *ours, const struct kofn__verbs_end *theirs)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RTR};
    int mask = 0, error;

    if (rdma_init_qp_attr(id, &attr, &mask))
        return errno;
    kofn__verbs_receive_attr(ours, theirs, &attr);
    if (attr.ah_attr.is_global) {
        attr.ah_attr.grh.hop_limit = (uint8_t)port->options.hops;
        attr.ah_attr.grh.traffic_class = port->traffic;
    }
    error = ibv_modify_qp(qp, &attr, mask);
    if (error)
        return error;
    attr = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTS};
    if (rdma_init_qp_attr(id, &attr, &mask))
        return errno;
    kofn__verbs_send_attr(port, ours, theirs, &attr);
    return ibv_modify_qp(qp, &attr, mask);
}

struct rdma_conn_param kofn__verbs_cm_param(const struct kofn__verbs_port *port,
                                            const struct kofn__verbs_end *ours,
                                            const struct kofn__verbs_end *theirs, uint32_t which)
{
    return (struct rdma_conn_param){.responder_resources = ours->depth,
                                    .initiator_depth = KOFN_MIN(ours->depth, theirs->depth),
                                    .retry_count = (uint8_t)port->options.retries,
                                    .rnr_retry_count = 7,
                                    .qp_num = ours->qpn[which]};
}

bool kofn__verbs_cm_over(const struct rdma_cm_id *id, const struct kofn__verbs_port *port)
{
    return id->verbs && id->port_num == port->number &&
           !strcmp(ibv_get_device_name(id->verbs->device),
                   ibv_get_device_name(port->context->device));
}

/* ---- sentences ---- */

const char *kofn__verbs_cm_text(enum rdma_cm_event_type type, int status,
                                char text[KOFN__VERBS_CM_TEXT])
{
    const char *what;

    switch (type) {
    case RDMA_CM_EVENT_ADDR_ERROR:
        what = "its address is not found: is it on a network of RDMA devices?";
        break;
    case RDMA_CM_EVENT_ROUTE_ERROR:
        what = "there is no path to it: subnet manager, routes";
        break;
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
        what = "it does not answer: GID, MTU, firewall on UDP 4791";
        break;
    case RDMA_CM_EVENT_REJECTED:
        what = "it refuses the connection";
        break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        what = "the device was removed";
        break;
    case RDMA_CM_EVENT_DISCONNECTED:
        what = "it has gone away meanwhile";
        break;
    default:
        what = rdma_event_str(type);
        break;
    }
    snprintf(text, KOFN__VERBS_CM_TEXT, "%s (%d)", what, status);
    return text;
}
