/* The connection manager of the fake device: listeners, calls and events inside this process. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/verbs/fake_inside.h"

#define PRIVATE 56 /* bytes that go with a call */
#define IDS 256

struct fake_cm_event {
    struct rdma_cm_event event;
    unsigned char data[PRIVATE];
    struct fake_cm_event *next;
};

struct fake_cm_channel {
    struct rdma_event_channel channel;
    struct fake_cm_event *first;
    unsigned out; /* events that have been taken and not been given back */
};

struct fake_cm_id {
    struct rdma_cm_id id;
    struct fake_cm_id *peer; /* once it calls, or is called */
    uint32_t qpn;            /* its own, as it has said; 0 = not yet */
    uint16_t port;           /* host order; 0 = not bound */
    bool listens, established;
};

static struct fake_cm_id *ids[IDS];
static uint16_t next_port = 20000;
static int step_ms; /* many call at once */

int fake_step_ms(void)
{
    return __atomic_load_n(&step_ms, __ATOMIC_RELAXED);
}

/* What is asked of the manager; a test may change it while others call. */
static int how(void)
{
    return __atomic_load_n(&fake_device.manager, __ATOMIC_RELAXED);
}

static void live(int change)
{
    fake_lock();
    fake_world.live += (unsigned)change;
    fake_unlock();
}

/* ---- events ---- */

/* Under the lock. @data: of a call; NULL = nothing comes with it. */
static void happen(struct fake_cm_id *id, struct rdma_cm_id *listener, enum rdma_cm_event_type type,
                   const void *data, uint8_t bytes)
{
    struct fake_cm_channel *channel = (struct fake_cm_channel *)id->id.channel;
    struct fake_cm_event **last = &channel->first, *event = calloc(1, sizeof(*event));
    uint64_t one = 1;

    event->event = (struct rdma_cm_event){.id = &id->id, .listen_id = listener, .event = type};
    if (data) {
        memcpy(event->data, data, bytes);
        event->event.param.conn.private_data = event->data;
        event->event.param.conn.private_data_len = PRIVATE; /* padded, as on a network */
    }
    while (*last)
        last = &(*last)->next;
    *last = event;
    if (write(channel->channel.fd, &one, sizeof(one)) != sizeof(one))
        abort();
}

/* This step ends with what the test has asked for, if it has; else well. */
static void end_step(struct fake_cm_id *id, enum rdma_cm_event_type good,
                     enum rdma_cm_event_type bad, enum rdma_cm_event_type worse)
{
    int asked = how();

    fake_lock();
    if (asked == (int)bad || asked == (int)worse)
        happen(id, NULL, (enum rdma_cm_event_type)asked, NULL, 0);
    else if (asked != FAKE_MANAGER_MUTE &&
             (asked != FAKE_MANAGER_SILENT || good == RDMA_CM_EVENT_ADDR_RESOLVED))
        happen(id, NULL, good, NULL, 0);
    fake_unlock();
}

struct rdma_event_channel *rdma_create_event_channel(void)
{
    struct fake_cm_channel *channel;

    if (fake_fails("rdma_create_event_channel"))
        return NULL;
    channel = calloc(1, sizeof(*channel));
    channel->channel.fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    live(1);
    return &channel->channel;
}

void rdma_destroy_event_channel(struct rdma_event_channel *base)
{
    struct fake_cm_channel *channel = (struct fake_cm_channel *)base;

    while (channel->first) {
        struct fake_cm_event *event = channel->first;

        channel->first = event->next;
        free(event);
    }
    close(base->fd);
    free(channel);
    live(-1);
}

/* Something more has happened, to an id that is nobody's. */
static void chat(struct fake_cm_channel *channel)
{
    static struct fake_cm_id nobody;

    fake_lock();
    if (fake_device.chatter) {
        fake_device.chatter--;
        nobody.id.channel = &channel->channel;
        happen(&nobody, NULL, RDMA_CM_EVENT_TIMEWAIT_EXIT, NULL, 0);
    }
    fake_unlock();
}

int rdma_get_cm_event(struct rdma_event_channel *base, struct rdma_cm_event **out)
{
    struct fake_cm_channel *channel = (struct fake_cm_channel *)base;
    struct fake_cm_event *event = NULL;
    uint64_t got;

    if (fake_fails("rdma_get_cm_event"))
        return -1;
    chat(channel);
    while (!event) { /* those of ids that have been destroyed are none any more */
        if (read(base->fd, &got, sizeof(got)) < 0)
            return -1;
        fake_lock();
        event = channel->first;
        if (event) {
            channel->first = event->next;
            channel->out++;
            fake_world.live++;
        }
        fake_unlock();
    }
    *out = &event->event;
    return 0;
}

