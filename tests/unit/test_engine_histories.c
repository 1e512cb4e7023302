/* Random histories of the real engines: a seeded scheduler decides who acts next and what arrives
 * next; workers freeze, die, are evicted and come back, connections break. At the end the model
 * itself, parameter by parameter, must be what receipts and accounts say.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/unit/engine.h"

#define TURNS 700
#define LAST_TURNS 4000
#define ROUNDS 1024

enum phase { PHASE_TAKE, PHASE_UPDATE, PHASE_REPORT };

struct history {
    struct engine engine;
    struct kofn_random random;
    enum phase phases[ENGINE_WORKERS];
    int frozen[ENGINE_WORKERS];  /* turns */
    bool broken[ENGINE_WORKERS]; /* some membership has not ended in order */
    bool killed[ENGINE_WORKERS]; /* and the worker with it: nobody says what it had finished */
    uint64_t taken;              /* updates that reports say were merged */
    float scale[ROUNDS];         /* by round: a worker's share, 0 = not known */
    bool faults, ending;
    bool failed;
};

static uint64_t below(struct history *history, uint64_t bound)
{
    return kofn_random_below(&history->random, bound);
}

static void expect(struct history *history, bool condition, const char *what, uint32_t rank)
{
    if (condition || history->failed)
        return;
    history->failed = true;
    printf("# rank %u, round %u: %s\n", rank, history->engine.server->round.number, what);
}

/* ---- what workers do ---- */

/* A membership is over, for whatever reason. */
static void part(struct history *history, uint32_t rank, int rc)
{
    if (rc == KOFN_JOB_OVER) {
        engine_leave(&history->engine, rank);
        return;
    }
    expect(history,
           history->faults && (rc == KOFN_EPOCH || rc == KOFN_REFUSED ||
                               (rc == KOFN_GONE && !history->engine.reconnects)),
           "a worker cannot go on", rank);
    history->broken[rank] = history->killed[rank] = true;
    engine_die(&history->engine, rank);
}

/* Now and then a local update ends in a NaN, and so does all that is built on it. */
static int update(struct history *history, uint32_t rank)
{
    struct engine_worker *worker = &history->engine.workers[rank];

    if (history->faults && below(history, 60) == 0)
        worker->model[rank * ENGINE_UPDATES + worker->finished] = NAN;
    return engine_update(&history->engine, rank);
}

static void act(struct history *history, uint32_t rank)
{
    struct engine *engine = &history->engine;
    struct engine_worker *worker = &engine->workers[rank];
    int rc = 0;

    if (!worker->handle || history->frozen[rank] > 0)
        return;
    if (history->phases[rank] == PHASE_TAKE) {
        rc = engine_take(engine, rank);
        if (!rc)
            history->phases[rank] = PHASE_UPDATE;
    } else if (worker->finished < ENGINE_UPDATES || history->phases[rank] == PHASE_REPORT) {
        if (history->phases[rank] == PHASE_UPDATE && kofn_worker_check(worker->handle) &&
            below(history, 2))
            rc = KOFN_ROUND_OVER; /* it drops the update it is at */
        else
            rc = history->phases[rank] == PHASE_REPORT ? engine_report(engine, rank)
                                                       : update(history, rank);
        if (rc == KOFN_INTERRUPTED) /* in the wait for its place, or when it had been counted? */
            history->phases[rank] = worker->handle->reporting ? PHASE_REPORT : PHASE_UPDATE;
        else
            history->phases[rank] = rc ? PHASE_TAKE : PHASE_UPDATE;
    } else {
        history->phases[rank] = PHASE_TAKE;
    }
    if (rc == KOFN_JOB_OVER || (rc < 0 && rc != KOFN_INTERRUPTED))
        part(history, rank, rc);
}

/* ---- what happens to them ---- */

static void rejoin(struct history *history, uint32_t rank)
{
    struct engine *engine = &history->engine;
    int rc;

    if (engine->workers[rank].finished > ENGINE_UPDATES - 20)
        return;
    rc = engine_join(engine, rank);
    if (rc == KOFN_AGAIN && below(history, 4) == 0) { /* it has waited for long enough */
        kofn_round_drop(&engine->server->round, rank);
        rc = engine_join(engine, rank);
    }
    history->phases[rank] = PHASE_TAKE;
    history->frozen[rank] = 0;
    expect(history, !rc || rc == KOFN_AGAIN, "it cannot rejoin", rank);
}

