/* endpoint.h: the inside of a worker's end. endpoint.c has what its owner calls, transfer.c what
 * comes from the hub and what goes there.
 *
 * Threads: all is under the driver's lock, but for the block and the buffers, which the owner reads
 * and fills without it.
 */
#ifndef KOFN_TRANSPORTS_URING_ENDPOINT_H
#define KOFN_TRANSPORTS_URING_ENDPOINT_H

#include "base/mem.h"
#include "transports/uring/offer.h"
#include "transports/uring/options.h"
#include "transports/uring/stream.h"

struct kofn__tcp_endpoint {
    struct kofn_endpoint endpoint;
    struct kofn_block block;
    struct kofn__driver driver;
    struct kofn__stream streams[LINKS];
    int links;
    uint64_t peer_timeout;
    struct kofn_memory buffers, models;

    /* What goes. */
    struct kofn_stamp stamps[KOFN_DEPTH_MAX]; /* of publications that have not left, by sequence */
    uint64_t posted;                          /* newest one */
    uint64_t left;                            /* newest one that has left whole */
    uint64_t offset;                          /* bytes of the one after it that have been staged */
    bool stamped;                             /* and its stamp has */
    uint64_t beat;
    bool beat_due;
    bool asked; /* the server wants to read the newest snapshot behind `asked_after` */
    uint64_t asked_after;
    uint64_t answering; /* the one that is being sent; 0 = none yet */
    bool asked_due;     /* it is to be told that there is none */
    bool asking;        /* for a model: sent, and no answer yet */
    bool asking_due;

    /* What comes. */
    uint64_t model;        /* newest whole one; 0 = none yet */
    uint32_t model_buffer; /* where */
    uint64_t coming;       /* the one being written to the next buffer; 0 = none */
    uint64_t filled;       /* bytes of it */
    uint64_t fetched;      /* newest one that was handed out */
    uint64_t held;         /* a gate that came before its model; 0 = none */
    uint64_t held_after;   /* that model */
    bool receipts_changed; /* since the last wait */
    uint64_t seen;         /* the gate that the wait under way knows already */
    struct kofn__tcp_options options;
    uint64_t look_ns; /* when it is looked next whether the server's host is still there */

    /* How it has ended. */
    int status;        /* 0 = it has not */
    bool logged, woke; /* who has been told: the log, a wait */
    char why[128];
};

static inline struct kofn__tcp_endpoint *kofn__tcp_endpoint(struct kofn_endpoint *endpoint)
{
    return (struct kofn__tcp_endpoint *)endpoint;
}

/* transfer.c: what comes; its argument is the endpoint. */
extern const struct kofn__engine_sink kofn__endpoint_sink;

/* transfer.c: sends what there is to send on this connection, as far as the socket takes it. */
void kofn__endpoint_send(struct kofn__tcp_endpoint *endpoint, enum kofn__link link);

/* transfer.c: looks, now and then, whether the server's host is still there. */
void kofn__endpoint_look(struct kofn__tcp_endpoint *endpoint, uint64_t now);

/* transfer.c: where model number @index lies. */
static inline char *kofn__endpoint_model(const struct kofn__tcp_endpoint *endpoint, uint32_t index)
{
    return (char *)endpoint->models.address + index * endpoint->endpoint.model.buffer_bytes;
}

static inline enum kofn__link kofn__payload_link(const struct kofn__tcp_endpoint *endpoint)
{
    return endpoint->links == 1 ? LINK_CONTROL : LINK_PAYLOAD;
}

int kofn__tcp_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                            struct kofn_offer *out, struct kofn_endpoint **endpoint_p);
void kofn__tcp_endpoint_close(struct kofn_endpoint *endpoint);
void *kofn__tcp_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__tcp_endpoint_publish(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp);
int kofn__tcp_endpoint_left(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__tcp_endpoint_beat(struct kofn_endpoint *endpoint, uint64_t beat);
int kofn__tcp_endpoint_fetch(struct kofn_endpoint *endpoint, float *model, float *base,
                             struct kofn_stamp *stamp);
int kofn__tcp_endpoint_wait(struct kofn_endpoint *endpoint, uint64_t seen, uint64_t deadline);

#endif
