/* peers.h: a job without a server under a virtual clock: the nodes of algorithms/node.h, as real
 * ones run them.
 *
 * A node computes a gradient, which takes what the delay model says times the factors of
 * stragglers, finishes its activation as soon as its algorithm lets it, sends what is due, and
 * begins the next at once. A message takes the sender's link, the latency, and the receiver's link,
 * each of them one message after the other. Where messages may be lost (kofn_node_ops.lossy) those
 * that are do not arrive, and an edge carries one at a time: what is due while one is under way, or
 * its credit on the way back, is left out, and the next message makes up for it. Of the others, one
 * that is lost is sent again a round trip later.
 *
 * What a round is: the activations of the root. Messages of a moment arrive before updates of that
 * moment end; equal things happen in the order of their causes. Nothing but the seed decides.
 *
 * Threads: one. Nothing is allocated per event, but for messages, whose number grows as it must.
 */
#ifndef KOFN_SIM_PEERS_H
#define KOFN_SIM_PEERS_H

#include "algorithms/node.h"
#include "sim/sim.h"

struct kofn_peers_attr {
    const struct kofn_algorithm *algorithm; /* one of peers */
    const struct kofn_graph *graph;
    const struct kofn_delay *delay; /* open; a draw of 0 takes 1 ns */
    const struct kofn_straggler *stragglers;
    size_t straggler_count;
    struct kofn_sim_net net; /* no server: no ingest */
    uint64_t payload_bytes;  /* of a message */
    uint64_t seed;
    double learning_rate;
    const struct kofn_sim_work *work; /* NULL: times alone; step() is not called */
    const float *model;               /* the first; with work */
    void (*updated)(void *arg, const struct kofn_trace_record *record); /* may be NULL */
    void (*finished)(void *arg, const struct kofn_node *node); /* an activation; may be NULL */
    void *arg;
    const struct kofn_log *log;
};

struct kofn_peers;

/* Opens a job, and begins an activation of every node. What @attr points to must outlive it.
 * KOFN_NO_MEMORY; logged.
 */
int kofn_peers_open(const struct kofn_peers_attr *attr, struct kofn_peers **peers_p);
void kofn_peers_close(struct kofn_peers *peers);

/* Goes on until the root has finished an activation, or the clock stands at @until, or @events more
 * events have happened. @report counts what has happened since the one before: nobody is merged in
 * it. Returns as kofn_sim_step() does.
 */
int kofn_peers_step(struct kofn_peers *peers, uint64_t until, uint64_t events,
                    struct kofn_round_report *report);

uint64_t kofn_peers_now(const struct kofn_peers *peers);
uint64_t kofn_peers_events(const struct kofn_peers *peers);

/* The mean of all nodes' models, computed now; valid until the next call. With work. */
const float *kofn_peers_model(struct kofn_peers *peers);

void kofn_peers_totals(const struct kofn_peers *peers, struct kofn_sim_totals *totals);
uint64_t kofn_peers_finished(const struct kofn_peers *peers, uint32_t rank);
void kofn_peers_members(const struct kofn_peers *peers, struct kofn_member_report *reports);

/* How far the conservation law is violated now: the largest violation of a coordinate over the
 * largest sum of its terms. NaN where there is no such law, or no arithmetic, or no memory.
 */
double kofn_peers_violation(const struct kofn_peers *peers);

/* Messages sent so far, those that were lost, and those left out because one was under way. */
struct kofn_peers_mail {
    uint64_t sent, lost, skipped;
};
struct kofn_peers_mail kofn_peers_mail(const struct kofn_peers *peers);

#endif
