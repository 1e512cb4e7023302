#include "transports/uring/offer.h"

#include <string.h>
#include <sys/random.h>

static const char offer_magic[8] = "kofntcp1";
static const char answer_magic[8] = "kofntcpA";
static const char greeting_magic[8] = "kofntcpG";

/* FNV-1a. It finds what was damaged or made by another version; what is kept secret is the token.
 */
static uint64_t check_of(const struct kofn__tcp_offer *content)
{
    const unsigned char *bytes = (const unsigned char *)content;
    uint64_t check = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < offsetof(struct kofn__tcp_offer, check); i++)
        check = (check ^ bytes[i]) * UINT64_C(0x100000001b3);
    return check;
}

int kofn__offer_seal(struct kofn__tcp_offer *content)
{
    if (getrandom(content->token, sizeof(content->token), 0) != sizeof(content->token))
        return KOFN_SYSTEM;
    memcpy(content->magic, offer_magic, sizeof(offer_magic));
    content->check = check_of(content);
    return 0;
}

static void put(struct kofn_offer *offer, const struct kofn__tcp_offer *content)
{
    memset(offer, 0, sizeof(*offer));
    offer->length = sizeof(*content);
    memcpy(offer->bytes, content, sizeof(*content));
}

static int get(const struct kofn_offer *offer, const char magic[8], struct kofn__tcp_offer *content)
{
    if (offer->length != sizeof(*content) || offer->fd_count)
        return KOFN_PROTOCOL;
    memcpy(content, offer->bytes, sizeof(*content));
    if (memcmp(content->magic, magic, sizeof(content->magic)) ||
        content->check != check_of(content) || content->host[KOFN_HOST_BYTES - 1])
        return KOFN_PROTOCOL;
    return 0;
}

void kofn__offer_put(struct kofn_offer *offer, const struct kofn__tcp_offer *content)
{
    put(offer, content);
}

int kofn__offer_get(const struct kofn_offer *offer, struct kofn__tcp_offer *content)
{
    return get(offer, offer_magic, content);
}

void kofn__answer_put(struct kofn_offer *answer, const struct kofn__tcp_offer *content)
{
    struct kofn__tcp_offer copy = *content;

    memcpy(copy.magic, answer_magic, sizeof(answer_magic));
    memset(copy.host, 0, sizeof(copy.host));
    memset(copy.token, 0, sizeof(copy.token));
    copy.check = check_of(&copy);
    put(answer, &copy);
}

int kofn__answer_get(const struct kofn_offer *answer, struct kofn__tcp_offer *content)
{
    return get(answer, answer_magic, content);
}

struct kofn__greeting kofn__greeting_make(const struct kofn__tcp_offer *content,
                                          enum kofn__link link)
{
    struct kofn__greeting greeting = {
        .rank = content->rank, .epoch = content->epoch, .link = (uint32_t)link};

    memcpy(greeting.magic, greeting_magic, sizeof(greeting_magic));
    memcpy(greeting.token, content->token, sizeof(greeting.token));
    return greeting;
}

bool kofn__greeting_valid(const struct kofn__greeting *greeting)
{
    return !memcmp(greeting->magic, greeting_magic, sizeof(greeting_magic)) && !greeting->zero &&
           greeting->link < LINKS;
}

bool kofn__token_same(const unsigned char *a, const unsigned char *b)
{
    volatile unsigned char difference = 0;

    for (size_t i = 0; i < KOFN__TOKEN_BYTES; i++)
        difference = (unsigned char)(difference | (a[i] ^ b[i]));
    return !difference;
}
