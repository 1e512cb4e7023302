#include "core/server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/attr.h"

#define DEFAULT_GRACE (250 * KOFN_NS_PER_MS)
#define DEFAULT_SUSPECT (2 * KOFN_NS_PER_S)
#define DEFAULT_JOIN (30 * KOFN_NS_PER_S)
#define STOP_NS (2 * KOFN_NS_PER_S)

static void fill_defaults(struct kofn_server_attr *attr)
{
    if (!attr->algorithm)
        attr->algorithm = "stsyn";
    if (!attr->wait_for)
        attr->wait_for = attr->workers;
    attr->local_steps = attr->local_steps ? attr->local_steps : 1;
    attr->quorum = attr->quorum ? attr->quorum : 1;
    attr->grace = attr->grace ? attr->grace : DEFAULT_GRACE;
    attr->suspect_after = attr->suspect_after ? attr->suspect_after : DEFAULT_SUSPECT;
    attr->join_timeout = attr->join_timeout ? attr->join_timeout : DEFAULT_JOIN;
    attr->merge_threads = attr->merge_threads ? attr->merge_threads : 1;
    attr->learning_rate = attr->learning_rate != 0 ? attr->learning_rate : 1;
}

/* An attribute that cannot be: says which and why. */
static int check_algorithm(const struct kofn_server_attr *attr,
                           const struct kofn_algorithm *algorithm)
{
    if (!algorithm)
        return kofn_error(attr->log, KOFN_INVALID, "unknown algorithm '%s'", attr->algorithm);
    if (algorithm->needs_all && attr->wait_for != attr->workers)
        return kofn_error(attr->log, KOFN_INVALID, "%s waits for all: K = %u must be N = %u",
                          algorithm->name, attr->wait_for, attr->workers);
    if (algorithm->single_step && attr->local_steps != 1)
        return kofn_error(attr->log, KOFN_INVALID, "%s has one local update a round, not %u",
                          algorithm->name, attr->local_steps);
    return 0;
}

static int check_choices(const struct kofn_server_attr *attr)
{
    if (attr->publish == KOFN_PUBLISH_PULL)
        return kofn_error(attr->log, KOFN_UNSUPPORTED,
                          "this transport cannot read at the workers: no pull publication");
    if ((unsigned)attr->publish > KOFN_PUBLISH_PULL ||
        (unsigned)attr->weights > KOFN_WEIGHTS_FEDNOVA || (unsigned)attr->late > KOFN_LATE_REFUSE)
        return kofn_error(attr->log, KOFN_INVALID,
                          "publish = %d, weights = %d, late = %d: not all of them are choices",
                          (int)attr->publish, (int)attr->weights, (int)attr->late);
    return 0;
}

static int check_numbers(const struct kofn_server_attr *attr)
{
    if (!attr->workers || attr->workers > KOFN_WORKERS_MAX)
        return kofn_error(attr->log, KOFN_INVALID, "N = %u workers: must be 1 to %u", attr->workers,
                          KOFN_WORKERS_MAX);
    if (attr->wait_for > attr->workers)
        return kofn_error(attr->log, KOFN_INVALID, "K = %u is more than the N = %u workers",
                          attr->wait_for, attr->workers);
    if (attr->quorum > attr->workers)
        return kofn_error(attr->log, KOFN_INVALID, "a quorum of %u is more than the N = %u workers",
                          attr->quorum, attr->workers);
    if (attr->local_steps > KOFN_BEAT_MAX_UPDATES)
        return kofn_error(attr->log, KOFN_INVALID, "U = %u local updates: must be at most %u",
                          attr->local_steps, KOFN_BEAT_MAX_UPDATES);
    if (!(attr->staleness_weight >= 0))
        return kofn_error(attr->log, KOFN_INVALID, "the staleness weight must be 0 or more");
    if (!isfinite(attr->learning_rate))
        return kofn_error(attr->log, KOFN_INVALID, "the learning rate must be finite");
    return 0;
}

static int check(const struct kofn_server_attr *attr)
{
    int rc = check_numbers(attr);

    rc = rc ? rc : check_choices(attr);
    return rc ? rc : check_algorithm(attr, kofn_algorithm_find(attr->algorithm));
}

