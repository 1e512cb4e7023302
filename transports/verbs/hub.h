/* hub.h: the inside of the hub. hub.c has its life, waiting and the table, member.c workers' coming
 * and going, accept.c connections of the connection manager, arrive.c what comes in, words.c gates
 * and receipts, push.c models, read.c snapshots.
 */
#ifndef KOFN_TRANSPORTS_VERBS_HUB_H
#define KOFN_TRANSPORTS_VERBS_HUB_H

#include "base/backoff.h"
#include "base/mem.h"
#include "proto/inbox.h"
#include "transports/verbs/cm.h"
#include "transports/verbs/lines.h"

#define KOFN__VERBS_SNAPSHOTS 2

enum kofn__verbs_place {
    KOFN__VERBS_FREE,
    KOFN__VERBS_ADMITTED,
    KOFN__VERBS_CONNECTED,
    KOFN__VERBS_EVICTED
};

/* What is sent from where it is kept: registered, for devices whose requests carry less. */
struct kofn__verbs_shadow {
    KOFN_LINE_ALIGNED struct kofn__verbs_line line;
    struct kofn_block block;                   /* its receipts; the gate is in the line */
    KOFN_LINE_ALIGNED struct kofn_stamp stamp; /* of the model under way */
    KOFN_LINE_ALIGNED uint64_t zero;           /* withdraws a stamp */
    KOFN_LINE_ALIGNED struct kofn_stamp found[KOFN_DEPTH_MAX]; /* what is read at the worker */
    KOFN_LINE_ALIGNED struct kofn_stamp again;                 /* the one chosen, afterwards */
};

/* How far a model is on its way to a worker. */
enum kofn__verbs_push_state {
    KOFN__VERBS_PUSH_IDLE,
    KOFN__VERBS_PUSH_PAYLOAD, /* its payload is on the data lane */
    KOFN__VERBS_PUSH_SENT,    /* its payload is there; the stamp waits for room */
    KOFN__VERBS_PUSH_STAMP,   /* its stamp is on the words lane */
};

struct kofn__verbs_push {
    enum kofn__verbs_push_state state;
    uint64_t sequence;  /* of the model under way */
    uint64_t stamped;   /* of the newest whose stamp is on its way */
    uint64_t promised;  /* of the newest that gates are to wait for */
    bool asked;         /* the worker needs the newest */
    uint32_t overtaken; /* one was overwritten at its source: so many are to go by snapshot */
    int snapshot;       /* index, or -1: from where the server publishes */
    uint32_t buffer;    /* at the worker, in turn: its model is not overwritten by the next one */
    uint32_t mark;      /* lane.posted behind what `state` waits for */
};

/* How far a snapshot has been read: its stamp, then its payload and the stamp again. */
enum kofn__verbs_read_state {
    KOFN__VERBS_READ_IDLE,
    KOFN__VERBS_READ_STAMPS,
    KOFN__VERBS_READ_ALL
};

struct kofn__verbs_read {
    enum kofn__verbs_read_state state;
    uint64_t after;    /* what is behind this number */
    uint64_t sequence; /* of the one chosen */
    uint32_t mark;     /* lane.posted behind what `state` waits for */
};

struct kofn__verbs_member {
    enum kofn__verbs_place place;
    bool failed, reported; /* its connection has; hub_poll() has said so */
    bool counted;          /* in hub->busy */
    bool asleep;           /* the worker sleeps until a line comes */
    bool line_due;         /* the line is to be written as soon as there is room */
    uint32_t receipts_due; /* one bit for each place of them: before the line */
    uint32_t count;        /* of lines composed */
    uint64_t gate;         /* as the server last wrote it */
    uint64_t next;         /* publication that is expected */
    struct kofn__verbs_lane lanes[KOFN__VERBS_PAIRS];
    struct kofn__verbs_push push;
    struct kofn__verbs_read read;
    struct kofn__verbs_offer offer; /* ours */
    struct kofn__verbs_end peer;    /* theirs, and the memory there */
    struct kofn__verbs_memory theirs[KOFN__VERBS_MEMORIES];
    struct ibv_mr *regions[KOFN__VERBS_HUB_MEMORIES];

    bool answered; /* admitted: hub_connect() has its answer, and is to go on */

    /* connect=rdmacm */
    uint64_t connect_ns; /* until when it is to be established */
    bool accepted;
    struct rdma_cm_id *ids[KOFN__VERBS_PAIRS]; /* its calls; NULL = not yet */
    uint32_t established;                      /* a bit for each of them that is */
    char refused[KOFN__VERBS_CM_TEXT];         /* why one cannot be; "" */
};

