/* What is made and destroyed of the fake device. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/verbs/fake_inside.h"

#undef ibv_reg_mr
#undef ibv_query_port

struct fake_device fake_device;
struct fake_world fake_world = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .next_pair = 1, .next_region = 1};
static struct ibv_device device = {.name = "fake0", .dev_name = "uverbs0"};
static struct ibv_device second = {.name = "fake1", .dev_name = "uverbs1"};
static struct fake_context *contexts[FAKE_OBJECTS];

void fake_lock(void)
{
    pthread_mutex_lock(&fake_world.lock);
}

void fake_unlock(void)
{
    pthread_mutex_unlock(&fake_world.lock);
}

/* Before main(), too: a program begins with the device as it is described. */
__attribute__((constructor)) static void describe(void)
{
    fake_device = (struct fake_device){.present = true,
                                       .active = true,
                                       .vendor = 0x2c9,
                                       .inlined = 220,
                                       .message = 1u << 30,
                                       .completions = 32767,
                                       .atomic = IBV_ATOMIC_HCA,
                                       .transport = IBV_TRANSPORT_IB,
                                       .link_layer = IBV_LINK_LAYER_ETHERNET,
                                       .handles = true,
                                       .manager = FAKE_MANAGER_WORKS};
}

static void count(int change)
{
    fake_lock();
    fake_world.live += (unsigned)change;
    fake_unlock();
}

void fake_reset(void)
{
    describe();
    fake_fail(NULL, 0, 0);
    fake_hold(false);
}

unsigned fake_live(void)
{
    return fake_world.live;
}

void fake_fail(const char *function, unsigned nth, int error)
{
    fake_lock();
    fake_world.fail = function;
    fake_world.nth = nth;
    fake_world.error = error;
    fake_world.calls = 0;
    fake_unlock();
}

unsigned fake_failed(void)
{
    return fake_world.fail && fake_world.calls >= KOFN_MAX(fake_world.nth, 1u);
}

bool fake_fails(const char *function)
{
    bool fails = false;
    int error;

    fake_lock();
    if (fake_world.fail && !strcmp(fake_world.fail, function))
        fails = ++fake_world.calls == fake_world.nth || !fake_world.nth;
    error = fake_world.error;
    fake_unlock();
    if (fails)
        errno = error;
    return fails;
}

/* ---- devices ---- */

struct ibv_device **ibv_get_device_list(int *number)
{
    struct ibv_device **list;

    if (fake_fails("ibv_get_device_list"))
        return NULL;
    list = calloc(3, sizeof(*list));
    if (device.transport_type != fake_device.transport) /* others may be reading it */
        device.transport_type = fake_device.transport;
    list[0] = fake_device.present ? &device : NULL;
    list[1] = fake_device.present && fake_device.second ? &second : NULL;
    if (number)
        *number = fake_device.present + (list[1] != NULL);
    count(1);
    return list;
}

void ibv_free_device_list(struct ibv_device **list)
{
    free(list);
    count(-1);
}

const char *ibv_get_device_name(struct ibv_device *of)
{
    return of->name;
}

/* ---- thread domains: of a device that has them ---- */

static struct ibv_td *alloc_td(struct ibv_context *context, struct ibv_td_init_attr *attr)
{
    struct fake_td *domain;

    if (attr->comp_mask || fake_fails("ibv_alloc_td"))
        return NULL;
    domain = calloc(1, sizeof(*domain));
    domain->td.context = context;
    count(1);
    return &domain->td;
}

static int dealloc_td(struct ibv_td *base)
{
    if (((struct fake_td *)base)->users)
        return EBUSY;
    free(base);
    count(-1);
    return 0;
}

static struct ibv_pd *alloc_parent_domain(struct ibv_context *context,
                                          struct ibv_parent_domain_init_attr *attr)
{
    struct fake_pd *domain;

    if (!attr->pd || !attr->td || fake_fails("ibv_alloc_parent_domain"))
        return NULL;
    domain = calloc(1, sizeof(*domain));
    domain->pd.context = context;
    domain->below = (struct fake_pd *)attr->pd;
    domain->below->users++;
    domain->td = (struct fake_td *)attr->td;
    domain->td->users++;
    count(1);
    return &domain->pd;
}

struct ibv_context *ibv_open_device(struct ibv_device *of)
{
    struct fake_context *context;
    struct ibv_context *base;

    if (fake_fails("ibv_open_device"))
        return NULL;
    context = calloc(1, sizeof(*context));
    context->extended = (struct verbs_context){.sz = sizeof(context->extended),
                                               .alloc_td = alloc_td,
                                               .dealloc_td = dealloc_td,
                                               .alloc_parent_domain = alloc_parent_domain};
    base = &context->extended.context;
    base->device = of;
    base->ops = fake_ops;
    base->async_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    base->abi_compat = fake_device.domains ? __VERBS_ABI_IS_EXTENDED : NULL;
    fake_lock();
    for (int i = 0; i < FAKE_OBJECTS; i++)
        if (!contexts[i]) {
            contexts[i] = context;
            break;
        }
    fake_world.live++;
    fake_unlock();
    return base;
}

