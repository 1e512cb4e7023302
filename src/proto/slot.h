/* slot.h: a single-writer mailbox in somebody else's memory.
 *
 * One writer fills a payload buffer and then its stamp; one reader looks at stamps. Updates (worker
 * to server) and models (server to worker) are slots alike. Nothing here does I/O: a transport
 * moves the bytes, this file says where they go, when a buffer may be written again and whether
 * what has arrived may be used.
 *
 *   slot     buffer 0 | buffer 1 | ... | buffer D-1          publication s goes to buffer s mod D
 *   buffer   payload, padded to a line | stamp               one write that ends in the sequence
 *
 * Credits are the first line of defence: publication s may be written only when s - D has been
 * released. The stamp is the second: a reader looks at it before and after, and late or torn bytes
 * never pass.
 *
 * Threads: any number of readers of different slots; one reader and one writer of one slot. No
 * locks, no allocation.
 */
#ifndef KOFN_PROTO_SLOT_H
#define KOFN_PROTO_SLOT_H

#include "base/base.h"

#define KOFN_DEPTH 2u /* buffers of a slot: one is read while the other is written */
#define KOFN_DEPTH_PULL                                                                            \
    3u /* of snapshots: what is read survives one more, and the one being written */
#define KOFN_DEPTH_MAX 8u                    /* far below 256, the modulus of released sequences */
#define KOFN_PAYLOAD_MAX (UINT64_C(1) << 40) /* bytes; more is a mistake, not a model */
#define KOFN_RECEIPTS 8u      /* receipts a worker's block holds, by sequence mod 8 */
#define KOFN_LATE_RECEIPTS 4u /* and of what came late (staleness > 0), by sequence mod 4 */

/* The stamp that follows a payload. One cache line; the writer sends it last, and its last word at
 * the very end. */
struct kofn_stamp {
    uint32_t epoch;   /* membership generation; an evicted writer's stamp has an old one */
    uint32_t round;   /* the round this update was computed in */
    uint32_t version; /* the model it started from */
    uint32_t
        from; /* local updates of that round that were settled before: 0 but for a late remainder */
    uint32_t updates;    /* local updates done in that round; the payload carries (from, updates] */
    uint32_t total;      /* local updates the worker has finished since it joined */
    float loss;          /* mean over the updates it carries */
    uint32_t checksum;   /* CRC-32 of the payload, or 0 */
    uint64_t length;     /* bytes of payload */
    uint64_t compute_ns; /* time those took, injected delay included */
    uint32_t post_ns;    /* from the end of the last update to this post, without the wait below */
    uint32_t wait_ns;    /* time this publication waited for its credit */
    uint64_t sequence; /* grows by 1 with every publication; 0 = never written, or being written */
};
KOFN_STATIC_ASSERT(sizeof(struct kofn_stamp) == KOFN_CACHE_LINE, "one line");
KOFN_STATIC_ASSERT(offsetof(struct kofn_stamp, sequence) == KOFN_CACHE_LINE - 8,
                   "what is polled comes last");

/* What the server writes back about a publication. Half a line; the sequence comes last. */
struct kofn_receipt_line {
    uint32_t made_in;
    uint32_t merged_in;
    uint32_t updates;
    uint32_t staleness;
    uint32_t outcome; /* enum kofn_outcome */
    float weight;
    uint64_t sequence;
};
KOFN_STATIC_ASSERT(sizeof(struct kofn_receipt_line) == KOFN_CACHE_LINE / 2, "two a line");

/* What a server writes at one of its workers: the gate on a line of its own, then the receipts. Of
 * what came late they have places of their own: they come when it has been merged, and the worker
 * may have published any number of updates since.
 */
struct kofn_block {
    KOFN_LINE_ALIGNED uint64_t gate;
    KOFN_LINE_ALIGNED struct kofn_receipt_line receipts[KOFN_RECEIPTS];
    KOFN_LINE_ALIGNED struct kofn_receipt_line late[KOFN_LATE_RECEIPTS];
};
KOFN_STATIC_ASSERT(sizeof(struct kofn_block) ==
                       KOFN_CACHE_LINE * (1 + (KOFN_RECEIPTS + KOFN_LATE_RECEIPTS) / 2),
                   "no hidden padding");

/* The shape of a slot. */
struct kofn_geometry {
    uint64_t payload_bytes; /* of every publication: one model, or one update */
    uint64_t stamp_offset;  /* in a buffer: payload_bytes rounded up to a line */
    uint64_t buffer_bytes;  /* stamp_offset and the stamp */
    uint64_t slot_bytes;    /* all buffers, rounded up to a page */
    uint32_t depth;         /* D */
};

