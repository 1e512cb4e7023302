#include "proto/slot.h"

#include <string.h>

#include "base/barrier.h"
#include "base/racy.h"
#include "proto/word.h"

int kofn_geometry_init(struct kofn_geometry *geometry, uint64_t payload_bytes, uint32_t depth)
{
    if (!payload_bytes || payload_bytes > KOFN_PAYLOAD_MAX || depth < 2 || depth > KOFN_DEPTH_MAX)
        return KOFN_INVALID;
    geometry->payload_bytes = payload_bytes;
    geometry->stamp_offset = kofn_round_up(payload_bytes, KOFN_CACHE_LINE);
    geometry->buffer_bytes = geometry->stamp_offset + sizeof(struct kofn_stamp);
    geometry->slot_bytes = kofn_round_up(geometry->buffer_bytes * depth, KOFN_PAGE);
    geometry->depth = depth;
    return 0;
}

void *kofn_slot_withdraw(const struct kofn_geometry *geometry, void *slot, uint64_t sequence)
{
    kofn_peer_store64(&kofn_slot_stamp(geometry, slot, sequence)->sequence, 0);
    kofn_stamp_withdrawn_barrier();
    return kofn_slot_payload(geometry, slot, sequence);
}

void kofn_slot_publish(const struct kofn_geometry *geometry, void *slot,
                       const struct kofn_stamp *stamp)
{
    struct kofn_stamp *place = kofn_slot_stamp(geometry, slot, stamp->sequence);

    memcpy(place, stamp, offsetof(struct kofn_stamp, sequence));
    kofn_peer_store64(&place->sequence, stamp->sequence);
}

int kofn_slot_begin(const struct kofn_geometry *geometry, const void *slot, uint64_t sequence,
                    const void **payload, struct kofn_stamp *stamp)
{
    const struct kofn_stamp *place = kofn_slot_stamp(geometry, (void *)slot, sequence);

    if (kofn_peer_load64(&place->sequence) != sequence)
        return KOFN_AGAIN;
    kofn_racy_copy(stamp, place, sizeof(*stamp));
    stamp->sequence = sequence;
    *payload = kofn_slot_payload(geometry, (void *)slot, sequence);
    return 0;
}

int kofn_slot_end(const struct kofn_geometry *geometry, const void *slot, uint64_t sequence)
{
    kofn_payload_read_barrier();
    return kofn_peer_load64(&kofn_slot_stamp(geometry, (void *)slot, sequence)->sequence) ==
                   sequence
               ? 0
               : KOFN_TORN;
}

uint64_t kofn_slot_newest(const struct kofn_geometry *geometry, const void *slot)
{
    uint64_t newest = 0;

    for (uint32_t i = 0; i < geometry->depth; i++) {
        const struct kofn_stamp *stamp = kofn_slot_stamp(geometry, (void *)slot, i);
        uint64_t sequence = kofn_peer_load64(&stamp->sequence);

        newest = KOFN_MAX(newest, sequence);
    }
    return newest;
}

bool kofn_stamp_valid(const struct kofn_stamp *stamp, const struct kofn_geometry *geometry,
                      uint32_t epoch, uint32_t round, const char **reason)
{
    if (stamp->epoch != epoch)
        *reason = "epoch of another membership";
    else if (stamp->length != geometry->payload_bytes)
        *reason = "length is not the model's";
    else if (!stamp->round || stamp->round > round)
        *reason = "round that has not begun";
    else if (!stamp->version || stamp->version > round ||
             (stamp->round > stamp->version && stamp->round - stamp->version > KOFN_DEPTH_MAX))
        *reason = "model version that its round never had";
    else if (stamp->from >= stamp->updates || stamp->updates > stamp->total ||
             stamp->updates > KOFN_BEAT_MAX_UPDATES)
        *reason = "counts of local updates that cannot be";
    else
        return true;
    return false;
}

void kofn_block_put_receipt(struct kofn_block *block, const struct kofn_receipt_line *line)
{
    struct kofn_receipt_line *place =
        (void *)((char *)block + kofn_receipt_offset(line->sequence, line->staleness > 0));

    kofn_peer_store64(&place->sequence, 0);
    kofn_stamp_withdrawn_barrier();
    memcpy(place, line, offsetof(struct kofn_receipt_line, sequence));
    kofn_peer_store64(&place->sequence, line->sequence);
}

static int get(const struct kofn_receipt_line *place, uint64_t sequence,
               struct kofn_receipt_line *line)
{
    if (kofn_peer_load64(&place->sequence) != sequence)
        return KOFN_AGAIN;
    kofn_racy_copy(line, place, sizeof(*line));
    kofn_payload_read_barrier();
    return kofn_peer_load64(&place->sequence) == sequence ? 0 : KOFN_AGAIN;
}

int kofn_block_get_receipt(const struct kofn_block *block, uint64_t sequence,
                           struct kofn_receipt_line *line)
{
    int rc = get(&block->receipts[sequence % KOFN_RECEIPTS], sequence, line);

    return rc ? get(&block->late[sequence % KOFN_LATE_RECEIPTS], sequence, line) : 0;
}

int kofn_block_next_late(const struct kofn_block *block, uint64_t after,
                         struct kofn_receipt_line *line)
{
    uint64_t best = UINT64_MAX;

    for (uint32_t i = 0; i < KOFN_LATE_RECEIPTS; i++) {
        uint64_t sequence = kofn_peer_load64(&block->late[i].sequence);

        if (sequence > after)
            best = KOFN_MIN(best, sequence);
    }
    return best == UINT64_MAX ? KOFN_AGAIN
                              : get(&block->late[best % KOFN_LATE_RECEIPTS], best, line);
}
