/* meet.h: how the peers of a job find one another, and learn of one another's end.
 *
 * Every peer listens; whoever has an out-edge connects to the one it leads to, with a control
 * channel an edge, and shakes hands as a worker does with a server (proto/wire.h): HELLO says which
 * rank and, in place of what is trained, which kind of edge. The channels stay: one that ends, ends
 * with its peer.
 *
 * Threads: one. Nothing waits; whoever meets calls kofn_meet_step() again and again.
 */
#ifndef KOFN_CORE_MEET_H
#define KOFN_CORE_MEET_H

#include "core/channel.h"
#include "core/peer.h"

struct kofn_meet_edge;
struct kofn_meet_guest;

struct kofn_meeting {
    struct kofn_peer_end *peer;
    const struct kofn_log *log;
    uint64_t timeout;
    struct kofn_listener listener; /* listener.address is where others find this peer */
    struct kofn_meet_edge *out;    /* by out-edge; owned */
    struct kofn_meet_guest *in;    /* who has connected; owned; in_count */
    uint32_t guests;
};

/* Opens the listener of @peer, which outlives the meeting. KOFN_SYSTEM, KOFN_NO_MEMORY; logged. */
int kofn_meet_open(struct kofn_peer_end *peer, uint64_t timeout, struct kofn_meeting *meeting);
void kofn_meet_close(struct kofn_meeting *meeting);

/* Goes on with all handshakes. @address_of: where a rank listens, NULL if that is not known yet.
 * Returns 0 once all edges are connected, KOFN_AGAIN before; what went wrong, logged.
 */
int kofn_meet_step(struct kofn_meeting *meeting,
                   const char *(*address_of)(void *arg, uint32_t rank), void *arg);

/* A rank whose end has been learned of since the last call; KOFN_ROOT_ANY if there is none. */
uint32_t kofn_meet_lost(struct kofn_meeting *meeting);

#endif
