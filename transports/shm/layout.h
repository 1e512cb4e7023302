/* layout.h: what is in the memory that a hub and its workers share, and who may write it.
 *
 *   worker's memory  one memfd a worker; it writes, the hub has it read-only
 *                    head (beat, sleeping flag) | slot
 *   worker's block   one memfd a worker; the hub writes, nobody else ever can
 *                    gate and receipts | rings
 *   models           one memfd; the hub writes, nobody else ever can
 *   bell             one memfd; everybody writes: hints, and nothing that matters
 *
 * The hub maps the workers' memories side by side in one range of addresses, so that the heads have
 * one stride, and the slots the same one. Rank r's head and slot begin r * colour bytes into their
 * part: a merge reads many slots side by side, and were they all to begin on a page, their lines
 * would fall into the same sets of the first cache and evict one another (10 to 15 % of the
 * bandwidth of a merge of eight, from 64 KiB to 4 MiB).
 */
#ifndef KOFN_TRANSPORTS_SHM_LAYOUT_H
#define KOFN_TRANSPORTS_SHM_LAYOUT_H

#include "transports/transport.h"

struct kofn__shm_head {
    KOFN_LINE_ALIGNED uint64_t beat;
    KOFN_LINE_ALIGNED uint32_t sleeping; /* the worker sleeps, or is about to: ring */
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__shm_head) == 2 * KOFN_CACHE_LINE, "two lines");

struct kofn__shm_block {
    struct kofn_block block;
    KOFN_LINE_ALIGNED uint32_t rings; /* grows by 1 with every receipt, and with a gate that finds
                                         the worker asleep; what it sleeps on */
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__shm_block) <= KOFN_PAGE, "a page");

/* Does the hub sleep, or is it about to? Then ring, for whatever it wants to be woken for. */
enum kofn__shm_sleep { SHM_AWAKE, SHM_SLEEPS, SHM_SLEEPS_PATIENTLY };

struct kofn__shm_bell {
    KOFN_LINE_ALIGNED uint32_t sleeping; /* enum kofn__shm_sleep */
    int32_t missing; /* a patient hub: publications, counted down, until it wants to be woken */
    KOFN_LINE_ALIGNED uint32_t rings; /* what it sleeps on */
};

#define KOFN__SHM_COLOUR sizeof(struct kofn__shm_head)
#define KOFN__SHM_COLOURS                                                                          \
    1024u /* more workers than this begin on a page: page tables are memory, too */

struct kofn__shm_layout {
    uint64_t colour;       /* bytes; 0 = none */
    uint64_t head_bytes;   /* of the part that holds the head: whole pages */
    uint64_t worker_bytes; /* of a worker's memory: whole pages */
};

/* The layout for so many workers with slots of @slot. */
void kofn__shm_layout_init(struct kofn__shm_layout *layout, uint32_t workers,
                           const struct kofn_geometry *slot);

static inline uint64_t kofn__shm_head_offset(const struct kofn__shm_layout *layout, uint32_t rank)
{
    return rank * layout->colour;
}

static inline uint64_t kofn__shm_slot_offset(const struct kofn__shm_layout *layout, uint32_t rank)
{
    return layout->head_bytes + rank * layout->colour;
}

/* What the hub's offer says, and the worker's answer repeats. The offer has the four descriptors.
 */
enum { SHM_FD_WORKER, SHM_FD_BLOCK, SHM_FD_MODELS, SHM_FD_BELL, SHM_FDS };
KOFN_STATIC_ASSERT(SHM_FDS <= KOFN_OFFER_FDS, "an offer holds them");

struct kofn__shm_offer {
    char magic[8];
    uint32_t rank, epoch, workers;
    uint32_t slot_depth, model_depth, zero;
    uint64_t slot_payload, model_payload;
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__shm_offer) <= KOFN_OFFER_BYTES, "an offer holds it");

void kofn__shm_offer_init(struct kofn__shm_offer *content, uint32_t workers, uint32_t rank,
                          uint32_t epoch, const struct kofn_geometry *slot,
                          const struct kofn_geometry *model);

/* Writes @content into @offer, without descriptors. */
void kofn__shm_offer_put(struct kofn_offer *offer, const struct kofn__shm_offer *content);

/* Reads what @offer holds. Returns KOFN_PROTOCOL if that is not an offer of this transport with
 * @fd_count descriptors; what it says is not judged.
 */
int kofn__shm_offer_get(const struct kofn_offer *offer, uint32_t fd_count,
                        struct kofn__shm_offer *content);

#endif
