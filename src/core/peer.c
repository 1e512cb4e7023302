#include "core/peer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define ARRIVALS 64
#define SLICE_NS KOFN_NS_PER_MS /* between two looks at what has been begun, where some has */

/* ---- opening ---- */

static int open_hub(struct kofn_peer_end *peer)
{
    const struct kofn_peer_attr *attr = peer->attr;
    struct kofn_hub_attr hub = {.workers = peer->node.in_count,
                                .slot = peer->slot,
                                .model = peer->slot,
                                .numa_node = -1,
                                .spin = attr->spin,
                                .bind = attr->bind,
                                .peer_timeout = attr->peer_timeout,
                                .options = attr->options,
                                .context = attr->context,
                                .log = attr->log};

    return peer->node.in_count ? attr->transport->hub_open(&hub, &peer->hub) : 0;
}

int kofn_peer_open(const struct kofn_peer_attr *attr, struct kofn_peer_end *peer)
{
    uint64_t bytes = attr->node.parameters * sizeof(float);
    int rc;

    memset(peer, 0, sizeof(*peer));
    peer->attr = attr;
    peer->failed = KOFN_ROOT_ANY;
    kofn_random_seed(&peer->random, attr->node.seed,
                     kofn_stream_of(KOFN_STREAM_LOSS, attr->node.rank));
    if (attr->node.parameters > KOFN_PAYLOAD_MAX / sizeof(float) ||
        kofn_geometry_init(&peer->slot, bytes, KOFN_DEPTH))
        return kofn_error(attr->log, KOFN_INVALID, "a model of %zu parameters",
                          attr->node.parameters);
    rc = kofn_node_open(&attr->node, &peer->node);
    if (rc)
        return rc;
    peer->connected = calloc(peer->node.in_count + 1u, sizeof(*peer->connected));
    peer->out = calloc(peer->node.out_count + 1u, sizeof(*peer->out));
    if (!peer->connected || !peer->out)
        rc = kofn_error(attr->log, KOFN_NO_MEMORY, "rank %u: %u edges", attr->node.rank,
                        peer->node.in_count + peer->node.out_count);
    if (!rc)
        rc = open_hub(peer);
    if (rc)
        kofn_peer_close(peer);
    return rc;
}

void kofn_peer_close(struct kofn_peer_end *peer)
{
    for (uint32_t i = 0; peer->out && i < peer->node.out_count; i++)
        if (peer->out[i].endpoint)
            peer->attr->transport->endpoint_close(peer->out[i].endpoint);
    if (peer->hub)
        peer->attr->transport->hub_close(peer->hub);
    kofn_node_close(&peer->node);
    free(peer->connected);
    free(peer->out);
    memset(peer, 0, sizeof(*peer));
}

int kofn_peer_admit(struct kofn_peer_end *peer, uint32_t index, const struct kofn_path *path,
                    struct kofn_offer *offer)
{
    peer->hub->path = *path;
    return peer->attr->transport->hub_admit(peer->hub, index, 1, offer);
}

int kofn_peer_connect(struct kofn_peer_end *peer, uint32_t index, const struct kofn_offer *answer)
{
    int rc = peer->attr->transport->hub_connect(peer->hub, index, answer);

    peer->connected[index] = !rc;
    return rc;
}

int kofn_peer_join(struct kofn_peer_end *peer, uint32_t index, uint32_t edge,
                   const struct kofn_path *path, const char *name, void *context,
                   const struct kofn_offer *offer, struct kofn_offer *answer)
{
    const struct kofn_peer_attr *attr = peer->attr;
    const struct kofn_endpoint_attr endpoint = {.rank = edge,
                                                .epoch = 1,
                                                .slot = peer->slot,
                                                .model = peer->slot,
                                                .spin = attr->spin,
                                                .path = *path,
                                                .server = name,
                                                .peer_timeout = attr->peer_timeout,
                                                .options = attr->options,
                                                .context = context,
                                                .log = attr->log};

    return attr->transport->endpoint_open(&endpoint, offer, answer, &peer->out[index].endpoint);
}

int kofn_peer_release(struct kofn_peer_end *peer, uint32_t index, bool gone)
{
    const struct kofn_transport_ops *ops = peer->attr->transport;

    peer->connected[index] = false;
    ops->hub_evict(peer->hub, index);
    return ops->hub_reclaim(peer->hub, index, gone);
}

void kofn_peer_leave(struct kofn_peer_end *peer, uint32_t index)
{
    if (peer->out[index].endpoint)
        peer->attr->transport->endpoint_close(peer->out[index].endpoint);
    peer->out[index].endpoint = NULL;
}

/* ---- what arrives ---- */

/* A connection of @rank has failed. One is looked at after the other. */
static void fail(struct kofn_peer_end *peer, uint32_t rank)
{
    if (peer->failed == KOFN_ROOT_ANY)
        peer->failed = rank;
}

/* Message @sequence of in-edge @index is where it will be read; all before it can be written over.
 */
