#include "core/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "core/attr.h"

#define TIMEOUT_NS (30 * KOFN_NS_PER_S)
#define LEAVE_NS KOFN_NS_PER_S /* for the server to hear of it */
/* A sleep between two looks at whether the server lives. */
#define SLICE_NS (100 * KOFN_NS_PER_MS)

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
    return kofn_manners_over(&worker->manners, gate, worker->round);
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
    bye.bye.published = worker->manners.keeps ? 0 : worker->sequence; /* nothing is on its way */
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

int kofn__worker_answer(struct kofn_worker *worker, int rc)
{
    if (rc != KOFN_GONE)
        return rc;
    if (!worker->broken && !kofn__worker_breaks(worker))
        return rc;
    worker->reporting = worker->filling = false;
    return worker->server_gone ? KOFN_GONE : KOFN_ROUND_OVER;
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
    return kofn__worker_answer(worker, rc);
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
