#include "tests/unit/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void say_nothing(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg, (void)level, (void)message;
}

/* Nobody waits here: workers come back later, the server goes on. */
static int interrupt(void *arg, uint32_t rank, uint64_t deadline)
{
    (void)arg, (void)rank, (void)deadline;
    return KOFN_INTERRUPTED;
}

struct kofn_server_attr engine_attr(const char *algorithm, uint32_t workers, uint32_t wait_for,
                                    uint32_t local_steps)
{
    return (struct kofn_server_attr){.size = sizeof(struct kofn_server_attr),
                                     .workers = workers,
                                     .parameters = ENGINE_PARAMETERS,
                                     .algorithm = algorithm,
                                     .wait_for = wait_for,
                                     .local_steps = local_steps};
}

void engine_open(struct engine *engine, const struct kofn_server_attr *attr)
{
    struct kofn_fabric_attr fabric = {
        .workers = attr->workers, .progress = interrupt, .log = &engine->log};
    struct kofn_server_attr server = *attr;
    float *zeros = calloc(ENGINE_PARAMETERS, sizeof(*zeros));

    server.grace = server.grace ? server.grace : ENGINE_GRACE;
    server.suspect_after = server.suspect_after ? server.suspect_after : ENGINE_SUSPECT;
    memset(engine, 0, sizeof(*engine));
    engine->log = (struct kofn_log){KOFN_LOG_ERROR, say_nothing, NULL};
    server.log = &engine->log;
    CU_ASSERT_PTR_NOT_NULL_FATAL(zeros);
    CU_ASSERT_EQUAL_FATAL(kofn_fabric_open(&fabric, &engine->fabric), 0);
    CU_ASSERT_EQUAL_FATAL(
        kofn__server_open(&server, kofn_transport_find("self"), engine->fabric, &engine->server),
        0);
    for (uint32_t rank = 0; rank < attr->workers; rank++)
        CU_ASSERT_EQUAL_FATAL(engine_join(engine, rank), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_server_start(engine->server, zeros), 0);
    free(zeros);
}

static void close_worker(struct engine *engine, uint32_t rank)
{
    struct engine_worker *worker = &engine->workers[rank];

    if (!worker->handle)
        return;
    worker->base += worker->handle->total;
    kofn_worker_close(worker->handle);
    worker->handle = NULL;
}

void engine_close(struct engine *engine)
{
    for (uint32_t rank = 0; rank < engine->server->attr.workers; rank++)
        if (engine->workers[rank].handle)
            engine_leave(engine, rank);
    kofn_server_close(engine->server);
    kofn_fabric_close(engine->fabric);
}

/* kofn_worker.reconnect: what rejoin.c and guests.c do over the control channel. */
static int reconnect(struct kofn_worker *handle, uint64_t deadline, const char **why)
{
    struct engine *engine = handle->reconnect_arg;
    struct engine_worker *worker = &engine->workers[handle->rank];
    const struct kofn_transport_ops *ops = kofn_transport_find("self");
    struct kofn_server *server = engine->server;
    struct kofn_offer offer, answer;
    struct kofn_endpoint_attr attr = {.rank = handle->rank,
                                      .slot = server->hub->slot,
                                      .model = server->hub->model,
                                      .context = engine->fabric,
                                      .log = &engine->log};
    int rc;

    (void)deadline, (void)why;
    if (kofn__admit_return(server, handle->rank, handle->epoch, handle->total, "here", 0))
        return KOFN_REFUSED;
    rc = kofn__admit_seat(server, handle->rank, 0, "here", &offer);
    if (rc)
        return rc == KOFN_AGAIN ? KOFN_INTERRUPTED : rc; /* to be asked again later */
    if (handle->endpoint)
        ops->endpoint_close(handle->endpoint);
    handle->endpoint = NULL;
    attr.epoch = handle->epoch = handle->job.epoch = server->peers[handle->rank].epoch;
    rc = ops->endpoint_open(&attr, &offer, &answer, &handle->endpoint);
    if (rc)
        return rc;
    worker->base += handle->total;
    worker->first = worker->base;
    return kofn__admit_member(server, handle->rank, &answer, kofn_now_ns());
}

