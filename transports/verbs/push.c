/* Models, on their way to the workers.
 *
 * A model is written from where the server has published it, without a copy: payload first, and
 * the stamp only when the payload has been acknowledged and the model is still there unchanged.
 * Until then the worker's buffer has no stamp, and is no model. Should the server have overwritten
 * it meanwhile, what was written is a mixture that nobody will read; the worker is slow, and its
 * next model comes from a copy that stays as it is. One model at a time is under way to a worker.
 */
#include <string.h>

#include "base/barrier.h"
#include "base/log.h"
#include "transports/verbs/hub.h"

#define BY_SNAPSHOT                                                                                \
    16 /* models that go to a slow worker as copies, then the other way is tried                   \
        */

uint64_t kofn__verbs_newest(const struct kofn_geometry *geometry, void *models)
{
    uint64_t best = 0;

    for (uint32_t i = 0; i < geometry->depth; i++) {
        uint64_t sequence = kofn_peer_load64(&kofn_slot_stamp(geometry, models, i)->sequence);

        best = KOFN_MAX(best, sequence);
    }
    return best;
}

/* ---- snapshots ---- */

static int make_snapshot(struct kofn__verbs_hub *hub, struct kofn__verbs_snapshot *snapshot)
{
    uint64_t bytes = hub->hub.model.payload_bytes;
    int rc;

    if (snapshot->region)
        return 0;
    rc = kofn_memory_map(&snapshot->memory, bytes, KOFN_MEMORY_POPULATE, hub->hub.log);
    if (rc)
        return rc;
    snapshot->region =
        kofn__verbs_register(&hub->port, "a copy of the model", snapshot->memory.address, bytes, 0);
    if (snapshot->region)
        return 0;
    kofn_memory_unmap(&snapshot->memory);
    return KOFN_NO_MEMORY;
}

/* A copy of model @sequence: one that is there, else a fresh one. -1 if none can be had. */
static int take_snapshot(struct kofn__verbs_hub *hub, uint64_t sequence)
{
    const struct kofn_geometry *model = &hub->hub.model;
    int free = -1;

    for (int i = 0; i < KOFN__VERBS_SNAPSHOTS; i++) {
        if (hub->snapshots[i].sequence == sequence) {
            hub->snapshots[i].users++;
            return i;
        }
        if (!hub->snapshots[i].users)
            free = i;
    }
    if (free < 0 || make_snapshot(hub, &hub->snapshots[free]))
        return -1;
    memcpy(hub->snapshots[free].memory.address, kofn_slot_payload(model, hub->hub.models, sequence),
           model->payload_bytes);
    hub->snapshots[free].stamp = *kofn_slot_stamp(model, hub->hub.models, sequence);
    hub->snapshots[free].sequence = sequence;
    hub->snapshots[free].users = 1;
    return free;
}

static void drop_snapshot(struct kofn__verbs_hub *hub, struct kofn__verbs_push *push)
{
    if (push->snapshot >= 0)
        hub->snapshots[push->snapshot].users--;
    push->snapshot = -1;
}

void kofn__verbs_push_close(struct kofn__verbs_hub *hub)
{
    for (int i = 0; i < KOFN__VERBS_SNAPSHOTS; i++) {
        if (hub->snapshots[i].region)
            ibv_dereg_mr(hub->snapshots[i].region);
        kofn_memory_unmap(&hub->snapshots[i].memory);
    }
}

/* ---- payload ---- */

static uint64_t chunk_bytes(const struct kofn__verbs_hub *hub)
{
    return hub->port.attr.max_msg_sz;
}

uint32_t kofn__verbs_push_requests(const struct kofn__verbs_hub *hub)
{
    return 1 + (uint32_t)((hub->hub.model.payload_bytes + chunk_bytes(hub) - 1) / chunk_bytes(hub));
}

/* Takes the stamp away that is in the worker's buffer: what follows overwrites its model. */
static void withdraw(struct kofn__verbs_hub *hub, uint32_t rank, uint64_t stamp_address,
                     uint32_t key)
{
    struct kofn__verbs_lane *lane = &hub->members[rank].lanes[KOFN__VERBS_DATA];
    struct ibv_sge piece = {.addr = (uintptr_t)&kofn__verbs_shadow(hub, rank)->zero,
                            .length = sizeof(uint64_t),
                            .lkey = hub->shadows_region->lkey};
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_RDMA_WRITE,
        .sg_list = &piece,
        .num_sge = 1,
        .send_flags = piece.length <= lane->inlined ? IBV_SEND_INLINE : 0,
        .wr.rdma = {.remote_addr = stamp_address + offsetof(struct kofn_stamp, sequence),
                    .rkey = key}};

    if (kofn__verbs_lane_post(lane, &wr, &wr, 1, false))
        kofn__verbs_hub_fail(hub, rank, IBV_WC_GENERAL_ERR, 0);
}

/* Posts the payload at @from, in chunks; the last one with a completion. */
static void write_payload(struct kofn__verbs_hub *hub, uint32_t rank, const char *from,
                          uint32_t lkey, uint64_t to, uint32_t key)
{
    struct kofn__verbs_lane *lane = &hub->members[rank].lanes[KOFN__VERBS_DATA];
    uint64_t bytes = hub->hub.model.payload_bytes;

    for (uint64_t at = 0; at < bytes && !hub->members[rank].failed;) {
        uint64_t part = KOFN_MIN(bytes - at, chunk_bytes(hub));
        struct ibv_sge piece = {
            .addr = (uintptr_t)from + at, .length = (uint32_t)part, .lkey = lkey};
        struct ibv_send_wr wr = {.opcode = IBV_WR_RDMA_WRITE,
                                 .sg_list = &piece,
                                 .num_sge = 1,
                                 .wr.rdma = {.remote_addr = to + at, .rkey = key}};

        at += part;
        if (kofn__verbs_lane_post(lane, &wr, &wr, 1, at == bytes))
            kofn__verbs_hub_fail(hub, rank, IBV_WC_GENERAL_ERR, 0);
    }
}