static void fault(struct history *history)
{
    struct engine *engine = &history->engine;
    uint32_t rank = (uint32_t)below(history, engine->server->attr.workers);

    if (!engine->workers[rank].handle) {
        rejoin(history, rank);
        return;
    }
    switch (below(history, 12)) {
    case 0:
        engine_die(engine, rank);
        history->broken[rank] = history->killed[rank] = true;
        break;
    case 1:
        history->broken[rank] = history->killed[rank] = true;
        kofn__admit_evict(engine->server, rank, "a reason of the test's");
        break;
    case 2:
        history->broken[rank] = true;
        kofn_fabric_tear(engine->fabric, rank, KOFN_CHANNEL_DATA,
                         below(history, ENGINE_PARAMETERS * sizeof(float)), false);
        kofn_fabric_cut(engine->fabric, rank);
        break;
    case 3:
    case 4:
        history->frozen[rank] = 1 + (int)below(history, 200);
        break;
    default:
        kofn_fabric_delay(engine->fabric, rank,
                          (enum kofn_fabric_channel)below(history, KOFN_CHANNELS),
                          below(history, 20));
    }
}

/* ---- what the server does ---- */

static uint64_t taken(const struct history *history)
{
    const struct kofn_round *round = &history->engine.server->round;
    uint64_t sum = 0;

    for (uint32_t rank = 0; rank < round->config.workers; rank++)
        sum += round->members[rank].merged + round->members[rank].late;
    return sum;
}

static void step(struct history *history)
{
    struct kofn_round_report report;
    int rc = engine_step(&history->engine, &report);

    if (rc == KOFN_TIMEOUT || (rc == KOFN_GONE && history->faults))
        return;
    expect(history, !rc, "the server cannot go on", 0);
    history->taken += rc ? 0 : report.updates;
    expect(history, history->taken == taken(history), "a report's updates are not the members'", 0);
}

