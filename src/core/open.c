/* open.c: how a server comes to be: its attributes judged, its parts opened; and how it ends. */
#include "core/server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/attr.h"

#define DEFAULT_GRACE (250 * KOFN_NS_PER_MS)
#define DEFAULT_SUSPECT (2 * KOFN_NS_PER_S)
#define DEFAULT_JOIN (30 * KOFN_NS_PER_S)
#define DEFAULT_PEER (10 * KOFN_NS_PER_S)

/* NULL if there is none of that name, or not over that one. */
static const struct kofn_algorithm *algorithm_of(const struct kofn_server_attr *attr)
{
    return kofn_algorithm_over(kofn_algorithm_find(attr->algorithm), attr->over);
}

static void fill_defaults(struct kofn_server_attr *attr)
{
    const struct kofn_algorithm *algorithm;

    if (!attr->algorithm)
        attr->algorithm = "stsyn";
    algorithm = algorithm_of(attr);
    if (!attr->wait_for)
        attr->wait_for = algorithm && algorithm->adapt ? 1 : attr->workers;
    attr->local_steps = attr->local_steps ? attr->local_steps : 1;
    attr->quorum = attr->quorum ? attr->quorum : 1;
    attr->grace = attr->grace ? attr->grace : DEFAULT_GRACE;
    attr->suspect_after = attr->suspect_after ? attr->suspect_after : DEFAULT_SUSPECT;
    attr->join_timeout = attr->join_timeout ? attr->join_timeout : DEFAULT_JOIN;
    attr->peer_timeout = attr->peer_timeout ? attr->peer_timeout : DEFAULT_PEER;
    attr->merge_threads = attr->merge_threads ? attr->merge_threads : 1;
    attr->learning_rate = attr->learning_rate != 0 ? attr->learning_rate : 1;
    if (!(attr->alpha != 0) && attr->workers)
        attr->alpha = kofn_rules_alpha(algorithm, attr->workers);
    attr->small_move = attr->small_move != 0 ? attr->small_move : KOFN_SMALL_MOVE;
}

/* An attribute that cannot be: says which and why. */
static int check_algorithm(const struct kofn_server_attr *attr,
                           const struct kofn_algorithm *algorithm)
{
    if (!algorithm)
        return kofn_error(attr->log, KOFN_INVALID, "unknown algorithm '%s'%s%s", attr->algorithm,
                          attr->over ? " over " : "", attr->over ? attr->over : "");
    if (algorithm->peers)
        return kofn_error(attr->log, KOFN_INVALID,
                          "%s is an algorithm of peers: it has no server; kofn run and kofn sim "
                          "run it",
                          algorithm->name);
    if (algorithm->needs_all && attr->wait_for != attr->workers)
        return kofn_error(attr->log, KOFN_INVALID, "%s waits for all: K = %u must be N = %u",
                          algorithm->name, attr->wait_for, attr->workers);
    if (!kofn_algorithm_counts_batches(algorithm) && attr->wait_for > attr->workers)
        return kofn_error(attr->log, KOFN_INVALID, "K = %u is more than the N = %u workers",
                          attr->wait_for, attr->workers);
    if (algorithm->eager && attr->publish != KOFN_PUBLISH_EAGER)
        return kofn_error(attr->log, KOFN_INVALID, "%s publishes eagerly, and cannot otherwise",
                          algorithm->name);
    if (algorithm->ahead && attr->alpha >= 1)
        return kofn_error(attr->log, KOFN_INVALID, "alpha = %g of %s: must be below 1", attr->alpha,
                          algorithm->name);
    if (algorithm->elastic && attr->alpha * attr->workers > 1)
        return kofn_error(attr->log, KOFN_INVALID, "alpha = %g of %s: must be at most 1/N",
                          attr->alpha, algorithm->name);
    if (algorithm->ahead && (attr->outer_lr > 0 || attr->outer_momentum > 0))
        return kofn_error(attr->log, KOFN_INVALID, "%s has an anchor, and no outer step",
                          algorithm->name);
    if (attr->staleness_step > 0 &&
        (!algorithm->stale || algorithm->payload != KOFN_PAYLOAD_GRADIENT))
        return kofn_error(attr->log, KOFN_INVALID,
                          "%s merges no stale gradients: staleness_step = %g", algorithm->name,
                          attr->staleness_step);
    if (attr->screen != KOFN_SCREENING_NONE &&
        (kofn_algorithm_adds(algorithm) ||
         (attr->late != KOFN_LATE_REFUSE && !algorithm->stale && !algorithm->cancels)))
        return kofn_error(attr->log, KOFN_INVALID,
                          "%s: only updates that are held until the round closes are screened, not "
                          "late ones, nor those that are added as they come",
                          algorithm->name);
    if (attr->screen != KOFN_SCREENING_NONE &&
        (attr->staleness_step > 0 || attr->weights == KOFN_WEIGHTS_FEDNOVA))
        return kofn_error(attr->log, KOFN_INVALID, "what is screened is not weighed");
    if (attr->screen == KOFN_SCREENING_TRIMMED &&
        (!attr->screen_trim || attr->screen_trim > (attr->wait_for - 1) / 2))
        return kofn_error(attr->log, KOFN_INVALID,
                          "of K = %u updates %u cannot be left out at either end", attr->wait_for,
                          attr->screen_trim);
    if (algorithm->single_step && attr->local_steps != 1)
        return kofn_error(attr->log, KOFN_INVALID, "%s has one local update a round, not %u",
                          algorithm->name, attr->local_steps);
    return 0;
}

