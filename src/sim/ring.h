/* ring.h: what a ring all-reduce takes: 2 (N-1) steps, in each of which every worker sends an N-th
 * of the gradient to the next one, as soon as it has got its share of the step before.
 *
 * A message takes the sender's link, one after the other, and the latency; one that is lost is sent
 * again a round trip later, and whoever waits for it waits for that, too: as other messages of a
 * simulation. Where nothing is lost all have the sum 2 (N-1) (latency + transfer of an N-th) after
 * they began; else a step costs O(N).
 *
 * Threads: one. Nothing is allocated after kofn_ring_open().
 */
#ifndef KOFN_SIM_RING_H
#define KOFN_SIM_RING_H

#include "base/random.h"
#include "sim/sim.h"

struct kofn_ring {
    uint32_t workers;
    uint64_t *done_ns; /* by worker: when it has the sum, ns since all began; owned */
    double *ready_ns;  /* by worker: it has its share of this step; owned, as the next */
    double *link_ns;   /* the same: its link is free again */
};

/* KOFN_NO_MEMORY; not logged. */
int kofn_ring_open(struct kofn_ring *ring, uint32_t workers);
void kofn_ring_close(struct kofn_ring *ring);

/* Sets done_ns of an all-reduce of @bytes. */
void kofn_ring_reduce(struct kofn_ring *ring, const struct kofn_sim_net *net, double bytes,
                      struct kofn_random *random);

/* How much later a message of @bytes is there because it was lost and sent again, ns. */
double kofn_net_resent_ns(const struct kofn_sim_net *net, double bytes, struct kofn_random *random);

#endif
