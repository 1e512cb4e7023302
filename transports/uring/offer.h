/* offer.h: what a hub's offer says, the worker's answer to it, and how a connection says whose it
 * is.
 *
 * The offer travels over the control channel and holds a secret, drawn anew for every admission.
 * A connection to the hub begins with a greeting that shows the secret; the hub gives it to the
 * rank it is for, or drops it.
 */
#ifndef KOFN_TRANSPORTS_URING_OFFER_H
#define KOFN_TRANSPORTS_URING_OFFER_H

#include "transports/transport.h"

#define KOFN__TOKEN_BYTES 16

/* Payloads up to so many bytes travel with the words, on the one connection there is then. */
#define KOFN__SMALL_PAYLOAD 8192u

/* The connections of a worker. */
enum kofn__link { LINK_CONTROL, LINK_PAYLOAD, LINKS };

struct kofn__tcp_offer {
    char magic[8];
    uint32_t rank, epoch, workers;
    uint32_t slot_depth, model_depth;
    uint32_t port;
    uint64_t slot_payload, model_payload;
    char host[KOFN_HOST_BYTES]; /* of the hub; "" = where the control channel goes */
    unsigned char token[KOFN__TOKEN_BYTES];
    uint64_t check; /* of all before it */
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__tcp_offer) <= KOFN_OFFER_BYTES, "an offer holds it");
KOFN_STATIC_ASSERT(sizeof(struct kofn__tcp_offer) ==
                       offsetof(struct kofn__tcp_offer, check) + sizeof(uint64_t),
                   "no hidden padding");

struct kofn__greeting {
    char magic[8];
    uint32_t rank, epoch;
    uint32_t link; /* enum kofn__link */
    uint32_t zero;
    unsigned char token[KOFN__TOKEN_BYTES];
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__greeting) == 40, "no hidden padding");

/* How many connections a worker has whose payloads, both ways, are of these sizes. */
static inline int kofn__links(uint64_t slot_payload, uint64_t model_payload)
{
    return KOFN_MAX(slot_payload, model_payload) > KOFN__SMALL_PAYLOAD ? LINKS : 1;
}

/* Draws the token and seals @content, which is complete otherwise. KOFN_SYSTEM: no random bytes. */
int kofn__offer_seal(struct kofn__tcp_offer *content);

/* Writes @content into @offer; the answer is the same without token and host. */
void kofn__offer_put(struct kofn_offer *offer, const struct kofn__tcp_offer *content);
void kofn__answer_put(struct kofn_offer *answer, const struct kofn__tcp_offer *content);

/* Reads an offer or an answer. KOFN_PROTOCOL if @offer holds none that is whole. */
int kofn__offer_get(const struct kofn_offer *offer, struct kofn__tcp_offer *content);
int kofn__answer_get(const struct kofn_offer *answer, struct kofn__tcp_offer *content);

struct kofn__greeting kofn__greeting_make(const struct kofn__tcp_offer *content,
                                          enum kofn__link link);

/* Is it a greeting at all: the magic, and a link there is? */
bool kofn__greeting_valid(const struct kofn__greeting *greeting);

/* Compares in a time that says nothing of where they differ. */
bool kofn__token_same(const unsigned char *a, const unsigned char *b);

#endif