/* Fills @geometry. Returns KOFN_INVALID if @payload_bytes is 0 or above KOFN_PAYLOAD_MAX, or @depth
 * is not 2 to KOFN_DEPTH_MAX.
 */
int kofn_geometry_init(struct kofn_geometry *geometry, uint64_t payload_bytes, uint32_t depth);

/* True if both describe slots of the same shape. */
static inline bool kofn_geometry_same(const struct kofn_geometry *a, const struct kofn_geometry *b)
{
    return a->payload_bytes == b->payload_bytes && a->depth == b->depth;
}

/* A publication that is complete in the slot of worker @rank. */
struct kofn_arrival {
    uint32_t rank;
    uint64_t sequence;
};

static inline uint64_t kofn_buffer_offset(const struct kofn_geometry *geometry, uint64_t sequence)
{
    uint32_t depth = geometry->depth;
    uint64_t buffer = depth & (depth - 1) ? sequence % depth : sequence & (depth - 1);

    return buffer * geometry->buffer_bytes; /* for 2, 4 and 8 without a division */
}

static inline struct kofn_stamp *kofn_slot_stamp(const struct kofn_geometry *geometry, void *slot,
                                                 uint64_t sequence)
{
    return (struct kofn_stamp *)((char *)slot + kofn_buffer_offset(geometry, sequence) +
                                 geometry->stamp_offset);
}

static inline void *kofn_slot_payload(const struct kofn_geometry *geometry, void *slot,
                                      uint64_t sequence)
{
    return (char *)slot + kofn_buffer_offset(geometry, sequence);
}

/* May publication @sequence be written, if the newest released one is @released (modulo 256)? */
static inline bool kofn_credit_granted(const struct kofn_geometry *geometry, uint64_t sequence,
                                       uint32_t released)
{
    return ((uint32_t)(sequence - 1) - released) % 256 < geometry->depth;
}

/* Writer: withdraws the stamp of the buffer that @sequence will use, so that no reader trusts what
 * is about to be overwritten, and returns where its payload goes. Memory the reader sees directly
 * (shm) needs this; a transport that sends from a buffer of its own does not.
 */
void *kofn_slot_withdraw(const struct kofn_geometry *geometry, void *slot, uint64_t sequence);

/* Writer: the payload of @stamp->sequence is in place; writes the stamp, its sequence last. */
void kofn_slot_publish(const struct kofn_geometry *geometry, void *slot,
                       const struct kofn_stamp *stamp);

/* Reader: starts reading publication @sequence.
 *
 * @payload  out: geometry.payload_bytes bytes in the slot; good only if kofn_slot_end() says so
 * afterwards
 * @stamp    out: a copy of its stamp
 * Returns 0, or KOFN_AGAIN if it is not complete (or no longer there).
 */
int kofn_slot_begin(const struct kofn_geometry *geometry, const void *slot, uint64_t sequence,
                    const void **payload, struct kofn_stamp *stamp);

/* Reader: 0 if what was read since kofn_slot_begin() is publication @sequence and nothing else,
 * else KOFN_TORN. */
int kofn_slot_end(const struct kofn_geometry *geometry, const void *slot, uint64_t sequence);

/* The sequence of the newest publication in @slot; 0 if there is none, or only what is being
 * written. */
uint64_t kofn_slot_newest(const struct kofn_geometry *geometry, const void *slot);

/* True if @stamp can be an update of a member of @epoch in a job at @round: the bounds behind which
 * nothing in it can hurt. @reason, on false: what is wrong, for the message.
 */
bool kofn_stamp_valid(const struct kofn_stamp *stamp, const struct kofn_geometry *geometry,
                      uint32_t epoch, uint32_t round, const char **reason);

/* Where the receipt of publication @sequence is in a block, in bytes from its beginning. */
static inline size_t kofn_receipt_offset(uint64_t sequence, bool late)
{
    return late ? offsetof(struct kofn_block, late) +
                      sequence % KOFN_LATE_RECEIPTS * sizeof(struct kofn_receipt_line)
                : offsetof(struct kofn_block, receipts) +
                      sequence % KOFN_RECEIPTS * sizeof(struct kofn_receipt_line);
}

/* Server: writes a receipt into its place of @block, the sequence last. */
void kofn_block_put_receipt(struct kofn_block *block, const struct kofn_receipt_line *line);

/* Worker: the receipt of publication @sequence: 0, or KOFN_AGAIN if there is none (or it was
 * overwritten). */
int kofn_block_get_receipt(const struct kofn_block *block, uint64_t sequence,
                           struct kofn_receipt_line *line);

/* Worker: the oldest receipt of a late publication behind @after: 0, or KOFN_AGAIN. */
int kofn_block_next_late(const struct kofn_block *block, uint64_t after,
                         struct kofn_receipt_line *line);

#endif
