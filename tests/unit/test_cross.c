/* The simulation and the real engines are one thing: with the same seed and delays, the real server
 * and workers over the self transport close the same rounds with the same members, merged with the
 * same weights, as the simulation does.
 *
 * The script here is a virtual clock of its own, and as short as can be: the worker whose update
 * ends next reports it, everything arrives, the server looks, and whoever is cut off or waits takes
 * the next model. What was merged is read off the model (engine.h).
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <string.h>

#include "algorithms/node.h"
#include "tests/unit/engine.h"
#include "tests/unit/sim_fixture.h"

#define ROUNDS 40
#define ANY_MOVE 1e30 /* every move is small: the models of the two are not the same */

/* A closed round: local updates merged of each worker, and the weight of each. */
struct closed {
    uint32_t wait_for;
    uint32_t updates[ENGINE_WORKERS];
    double weight[ENGINE_WORKERS];
    double staleness;
};

struct job {
    const char *algorithm, *over; /* over: of adasync */
    uint32_t workers, wait_for, local_steps;
    enum kofn_publish publish;
    enum kofn_weights weights;
    const char *delay;
};

struct log {
    struct closed rounds[ROUNDS];
    uint32_t count;
    uint32_t finished[ENGINE_WORKERS];
};

/* ---- simulated ---- */

static void note_simulated(void *arg, const struct kofn_round *round)
{
    struct log *log = arg;

    if (log->count == ROUNDS)
        return;
    log->rounds[log->count].wait_for = round->wait_for;
    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        const struct kofn_stamp *held = &round->members[rank].held;

        if (held->sequence) {
            log->rounds[log->count].updates[rank] = held->updates;
            log->rounds[log->count].weight[rank] = kofn_round_weight(round, rank);
        } else if (round->members[rank].added_updates) {
            log->rounds[log->count].updates[rank] = (uint32_t)round->members[rank].added_updates;
            log->rounds[log->count].weight[rank] = kofn_round_late_scale(round);
        }
    }
    log->count++;
}

/* Arithmetic that has nothing but the losses that engine.h has when they fall. */

static void fresh(void *arg, uint32_t rank)
{
    (void)arg, (void)rank;
}

static void begin(void *arg, uint32_t rank, const float *x, uint64_t due)
{
    (void)arg, (void)rank, (void)x, (void)due;
}

static float finish(void *arg, uint32_t rank, float *vector)
{
    struct log *log = arg;

    *vector = 0;
    return 1 / (1 + (float)log->finished[rank]++);
}

static void simulate(const struct job *job, uint64_t seed, struct log *log)
{
    const struct kofn_sim_work work = {.parameters = 1,
                                       .fresh = fresh,
                                       .begin = begin,
                                       .step = finish,
                                       .gradient = finish,
                                       .drop = fresh,
                                       .arg = log};
    const float model = 0;
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct kofn_round_report report;
    struct kofn_sim *sim;

    sim_delay(job->delay, &delay);
    attr = sim_attr(job->algorithm, job->workers, job->wait_for, job->local_steps, &delay);
    attr.round.algorithm = kofn_algorithm_over(attr.round.algorithm, job->over);
    attr.round.publish = job->publish;
    attr.round.weights = job->weights;
    attr.round.small_move = ANY_MOVE;
    attr.rules.alpha = kofn_rules_alpha(attr.round.algorithm, job->workers);
    attr.seed = seed;
    attr.work = &work;
    attr.model = &model;
    attr.closed = note_simulated;
    attr.arg = log;
    sim = sim_open(&attr);
    while (log->count < ROUNDS) {
        sim_next(sim, &report);
        log->rounds[log->count - 1].staleness = report.staleness;
    }
    kofn_sim_close(sim);
}

/* ---- real ---- */

struct script {
    struct engine engine;
    struct kofn_delay delay;
    struct kofn_delay_source sources[ENGINE_WORKERS];
    uint64_t due[ENGINE_WORKERS]; /* KOFN_FOREVER: it waits */
    uint64_t now;
    uint32_t known[ENGINE_WORKERS]; /* updates that have been read off the model */
    double scale;                   /* of what is read */
    uint32_t workers;
};

static void start_update(struct script *script, uint32_t rank)
{
    uint32_t round = script->engine.workers[rank].round;
    double ns = kofn_delay_next(&script->delay, &script->sources[rank], round);

    script->due[rank] = script->now + (uint64_t)(ns + 0.5);
}

