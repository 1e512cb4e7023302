/* peers_inside.h: the inside of a simulation of peers. peers.c has activations and the loop,
 * peers_mail.c messages, peers_open.c the set-up.
 */
#ifndef KOFN_SIM_PEERS_INSIDE_H
#define KOFN_SIM_PEERS_INSIDE_H

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "sim/peers.h"
#include "sim/post.h"
#include "sim/timers.h"

/* An out-edge, beside what the node knows of it. */
struct kofn_peer_link {
    uint32_t in;      /* the receiver's edge */
    uint64_t free_ns; /* a message, or its credit, is under way until then */
    uint64_t last_ns; /* the last one is at the receiver's link */
};

struct kofn_peer {
    struct kofn_node node;
    struct kofn_peer_link *links; /* by out-edge; owned */
    struct kofn_delay_source delays;
    uint64_t begin_ns, busy_ns;
    uint64_t out_ns, in_ns; /* its links are free again */
    bool waits;             /* its update is finished, and the activation not complete */
};

struct kofn_peer_letter {
    float *data;
    double scalar;
    struct kofn_peer_link *link;
    uint32_t next; /* of those that are not in use; by place, from 1 */
};

struct kofn_peers {
    struct kofn_peers_attr attr;
    const struct kofn_log *log;
    struct kofn_peer *list;
    uint32_t count, root;
    size_t parameters;
    struct kofn_timers timers;
    struct kofn_post post;
    struct kofn_random random; /* loss */
    uint64_t now, events;
    int status;

    struct kofn_peer_letter *letters; /* of messages under way; owned */
    uint32_t letter_count, spare_letter;
    float **spare; /* buffers that nobody uses; with places for all there are */
    size_t spare_count, buffer_count;

    float *gradient, *mean;
    double *sum; /* for the mean */
    struct kofn_peers_mail mail;
    struct kofn_round_report report; /* since the last round */
    double loss_sum;
    bool round_over;
};

/* ---- peers.c ---- */

/* Its next activation begins now. */
void kofn_peer_begin(struct kofn_peers *peers, uint32_t rank);

/* ---- peers_mail.c ---- */

/* Sends what its node says is due; without memory for it peers->status says so. */
void kofn_peer_send_due(struct kofn_peers *peers, struct kofn_peer *peer);

/* The first message under way gets further, now: the peer that has taken it in, or NULL. */
struct kofn_peer *kofn_peers_deliver(struct kofn_peers *peers);

/* Frees what is under way, and what was kept for more. */
void kofn_peers_letters_close(struct kofn_peers *peers);

#endif
