/* update.c: a local update is finished: what is done with it at once. */
#include "core/worker.h"

/* Has the model that this worker looks at been overwritten before it was done? */
static bool overtaken(const struct kofn_worker *worker)
{
    return worker->view && !worker->reporting &&
           !kofn_model_whole(worker->endpoint, worker->view, worker->version);
}

float *kofn_worker_gradient(struct kofn_worker *worker)
{
    if (!worker->manners.gradient || !worker->round)
        return NULL;
    for (worker->starved = worker->broken ? kofn__worker_answer(worker, KOFN_GONE) : 0;
         !worker->starved;) {
        uint64_t word;
        struct kofn_gate gate = kofn__worker_gate(worker, &word);

        if (worker->manners.keeps || kofn__publish_credit(worker, gate)) {
            uint64_t next = worker->manners.keeps && !worker->filling
                                ? kofn__kept_next(worker, gate)
                                : worker->sequence + 1;

            worker->filling = true;
            return worker->endpoint->ops->endpoint_buffer(worker->endpoint, next);
        }
        worker->starved =
            kofn_gate_ended(gate)
                ? KOFN_ROUND_OVER
                : kofn__worker_answer(worker, kofn__worker_wait(worker, word, KOFN_FOREVER));
    }
    return NULL;
}

/* Publishes in eager mode, if there is a credit; else the next publication carries this update as
 * well. */
static int publish_eagerly(struct kofn_worker *worker, const float *model, struct kofn_gate gate,
                           uint64_t now)
{
    if (kofn__publish_credit(worker, gate))
        return kofn__publish_all(worker, model, now);
    if (!worker->starved_ns)
        worker->starved_ns = now;
    return KOFN_NO_CREDIT;
}

/* Those who wait for the next model anyway wait for their credit, too: nobody else will carry this
 * update. */
static int publish_last(struct kofn_worker *worker, const float *model, uint64_t now)
{
    uint64_t word;

    for (;;) {
        struct kofn_gate gate = kofn__worker_gate(worker, &word);
        int rc;

        if (kofn_gate_ended(gate) || (!worker->manners.gradient && kofn__worker_over(worker, gate)))
            return 0; /* kofn_worker_take() sends what is late */
        rc = publish_eagerly(worker, model, gate, now);
        if (rc != KOFN_NO_CREDIT)
            return rc;
        rc = kofn__worker_wait(worker, word, KOFN_FOREVER);
        if (rc)
            return rc;
    }
}

/* The local update in progress is finished. One whose report a signal interrupted is counted
 * already. */
static void count(struct kofn_worker *worker, const struct kofn_update *update, uint64_t now)
{
    if (worker->reporting)
        return;
    worker->reporting = true;
    worker->updates++;
    worker->total++;
    worker->compute_ns += update && update->compute_ns ? update->compute_ns : now - worker->mark_ns;
    worker->loss_sum += update ? (double)update->loss : 0;
}

/* Nothing has been filled that could be reported: why not. */
static int no_gradient(const struct kofn_worker *worker)
{
    if (worker->starved)
        return worker->starved;
    return kofn_error(worker->log, KOFN_INVALID, "rank %u: a report without a gradient",
                      worker->endpoint->rank);
}

/* Does it. */
static int act(struct kofn_worker *worker, const float *model, enum kofn_deed deed, bool over,
               struct kofn_gate gate, uint64_t now)
{
    switch (deed) {
    case KOFN_DEED_KEEP:
        return kofn__kept_report(worker, model, over, gate, now);
    case KOFN_DEED_LAST:
        return publish_last(worker, model, now);
    case KOFN_DEED_PUBLISH:
        return publish_eagerly(worker, model, gate, now);
    case KOFN_DEED_BEAT:
        break;
    }
    return kofn__worker_beat(worker);
}

static int report(struct kofn_worker *worker, const float *model, const struct kofn_update *update)
{
    uint64_t now = kofn_now_ns(), word;
    struct kofn_gate gate;
    bool last, over;
    int rc = kofn__worker_listen(worker, now);

    if (rc)
        return rc;
    gate = kofn__worker_gate(worker, &word);
    if (!worker->round || (!worker->manners.gradient && !model))
        return kofn_error(worker->log, KOFN_INVALID, "rank %u: a report without a model",
                          worker->endpoint->rank);
    if (worker->manners.gradient && !worker->filling)
        return no_gradient(worker);
    over = kofn__worker_over(worker, gate);
    if (!worker->reporting && (overtaken(worker) || (over && worker->manners.cancels))) {
        if (!over)
            kofn_log(worker->log, KOFN_LOG_INFO,
                     "rank %u: its update of round %u is dropped: the model was replaced meanwhile",
                     worker->endpoint->rank, worker->round);
        worker->mark_ns = now;
        return KOFN_ROUND_OVER;
    }
    count(worker, update, now);
    if (kofn_gate_ended(gate)) {
        kofn__worker_beat(worker); /* if the server is still there: so that it is counted */
        worker->reporting = worker->filling = false;
        return KOFN_ROUND_OVER;
    }
    last = kofn_manners_last(&worker->manners, worker->updates, worker->published,
                             worker->job.local_steps);
    rc = act(worker, model, kofn_manners_deed(&worker->manners, last, over), over, gate, now);
    if (rc == KOFN_NO_CREDIT)
        rc = kofn__worker_beat(worker);
    if (rc)
        return rc;
    worker->reporting = worker->filling = false;
    worker->mark_ns = kofn_now_ns();
    return kofn_manners_done(&worker->manners, last, over) ||
                   worker->updates >= KOFN_BEAT_MAX_UPDATES
               ? KOFN_ROUND_OVER
               : 0;
}

int kofn_worker_report(struct kofn_worker *worker, const float *model,
                       const struct kofn_update *update)
{
    int rc;

    if (worker->broken) { /* it was finished, and will be lost: that is counted, too */
        if (worker->round && (!worker->manners.gradient || worker->filling))
            count(worker, update, kofn_now_ns());
        return kofn__worker_answer(worker, KOFN_GONE);
    }
    rc = report(worker, model, update);
    if (rc == KOFN_GONE && worker->round &&
        (worker->manners.gradient ? worker->filling : model != NULL))
        count(worker, update,
              kofn_now_ns()); /* unless it was before the connection was looked at */
    return kofn__worker_answer(worker, rc);
}