struct ibv_context *fake_context_of(struct ibv_device *of)
{
    static struct ibv_context own = {.device = &device};
    static struct ibv_context other;

    if (!of)
        return &own;
    other.device = of;
    return &other;
}

int ibv_close_device(struct ibv_context *base)
{
    fake_lock();
    for (int i = 0; i < FAKE_OBJECTS; i++)
        if (contexts[i] == fake_context(base))
            contexts[i] = NULL;
    fake_world.live--;
    fake_unlock();
    close(base->async_fd);
    free(fake_context(base));
    return 0;
}

void fake_event(enum ibv_event_type type)
{
    fake_lock();
    for (int i = 0; i < FAKE_OBJECTS; i++)
        if (contexts[i])
            fake_raise(contexts[i], type, NULL);
    fake_unlock();
}

void fake_pair_event(enum ibv_event_type type, uint32_t number)
{
    struct fake_qp *pair;

    fake_lock();
    pair = fake_world.pairs[number % FAKE_OBJECTS];
    fake_break(pair, IBV_WC_WR_FLUSH_ERR);
    fake_raise(fake_context(pair->qp.context), type, &pair->qp);
    fake_unlock();
}

void fake_raise(struct fake_context *context, enum ibv_event_type type, struct ibv_qp *pair)
{
    struct ibv_async_event event = {.event_type = type, .element.port_num = 1};
    uint64_t one = 1;

    if (pair)
        event.element.qp = pair;
    context->events[context->head++ % FAKE_EVENTS] = event;
    if (write(context->extended.context.async_fd, &one, sizeof(one)) != sizeof(one))
        abort();
}

int ibv_get_async_event(struct ibv_context *base, struct ibv_async_event *event)
{
    struct fake_context *context = fake_context(base);
    uint64_t got;

    if (fake_fails("ibv_get_async_event") || read(base->async_fd, &got, sizeof(got)) < 0)
        return -1;
    fake_lock();
    *event = context->events[context->tail++ % FAKE_EVENTS];
    fake_unlock();
    return 0;
}

void ibv_ack_async_event(struct ibv_async_event *event)
{
    (void)event;
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
    (void)context;
    if (fake_fails("ibv_query_device"))
        return fake_world.error;
    *attr = (struct ibv_device_attr){.vendor_id = fake_device.vendor,
                                     .max_qp = FAKE_OBJECTS,
                                     .max_qp_wr = 16384,
                                     .max_cqe = fake_device.completions,
                                     .max_mr = FAKE_OBJECTS,
                                     .max_qp_rd_atom = 16,
                                     .max_qp_init_rd_atom = 16,
                                     .atomic_cap = fake_device.atomic,
                                     .max_srq_wr = 32768,
                                     .phys_port_cnt = 1};
    return 0;
}

int ibv_query_port(struct ibv_context *context, uint8_t number, struct _compat_ibv_port_attr *out)
{
    struct ibv_port_attr *attr = (void *)out;

    (void)context;
    if (fake_fails("ibv_query_port"))
        return fake_world.error;
    if (number != 1)
        return EINVAL;
    attr->state = fake_device.active ? IBV_PORT_ACTIVE : IBV_PORT_DOWN;
    attr->max_mtu = attr->active_mtu = IBV_MTU_4096;
    attr->gid_tbl_len = 3;
    attr->max_msg_sz = fake_device.message;
    attr->lid = 7;
    attr->link_layer = fake_device.link_layer;
    return 0;
}

ssize_t _ibv_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries,
                             size_t most, uint32_t flags, size_t size)
{
    static const char *const addresses[][4] = {
        {"fe80::1", "::ffff:10.9.8.7", "::ffff:10.9.8.7", "2001:db8::7"},
        {"fe80::2", "::ffff:10.9.8.8", "::ffff:10.9.8.8", "2001:db8::8"}};
    uint32_t count = fake_device.second ? 4 : 3;

    (void)flags;
    if (fake_fails("ibv_query_gid_table") || size != sizeof(*entries) || most < count)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct ibv_gid_entry){.gid_index = i, .port_num = 1};
        entries[i].gid_type = i == 1 ? IBV_GID_TYPE_ROCE_V1 : IBV_GID_TYPE_ROCE_V2;
        inet_pton(AF_INET6, addresses[context->device == &second][i], entries[i].gid.raw);
    }
    return count;
}

