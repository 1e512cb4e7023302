/* What moves in the fake device: requests, completions, events. All under the lock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/verbs/fake_inside.h"

/* ---- completions ---- */

static void notify(struct fake_cq *queue)
{
    struct fake_channel *channel = (struct fake_channel *)queue->cq.channel;
    uint64_t one = 1;

    queue->armed = FAKE_UNARMED;
    if (!channel)
        return;
    channel->events[channel->head++ % FAKE_EVENTS] = &queue->cq;
    if (write(channel->channel.fd, &one, sizeof(one)) != sizeof(one))
        abort();
}

static void complete(struct ibv_cq *base, const struct ibv_wc *wc, bool solicited)
{
    struct fake_cq *queue = (struct fake_cq *)base;

    if (queue->head - queue->tail == queue->size) {
        if (!queue->overrun)
            fake_raise(fake_context(base->context), IBV_EVENT_CQ_ERR, NULL);
        queue->overrun = true;
        return;
    }
    queue->ring[queue->head++ % queue->size] = *wc;
    if (queue->armed == FAKE_ANY ||
        (queue->armed == FAKE_SOLICITED && (solicited || wc->status != IBV_WC_SUCCESS)))
        notify(queue);
}

/* A completion of a request stands for all before it: their room is free when it is polled. */
static void retire(struct fake_qp *pair, uint64_t wr_id)
{
    for (unsigned i = pair->retired; i != pair->tail; i++)
        if (pair->ring[i % pair->size].wr.wr_id == wr_id) {
            pair->retired = i + 1;
            return;
        }
}

static int poll_cq(struct ibv_cq *base, int most, struct ibv_wc *out)
{
    struct fake_cq *queue = (struct fake_cq *)base;
    int count = 0;

    if (fake_fails("ibv_poll_cq"))
        return -1;
    fake_lock();
    fake_run_all();
    for (; count < most && fake_device.chatter; count++, fake_device.chatter--)
        out[count] = (struct ibv_wc){.status = IBV_WC_SUCCESS};
    for (; count < most && queue->tail != queue->head; count++) {
        struct fake_qp *pair;

        out[count] = queue->ring[queue->tail++ % queue->size];
        pair = fake_world.pairs[out[count].qp_num % FAKE_OBJECTS];
        if (pair && pair->qp.send_cq == base)
            retire(pair, out[count].wr_id);
        if (out[count].status != IBV_WC_SUCCESS) /* nothing else is valid then */
            out[count] = (struct ibv_wc){.wr_id = out[count].wr_id,
                                         .status = out[count].status,
                                         .vendor_err = 0x42,
                                         .opcode = (enum ibv_wc_opcode)0x7f,
                                         .qp_num = out[count].qp_num};
    }
    fake_unlock();
    return count;
}

/* Completions of a queue pair that is destroyed are gone with it, polled or not, as with mlx5. */
void fake_forget(struct ibv_cq *base, uint32_t number)
{
    struct fake_cq *queue = (struct fake_cq *)base;
    unsigned kept = queue->tail;

    for (unsigned i = queue->tail; i != queue->head; i++)
        if (queue->ring[i % queue->size].qp_num != number)
            queue->ring[kept++ % queue->size] = queue->ring[i % queue->size];
    queue->head = kept;
}

static int req_notify_cq(struct ibv_cq *base, int solicited_only)
{
    if (fake_fails("ibv_req_notify_cq"))
        return fake_world.error;
    fake_lock();
    ((struct fake_cq *)base)->armed = solicited_only ? FAKE_SOLICITED : FAKE_ANY;
    fake_unlock();
    return 0;
}

int ibv_get_cq_event(struct ibv_comp_channel *base, struct ibv_cq **queue, void **context)
{
    struct fake_channel *channel = (struct fake_channel *)base;
    uint64_t got;

    if (fake_fails("ibv_get_cq_event") || read(base->fd, &got, sizeof(got)) < 0)
        return -1;
    fake_lock();
    *queue = channel->events[channel->tail++ % FAKE_EVENTS];
    *context = (*queue)->cq_context;
    ((struct fake_cq *)*queue)->unacked++;
    fake_unlock();
    return 0;
}

void ibv_ack_cq_events(struct ibv_cq *base, unsigned count)
{
    fake_lock();
    ((struct fake_cq *)base)->unacked -= count;
    fake_unlock();
}

/* ---- receiving ---- */

static int post_receives(struct fake_receives *receives, struct ibv_recv_wr *wr,
                         struct ibv_recv_wr **bad)
{
    int rc = 0;