int rdma_ack_cm_event(struct rdma_cm_event *base)
{
    fake_lock();
    ((struct fake_cm_channel *)base->id->channel)->out--;
    fake_world.live--;
    fake_unlock();
    free(base);
    return 0;
}

const char *rdma_event_str(enum rdma_cm_event_type event)
{
    return event == RDMA_CM_EVENT_TIMEWAIT_EXIT ? "time is over" : "another event";
}

/* ---- ids ---- */

static struct fake_cm_id *make_id(struct rdma_event_channel *channel, void *context)
{
    struct fake_cm_id *id = calloc(1, sizeof(*id));

    id->id.channel = channel;
    id->id.context = context;
    fake_lock();
    for (int i = 0; i < IDS; i++)
        if (!ids[i]) {
            ids[i] = id;
            break;
        }
    fake_world.live++;
    fake_unlock();
    return id;
}

int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **out, void *context,
                   enum rdma_port_space space)
{
    if (fake_fails("rdma_create_id") || space != RDMA_PS_TCP)
        return -1;
    *out = &make_id(channel, context)->id;
    return 0;
}

/* Under the lock: the id is no more, and its other side learns of that. */
static void forget(struct fake_cm_id *id)
{
    if (id->peer) {
        id->peer->peer = NULL;
        happen(id->peer, NULL,
               id->established ? RDMA_CM_EVENT_DISCONNECTED : RDMA_CM_EVENT_REJECTED, NULL, 0);
    }
    for (int i = 0; i < IDS; i++)
        if (ids[i] == id)
            ids[i] = NULL;
    fake_world.live--;
    free(id);
}

/* What has not been taken of its events is none any more, and calls that nobody has taken end. */
static void drop_events(struct fake_cm_id *id)
{
    struct fake_cm_event **event = &((struct fake_cm_channel *)id->id.channel)->first;

    while (*event) {
        struct fake_cm_event *of_it = *event;

        if (of_it->event.id != &id->id && of_it->event.listen_id != &id->id) {
            event = &of_it->next;
            continue;
        }
        *event = of_it->next;
        if (of_it->event.listen_id == &id->id) {
            struct fake_cm_id *called = (struct fake_cm_id *)of_it->event.id;

            drop_events(called);
            forget(called);
            event = &((struct fake_cm_channel *)id->id.channel)->first;
        }
        free(of_it);
    }
}

int rdma_destroy_id(struct rdma_cm_id *base)
{
    struct fake_cm_id *id = (struct fake_cm_id *)base;

    fake_lock();
    drop_events(id);
    forget(id);
    fake_unlock();
    return 0;
}

int rdma_set_option(struct rdma_cm_id *base, int level, int name, void *value, size_t bytes)
{
    (void)base;
    (void)value;
    if (fake_fails("rdma_set_option") || level != RDMA_OPTION_ID || name != RDMA_OPTION_ID_TOS ||
        bytes != 1)
        return -1;
    return 0;
}

int rdma_bind_addr(struct rdma_cm_id *base, struct sockaddr *address)
{
    struct fake_cm_id *id = (struct fake_cm_id *)base;

    (void)address;
    if (fake_fails("rdma_bind_addr"))
        return -1;
    fake_lock();
    id->port = next_port++;
    fake_unlock();
    return 0;
}

int rdma_listen(struct rdma_cm_id *base, int backlog)
{
    if (fake_fails("rdma_listen") || backlog < 1)
        return -1;
    ((struct fake_cm_id *)base)->listens = true;
    return 0;
}

__be16 rdma_get_src_port(struct rdma_cm_id *base)
{
    return htons(((struct fake_cm_id *)base)->port);
}

/* ---- calls ---- */

int rdma_resolve_addr(struct rdma_cm_id *base, struct sockaddr *from, struct sockaddr *to,
                      int timeout_ms)
{
    static struct ibv_device other = {.name = "fake1"};
    struct fake_cm_id *id = (struct fake_cm_id *)base;

    if (fake_fails("rdma_resolve_addr") || timeout_ms < 1 ||
        (from && from->sa_family != to->sa_family))
        return -1;
    __atomic_store_n(&step_ms, timeout_ms, __ATOMIC_RELAXED);
    base->verbs = fake_context_of(how() == FAKE_MANAGER_OTHER_DEVICE ? &other : NULL);
    base->port_num = 1;
    id->port = ntohs(to->sa_family == AF_INET ? ((struct sockaddr_in *)(void *)to)->sin_port
                                              : ((struct sockaddr_in6 *)(void *)to)->sin6_port);
    end_step(id, RDMA_CM_EVENT_ADDR_RESOLVED, RDMA_CM_EVENT_ADDR_ERROR, RDMA_CM_EVENT_ADDR_ERROR);
    return 0;
}