static int open_hub(struct kofn_server *server, const struct kofn_transport_ops *transport,
                    void *context)
{
    struct kofn_hub_attr hub = {.workers = server->attr.workers,
                                .numa_node = -1,
                                .spin = server->attr.spin,
                                .peer_timeout = server->attr.peer_timeout,
                                .options = server->attr.transport_options,
                                .context = context,
                                .log = server->log};
    uint64_t bytes = server->attr.parameters * sizeof(float);
    int rc;

    if (server->attr.parameters > KOFN_PAYLOAD_MAX / sizeof(float) ||
        kofn_geometry_init(&hub.slot, bytes, KOFN_DEPTH) ||
        kofn_geometry_init(&hub.model, bytes, KOFN_DEPTH))
        return kofn_error(server->log, KOFN_INVALID, "a model of %llu parameters",
                          (unsigned long long)server->attr.parameters);
    rc = transport->hub_open(&hub, &server->hub);
    if (!rc)
        server->hub->gates_follow = true; /* a receipt settles a publication: its release follows */
    return rc;
}

static int open_round(struct kofn_server *server)
{
    const struct kofn_server_attr *attr = &server->attr;
    struct kofn_round_config config = {.algorithm = kofn_algorithm_find(attr->algorithm),
                                       .workers = attr->workers,
                                       .wait_for = attr->wait_for,
                                       .local_steps = attr->local_steps,
                                       .quorum = attr->quorum,
                                       .publish = attr->publish,
                                       .weights = attr->weights,
                                       .late = attr->late,
                                       .staleness_weight = attr->staleness_weight,
                                       .grace = attr->grace,
                                       .deadline = attr->deadline,
                                       .deadline_adaptive = attr->deadline_adaptive,
                                       .suspect_after = attr->suspect_after};

    return kofn_round_init(&server->round, &config);
}

static int open_pool(struct kofn_server *server)
{
    struct kofn_reduce_pool_attr pool = {
        .threads = server->attr.merge_threads, .spin = server->attr.spin, .log = server->log};

    return kofn_reduce_pool_open(&pool, &server->pool);
}

static void free_arrays(struct kofn_server *server)
{
    free(server->peers);
    free(server->beats_seen);
    free(server->beats_changed);
    free(server->ranks);
    free(server->updates);
    free(server->weights);
    free(server->late_sum);
    free(server->late_next);
}

static int allocate_arrays(struct kofn_server *server)
{
    size_t n = server->attr.workers;
    size_t bytes = kofn_round_up(server->attr.parameters * sizeof(float), KOFN_CACHE_LINE);

    server->peers = calloc(n, sizeof(*server->peers));
    server->beats_seen = calloc(n, sizeof(*server->beats_seen));
    server->beats_changed = calloc(n, sizeof(*server->beats_changed));
    server->ranks = calloc(n + 1, sizeof(*server->ranks)); /* + 1: the late sum */
    server->updates = calloc(n + 1, sizeof(*server->updates));
    server->weights = calloc(n + 1, sizeof(*server->weights));
    server->late_sum = aligned_alloc(KOFN_CACHE_LINE, bytes); /* touched where something is late */
    server->late_next = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (!server->peers || !server->beats_seen || !server->beats_changed || !server->ranks ||
        !server->updates || !server->weights || !server->late_sum || !server->late_next) {
        free_arrays(server);
        return kofn_error(server->log, KOFN_NO_MEMORY, "server: %zu workers, %llu parameters", n,
                          (unsigned long long)server->attr.parameters);
    }
    for (size_t rank = 0; rank < n; rank++)
        server->peers[rank].control = server->peers[rank].pidfd = -1;
    return 0;
}

static int open_parts(struct kofn_server *server, const struct kofn_transport_ops *transport,
                      void *context)
{
    int rc;

    rc = open_hub(server, transport, context);
    if (rc)
        return rc;
    rc = open_round(server);
    if (rc)
        goto close_hub;
    rc = open_pool(server);
    if (rc)
        goto close_round;
    rc = allocate_arrays(server);
    if (rc)
        goto close_pool;
    rc = kofn__admit_open(server);
    if (rc)
        goto free_all;
    return 0;

free_all:
    free_arrays(server);
close_pool:
    kofn_reduce_pool_close(server->pool);
close_round:
    kofn_round_fini(&server->round);
close_hub:
    server->hub->ops->hub_close(server->hub);
    return rc;
}

