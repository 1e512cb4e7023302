/* take.c: how a worker gets the next model, and what it sends before that. */
#include "core/worker.h"

#define RETRIES 2                       /* at once, of a model that was not whole */
#define RETRY_NS (200 * KOFN_NS_PER_US) /* and then after so long */

/* Has the closed round work of ours that the server waits for? */
static bool owed(const struct kofn_worker *worker, struct kofn_gate gate)
{
    return kofn_manners_owed(&worker->manners, gate, worker->round, worker->updates,
                             worker->published, worker->job.local_steps);
}

static bool may_take(const struct kofn_worker *worker, struct kofn_gate gate)
{
    return kofn_manners_may_take(&worker->manners, gate, worker->round,
                                 gate.released == worker->sequence % 256);
}

/* 0, or why no model follows for this worker. */
static int end_of_job(const struct kofn_worker *worker, struct kofn_gate gate)
{
    if (gate.state == KOFN_GATE_END)
        return KOFN_JOB_OVER;
    if (gate.state != KOFN_GATE_EVICTED)
        return 0;
    return kofn_error(worker->log, KOFN_EPOCH,
                      "rank %u: evicted by the server, in round %u; rejoin with a new handle",
                      worker->endpoint->rank, gate.round);
}

/* Waits until the gate lets us take the model of round @round. */
static int wait_open(struct kofn_worker *worker, const float *model, uint32_t *round)
{
    uint64_t word;
    int rc = 0;

    for (;;) {
        struct kofn_gate gate = kofn__worker_gate(worker, &word);

        rc = end_of_job(worker, gate);
        if (rc && worker->manners.keeps)
            kofn__worker_beat(worker); /* what was done after the last round is not said yet */
        if (rc)
            return rc;
        if (may_take(worker, gate)) {
            *round = gate.round;
            return 0;
        }
        if (owed(worker, gate) && kofn__publish_credit(worker, gate))
            rc = kofn__publish_all(worker, model, kofn_now_ns());
        if (!rc)
            rc = kofn__worker_wait(worker, word, KOFN_FOREVER);
        if (rc)
            return rc;
    }
}

/* What @model says of the rounds that follow: their U. */
static void take_terms(struct kofn_worker *worker, const struct kofn_stamp *model)
{
    worker->version = (uint32_t)model->sequence;
    if (model->updates && model->updates <= KOFN_BEAT_MAX_UPDATES)
        worker->job.local_steps = model->updates;
}

/* Gets the newest model, copied to @model or, if @view is not NULL, where it lies; one of before
 * @round, which the gate has opened, is not the newest.
 */
static int fetch(struct kofn_worker *worker, uint32_t round, float *model, const void **view,
                 struct kofn_stamp *stamp)
{
    struct kofn_endpoint *endpoint = worker->endpoint;
    uint64_t deadline = kofn_deadline(kofn_now_ns(), worker->timeout), now, word;
    int rc, tries = 0;

    do {
        struct kofn_gate gate = kofn__worker_gate(worker, &word);

        rc = view ? endpoint->ops->endpoint_view(endpoint, view, stamp)
                  : endpoint->ops->endpoint_fetch(
                        endpoint, model, model == worker->base ? NULL : worker->base, stamp);
        if (rc != KOFN_AGAIN && (rc || stamp->round >= round))
            return rc;
        rc = end_of_job(worker, gate);
        if (rc)
            return rc;
        now = kofn_now_ns();
        if (tries++ < RETRIES) /* it was replaced under the copy: there is a newer one */
            rc = kofn__worker_listen(worker, now);
        else /* it is on its way, and a gate behind it */
            rc = kofn__worker_wait(worker, word, KOFN_MIN(deadline, now + RETRY_NS));
    } while (!rc && now < deadline);
    if (rc)
        return rc;
    return kofn_error(worker->log, KOFN_TIMEOUT, "rank %u: no whole model for %.1f s",
                      endpoint->rank, (double)worker->timeout / 1e9);
}

