/* What a worker sends: publications, beats, notes.
 *
 *   imm     payload, then the stamp with an immediate; small ones in one request
 *   atomic  payload and stamp without its sequence, which is then swapped in
 *   poll    all in one write, which ends in the sequence
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/log.h"
#include "transports/verbs/endpoint.h"

#define SMALL                                                                                      \
    (128u * 1024) /* payload and stamp in one request, up to here: longer ones may be routed       \
                     adaptively */
#define CHUNK (1u << 30) /* a longer payload is written in pieces, if the port can so many */
#define REQUESTS 16      /* most of one publication but for its chunks */
#define SEQUENCE_AT (sizeof(struct kofn_stamp) - sizeof(uint64_t))

static uint64_t chunk_bytes(const struct kofn__verbs_endpoint *endpoint)
{
    return KOFN_MIN(endpoint->port.attr.max_msg_sz, CHUNK);
}

/* Of one publication. */
static uint32_t requests(const struct kofn__verbs_endpoint *endpoint)
{
    uint64_t chunk = chunk_bytes(endpoint);

    return 3 + (uint32_t)((endpoint->endpoint.slot.buffer_bytes + chunk - 1) / chunk);
}

int kofn__verbs_publish_check(const struct kofn__verbs_endpoint *endpoint)
{
    const struct kofn_endpoint *base = &endpoint->endpoint;

    if (endpoint->offer.mode != KOFN__VERBS_POLL ||
        base->slot.buffer_bytes <= chunk_bytes(endpoint))
        return 0;
    return kofn_error(
        base->log, KOFN_UNSUPPORTED,
        "verbs: %s: rank %u: mode=poll needs one message for an update, and %llu bytes "
        "are more than this worker sends in one (%llu): use mode=imm",
        endpoint->port.name, base->rank, (unsigned long long)base->slot.buffer_bytes,
        (unsigned long long)chunk_bytes(endpoint));
}

uint32_t kofn__verbs_publish_requests(const struct kofn__verbs_endpoint *endpoint)
{
    return endpoint->endpoint.slot.depth * requests(endpoint);
}

void *kofn__verbs_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    return kofn_slot_withdraw(&endpoint->slot, endpoint->buffers, sequence);
}

/* ---- requests ---- */

/* A chain of requests being put together. */
struct chain {
    struct kofn__verbs_endpoint *endpoint;
    struct ibv_send_wr requests[REQUESTS];
    struct ibv_sge pieces[REQUESTS];
    uint32_t count;
};

static struct ibv_send_wr *add(struct chain *chain, enum ibv_wr_opcode opcode, const void *from,
                               uint64_t bytes, uint32_t lkey)
{
    const struct kofn__verbs_lane *lane = &chain->endpoint->lanes[KOFN__VERBS_DATA];
    struct ibv_send_wr *wr = &chain->requests[chain->count];
    struct ibv_sge *piece = &chain->pieces[chain->count];

    if (chain->count++)
        wr[-1].next = wr;
    *piece = (struct ibv_sge){.addr = (uintptr_t)from, .length = (uint32_t)bytes, .lkey = lkey};
    *wr = (struct ibv_send_wr){
        .opcode = opcode,
        .sg_list = piece,
        .num_sge = bytes > 0,
        .send_flags =
            bytes <= lane->inlined && opcode != IBV_WR_ATOMIC_CMP_AND_SWP ? IBV_SEND_INLINE : 0};
    return wr;
}

static int post(struct chain *chain, bool signal)
{
    struct kofn__verbs_endpoint *endpoint = chain->endpoint;

    if (!chain->count)
        return 0;
    if (kofn__verbs_lane_post(&endpoint->lanes[KOFN__VERBS_DATA], chain->requests,
                              &chain->requests[chain->count - 1], chain->count, signal))
        return kofn__verbs_endpoint_fail(endpoint, IBV_WC_GENERAL_ERR, 0);
    chain->count = 0;
    return 0;
}

/* Where the buffer of @sequence is at the hub. */
static struct kofn__verbs_memory slot_of(const struct kofn__verbs_endpoint *endpoint,
                                         uint64_t sequence)
{
    struct kofn__verbs_memory slot = endpoint->offer.memories[KOFN__VERBS_SLOT];

    slot.address += kofn_buffer_offset(&endpoint->endpoint.slot, sequence);
    return slot;
}

/* The first @bytes of the buffer at @from, in chunks. */
static int add_write(struct chain *chain, const char *from, uint64_t bytes,
                     struct kofn__verbs_memory to)
{
    uint32_t lkey = chain->endpoint->regions[KOFN__VERBS_BUFFERS]->lkey;
    uint64_t chunk = chunk_bytes(chain->endpoint);
    int rc = 0;

    for (uint64_t at = 0; at < bytes && !rc; at += chunk) {
        struct ibv_send_wr *wr =
            add(chain, IBV_WR_RDMA_WRITE, from + at, KOFN_MIN(chunk, bytes - at), lkey);

        wr->wr.rdma.remote_addr = to.address + at;
        wr->wr.rdma.rkey = to.key;
        if (chain->count == REQUESTS - 2)
            rc = post(chain, false);
    }
    return rc;
}

