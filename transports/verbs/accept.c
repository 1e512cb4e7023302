/* The hub's side of the connection manager: it listens, and takes those calls that it waits for. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transports/verbs/hub.h"

#define BACKLOG_MAX 1024
#define EVENTS_MOST 64 /* taken in one call: the rest at the next look */

/* An id knows whose it is: 1 + rank * 2 + lane; the one that listens, nobody's: 0. */
static void *owner(uint32_t rank, uint32_t which)
{
    return (void *)(uintptr_t)(1 + rank * KOFN__VERBS_PAIRS + which);
}

static struct kofn__verbs_member *owner_of(struct kofn__verbs_hub *hub, const struct rdma_cm_id *id,
                                           uint32_t *which)
{
    uintptr_t number = (uintptr_t)id->context;

    if (!number)
        return NULL;
    *which = (uint32_t)((number - 1) % KOFN__VERBS_PAIRS);
    return &hub->members[(number - 1) / KOFN__VERBS_PAIRS];
}

/* ---- listening ---- */

/* The address that workers are to call: that of the port, or, where its own is none of the internet
 * protocol, that of the control channel.
 */
static int choose_address(struct kofn__verbs_hub *hub, const char *bind)
{
    const struct kofn__verbs_port *port = &hub->port;
    union ibv_gid gid = port->gid.gid;

    if (port->attr.link_layer != IBV_LINK_LAYER_ETHERNET &&
        (!bind || !kofn__verbs_gid_parse(bind, &gid) || kofn__verbs_gid_wildcard(&gid)))
        return kofn_error(hub->hub.log, KOFN_INVALID,
                          "verbs: %s: connect=rdmacm needs the address of its interface (IPoIB): "
                          "give it with --address tcp:ADDRESS:PORT",
                          port->name);
    memcpy(hub->listener.address, gid.raw, sizeof(gid.raw));
    return 0;
}

int kofn__verbs_listen(struct kofn__verbs_hub *hub, const char *bind)
{
    struct kofn__verbs_listener *listener = &hub->listener;
    struct sockaddr_storage address;
    char text[KOFN__VERBS_GID_TEXT];
    union ibv_gid gid;
    int rc;

    if (hub->port.options.connect != KOFN__VERBS_RDMACM)
        return 0;
    rc = choose_address(hub, bind);
    if (rc)
        return rc;
    listener->channel = kofn__verbs_cm_channel();
    if (!listener->channel)
        return kofn_error_errno(hub->hub.log, "verbs: no connection manager (modprobe rdma_ucm)");
    kofn__verbs_cm_address(&hub->port, listener->address, 0, &address);
    memcpy(gid.raw, listener->address, sizeof(gid.raw));
    if (rdma_create_id(listener->channel, &listener->id, NULL, RDMA_PS_TCP) ||
        rdma_bind_addr(listener->id, (struct sockaddr *)&address) ||
        rdma_listen(listener->id, (int)KOFN_MIN(hub->hub.workers * KOFN__VERBS_PAIRS, BACKLOG_MAX)))
        return kofn_error_errno(hub->hub.log,
                                "verbs: %s: the connection manager cannot listen on %s",
                                hub->port.name, kofn__verbs_gid_print(&gid, text));
    listener->port = ntohs(rdma_get_src_port(listener->id));
    return 0;
}

void kofn__verbs_listen_end(struct kofn__verbs_hub *hub)
{
    if (hub->listener.id)
        rdma_destroy_id(hub->listener.id);
    if (hub->listener.channel)
        rdma_destroy_event_channel(hub->listener.channel);
    hub->listener.id = NULL;
    hub->listener.channel = NULL;
}

/* ---- calls ---- */

/* The member and lane that is called, if it is one that is being admitted and not yet called. */
static struct kofn__verbs_member *called(struct kofn__verbs_hub *hub,
                                         const struct kofn__verbs_cm_event *event)
{
    const struct kofn__verbs_greeting *greeting = &event->greeting;
    struct kofn__verbs_greeting wanted;
    struct kofn__verbs_member *member;

    if (!event->greeted || greeting->rank >= hub->hub.workers ||
        greeting->which >= KOFN__VERBS_PAIRS)
        return NULL;
    member = &hub->members[greeting->rank];
    kofn__verbs_greeting_make(&wanted, &member->offer, greeting->which);
    if (member->place != KOFN__VERBS_ADMITTED || member->ids[greeting->which] ||
        memcmp(greeting, &wanted, sizeof(wanted)) || !kofn__verbs_cm_over(event->id, &hub->port))
        return NULL;
    return member;
}

static void refuse(struct kofn__verbs_hub *hub, struct rdma_cm_id *id)
{
    if (!hub->listener.strangers++)
        kofn_log(hub->hub.log, KOFN_LOG_WARN,
                 "verbs: %s: refused a connection of somebody who is no worker that is being "
                 "admitted; further ones are refused without a word",
                 hub->port.name);
    rdma_reject(id, NULL, 0);
    rdma_destroy_id(id);
}

