#include "core/server.h"

#include <string.h>

/* The factor of an update in the new model: the server's own step for gradients, none for deltas.
 */
static double step_factor(const struct kofn_server *server)
{
    return server->round.config.algorithm->payload == KOFN_PAYLOAD_GRADIENT
               ? -server->attr.learning_rate
               : 1;
}

bool kofn__merge_finite(struct kofn_server *server, const float *update)
{
    return kofn_reduce_pool_all_finite(server->pool, KOFN_F32, update, server->attr.parameters);
}

void kofn__merge_late(struct kofn_server *server, const float *update)
{
    const void *updates[] = {update};
    const float weights[] = {server->round.late_factor};
    struct kofn_merge merge = {.out = server->late_sum,
                               .base = server->late_any ? server->late_sum : NULL,
                               .updates = updates,
                               .weights = weights,
                               .count = 1};

    kofn_reduce_pool_merge(server->pool, KOFN_F32, &merge, server->attr.parameters);
    server->late_any = true;
}

/* Lists what is to be merged, in the order of ranks, so that the sum does not depend on who came
 * first. */
static size_t gather(struct kofn_server *server)
{
    struct kofn_hub *hub = server->hub;
    double factor = step_factor(server);
    size_t count = 0;

    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        const struct kofn_stamp *held = &server->round.members[rank].held;

        if (!held->sequence)
            continue;
        server->ranks[count] = rank;
        server->updates[count] =
            kofn_slot_payload(&hub->slot, kofn_hub_slot(hub, rank), held->sequence);
        server->weights[count] = (float)(factor * kofn_round_weight(&server->round, rank));
        count++;
    }
    if (server->late_any) {
        server->updates[count] = server->late_sum;
        server->weights[count] = (float)(factor * kofn_round_late_scale(&server->round));
        server->ranks[count] = UINT32_MAX;
        count++;
    }
    return count;
}

static void reject(struct kofn_server *server, uint32_t rank, int status)
{
    struct kofn_stamp stamp = server->round.members[rank].held;

    kofn_round_reject(&server->round, rank);
    kofn__serve_refuse(server, rank, &stamp, kofn_status_text(status));
}

/* After a merge: refuses members whose bytes were not what their stamps said. Returns how many. */
static size_t reject_bad(struct kofn_server *server, size_t count, bool finite)
{
    struct kofn_hub *hub = server->hub;
    size_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t rank = server->ranks[i];

        if (rank == UINT32_MAX)
            continue;
        if (kofn_slot_end(&hub->slot, kofn_hub_slot(hub, rank),
                          server->round.members[rank].held.sequence))
            reject(server, rank, KOFN_TORN);
        else if (!finite && !kofn__merge_finite(server, server->updates[i]))
            reject(server, rank, KOFN_NOT_FINITE);
        else
            continue;
        bad++;
    }
    return bad;
}

/* Writes the next model into the idle one of the two published buffers; on overflow that is a copy
 * of the last one. */
static void make_model(struct kofn_server *server)
{
    struct kofn_hub *hub = server->hub;
    float *out = kofn_slot_withdraw(&hub->model, hub->models, server->version + 1);
    struct kofn_merge merge = {.out = out,
                               .base = kofn_server_model(server),
                               .updates = server->updates,
                               .weights = server->weights};
    bool finite;

    do {
        merge.count = gather(server);
        finite = kofn_reduce_pool_merge(server->pool, KOFN_F32, &merge, server->attr.parameters);
    } while (reject_bad(server, merge.count, finite));
    if (finite)
        return;
    kofn_log(server->log, KOFN_LOG_WARN,
             "round %u: the sum of its updates is not finite though each of them is: the learning "
             "rate is too "
             "high; the model is untouched",
             server->round.number);
    for (size_t i = 0; i < merge.count; i++)
        if (server->ranks[i] != UINT32_MAX)
            kofn_round_reject(&server->round, server->ranks[i]);
    memcpy(out, kofn_server_model(server), server->attr.parameters * sizeof(float));
}

static void account(struct kofn_server *server)
{
    server->merged = 0;
    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        const struct kofn_stamp *held = &server->round.members[rank].held;
        uint32_t updates = held->updates - held->from;

        if (!held->sequence)
            continue;
        server->merged++;
        server->merged_updates += updates;
        server->loss_sum += (double)held->loss * updates;
        kofn__serve_receipt(server, rank, held, KOFN_OUTCOME_MERGED, 0,
                            kofn_round_weight(&server->round, rank));
        server->peers[rank].released = held->sequence;
    }
    server->merged_updates += server->round.late_updates;
}

/* A transport that must send models sends to those who have taken the one before; others fetch when
 * they get there. */
static void push_model(struct kofn_server *server)
{
    struct kofn_hub *hub = server->hub;

    if (hub->ops->capabilities & KOFN_CAP_SHARED_MODEL)
        return;
    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        struct kofn_peer *peer = &server->peers[rank];

        if (!peer->admitted || peer->evicted ||
            server->round.members[rank].round + 1 < server->version)
            continue;
        if (!hub->ops->hub_push(hub, rank, server->version))
            peer->pushed = server->version;
    }
}

void kofn__merge_round(struct kofn_server *server)
{
    struct kofn_hub *hub = server->hub;
    struct kofn_stamp stamp = {.round = server->round.number + 1,
                               .version = server->round.number + 1,
                               .length = hub->model.payload_bytes,
                               .sequence = server->version + 1};

    make_model(server);
    account(server);
    kofn_round_settle(&server->round);
    server->late_any = false;
    server->version++;
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    push_model(server);
    server->published_ns = kofn_now_ns();
    server->bytes += (uint64_t)server->round.available * hub->model.payload_bytes;
}
