/* join.c: how a worker becomes a member, and how it learns that the server is no longer there. */
#include "core/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "algorithms/algorithm.h"

#define LOOK_NS (100 * KOFN_NS_PER_MS) /* between two looks at the control channel */

/* "pid 7, shm:kofn"; over a network with the host that has answered: names can have several, and
 * its process is not known before it has said it.
 */
static void name_server(struct kofn_worker *worker, const char *address)
{
    bool network = worker->control->network;
    uint32_t pid = worker->server_pid ? worker->server_pid : worker->control->pid;
    char process[24] = "";

    if (pid)
        snprintf(process, sizeof(process), "pid %u, ", pid);
    snprintf(worker->server, sizeof(worker->server), "%s%s%s%s",
             network ? worker->control->path.peer : "", network ? ", " : "", process, address);
}

static int hung_up(const struct kofn_worker *worker, uint32_t rank, int rc)
{
    return kofn_error(worker->log, rc, "rank %u: the server (%s) hung up while it was joined", rank,
                      worker->server);
}

/* What both sides' memory takes to be made ready: the rank's slot at both, models here. */
static uint64_t memory_ns(const struct kofn_worker_attr *attr)
{
    uint64_t bytes = attr->parameters * sizeof(float);

    return kofn_pin_ns(bytes * (2 * KOFN_DEPTH_PULL + KOFN_DEPTH));
}

/* Waits for the next message of the handshake; anything but @wanted is an error with a cause. */
static int expect(struct kofn_worker *worker, uint32_t rank, enum kofn_wire_type wanted,
                  uint64_t deadline, struct kofn_wire *message, struct kofn_fds *fds)
{
    const char *reason = "";
    uint64_t began = kofn_now_ns();
    int rc;

    do
        rc = kofn_channel_receive(worker->control, deadline, message, fds, &reason);
    while ((rc == KOFN_INTERRUPTED && !worker->broken) ||
           (rc == KOFN_AGAIN && kofn_now_ns() < deadline));
    if (rc == KOFN_INTERRUPTED)
        return rc;
    if (rc == KOFN_AGAIN)
        return kofn_error(worker->log, KOFN_TIMEOUT,
                          "rank %u: the server (%s) has not answered in %.1f s", rank,
                          worker->server, (double)(kofn_now_ns() - began) / 1e9);
    if (rc == KOFN_GONE)
        return hung_up(worker, rank, rc);
    if (rc)
        return kofn_error(worker->log, rc, "rank %u: from the server: %s", rank, reason);
    if (message->type == wanted)
        return 0;
    if (fds)
        kofn_fds_close(fds);
    if (message->type == KOFN_WIRE_REFUSED)
        return kofn_error(worker->log, KOFN_REFUSED, "rank %u: refused: %s", rank,
                          message->refused.text);
    return kofn_error(worker->log, KOFN_PROTOCOL, "rank %u: from the server: message out of turn",
                      rank);
}

int kofn__worker_adopt(struct kofn_worker *worker, const struct kofn_wire *welcome)
{
    const struct kofn_job *job = &welcome->welcome.job;

    worker->job = *job;
    worker->manners = kofn_manners_make(job->payload, job->publish, welcome->welcome.worker_may,
                                        welcome->welcome.manners);
    worker->server_pid = welcome->welcome.pid;
    worker->reduce = kofn_reduce_select();
    worker->stream = job->parameters * sizeof(float) >= kofn_reduce_stream_bytes();
    if (worker->manners.gradient || worker->base)
        return 0;
    worker->base = aligned_alloc(KOFN_CACHE_LINE,
                                 kofn_round_up(job->parameters * sizeof(float), KOFN_CACHE_LINE));
    if (!worker->base)
        return kofn_error(worker->log, KOFN_NO_MEMORY, "worker: %zu bytes for a model",
                          (size_t)job->parameters * sizeof(float));
    return 0;
}

