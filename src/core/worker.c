#include "core/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "core/attr.h"

#define TIMEOUT_NS (30 * KOFN_NS_PER_S)
#define LEAVE_NS KOFN_NS_PER_S /* for the server to hear of it */
#define SLICE_NS                                                                                   \
    (100 * KOFN_NS_PER_MS)              /* a sleep between two looks at whether the server lives   \
                                         */
#define RETRIES 2                       /* at once, of a model that was not whole */
#define RETRY_NS (200 * KOFN_NS_PER_US) /* and then after so long */

struct kofn_gate kofn__worker_gate(const struct kofn_worker *worker, uint64_t *word)
{
    struct kofn_gate gate = {0};

    *word = kofn_peer_load64(&worker->endpoint->block->gate);
    for (int tries = 0; *word && !kofn_gate_unpack(*word, &gate) && tries < 100; tries++)
        *word = kofn_peer_load64(&worker->endpoint->block->gate);
    if (worker->dismissed && gate.state != KOFN_GATE_EVICTED)
        gate.state = KOFN_GATE_END;
    return gate;
}

bool kofn__worker_over(const struct kofn_worker *worker, struct kofn_gate gate)
{
    if (worker->stale || worker->ahead) /* nobody is cut off */
        return kofn__worker_ended(gate);
    return gate.round > worker->round || kofn__worker_ended(gate) ||
           (gate.round == worker->round && gate.state == KOFN_GATE_CLOSED);
}

int kofn__worker_wait(struct kofn_worker *worker, uint64_t seen, uint64_t deadline)
{
    uint64_t now = kofn_now_ns();
    int rc = kofn__worker_listen(worker, now);

    if (rc || worker->dismissed)
        return rc;
    return worker->endpoint->ops->endpoint_wait(worker->endpoint, seen,
                                                KOFN_MIN(deadline, now + SLICE_NS));
}

/* Keeps what @attr says: a connection may have to be made again. Its texts lie behind each other.
 */
static int keep(struct kofn_worker *worker, const struct kofn_worker_attr *attr)
{
    const char **kept[] = {&worker->attr.address, &worker->attr.transport,
                           &worker->attr.transport_options, &worker->attr.workload};
    size_t bytes = 0;
    char *at;

    worker->attr = *attr;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kept); i++)
        bytes += *kept[i] ? strlen(*kept[i]) + 1 : 0;
    at = worker->texts = malloc(bytes);
    if (!at)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "worker: %zu bytes", bytes);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kept); i++)
        if (*kept[i]) {
            *kept[i] = strcpy(at, *kept[i]);
            at += strlen(at) + 1;
        }
    worker->log = attr->log;
    worker->timeout = attr->timeout ? attr->timeout : TIMEOUT_NS;
    worker->rank = attr->rank;
    kofn_rank_log_init(&worker->named, attr->log, attr->rank);
    worker->why = "";
    return 0;
}

/* Connects to the server, waiting for it, and becomes a member. */
static int join(struct kofn_worker *worker)
{
    struct kofn_connect_attr connect = {.address = worker->attr.address,
                                        .deadline = kofn_deadline(kofn_now_ns(), worker->timeout),
                                        .silence = worker->timeout,
                                        .log = &worker->named.log};
    struct kofn_channel *control;
    int rc = kofn_channel_connect(&connect, &control);

    if (rc)
        return rc;
    rc = kofn__worker_join(worker, control, kofn_deadline(kofn_now_ns(), worker->timeout));
    if (rc)
        kofn_channel_close(control);
    else if (control->network) /* else only the end of the server ends it */
        worker->reconnect = kofn__worker_reconnect;
    return rc;
}

static void release(struct kofn_worker *worker)
{
    kofn_channel_close(worker->control);
    free(worker->base);
    free(worker->texts);
    free(worker);
}

int kofn_worker_open(const struct kofn_worker_attr *attr, struct kofn_worker **worker_p)
{
    struct kofn_worker_attr known;
    struct kofn_worker *worker;
    int rc;

    rc = kofn__attr_take(attr, &known, sizeof(known));
    if (rc)
        return kofn_error(NULL, rc, "worker: %s",
                          rc == KOFN_INVALID ? "the attributes' size is not set"
                                             : "an attribute is set that this version lacks");
    if (!known.address || !known.parameters)
        return kofn_error(known.log, KOFN_INVALID, "worker: address and parameters must be set");
    worker = calloc(1, sizeof(*worker));
    if (!worker)
        return kofn_error(known.log, KOFN_NO_MEMORY, "worker: %zu bytes", sizeof(*worker));
    rc = keep(worker, &known);
    rc = rc ? rc : join(worker);
    if (rc) {
        release(worker);
        return rc;
    }
    *worker_p = worker;
    return 0;
}