enum ibv_fork_status ibv_is_fork_initialized(void)
{
    return IBV_FORK_DISABLED;
}

int ibv_fork_init(void)
{
    return fake_fails("ibv_fork_init") ? fake_world.error : 0;
}

/* ---- domains, handles, regions ---- */

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
    struct fake_pd *domain;

    if (fake_fails("ibv_alloc_pd"))
        return NULL;
    domain = calloc(1, sizeof(*domain));
    domain->pd.context = context;
    count(1);
    return &domain->pd;
}

int ibv_dealloc_pd(struct ibv_pd *base)
{
    struct fake_pd *domain = (struct fake_pd *)base;

    if (domain->users)
        return EBUSY;
    if (domain->below) {
        domain->below->users--;
        domain->td->users--;
    }
    free(domain);
    count(-1);
    return 0;
}

struct ibv_ah *ibv_create_ah(struct ibv_pd *domain, struct ibv_ah_attr *attr)
{
    struct ibv_ah *handle;

    (void)domain;
    (void)attr;
    if (fake_fails("ibv_create_ah") || !fake_device.handles)
        return NULL;
    handle = calloc(1, sizeof(*handle));
    count(1);
    return handle;
}

int ibv_destroy_ah(struct ibv_ah *handle)
{
    free(handle);
    count(-1);
    return 0;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *domain, void *address, size_t bytes, uint64_t iova,
                                unsigned access)
{
    struct ibv_mr *region;
    uint32_t key;

    (void)iova;
    if (fake_fails("ibv_reg_mr"))
        return NULL;
    region = calloc(1, sizeof(*region));
    fake_lock();
    key = fake_world.next_region;
    while (fake_world.regions[key % FAKE_OBJECTS])
        key++;
    fake_world.next_region = key + 1;
    *region = (struct ibv_mr){.context = domain->context,
                              .pd = domain,
                              .addr = address,
                              .length = bytes,
                              .lkey = key,
                              .rkey = key};
    fake_world.regions[key % FAKE_OBJECTS] = region;
    fake_world.access[key % FAKE_OBJECTS] = (int)access;
    fake_world.live++;
    fake_unlock();
    return region;
}

struct ibv_mr *ibv_reg_mr(struct ibv_pd *domain, void *address, size_t bytes, int access)
{
    return ibv_reg_mr_iova2(domain, address, bytes, (uintptr_t)address, (unsigned)access);
}

int ibv_dereg_mr(struct ibv_mr *region)
{
    if (fake_fails("ibv_dereg_mr"))
        return fake_world.error;
    fake_lock();
    fake_world.regions[region->lkey % FAKE_OBJECTS] = NULL;
    fake_world.live--;
    fake_unlock();
    free(region);
    return 0;
}

/* ---- queues ---- */

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
{
    struct fake_channel *channel;

    if (fake_fails("ibv_create_comp_channel"))
        return NULL;
    channel = calloc(1, sizeof(*channel));
    channel->channel.context = context;
    channel->channel.fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    count(1);
    return &channel->channel;
}

int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
{
    if (channel->refcnt)
        return EBUSY;
    close(channel->fd);
    free(channel);
    count(-1);
    return 0;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int entries, void *cq_context,
                             struct ibv_comp_channel *channel, int vector)
{
    struct fake_cq *queue;

    (void)vector;
    if (fake_fails("ibv_create_cq"))
        return NULL;
    if (entries < 1 || entries > fake_device.completions) {
        errno = EINVAL;
        return NULL;
    }
    queue = calloc(1, sizeof(*queue));
    queue->cq.context = context;
    queue->cq.channel = channel;
    queue->cq.cq_context = cq_context;
    queue->cq.cqe = entries;
    queue->size = (unsigned)entries;
    queue->ring = calloc(queue->size, sizeof(*queue->ring));
    if (channel)
        channel->refcnt++;
    count(1);
    return &queue->cq;
}

int ibv_destroy_cq(struct ibv_cq *base)
{
    struct fake_cq *queue = (struct fake_cq *)base;

    if (queue->users || queue->unacked)
        return EBUSY;
    if (base->channel)
        base->channel->refcnt--;
    free(queue->ring);
    free(queue);
    count(-1);
    return 0;
}

static void make_receives(struct fake_receives *receives, unsigned size)
{
    receives->size = size;
    receives->ring = calloc(size + 1, sizeof(*receives->ring));
}

struct ibv_srq *ibv_create_srq(struct ibv_pd *domain, struct ibv_srq_init_attr *attr)
{
    struct fake_srq *queue;

    if (fake_fails("ibv_create_srq"))
        return NULL;
    queue = calloc(1, sizeof(*queue));
    queue->srq.context = domain->context;
    queue->srq.pd = domain;
    make_receives(&queue->receives, attr->attr.max_wr);
    count(1);
    return &queue->srq;
}