/* The worker's buffer whose turn it is. */
static struct kofn__verbs_memory worker_buffer(const struct kofn__verbs_member *member,
                                               const struct kofn_geometry *model)
{
    struct kofn__verbs_memory models = member->theirs[KOFN__VERBS_MODELS];

    models.address += kofn_buffer_offset(model, member->push.buffer);
    return models;
}

/* Starts on the newest model, if the worker is to have it and there is one that it has not. */
static void start(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_push *push = &member->push;
    const struct kofn_geometry *model = &hub->hub.model;
    uint64_t sequence = kofn__verbs_newest(model, hub->hub.models);
    const char *from = kofn_slot_payload(model, hub->hub.models, sequence);
    uint32_t lkey = hub->models_region->lkey;
    struct kofn__verbs_memory to = worker_buffer(member, model);

    if (sequence <= push->stamped) {
        push->asked = false;
        return;
    }
    if (kofn__verbs_lane_room(&member->lanes[KOFN__VERBS_DATA]) <= kofn__verbs_push_requests(hub))
        return;
    kofn__verbs_shadow(hub, rank)->stamp = *kofn_slot_stamp(model, hub->hub.models, sequence);
    push->snapshot = push->overtaken ? take_snapshot(hub, sequence) : -1;
    if (push->snapshot >= 0) {
        from = hub->snapshots[push->snapshot].memory.address;
        lkey = hub->snapshots[push->snapshot].region->lkey;
    }
    push->sequence = sequence;
    push->state = KOFN__VERBS_PUSH_PAYLOAD;
    withdraw(hub, rank, to.address + model->stamp_offset, to.key);
    write_payload(hub, rank, from, lkey, to.address, to.key);
    push->mark = member->lanes[KOFN__VERBS_DATA].posted;
}

/* The payload is at the worker. Is it what it was when it was begun? */
static void payload_sent(struct kofn__verbs_hub *hub, struct kofn__verbs_push *push)
{
    const struct kofn_geometry *model = &hub->hub.model;
    const struct kofn_stamp *stamp = kofn_slot_stamp(model, hub->hub.models, push->sequence);
    bool stable = push->snapshot >= 0 || kofn_peer_load64(&stamp->sequence) == push->sequence;

    push->overtaken = stable ? push->overtaken - (push->overtaken > 0) : BY_SNAPSHOT;
    drop_snapshot(hub, push);
    push->state = stable ? KOFN__VERBS_PUSH_SENT : KOFN__VERBS_PUSH_IDLE;
}

static void send_stamp(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_push *push = &member->push;
    struct kofn__verbs_lane *words = &member->lanes[KOFN__VERBS_WORDS];
    struct kofn__verbs_memory to = worker_buffer(member, &hub->hub.model);
    const struct kofn_stamp *stamp = &kofn__verbs_shadow(hub, rank)->stamp;
    bool holding = push->promised > push->stamped;

    if (kofn__verbs_lane_room(words) < 2)
        return;
    to.address += hub->hub.model.stamp_offset;
    kofn__verbs_words_write(hub, rank, stamp, sizeof(*stamp), to, false, true);
    push->mark = words->posted;
    push->state = KOFN__VERBS_PUSH_STAMP;
    push->stamped = push->sequence;
    push->buffer++;
    push->asked = false;
    if (holding && push->promised <= push->stamped) { /* the gates that waited for it follow it */
        member->count++;
        member->line_due = true;
    }
}

/* Is there a model that the worker is to have, and has not? */
static bool owing(const struct kofn__verbs_push *push)
{
    return push->asked || push->promised > push->stamped;
}

void kofn__verbs_push_progress(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_push *push = &member->push;

    if (member->failed)
        return;
    if (push->state == KOFN__VERBS_PUSH_PAYLOAD &&
        kofn__verbs_lane_past(&member->lanes[KOFN__VERBS_DATA], push->mark))
        payload_sent(hub, push);
    if (push->state == KOFN__VERBS_PUSH_STAMP &&
        kofn__verbs_lane_past(&member->lanes[KOFN__VERBS_WORDS], push->mark))
        push->state = KOFN__VERBS_PUSH_IDLE;
    if (push->state == KOFN__VERBS_PUSH_IDLE && owing(push))
        start(hub, rank);
    if (push->state == KOFN__VERBS_PUSH_SENT)
        send_stamp(hub, rank);
    kofn__verbs_words_flush(hub, rank);
}

void kofn__verbs_push_asked(struct kofn__verbs_hub *hub, uint32_t rank)
{
    hub->members[rank].push.asked = true;
    kofn__verbs_push_progress(hub, rank);
}

void kofn__verbs_push_end(struct kofn__verbs_hub *hub, uint32_t rank)
{
    drop_snapshot(hub, &hub->members[rank].push);
    hub->members[rank].push = (struct kofn__verbs_push){.snapshot = -1};
}

int kofn__verbs_hub_push(struct kofn_hub *base, uint32_t rank, uint64_t sequence)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member = kofn__verbs_member(hub, rank);

    if (!member)
        return KOFN_INVALID;
    if (member->failed)
        return KOFN_GONE;
    member->push.promised = KOFN_MAX(member->push.promised, sequence);
    kofn__verbs_hub_progress(hub);
    kofn__verbs_push_progress(hub, rank);
    return 0;
}
