/* cm.h: connections that the RDMA connection manager makes (connect=rdmacm): it finds the path by
 * addresses, as the network has it. cm.c has what both sides need, accept.c the hub's, call.c the
 * worker's.
 *
 * A worker has two, one a lane; queue pairs are kofn's own. The hub listens. The worker calls with
 * a greeting: which lane of which rank and epoch it is, and the nonce of the hub's offer; who does
 * not know that is a stranger, and is refused. All else is told by the offers, as without the
 * manager, and both sides still wait for each other over the control channel.
 *
 *   worker                                        hub
 *   endpoint_open(): finds the way, calls ----->  the call waits
 *   its answer, over the control channel  ----->  hub_connect(): accepts
 *   a thread of the endpoint confirms     ----->  it is established: hub_connect(), called again
 *
 * The hub waits for none of it: hub_connect() answers KOFN_AGAIN until then. Every step has a
 * deadline; the hub's is the peer's time-out, in which the manager sends what is lost several
 * times.
 */
#ifndef KOFN_TRANSPORTS_VERBS_CM_H
#define KOFN_TRANSPORTS_VERBS_CM_H

#include <netinet/in.h>
#include <rdma/rdma_cma.h>

#include "transports/verbs/offer.h"

#define KOFN__VERBS_CM_TEXT 80

/* Sent with a call; at most 56 bytes. */
struct kofn__verbs_greeting {
    char magic[8];
    uint64_t nonce;
    uint32_t rank, epoch, which, zero;
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__verbs_greeting) <= 56, "a call carries it");

/* The greeting of one lane, by the hub's offer; the same on both sides. */
void kofn__verbs_greeting_make(struct kofn__verbs_greeting *greeting,
                               const struct kofn__verbs_offer *offer, uint32_t which);

/* @gid, which is an IP address, and @port in host order, as a socket's address. @port_used: whose
 * interface link-local addresses are of.
 */
void kofn__verbs_cm_address(const struct kofn__verbs_port *port_used, const unsigned char gid[16],
                            uint16_t port, struct sockaddr_storage *address);

/* An event channel that is looked at without waiting; NULL and errno. */
struct rdma_event_channel *kofn__verbs_cm_channel(void);

/* Takes the next event of @channel if there is one before @deadline (0 = now), and gives it back to
 * the manager: @event is a copy, with as much of a greeting as came with it. Returns 0, KOFN_AGAIN,
 * KOFN_SYSTEM.
 */
struct kofn__verbs_cm_event {
    enum rdma_cm_event_type type;
    int status;
    struct rdma_cm_id *id;
    bool greeted;
    struct kofn__verbs_greeting greeting;
};
int kofn__verbs_cm_next(struct rdma_event_channel *channel, uint64_t deadline,
                        struct kofn__verbs_cm_event *event);

/* Takes @qp to ready-to-receive, then to ready-to-send, along the path of @id; from any state
 * before. @access: as for kofn__verbs_connect(). Returns 0 or errno.
 */
int kofn__verbs_cm_init(struct kofn__verbs_port *port, struct ibv_qp *qp, struct rdma_cm_id *id,
                        unsigned access);
int kofn__verbs_cm_ready(struct kofn__verbs_port *port, struct ibv_qp *qp, struct rdma_cm_id *id,
                         const struct kofn__verbs_end *ours, const struct kofn__verbs_end *theirs);

/* What a call or its acceptance says of this side. */
struct rdma_conn_param kofn__verbs_cm_param(const struct kofn__verbs_port *port,
                                            const struct kofn__verbs_end *ours,
                                            const struct kofn__verbs_end *theirs, uint32_t which);

/* True if @id leads over @port. */
bool kofn__verbs_cm_over(const struct rdma_cm_id *id, const struct kofn__verbs_port *port);

/* Why a connection has not come about, and what to do: "... refused the connection". Returns @text.
 */
const char *kofn__verbs_cm_text(enum rdma_cm_event_type type, int status,
                                char text[KOFN__VERBS_CM_TEXT]);

#endif