static int add_imm(struct chain *chain, const char *from, uint64_t sequence)
{
    struct kofn__verbs_endpoint *endpoint = chain->endpoint;
    const struct kofn_geometry *slot = &endpoint->endpoint.slot;
    struct kofn__verbs_memory to = slot_of(endpoint, sequence);
    uint64_t begin = slot->buffer_bytes <= SMALL ? 0 : slot->stamp_offset;
    struct ibv_send_wr *wr;
    int rc = begin ? add_write(chain, from, slot->payload_bytes, to) : 0;

    if (rc)
        return rc;
    wr = add(chain, IBV_WR_RDMA_WRITE_WITH_IMM, from + begin, slot->buffer_bytes - begin,
             endpoint->regions[KOFN__VERBS_BUFFERS]->lkey);
    wr->send_flags |= IBV_SEND_SOLICITED;
    wr->imm_data = htonl((uint32_t)sequence);
    wr->wr.rdma.remote_addr = to.address + begin;
    wr->wr.rdma.rkey = to.key;
    return 0;
}

static int add_atomic(struct chain *chain, const char *from, uint64_t sequence)
{
    struct kofn__verbs_endpoint *endpoint = chain->endpoint;
    const struct kofn_geometry *slot = &endpoint->endpoint.slot;
    struct kofn__verbs_memory to = slot_of(endpoint, sequence);
    uint64_t *former = &endpoint->block->former[sequence % KOFN_DEPTH_MAX];
    struct ibv_send_wr *wr;
    int rc = add_write(chain, from, slot->stamp_offset + SEQUENCE_AT, to);

    if (rc)
        return rc;
    wr = add(chain, IBV_WR_ATOMIC_CMP_AND_SWP, former, sizeof(*former),
             endpoint->regions[KOFN__VERBS_BLOCK]->lkey);
    wr->wr.atomic.remote_addr = to.address + slot->stamp_offset + SEQUENCE_AT;
    wr->wr.atomic.compare_add = sequence > slot->depth ? sequence - slot->depth : 0;
    wr->wr.atomic.swap = sequence;
    wr->wr.atomic.rkey = to.key;
    return 0;
}

/* Who polls for publications may be asleep: then an immediate follows. */
static void add_wake(struct chain *chain)
{
    const struct kofn__verbs_line *line = kofn__verbs_line(chain->endpoint);
    uint64_t state = __atomic_load_n(&line->state, __ATOMIC_RELAXED);
    struct kofn__verbs_memory slot = chain->endpoint->offer.memories[KOFN__VERBS_SLOT];
    struct ibv_send_wr *wr;

    if (!kofn_word_whole(state) ||
        !(kofn__verbs_state_wants(state) & KOFN__VERBS_WAKE_PUBLICATIONS))
        return;
    wr = add(chain, IBV_WR_RDMA_WRITE_WITH_IMM, NULL, 0, 0);
    wr->send_flags = IBV_SEND_SOLICITED;
    wr->wr.rdma.remote_addr = slot.address;
    wr->wr.rdma.rkey = slot.key;
}

/* ---- publications ---- */

/* There is always room for those that have credit; this looks for the others. */
static int make_room(struct kofn__verbs_endpoint *endpoint)
{
    const struct kofn__verbs_lane *lane = &endpoint->lanes[KOFN__VERBS_DATA];

    if (kofn__verbs_lane_room(lane) > requests(endpoint))
        return 0;
    kofn__verbs_endpoint_progress(endpoint);
    return kofn__verbs_lane_room(lane) > requests(endpoint) ? 0 : KOFN_NO_CREDIT;
}

int kofn__verbs_endpoint_publish(struct kofn_endpoint *base, const struct kofn_stamp *stamp)
{
    struct kofn__verbs_endpoint *endpoint = kofn__verbs_endpoint(base);
    struct chain chain; /* large: what is not used of it is not touched */
    uint64_t sequence = stamp->sequence;
    const char *from = kofn_slot_payload(&base->slot, base->buffers, sequence);
    int rc;

    if (kofn__verbs_endpoint_gone(endpoint))
        return KOFN_GONE;
    rc = make_room(endpoint);
    if (rc)
        return rc;
    chain.endpoint = endpoint;
    chain.count = 0;
    memcpy(kofn_slot_stamp(&base->slot, base->buffers, sequence), stamp, sizeof(*stamp));
    if (endpoint->offer.mode == KOFN__VERBS_IMM)
        rc = add_imm(&chain, from, sequence);
    else if (endpoint->offer.mode == KOFN__VERBS_ATOMIC)
        rc = add_atomic(&chain, from, sequence);
    else
        rc = add_write(&chain, from, base->slot.buffer_bytes, slot_of(endpoint, sequence));
    if (!rc && endpoint->offer.mode != KOFN__VERBS_IMM)
        add_wake(&chain);
    rc = rc ? rc : post(&chain, true);
    if (rc)
        return rc;
    endpoint->sequence = sequence;
    endpoint->marks[sequence % KOFN_DEPTH_MAX] = endpoint->lanes[KOFN__VERBS_DATA].posted;
    return 0;
}