/* What the server's welcome says, and the worker's end of the transport. */
static int open_handle(struct engine *engine, uint32_t rank, const struct kofn_offer *offer,
                       struct kofn_offer *answer)
{
    const struct kofn_server *server = engine->server;
    const struct kofn_algorithm *algorithm = server->round.config.algorithm;
    struct kofn_worker *handle = calloc(1, sizeof(*handle));
    struct kofn_wire welcome = {.type = KOFN_WIRE_WELCOME};
    struct kofn_endpoint_attr attr = {.rank = rank,
                                      .epoch = server->peers[rank].epoch,
                                      .slot = server->hub->slot,
                                      .model = server->hub->model,
                                      .context = engine->fabric,
                                      .log = &engine->log};

    CU_ASSERT_PTR_NOT_NULL_FATAL(handle);
    engine->workers[rank].handle = handle;
    handle->log = &engine->log;
    handle->rank = rank;
    handle->epoch = attr.epoch;
    handle->why = "";
    handle->reconnect = engine->reconnects ? reconnect : NULL;
    handle->reconnect_arg = engine;
    handle->timeout = KOFN_NS_PER_MS; /* for a whole model: it is there, or never comes */
    welcome.welcome.job = (struct kofn_job){.payload = algorithm->payload,
                                            .publish = server->attr.publish,
                                            .late = server->attr.late,
                                            .workers = server->attr.workers,
                                            .wait_for = server->attr.wait_for,
                                            .local_steps = server->attr.local_steps,
                                            .epoch = attr.epoch,
                                            .parameters = ENGINE_PARAMETERS,
                                            .pullback = algorithm->ahead ? server->rules.alpha : 0};
    welcome.welcome.worker_may = algorithm->worker_may;
    welcome.welcome.manners = kofn_algorithm_manners(algorithm);
    CU_ASSERT_EQUAL_FATAL(kofn__worker_adopt(handle, &welcome), 0);
    return kofn_transport_find("self")->endpoint_open(&attr, offer, answer, &handle->endpoint);
}

void engine_reconnects(struct engine *engine)
{
    engine->reconnects = true;
    for (uint32_t rank = 0; rank < engine->server->attr.workers; rank++)
        if (engine->workers[rank].handle)
            engine->workers[rank].handle->reconnect = reconnect;
}

int engine_join(struct engine *engine, uint32_t rank)
{
    struct engine_worker *worker = &engine->workers[rank];
    struct kofn_offer offer, answer;
    int rc;

    close_worker(engine, rank);
    rc = kofn__admit_seat(engine->server, rank, 0, "here", &offer);
    if (rc)
        return rc;
    CU_ASSERT_EQUAL_FATAL(open_handle(engine, rank, &offer, &answer), 0);
    worker->first = worker->finished = worker->base;
    worker->round = 0;
    return kofn__admit_member(engine->server, rank, &answer, kofn_now_ns());
}

/* As admit.c does when BYE comes: what has arrived is taken in, then the worker is let go. */
void engine_leave(struct engine *engine, uint32_t rank)
{
    uint32_t total = engine->workers[rank].handle->total;

    kofn__admit_drain(engine->server, rank);
    engine->server->peers[rank].left = true;
    kofn_round_leave(&engine->server->round, rank, true, total, kofn_now_ns());
    kofn__admit_gone(engine->server, rank, "it has left", false);
    close_worker(engine, rank);
}

void engine_die(struct engine *engine, uint32_t rank)
{
    kofn__admit_drain(engine->server, rank);
    kofn__admit_gone(engine->server, rank, "it was killed", false);
    close_worker(engine, rank);
}

void engine_deliver(struct engine *engine)
{
    kofn_fabric_deliver_all(engine->fabric);
}

void engine_serve(struct engine *engine)
{
    engine->server->tick_ns = 0;
    CU_ASSERT_EQUAL(kofn__serve(engine->server, 0), 0);
}

int engine_step(struct engine *engine, struct kofn_round_report *report)
{
    engine->server->tick_ns = 0;
    if (report)
        report->size = sizeof(*report);
    return kofn_server_step(engine->server, 0, report);
}