static void turn(struct history *history)
{
    struct engine *engine = &history->engine;
    uint32_t workers = engine->server->attr.workers;

    kofn_fabric_tick(engine->fabric);
    for (uint32_t rank = 0; rank < workers; rank++)
        history->frozen[rank]--;
    switch (below(history, 10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        kofn_fabric_scatter(engine->fabric, 1 + below(history, 8));
        break;
    case 4:
        if (!history->ending)
            step(history);
        else
            kofn__serve_arrivals(engine->server);
        break;
    case 5:
        if (history->faults && !history->ending && below(history, 3) == 0)
            fault(history);
        else if (below(history, 4) == 0)
            engine_skip(engine, below(history, 3 * ENGINE_SUSPECT / 2));
        break;
    default:
        act(history, (uint32_t)below(history, workers));
    }
}

/* ---- what must hold ---- */

/* What @receipt's weight would be, had it not been for its staleness. */
static float fresh_weight(const struct history *history, const struct kofn_receipt *receipt)
{
    double exponent = history->engine.server->attr.staleness_weight;

    return (float)(pow(1.0 + receipt->staleness, exponent) * (double)receipt->weight);
}

/* A worker's share of a round is the weight of anybody's who was merged on time. */
static void learn_scales(struct history *history)
{
    bool stale = history->engine.server->round.config.algorithm->stale;

    for (uint32_t rank = 0; rank < history->engine.server->attr.workers; rank++) {
        const struct engine_worker *worker = &history->engine.workers[rank];

        for (uint32_t i = 0; i < worker->receipt_count; i++) {
            const struct kofn_receipt *receipt = &worker->receipts[i];

            if (receipt->outcome != KOFN_OUTCOME_MERGED)
                continue;
            expect(history,
                   receipt->made_in + receipt->staleness == receipt->merged_in &&
                       (stale || !receipt->staleness),
                   "merged on time, in another round", rank);
            expect(history,
                   !history->scale[receipt->merged_in] ||
                       fabsf(history->scale[receipt->merged_in] - fresh_weight(history, receipt)) <
                           1e-6f,
                   "equal members have different weights", rank);
            history->scale[receipt->merged_in] = fresh_weight(history, receipt);
        }
    }
}

/* Receipts in order of sequence: the first that speaks of an update says what has become of it.
 * Where every update is sent by itself a receipt speaks of the last one alone.
 */
static void check_receipts(struct history *history, uint32_t rank, bool *told)
{
    const struct engine_worker *worker = &history->engine.workers[rank];
    bool each = kofn_algorithm_adds(history->engine.server->round.config.algorithm);

    for (uint32_t i = 0; i < worker->receipt_count; i++) {
        const struct kofn_receipt *receipt = &worker->receipts[i];

        for (uint32_t u = each ? receipt->updates - 1 : 0; u < receipt->updates; u++) {
            uint32_t index = worker->receipt_first[i] + u;
            float found = engine_merged(&history->engine, rank, index);

            if (told[index])
                continue;
            told[index] = true;
            if (receipt->outcome == KOFN_OUTCOME_REFUSED)
                expect(history, found == 0, "refused and merged", rank);
            else
                expect(history, found == receipt->weight, "not merged with its weight", rank);
        }
    }
}

/* May the receipt of the local update @index have been overwritten before it was read? There is
 * room for so many late ones, and the worker has read one of a publication that many behind the
 * last that can have carried the update.
 */
static bool overwritten(const struct engine_worker *worker, uint32_t index)
{
    uint64_t last = 0;

    for (uint64_t s = 1; s < ENGINE_UPDATES && (s == 1 || worker->first_of[s]); s++)
        if (worker->first_of[s] <= index)
            last = s;
    for (uint32_t i = 0; i < worker->receipt_count; i++)
        if (worker->receipts[i].sequence >= last + KOFN_LATE_RECEIPTS)
            return true;
    return false;
}

static void check_account(struct history *history, uint32_t rank, const bool *told)
{
    const struct engine_worker *worker = &history->engine.workers[rank];
    struct kofn_member_report member = {.size = sizeof(member)};
    /* of a worker that brings many to one round, the newest few are told */
    bool each = kofn_algorithm_adds(history->engine.server->round.config.algorithm);
    uint64_t merged = 0;

    for (uint32_t i = 0; i < ENGINE_UPDATES; i++) {
        float found = engine_merged(&history->engine, rank, i);

        merged += found != 0;
        expect(history, !found || i < worker->finished, "an update that never was", rank);
        expect(history,
               !found || told[i] || history->broken[rank] || each || overwritten(worker, i),
               "merged without a word", rank);
    }
    kofn_server_member(history->engine.server, rank, &member);
    expect(history, member.merged + member.late == merged, "the model has other updates", rank);
    expect(history, member.finished == member.merged + member.late + member.refused + member.lost,
           "the account does not add up", rank);
    expect(history,
           history->killed[rank] ? member.finished <= worker->finished
                                 : member.finished == worker->finished,
           "finished updates are unknown", rank);
}

static void check_end(struct history *history)
{
    learn_scales(history);
    expect(history, kofn_fabric_counts(history->engine.fabric)->refilled == 0,
           "a buffer was filled before it had left", 0);
    for (uint32_t rank = 0; rank < history->engine.server->attr.workers; rank++) {
        bool told[ENGINE_UPDATES + 1] = {false};

        check_receipts(history, rank, told);
        check_account(history, rank, told);
    }
}

/* ---- histories ---- */

static struct kofn_server_attr draw_attr(struct history *history, uint64_t seed)
{
    static const char *const others[] = {"sync", "local", "stsyn", "stsyn", "stsyn"};
    static const char *const family[] = {"ksync", "kbatch-sync", "kasync", "kbatch-async",
                                         "adasync"};
    const char *name = seed % 2 ? others[below(history, KOFN_ARRAY_SIZE(others))]
                                : family[below(history, KOFN_ARRAY_SIZE(family))];
    const char *over = strcmp(name, "adasync") ? NULL : family[below(history, 4)];
    const struct kofn_algorithm *algorithm = kofn_algorithm_over(kofn_algorithm_find(name), over);
    uint32_t workers = 1 + (uint32_t)below(history, ENGINE_WORKERS);
    uint32_t most = kofn_algorithm_counts_batches(algorithm) ? 2 * workers : workers;
    uint32_t wait_for = algorithm->needs_all ? workers : 1 + (uint32_t)below(history, most);
    uint32_t steps = algorithm->single_step ? 1 : 1 + (uint32_t)below(history, 4);
    struct kofn_server_attr attr = engine_attr(name, workers, wait_for, steps);

    attr.over = over;
    attr.publish = (enum kofn_publish)(below(history, 4) % 3);
    if (algorithm->eager)
        attr.publish = KOFN_PUBLISH_EAGER;
    attr.late = below(history, 4) ? KOFN_LATE_MERGE : KOFN_LATE_REFUSE;
    attr.staleness_weight = (double)below(history, 3) / 2;
    attr.deadline = below(history, 2) ? KOFN_NS_PER_S : 0;
    attr.quorum = 1 + (uint32_t)below(history, workers);
    return attr;
}

/* Nobody computes any more: all that is under way arrives, everybody leaves. */
static void end(struct history *history)
{
    struct engine *engine = &history->engine;
    bool left = false;

    history->ending = true;
    kofn_server_stop(engine->server, 0);
    for (int i = 0; i < LAST_TURNS && !left; i++) {
        turn(history);
        left = true;
        for (uint32_t rank = 0; rank < engine->server->attr.workers; rank++)
            left &= !engine->workers[rank].handle;
    }
    expect(history, left, "somebody does not leave", 0);
}

static bool run(uint64_t seed, bool faults, struct kofn_fabric_counts *counts)
{
    struct history *history = calloc(1, sizeof(*history));
    struct kofn_server_attr attr;
    bool good;

    CU_ASSERT_PTR_NOT_NULL_FATAL(history);
    kofn_random_seed(&history->random, seed, faults);
    history->faults = faults;
    attr = draw_attr(history, seed);
    engine_open(&history->engine, &attr);
    history->engine.falls = true;
    if (faults && seed % 4 < 2)
        engine_reconnects(&history->engine);
    for (int i = 0; i < TURNS && !history->failed; i++)
        turn(history);
    end(history);
    check_end(history);
    good = !history->failed;
    if (!good)
        printf("# %s engine history %llu of %s, K = %u\n", faults ? "wild" : "calm",
               (unsigned long long)seed, attr.algorithm, attr.wait_for);
    counts->delivered += kofn_fabric_counts(history->engine.fabric)->delivered;
    counts->discarded += kofn_fabric_counts(history->engine.fabric)->discarded;
    counts->torn += kofn_fabric_counts(history->engine.fabric)->torn;
    engine_close(&history->engine);
    free(history);
    return good;
}

/* KOFN_HISTORY=SEED runs that one alone; what all of them together must have seen is then not
 * asked.
 */
static struct kofn_fabric_counts run_all(uint64_t count, bool faults)
{
    const char *only = getenv("KOFN_HISTORY");
    struct kofn_fabric_counts counts = {0};

    for (uint64_t seed = 1; seed <= count; seed++)
        if (!only || strtoull(only, NULL, 10) == seed)
            CU_ASSERT(run(seed, faults, &counts));
    return counts;
}

/* Links delay and nothing fails: everything finished but not merged was refused by the rules. */
static void test_calm_histories(void)
{
    struct kofn_fabric_counts counts = run_all(800, false);

    CU_ASSERT(getenv("KOFN_HISTORY") || counts.delivered > 10000);
    CU_ASSERT_EQUAL(counts.torn, 0);
}

/* Everything that can go wrong does. */
static void test_wild_histories(void)
{
    struct kofn_fabric_counts counts = run_all(1600, true);

    CU_ASSERT(getenv("KOFN_HISTORY") ||
              (counts.delivered > 20000 && counts.discarded > 100 && counts.torn > 20));
}

void kofn_suite_engine_histories(void)
{
    CU_pSuite suite = CU_add_suite("engine_histories", NULL, NULL);

    CU_add_test(suite, "calm histories", test_calm_histories);
    CU_add_test(suite, "wild histories", test_wild_histories);
}
