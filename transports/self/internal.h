/* internal.h: the inside of a fabric, shared by fabric.c (queues), deliver.c (what arrives), hub.c
 * and endpoint.c (the two ends). The table of functions is in hub.c.
 */
#ifndef KOFN_TRANSPORTS_SELF_INTERNAL_H
#define KOFN_TRANSPORTS_SELF_INTERNAL_H

#include "base/random.h"
#include "proto/inbox.h"
#include "transports/self/self.h"

struct message {
    struct message *next;
    enum kofn_message_kind kind;
    uint32_t generation; /* of the membership it was sent in */
    uint64_t due;        /* tick */
    uint64_t sequence;   /* of a payload or a model */
    union {
        uint64_t word;
        struct kofn_stamp stamp;
        struct kofn_receipt_line receipt;
    };
    const void *origin; /* payload: the buffer it came from; NULL once that is freed */
    size_t bytes;       /* of content: a copy of the payload or the model */
    unsigned char content[];
};

struct queue {
    struct message *head, **tail;
    size_t count;
    uint64_t delay; /* ticks from sent to due */
    uint64_t due;   /* of the last message */
};

/* What the hub has done with a rank. */
enum place { PLACE_FREE, PLACE_ADMITTED, PLACE_CONNECTED, PLACE_EVICTED };

struct self_endpoint;

struct link {
    struct queue queues[KOFN_CHANNELS];
    enum place place;
    uint32_t generation; /* grows with every admission; 0 = never admitted */
    uint32_t cut;        /* the newest generation whose connection broke; 0 = none */
    bool cut_reported;

    /* The read under way. */
    bool reading;
    uint64_t read_after;             /* what is behind this number */
    struct kofn_stamp read_stamp;    /* as first read; sequence 0 = not yet, or there is none */
    struct self_endpoint *endpoints; /* open, of all generations */
};

struct self_hub {
    struct kofn_hub hub;
    struct kofn_fabric *fabric;
    struct kofn_inbox inbox;
    uint64_t *beats;
};

struct self_endpoint {
    struct kofn_endpoint endpoint;
    struct kofn_fabric *fabric;
    struct self_endpoint *next;
    uint32_t generation;
    uint64_t left; /* the newest publication that has left */
    struct kofn_block block;
    void *models; /* of geometry `model`: what was pushed */
};

struct kofn_fabric {
    struct kofn_fabric_attr attr;
    struct kofn_fabric_counts counts;
    struct kofn_random random;
    uint64_t now; /* ticks */
    struct self_hub *hub;
    struct link links[];
};

/* fabric.c: a message with room for @bytes of content, not yet posted; NULL without memory. */
struct message *kofn__message_new(enum kofn_message_kind kind, uint32_t generation, size_t bytes);

/* fabric.c: posts @message on a channel of @rank, which owns it from here on. */
void kofn__fabric_post(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel,
                       struct message *message);

/* fabric.c: makes and posts a word (beat or gate). Returns KOFN_NO_MEMORY. */
int kofn__fabric_post_word(struct kofn_fabric *fabric, uint32_t rank,
                           enum kofn_fabric_channel channel, enum kofn_message_kind kind,
                           uint32_t generation, uint64_t word);

/* fabric.c: posts the three messages of a read. Returns KOFN_NO_MEMORY, and nothing is posted. */
int kofn__fabric_post_read(struct kofn_fabric *fabric, uint32_t rank);

/* fabric.c: takes the next message of a channel out; the caller frees it. NULL if there is none. */
struct message *kofn__fabric_take(struct kofn_fabric *fabric, uint32_t rank,
                                  enum kofn_fabric_channel channel);

/* fabric.c: true if the next message of a channel is a stamp, of an update or of a model. */
bool kofn__fabric_has_stamp(const struct kofn_fabric *fabric, uint32_t rank,
                            enum kofn_fabric_channel channel);

/* deliver.c: what a wait does instead of sleeping. */
int kofn__fabric_wait(struct kofn_fabric *fabric, uint32_t rank, uint64_t deadline);

/* endpoint.c: the open endpoint of @rank in @generation, or NULL. */
struct self_endpoint *kofn__link_endpoint(const struct link *link, uint32_t generation);

/* What the hub tells an endpoint of itself, and is told again. */
#define SELF_MAGIC "kofnself"
struct self_offer {
    char magic[8];
    uint32_t rank, epoch, generation;
    uint32_t slot_depth, model_depth, zero;
    uint64_t slot_bytes, model_bytes;
};

/* endpoint.c: its part of the table; transport.h says what they do. */
int kofn__self_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                             struct kofn_offer *out, struct kofn_endpoint **endpoint_p);
void kofn__self_endpoint_close(struct kofn_endpoint *endpoint);
void *kofn__self_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__self_endpoint_publish(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp);
int kofn__self_endpoint_left(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__self_endpoint_beat(struct kofn_endpoint *endpoint, uint64_t beat);
int kofn__self_endpoint_view(struct kofn_endpoint *base, const void **model,
                             struct kofn_stamp *stamp);
int kofn__self_endpoint_wait(struct kofn_endpoint *endpoint, uint64_t seen, uint64_t deadline);

#endif