int kofn__server_open(const struct kofn_server_attr *attr,
                      const struct kofn_transport_ops *transport, void *context,
                      struct kofn_server **server_p)
{
    struct kofn_server_attr known;
    struct kofn_server *server;
    int rc;

    rc = kofn__attr_take(attr, &known, sizeof(known));
    if (rc)
        return kofn_error(NULL, rc, "server: %s",
                          rc == KOFN_INVALID ? "the attributes' size is not set"
                                             : "an attribute is set that this version lacks");
    server = calloc(1, sizeof(*server));
    if (!server)
        return kofn_error(known.log, KOFN_NO_MEMORY, "server: %zu bytes", sizeof(*server));
    server->attr = known;
    server->log = known.log;
    fill_defaults(&server->attr);
    rc = check(&server->attr);
    if (!rc)
        rc = open_parts(server, transport, context);
    if (rc) {
        free(server);
        return rc;
    }
    *server_p = server;
    return 0;
}

int kofn_server_open(const struct kofn_server_attr *attr, struct kofn_server **server_p)
{
    return kofn__server_open(attr, kofn_transport_find("shm"), NULL, server_p);
}

const char *kofn_server_address(const struct kofn_server *server)
{
    return server->address;
}

const float *kofn_server_model(const struct kofn_server *server)
{
    return kofn_slot_payload(&server->hub->model, server->hub->models, server->version);
}

static uint32_t joined(const struct kofn_server *server)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        count += kofn_member_connected(&server->round.members[rank]);
    return count;
}

/* "3, 5, 6 and 12 more" */
static void list_missing(const struct kofn_server *server, char *text, size_t room)
{
    const uint32_t most = 16;
    uint32_t listed = 0, missing = server->attr.workers - joined(server);
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t rank = 0; rank < server->attr.workers && listed < most; rank++) {
        if (kofn_member_connected(&server->round.members[rank]))
            continue;
        used += (size_t)snprintf(text + used, room - used, "%s%u", listed ? ", " : "", rank);
        listed++;
    }
    if (missing > listed)
        snprintf(text + used, room - used, " and %u more", missing - listed);
}

static int wait_for_workers(struct kofn_server *server)
{
    uint64_t began = kofn_now_ns(), deadline = kofn_deadline(began, server->attr.join_timeout),
             now = began;
    char missing[256];

    while (joined(server) < server->attr.workers && now < deadline) {
        int rc = kofn__admit_look(server, now, KOFN_MIN(deadline, now + 100 * KOFN_NS_PER_MS));

        if (__atomic_exchange_n(&server->interrupted, false, __ATOMIC_RELAXED))
            return KOFN_INTERRUPTED;
        if (rc && rc != KOFN_INTERRUPTED)
            return rc;
        now = kofn_now_ns();
    }
    if (joined(server) == server->attr.workers)
        return 0;
    list_missing(server, missing, sizeof(missing));
    if (joined(server) < server->attr.quorum)
        return kofn_error(server->log, KOFN_TIMEOUT,
                          "after %.1f s only %u of %u workers have joined; missing: rank %s",
                          (double)(now - began) / 1e9, joined(server), server->attr.workers,
                          missing);
    kofn_log(server->log, KOFN_LOG_WARN, "after %.1f s going on without rank %s",
             (double)(now - began) / 1e9, missing);
    return 0;
}

/* Opens the next round for everybody. The model is out by now, and so are the receipts. */
static void open_next(struct kofn_server *server)
{
    server->bytes = server->merged_updates = 0;
    server->merged = 0;
    server->loss_sum = 0;
    server->gates_closed = false;
    kofn_round_next(&server->round, kofn_now_ns());
    kofn__serve_gates(server);
}

int kofn_server_start(struct kofn_server *server, const float *model)
{
    struct kofn_hub *hub = server->hub;
    struct kofn_stamp stamp = {
        .round = 1, .version = 1, .length = hub->model.payload_bytes, .sequence = 1};
    int rc;

    if (server->serving)
        return kofn_error(server->log, KOFN_INVALID, "the server has been started already");
    rc = wait_for_workers(server);
    if (rc)
        return rc;
    memcpy(kofn_slot_withdraw(&hub->model, hub->models, 1), model, hub->model.payload_bytes);
    server->version = 1;
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    server->serving = true;
    open_next(server);
    return 0;
}