static void take_call(struct kofn__verbs_hub *hub, const struct kofn__verbs_cm_event *event)
{
    struct kofn__verbs_member *member = called(hub, event);

    if (!member) {
        refuse(hub, event->id);
        return;
    }
    member->ids[event->greeting.which] = event->id;
    event->id->context = owner(event->greeting.rank, event->greeting.which);
}

/* What has happened to a connection of one that is being admitted. */
static void take_event(struct kofn__verbs_hub *hub, const struct kofn__verbs_cm_event *event)
{
    uint32_t which;
    struct kofn__verbs_member *member = owner_of(hub, event->id, &which);

    if (event->type == RDMA_CM_EVENT_CONNECT_REQUEST) {
        take_call(hub, event);
        return;
    }
    if (!member || member->ids[which] != event->id || member->place != KOFN__VERBS_ADMITTED)
        return; /* what becomes of a connection that is made, the device says */
    if (event->type == RDMA_CM_EVENT_ESTABLISHED)
        member->established |= 1u << which;
    else if (event->type != RDMA_CM_EVENT_TIMEWAIT_EXIT)
        kofn__verbs_cm_text(event->type, event->status, member->refused);
}

int kofn__verbs_listen_events(struct kofn__verbs_hub *hub)
{
    struct kofn__verbs_cm_event event;
    int rc;

    if (!hub->listener.channel)
        return KOFN_AGAIN;
    rc = kofn__verbs_cm_next(hub->listener.channel, 0, &event);
    if (rc)
        return rc;
    for (int left = EVENTS_MOST; left > 0 && !rc; left--) {
        take_event(hub, &event);
        if (left > 1)
            rc = kofn__verbs_cm_next(hub->listener.channel, 0, &event);
    }
    return 0;
}

/* ---- acceptance ---- */

static bool has_called(const struct kofn__verbs_member *member)
{
    return member->ids[KOFN__VERBS_DATA] && member->ids[KOFN__VERBS_WORDS];
}

static bool is_established(const struct kofn__verbs_member *member)
{
    return member->established == (1u << KOFN__VERBS_PAIRS) - 1;
}

static int accept_lane(struct kofn__verbs_hub *hub, struct kofn__verbs_member *member,
                       const struct kofn__verbs_end *theirs, uint32_t which, unsigned access)
{
    struct rdma_conn_param param =
        kofn__verbs_cm_param(&hub->port, &member->offer.end, theirs, which);
    struct ibv_qp *qp = member->lanes[which].qp;
    struct rdma_cm_id *id = member->ids[which];
    int error = kofn__verbs_cm_init(&hub->port, qp, id, access);

    error = error ? error : kofn__verbs_cm_ready(&hub->port, qp, id, &member->offer.end, theirs);
    param.srq = 1;
    if (error)
        return error;
    return rdma_accept(id, &param) ? errno : 0;
}

static int accept_lanes(struct kofn__verbs_hub *hub, uint32_t rank, unsigned access)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    int error = 0;

    for (uint32_t i = 0; !error && i < KOFN__VERBS_PAIRS; i++)
        error = accept_lane(hub, member, &member->peer, i, access);
    member->accepted = !error;
    errno = error;
    return error ? kofn_error_errno(hub->hub.log,
                                    "verbs: %s: rank %u: the connection manager cannot accept it",
                                    hub->port.name, rank)
                 : 0;
}

/* Nothing has come of late. */
static int be_patient(const struct kofn__verbs_hub *hub, uint32_t rank)
{
    const struct kofn__verbs_member *member = &hub->members[rank];

    if (kofn_now_ns() < member->connect_ns)
        return KOFN_AGAIN;
    return kofn_error(hub->hub.log, KOFN_TIMEOUT,
                      "verbs: %s: rank %u: no %s over the connection manager in %.1f s: GID, MTU, "
                      "firewall on UDP 4791",
                      hub->port.name, rank, member->accepted ? "confirmation" : "call",
                      (double)hub->port.peer_limit / KOFN_NS_PER_S);
}

int kofn__verbs_accept(struct kofn__verbs_hub *hub, uint32_t rank, unsigned access)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    int rc = kofn__verbs_listen_events(hub);

    if (rc == KOFN_SYSTEM)
        return kofn_error_errno(hub->hub.log, "verbs: %s: the connection manager fails",
                                hub->port.name);
    if (member->refused[0])
        return kofn_error(hub->hub.log, KOFN_GONE, "verbs: %s: rank %u: %s", hub->port.name, rank,
                          member->refused);
    if (!member->accepted && has_called(member)) {
        rc = accept_lanes(hub, rank, access);
        if (rc)
            return rc;
    }
    return is_established(member) ? 0 : be_patient(hub, rank);
}

void kofn__verbs_accept_end(struct kofn__verbs_member *member)
{
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++)
        if (member->ids[i])
            rdma_destroy_id(member->ids[i]);
    memset(member->ids, 0, sizeof(member->ids));
}
