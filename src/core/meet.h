/* meet.h: how the peers of a job find one another, and learn of one another's end.
 *
 * Every peer listens; whoever has an out-edge connects to the one it leads to, with a control
 * channel an edge, and shakes hands as a worker does with a server (proto/wire.h): HELLO says which
 * rank and, in place of what is trained, which kind of edge. The channels stay: one that ends, ends
 * with its peer.
 *
 * Whoever connects and is no neighbour, or says nothing, or ends half-way, is dropped and holds
 * nobody up: there are places to spare, and every step of a guest has a deadline. An edge that came
 * to nothing is free again, and one who was hung up on asks again; so a meeting ends by what its
 * own side cannot do, by a refusal, or when its caller has no more patience.
 *
 * Threads: one. Nothing waits; whoever meets calls kofn_meet_step() again and again.
 */
#ifndef KOFN_CORE_MEET_H
#define KOFN_CORE_MEET_H

#include "core/channel.h"
#include "core/peer.h"

enum kofn_meet_stage {
    KOFN_MEET_NONE,
    KOFN_MEET_ASKED,
    KOFN_MEET_ANSWERED,
    KOFN_MEET_CONNECTING,
    KOFN_MEET_LEAVING, /* a guest that came to nothing: its slot is not free yet */
    KOFN_MEET_DONE,
    KOFN_MEET_LOST
};

/* An out-edge: this peer asks. */
struct kofn_meet_edge {
    struct kofn_channel *control;
    enum kofn_meet_stage stage;
    uint64_t again_ns;                  /* not to be asked before */
    char name[KOFN_ADDRESS_BYTES + 48]; /* who it is, for messages */
};

/* A place for one who asks: for an in-edge, if it is a neighbour. */
struct kofn_meet_guest {
    struct kofn_channel *control;
    enum kofn_meet_stage stage; /* NONE = it is free */
    uint32_t edge;              /* from ANSWERED on */
    uint32_t pid;               /* of its process, if that is known; else 0 */
    uint64_t deadline;
};

struct kofn_meeting {
    struct kofn_peer_end *peer;
    const struct kofn_log *log;
    struct kofn_listener listener; /* listener.address is where others find this peer */
    struct kofn_meet_edge *out;    /* by out-edge; owned */
    struct kofn_meet_guest *in;    /* who has connected; owned */
    uint32_t places;               /* of those */
    uint64_t strangers;            /* that were dropped */
};

/* Opens the listener of @peer, which outlives the meeting. KOFN_SYSTEM, KOFN_NO_MEMORY; logged. */
int kofn_meet_open(struct kofn_peer_end *peer, struct kofn_meeting *meeting);
void kofn_meet_close(struct kofn_meeting *meeting);

/* A rank whose end has been learned of since the last call; KOFN_ROOT_ANY if there is none. One
 * that says anything after it has met has ended, too.
 */
uint32_t kofn_meet_lost(struct kofn_meeting *meeting);

/* Goes on with all handshakes. @address_of: where a rank listens, NULL if that is not known yet.
 * Returns 0 once all edges are connected, KOFN_AGAIN before; what went wrong, logged.
 */
int kofn_meet_step(struct kofn_meeting *meeting,
                   const char *(*address_of)(void *arg, uint32_t rank), void *arg);

#endif
