#include "sim/ring.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"

int kofn_ring_open(struct kofn_ring *ring, uint32_t workers)
{
    ring->workers = workers;
    ring->done_ns = calloc(workers, sizeof(*ring->done_ns));
    ring->ready_ns = calloc(workers, sizeof(*ring->ready_ns));
    ring->link_ns = calloc(workers, sizeof(*ring->link_ns));
    return ring->done_ns && ring->ready_ns && ring->link_ns ? 0 : KOFN_NO_MEMORY;
}

void kofn_ring_close(struct kofn_ring *ring)
{
    free(ring->done_ns);
    free(ring->ready_ns);
    free(ring->link_ns);
    *ring = (struct kofn_ring){0};
}

double kofn_net_resent_ns(const struct kofn_sim_net *net, double bytes, struct kofn_random *random)
{
    double ns = 0;

    if (net->loss > 0)
        while (kofn_random_uniform(random) < net->loss)
            ns += 2 * (double)net->latency_ns + bytes * net->byte_ns;
    return ns;
}

/* Everybody sends to the next one: nobody overtakes itself. */
static void step(struct kofn_ring *ring, const struct kofn_sim_net *net, double bytes,
                 struct kofn_random *random)
{
    uint32_t last = ring->workers - 1;
    double ready_of_last = ring->ready_ns[last]; /* before it gets something in this step */

    for (uint32_t to = ring->workers; to-- > 0;) {
        uint32_t from = to ? to - 1 : last;
        double begun = from == last ? ready_of_last : ring->ready_ns[from], there;

        ring->link_ns[from] = fmax(ring->link_ns[from], begun) + bytes * net->byte_ns;
        there = ring->link_ns[from] + (double)net->latency_ns;
        there += kofn_net_resent_ns(net, bytes, random);
        ring->ready_ns[to] = fmax(ring->ready_ns[to], there);
    }
}

static uint64_t whole(double ns)
{
    return (uint64_t)fmin(ns, (double)KOFN_DURATION_MAX);
}

void kofn_ring_reduce(struct kofn_ring *ring, const struct kofn_sim_net *net, double bytes,
                      struct kofn_random *random)
{
    double steps = 2 * (ring->workers - 1.0), share = bytes / ring->workers;
    uint64_t all = whole(steps * ((double)net->latency_ns + share * net->byte_ns));

    for (uint32_t rank = 0; rank < ring->workers; rank++) {
        ring->done_ns[rank] = all;
        ring->ready_ns[rank] = ring->link_ns[rank] = 0;
    }
    if (!(net->loss > 0))
        return;
    for (double i = 0; i < steps; i++)
        step(ring, net, share, random);
    for (uint32_t rank = 0; rank < ring->workers; rank++)
        ring->done_ns[rank] = whole(ring->ready_ns[rank]);
}