static int check_choices(const struct kofn_server_attr *attr)
{
    if ((unsigned)attr->publish > KOFN_PUBLISH_PULL ||
        (unsigned)attr->weights > KOFN_WEIGHTS_FEDNOVA || (unsigned)attr->late > KOFN_LATE_REFUSE ||
        (unsigned)attr->screen > KOFN_SCREENING_TRIMMED)
        return kofn_error(attr->log, KOFN_INVALID,
                          "publish = %d, weights = %d, late = %d: not all of them are choices",
                          (int)attr->publish, (int)attr->weights, (int)attr->late);
    return 0;
}

/* Offers with descriptors cannot travel over a network; the others need one to know where to go. */
static int check_transport(const struct kofn_server_attr *attr,
                           const struct kofn_transport_ops *transport)
{
    bool here = transport->capabilities & KOFN_CAP_ONE_HOST;

    if (attr->address && kofn_address_network(attr->address) == here)
        return kofn_error(attr->log, KOFN_INVALID,
                          "transport %s has addresses of the form %s, not '%.120s'",
                          transport->name, here ? "shm:NAME" : "tcp:HOST:PORT", attr->address);
    if (attr->publish == KOFN_PUBLISH_PULL && !(transport->capabilities & KOFN_CAP_READ))
        return kofn_error(attr->log, KOFN_UNSUPPORTED,
                          "transport %s cannot read what workers keep: publish eagerly, or on "
                          "close",
                          transport->name);
    if (attr->workload && strlen(attr->workload) >= KOFN_WIRE_TEXT_BYTES)
        return kofn_error(attr->log, KOFN_INVALID, "the workload has %zu bytes, more than %u",
                          strlen(attr->workload), KOFN_WIRE_TEXT_BYTES - 1);
    return 0;
}

static int check_numbers(const struct kofn_server_attr *attr)
{
    if (!attr->workers || attr->workers > KOFN_WORKERS_MAX)
        return kofn_error(attr->log, KOFN_INVALID, "N = %u workers: must be 1 to %u", attr->workers,
                          KOFN_WORKERS_MAX);
    if (attr->wait_for > KOFN_WAIT_FOR_MAX)
        return kofn_error(attr->log, KOFN_INVALID, "K = %u: must be at most %u", attr->wait_for,
                          KOFN_WAIT_FOR_MAX);
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
    if (!(attr->alpha > 0) || attr->alpha > 1)
        return kofn_error(attr->log, KOFN_INVALID, "alpha = %g: must be above 0, and at most 1",
                          attr->alpha);
    if (!(attr->staleness_step >= 0))
        return kofn_error(attr->log, KOFN_INVALID, "staleness_step = %g: must be 0 or more",
                          attr->staleness_step);
    if (!(attr->small_move > 0))
        return kofn_error(attr->log, KOFN_INVALID, "small_move = %g: must be above 0",
                          attr->small_move);
    if (!(attr->outer_lr >= 0) || !(attr->outer_momentum >= 0) || attr->outer_momentum >= 1)
        return kofn_error(
            attr->log, KOFN_INVALID,
            "outer_lr = %g must be above 0, outer_momentum = %g 0 or more and below 1",
            attr->outer_lr, attr->outer_momentum);
    if (!(attr->beta >= 0) || attr->beta >= 1)
        return kofn_error(attr->log, KOFN_INVALID, "beta = %g: must be 0 or more, and below 1",
                          attr->beta);
    return 0;
}

