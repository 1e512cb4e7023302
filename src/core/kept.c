/* kept.c: what a worker keeps to be read (--publish pull).
 *
 * After every local update the worker writes all of the round's work to the next of its buffers and
 * stamps it: a snapshot. Nothing is sent but the beat behind it. When the round closes the server
 * reads the newest one, without our help; that the gate has closed tells us to leave it alone. With
 * three buffers, what is read at the close is not touched by the snapshot that was being written.
 *
 * What has not been read when the next round opens is late: it is kept once more, without what was
 * settled, and we go on when the server has read it. It says so in the gate, as it does for
 * whatever it has dealt with, so that no snapshot may be numbered as the one that is named there
 * already, modulo 256.
 */
#include "core/worker.h"

uint64_t kofn__kept_next(struct kofn_worker *worker, struct kofn_gate gate)
{
    if ((worker->sequence + 1) % 256 == gate.released)
        worker->counts[++worker->sequence % KOFN_DEPTH_MAX] = 0; /* a number that nothing has */
    return worker->sequence + 1;
}

/* Keeps all of the round's work. */
static int keep_all(struct kofn_worker *worker, const float *model, struct kofn_gate gate,
                    uint64_t finished_ns)
{
    if (!worker->manners.gradient) /* which has been numbered as its buffer was given out */
        kofn__kept_next(worker, gate);
    return kofn__publish_all(worker, model, finished_ns);
}

int kofn__kept_report(struct kofn_worker *worker, const float *model, bool over,
                      struct kofn_gate gate, uint64_t finished_ns)
{
    uint32_t least = kofn_manners_least(&worker->manners, worker->job.local_steps);
    int rc = 0;

    if (over && worker->first)
        return 0; /* the server may be reading: what is new is late, and is said when it is there */
    if (worker->updates >= least || worker->manners.gradient)
        rc = keep_all(worker, model, gate, finished_ns);
    return rc ? rc : kofn__worker_beat(worker);
}

/* The snapshot of the closed round that settles its first updates, and how many; 0 if none was
 * read. It has its receipt by now, or, if it was read too late for its round, it is named in the
 * gate.
 */
static uint64_t settled_snapshot(const struct kofn_worker *worker, struct kofn_gate gate,
                                 uint32_t *updates)
{
    struct kofn_receipt_line line;

    *updates = 0;
    for (uint64_t s = worker->sequence; s && s + KOFN_RECEIPTS > worker->sequence; s--)
        if (!kofn_block_get_receipt(worker->endpoint->block, s, &line) &&
            line.made_in == worker->round) {
            *updates = line.updates;
            return s;
        }
    for (uint64_t s = worker->sequence;
         worker->first && s >= worker->first && s + KOFN_DEPTH_MAX > worker->sequence; s--)
        if (s % 256 == gate.released && worker->counts[s % KOFN_DEPTH_MAX]) {
            *updates = worker->counts[s % KOFN_DEPTH_MAX];
            return s;
        }
    return 0;
}

/* Is snapshot @sequence still in its buffer? */
static bool is_there(const struct kofn_worker *worker, uint64_t sequence)
{
    const struct kofn_endpoint *endpoint = worker->endpoint;

    return kofn_slot_stamp(&endpoint->slot, endpoint->buffers, sequence)->sequence == sequence;
}

/* Keeps what is behind the first @updates, which @settled has settled. */
static int keep_remainder(struct kofn_worker *worker, const float *model, struct kofn_gate gate,
                          uint64_t settled, uint32_t updates)
{
    double loss = worker->losses[settled % KOFN_DEPTH_MAX];

    if (!is_there(worker, settled)) {
        kofn_log(worker->log, KOFN_LOG_INFO,
                 "rank %u: %u local updates of round %u are lost: what they are the rest of was "
                 "overwritten before the gate had closed",
                 worker->endpoint->rank, worker->updates - updates, worker->round);
        return 0;
    }
    kofn__kept_next(worker, gate);
    kofn__publish_fill(worker, model, settled);
    return kofn__publish_send(worker, updates, loss, kofn_now_ns());
}

/* Keeps what the server has not got of the round, and says that it is there. */
static int keep_late(struct kofn_worker *worker, const float *model)
{
    uint64_t word, before = worker->sequence, settled;
    struct kofn_gate gate = kofn__worker_gate(worker, &word);
    uint32_t updates;
    int rc = 0;

    settled = settled_snapshot(worker, gate, &updates);
    if (updates >= worker->updates)
        return 0;
    if (settled)
        rc = worker->manners.gradient ? 0 : keep_remainder(worker, model, gate, settled, updates);
    else if (worker->published != worker->updates) /* else it is what was kept last */
        rc = worker->manners.gradient ? 0 : keep_all(worker, model, gate, kofn_now_ns());
    if (rc)
        return rc;
    if (worker->sequence != before || (!settled && worker->published == worker->updates))
        worker->late = worker->sequence;
    return kofn__worker_beat(worker);
}

int kofn__kept_late(struct kofn_worker *worker, const float *model)
{
    uint64_t deadline = kofn_deadline(kofn_now_ns(), worker->timeout), word;
    int rc;

    if (!worker->updates)
        return 0;
    if (!worker->late_sent) {
        rc = keep_late(worker, model);
        if (rc)
            return rc;
        worker->late_sent = true;
    }
    while (worker->late) {
        struct kofn_gate gate = kofn__worker_gate(worker, &word);

        if (gate.released == worker->late % 256 || kofn_gate_ended(gate) ||
            kofn_now_ns() >= deadline) {
            worker->late = 0;
            break;
        }
        rc = kofn__worker_wait(worker, word, deadline);
        if (rc)
            return rc;
    }
    return 0;
}
