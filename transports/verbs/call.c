/* The worker's side of the connection manager: it calls the hub, and a thread confirms what the hub
 * has accepted, while the worker waits for the hub over the control channel.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transports/verbs/endpoint.h"

#define LOOK_NS (20 * KOFN_NS_PER_MS) /* of the thread: how often it looks whether it is to end */

/* ---- finding the way ---- */

static int find_error(struct kofn__verbs_endpoint *endpoint, int status, const char *why)
{
    char text[KOFN__VERBS_GID_TEXT];
    union ibv_gid gid;

    memcpy(gid.raw, endpoint->offer.address, sizeof(gid.raw));
    return kofn_error(endpoint->endpoint.log, status,
                      "verbs: %s: rank %u: the server (%s) cannot be reached over the connection "
                      "manager at %s: %s",
                      endpoint->port.name, endpoint->endpoint.rank, endpoint->endpoint.server,
                      kofn__verbs_gid_print(&gid, text), why);
}

/* A step cannot even be begun, for @error. */
static int step_error(struct kofn__verbs_endpoint *endpoint, const char *what, int error)
{
    struct kofn__verbs_call *call = &endpoint->call;

    snprintf(call->why, sizeof(call->why), "%s: %s", what, strerror(error));
    return find_error(endpoint, KOFN_GONE, call->why);
}

/* What it was waiting for has not come: @what, after so long, and a hint. */
static void put_late(struct kofn__verbs_call *call, const char *what, const char *hint)
{
    snprintf(call->why, sizeof(call->why), "%s after %.1f s%s", what,
             (double)(kofn_now_ns() - call->began) / 1e9, hint);
}

/* For the manager, which counts in ms. */
static int left_ms(const struct kofn__verbs_call *call)
{
    uint64_t now = kofn_now_ns(), left = call->deadline > now ? call->deadline - now : 0;

    return (int)KOFN_MIN(left / KOFN_NS_PER_MS + 1, (uint64_t)INT32_MAX);
}

/* Waits for what a step ends with; @what is not there yet when the time is over. */
static int await(struct kofn__verbs_endpoint *endpoint, enum rdma_cm_event_type wanted,
                 const char *what, const char *hint)
{
    struct kofn__verbs_call *call = &endpoint->call;
    struct kofn__verbs_cm_event event;
    char why[KOFN__VERBS_CM_TEXT];
    int rc = kofn__verbs_cm_next(call->channel, call->deadline, &event);

    if (rc == KOFN_AGAIN) {
        put_late(call, what, hint);
        return find_error(endpoint, KOFN_TIMEOUT, call->why);
    }
    if (rc)
        return kofn_error_errno(endpoint->endpoint.log, "verbs: %s: the connection manager fails",
                                endpoint->port.name);
    if (event.type == wanted)
        return 0;
    return find_error(endpoint, KOFN_GONE, kofn__verbs_cm_text(event.type, event.status, why));
}

static int find_address(struct kofn__verbs_endpoint *endpoint, struct rdma_cm_id *id)
{
    const struct kofn__verbs_port *port = &endpoint->port;
    bool own = port->attr.link_layer == IBV_LINK_LAYER_ETHERNET;
    struct sockaddr_storage from, to;
    uint8_t traffic = port->traffic;
    int rc;

    kofn__verbs_cm_address(port, port->gid.gid.raw, 0, &from);
    kofn__verbs_cm_address(port, endpoint->offer.address, (uint16_t)endpoint->offer.port, &to);
    rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &traffic, sizeof(traffic));
    if (own && from.ss_family != to.ss_family)
        return find_error(endpoint, KOFN_GONE,
                          "one side has an IPv4 address, the other IPv6: name a GID");
    if (rdma_resolve_addr(id, own ? (struct sockaddr *)&from : NULL, (struct sockaddr *)&to,
                          left_ms(&endpoint->call)))
        return step_error(endpoint, "its address cannot be resolved", errno);
    rc = await(endpoint, RDMA_CM_EVENT_ADDR_RESOLVED, "its address is not resolved",
               ": is it on that network, and awake?");
    if (rc)
        return rc;
    if (kofn__verbs_cm_over(id, port))
        return 0;
    return find_error(endpoint, KOFN_GONE, "the way there leads over another device or port");
}

static int find_way(struct kofn__verbs_endpoint *endpoint, struct rdma_cm_id *id)
{
    int rc = find_address(endpoint, id);

    if (rc)
        return rc;
    if (rdma_resolve_route(id, left_ms(&endpoint->call)))
        return step_error(endpoint, "no route to it can be looked for", errno);
    return await(endpoint, RDMA_CM_EVENT_ROUTE_RESOLVED, "no route to it is found",
                 ": subnet manager, routes");
}

/* ---- confirming ---- */

static uint32_t lane_of(const struct kofn__verbs_call *call, const struct rdma_cm_id *id)
{
    return id == call->ids[KOFN__VERBS_DATA] ? KOFN__VERBS_DATA : KOFN__VERBS_WORDS;
}

/* The hub has accepted a lane: from here on it may be written to, and may write. */
static int confirm(struct kofn__verbs_endpoint *endpoint, struct rdma_cm_id *id)
{
    struct kofn__verbs_call *call = &endpoint->call;
    int error = kofn__verbs_cm_ready(&endpoint->port, endpoint->lanes[lane_of(call, id)].qp, id,
                                     &call->ours, &endpoint->offer.end);

    if (!error && rdma_establish(id))
        error = errno;
    if (!error)
        return 0;
    snprintf(call->why, sizeof(call->why), "it cannot be confirmed: %s", strerror(error));
    rdma_reject(id, NULL, 0); /* the hub need not wait for it */
    return KOFN_GONE;
}

