/* sim_bytes.c: the arithmetic of a simulation: updates, gradients and models, as src/core has them,
 * summed in the same order.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/distance.h"
#include "sim/inside.h"

static size_t vector_bytes(const struct kofn_sim *sim)
{
    return kofn_round_up(sim->parameters * sizeof(float), KOFN_CACHE_LINE);
}

static float *new_vector(const struct kofn_sim *sim)
{
    float *vector = aligned_alloc(KOFN_CACHE_LINE, vector_bytes(sim));

    if (vector)
        memset(vector, 0, vector_bytes(sim));
    return vector;
}

/* ---- models that somebody computes on ---- */

/* A model to be filled, with one reference; NULL without memory. */
static struct kofn_sim_version *new_version(struct kofn_sim *sim)
{
    struct kofn_sim_version *version = sim->spare;

    if (version)
        sim->spare = version->next;
    else
        version = aligned_alloc(KOFN_CACHE_LINE, sizeof(*version) + vector_bytes(sim));
    if (version)
        version->references = 1;
    return version;
}

static void let_go(struct kofn_sim *sim, struct kofn_sim_version *version)
{
    if (!version || --version->references)
        return;
    version->next = sim->spare;
    sim->spare = version;
}

static int open_worker(struct kofn_sim *sim, struct kofn_sim_worker *worker)
{
    for (uint32_t i = 0; i < sim->depth; i++) {
        worker->buffers[i] = new_vector(sim);
        if (!worker->buffers[i])
            return KOFN_NO_MEMORY;
    }
    if (sim->manners.gradient)
        return 0;
    worker->x = new_vector(sim);
    return worker->x ? 0 : KOFN_NO_MEMORY;
}

/* With a staleness step: merge.c, kofn__merge_remember(). Here, what workers are at is known. */
static int remember(struct kofn_sim *sim, uint32_t version)
{
    uint32_t workers = sim->attr.round.workers;

    if (!sim->versions.list)
        return 0;
    for (uint32_t rank = 0; rank < workers; rank++)
        sim->in_use[rank] = sim->workers[rank].taken;
    return kofn_versions_keep(&sim->versions, version, sim->model->data, sim->in_use, workers);
}

static int open_rules(struct kofn_sim *sim)
{
    const struct kofn_rules *rules = &sim->attr.rules;
    struct kofn_motion motion = kofn_rules_motion(rules, &sim->attr.round);
    uint32_t workers = sim->attr.round.workers;

    sim->anchor = (struct kofn_anchor){
        .rate = motion.rate, .momentum = motion.momentum, .nesterov = motion.nesterov};
    if (kofn_anchor_open(&sim->anchor, sim->parameters) ||
        kofn_screen_open(&sim->screen, rules->screen, rules->trim, sim->parameters, workers))
        return KOFN_NO_MEMORY;
    if (!(rules->staleness_step > 0))
        return 0;
    sim->in_use = calloc(workers, sizeof(*sim->in_use));
    if (!sim->in_use || kofn_versions_open(&sim->versions, sim->parameters, workers))
        return KOFN_NO_MEMORY;
    return remember(sim, 1);
}

double kofn_sim_bytes_damp(void *arg, uint32_t version)
{
    struct kofn_sim *sim = arg;

    if (!sim->versions.list)
        return 1;
    return kofn_rules_damp(sim->attr.rules.staleness_step, sim->attr.learning_rate,
                           kofn_versions_apart(&sim->versions, version));
}

int kofn_sim_bytes_open(struct kofn_sim *sim)
{
    uint32_t workers = sim->attr.round.workers;
    int rc = 0;

    if (!sim->attr.work)
        return 0;
    sim->parameters = sim->attr.work->parameters;
    sim->reduce = kofn_reduce_select();
    sim->late_sum = new_vector(sim);
    sim->late_next = new_vector(sim);
    sim->ranks = calloc(workers + 1, sizeof(*sim->ranks));     /* + 1: the late sum */
    sim->updates = calloc(workers + 2, sizeof(*sim->updates)); /* + 2: a velocity, too */
    sim->weights = calloc(workers + 2, sizeof(*sim->weights));
    sim->model = new_version(sim);
    if (!sim->late_sum || !sim->late_next || !sim->ranks || !sim->updates || !sim->weights ||
        !sim->model)
        return KOFN_NO_MEMORY;
    memcpy(sim->model->data, sim->attr.model, sim->parameters * sizeof(float));
    rc = open_rules(sim);
    for (uint32_t rank = 0; rank < workers && !rc; rank++)
        rc = open_worker(sim, &sim->workers[rank]);
    return rc;
}

