/* hub.h: the inside of a hub. hub.c has its life, its table of functions and what its owner calls;
 * visitors.c lets connections in, member.c ranks; receive.c takes what workers send, send.c sends
 * to them.
 *
 * Threads: all is under the driver's lock. What the guard finds wrong is told to the owner, who
 * logs it.
 */
#ifndef KOFN_TRANSPORTS_URING_HUB_H
#define KOFN_TRANSPORTS_URING_HUB_H

#include "base/mem.h"
#include "transports/uring/offer.h"
#include "transports/uring/options.h"
#include "transports/uring/stream.h"

#define KOFN__VISITORS 64u /* connections that have not said yet whose they are */
#define KOFN__GREETING_NS (5 * UINT64_C(1000000000)) /* how long they have for it */
#define KOFN__RECEIPTS 16u /* that wait for a worker: at least as many as its block holds */
#define KOFN__PEER_NS (10 * UINT64_C(1000000000)) /* default of attr.peer_timeout */
#define KOFN__END_NS                                                                               \
    UINT64_C(1000000000) /* a connection may have ended for so long until its rank has failed: the \
                            control channel knows better why */

enum kofn__place { PLACE_FREE, PLACE_ADMITTED, PLACE_CONNECTED, PLACE_EVICTED };

struct kofn__member {
    enum kofn__place place;
    uint32_t rank, epoch;
    unsigned char token[KOFN__TOKEN_BYTES];
    struct kofn__stream streams[LINKS];
    bool came[LINKS];               /* the connection has been there, at least */
    uint64_t deadline;              /* a connected member: for those that have not */
    char name[KOFN_HOST_BYTES + 8]; /* where it is, for messages */

    /* What comes. */
    uint64_t expected; /* the publication that is being written, or comes next */
    uint64_t filled;   /* bytes of it */
    uint64_t taken;    /* newest one its owner has collected */
    bool reading;      /* a snapshot behind `read_after` was asked for, and is not there yet */
    uint64_t read_after;

    /* What goes. */
    uint64_t gate, gate_after; /* the gate; the model that must be there before it */
    bool gate_due;
    struct kofn_receipt_line receipts[KOFN__RECEIPTS]; /* not sent yet, from `receipt` on */
    uint32_t receipt, receipt_count;
    bool read_due;     /* the worker is to be asked for its snapshot */
    uint64_t wanted;   /* newest model that is to be sent; 0 = none */
    uint64_t sending;  /* the one under way; 0 = none */
    uint64_t offset;   /* bytes of it that have left */
    uint64_t sent;     /* newest one that has left whole */
    char *small_model; /* a copy on its way, where models are small */
    bool nothing_due;  /* it asked for a model, and there is none that is newer */

    /* How it has failed. */
    int status;         /* 0 = it has not */
    uint64_t report_ns; /* when that is to be said; KOFN_FOREVER = it has been */
    char why[128];
};

struct kofn__visitor {
    int fd; /* -1 = none */
    uint64_t deadline;
    uint32_t have;
    struct kofn__greeting greeting;
};

struct kofn__tcp_hub {
    struct kofn_hub hub;
    struct kofn__driver driver;
    struct kofn__member *members;
    struct kofn_arrival *arrivals; /* complete, not collected: a ring of `arrival_room` */
    uint32_t arrival_room, arrival, arrival_count;
    uint64_t *beats;
    bool beats_changed; /* since the last wait */
    uint32_t missing;   /* links of connected members that are not there yet */

    int listener;
    uint16_t port;
    int links; /* a worker has */
    bool pull; /* as in kofn_hub_attr */
    uint64_t peer_timeout;
    char host[KOFN_HOST_BYTES]; /* it listens on; "" = all addresses */
    bool own_host;              /* which is not where the control channel goes */
    uint32_t visitor_count;
    struct kofn__visitor visitors[KOFN__VISITORS];
    uint32_t strangers, strangers_said; /* connections that were dropped without a valid token */
    uint64_t paused_ns; /* no descriptor is left: nobody is accepted until then; 0 = not so */
    uint32_t polls;     /* counts them */
    uint64_t check_ns;  /* when deadlines are looked at next */
    uint64_t look_ns;   /* when it is looked next whether hosts are still there */
    uint64_t report_ns; /* when the next failure is to be said; KOFN_FOREVER = none */