void kofn_worker_close(struct kofn_worker *worker)
{
    struct kofn_wire bye = {.type = KOFN_WIRE_BYE};
    bool leaves;

    if (!worker)
        return;
    leaves = worker->control && !worker->broken;
    bye.bye.finished = worker->total;
    bye.bye.published = worker->keeps ? 0 : worker->sequence; /* nothing is on its way */
    if (leaves)
        kofn_channel_send(worker->control, &bye, NULL); /* a server that is gone does not mind */
    if (worker->endpoint)
        worker->endpoint->ops->endpoint_close(worker->endpoint);
    if (leaves)
        kofn_channel_finish(worker->control, kofn_deadline(kofn_now_ns(), LEAVE_NS));
    release(worker);
}

const struct kofn_job *kofn_worker_job(const struct kofn_worker *worker)
{
    return &worker->job;
}

int kofn__worker_beat(struct kofn_worker *worker)
{
    struct kofn_beat now = {worker->round, worker->updates};

    return worker->endpoint->ops->endpoint_beat(worker->endpoint, kofn_beat_pack(now));
}

/* Has this closed round work of ours that the server waits for? */
static bool owed(const struct kofn_worker *worker, struct kofn_gate gate)
{
    uint32_t least = worker->partial ? 1 : worker->job.local_steps;

    return !worker->eager && !worker->keeps && gate.round == worker->round &&
           gate.state == KOFN_GATE_CLOSED && worker->updates >= least && !worker->published;
}

/* May this worker take the model of the round that @gate has opened? One behind its own; where no
 * round is too old, the newest at once, or once what it sent last has been merged and so released;
 * where it is ahead, the one that its own round began without.
 */
static bool may_take(const struct kofn_worker *worker, struct kofn_gate gate)
{
    if (gate.state != KOFN_GATE_OPEN)
        return false;
    if (worker->stale && worker->waits)
        return gate.round > worker->round && gate.released == worker->sequence % 256;
    if (worker->ahead && worker->round)
        return gate.round >= worker->round;
    return worker->fetches || gate.round > worker->round;
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
        if (rc && worker->keeps)
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
    if (worker->ahead && worker->round)
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
    if (!worker->gradient || worker->stale ||
        !(worker->broken || worker->endpoint->ops->endpoint_view))
        return kofn_error(worker->log, KOFN_UNSUPPORTED,
                          "rank %u: a model of this job can only be copied, not looked at",
                          worker->rank);
    rc = take(worker, NULL, &view, round);
    if (!rc)
        *model = view;
    return rc;
}

/* What a call answers where another one has returned @rc: who has lost its connection can take the
 * next model, which gives it another one.
 */
static int answer(struct kofn_worker *worker, int rc)
{
    if (rc != KOFN_GONE)
        return rc;
    if (!worker->broken && !kofn__worker_breaks(worker))
        return rc;
    worker->reporting = worker->filling = false;
    return worker->server_gone ? KOFN_GONE : KOFN_ROUND_OVER;
}

/* Has the model that this worker looks at been overwritten before it was done? */
static bool overtaken(const struct kofn_worker *worker)
{
    return worker->view && !worker->reporting &&
           !kofn_model_whole(worker->endpoint, worker->view, worker->version);
}

float *kofn_worker_gradient(struct kofn_worker *worker)
{
    if (!worker->gradient || !worker->round)
        return NULL;
    for (worker->starved = worker->broken ? answer(worker, KOFN_GONE) : 0; !worker->starved;) {
        uint64_t word;
        struct kofn_gate gate = kofn__worker_gate(worker, &word);

        if (worker->keeps || kofn__publish_credit(worker, gate)) {
            uint64_t next = worker->keeps && !worker->filling ? kofn__kept_next(worker, gate)
                                                              : worker->sequence + 1;

            worker->filling = true;
            return worker->endpoint->ops->endpoint_buffer(worker->endpoint, next);
        }
        worker->starved = kofn__worker_ended(gate)
                              ? KOFN_ROUND_OVER
                              : answer(worker, kofn__worker_wait(worker, word, KOFN_FOREVER));
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

        if (kofn__worker_ended(gate) || (!worker->gradient && kofn__worker_over(worker, gate)))
            return 0; /* kofn_worker_take() sends what is late */
        rc = publish_eagerly(worker, model, gate, now);
        if (rc != KOFN_NO_CREDIT)
            return rc;
        rc = kofn__worker_wait(worker, word, KOFN_FOREVER);
        if (rc)
            return rc;
    }
}

