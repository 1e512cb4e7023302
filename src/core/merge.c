#include "core/server.h"

#include <math.h>
#include <string.h>

#include "math/distance.h"

/* The factor of an update in the new model: the server's own step for gradients, none for deltas.
 */
static double step_factor(const struct kofn_server *server)
{
    return server->round.config.algorithm->payload == KOFN_PAYLOAD_GRADIENT
               ? -server->attr.learning_rate
               : 1;
}

static bool is_finite(struct kofn_server *server, const float *update)
{
    return kofn_reduce_pool_all_finite(server->pool, KOFN_F32, update, server->attr.parameters);
}

/* Were the bytes of publication @sequence of @rank its own all the time? */
static bool whole(const struct kofn_server *server, uint32_t rank, uint64_t sequence)
{
    struct kofn_hub *hub = server->hub;

    return !kofn_slot_end(&hub->slot, kofn_hub_slot(hub, rank), sequence);
}

int kofn__merge_check(struct kofn_server *server, uint32_t rank, uint64_t sequence,
                      const float *update)
{
    bool finite = is_finite(server, update);

    if (!whole(server, rank, sequence))
        return KOFN_TORN;
    return finite ? 0 : KOFN_NOT_FINITE;
}

const char *kofn__merge_late(struct kofn_server *server, uint32_t rank,
                             const struct kofn_stamp *stamp, const float *update, float factor)
{
    const void *updates[] = {update};
    struct kofn_merge merge = {.out = server->late_next,
                               .base = server->late_any ? server->late_sum : NULL,
                               .updates = updates,
                               .weights = &factor,
                               .count = 1};
    bool finite = kofn_reduce_pool_merge(server->pool, KOFN_F32, &merge, server->attr.parameters);
    int rc = finite && whole(server, rank, stamp->sequence)
                 ? 0
                 : kofn__merge_check(server, rank, stamp->sequence, update);

    if (rc)
        return kofn_status_text(rc);
    if (!finite)
        return "the sum with the late ones before it is not finite";
    merge.out = server->late_sum;
    server->late_sum = server->late_next;
    server->late_next = merge.out;
    server->late_any = true;
    return NULL;
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

/* What @rank holds is not merged: the round and the worker learn of it. */
static void reject(struct kofn_server *server, uint32_t rank)
{
    struct kofn_peer *peer = &server->peers[rank];
    struct kofn_stamp stamp = server->round.members[rank].held;

    kofn_round_reject(&server->round, rank);
    kofn__serve_receipt(server, rank, &stamp, KOFN_OUTCOME_REFUSED, 0, 0);
    peer->released = peer->sequence;
}

/* The receipts of what came late: merged with @scale, or, where that is 0, refused. */
static void tell_late(struct kofn_server *server, uint32_t rank, float scale)
{
    struct kofn_peer *peer = &server->peers[rank];
    uint32_t kept = KOFN_MIN(peer->late_count, KOFN_LATE_RECEIPTS);

    for (uint32_t i = peer->late_count - kept; i < peer->late_count; i++) {
        const struct kofn_late_line *line = &peer->late[i % KOFN_LATE_RECEIPTS];
        bool merged = line->outcome != KOFN_OUTCOME_REFUSED && scale > 0;

        kofn__serve_receipt(server, rank, &line->stamp,
                            merged ? line->outcome : KOFN_OUTCOME_REFUSED, line->staleness,
                            merged ? scale * line->factor : 0);
    }
    peer->late_count = 0;
}

/* The late updates of this round are not merged: the round and their workers learn of it. */
static void reject_late(struct kofn_server *server)
{
    kofn_round_reject_sum(&server->round);
    server->late_any = false;
    server->late_loss = 0;
    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        tell_late(server, rank, 0);
}

/* After a merge: refuses members whose bytes were not what their stamps said. Returns how many. */
static size_t reject_bad(struct kofn_server *server, size_t count, bool finite)
{
    size_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t rank = server->ranks[i];
        const struct kofn_stamp *held;
        int rc = 0;

        if (rank == UINT32_MAX)
            continue;
        held = &server->round.members[rank].held;
        if (!finite)
            rc = kofn__merge_check(server, rank, held->sequence, server->updates[i]);
        else if (!whole(server, rank, held->sequence))
            rc = KOFN_TORN;
        if (!rc)
            continue;
        kofn__serve_complain(server, rank, held, kofn_status_text(rc));
        reject(server, rank);
        bad++;
    }
    return bad;
}