/* Everybody who is cut off, or waits, takes the next model if there is one. */
static bool take_all(struct script *script)
{
    bool any = false;

    engine_deliver(&script->engine);
    for (uint32_t rank = 0; rank < script->workers; rank++) {
        struct kofn_worker *handle = script->engine.workers[rank].handle;

        if (script->due[rank] != KOFN_FOREVER && !kofn_worker_check(handle))
            continue;
        script->due[rank] = KOFN_FOREVER;
        if (engine_take(&script->engine, rank))
            continue;
        start_update(script, rank);
        any = true;
    }
    return any;
}

/* What the model has that it had not before. */
static void read_model(struct script *script, struct closed *closed)
{
    for (uint32_t rank = 0; rank < script->workers; rank++)
        for (;;) {
            float weight = engine_merged(&script->engine, rank, script->known[rank]);

            if (weight == 0)
                break;
            script->known[rank]++;
            closed->updates[rank]++;
            closed->weight[rank] = (double)weight / script->scale;
        }
}

/* Updates that were finished but not merged have a place in the model that stays empty; where
 * nobody is cut off, it is only empty yet.
 */
static void skip_unmerged(struct script *script)
{
    const struct kofn_algorithm *algorithm = script->engine.server->round.config.algorithm;

    if (algorithm->ahead || algorithm->stale)
        return;
    for (uint32_t rank = 0; rank < script->workers; rank++)
        script->known[rank] = script->engine.workers[rank].finished;
}

/* One event, and all that follows from it at the same moment. */
static void happen(struct script *script, struct log *log)
{
    struct kofn_round_report report = {.size = sizeof(report)};
    uint32_t next = 0;

    for (uint32_t rank = 1; rank < script->workers; rank++)
        if (script->due[rank] < script->due[next])
            next = rank;
    CU_ASSERT_NOT_EQUAL_FATAL(script->due[next], KOFN_FOREVER);
    script->now = script->due[next];
    if (engine_update(&script->engine, next) == 0)
        start_update(script, next);
    else
        script->due[next] = KOFN_FOREVER;
    for (int again = 0; again < 4; again++) {
        engine_deliver(&script->engine);
        take_all(script); /* what has been sent is not in a model yet */
        if (!engine_step(&script->engine, &report)) {
            if (log->count < ROUNDS) {
                read_model(script, &log->rounds[log->count]);
                log->rounds[log->count].wait_for = report.wait_for;
                log->rounds[log->count].staleness = report.staleness;
            }
            log->count++;
            skip_unmerged(script);
        }
        take_all(script);
    }
}

/* What the model gets of 1 that a worker adds to its own, times N: of an anchor, what a pullback
 * leaves; of a centre, what springs pull.
 */
static double scale_of(const struct engine *engine)
{
    const struct kofn_server *server = engine->server;

    if (server->round.config.algorithm->elastic)
        return server->rules.alpha * server->attr.workers;
    return server->round.config.algorithm->ahead ? 1 - server->rules.alpha : 1;
}

static void act(const struct job *job, uint64_t seed, struct log *log)
{
    static struct script script;
    struct kofn_server_attr attr =
        engine_attr(job->algorithm, job->workers, job->wait_for, job->local_steps);

    memset(&script, 0, sizeof(script));
    attr.over = job->over;
    attr.publish = job->publish;
    attr.weights = job->weights;
    attr.small_move = ANY_MOVE;
    script.workers = job->workers;
    script.now = 1;
    sim_delay(job->delay, &script.delay);
    engine_open(&script.engine, &attr);
    script.engine.falls = true;
    script.scale = scale_of(&script.engine);
    for (uint32_t rank = 0; rank < job->workers; rank++) {
        kofn_delay_source_init(&script.sources[rank], seed, rank);
        script.due[rank] = KOFN_FOREVER;
    }
    take_all(&script);
    while (log->count < ROUNDS)
        happen(&script, log);
    engine_close(&script.engine);
}

/* ---- compared ---- */

static void compare(const struct job *job, uint64_t seed)
{
    struct log simulated = {0}, real = {0};

    simulate(job, seed, &simulated);
    act(job, seed, &real);
    for (uint32_t i = 0; i < ROUNDS; i++)
        CU_ASSERT_EQUAL(simulated.rounds[i].wait_for, real.rounds[i].wait_for);
    for (uint32_t i = 0; i < ROUNDS; i++)
        CU_ASSERT_DOUBLE_EQUAL(simulated.rounds[i].staleness, real.rounds[i].staleness, 1e-6);
    CU_ASSERT_EQUAL(!kofn_algorithm_find(job->algorithm)->adapt,
                    real.rounds[0].wait_for == real.rounds[ROUNDS - 1].wait_for); /* it grows */
    for (uint32_t i = 0; i < ROUNDS; i++)
        for (uint32_t rank = 0; rank < job->workers; rank++) {
            const struct closed *a = &simulated.rounds[i], *b = &real.rounds[i];

            CU_ASSERT_DOUBLE_EQUAL(a->weight[rank], b->weight[rank], 1e-6);
            if (a->updates[rank] == b->updates[rank])
                continue;
            printf("# %s, seed %llu, round %u, rank %u: %u updates simulated, %u real\n",
                   job->algorithm, (unsigned long long)seed, i + 1, rank, a->updates[rank],
                   b->updates[rank]);
            CU_FAIL_FATAL("the simulation and the engines differ");
        }
}

