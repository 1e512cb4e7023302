/* endpoint.h: the inside of a worker's end. endpoint.c has its life and its waits, call.c its call
 * of the hub over the connection manager, publish.c what it sends, fetch.c models.
 */
#ifndef KOFN_TRANSPORTS_VERBS_ENDPOINT_H
#define KOFN_TRANSPORTS_VERBS_ENDPOINT_H

#include <pthread.h>

#include "base/backoff.h"
#include "base/mem.h"
#include "transports/verbs/cm.h"
#include "transports/verbs/lines.h"

/* What the hub writes, and small things of this side, in one piece of memory. */
struct kofn__verbs_block {
    struct kofn_block block;
    KOFN_LINE_ALIGNED uint64_t beat; /* on its way, for devices that cannot inline it */
    uint64_t former[KOFN_DEPTH_MAX]; /* what an atomic operation found */
};

/* connect=rdmacm: the call of the hub; all 0 otherwise. */
struct kofn__verbs_call {
    struct rdma_event_channel *channel;
    struct rdma_cm_id *ids[KOFN__VERBS_PAIRS];
    struct kofn__verbs_end ours;
    uint64_t began, deadline;          /* of all its steps together */
    pthread_t thread;                  /* confirms what the hub accepts */
    bool running;                      /* it has been started, and not been joined */
    bool stop;                         /* it is to end */
    int rc;                            /* how it has ended; */
    char why[2 * KOFN__VERBS_CM_TEXT]; /* of a failure */
};

struct kofn__verbs_endpoint {
    struct kofn_endpoint endpoint;
    struct kofn__verbs_port port;
    struct kofn__verbs_offer offer; /* the hub's */
    struct kofn__verbs_lane lanes[KOFN__VERBS_PAIRS];
    struct ibv_comp_channel *channel;
    struct ibv_cq *send, *receive;
    struct kofn__verbs_block *block;
    struct kofn_memory block_memory, models, buffers;
    struct ibv_mr *regions[KOFN__VERBS_MEMORIES];
    struct kofn__verbs_call call;
    bool failed; /* the connection has, and that has been said; or it is not known to be one yet */

    /* Publications and beats. */
    uint64_t sequence;              /* newest that was posted */
    uint32_t marks[KOFN_DEPTH_MAX]; /* lane.posted behind publication s, at s modulo that */
    uint64_t beat;                  /* waits for room; 0 = none */

    /* Waiting. */
    struct kofn_backoff backoff;
    uint32_t count;    /* of lines, as of the end of the last wait */
    bool asleep;       /* the hub knows that we sleep */
    uint64_t asked;    /* for this model */
    uint64_t probe_ns; /* when acknowledgements were looked after last */
};

/* What the hub may do: write models, gates and receipts, and read what is kept for it. */
#define KOFN__VERBS_HUB_ACCESS (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

static inline struct kofn__verbs_endpoint *kofn__verbs_endpoint(struct kofn_endpoint *endpoint)
{
    return (struct kofn__verbs_endpoint *)endpoint;
}

static inline const struct kofn__verbs_line *
kofn__verbs_line(const struct kofn__verbs_endpoint *endpoint)
{
    return (const struct kofn__verbs_line *)(const void *)&endpoint->block->block;
}

/* ---- call.c ---- */

/* Calls the hub, and leaves a thread behind that makes the connection ready when the hub has
 * accepted. Queue pairs can be given receive requests then. The way is to be found, and the hub to
 * accept, before @deadline; 0 = in the peer's time-out. Logged.
 */
int kofn__verbs_call(struct kofn__verbs_endpoint *endpoint, const struct kofn__verbs_end *ours,
                     uint64_t deadline);

/* The rare part of kofn__verbs_endpoint_gone(). */
bool kofn__verbs_call_failed(struct kofn__verbs_endpoint *endpoint);

/* Ends the thread, in whatever state the call is; then, with its queue pairs gone, the call. */
void kofn__verbs_call_stop(struct kofn__verbs_call *call);
void kofn__verbs_call_end(struct kofn__verbs_call *call);

/* True if nothing can be sent any more: to be asked before anything is. */
static inline bool kofn__verbs_endpoint_gone(struct kofn__verbs_endpoint *endpoint)
{
    return KOFN_UNLIKELY(endpoint->failed) && kofn__verbs_call_failed(endpoint);
}

/* ---- endpoint.c ---- */

int kofn__verbs_endpoint_open(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                              struct kofn_offer *out, struct kofn_endpoint **endpoint_p);
void kofn__verbs_endpoint_close(struct kofn_endpoint *endpoint);
int kofn__verbs_endpoint_wait(struct kofn_endpoint *endpoint, uint64_t seen, uint64_t deadline);

/* Takes in completions of what was sent; all. */
void kofn__verbs_endpoint_sent(struct kofn__verbs_endpoint *endpoint);
void kofn__verbs_endpoint_progress(struct kofn__verbs_endpoint *endpoint);

/* The connection has failed; says so, once. Returns KOFN_GONE. */
int kofn__verbs_endpoint_fail(struct kofn__verbs_endpoint *endpoint, enum ibv_wc_status status,
                              uint32_t vendor);

/* ---- publish.c ---- */

void *kofn__verbs_endpoint_buffer(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__verbs_endpoint_publish(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp);
int kofn__verbs_endpoint_left(struct kofn_endpoint *endpoint, uint64_t sequence);
int kofn__verbs_endpoint_beat(struct kofn_endpoint *endpoint, uint64_t beat);

/* Posts the beat that waits for room, if there is one and there is room. */
int kofn__verbs_beat_flush(struct kofn__verbs_endpoint *endpoint);

/* Sends a note to the hub; KOFN_AGAIN if there is no room for it. */
int kofn__verbs_note_send(struct kofn__verbs_endpoint *endpoint, uint32_t note);

/* Can this end publish as the hub asks for? KOFN_UNSUPPORTED, logged. */
int kofn__verbs_publish_check(const struct kofn__verbs_endpoint *endpoint);

/* Requests on the data lane that all publications under way take, at most. */
uint32_t kofn__verbs_publish_requests(const struct kofn__verbs_endpoint *endpoint);

/* ---- fetch.c ---- */

int kofn__verbs_endpoint_view(struct kofn_endpoint *endpoint, const void **model,
                              struct kofn_stamp *stamp);

#endif