void kofn__merge_remember(struct kofn_server *server)
{
    uint32_t workers = server->attr.workers;

    if (!server->versions.list)
        return;
    for (uint32_t rank = 0; rank < workers; rank++)
        server->in_use[rank] = kofn_member_connected(&server->round.members[rank])
                                   ? server->round.members[rank].round
                                   : 0;
    if (kofn_versions_keep(&server->versions, (uint32_t)server->version, kofn_server_model(server),
                           server->in_use, workers))
        kofn_log(server->log, KOFN_LOG_WARN,
                 "round %u: no memory to remember its model: steps of stale gradients are those of "
                 "an older one",
                 server->round.number);
}

/* What is held, screened: one update in place of all. None that is not finite takes part. */
static size_t screen(struct kofn_server *server, size_t count, const void **update, float *weight)
{
    if (!count)
        return 0;
    *update = kofn_screen_updates(&server->screen, server->updates, count);
    *weight = (float)step_factor(server);
    return 1;
}

static bool merge_all(void *arg, const struct kofn_merge *merge)
{
    struct kofn_server *server = arg;

    return kofn_reduce_pool_merge(server->pool, KOFN_F32, merge, server->attr.parameters);
}

/* The next model, of all that can be merged, to @out. Returns false if the sum is not finite though
 * each part of it is.
 */
static bool merge_good(struct kofn_server *server, float *out)
{
    bool screens = server->screen.kind != KOFN_SCREENING_NONE;
    const void *one[2], **updates = screens ? one : server->updates;
    float factor[2], *weights = screens ? factor : server->weights;
    size_t count;
    bool finite;

    do {
        count = gather(server);
        if (screens && reject_bad(server, count, false))
            count = gather(server);
        finite = kofn_anchor_merge(&server->anchor, merge_all, server, out,
                                   kofn_server_model(server), updates, weights,
                                   screens ? screen(server, count, one, factor) : count);
    } while (reject_bad(server, count, finite));
    if (finite && count)
        kofn_anchor_commit(&server->anchor);
    return finite;
}

/* Writes the next model to @out, the idle one of the two published buffers. On overflow it is tried
 * without the late updates; if that does not help, it is a copy of the last one, and all are
 * refused.
 */
static void make_model(struct kofn_server *server, float *out)
{
    bool late = server->late_any;

    if (merge_good(server, out))
        return;
    if (late)
        reject_late(server);
    if (late && merge_good(server, out)) {
        kofn_log(server->log, KOFN_LOG_WARN,
                 "round %u: with its late updates the model would not be finite though each of "
                 "them is: they are refused",
                 server->round.number);
        return;
    }
    kofn_log(server->log, KOFN_LOG_WARN,
             "round %u: the sum of its updates is not finite though each of them is: the learning "
             "rate is too "
             "high; the model is untouched",
             server->round.number);
    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        if (server->round.members[rank].held.sequence)
            reject(server, rank);
    memcpy(out, kofn_server_model(server), server->attr.parameters * sizeof(float));
}

static void account(struct kofn_server *server)
{
    float late_scale = (float)kofn_round_late_scale(&server->round);

    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        const struct kofn_stamp *held = &server->round.members[rank].held;
        uint32_t updates = held->updates - held->from;

        tell_late(server, rank, late_scale);

        if (!held->sequence)
            continue;
        server->merged_updates += updates;
        server->loss_sum += (double)held->loss * updates;
        kofn__serve_receipt(server, rank, held, KOFN_OUTCOME_MERGED,
                            server->round.number - held->version,
                            kofn_round_weight(&server->round, rank));
        server->peers[rank].released = server->peers[rank].sequence;
    }
    server->merged_updates += server->round.late_updates + server->round.added_updates;
    server->loss_sum += server->late_loss;
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
    float *out;

    out = kofn_slot_withdraw(&hub->model, hub->models, server->version + 1);
    make_model(server, out);
    if (server->round.config.algorithm->measures)
        server->round.moved =
            sqrt(kofn_distance_squared(out, kofn_server_model(server), server->attr.parameters));
    account(server);
    kofn_round_settle(&server->round);
    stamp.updates = server->round.next_steps;
    server->late_any = false;
    server->late_loss = 0;
    server->version++;
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    kofn__merge_remember(server);
    push_model(server);
    server->published_ns = kofn_now_ns();
    server->bytes += (uint64_t)server->round.available * hub->model.payload_bytes;
}