void kofn_sim_bytes_close(struct kofn_sim *sim)
{
    for (uint32_t rank = 0; sim->workers && rank < sim->attr.round.workers; rank++) {
        struct kofn_sim_worker *worker = &sim->workers[rank];

        bool computes = worker->activity == KOFN_SIM_COMPUTES || worker->activity == KOFN_SIM_CUT;

        if (sim->attr.work && computes && worker->version)
            sim->attr.work->drop(sim->attr.work->arg, rank);
        let_go(sim, worker->version);
        for (uint32_t i = 0; i < sim->depth; i++)
            free(worker->buffers[i]);
        free(worker->x);
    }
    let_go(sim, sim->model);
    while (sim->spare) {
        struct kofn_sim_version *version = sim->spare;

        sim->spare = version->next;
        free(version);
    }
    kofn_anchor_close(&sim->anchor);
    kofn_screen_close(&sim->screen);
    kofn_versions_close(&sim->versions);
    free(sim->in_use);
    free(sim->late_sum);
    free(sim->late_next);
    free(sim->ranks);
    free(sim->updates);
    free(sim->weights);
}

/* ---- workers ---- */

void kofn_sim_bytes_take(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (!sim->parameters)
        return;
    let_go(sim, worker->version);
    worker->version = sim->model;
    worker->version->references++;
    if (!sim->manners.gradient)
        memcpy(worker->x, worker->version->data, sim->parameters * sizeof(float));
    sim->attr.work->fresh(sim->attr.work->arg, rank);
}

void kofn_sim_bytes_pull(struct kofn_sim *sim, uint32_t rank, uint64_t sequence)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];

    if (!sim->parameters)
        return;
    let_go(sim, worker->version);
    worker->version = sim->model;
    worker->version->references++;
    kofn_anchor_pull(worker->x, worker->buffers[sequence % sim->depth], sim->model->data,
                     sim->attr.rules.alpha, sim->parameters);
}

void kofn_sim_bytes_begin(struct kofn_sim *sim, uint32_t rank, uint64_t due)
{
    const struct kofn_sim_worker *worker = &sim->workers[rank];

    if (sim->parameters)
        sim->attr.work->begin(sim->attr.work->arg, rank,
                              sim->manners.gradient ? worker->version->data : worker->x, due);
}

void kofn_sim_bytes_drop(struct kofn_sim *sim, uint32_t rank)
{
    if (sim->parameters)
        sim->attr.work->drop(sim->attr.work->arg, rank);
}

float kofn_sim_bytes_finish(struct kofn_sim *sim, uint32_t rank)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    const struct kofn_sim_work *work = sim->attr.work;

    if (!sim->parameters)
        return NAN;
    if (sim->manners.gradient)
        return work->gradient(work->arg, rank,
                              worker->buffers[(worker->sequence + 1) % sim->depth]);
    return work->step(work->arg, rank, worker->x);
}

/* publish.c, kofn__publish_all() and fill_remainder() */
void kofn_sim_bytes_fill(struct kofn_sim *sim, uint32_t rank, uint64_t sequence, uint64_t settled)
{
    struct kofn_sim_worker *worker = &sim->workers[rank];
    float *buffer = worker->buffers[sequence % sim->depth];
    const float *sent = worker->buffers[settled % sim->depth];

    if (!sim->parameters || sim->manners.gradient)
        return;
    if (!settled) {
        sim->reduce->delta[KOFN_F32](buffer, worker->x, worker->version->data, sim->parameters,
                                     false);
    } else if (buffer == sent) {
        sim->reduce->delta_sub(buffer, worker->x, worker->version->data, sim->parameters);
    } else {
        const void *subtracted[] = {worker->version->data, sent};
        const float minus[] = {-1, -1};
        struct kofn_merge merge = {buffer, worker->x, subtracted, minus, 2, false};

        sim->reduce->merge[KOFN_F32](&merge, 0, sim->parameters);
    }
}

/* ---- the server ---- */

static const float *payload(const struct kofn_sim *sim, uint32_t rank, uint64_t sequence)
{
    return sim->workers[rank].buffers[sequence % sim->depth];
}