static void earlier(uint64_t *time, uint64_t ns)
{
    *time -= KOFN_MIN(*time, ns);
}

void engine_skip(struct engine *engine, uint64_t ns)
{
    struct kofn_round *round = &engine->server->round;

    earlier(&round->opened_ns, ns);
    earlier(&round->closed_ns, ns);
    earlier(&round->previous_opened_ns, ns);
    earlier(&round->excused_ns, ns);
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        earlier(&round->members[rank].progress_ns, ns);
        earlier(&round->members[rank].joined_ns, ns);
    }
}

static void read_receipts(struct engine_worker *worker)
{
    struct kofn_receipt receipt;

    while (worker->receipt_count < ENGINE_RECEIPTS &&
           !kofn_worker_receipt(worker->handle, &receipt)) {
        worker->receipt_first[worker->receipt_count] =
            worker->first_of[receipt.sequence % ENGINE_UPDATES];
        worker->receipts[worker->receipt_count++] = receipt;
    }
}

/* Remembers which updates the publications since @before are about. */
static void note_publications(struct engine_worker *worker, uint64_t before)
{
    for (uint64_t s = before + 1; s <= worker->handle->sequence; s++)
        worker->first_of[s % ENGINE_UPDATES] = worker->first;
    worker->finished = worker->base + worker->handle->total;
}

int engine_take(struct engine *engine, uint32_t rank)
{
    struct engine_worker *worker = &engine->workers[rank];
    uint64_t before = worker->handle->sequence;
    uint32_t round = worker->round;
    int rc;

    read_receipts(worker);
    rc = kofn_worker_take(worker->handle, worker->model, &worker->round);
    note_publications(worker, before);
    if (!rc && worker->round != round)
        worker->first = worker->finished;
    return rc;
}

int engine_report(struct engine *engine, uint32_t rank)
{
    struct engine_worker *worker = &engine->workers[rank];
    uint64_t before = worker->handle->sequence;
    float loss = engine->falls ? 1 / (1 + (float)worker->finished) : 1;
    struct kofn_update update = {.loss = loss, .compute_ns = KOFN_NS_PER_MS};
    int rc = kofn_worker_report(worker->handle, worker->model, &update);

    note_publications(worker, before);
    read_receipts(worker);
    return rc;
}

int engine_update(struct engine *engine, uint32_t rank)
{
    struct engine_worker *worker = &engine->workers[rank];
    uint32_t place = rank * ENGINE_UPDATES + worker->finished;
    float *gradient = kofn_worker_gradient(worker->handle);

    CU_ASSERT_FATAL(worker->finished < ENGINE_UPDATES);
    if (worker->handle->manners.gradient && !gradient)
        return engine_report(engine, rank); /* which says why */
    if (gradient) {
        memset(gradient, 0, ENGINE_PARAMETERS * sizeof(*gradient));
        gradient[place] = isnan(worker->model[place]) ? NAN : -1;
    } else {
        worker->model[place] += 1;
    }
    return engine_report(engine, rank);
}

uint32_t engine_take_all(struct engine *engine)
{
    uint32_t count = 0;

    engine_deliver(engine);
    for (uint32_t rank = 0; rank < engine->server->attr.workers; rank++)
        count += engine->workers[rank].handle && !engine_take(engine, rank);
    return count;
}

float engine_merged(const struct engine *engine, uint32_t rank, uint32_t index)
{
    return kofn_server_model(engine->server)[rank * ENGINE_UPDATES + index];
}

struct kofn_member_report engine_member(const struct engine *engine, uint32_t rank)
{
    struct kofn_member_report report = {.size = sizeof(report)};

    CU_ASSERT_EQUAL(kofn_server_member(engine->server, rank, &report), 0);
    return report;
}

struct kofn_receipt engine_receipt(const struct engine *engine, uint32_t rank)
{
    const struct engine_worker *worker = &engine->workers[rank];

    CU_ASSERT_FATAL(worker->receipt_count > 0);
    return worker->receipts[worker->receipt_count - 1];
}