/* connect=rdmacm: where workers call; all 0 otherwise. */
struct kofn__verbs_listener {
    struct rdma_event_channel *channel;
    struct rdma_cm_id *id;
    unsigned char address[16];
    uint32_t port;
    uint64_t strangers; /* that were refused */
};

/* A copy of a model, for workers whose links are too slow for the one that is published. */
struct kofn__verbs_snapshot {
    struct kofn_memory memory;
    struct ibv_mr *region;
    uint64_t sequence;
    uint32_t users; /* members it is under way to */
    struct kofn_stamp stamp;
};

/* An arrival that hub_poll() has not reported yet. */
struct kofn__verbs_arrived {
    struct kofn_arrival arrival;
    uint32_t epoch;
};

struct kofn__verbs_hub {
    struct kofn_hub hub;
    struct kofn__verbs_port port;
    struct kofn__verbs_listener listener;
    enum kofn__verbs_mode mode;
    bool pull; /* as in kofn_hub_attr */
    struct kofn__verbs_member *members;

    /* Queues. */
    struct ibv_comp_channel *channel;
    struct ibv_cq *send, *receive;
    struct ibv_srq *shared[KOFN__VERBS_PAIRS];
    uint32_t owed[KOFN__VERBS_PAIRS]; /* receive requests to be posted again */
    uint32_t **owners;                /* who has a queue pair number: see kofn__verbs_owner() */

    /* Arrivals: a ring, or, where they are polled, an inbox. */
    struct kofn__verbs_arrived *ring;
    uint32_t ring_mask, ring_head, ring_tail;
    struct kofn_inbox inbox;

    /* Waiting. */
    struct kofn_backoff backoff;
    uint64_t *seen;          /* beats as of the end of the last wait */
    uint32_t *changed;       /* room for a scan */
    uint32_t wants;          /* as the workers have been told */
    bool credits_with_round; /* as in kofn_hub_attr */
    uint64_t upkeep_ns;
    uint32_t polls; /* since the last upkeep */

    uint32_t failures; /* members whose failure is not reported yet */
    uint32_t busy;     /* members with a push under way, or with something due */
    bool lost;         /* the device is */

    /* Memory. */
    struct kofn_memory slots, beats, models, shadows;
    struct ibv_mr *models_region, *shadows_region;
    struct kofn__verbs_snapshot snapshots[KOFN__VERBS_SNAPSHOTS];
};

static inline struct kofn__verbs_hub *kofn__verbs_hub(struct kofn_hub *hub)
{
    return (struct kofn__verbs_hub *)hub;
}

static inline struct kofn__verbs_shadow *kofn__verbs_shadow(const struct kofn__verbs_hub *hub,
                                                            uint32_t rank)
{
    return (struct kofn__verbs_shadow *)hub->shadows.address + rank;
}

/* The member, if @rank is one that can be written to, else NULL. */
static inline struct kofn__verbs_member *kofn__verbs_member(struct kofn__verbs_hub *hub,
                                                            uint32_t rank)
{
    if (rank >= hub->hub.workers || hub->members[rank].place != KOFN__VERBS_CONNECTED)
        return NULL;
    return &hub->members[rank];
}

/* Do arrivals show in the inbox? Else they come with an immediate. */
static inline bool kofn__verbs_in_inbox(const struct kofn__verbs_hub *hub)
{
    return hub->mode != KOFN__VERBS_IMM || hub->pull;
}

/* To be called when what is under way to a member has changed: while there is something, the hub
 * looks at what it has sent.
 */
static inline void kofn__verbs_count_busy(struct kofn__verbs_hub *hub,
                                          struct kofn__verbs_member *member)
{
    bool busy =
        !member->failed && member->place == KOFN__VERBS_CONNECTED &&
        (member->push.state != KOFN__VERBS_PUSH_IDLE ||
         member->read.state != KOFN__VERBS_READ_IDLE || member->line_due || member->receipts_due);

    hub->busy += (uint32_t)busy - (uint32_t)member->counted;
    member->counted = busy;
}

/* ---- arrive.c ---- */

/* Takes in all completions, and sends what has become possible by them. */
void kofn__verbs_hub_progress(struct kofn__verbs_hub *hub);

/* Remembers, or forgets, that these queue pairs are @rank's. KOFN_NO_MEMORY. */
int kofn__verbs_hub_own(struct kofn__verbs_hub *hub, uint32_t rank);
void kofn__verbs_hub_disown(struct kofn__verbs_hub *hub, uint32_t rank);

/* The connection of @rank has failed, for @status (and @vendor of the device); says so once. */
void kofn__verbs_hub_fail(struct kofn__verbs_hub *hub, uint32_t rank, enum ibv_wc_status status,
                          uint32_t vendor);