static int fill_report(const struct kofn_server *server, struct kofn_round_report *report)
{
    struct kofn_round_report result;
    const struct kofn_round *round = &server->round;
    uint32_t count = server->merged + round->late_count;

    if (!report)
        return 0;
    result = (struct kofn_round_report){
        .round = round->number,
        .close = round->close,
        .wait_for = round->wait_for,
        .living = round->available,
        .merged = server->merged,
        .late = round->late_count,
        .refused = round->refused,
        .publications = round->publications,
        .bytes = server->bytes,
        .updates = server->merged_updates,
        .staleness = count ? round->late_staleness / count : 0,
        .loss = server->merged_updates ? server->loss_sum / (double)server->merged_updates : 0,
        .opened_ns = round->opened_ns,
        .closed_ns = round->closed_ns,
        .published_ns = server->published_ns,
    };
    return kofn__report_give(&result, sizeof(result), report);
}

/* Serves until the round is READY, or for as long as there is hope of it. */
static int serve_round(struct kofn_server *server, uint64_t deadline)
{
    while (server->round.phase != KOFN_PHASE_READY) {
        int rc = kofn__serve(server, deadline);

        if (rc)
            return rc;
        if (server->round.phase == KOFN_PHASE_READY)
            break;
        if (!server->round.available && !joined(server) && !server->round.reached)
            return kofn_error(server->log, KOFN_GONE, "no worker is left in round %u",
                              server->round.number);
        if (deadline != KOFN_FOREVER && kofn_now_ns() >= deadline)
            return KOFN_TIMEOUT;
    }
    return 0;
}

int kofn_server_step(struct kofn_server *server, uint64_t timeout, struct kofn_round_report *report)
{
    int rc;

    if (!server->serving || server->stopped)
        return kofn_error(server->log, KOFN_INVALID, "a step of a server that is not serving");
    if (report && report->size <= sizeof(report->size))
        return kofn_error(server->log, KOFN_INVALID, "the size of a round's report is not set");
    rc = serve_round(server, kofn_deadline(kofn_now_ns(), timeout));
    if (rc)
        return rc;
    kofn__merge_round(server);
    fill_report(server, report);
    open_next(server);
    kofn__report_states(server, server->published_ns);
    return 0;
}

/* Merges what the open round has, so that no finished work is lost to the end of the job. */
static void close_last_round(struct kofn_server *server, uint64_t deadline)
{
    int rc;

    kofn__serve_arrivals(server);
    if (server->round.phase == KOFN_PHASE_OPEN)
        kofn_round_stop(&server->round, kofn_now_ns());
    do { /* an interrupt that has not been seen yet was for a step */
        rc = serve_round(server, deadline);
    } while (rc == KOFN_INTERRUPTED);
    if (rc) /* without those who have not answered by now */
        kofn_round_stop(&server->round, kofn_now_ns());
    kofn__merge_round(server);
    kofn_round_next(&server->round, kofn_now_ns());
    kofn_round_end(&server->round);
}

/* Workers that can be expected to answer to the end of the job. */
static uint32_t answering(const struct kofn_server *server)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        count += kofn_member_available(&server->round.members[rank]);
    return count;
}

int kofn_server_stop(struct kofn_server *server, uint64_t timeout)
{
    uint64_t now = kofn_now_ns(), deadline = kofn_deadline(now, timeout);

    if (server->stopped)
        return 0;
    if (server->serving)
        close_last_round(server, deadline);
    server->stopped = true;
    kofn__serve_gates(server);
    while (answering(server) && now < deadline) {
        int rc = kofn__admit_look(server, now, KOFN_MIN(deadline, now + KOFN_TICK_NS));

        if (rc && rc != KOFN_INTERRUPTED)
            return rc;
        kofn__serve_arrivals(server);
        now = kofn_now_ns();
    }
    return answering(server) ? KOFN_TIMEOUT : 0;
}

void kofn_server_close(struct kofn_server *server)
{
    if (!server)
        return;
    kofn_server_stop(server, STOP_NS);
    kofn__admit_close(server);
    server->hub->ops->hub_close(server->hub);
    kofn_reduce_pool_close(server->pool);
    kofn_round_fini(&server->round);
    free_arrays(server);
    free(server);
}

void kofn_server_interrupt(struct kofn_server *server)
{
    __atomic_store_n(&server->interrupted, true, __ATOMIC_RELAXED);
}