    fake_lock();
    for (; wr && !rc; wr = wr->next) {
        if (receives->head - receives->tail == receives->size) {
            *bad = wr;
            rc = ENOMEM;
            break;
        }
        receives->ring[receives->head++ % receives->size] = wr->wr_id;
    }
    fake_run_all();
    fake_unlock();
    return rc;
}

static int post_srq_recv(struct ibv_srq *base, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    *bad = wr;
    if (fake_fails("ibv_post_srq_recv"))
        return fake_world.error;
    return post_receives(&((struct fake_srq *)base)->receives, wr, bad);
}

static int post_recv(struct ibv_qp *base, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    *bad = wr;
    if (fake_fails("ibv_post_recv"))
        return fake_world.error;
    if (base->state == IBV_QPS_RESET)
        return EINVAL;
    return post_receives(&((struct fake_qp *)base)->receives, wr, bad);
}

/* ---- sending ---- */

static void drop(struct fake_qp *pair)
{
    struct fake_send *send = &pair->ring[pair->tail++ % pair->size];

    free(send->inlined);
    send->inlined = NULL;
}

static void report(struct fake_qp *pair, const struct fake_send *send, enum ibv_wc_status status)
{
    struct ibv_wc wc = {.wr_id = send->wr.wr_id, .status = status, .qp_num = pair->qp.qp_num};

    if (status != IBV_WC_SUCCESS || (send->wr.send_flags & IBV_SEND_SIGNALED))
        complete(pair->qp.send_cq, &wc, false);
}

/* The connection is over: the first request fails with @status, the others are flushed. */
void fake_break(struct fake_qp *pair, enum ibv_wc_status status)
{
    pair->qp.state = IBV_QPS_ERR;
    while (pair->tail != pair->head) {
        report(pair, &pair->ring[pair->tail % pair->size], status);
        drop(pair);
        status = IBV_WC_WR_FLUSH_ERR;
    }
}

static struct ibv_mr *region_of(uint32_t key, uint64_t address, uint64_t bytes, int access)
{
    struct ibv_mr *region = fake_world.regions[key % FAKE_OBJECTS];

    if (!region || region->lkey != key ||
        (fake_world.access[key % FAKE_OBJECTS] & access) != access)
        return NULL;
    if (address < (uintptr_t)region->addr ||
        address + bytes > (uintptr_t)region->addr + region->length)
        return NULL;
    return region;
}

/* Bytes change as a device changes them: words whole, in ascending order. */
static void move(uint64_t to, const void *from, uint64_t bytes)
{
    unsigned char *out = (unsigned char *)(uintptr_t)to;
    const unsigned char *in = from;

    for (; bytes >= 8 && !((uintptr_t)out % 8); out += 8, in += 8, bytes -= 8) {
        uint64_t word;

        memcpy(&word, in, 8);
        __atomic_store_n((uint64_t *)(void *)out, word, __ATOMIC_RELEASE);
    }
    for (; bytes; out++, in++, bytes--)
        __atomic_store_n(out, *in, __ATOMIC_RELEASE);
}

static enum ibv_wc_status write_to(struct fake_qp *remote, const struct fake_send *send)
{
    uint64_t to = send->wr.wr.rdma.remote_addr, bytes = send->wr.num_sge ? send->piece.length : 0;
    const void *from = send->inlined ? send->inlined : (const void *)(uintptr_t)send->piece.addr;

    if (!bytes)
        return IBV_WC_SUCCESS;
    if (!send->inlined && !region_of(send->piece.lkey, send->piece.addr, bytes, 0))
        return IBV_WC_LOC_PROT_ERR;
    if (bytes > fake_device.message)
        return IBV_WC_LOC_LEN_ERR;
    if (!(remote->access & IBV_ACCESS_REMOTE_WRITE) ||
        !region_of(send->wr.wr.rdma.rkey, to, bytes, IBV_ACCESS_REMOTE_WRITE))
        return IBV_WC_REM_ACCESS_ERR;
    move(to, from, bytes);
    return IBV_WC_SUCCESS;
}

static enum ibv_wc_status swap_at(struct fake_qp *remote, const struct fake_send *send)
{
    uint64_t *to = (uint64_t *)(uintptr_t)send->wr.wr.atomic.remote_addr;
    uint64_t expected = send->wr.wr.atomic.compare_add;

