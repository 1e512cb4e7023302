#include "transports/verbs/offer.h"

#include <string.h>

static const char magics[2][8] = {"kofn-vw1", "kofn-vh1"};

/* FNV-1a: against what is cut off or mangled on its way, not against malice. */
static uint64_t checksum(const struct kofn__verbs_offer *content)
{
    const unsigned char *bytes = (const unsigned char *)content;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = offsetof(struct kofn__verbs_offer, rank); i < sizeof(*content); i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

void kofn__verbs_offer_put(struct kofn_offer *offer, struct kofn__verbs_offer *content,
                           bool from_hub)
{
    memcpy(content->magic, magics[from_hub], sizeof(content->magic));
    content->checksum = checksum(content);
    memset(offer, 0, sizeof(*offer));
    offer->length = sizeof(*content);
    memcpy(offer->bytes, content, sizeof(*content));
}

int kofn__verbs_offer_get(const struct kofn_offer *offer, bool from_hub,
                          struct kofn__verbs_offer *content)
{
    struct kofn__verbs_offer got;

    if (offer->length != sizeof(got) || offer->fd_count)
        return KOFN_PROTOCOL;
    memcpy(&got, offer->bytes, sizeof(got));
    if (memcmp(got.magic, magics[from_hub], sizeof(got.magic)) || got.checksum != checksum(&got))
        return KOFN_PROTOCOL;
    *content = got;
    return 0;
}

bool kofn__verbs_offer_matches(const struct kofn__verbs_offer *a, const struct kofn__verbs_offer *b)
{
    return a->rank == b->rank && a->epoch == b->epoch && a->workers == b->workers &&
           a->mode == b->mode && a->connect == b->connect && a->slot_depth == b->slot_depth &&
           a->model_depth == b->model_depth && a->token == b->token &&
           a->slot_payload == b->slot_payload && a->model_payload == b->model_payload;
}