int rdma_resolve_route(struct rdma_cm_id *base, int timeout_ms)
{
    if (fake_fails("rdma_resolve_route") || timeout_ms < 1)
        return -1;
    __atomic_store_n(&step_ms, timeout_ms, __ATOMIC_RELAXED);
    end_step((struct fake_cm_id *)base, RDMA_CM_EVENT_ROUTE_RESOLVED, RDMA_CM_EVENT_ROUTE_ERROR,
             RDMA_CM_EVENT_ROUTE_ERROR);
    return 0;
}

/* Who listens at @port, or NULL. It stays there while others connect. */
static struct fake_cm_id *listener_at(uint16_t port)
{
    struct fake_cm_id *listener = NULL;

    fake_lock();
    for (int i = 0; i < IDS; i++)
        if (ids[i] && ids[i]->listens && ids[i]->port == port)
            listener = ids[i];
    fake_unlock();
    return listener;
}

int rdma_connect(struct rdma_cm_id *base, struct rdma_conn_param *param)
{
    struct fake_cm_id *id = (struct fake_cm_id *)base, *listener, *called;

    if (fake_fails("rdma_connect") || param->private_data_len > PRIVATE || !param->qp_num ||
        param->retry_count > 6)
        return -1;
    id->qpn = param->qp_num;
    listener = listener_at(id->port);
    if (!listener || how() == RDMA_CM_EVENT_UNREACHABLE || how() == RDMA_CM_EVENT_REJECTED) {
        end_step(id, RDMA_CM_EVENT_REJECTED, RDMA_CM_EVENT_UNREACHABLE, RDMA_CM_EVENT_REJECTED);
        return 0;
    }
    called = make_id(listener->id.channel, listener->id.context);
    called->id.verbs = base->verbs;
    called->id.port_num = base->port_num;
    fake_lock();
    called->peer = id;
    id->peer = called;
    happen(called, &listener->id, RDMA_CM_EVENT_CONNECT_REQUEST, param->private_data,
           param->private_data_len);
    fake_unlock();
    return 0;
}

/* What the other side learns of what this one has done. */
static int tell(struct rdma_cm_id *base, const char *call, enum rdma_cm_event_type type)
{
    struct fake_cm_id *id = (struct fake_cm_id *)base;

    if (fake_fails(call))
        return -1;
    fake_lock();
    if (type == RDMA_CM_EVENT_ESTABLISHED && id->peer)
        id->established = id->peer->established = true;
    if (id->peer)
        happen(id->peer, NULL, type, NULL, 0);
    if (type == RDMA_CM_EVENT_REJECTED && id->peer) {
        id->peer->peer = NULL;
        id->peer = NULL;
    }
    fake_unlock();
    return 0;
}

int rdma_accept(struct rdma_cm_id *base, struct rdma_conn_param *param)
{
    ((struct fake_cm_id *)base)->qpn = param->qp_num;
    return tell(base, "rdma_accept", RDMA_CM_EVENT_CONNECT_RESPONSE);
}

static pthread_mutex_t pace = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void fake_set_manager(int manager)
{
    pthread_mutex_lock(&pace);
    __atomic_store_n(&fake_device.manager, manager, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&pace);
}

int rdma_establish(struct rdma_cm_id *base)
{
    pthread_mutex_lock(&pace);
    while (how() == FAKE_MANAGER_SLOW)
        pthread_cond_wait(&changed, &pace);
    pthread_mutex_unlock(&pace);
    if (how() == FAKE_MANAGER_UNCONFIRMED)
        return 0;
    return tell(base, "rdma_establish", RDMA_CM_EVENT_ESTABLISHED);
}

int rdma_reject(struct rdma_cm_id *base, const void *data, uint8_t bytes)
{
    (void)data;
    (void)bytes;
    return tell(base, "rdma_reject", RDMA_CM_EVENT_REJECTED);
}

int rdma_init_qp_attr(struct rdma_cm_id *base, struct ibv_qp_attr *attr, int *mask)
{
    const struct fake_cm_id *id = (struct fake_cm_id *)base;

    if (fake_fails("rdma_init_qp_attr"))
        return -1;
    *mask = IBV_QP_STATE;
    if (attr->qp_state == IBV_QPS_INIT)
        *mask |= IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
    if (attr->qp_state == IBV_QPS_RTS)
        *mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                 IBV_QP_MAX_QP_RD_ATOMIC;
    if (attr->qp_state != IBV_QPS_RTR)
        return 0;
    if (!id->peer || !id->peer->qpn) { /* not before the other side has been heard of */
        errno = EINVAL;
        return -1;
    }
    *mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
             IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
    attr->dest_qp_num = id->peer->qpn;
    attr->ah_attr.is_global = 1;
    return 0;
}