    if (!region_of(send->piece.lkey, send->piece.addr, 8, IBV_ACCESS_LOCAL_WRITE))
        return IBV_WC_LOC_PROT_ERR;
    if ((uintptr_t)to % 8)
        return IBV_WC_REM_INV_REQ_ERR;
    if (!(remote->access & IBV_ACCESS_REMOTE_ATOMIC) ||
        !region_of(send->wr.wr.atomic.rkey, (uintptr_t)to, 8, IBV_ACCESS_REMOTE_ATOMIC))
        return IBV_WC_REM_ACCESS_ERR;
    __atomic_compare_exchange_n(to, &expected, send->wr.wr.atomic.swap, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    move(send->piece.addr, &expected, 8);
    return IBV_WC_SUCCESS;
}

/* A read by a device, of which a thread sanitizer knows nothing: it may meet any write of the
 * owner.
 */
__attribute__((no_sanitize("thread"), noinline)) static uint64_t word_at(uint64_t address)
{
    return __atomic_load_n((const uint64_t *)(uintptr_t)address, __ATOMIC_ACQUIRE);
}

__attribute__((no_sanitize("thread"), noinline)) static unsigned char byte_at(uint64_t address)
{
    return __atomic_load_n((const unsigned char *)(uintptr_t)address, __ATOMIC_ACQUIRE);
}

/* The other way: words whole, in ascending order, of memory that its owner may be writing. */
static enum ibv_wc_status read_from(struct fake_qp *remote, const struct fake_send *send)
{
    uint64_t from = send->wr.wr.rdma.remote_addr, bytes = send->piece.length, at = 0;
    unsigned char *to = (unsigned char *)(uintptr_t)send->piece.addr;

    if (!region_of(send->piece.lkey, send->piece.addr, bytes, IBV_ACCESS_LOCAL_WRITE))
        return IBV_WC_LOC_PROT_ERR;
    if (bytes > fake_device.message)
        return IBV_WC_LOC_LEN_ERR;
    if (!(remote->access & IBV_ACCESS_REMOTE_READ) ||
        !region_of(send->wr.wr.rdma.rkey, from, bytes, IBV_ACCESS_REMOTE_READ))
        return IBV_WC_REM_ACCESS_ERR;
    for (; bytes - at >= 8 && !(from % 8); at += 8) {
        uint64_t word = word_at(from + at);

        memcpy(to + at, &word, 8);
    }
    for (; at < bytes; at++)
        to[at] = byte_at(from + at);
    return IBV_WC_SUCCESS;
}

static enum ibv_wc_status execute(struct fake_qp *remote, const struct fake_send *send)
{
    if (send->wr.opcode == IBV_WR_ATOMIC_CMP_AND_SWP)
        return swap_at(remote, send);
    return send->wr.opcode == IBV_WR_RDMA_READ ? read_from(remote, send) : write_to(remote, send);
}

/* What an immediate takes at the other side; NULL if there is none now. */
static struct fake_receives *receives_of(struct fake_qp *remote)
{
    struct fake_receives *receives =
        remote->qp.srq ? &((struct fake_srq *)remote->qp.srq)->receives : &remote->receives;

    return receives->head != receives->tail ? receives : NULL;
}

static void deliver(struct fake_qp *remote, struct fake_receives *receives,
                    const struct fake_send *send)
{
    struct ibv_wc wc = {.wr_id = receives->ring[receives->tail++ % receives->size],
                        .opcode = IBV_WC_RECV_RDMA_WITH_IMM,
                        .imm_data = send->wr.imm_data,
                        .wc_flags = IBV_WC_WITH_IMM,
                        .qp_num = remote->qp.qp_num};

    complete(remote->qp.recv_cq, &wc, send->wr.send_flags & IBV_SEND_SOLICITED);
}

/* A message that is longer than what it is received with, which here is always nothing: the end of
 * the connection, said at both sides.
 */
static void refuse_message(struct fake_qp *pair, struct fake_qp *remote,
                           struct fake_receives *receives)
{
    struct ibv_wc wc = {.wr_id = receives->ring[receives->tail++ % receives->size],
                        .status = IBV_WC_LOC_LEN_ERR,
                        .qp_num = remote->qp.qp_num};

    complete(remote->qp.recv_cq, &wc, true);
    fake_break(remote, IBV_WC_WR_FLUSH_ERR);
    fake_break(pair, IBV_WC_REM_INV_REQ_ERR);
}

static struct fake_qp *other_end(const struct fake_qp *pair)
{
    struct fake_qp *remote = fake_world.pairs[pair->remote % FAKE_OBJECTS];

