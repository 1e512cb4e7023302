/* publish.c: what a worker sends, and when it may.
 *
 * A publication carries all finished local updates of its round, (0, u]: the latest complete one
 * replaces those before. Only after a round has closed can it carry less: (s, u], where s updates
 * are settled by a publication before. It is then the growth since that one, whose bytes are still
 * in their buffer, because a buffer is only written again by the worker itself.
 */
#include "core/worker.h"

#include "math/anchor.h"

bool kofn__publish_credit(const struct kofn_worker *worker, struct kofn_gate gate)
{
    const struct kofn_endpoint *endpoint = worker->endpoint;
    uint64_t before = worker->sequence + 1;

    if (!gate.state) /* torn again and again: it says nothing */
        return false;
    if (!kofn_credit_granted(&endpoint->slot, before, gate.released))
        return false;
    return before <= endpoint->slot.depth ||
           !endpoint->ops->endpoint_left(worker->endpoint, before - endpoint->slot.depth);
}

int kofn__publish_send(struct kofn_worker *worker, uint32_t from, double from_loss,
                       uint64_t finished_ns)
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
        .loss = (float)((worker->loss_sum - from_loss) / (worker->updates - from)),
        .length = endpoint->slot.payload_bytes,
        .compute_ns = worker->compute_ns,
        .post_ns = (uint32_t)KOFN_MIN(posted, UINT32_MAX),
        .wait_ns = (uint32_t)KOFN_MIN(waited, UINT32_MAX),
        .sequence = worker->sequence + 1,
    };
    int rc = 0;

    if (worker->manners.keeps)
        endpoint->ops->endpoint_keep(endpoint, &stamp);
    else
        rc = endpoint->ops->endpoint_publish(endpoint, &stamp);
    if (rc)
        return rc;
    worker->sequence++;
    worker->published = worker->updates;
    worker->counts[worker->sequence % KOFN_DEPTH_MAX] = worker->updates;
    worker->losses[worker->sequence % KOFN_DEPTH_MAX] = worker->loss_sum;
    if (!worker->first) {
        worker->first = worker->sequence;
        worker->first_updates = worker->updates;
        worker->first_loss = worker->loss_sum;
    }
    worker->starved_ns = 0;
    return 0;
}

int kofn__publish_all(struct kofn_worker *worker, const float *model, uint64_t finished_ns)
{
    if (!worker->manners.gradient)
        kofn__publish_fill(worker, model, 0);
    if (worker->manners.each && worker->published)
        return kofn__publish_send(worker, worker->published,
                                  worker->losses[worker->sequence % KOFN_DEPTH_MAX], finished_ns);
    return kofn__publish_send(worker, 0, 0, finished_ns);
}

int kofn__publish_pulled(struct kofn_worker *worker, float *model, uint64_t finished_ns)
{
    struct kofn_endpoint *endpoint = worker->endpoint;
    float *buffer = endpoint->ops->endpoint_buffer(endpoint, worker->sequence + 1);

    kofn_anchor_pull(model, buffer, worker->base, worker->job.pullback, worker->job.parameters);
    return kofn__publish_send(worker, 0, 0, finished_ns);
}

/* The publication of the closed round that settles its first updates, and how many; 0 if there was
 * none. What the round merged or refused has its receipt by now, because receipts come before the
 * gate of the next round. Without one, all of this round's publications were under way when it
 * closed (a third one needs the credit of the first, and that is only given back for a second one
 * that has arrived). The first of them will then be taken as a late update, and those behind it,
 * which carry its updates again, will not be taken at all.
 */
static uint64_t settled_publication(const struct kofn_worker *worker, uint32_t *updates)
{
    struct kofn_receipt_line line;
    uint64_t depth = worker->endpoint->slot.depth;

    *updates = worker->first ? worker->first_updates : 0;
    for (uint64_t s = worker->sequence; s && s + depth > worker->sequence; s--)
        if (!kofn_block_get_receipt(worker->endpoint->block, s, &line) &&
            line.made_in == worker->round) {
            *updates = line.updates;
            return s;
        }
    return worker->first;
}

/* (model - base), less what publication @settled carried. */
void kofn__publish_fill(struct kofn_worker *worker, const float *model, uint64_t settled)
{
    struct kofn_endpoint *endpoint = worker->endpoint;
    const float *sent = kofn_slot_payload(&endpoint->slot, endpoint->buffers, settled);
    float *buffer = endpoint->ops->endpoint_buffer(endpoint, worker->sequence + 1);
    const void *subtracted[] = {worker->base, sent};
    const float minus[] = {-1, -1};
    struct kofn_merge merge = {buffer, model, subtracted, minus, 2, worker->stream};

    if (!settled)
        worker->reduce->delta[KOFN_F32](buffer, model, worker->base, worker->job.parameters,
                                        worker->stream);
    else if (buffer == sent)
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
        if (kofn_gate_ended(gate) || kofn_now_ns() >= deadline)
            return KOFN_NO_CREDIT;
        if (!worker->starved_ns)
            worker->starved_ns = kofn_now_ns();
        rc = kofn__worker_wait(worker, word, deadline);
        if (rc)
            return rc;
    }
}

int kofn__publish_late(struct kofn_worker *worker, const float *model)
{
    uint64_t now = kofn_now_ns(), settled;
    uint32_t updates;
    int rc;

    if (worker->manners.keeps)
        return kofn__kept_late(worker, model);
    if (worker->late_sent ||
        !kofn_manners_late(&worker->manners, worker->updates, worker->published))
        return 0;
    settled = settled_publication(worker, &updates);
    if (updates == worker->updates)
        return 0;
    rc = wait_credit(worker);
    if (rc == KOFN_NO_CREDIT) {
        worker->late_sent = true; /* given up: the next model overwrites what it is made of */
        return 0;
    }
    if (rc)
        return rc;
    if (settled) {
        kofn__publish_fill(worker, model, settled);
        rc = kofn__publish_send(worker, updates,
                                settled == worker->first ? worker->first_loss
                                                         : worker->losses[settled % KOFN_DEPTH_MAX],
                                now);
    } else {
        rc = kofn__publish_all(worker, model, now);
    }
    worker->late_sent = !rc;
    return rc;
}