/* One event, if there is one; KOFN_AGAIN. */
static int take(struct kofn__verbs_endpoint *endpoint, uint64_t deadline, uint32_t *confirmed)
{
    struct kofn__verbs_call *call = &endpoint->call;
    struct kofn__verbs_cm_event event;
    int rc = kofn__verbs_cm_next(call->channel, deadline, &event);

    if (rc == KOFN_SYSTEM)
        snprintf(call->why, sizeof(call->why), "the connection manager fails: %s", strerror(errno));
    if (rc)
        return rc;
    if (event.type != RDMA_CM_EVENT_CONNECT_RESPONSE) {
        kofn__verbs_cm_text(event.type, event.status, call->why);
        return KOFN_GONE;
    }
    rc = confirm(endpoint, event.id);
    *confirmed += !rc;
    return rc;
}

static void *run(void *arg)
{
    struct kofn__verbs_endpoint *endpoint = arg;
    struct kofn__verbs_call *call = &endpoint->call;
    uint64_t now;
    uint32_t confirmed = 0;
    int rc = 0;

    while (!rc && confirmed < KOFN__VERBS_PAIRS) {
        now = kofn_now_ns();
        rc = take(endpoint, KOFN_MIN(call->deadline, now + LOOK_NS), &confirmed);
        if (rc == KOFN_AGAIN && now < call->deadline &&
            !__atomic_load_n(&call->stop, __ATOMIC_RELAXED))
            rc = 0;
    }
    if (rc == KOFN_AGAIN)
        put_late(call, "it has not answered the call", "");
    call->rc = rc;
    return NULL;
}

/* ---- the call ---- */

static int prepare(struct kofn__verbs_endpoint *endpoint, uint32_t which)
{
    struct kofn__verbs_call *call = &endpoint->call;
    int rc, error;

    if (rdma_create_id(call->channel, &call->ids[which], NULL, RDMA_PS_TCP))
        return kofn_error_errno(endpoint->endpoint.log, "verbs: %s: a connection of the manager's",
                                endpoint->port.name);
    rc = find_way(endpoint, call->ids[which]);
    if (rc)
        return rc;
    error = kofn__verbs_cm_init(&endpoint->port, endpoint->lanes[which].qp, call->ids[which],
                                KOFN__VERBS_HUB_ACCESS);
    return error ? step_error(endpoint, "a queue pair for it cannot be made ready", error) : 0;
}

static int connect_lane(struct kofn__verbs_endpoint *endpoint, uint32_t which)
{
    struct kofn__verbs_call *call = &endpoint->call;
    struct kofn__verbs_greeting greeting;
    struct rdma_conn_param param;

    kofn__verbs_greeting_make(&greeting, &endpoint->offer, which);
    param = kofn__verbs_cm_param(&endpoint->port, &call->ours, &endpoint->offer.end, which);
    param.private_data = &greeting;
    param.private_data_len = sizeof(greeting);
    if (rdma_connect(call->ids[which], &param))
        return step_error(endpoint, "it cannot be called", errno);
    return 0;
}

int kofn__verbs_call(struct kofn__verbs_endpoint *endpoint, const struct kofn__verbs_end *ours,
                     uint64_t deadline)
{
    struct kofn__verbs_call *call = &endpoint->call;
    sigset_t all, before;
    int rc = 0;

    call->ours = *ours;
    call->began = kofn_now_ns();
    call->deadline = deadline ? deadline : kofn_deadline(call->began, endpoint->port.peer_limit);
    call->channel = kofn__verbs_cm_channel();
    if (!call->channel)
        return kofn_error_errno(endpoint->endpoint.log,
                                "verbs: no connection manager (modprobe rdma_ucm)");
    for (uint32_t i = 0; !rc && i < KOFN__VERBS_PAIRS; i++)
        rc = prepare(endpoint, i);
    for (uint32_t i = 0; !rc && i < KOFN__VERBS_PAIRS; i++) /* what comes now is for the thread */
        rc = connect_lane(endpoint, i);
    if (rc)
        return rc;
    sigfillset(&all); /* signals are for the threads of the program */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&call->thread, NULL, run, endpoint);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errno)
        return kofn_error_errno(endpoint->endpoint.log, "verbs: rank %u: a thread",
                                endpoint->endpoint.rank);
    call->running = true;
    endpoint->failed = true; /* until it is known to be connected */
    return 0;
}

bool kofn__verbs_call_failed(struct kofn__verbs_endpoint *endpoint)
{
    struct kofn__verbs_call *call = &endpoint->call;

    if (!call->running)
        return endpoint->failed;
    pthread_join(call->thread, NULL);
    call->running = false;
    if (call->rc)
        find_error(endpoint, call->rc == KOFN_AGAIN ? KOFN_TIMEOUT : KOFN_GONE, call->why);
    endpoint->failed = call->rc;
    return endpoint->failed;
}

void kofn__verbs_call_stop(struct kofn__verbs_call *call)
{
    __atomic_store_n(&call->stop, true, __ATOMIC_RELAXED);
    if (call->running)
        pthread_join(call->thread, NULL);
    call->running = false;
}

void kofn__verbs_call_end(struct kofn__verbs_call *call)
{
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++)
        if (call->ids[i])
            rdma_destroy_id(call->ids[i]);
    if (call->channel)
        rdma_destroy_event_channel(call->channel);
    *call = (struct kofn__verbs_call){0};
}