static void arrive(struct kofn_peer_end *peer, uint32_t index, uint64_t sequence)
{
    struct kofn_hub *hub = peer->hub;
    struct kofn_gate gate = {
        .round = 1, .state = KOFN_GATE_OPEN, .released = (uint32_t)((sequence - 1) % 256)};
    float *data = kofn_slot_payload(&hub->slot, kofn_hub_slot(hub, index), sequence);

    kofn_node_arrive(&peer->node, index, data, 0, sequence);
    hub->ops->hub_gate(hub, index, kofn_gate_pack(gate));
}

static void progress_sends(struct kofn_peer_end *peer)
{
    for (uint32_t i = 0; i < peer->node.out_count; i++) {
        struct kofn_peer_out *out = &peer->out[i];

        if (out->endpoint && out->sequence &&
            peer->attr->transport->endpoint_left(out->endpoint, out->sequence) == KOFN_GONE)
            fail(peer, peer->node.out[i].to);
    }
}

void kofn_peer_take(struct kofn_peer_end *peer)
{
    struct kofn_arrival arrivals[ARRIVALS];
    uint32_t turns =
        peer->node.in_count * peer->slot.depth / ARRIVALS + 1; /* whatever more comes */
    int count;

    progress_sends(peer);
    if (!peer->hub || peer->failed != KOFN_ROOT_ANY)
        return; /* a hub says only once which has failed: it is not to be overlooked */
    do {
        count = peer->hub->ops->hub_poll(peer->hub, arrivals, ARRIVALS);
        if (count < 0) {
            fail(peer, peer->node.in[arrivals[0].rank].from);
            return;
        }
        for (int i = 0; i < count; i++)
            if (peer->connected[arrivals[i].rank])
                arrive(peer, arrivals[i].rank, arrivals[i].sequence);
    } while (count == ARRIVALS && --turns);
}

int kofn_peer_wait(struct kofn_peer_end *peer, uint64_t deadline)
{
    uint64_t now = kofn_now_ns();
    struct timespec pause;

    if (peer->hub && now < deadline) {
        int rc = peer->hub->ops->hub_wait(peer->hub, KOFN_MIN(deadline, now + SLICE_NS));

        kofn_peer_take(peer);
        return rc;
    }
    if (now < deadline) {
        pause = (struct timespec){.tv_nsec = (long)KOFN_MIN(deadline - now, SLICE_NS)};
        nanosleep(&pause, NULL);
    }
    kofn_peer_take(peer);
    return 0;
}

/* ---- what is sent ---- */

static bool has_credit(const struct kofn_peer_end *peer, const struct kofn_peer_out *out)
{
    struct kofn_gate gate = {0};
    uint64_t word = kofn_peer_load64(&out->endpoint->block->gate), next = out->sequence + 1;

    if (word && !kofn_gate_unpack(word, &gate))
        return false; /* it is being written */
    if (!kofn_credit_granted(&peer->slot, next, gate.released))
        return false;
    return next <= peer->slot.depth ||
           !peer->attr->transport->endpoint_left(out->endpoint, next - peer->slot.depth);
}

static void send(struct kofn_peer_end *peer, uint32_t index)
{
    const struct kofn_transport_ops *ops = peer->attr->transport;
    struct kofn_peer_out *out = &peer->out[index];
    struct kofn_stamp stamp = {.epoch = 1,
                               .round = 1,
                               .updates = 1,
                               .total = (uint32_t)peer->node.activations,
                               .length = peer->slot.payload_bytes,
                               .sequence = out->sequence + 1};
    int rc;

    memcpy(ops->endpoint_buffer(out->endpoint, stamp.sequence), peer->node.out[index].data,
           peer->slot.payload_bytes);
    rc = ops->endpoint_publish(out->endpoint, &stamp);
    if (rc) {
        fail(peer, peer->node.out[index].to);
        return;
    }
    out->sequence++;
    peer->sent++;
}

void kofn_peer_send(struct kofn_peer_end *peer)
{
    for (uint32_t i = 0; i < peer->node.out_count; i++) {
        if (!peer->node.out[i].due || !peer->out[i].endpoint)
            continue;
        peer->node.out[i].due = false;
        if (peer->attr->loss > 0 && kofn_random_uniform(&peer->random) < peer->attr->loss)
            peer->lost++;
        else if (has_credit(peer, &peer->out[i]))
            send(peer, i);
        else
            peer->skipped++;
    }
}

/* ---- a neighbour that is gone ---- */

void kofn_peer_lose(struct kofn_peer_end *peer, uint32_t rank)
{
    struct kofn_node *node = &peer->node;

    if (peer->failed == rank)
        peer->failed = KOFN_ROOT_ANY;
    kofn_node_lose(node, rank);
    for (uint32_t i = 0; i < node->in_count; i++)
        if (node->in[i].from == rank && peer->connected[i]) {
            peer->connected[i] = false;
            peer->hub->ops->hub_evict(peer->hub, i);
        }
    for (uint32_t i = 0; i < node->out_count; i++)
        if (node->out[i].to == rank)
            kofn_peer_leave(peer, i);
}