/* Enough has been done on this model for a publication that nothing else follows. */
static bool is_last(const struct kofn_worker *worker)
{
    uint32_t new = worker->each ? worker->updates - worker->published : worker->updates;

    return ((worker->waits || worker->each) && new >= worker->job.local_steps) ||
           worker->updates >= KOFN_BEAT_MAX_UPDATES;
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

static int report(struct kofn_worker *worker, const float *model, const struct kofn_update *update)
{
    uint64_t now = kofn_now_ns(), word;
    struct kofn_gate gate;
    bool last, over;
    int rc = kofn__worker_listen(worker, now);

    if (rc)
        return rc;
    gate = kofn__worker_gate(worker, &word);
    if (!worker->round || (!worker->gradient && !model))
        return kofn_error(worker->log, KOFN_INVALID, "rank %u: a report without a model",
                          worker->endpoint->rank);
    if (worker->gradient && !worker->filling)
        return no_gradient(worker);
    over = kofn__worker_over(worker, gate);
    if (!worker->reporting && (overtaken(worker) || (over && worker->cancels))) {
        if (!over)
            kofn_log(worker->log, KOFN_LOG_INFO,
                     "rank %u: its update of round %u is dropped: the model was replaced meanwhile",
                     worker->endpoint->rank, worker->round);
        worker->mark_ns = now;
        return KOFN_ROUND_OVER;
    }
    count(worker, update, now);
    if (kofn__worker_ended(gate)) {
        kofn__worker_beat(worker); /* if the server is still there: so that it is counted */
        worker->reporting = worker->filling = false;
        return KOFN_ROUND_OVER;
    }
    last = is_last(worker);
    if (worker->keeps)
        rc = kofn__kept_report(worker, model, over, gate, now);
    else if (last && worker->eager && !worker->ahead)
        rc = publish_last(worker, model, now);
    else if (worker->eager && worker->partial && !over)
        rc = publish_eagerly(worker, model, gate, now);
    else
        rc = kofn__worker_beat(worker);
    if (rc == KOFN_NO_CREDIT)
        rc = kofn__worker_beat(worker);
    if (rc)
        return rc;
    worker->reporting = worker->filling = false;
    worker->mark_ns = kofn_now_ns();
    return over || (last && (worker->waits || worker->fetches)) ||
                   worker->updates >= KOFN_BEAT_MAX_UPDATES
               ? KOFN_ROUND_OVER
               : 0;
}

int kofn_worker_report(struct kofn_worker *worker, const float *model,
                       const struct kofn_update *update)
{
    int rc;

    if (worker->broken) { /* it was finished, and will be lost: that is counted, too */
        if (worker->round && (!worker->gradient || worker->filling))
            count(worker, update, kofn_now_ns());
        return answer(worker, KOFN_GONE);
    }
    rc = report(worker, model, update);
    if (rc == KOFN_GONE && worker->round && (worker->gradient ? worker->filling : model != NULL))
        count(worker, update,
              kofn_now_ns()); /* unless it was before the connection was looked at */
    return answer(worker, rc);
}

int kofn_worker_check(const struct kofn_worker *worker)
{
    uint64_t word;

    if (worker->broken)
        return KOFN_ROUND_OVER;
    return kofn__worker_over(worker, kofn__worker_gate(worker, &word)) ? KOFN_ROUND_OVER : 0;
}

int kofn_worker_pause(struct kofn_worker *worker, uint64_t duration)
{
    uint64_t end = kofn_deadline(kofn_now_ns(), duration), word;
    int rc = 0;

    while (!rc) {
        struct kofn_gate gate;

        if (worker->broken)
            return KOFN_ROUND_OVER;
        gate = kofn__worker_gate(worker, &word);
        if (kofn__worker_over(worker, gate))
            return KOFN_ROUND_OVER;
        if (kofn_now_ns() >= end)
            return 0;
        rc = kofn__worker_wait(worker, word, end);
    }
    return answer(worker, rc);
}

/* The next receipt of a publication that was on time: 0 or KOFN_AGAIN. */
static int next_prompt(const struct kofn_worker *worker, struct kofn_receipt_line *line)
{
    uint64_t oldest = worker->sequence > KOFN_RECEIPTS ? worker->sequence - KOFN_RECEIPTS : 0;

    for (uint64_t s = KOFN_MAX(worker->receipt_after, oldest) + 1; s <= worker->sequence; s++)
        if (!kofn_block_get_receipt(worker->endpoint->block, s, line) && !line->staleness)
            return 0;
    return KOFN_AGAIN; /* superseded, or not settled yet */
}

int kofn_worker_receipt(struct kofn_worker *worker, struct kofn_receipt *receipt)
{
    struct kofn_receipt_line line, late;
    bool found;

    if (worker->broken)
        return KOFN_AGAIN;
    found = !next_prompt(worker, &line);
    if (!kofn_block_next_late(worker->endpoint->block, worker->late_after, &late) &&
        (!found || late.sequence < line.sequence)) {
        found = true;
        line = late;
    }
    if (!found)
        return KOFN_AGAIN;
    if (line.staleness)
        worker->late_after = line.sequence;
    else
        worker->receipt_after = line.sequence;
    *receipt = (struct kofn_receipt){.outcome = line.outcome,
                                     .made_in = line.made_in,
                                     .merged_in = line.merged_in,
                                     .updates = line.updates,
                                     .staleness = line.staleness,
                                     .weight = line.weight,
                                     .sequence = line.sequence};
    return 0;
}