    if (!remote || remote->qp.qp_num != pair->remote || remote->remote != pair->qp.qp_num)
        return NULL;
    return remote->qp.state == IBV_QPS_RTR || remote->qp.state == IBV_QPS_RTS ? remote : NULL;
}

/* Executes what was posted, as far as that can be. */
void fake_run(struct fake_qp *pair)
{
    while (pair->tail != pair->head && pair->qp.state == IBV_QPS_RTS && !fake_world.held) {
        struct fake_send *send = &pair->ring[pair->tail % pair->size];
        struct fake_qp *remote = other_end(pair);
        struct fake_receives *receives = NULL;
        enum ibv_wc_status status;

        if (!remote) {
            fake_break(pair, IBV_WC_RETRY_EXC_ERR);
            return;
        }
        if ((send->wr.opcode == IBV_WR_RDMA_WRITE_WITH_IMM || send->wr.opcode == IBV_WR_SEND) &&
            !(receives = receives_of(remote)))
            return; /* receiver not ready: again later */
        if (send->wr.opcode == IBV_WR_SEND) {
            refuse_message(pair, remote, receives);
            return;
        }
        status = execute(remote, send);
        if (status != IBV_WC_SUCCESS) {
            if (status == IBV_WC_REM_ACCESS_ERR)
                fake_break(remote, IBV_WC_WR_FLUSH_ERR);
            fake_break(pair, status);
            return;
        }
        if (receives)
            deliver(remote, receives, send);
        report(pair, send, status);
        drop(pair);
    }
}

/* Remembers whether there is something left to do for @pair. */
void fake_note(struct fake_qp *pair, bool waits)
{
    fake_world.waiting += (unsigned)waits - (unsigned)pair->waits;
    pair->waits = waits;
}

void fake_run_all(void)
{
    for (int i = 0; i < FAKE_OBJECTS && fake_world.waiting && !fake_world.held; i++) {
        struct fake_qp *pair = fake_world.pairs[i];

        if (!pair || !pair->waits)
            continue;
        fake_run(pair);
        fake_note(pair, pair->tail != pair->head);
    }
}

void fake_hold(bool held)
{
    fake_lock();
    fake_world.held = held;
    fake_run_all();
    fake_unlock();
}

void fake_cut(void)
{
    fake_lock();
    for (int i = 0; i < FAKE_OBJECTS; i++)
        if (fake_world.pairs[i])
            fake_world.pairs[i]->remote = 0;
    fake_unlock();
}

void fake_cut_pair(uint32_t number)
{
    fake_lock();
    for (int i = 0; i < FAKE_OBJECTS; i++)
        if (fake_world.pairs[i] &&
            (fake_world.pairs[i]->remote == number || fake_world.pairs[i]->qp.qp_num == number))
            fake_world.pairs[i]->remote = 0;
    fake_unlock();
}

static int accept_request(struct fake_qp *pair, const struct ibv_send_wr *wr)
{
    struct fake_send *send = &pair->ring[pair->head % pair->size];
    bool inlined = wr->send_flags & IBV_SEND_INLINE;

    if (pair->head - pair->retired >= pair->size)
        return ENOMEM;
    if (wr->num_sge > 1 || (inlined && wr->sg_list[0].length > pair->inlined))
        return EINVAL;
    *send = (struct fake_send){.wr = *wr};
    if (wr->num_sge)
        send->piece = wr->sg_list[0];
    if (inlined && wr->num_sge) {
        send->inlined = malloc(send->piece.length + 1);
        memcpy(send->inlined, (const void *)(uintptr_t)send->piece.addr, send->piece.length);
    }
    pair->head++;
    return 0;
}

static int post_send(struct ibv_qp *base, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    struct fake_qp *pair = (struct fake_qp *)base;
    int rc = 0;

    *bad = wr;
    if (fake_fails("ibv_post_send"))
        return fake_world.error;
    fake_lock();
    if (base->state != IBV_QPS_RTS && base->state != IBV_QPS_ERR)
        rc = EINVAL;
    for (; wr && !rc; wr = wr->next) {
        *bad = wr;
        rc = accept_request(pair, wr);
    }
    if (base->state == IBV_QPS_ERR)
        fake_break(pair, IBV_WC_WR_FLUSH_ERR);
    fake_run(pair);
    fake_note(pair, pair->tail != pair->head);
    fake_unlock();
    return rc;
}

const struct ibv_context_ops fake_ops = {.poll_cq = poll_cq,
                                         .req_notify_cq = req_notify_cq,
                                         .post_srq_recv = post_srq_recv,
                                         .post_send = post_send,
                                         .post_recv = post_recv};
