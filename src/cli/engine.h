/* engine.h: a simulated job, with a server (sim/sim.h) or of peers (sim/peers.h): what its
 * algorithm needs. Functions are those of sim.h, and do the same.
 */
#ifndef KOFN_CLI_ENGINE_H
#define KOFN_CLI_ENGINE_H

#include "cli/conf.h"
#include "cli/terms.h"
#include "sim/peers.h"
#include "sim/sim.h"

struct kofn_engine {
    struct kofn_sim *sim; /* one of these two */
    struct kofn_peers *peers;
    struct kofn_graph graph; /* of the peers */
};

/* The graph that peers of @algorithm have: that of --topology and --root, or its own. Returns what
 * kofn_graph_open() does; logged.
 */
int kofn_engine_graph(const struct kofn_algorithm *algorithm, uint32_t workers,
                      const struct kofn_conf *conf, const struct kofn_log *log,
                      struct kofn_graph *graph);

/* The attributes of the job that @conf and @terms describe; work, its bytes, and who is told are
 * the caller's. It points into @terms.
 */
struct kofn_sim_attr kofn_engine_attr(const struct kofn_conf *conf, const struct kofn_terms *terms);

/* @attr of either; peers have no rounds, and look at what they share with it alone. */
int kofn_engine_open(const struct kofn_sim_attr *attr, const struct kofn_conf *conf,
                     struct kofn_engine *engine);
void kofn_engine_close(struct kofn_engine *engine);

int kofn_engine_step(struct kofn_engine *engine, uint64_t until, uint64_t events,
                     struct kofn_round_report *report);
void kofn_engine_stop(struct kofn_engine *engine);
uint64_t kofn_engine_now(const struct kofn_engine *engine);
uint64_t kofn_engine_events(const struct kofn_engine *engine);
const float *kofn_engine_model(struct kofn_engine *engine);
void kofn_engine_totals(const struct kofn_engine *engine, struct kofn_sim_totals *totals);
uint64_t kofn_engine_merged(const struct kofn_engine *engine, uint32_t rank);
void kofn_engine_members(const struct kofn_engine *engine, struct kofn_member_report *reports);

/* kofn_peers_violation(); NaN where there is a server. */
double kofn_engine_violation(const struct kofn_engine *engine);

#endif
