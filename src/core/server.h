/* server.h: the inside of a server handle. guests.c shakes hands with whoever connects, admit.c
 * makes members of them and takes them out, serve.c takes in what arrives and closes rounds,
 * pull.c reads what workers keep, merge.c makes the next model, server.c holds the public
 * functions.
 *
 * One thread runs all of it. What happens between two publications (control channel, deaths,
 * deadlines, who is slow) is done at a tick, every few milliseconds; the path of a publication has
 * no system call but the one that wakes a sleeping worker.
 */
#ifndef KOFN_CORE_SERVER_H
#define KOFN_CORE_SERVER_H

#include <kofn/kofn.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/channel.h"
#include "math/anchor.h"
#include "math/reduce_pool.h"
#include "math/screen.h"
#include "math/versions.h"
#include "round/round.h"
#include "round/rules.h"
#include "transports/transport.h"

#define KOFN_TICK_NS (5 * KOFN_NS_PER_MS)
#define KOFN_ARRIVALS 256 /* taken in one go */
#define KOFN_GUESTS                                                                                \
    64 /* connections that are not members yet: more wait in the listener's queue                  \
        */

/* A receipt for a late publication, to be sent when the open round is merged: only then is known
 * with what weight it was, and receipts of one worker come in their order.
 */
struct kofn_late_line {
    struct kofn_stamp stamp;
    enum kofn_outcome outcome;
    uint32_t staleness;
    float factor;
};

/* A member's connection. */
struct kofn_peer {
    struct kofn_channel *control; /* NULL = none */
    int pidfd;                    /* readable once the process has ended; -1 = none */
    uint32_t pid, epoch; /* the process, as the kernel says, or over a network as it says */
    bool ended;          /* the process had ended before it could be watched */
    bool network;        /* nobody tells of the process itself */
    bool admitted;       /* it has a slot at the hub */
    bool evicted;        /* nothing of it is polled any more; its slot is still there */
    bool expelled;       /* because it broke the rules: it may not go on */
    bool left;           /* it said BYE */
    uint64_t leave_ns;   /* it said BYE: it leaves when `last` is in, or by then; 0 = it has not */
    uint64_t last;       /* its last publication */
    uint64_t finished;   /* local updates, as it says at its end */
    uint64_t sequence;   /* newest publication taken in */
    uint64_t released;   /* newest released */
    uint64_t pushed;     /* version of the model sent last */
    uint32_t read_round, read_updates; /* pull: newest place it was read at */
    uint64_t
        return_ns;    /* its connection has failed: it may come back until then; 0 = it will not */
    uint32_t rejoins; /* memberships after the first */
    enum kofn_member_state announced;
    uint32_t refusals;   /* said so far: the first few are */
    uint32_t late_count; /* in this round, by arrival modulo KOFN_LATE_RECEIPTS: */
    struct kofn_late_line late[KOFN_LATE_RECEIPTS];
    char host[KOFN_NAME_BYTES];
};

/* A connection that has not become a member yet. */
struct kofn_guest {
    struct kofn_channel *control; /* NULL = free */
    char name[96];                /* for messages: "pid 17", "10.0.0.7" */
    uint64_t deadline;
    bool greeted, welcomed; /* HELLO has come; WELCOME has gone out */
    bool returns;           /* it had its rank before, and has lost its connection */
    bool connecting;        /* READY has come, and the transport is making the connection */
    struct kofn_wire hello;
};

struct kofn_server {
    struct kofn_hub *hub;
    struct kofn_round round;
    struct kofn_peer *peers;
    uint64_t *beats_seen;
    uint32_t *beats_changed;
    uint64_t tick_ns; /* when the next one is due */
    bool gates_closed;
    bool interrupted; /* set from anywhere */

    /* Merging. */
    struct kofn_rules rules;
    struct kofn_reduce_pool *pool;
    struct kofn_anchor anchor;
    struct kofn_screen screen;
    struct kofn_versions versions; /* with a staleness step: the models that workers may be at */
    uint32_t *in_use;              /* scratch of that: which those are */
    uint64_t version;              /* of the model published last */
    float *late_sum;               /* sum of factor * update over the late ones of this round */
    float *late_next;              /* where the sum with one more is tried */
    bool late_any;
    double late_loss; /* sum over the local updates in it */
    uint32_t *ranks;  /* scratch of a merge: members, their updates, their weights */
    const void **updates;
    float *weights;

    /* What the open round's report needs. */
    uint64_t bytes, merged_updates, published_ns;
    double loss_sum;

    /* Control. */
    struct kofn_listener listener;
    int epoll;
    bool listening;     /* for more guests */
    uint64_t listen_ns; /* not before this */
    struct kofn_guest guests[KOFN_GUESTS];
    uint32_t leaving;                    /* members that have said BYE and are waited for */
    uint64_t alive_ns;                   /* when workers were last told that the server lives */
    char workload[KOFN_WIRE_TEXT_BYTES]; /* "" = not compared */
    bool serving, stopped;

    struct kofn_server_attr attr;
    const struct kofn_log *log;
};

/* ---- open.c ---- */

/* kofn_server_open() over a transport of the caller's choice, with a context for it: for tests,
 * which then admit their workers themselves.
 */
int kofn__server_open(const struct kofn_server_attr *attr,
                      const struct kofn_transport_ops *transport, void *context,
                      struct kofn_server **server_p);

/* Closes and frees everything. */
void kofn__server_free(struct kofn_server *server);

/* ---- guests.c ---- */

/* @network: the kind of address, where none was given. */
int kofn__guests_open(struct kofn_server *server, bool network);
void kofn__guests_close(struct kofn_server *server);

