/* run_server.c: the server of a job, and the CPUs that it and workers of this host get. */
#include <kofn/kofn.h>
#include <sys/resource.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "cli/run.h"
#include "transports/transport.h"

int kofn_run_place(struct kofn_run *run)
{
    bool here = run->local || run->conf->transport->capabilities & KOFN_CAP_ONE_HOST;
    struct kofn_place_request request = {
        .workers = here ? run->terms.workers : 0, .threads = 1, .server = true};
    int rc;

    rc = kofn_topology_open(run->log, &run->topology);
    if (rc)
        return rc;
    kofn_cpu_quota_read("", run->log, &request.quota);
    rc = kofn_place_choose(run->topology, &request, run->log, &run->map);
    if (!rc && run->conf->pin == KOFN_PIN_AUTO)
        kofn_place_probe(&run->map, run->log); /* a refusal is said once, not by every worker */
    return rc;
}

/* A worker costs the server a handful of descriptors: takes as many as the system lets everybody
 * take. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* if not, opening fails where there are too many */
    }
}

int kofn_run_open_server(struct kofn_run *run, const char *address)
{
    const struct kofn_conf *conf = run->conf;
    char description[KOFN_WORKLOAD_TEXT];
    struct kofn_server_attr attr = {
        .size = sizeof(attr),
        .address = address,
        .workers = run->terms.workers,
        .parameters = run->workload.parameters,
        .algorithm = conf->algorithm->name,
        .over = run->terms.algorithm->over,
        .adapt_every = conf->adapt_every,
        .alpha = run->terms.rules.alpha,
        .beta = run->terms.rules.beta,
        .small_move = conf->small_move,
        .outer_lr = run->terms.rules.outer_lr,
        .outer_momentum = run->terms.rules.outer_momentum,
        .staleness_step = run->terms.rules.staleness_step,
        .screen = run->terms.rules.screen,
        .screen_trim = run->terms.rules.trim,
        .wait_for = run->terms.wait_for,
        .local_steps = run->terms.local_steps,
        .publish = (enum kofn_publish)conf->publish,
        .weights = (enum kofn_weights)conf->weights,
        .late = (enum kofn_late)conf->late,
        .staleness_weight = run->terms.staleness_weight,
        .learning_rate = conf->algorithm->payload == KOFN_PAYLOAD_GRADIENT ? conf->lr : 1,
        .grace = conf->grace,
        .deadline = conf->deadline.ns,
        .deadline_adaptive = conf->deadline.adaptive,
        .quorum = conf->quorum,
        .suspect_after = run->terms.suspect_after,
        .join_timeout = run->local           ? 0
                        : conf->join_timeout ? conf->join_timeout
                                             : KOFN_FOREVER,
        .merge_threads = conf->merge_threads,
        .spin = run->map.spin_ns,
        .log = run->log,
        .transport = conf->transport->name,
        .transport_options = conf->transport_options,
        .workload = kofn_workload_describe(conf, description),
        .peer_timeout = conf->peer_timeout,
        .insecure = conf->insecure,
    };

    if (conf->pin == KOFN_PIN_AUTO &&
        kofn_place_bind_thread(&run->map, kofn_place_server(), run->log))
        return KOFN_SYSTEM;
    raise_limit();
    return kofn_server_open(&attr, &run->server);
}