/* Posts the receive requests that are owed. Returns how many could not be. */
uint32_t kofn__verbs_hub_replenish(struct kofn__verbs_hub *hub);

/* Is there something that hub_poll() would report? */
bool kofn__verbs_hub_any(struct kofn__verbs_hub *hub);

int kofn__verbs_hub_poll(struct kofn_hub *hub, struct kofn_arrival *arrivals, int max);

/* ---- words.c ---- */

/* Sends what is due of receipts and line, as far as there is room. */
void kofn__verbs_words_flush(struct kofn__verbs_hub *hub, uint32_t rank);

/* Tells all workers what to send an immediate with. */
void kofn__verbs_words_want(struct kofn__verbs_hub *hub, uint32_t wants);

/* The worker sleeps, and has seen @count. */
void kofn__verbs_words_asleep(struct kofn__verbs_hub *hub, uint32_t rank, uint32_t count);

/* Writes @bytes at @from, in the shadow of @rank, to @to at the worker; there is room on the lane.
 * @wake: with an immediate; @signal: with a completion.
 */
void kofn__verbs_words_write(struct kofn__verbs_hub *hub, uint32_t rank, const void *from,
                             uint32_t bytes, struct kofn__verbs_memory to, bool wake, bool signal);

int kofn__verbs_hub_gate(struct kofn_hub *hub, uint32_t rank, uint64_t gate);
int kofn__verbs_hub_receipt(struct kofn_hub *hub, uint32_t rank,
                            const struct kofn_receipt_line *line);

/* ---- push.c ---- */

/* The sequence of the newest model; 0 if there is none yet. */
uint64_t kofn__verbs_newest(const struct kofn_geometry *geometry, void *models);

/* Goes on with the model of @rank, whatever its lanes allow now. */
void kofn__verbs_push_progress(struct kofn__verbs_hub *hub, uint32_t rank);

/* The worker needs the newest model. */
void kofn__verbs_push_asked(struct kofn__verbs_hub *hub, uint32_t rank);

/* Nothing is under way to @rank any more: its queue pairs are gone. */
void kofn__verbs_push_end(struct kofn__verbs_hub *hub, uint32_t rank);
void kofn__verbs_push_close(struct kofn__verbs_hub *hub);

/* Requests on the data lane that a model takes, at most. */
uint32_t kofn__verbs_push_requests(const struct kofn__verbs_hub *hub);

int kofn__verbs_hub_push(struct kofn_hub *hub, uint32_t rank, uint64_t sequence);

/* ---- accept.c ---- */

/* Listens for calls, if connect=rdmacm is asked for. @bind: the address of the control channel, or
 * NULL. Logged.
 */
int kofn__verbs_listen(struct kofn__verbs_hub *hub, const char *bind);
void kofn__verbs_listen_end(struct kofn__verbs_hub *hub);

/* Takes in what has come: strangers are refused. Returns 0, KOFN_AGAIN if nothing has, KOFN_SYSTEM.
 */
int kofn__verbs_listen_events(struct kofn__verbs_hub *hub);

/* As kofn__verbs_connect(), of a worker that calls, as far as that has come: KOFN_AGAIN until it
 * has called, has been accepted and has confirmed that, for member.connect_ns at most.
 */
int kofn__verbs_accept(struct kofn__verbs_hub *hub, uint32_t rank, unsigned access);

/* The member's calls are over; its queue pairs are gone. */
void kofn__verbs_accept_end(struct kofn__verbs_member *member);

/* ---- read.c ---- */

/* Goes on with what is read of @rank. */
void kofn__verbs_read_progress(struct kofn__verbs_hub *hub, uint32_t rank);

/* Requests on the data lane that reading takes, at most. */
uint32_t kofn__verbs_read_requests(const struct kofn__verbs_hub *hub);

int kofn__verbs_hub_read(struct kofn_hub *hub, uint32_t rank, uint64_t after);

/* ---- member.c ---- */

int kofn__verbs_hub_admit(struct kofn_hub *hub, uint32_t rank, uint32_t epoch,
                          struct kofn_offer *offer);
int kofn__verbs_hub_connect(struct kofn_hub *hub, uint32_t rank, const struct kofn_offer *offer);
void kofn__verbs_hub_evict(struct kofn_hub *hub, uint32_t rank);
int kofn__verbs_hub_reclaim(struct kofn_hub *hub, uint32_t rank, bool gone);

/* Ends the membership of @rank in whatever state it is, without waiting for anything. */
void kofn__verbs_member_close(struct kofn__verbs_hub *hub, uint32_t rank);

/* Depth of a worker's send queue for words at this hub. */
uint32_t kofn__verbs_words_depth(uint32_t workers);

#endif
