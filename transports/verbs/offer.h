/* offer.h: what hub and endpoint tell each other, in the bytes of an offer. */
#ifndef KOFN_TRANSPORTS_VERBS_OFFER_H
#define KOFN_TRANSPORTS_VERBS_OFFER_H

#include "transports/verbs/qp.h"

/* Memory that the other side may reach, with a key. */
struct kofn__verbs_memory {
    uint64_t address;
    uint32_t key, zero;
};

/* The hub's: its slot and its beat; the worker's: its block, its models, its buffers. */
enum {
    KOFN__VERBS_SLOT,
    KOFN__VERBS_BEAT,
    KOFN__VERBS_HUB_MEMORIES,
    KOFN__VERBS_BLOCK = 0,
    KOFN__VERBS_MODELS,
    KOFN__VERBS_BUFFERS,
    KOFN__VERBS_MEMORIES
};

struct kofn__verbs_offer {
    char magic[8];
    uint64_t checksum; /* of all that follows */
    uint32_t rank, epoch, workers;
    uint32_t mode, connect; /* of the server; the worker's answer repeats them */
    uint32_t slot_depth, model_depth, token;
    uint64_t slot_payload, model_payload;
    struct kofn__verbs_end end;
    struct kofn__verbs_memory memories[KOFN__VERBS_MEMORIES];
    unsigned char address[16]; /* rdma_cm: where the server listens, */
    uint32_t port, zero;
    uint64_t nonce; /* and what a worker has to know that calls there */
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__verbs_offer) <= KOFN_OFFER_BYTES, "an offer holds it");
KOFN_STATIC_ASSERT(sizeof(struct kofn__verbs_offer) % 8 == 0, "no hidden padding at its end");

/* Writes @content into @offer, with magic and checksum. */
void kofn__verbs_offer_put(struct kofn_offer *offer, struct kofn__verbs_offer *content,
                           bool from_hub);

/* Reads what @offer holds. Returns KOFN_PROTOCOL if that is not an offer of this transport, from
 * that side, and as it was written; what it says is not judged.
 */
int kofn__verbs_offer_get(const struct kofn_offer *offer, bool from_hub,
                          struct kofn__verbs_offer *content);

/* True if both are about the same worker of the same job. */
bool kofn__verbs_offer_matches(const struct kofn__verbs_offer *a,
                               const struct kofn__verbs_offer *b);

#endif