static const struct job jobs[] = {
    {"sync", NULL, 4, 4, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"sync", NULL, 4, 4, 1, KOFN_PUBLISH_ON_CLOSE, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"local", NULL, 4, 4, 5, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "pareto:2,1ms"},
    {"local", NULL, 4, 4, 5, KOFN_PUBLISH_ON_CLOSE, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"ksync", NULL, 4, 2, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"kbatch-sync", NULL, 4, 3, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"kbatch-sync", NULL, 3, 7, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "uniform:1ms,2ms"},
    {"kasync", NULL, 4, 1, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"kasync", NULL, 4, 3, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "pareto:2,1ms"},
    {"kbatch-async", NULL, 4, 1, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"kbatch-async", NULL, 4, 5, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM,
     "shifted-exp:1ms,1ms"},
    {"adasync", "ksync", 4, 1, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"adasync", "kbatch-sync", 4, 1, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"adasync", "kasync", 4, 1, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"adasync", "kbatch-async", 4, 1, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"stsyn", NULL, 4, 2, 3, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"stsyn", NULL, 4, 3, 4, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_FEDNOVA, "exp:1ms"},
    {"stsyn", NULL, 4, 2, 3, KOFN_PUBLISH_ON_CLOSE, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"stsyn", NULL, 3, 3, 4, KOFN_PUBLISH_ON_CLOSE, KOFN_WEIGHTS_FEDNOVA, "shifted-exp:1ms,1ms"},
    {"sync", NULL, 4, 4, 1, KOFN_PUBLISH_PULL, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"local", NULL, 4, 4, 5, KOFN_PUBLISH_PULL, KOFN_WEIGHTS_UNIFORM, "pareto:2,1ms"},
    {"stsyn", NULL, 4, 2, 3, KOFN_PUBLISH_PULL, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"stsyn", NULL, 3, 3, 4, KOFN_PUBLISH_PULL, KOFN_WEIGHTS_FEDNOVA, "shifted-exp:1ms,1ms"},
    {"stsyn", NULL, 4, 1, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "uniform:1ms,3ms@round"},
    {"overlap", NULL, 4, 4, 3, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"easgd", NULL, 4, 4, 2, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"adacomm", NULL, 4, 4, 5, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"adacomm", NULL, 4, 4, 5, KOFN_PUBLISH_ON_CLOSE, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"flanp", NULL, 4, 1, 3, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"fedbuff", NULL, 4, 2, 3, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "exp:1ms"},
    {"fedbuff", NULL, 3, 5, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "pareto:2,1ms"},
    {"overlap", NULL, 3, 3, 1, KOFN_PUBLISH_EAGER, KOFN_WEIGHTS_UNIFORM, "pareto:2,1ms"},
};

static void test_same_rounds(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(jobs); i++)
        for (uint64_t seed = 1; seed <= 5; seed++)
            compare(&jobs[i], seed);
}

static bool has_job(const char *algorithm, const char *over)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(jobs); i++)
        if (!strcmp(jobs[i].algorithm, algorithm) && (!over || !strcmp(jobs[i].over, over)))
            return true;
    return false;
}

/* No algorithm is left out: all that have a server are in the table above, and what only chooses K
 * is there over all whose K it can choose. Of those without a server, real peers have only the one
 * whose messages may be lost: test_peer_cross.c.
 */
static void test_all_algorithms(void)
{
    const struct kofn_algorithm *algorithm, *over;

    for (size_t i = 0; (algorithm = kofn_algorithm_at(i)); i++) {
        if (algorithm->peers) {
            CU_ASSERT_EQUAL(algorithm->peers->lossy, algorithm == &kofn_rfast);
            continue;
        }
        CU_ASSERT(has_job(algorithm->name, NULL));
        for (size_t j = 0; algorithm->over && (over = kofn_algorithm_at(j)); j++)
            if (kofn_algorithm_over(algorithm, over->name))
                CU_ASSERT(has_job(algorithm->name, over->name));
    }
}

void kofn_suite_cross(void)
{
    CU_pSuite suite = CU_add_suite("cross", NULL, NULL);

    CU_add_test(suite, "a simulation and the real engines close the same rounds", test_same_rounds);
    CU_add_test(suite, "all algorithms", test_all_algorithms);
}