/* What the atomic operation has found is what should have been there, or it has done nothing. */
static int check_former(struct kofn__verbs_endpoint *endpoint, uint64_t sequence)
{
    uint32_t depth = endpoint->endpoint.slot.depth;
    uint64_t expected = sequence > depth ? sequence - depth : 0;
    uint64_t found = endpoint->block->former[sequence % KOFN_DEPTH_MAX];

    if (endpoint->offer.mode != KOFN__VERBS_ATOMIC || found == expected)
        return 0;
    endpoint->failed = true;
    return kofn_error(
        endpoint->endpoint.log, KOFN_GONE,
        "verbs: rank %u: publication %llu found %llu in its place: the slot is not as "
        "this worker left it",
        endpoint->endpoint.rank, (unsigned long long)sequence, (unsigned long long)found);
}

int kofn__verbs_endpoint_left(struct kofn_endpoint *base, uint64_t sequence)
{
    struct kofn__verbs_endpoint *endpoint = kofn__verbs_endpoint(base);
    const struct kofn__verbs_lane *lane = &endpoint->lanes[KOFN__VERBS_DATA];
    uint32_t mark = endpoint->marks[sequence % KOFN_DEPTH_MAX];

    if (!sequence || sequence + KOFN_DEPTH_MAX <= endpoint->sequence)
        return 0;
    if (!kofn__verbs_lane_past(lane, mark) && !kofn__verbs_endpoint_gone(endpoint))
        kofn__verbs_endpoint_sent(endpoint);
    if (endpoint->failed)
        return KOFN_GONE;
    return kofn__verbs_lane_past(lane, mark) ? check_former(endpoint, sequence) : KOFN_AGAIN;
}

/* ---- words ---- */

/* Writes @bytes at @from to the beat's place, with @note as an immediate unless it is 0. */
static int write_word(struct kofn__verbs_endpoint *endpoint, const void *from, uint32_t bytes,
                      uint32_t note)
{
    struct kofn__verbs_lane *lane = &endpoint->lanes[KOFN__VERBS_WORDS];
    struct kofn__verbs_memory beat = endpoint->offer.memories[KOFN__VERBS_BEAT];
    struct ibv_sge piece = {.addr = (uintptr_t)from,
                            .length = bytes,
                            .lkey = endpoint->regions[KOFN__VERBS_BLOCK]->lkey};
    struct ibv_send_wr wr = {.opcode = note ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE,
                             .sg_list = &piece,
                             .num_sge = bytes > 0,
                             .send_flags = (note ? IBV_SEND_SOLICITED : 0) |
                                           (bytes && bytes <= lane->inlined ? IBV_SEND_INLINE : 0),
                             .imm_data = htonl(note),
                             .wr.rdma = {.remote_addr = beat.address, .rkey = beat.key}};

    if (kofn__verbs_lane_post(lane, &wr, &wr, 1, false))
        return kofn__verbs_endpoint_fail(endpoint, IBV_WC_GENERAL_ERR, 0);
    return 0;
}

static bool words_full(struct kofn__verbs_endpoint *endpoint)
{
    const struct kofn__verbs_lane *lane = &endpoint->lanes[KOFN__VERBS_WORDS];

    if (kofn__verbs_lane_room(lane) > 2)
        return false;
    kofn__verbs_endpoint_progress(endpoint);
    return kofn__verbs_lane_room(lane) <= 2;
}

int kofn__verbs_note_send(struct kofn__verbs_endpoint *endpoint, uint32_t note)
{
    if (kofn__verbs_endpoint_gone(endpoint))
        return KOFN_GONE;
    return words_full(endpoint) ? KOFN_AGAIN : write_word(endpoint, NULL, 0, note);
}

int kofn__verbs_beat_flush(struct kofn__verbs_endpoint *endpoint)
{
    uint64_t state = __atomic_load_n(&kofn__verbs_line(endpoint)->state, __ATOMIC_RELAXED);
    bool wake = kofn_word_whole(state) && (kofn__verbs_state_wants(state) & KOFN__VERBS_WAKE_BEATS);

    if (!endpoint->beat || endpoint->failed || words_full(endpoint))
        return 0;
    endpoint->block->beat = endpoint->beat;
    endpoint->beat = 0;
    return write_word(endpoint, &endpoint->block->beat, sizeof(endpoint->block->beat),
                      wake ? kofn__verbs_note(KOFN__VERBS_NOTE_BEAT, 0) : 0);
}

/* The newest beat is the only one that matters: without room it waits, and replaces the one that
 * does.
 */
int kofn__verbs_endpoint_beat(struct kofn_endpoint *base, uint64_t beat)
{
    struct kofn__verbs_endpoint *endpoint = kofn__verbs_endpoint(base);

    if (kofn__verbs_endpoint_gone(endpoint))
        return KOFN_GONE;
    endpoint->beat = beat;
    return kofn__verbs_beat_flush(endpoint);
}
