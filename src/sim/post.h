/* post.h: messages under way: a queue by time of arrival.
 *
 * Messages of equal time arrive in the order in which they were sent. Plain data; the queue grows
 * as it must and never shrinks. Threads: one.
 */
#ifndef KOFN_SIM_POST_H
#define KOFN_SIM_POST_H

#include "base/base.h"
#include "base/clock.h"

enum kofn_mail_kind {
    KOFN_MAIL_DOOR, /* has reached the link of the server, or the peer; it still has to get in */
    KOFN_MAIL_DATA, /* a publication has arrived whole */
    KOFN_MAIL_BEAT,
    KOFN_MAIL_GATE,
    KOFN_MAIL_PEER, /* of a peer, has arrived whole: along in-edge `round`; its content is in place
                       `updates` */
    KOFN_MAIL_READ, /* the server asks for a snapshot */
};

struct kofn_mail {
    uint64_t time;
    uint64_t order;          /* set by kofn_post_send() */
    uint32_t rank;           /* who sent it, or whom it is for */
    uint32_t round, updates; /* BEAT; GATE: its round */
    uint8_t kind;            /* enum kofn_mail_kind */
    uint8_t state, released; /* GATE */
    uint64_t sequence;       /* DOOR, DATA */
};

struct kofn_post {
    struct kofn_mail *heap; /* binary; owned */
    size_t count, capacity;
    uint64_t sent;
};

/* KOFN_NO_MEMORY; not logged. A zeroed post is an empty one. */
int kofn_post_send(struct kofn_post *post, const struct kofn_mail *mail);
void kofn_post_close(struct kofn_post *post);

/* When the next message arrives; KOFN_FOREVER if none is under way. */
static inline uint64_t kofn_post_next(const struct kofn_post *post)
{
    return post->count ? post->heap[0].time : KOFN_FOREVER;
}

/* Takes out the next message, of which there must be one. */
struct kofn_mail kofn_post_take(struct kofn_post *post);

#endif
