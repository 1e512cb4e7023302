/* publish.c: what a worker sends, and when it may.
 *
 * A publication carries all finished local updates of its round, (0, u]: the latest complete one
 * replaces those before. Only after a round has closed can it carry less: (s, u], where s updates
 * were merged on time. It is then the growth since the merged publication, whose bytes are still in
 * their buffer, because a buffer is only written again by the worker itself.
 */
#include "core/worker.h"

bool kofn__publish_credit(const struct kofn_worker *worker, struct kofn_gate gate)
{
    const struct kofn_endpoint *endpoint = worker->endpoint;
    uint64_t before = worker->sequence + 1;

    if (!kofn_credit_granted(&endpoint->slot, before, gate.released))
        return false;
    return before <= endpoint->slot.depth ||
           !endpoint->ops->endpoint_left(worker->endpoint, before - endpoint->slot.depth);
}

/* The buffer of the next publication is filled: stamps it and sends it. */
static int send(struct kofn_worker *worker, uint32_t from, uint64_t finished_ns)
{
    struct kofn_endpoint *endpoint = worker->endpoint;
    uint64_t now = kofn_now_ns();
    uint64_t waited = worker->starved_ns ? now - worker->starved_ns : 0;
    uint64_t posted = now - finished_ns > waited ? now - finished_ns - waited : 0;
    struct kofn_stamp stamp = {
        .epoch = endpoint->epoch,
        .round = worker->round,
        .version = worker->version,
        .from = from,
        .updates = worker->updates,
        .total = worker->total,
        .loss = (float)(worker->loss_sum / worker->updates),
        .length = endpoint->slot.payload_bytes,
        .compute_ns = worker->compute_ns,
        .post_ns = (uint32_t)KOFN_MIN(posted, UINT32_MAX),
        .wait_ns = (uint32_t)KOFN_MIN(waited, UINT32_MAX),
        .sequence = worker->sequence + 1,
    };
    int rc = endpoint->ops->endpoint_publish(endpoint, &stamp);

    if (rc)
        return rc;
    worker->sequence++;
    worker->published = worker->updates;
    worker->starved_ns = 0;
    return 0;
}

int kofn__publish_all(struct kofn_worker *worker, const float *model, uint64_t finished_ns)
{
    struct kofn_endpoint *endpoint = worker->endpoint;

    if (!worker->gradient) {
        void *buffer = endpoint->ops->endpoint_buffer(endpoint, worker->sequence + 1);

        worker->reduce->delta[KOFN_F32](buffer, model, worker->base, worker->job.parameters,
                                        worker->stream);
    }
    return send(worker, 0, finished_ns);
}

/* The publication of the closed round that was merged: its sequence, and how many updates it
 * settled. */
static uint64_t merged_publication(const struct kofn_worker *worker, uint32_t *updates)
{
    struct kofn_receipt_line line;
    uint64_t depth = worker->endpoint->slot.depth;

    for (uint64_t s = worker->sequence; s && s + depth > worker->sequence; s--)
        if (!kofn_block_get_receipt(worker->endpoint->block, s, &line) &&
            line.made_in == worker->round && line.outcome == KOFN_OUTCOME_MERGED) {
            *updates = line.updates;
            return s;
        }
    return 0;
}

/* Fills the next buffer with (model - base) - what publication @merged carried. */
static void fill_remainder(struct kofn_worker *worker, const float *model, uint64_t merged)
{
    struct kofn_endpoint *endpoint = worker->endpoint;
    const float *sent = kofn_slot_payload(&endpoint->slot, endpoint->buffers, merged);
    float *buffer = endpoint->ops->endpoint_buffer(endpoint, worker->sequence + 1);
    const void *subtracted[] = {worker->base, sent};
    const float minus[] = {-1, -1};
    struct kofn_merge merge = {buffer, model, subtracted, minus, 2, worker->stream};

    if (buffer == sent)
        worker->reduce->delta_sub(buffer, model, worker->base, worker->job.parameters);
    else
        worker->reduce->merge[KOFN_F32](&merge, 0, worker->job.parameters);
}

static int wait_credit(struct kofn_worker *worker)
{
    uint64_t deadline = kofn_deadline(kofn_now_ns(), worker->timeout), word;
    int rc;

    for (;;) {
        struct kofn_gate gate = kofn__worker_gate(worker, &word);

        if (kofn__publish_credit(worker, gate))
            return 0;
        if (gate.state == KOFN_GATE_END || gate.state == KOFN_GATE_EVICTED ||
            kofn_now_ns() >= deadline)
            return KOFN_NO_CREDIT;
        rc = kofn__worker_wait(worker, word, deadline);
        if (rc)
            return rc;
    }
}

int kofn__publish_late(struct kofn_worker *worker, const float *model)
{
    uint64_t now = kofn_now_ns(), merged;
    uint32_t settled = 0;
    int rc;

    if (!worker->updates || (worker->gradient && worker->published))
        return 0;
    merged = merged_publication(worker, &settled);
    /* Nothing is missing; or all was sent, but too late, and the server deals with it as it is. */
    if (settled == worker->updates || (!merged && worker->published == worker->updates))
        return 0;
    /* Work behind a late publication whose fate is open: only that could be wrong to send twice. */
    if (!merged && worker->published)
        return 0;
    rc = wait_credit(worker);
    if (rc)
        return rc == KOFN_NO_CREDIT ? 0 : rc;
    if (!merged)
        return kofn__publish_all(worker, model, now);
    fill_remainder(worker, model, merged);
    return send(worker, settled, now);
}
