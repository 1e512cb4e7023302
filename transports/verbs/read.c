/* Snapshots, read at the workers: no thread of theirs has to do anything.
 *
 * First all stamps of its buffers are read, and the newest is chosen; then its payload, to where it
 * belongs in the slot, and, when that is there (a fence sees to it), the stamp again. Only the
 * second one counts: the first may have been read while it was written. If it is another one by
 * then, the worker has overwritten what was read, and it is read anew. One read at a time is under
 * way at a worker.
 */
#include "base/barrier.h"
#include "transports/verbs/hub.h"

static uint64_t chunk_bytes(const struct kofn__verbs_hub *hub)
{
    return hub->port.attr.max_msg_sz;
}

uint32_t kofn__verbs_read_requests(const struct kofn__verbs_hub *hub)
{
    uint64_t chunks = (hub->hub.slot.payload_bytes + chunk_bytes(hub) - 1) / chunk_bytes(hub);

    return hub->pull ? hub->hub.slot.depth + 1 + (uint32_t)chunks : 0;
}

/* Posts one read of @bytes at @offset of the worker's buffers; @flags: of IBV_SEND_*. */
static void read_one(struct kofn__verbs_hub *hub, uint32_t rank, void *to, uint32_t lkey,
                     uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_memory buffers = member->theirs[KOFN__VERBS_BUFFERS];
    struct ibv_sge piece = {.addr = (uintptr_t)to, .length = (uint32_t)bytes, .lkey = lkey};
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_RDMA_READ,
        .sg_list = &piece,
        .num_sge = 1,
        .send_flags = flags & IBV_SEND_FENCE,
        .wr.rdma = {.remote_addr = buffers.address + offset, .rkey = buffers.key}};

    if (!member->failed && kofn__verbs_lane_post(&member->lanes[KOFN__VERBS_DATA], &wr, &wr, 1,
                                                 flags & IBV_SEND_SIGNALED))
        kofn__verbs_hub_fail(hub, rank, IBV_WC_GENERAL_ERR, 0);
}

/* The stamps of all buffers. */
static void read_stamps(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    const struct kofn_geometry *slot = &hub->hub.slot;
    struct kofn_stamp *found = kofn__verbs_shadow(hub, rank)->found;

    member->read.state = KOFN__VERBS_READ_STAMPS;
    for (uint32_t i = 0; i < slot->depth; i++)
        read_one(hub, rank, &found[i], hub->shadows_region->lkey,
                 kofn_buffer_offset(slot, i) + slot->stamp_offset, sizeof(found[i]),
                 i + 1 == slot->depth ? IBV_SEND_SIGNALED : 0);
    member->read.mark = member->lanes[KOFN__VERBS_DATA].posted;
}

/* The payload of the snapshot chosen, and its stamp. */
static void read_snapshot(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    const struct kofn_geometry *slot = &hub->hub.slot;
    uint64_t from = kofn_buffer_offset(slot, member->read.sequence), part;
    char *to = kofn_slot_withdraw(slot, kofn_hub_slot(&hub->hub, rank), member->read.sequence);

    member->read.state = KOFN__VERBS_READ_ALL;
    for (uint64_t at = 0; at < slot->payload_bytes; at += part) {
        part = KOFN_MIN(slot->payload_bytes - at, chunk_bytes(hub));
        read_one(hub, rank, to + at, member->regions[KOFN__VERBS_SLOT]->lkey, from + at, part, 0);
    }
    read_one(hub, rank, &kofn__verbs_shadow(hub, rank)->again, hub->shadows_region->lkey,
             from + slot->stamp_offset, sizeof(struct kofn_stamp),
             IBV_SEND_FENCE | IBV_SEND_SIGNALED);
    member->read.mark = member->lanes[KOFN__VERBS_DATA].posted;
}

/* The newest of the stamps that have been read, each in the buffer that its number has; 0 if there
 * is none behind what is asked for.
 */
static uint64_t choose(struct kofn__verbs_hub *hub, uint32_t rank)
{
    const struct kofn_stamp *found = kofn__verbs_shadow(hub, rank)->found;
    uint64_t after = hub->members[rank].read.after, best = after;

    for (uint32_t i = 0; i < hub->hub.slot.depth; i++)
        if (found[i].sequence > best && found[i].sequence % hub->hub.slot.depth == i)
            best = found[i].sequence;
    return best > after ? best : 0;
}

void kofn__verbs_read_progress(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_read *read = &member->read;
    const struct kofn_stamp *again = &kofn__verbs_shadow(hub, rank)->again;

    if (read->state == KOFN__VERBS_READ_IDLE || member->failed ||
        !kofn__verbs_lane_past(&member->lanes[KOFN__VERBS_DATA], read->mark))
        return;
    if (read->state == KOFN__VERBS_READ_ALL && again->sequence == read->sequence) {
        kofn_slot_publish(&hub->hub.slot, kofn_hub_slot(&hub->hub, rank), again);
        kofn_inbox_expect(&hub->inbox, rank, read->sequence);
        read->state = KOFN__VERBS_READ_IDLE;
    } else if (read->state == KOFN__VERBS_READ_ALL) {
        read_stamps(hub, rank);
    } else {
        read->sequence = choose(hub, rank);
        if (read->sequence)
            read_snapshot(hub, rank);
        else
            read->state = KOFN__VERBS_READ_IDLE;
    }
    kofn__verbs_count_busy(hub, member);
}

int kofn__verbs_hub_read(struct kofn_hub *base, uint32_t rank, uint64_t after)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member = kofn__verbs_member(hub, rank);

    if (!hub->pull || !member)
        return KOFN_INVALID;
    if (member->failed)
        return KOFN_GONE;
    if (member->read.state != KOFN__VERBS_READ_IDLE || kofn_inbox_expects(&hub->inbox, rank))
        return KOFN_AGAIN;
    if (kofn__verbs_lane_room(&member->lanes[KOFN__VERBS_DATA]) <= kofn__verbs_read_requests(hub)) {
        kofn__verbs_hub_progress(hub); /* a model is on its way there */
        return KOFN_AGAIN;
    }
    member->read.after = after;
    read_stamps(hub, rank);
    kofn__verbs_count_busy(hub, member);
    return member->failed ? KOFN_GONE : 0;
}