static int check_job(const struct kofn_worker *worker, const struct kofn_worker_attr *attr,
                     const struct kofn_wire *welcome)
{
    const struct kofn_job *job = &welcome->welcome.job;

    if (job->parameters != attr->parameters || job->workers > KOFN_WORKERS_MAX ||
        attr->rank >= job->workers || !job->local_steps ||
        welcome->welcome.worker_may > KOFN_WORKER_FETCHES ||
        welcome->welcome.manners > KOFN_MANNERS || !(job->pullback >= 0 && job->pullback <= 1))
        return kofn_error(worker->log, KOFN_PROTOCOL,
                          "rank %u: the server's job contradicts itself", attr->rank);
    if (worker->broken && welcome->welcome.pid != worker->server_pid)
        return kofn_error(
            worker->log, KOFN_REFUSED,
            "rank %u: the server (%s) is gone, and another one, pid %u, has its place: "
            "its job is not this one",
            attr->rank, worker->server, welcome->welcome.pid);
    return 0;
}

/* Opens the worker's end of the transport from the server's offer, and answers with its own; before
 * @deadline. */
static int open_endpoint(struct kofn_worker *worker, const struct kofn_worker_attr *attr,
                         uint64_t deadline, const struct kofn_wire *welcome,
                         const struct kofn_fds *fds)
{
    const struct kofn_transport_ops *ops = kofn_transport_find(welcome->welcome.transport);
    struct kofn_endpoint_attr endpoint = {.rank = attr->rank,
                                          .epoch = worker->job.epoch,
                                          .spin = attr->spin,
                                          .path = worker->control->path,
                                          .server = worker->server,
                                          .peer_timeout = worker->timeout,
                                          .deadline = deadline,
                                          .options = attr->transport_options,
                                          .log = &worker->named.log};
    struct kofn_offer in = {.length = welcome->offer.length, .fd_count = fds->count}, out = {0};
    struct kofn_wire ready = {.type = KOFN_WIRE_READY};
    struct kofn_fds answer = {0};
    int rc;

    memcpy(in.fds, fds->fds, sizeof(in.fds));
    memcpy(in.bytes, welcome->offer.bytes, welcome->offer.length);
    if (!ops || !(ops->capabilities & KOFN_CAP_ONE_HOST) != worker->control->network) {
        kofn_offer_close(&in);
        return kofn_error(worker->log, KOFN_UNSUPPORTED,
                          "rank %u: the server's transport is %s, which is not in this build",
                          attr->rank, welcome->welcome.transport);
    }
    rc = kofn_geometry_init(&endpoint.slot, worker->job.parameters * sizeof(float),
                            welcome->welcome.depth);
    rc = rc ? rc
            : kofn_geometry_init(&endpoint.model, worker->job.parameters * sizeof(float),
                                 KOFN_DEPTH);
    if (rc) {
        kofn_offer_close(&in);
        return kofn_error(worker->log, KOFN_PROTOCOL,
                          "rank %u: the server's slot has no valid shape", attr->rank);
    }
    if (worker->endpoint) /* of a former membership: its memory may be all there is */
        worker->endpoint->ops->endpoint_close(worker->endpoint);
    worker->endpoint = NULL;
    rc = ops->endpoint_open(&endpoint, &in, &out, &worker->endpoint);
    if (rc)
        return rc;
    ready.offer.length = out.length;
    memcpy(ready.offer.bytes, out.bytes, out.length);
    answer.count = out.fd_count;
    memcpy(answer.fds, out.fds, sizeof(answer.fds));
    rc = kofn_channel_send(worker->control, &ready, &answer);
    kofn_fds_close(&answer);
    if (rc)
        return hung_up(worker, attr->rank, rc);
    return 0;
}