    struct kofn_memory range, models;
    uint64_t worker_bytes; /* of the range, a worker's part */
    int numa_node;
};

static inline struct kofn__tcp_hub *kofn__tcp_hub(struct kofn_hub *hub)
{
    return (struct kofn__tcp_hub *)hub;
}

/* Keys of sockets: the listener, visitors, then members' links. */
#define KOFN__KEY_LISTENER 0u
#define KOFN__KEY_VISITORS 1u
#define KOFN__KEY_MEMBERS (KOFN__KEY_VISITORS + KOFN__VISITORS)

static inline uint32_t kofn__member_key(uint32_t rank, enum kofn__link link)
{
    return KOFN__KEY_MEMBERS + rank * LINKS + (uint32_t)link;
}

/* The connection that payloads of a member travel on. */
static inline struct kofn__stream *kofn__payload_stream(struct kofn__tcp_hub *hub,
                                                        struct kofn__member *member)
{
    return &member->streams[hub->links == 1 ? LINK_CONTROL : LINK_PAYLOAD];
}

/* ---- visitors.c ---- */

/* The listener, or the visitor `key`, has something. */
void kofn__visitors_ready(struct kofn__tcp_hub *hub, uint32_t key);

/* Starts to listen, to accept; KOFN_SYSTEM, KOFN_NO_MEMORY (logged). */
int kofn__visitors_open(struct kofn__tcp_hub *hub, const char *host,
                        const struct kofn__tcp_options *options);
void kofn__visitors_close(struct kofn__tcp_hub *hub);

/* Drops visitors that have taken too long, and accepts again after a pause. */
void kofn__visitors_expire(struct kofn__tcp_hub *hub, uint64_t now);

/* ---- member.c ---- */

/* A visitor has shown the token of a member: its socket is the member's from here on. False if it
 * is not to be let in; the socket is then still the visitor's.
 */
bool kofn__member_attach(struct kofn__tcp_hub *hub, const struct kofn__greeting *greeting, int fd);

/* The member has failed: nothing more is read from it. @status: KOFN_PROTOCOL at once, KOFN_GONE
 * after a while (it may have left in order); @why is copied.
 */
void kofn__member_fail(struct kofn__tcp_hub *hub, struct kofn__member *member, int status,
                       const char *why);

/* One of its connections has ended; what still comes on the other is taken. */
void kofn__member_ended(struct kofn__tcp_hub *hub, struct kofn__member *member,
                        struct kofn__stream *stream);

/* Members whose connections have not come in time have failed. */
void kofn__member_expire(struct kofn__tcp_hub *hub, uint64_t now);

/* So have those whose hosts have not answered for attr.peer_timeout. */
void kofn__member_look(struct kofn__tcp_hub *hub);

/* A failure that is to be said by now, or NULL; it counts as said. */
struct kofn__member *kofn__member_failed(struct kofn__tcp_hub *hub, uint64_t now);

int kofn__tcp_hub_admit(struct kofn_hub *hub, uint32_t rank, uint32_t epoch,
                        struct kofn_offer *offer);
int kofn__tcp_hub_connect(struct kofn_hub *hub, uint32_t rank, const struct kofn_offer *offer);
void kofn__tcp_hub_evict(struct kofn_hub *hub, uint32_t rank);
int kofn__tcp_hub_reclaim(struct kofn_hub *hub, uint32_t rank, bool gone);

/* ---- receive.c ---- */

extern const struct kofn__engine_sink kofn__hub_sink; /* its argument is the hub */

/* ---- send.c ---- */

/* Sends what there is to send on this connection, as far as the socket takes it. */
void kofn__member_send(struct kofn__tcp_hub *hub, struct kofn__member *member,
                       enum kofn__link link);

/* The newest model, 0 if there is none. */
uint64_t kofn__hub_model(const struct kofn__tcp_hub *hub);

#endif