static int check(const struct kofn_server_attr *attr, const struct kofn_transport_ops *transport)
{
    int rc = check_numbers(attr);

    rc = rc ? rc : check_transport(attr, transport);
    rc = rc ? rc : check_choices(attr);
    return rc ? rc : check_algorithm(attr, algorithm_of(attr));
}

static int open_hub(struct kofn_server *server, const struct kofn_transport_ops *transport,
                    void *context)
{
    bool pull = server->attr.publish == KOFN_PUBLISH_PULL;
    struct kofn_hub_attr hub = {.workers = server->attr.workers,
                                .pull = pull,
                                .credits_with_round =
                                    algorithm_of(&server->attr)->worker_may == KOFN_WORKER_FETCHES,
                                .numa_node = -1,
                                .spin = server->attr.spin,
                                .bind = *server->listener.host ? server->listener.host : NULL,
                                .peer_timeout = server->attr.peer_timeout,
                                .options = server->attr.transport_options,
                                .context = context,
                                .log = server->log};
    uint64_t bytes = server->attr.parameters * sizeof(float);
    int rc;

    if (server->attr.parameters > KOFN_PAYLOAD_MAX / sizeof(float) ||
        kofn_geometry_init(&hub.slot, bytes, pull ? KOFN_DEPTH_PULL : KOFN_DEPTH) ||
        kofn_geometry_init(&hub.model, bytes, KOFN_DEPTH))
        return kofn_error(server->log, KOFN_INVALID, "a model of %llu parameters",
                          (unsigned long long)server->attr.parameters);
    rc = transport->hub_open(&hub, &server->hub);
    if (!rc)
        server->hub->gates_follow = true; /* a receipt settles a publication: its release follows */
    return rc;
}

/* kofn_round_config.damp */
static double damp(void *arg, uint32_t version)
{
    struct kofn_server *server = arg;

    return kofn_rules_damp(server->attr.staleness_step, server->attr.learning_rate,
                           kofn_versions_apart(&server->versions, version));
}

static int open_round(struct kofn_server *server)
{
    const struct kofn_server_attr *attr = &server->attr;
    struct kofn_round_config config = {.algorithm = algorithm_of(attr),
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
                                       .suspect_after = attr->suspect_after,
                                       .adapt_every = attr->adapt_every,
                                       .damp = attr->staleness_step > 0 ? damp : NULL,
                                       .damp_arg = server,
                                       .small_move = attr->small_move};

    return kofn_round_init(&server->round, &config);
}

static void close_anchor(struct kofn_server *server)
{
    kofn_versions_close(&server->versions);
    kofn_screen_close(&server->screen);
    kofn_anchor_close(&server->anchor);
}

/* What moves the model: the mean of the updates, or with it a momentum. */
static int open_anchor(struct kofn_server *server)
{
    struct kofn_motion motion;

    server->rules = (struct kofn_rules){.alpha = server->attr.alpha,
                                        .beta = server->attr.beta,
                                        .outer_lr = server->attr.outer_lr,
                                        .outer_momentum = server->attr.outer_momentum};
    motion = kofn_rules_motion(&server->rules, &server->round.config);
    server->anchor = (struct kofn_anchor){
        .rate = motion.rate, .momentum = motion.momentum, .nesterov = motion.nesterov};
    if (!kofn_anchor_open(&server->anchor, server->attr.parameters) &&
        !kofn_screen_open(&server->screen, server->attr.screen, server->attr.screen_trim,
                          server->attr.parameters, server->attr.workers) &&
        (!(server->attr.staleness_step > 0) ||
         !kofn_versions_open(&server->versions, server->attr.parameters, server->attr.workers)))
        return 0;
    close_anchor(server);
    return kofn_error(server->log, KOFN_NO_MEMORY, "server: a momentum of %llu parameters",
                      (unsigned long long)server->attr.parameters);
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
    free(server->in_use);
    free(server->late_sum);
    free(server->late_next);
    server->peers = NULL; /* closing looks at it */
}