static void begin_round(struct kofn_worker *worker, uint32_t round)
{
    worker->round = round;
    worker->updates = worker->published = 0;
    worker->first = worker->late = 0;
    worker->late_sent = false;
    worker->compute_ns = 0;
    worker->loss_sum = 0;
    worker->starved_ns = 0;
}

static void begin_updates(struct kofn_worker *worker, const void *view)
{
    worker->view = view;
    worker->reporting = worker->filling = false;
    worker->starved = 0;
    worker->mark_ns = kofn_now_ns();
}

/* Waits until the next publication may be written: 0, or why it never may. */
static int wait_buffer(struct kofn_worker *worker)
{
    uint64_t word;
    int rc = 0;

    while (!rc) {
        struct kofn_gate gate = kofn__worker_gate(worker, &word);

        if (kofn__publish_credit(worker, gate))
            return 0;
        rc = end_of_job(worker, gate);
        if (!rc)
            rc = kofn__worker_wait(worker, word, KOFN_FOREVER);
    }
    return rc;
}

/* One that is ahead: its round is done, and the model of the one before, @opened, is out by now.
 * Pulls the parameters @model to that, sends what is left between the two, and begins the next
 * round.
 */
static int pull(struct kofn_worker *worker, float *model, uint32_t opened, uint32_t *round)
{
    struct kofn_stamp stamp;
    int rc = 0;

    if (worker->version < opened) {
        worker->version = 0; /* an interrupted copy is none */
        rc = fetch(worker, opened, worker->base, NULL, &stamp);
        if (!rc)
            take_terms(worker, &stamp);
    }
    if (!rc)
        rc = wait_buffer(worker);
    if (!rc)
        rc = kofn__publish_pulled(worker, model, kofn_now_ns());
    if (rc)
        return rc;
    begin_updates(worker, NULL);
    begin_round(worker, worker->version + 1);
    if (round)
        *round = worker->round;
    return kofn__worker_beat(worker);
}

/* Waits for the next model and begins the round with it. */
static int take_once(struct kofn_worker *worker, float *model, const void **view, uint32_t *round)
{
    struct kofn_stamp stamp;
    uint32_t opened = 0;
    int rc;

    rc = wait_open(worker, model, &opened);
    if (rc)
        return rc;
    if (worker->manners.ahead && worker->round)
        return pull(worker, model, opened, round);
    rc = kofn__publish_late(worker, model);
    if (rc)
        return rc;
    rc = fetch(worker, opened, model, view, &stamp);
    if (rc)
        return rc;
    begin_updates(worker, view ? *view : NULL);
    take_terms(worker, &stamp);
    if (stamp.round != worker->round) /* who fetches may find the model that it had */
        begin_round(worker, stamp.round);
    if (round)
        *round = worker->round;
    return kofn__worker_beat(worker);
}

/* The same, over another connection where one fails. */
static int take(struct kofn_worker *worker, float *model, const void **view, uint32_t *round)
{
    int rc;

    do {
        rc = worker->broken ? kofn__worker_mend(worker) : 0;
        if (rc)
            return rc;
        rc = take_once(worker, model, view, round);
    } while (rc == KOFN_GONE && kofn__worker_breaks(worker));
    return rc;
}

int kofn_worker_take(struct kofn_worker *worker, float *model, uint32_t *round)
{
    return take(worker, model, NULL, round);
}

int kofn_worker_view(struct kofn_worker *worker, const float **model, uint32_t *round)
{
    const void *view;
    int rc;

    /* where nobody is cut off it would be replaced again and again before a slow one is done */
    if (!worker->manners.gradient || worker->manners.stale ||
        !(worker->broken || worker->endpoint->ops->endpoint_view))
        return kofn_error(worker->log, KOFN_UNSUPPORTED,
                          "rank %u: a model of this job can only be copied, not looked at",
                          worker->rank);
    rc = take(worker, NULL, &view, round);
    if (!rc)
        *model = view;
    return rc;
}