int ibv_destroy_srq(struct ibv_srq *base)
{
    struct fake_srq *queue = (struct fake_srq *)base;

    if (queue->users)
        return EBUSY;
    free(queue->receives.ring);
    free(queue);
    count(-1);
    return 0;
}

static void use_queues(struct fake_qp *pair, int change)
{
    ((struct fake_cq *)pair->qp.send_cq)->users += (unsigned)change;
    ((struct fake_cq *)pair->qp.recv_cq)->users += (unsigned)change;
    if (pair->qp.srq)
        ((struct fake_srq *)pair->qp.srq)->users += (unsigned)change;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *domain, struct ibv_qp_init_attr *attr)
{
    struct fake_qp *pair;
    uint32_t number;

    if (fake_fails("ibv_create_qp"))
        return NULL;
    if (attr->cap.max_inline_data > fake_device.inlined || attr->qp_type != IBV_QPT_RC) {
        errno = EINVAL;
        return NULL;
    }
    pair = calloc(1, sizeof(*pair));
    pair->size = attr->cap.max_send_wr;
    pair->ring = calloc(pair->size, sizeof(*pair->ring));
    pair->inlined = attr->cap.max_inline_data;
    make_receives(&pair->receives, attr->srq ? 0 : attr->cap.max_recv_wr);
    fake_lock();
    number = fake_world.next_pair;
    while (fake_world.pairs[number % FAKE_OBJECTS])
        number++;
    fake_world.next_pair = number + 1;
    pair->qp.context = domain->context;
    pair->qp.pd = domain;
    pair->qp.send_cq = attr->send_cq;
    pair->qp.recv_cq = attr->recv_cq;
    pair->qp.srq = attr->srq;
    pair->qp.qp_num = number & 0xffffff;
    pair->qp.state = IBV_QPS_RESET;
    pair->qp.qp_type = IBV_QPT_RC;
    fake_world.pairs[number % FAKE_OBJECTS] = pair;
    use_queues(pair, 1);
    fake_world.live++;
    fake_unlock();
    return &pair->qp;
}

int ibv_destroy_qp(struct ibv_qp *base)
{
    struct fake_qp *pair = (struct fake_qp *)base;

    fake_lock();
    fake_forget(base->recv_cq, base->qp_num);
    fake_forget(base->send_cq, base->qp_num);
    fake_note(pair, false);
    fake_world.pairs[base->qp_num % FAKE_OBJECTS] = NULL;
    use_queues(pair, -1);
    fake_world.live--;
    fake_unlock();
    for (; pair->tail != pair->head; pair->tail++)
        free(pair->ring[pair->tail % pair->size].inlined);
    free(pair->receives.ring);
    free(pair->ring);
    free(pair);
    return 0;
}

static bool move_allowed(enum ibv_qp_state from, enum ibv_qp_state to)
{
    return to == IBV_QPS_ERR || (from == IBV_QPS_RESET && to == IBV_QPS_INIT) ||
           (from == IBV_QPS_INIT && (to == IBV_QPS_INIT || to == IBV_QPS_RTR)) ||
           (from == IBV_QPS_RTR && to == IBV_QPS_RTS);
}

int ibv_modify_qp(struct ibv_qp *base, struct ibv_qp_attr *attr, int mask)
{
    struct fake_qp *pair = (struct fake_qp *)base;

    if (fake_fails("ibv_modify_qp"))
        return fake_world.error;
    if (!(mask & IBV_QP_STATE) || !move_allowed(base->state, attr->qp_state))
        return EINVAL;
    if (attr->qp_state == IBV_QPS_RTS && attr->retry_cnt > 6)
        return EINVAL; /* a device would take it, and never complete towards a dead peer */
    fake_lock();
    if (attr->qp_state == IBV_QPS_ERR)
        fake_break(pair, IBV_WC_WR_FLUSH_ERR);
    base->state = attr->qp_state;
    if (mask & IBV_QP_ACCESS_FLAGS)
        pair->access = attr->qp_access_flags;
    if (mask & IBV_QP_DEST_QPN)
        pair->remote = attr->dest_qp_num;
    fake_unlock();
    return 0;
}

int ibv_query_qp_data_in_order(struct ibv_qp *base, enum ibv_wr_opcode opcode, uint32_t flags)
{
    return fake_device.in_order && base->state == IBV_QPS_RTS && opcode == IBV_WR_RDMA_WRITE &&
           !flags;
}

const char *ibv_wc_status_str(enum ibv_wc_status status)
{
    return status == IBV_WC_GENERAL_ERR ? "general error" : "another status";
}

const char *ibv_event_type_str(enum ibv_event_type event)
{
    return event == IBV_EVENT_COMM_EST ? "communication established" : "another event";
}