bool kofn_sim_bytes_sum(struct kofn_sim *sim, uint32_t rank, uint64_t sequence, float factor)
{
    struct kofn_merge merge;
    const void *update;

    if (!sim->parameters)
        return true;
    update = payload(sim, rank, sequence);
    merge = (struct kofn_merge){.out = sim->late_next,
                                .base = sim->late_any ? sim->late_sum : NULL,
                                .updates = &update,
                                .weights = &factor,
                                .count = 1};
    if (!sim->reduce->merge[KOFN_F32](&merge, 0, sim->parameters))
        return false;
    merge.out = sim->late_sum;
    sim->late_sum = sim->late_next;
    sim->late_next = merge.out;
    sim->late_any = true;
    return true;
}

static size_t gather(struct kofn_sim *sim)
{
    double factor = sim->manners.gradient ? -sim->attr.learning_rate : 1;
    size_t count = 0;

    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++) {
        const struct kofn_stamp *held = &sim->round.members[rank].held;

        if (!held->sequence)
            continue;
        sim->ranks[count] = rank;
        sim->updates[count] = payload(sim, rank, held->sequence);
        sim->weights[count] = (float)(factor * kofn_round_weight(&sim->round, rank));
        count++;
    }
    if (sim->late_any) {
        sim->ranks[count] = UINT32_MAX;
        sim->updates[count] = sim->late_sum;
        sim->weights[count] = (float)(factor * kofn_round_late_scale(&sim->round));
        count++;
    }
    return count;
}

/* Refuses members whose updates are not finite. Returns how many. */
static size_t reject_bad(struct kofn_sim *sim, size_t count)
{
    size_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        if (sim->ranks[i] == UINT32_MAX ||
            sim->reduce->all_finite[KOFN_F32](sim->updates[i], sim->parameters))
            continue;
        kofn_sim_reject(sim, sim->ranks[i]);
        bad++;
    }
    return bad;
}

/* merge.c, screen() */
static size_t screen(struct kofn_sim *sim, size_t count, const void **update, float *weight)
{
    if (!count)
        return 0;
    *update = kofn_screen_updates(&sim->screen, sim->updates, count);
    *weight = sim->manners.gradient ? (float)-sim->attr.learning_rate : 1;
    return 1;
}

static bool merge_all(void *arg, const struct kofn_merge *merge)
{
    const struct kofn_sim *sim = arg;

    return sim->reduce->merge[KOFN_F32](merge, 0, sim->parameters);
}

/* The next model, of all that can be merged, to @out. */
static bool merge_good(struct kofn_sim *sim, float *out)
{
    bool screens = sim->screen.kind != KOFN_SCREENING_NONE;
    const void *one[2], **updates = screens ? one : sim->updates;
    float factor[2], *weights = screens ? factor : sim->weights;
    size_t count;
    bool finite;

    do {
        count = gather(sim);
        if (screens && reject_bad(sim, count))
            count = gather(sim);
        finite = kofn_anchor_merge(&sim->anchor, merge_all, sim, out, sim->model->data, updates,
                                   weights, screens ? screen(sim, count, one, factor) : count);
    } while (!finite && reject_bad(sim, count));
    if (finite && count)
        kofn_anchor_commit(&sim->anchor);
    return finite;
}

/* merge.c, make_model() */
static void make_model(struct kofn_sim *sim, float *out)
{
    bool finite = merge_good(sim, out);

    if (!finite && sim->late_any) {
        kofn_round_reject_sum(&sim->round);
        sim->late_any = false;
        finite = merge_good(sim, out);
    }
    if (finite)
        return;
    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++)
        if (sim->round.members[rank].held.sequence)
            kofn_sim_reject(sim, rank);
    memcpy(out, sim->model->data, sim->parameters * sizeof(float));
}

void kofn_sim_bytes_merge(struct kofn_sim *sim)
{
    struct kofn_sim_version *next;

    if (!sim->parameters)
        return;
    next = new_version(sim);
    if (!next) {
        sim->status = kofn_error(sim->log, KOFN_NO_MEMORY, "simulation: a model of %zu parameters",
                                 sim->parameters);
        return;
    }
    make_model(sim, next->data);
    if (sim->algorithm->measures)
        sim->round.moved =
            sqrt(kofn_distance_squared(next->data, sim->model->data, sim->parameters));
    sim->late_any = false;
    let_go(sim, sim->model);
    sim->model = next;
    if (remember(sim, sim->round.number + 1))
        sim->status = kofn_error(sim->log, KOFN_NO_MEMORY, "simulation: a model of %zu parameters",
                                 sim->parameters);
}