/* Takes in connections; takes in what a guest has sent; looks after all guests' deadlines. */
void kofn__guests_accept(struct kofn_server *server, uint64_t now);
void kofn__guests_event(struct kofn_server *server, uint32_t index, uint64_t now);
void kofn__guests_look(struct kofn_server *server, uint64_t now);

/* ---- admit.c ---- */

/* What an event of the epoll set belongs to. */
enum kofn_watched { KOFN_WATCHED_LISTENER, KOFN_WATCHED_GUEST, KOFN_WATCHED_PEER };

/* Adds @fd to the epoll set (@operation: EPOLL_CTL_ADD or EPOLL_CTL_MOD). */
int kofn__admit_watch(struct kofn_server *server, int fd, enum kofn_watched kind, uint32_t index,
                      int operation);

/* Listens, before anything else is there; @network as above. */
int kofn__admit_open(struct kofn_server *server, bool network);
void kofn__admit_close(struct kofn_server *server);

/* Looks at listener, guests, members' control channels and processes; waits for the first until
 * @deadline. */
int kofn__admit_look(struct kofn_server *server, uint64_t now, uint64_t deadline);

/* Tells all members on their control channels that the job is over: a gate can be late, where
 * packets are lost, by more than the server waits.
 */
void kofn__admit_dismiss(struct kofn_server *server);

/* Gives @rank a slot: the offer is for its worker, @pid on @host. KOFN_AGAIN while its former slot
 * may still be written. */
int kofn__admit_seat(struct kofn_server *server, uint32_t rank, uint32_t pid, const char *host,
                     struct kofn_offer *offer);

/* The worker of that slot has answered with @offer: it is a member from here on. KOFN_AGAIN while
 * its connection is being made: to be called again, with NULL.
 */
int kofn__admit_member(struct kofn_server *server, uint32_t rank, const struct kofn_offer *offer,
                       uint64_t now);

/* Takes in what has arrived of a member that is about to leave, in bounded time: it is complete,
 * and its writer cannot send it again.
 */
void kofn__admit_drain(struct kofn_server *server, uint32_t rank);

/* A beat is looked at no oftener than needed; the last one says what was finished, and so what is
 * lost.
 */
void kofn__admit_last_beat(struct kofn_server *server, uint32_t rank);

/* Takes a member out, for @why; what it holds can still be merged. @failed: its connection has, so
 * that its worker may come back.
 */
void kofn__admit_gone(struct kofn_server *server, uint32_t rank, const char *why, bool failed);

/* A worker, of process @pid on @host, says that it had @finished local updates as a member of @rank
 * in @epoch, and comes for another membership: the former one ends. NULL, or why it may not.
 */
const char *kofn__admit_return(struct kofn_server *server, uint32_t rank, uint32_t epoch,
                               uint32_t finished, const char *host, uint32_t pid);

/* True if a member whose connection has failed may still come back. */
bool kofn__admit_awaits(const struct kofn_server *server, uint64_t now);

/* Throws a living member out that broke the rules. */
void kofn__admit_evict(struct kofn_server *server, uint32_t rank, const char *why);

/* ---- serve.c ---- */

/* One turn: what has arrived, and, if it is time, a tick; sleeps until @deadline if there was
 * nothing. */
int kofn__serve(struct kofn_server *server, uint64_t deadline);

/* Takes in everything that has arrived. Returns true if there was anything. */
bool kofn__serve_arrivals(struct kofn_server *server);

/* Writes the gate of @rank as the round stands; of all members. */
void kofn__serve_gate(struct kofn_server *server, uint32_t rank);
void kofn__serve_gates(struct kofn_server *server);

/* Tells @rank what became of the publication @stamp. */
void kofn__serve_receipt(struct kofn_server *server, uint32_t rank, const struct kofn_stamp *stamp,
                         enum kofn_outcome outcome, uint32_t staleness, double weight);

/* Says (the first few times) that what @rank published as @stamp is not used, and why. */
void kofn__serve_complain(struct kofn_server *server, uint32_t rank, const struct kofn_stamp *stamp,
                          const char *why);

/* ---- pull.c; each does nothing unless publications are to be read ---- */

/* Starts to read whoever still owes the closed round what he has. */
void kofn__pull_owed(struct kofn_server *server);

/* Starts to read what @rank has that missed its round; the same of all. */
void kofn__pull_late(struct kofn_server *server, uint32_t rank);
void kofn__pull_all_late(struct kofn_server *server);

/* @rank is about to leave, or is no more: starts to read what it has kept, if its memory is here.
 */
void kofn__pull_last(struct kofn_server *server, uint32_t rank);

/* ---- merge.c ---- */

/* The round is READY: makes the next model of it, publishes that, and settles the accounts. */
void kofn__merge_round(struct kofn_server *server);

/* With a staleness step: remembers the model published last. */
void kofn__merge_remember(struct kofn_server *server);

/* 0 if publication @sequence of @rank, @update, can be merged; KOFN_NOT_FINITE, KOFN_TORN. */
int kofn__merge_check(struct kofn_server *server, uint32_t rank, uint64_t sequence,
                      const float *update);

/* Tries to add a late publication of @rank, times @factor, to this round's late sum. It was added
 * if NULL is returned; else the reason is, and the sum is as it was.
 */
const char *kofn__merge_late(struct kofn_server *server, uint32_t rank,
                             const struct kofn_stamp *stamp, const float *update, float factor);

/* ---- report.c ---- */

/* Tells the log about members whose state has changed. */
void kofn__report_states(struct kofn_server *server);

#endif