static int shake_hands(struct kofn_worker *worker, const struct kofn_worker_attr *attr,
                       uint64_t deadline)
{
    struct kofn_wire message = {.type = KOFN_WIRE_HELLO};
    struct kofn_fds fds = {0};
    int rc;

    name_server(worker, attr->address);
    message.hello.rank = attr->rank;
    message.hello.pid = (uint32_t)getpid();
    message.hello.epoch = worker->epoch;
    message.hello.finished = worker->total;
    message.hello.parameters = attr->parameters;
    snprintf(message.hello.transport, sizeof(message.hello.transport), "%s",
             attr->transport ? attr->transport : "");
    snprintf(message.hello.workload, sizeof(message.hello.workload), "%s",
             attr->workload ? attr->workload : "");
    gethostname(message.hello.host, sizeof(message.hello.host) - 1);
    rc = kofn_channel_send(worker->control, &message, NULL);
    if (rc)
        return hung_up(worker, attr->rank, rc);
    rc = expect(worker, attr->rank, KOFN_WIRE_WELCOME, deadline, &message, &fds);
    if (rc)
        return rc;
    rc = check_job(worker, attr, &message);
    rc = rc ? rc : kofn__worker_adopt(worker, &message);
    if (rc) {
        kofn_fds_close(&fds);
        return rc;
    }
    name_server(worker, attr->address); /* now with its process */
    rc = open_endpoint(worker, attr, deadline, &message, &fds);
    if (rc)
        return rc;
    return expect(worker, attr->rank, KOFN_WIRE_GO, deadline, &message, NULL);
}

int kofn__worker_join(struct kofn_worker *worker, struct kofn_channel *control, uint64_t deadline)
{
    struct kofn_channel *former = worker->control;
    struct kofn_job job = worker->job;
    int rc;

    worker->control = control;
    rc = shake_hands(worker, &worker->attr, kofn_deadline(deadline, memory_ns(&worker->attr)));
    if (rc) {
        if (worker->endpoint && worker->endpoint->epoch != worker->epoch) {
            worker->endpoint->ops->endpoint_close(worker->endpoint);
            worker->endpoint = NULL;
        }
        worker->control = former;
        worker->job = job;
        return rc;
    }
    worker->epoch = worker->job.epoch;
    worker->heard_ns = worker->looked_ns = kofn_now_ns();
    return 0;
}

int kofn__worker_listen(struct kofn_worker *worker, uint64_t now)
{
    struct kofn_wire message;
    const char *reason;
    uint64_t word;
    int rc;

    if (worker->server_gone)
        return KOFN_GONE;
    if (!worker->control)
        return 0;
    if (now - worker->looked_ns < LOOK_NS)
        return 0;
    worker->looked_ns = now;
    while (!(rc = kofn_channel_receive(worker->control, 0, &message, NULL, &reason))) {
        worker->heard_ns = now;
        worker->dismissed |= message.type == KOFN_WIRE_END;
    }
    if (kofn_gate_ended(kofn__worker_gate(worker, &word)))
        return 0; /* it has said that the job is over, and may go */
    if (rc == KOFN_GONE || rc == KOFN_PROTOCOL) {
        worker->why = reason;
        if (worker->reconnect)
            return KOFN_GONE;
        worker->server_gone = true;
        return kofn_error(worker->log, KOFN_GONE,
                          "rank %u: the server (%s) is gone, in round %u; its job cannot go on",
                          worker->endpoint->rank, worker->server, worker->round);
    }
    if (now - worker->heard_ns > worker->timeout && worker->reconnect) {
        worker->why = "no sign of it for longer than its time-out";
        return KOFN_GONE; /* a path that is no more looks like this, whatever the kernel thinks */
    }
    if (now - worker->heard_ns > worker->timeout) {
        worker->heard_ns = now; /* said once for every time-out */
        return kofn_error(worker->log, KOFN_TIMEOUT,
                          "rank %u: no sign of the server (%s) for %.1f s, in round %u",
                          worker->endpoint->rank, worker->server, (double)worker->timeout / 1e9,
                          worker->round);
    }
    return 0;
}
