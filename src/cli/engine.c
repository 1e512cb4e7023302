#include "cli/engine.h"

#include <math.h>
#include <string.h>

#include "algorithms/algorithm.h"

int kofn_engine_graph(const struct kofn_algorithm *algorithm, uint32_t workers,
                      const struct kofn_conf *conf, const struct kofn_log *log,
                      struct kofn_graph *graph)
{
    if (!algorithm->peers->any_graph)
        return kofn_graph_make(algorithm->peers->graph, workers, 0, log, graph);
    return kofn_graph_open(conf->topology, workers, conf->root, log, graph);
}

static double byte_ns(double rate)
{
    return rate > 0 ? 1e9 / rate : 0;
}

struct kofn_sim_attr kofn_engine_attr(const struct kofn_conf *conf, const struct kofn_terms *terms)
{
    return (struct kofn_sim_attr){
        .round = {.algorithm = terms->algorithm,
                  .workers = terms->workers,
                  .wait_for = terms->wait_for,
                  .local_steps = terms->local_steps,
                  .quorum = conf->quorum,
                  .publish = (enum kofn_publish)conf->publish,
                  .weights = (enum kofn_weights)conf->weights,
                  .late = (enum kofn_late)conf->late,
                  .staleness_weight = terms->staleness_weight,
                  .grace = conf->grace,
                  .deadline = conf->deadline.ns,
                  .deadline_adaptive = conf->deadline.adaptive,
                  .suspect_after = terms->suspect_after,
                  .adapt_every = conf->adapt_every,
                  .small_move = conf->small_move},
        .rules = terms->rules,
        .delay = &terms->delay,
        .stragglers = terms->stragglers,
        .straggler_count = terms->straggler_count,
        .net = {.latency_ns = conf->latency,
                .byte_ns = byte_ns(conf->bandwidth),
                .ingest_byte_ns = byte_ns(conf->ingest),
                .loss = conf->loss,
                .ring = conf->collective == KOFN_COLLECTIVE_RING},
        .seed = conf->seed,
        .most_steps = (uint32_t)fmin(conf->step_cap * terms->local_steps, UINT32_MAX),
        .leave_out_most = conf->leave_out_most,
        .learning_rate = conf->lr,
    };
}

static int open_peers(const struct kofn_sim_attr *attr, struct kofn_engine *engine)
{
    const struct kofn_peers_attr peers = {
        .algorithm = attr->round.algorithm,
        .graph = &engine->graph,
        .delay = attr->delay,
        .stragglers = attr->stragglers,
        .straggler_count = attr->straggler_count,
        .net = attr->net,
        .payload_bytes = attr->payload_bytes,
        .seed = attr->seed,
        .learning_rate = attr->learning_rate,
        .work = attr->work,
        .model = attr->model,
        .updated = attr->updated,
        .arg = attr->arg,
        .log = attr->log,
    };

    return kofn_peers_open(&peers, &engine->peers);
}

int kofn_engine_open(const struct kofn_sim_attr *attr, const struct kofn_conf *conf,
                     struct kofn_engine *engine)
{
    int rc;

    memset(engine, 0, sizeof(*engine));
    if (!attr->round.algorithm->peers)
        return kofn_sim_open(attr, &engine->sim);
    rc = kofn_engine_graph(attr->round.algorithm, attr->round.workers, conf, attr->log,
                           &engine->graph);
    if (!rc)
        rc = open_peers(attr, engine);
    if (rc)
        kofn_engine_close(engine);
    return rc;
}

void kofn_engine_close(struct kofn_engine *engine)
{
    kofn_sim_close(engine->sim);
    kofn_peers_close(engine->peers);
    kofn_graph_free(&engine->graph);
    memset(engine, 0, sizeof(*engine));
}

int kofn_engine_step(struct kofn_engine *engine, uint64_t until, uint64_t events,
                     struct kofn_round_report *report)
{
    return engine->peers ? kofn_peers_step(engine->peers, until, events, report)
                         : kofn_sim_step(engine->sim, until, events, report);
}

void kofn_engine_stop(struct kofn_engine *engine)
{
    if (engine->sim)
        kofn_sim_stop(engine->sim);
}

uint64_t kofn_engine_now(const struct kofn_engine *engine)
{
    return engine->peers ? kofn_peers_now(engine->peers) : kofn_sim_now(engine->sim);
}

uint64_t kofn_engine_events(const struct kofn_engine *engine)
{
    return engine->peers ? kofn_peers_events(engine->peers) : kofn_sim_events(engine->sim);
}

const float *kofn_engine_model(struct kofn_engine *engine)
{
    return engine->peers ? kofn_peers_model(engine->peers) : kofn_sim_model(engine->sim);
}

void kofn_engine_totals(const struct kofn_engine *engine, struct kofn_sim_totals *totals)
{
    if (engine->peers)
        kofn_peers_totals(engine->peers, totals);
    else
        kofn_sim_totals(engine->sim, totals);
}

uint64_t kofn_engine_merged(const struct kofn_engine *engine, uint32_t rank)
{
    return engine->peers ? kofn_peers_finished(engine->peers, rank)
                         : kofn_sim_merged(engine->sim, rank);
}

void kofn_engine_members(const struct kofn_engine *engine, struct kofn_member_report *reports)
{
    if (engine->peers)
        kofn_peers_members(engine->peers, reports);
    else
        kofn_sim_members(engine->sim, reports);
}

double kofn_engine_violation(const struct kofn_engine *engine)
{
    return engine->peers ? kofn_peers_violation(engine->peers) : NAN;
}