static int allocate_arrays(struct kofn_server *server)
{
    size_t n = server->attr.workers;
    size_t bytes = kofn_round_up(server->attr.parameters * sizeof(float), KOFN_CACHE_LINE);

    server->peers = calloc(n, sizeof(*server->peers));
    server->beats_seen = calloc(n, sizeof(*server->beats_seen));
    server->beats_changed = calloc(n, sizeof(*server->beats_changed));
    server->ranks = calloc(n + 1, sizeof(*server->ranks)); /* + 1: the late sum; + 1: a velocity */
    server->updates = calloc(n + 2, sizeof(*server->updates));
    server->weights = calloc(n + 2, sizeof(*server->weights));
    server->in_use = calloc(n, sizeof(*server->in_use));
    server->late_sum = aligned_alloc(KOFN_CACHE_LINE, bytes); /* touched where something is late */
    server->late_next = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (!server->peers || !server->beats_seen || !server->beats_changed || !server->ranks ||
        !server->updates || !server->weights || !server->in_use || !server->late_sum ||
        !server->late_next) {
        free_arrays(server);
        return kofn_error(server->log, KOFN_NO_MEMORY, "server: %zu workers, %llu parameters", n,
                          (unsigned long long)server->attr.parameters);
    }
    for (size_t rank = 0; rank < n; rank++)
        server->peers[rank].pidfd = -1;
    return 0;
}

static int open_parts(struct kofn_server *server, const struct kofn_transport_ops *transport,
                      void *context)
{
    int rc;

    rc = kofn__admit_open(server, !(transport->capabilities & KOFN_CAP_ONE_HOST));
    if (rc)
        return rc;
    rc = open_hub(server, transport, context);
    if (rc)
        goto close_admit;
    rc = open_round(server);
    if (rc)
        goto close_hub;
    rc = open_pool(server);
    if (rc)
        goto close_round;
    rc = open_anchor(server);
    if (rc)
        goto close_pool;
    rc = allocate_arrays(server);
    if (rc)
        goto close_anchor;
    return 0;

close_anchor:
    close_anchor(server);
close_pool:
    kofn_reduce_pool_close(server->pool);
close_round:
    kofn_round_fini(&server->round);
close_hub:
    server->hub->ops->hub_close(server->hub);
close_admit:
    kofn__admit_close(server);
    return rc;
}

void kofn__server_free(struct kofn_server *server)
{
    kofn__admit_close(server);
    server->hub->ops->hub_close(server->hub);
    close_anchor(server);
    kofn_reduce_pool_close(server->pool);
    kofn_round_fini(&server->round);
    free_arrays(server);
    free(server);
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
    rc = check(&server->attr, transport);
    if (!rc && known.workload)
        snprintf(server->workload, sizeof(server->workload), "%s", known.workload);
    if (!rc)
        rc = open_parts(server, transport, context);
    if (rc) {
        free(server);
        return rc;
    }
    *server_p = server;
    return 0;
}

/* The transport that was asked for, or the one that goes with the address; logs if there is none.
 */
static const struct kofn_transport_ops *choose(const struct kofn_server_attr *attr)
{
    const char *name = attr->transport;
    const struct kofn_transport_ops *ops;

    if (!name)
        name = attr->address && kofn_address_network(attr->address) ? "tcp" : "shm";
    ops = kofn_transport_find(name);
    if (!ops)
        kofn_error(attr->log, KOFN_UNSUPPORTED, "there is no transport %.32s in this build", name);
    return ops;
}

int kofn_server_open(const struct kofn_server_attr *attr, struct kofn_server **server_p)
{
    struct kofn_server_attr known;
    const struct kofn_transport_ops *transport;

    if (kofn__attr_take(attr, &known, sizeof(known)))
        return kofn__server_open(attr, NULL, NULL, server_p); /* which says what is wrong */
    transport = choose(&known);
    return transport ? kofn__server_open(attr, transport, NULL, server_p) : KOFN_UNSUPPORTED;
}
