/* round_fixture.h: the pure round machine with a clock that the test turns, for tests of single
 * properties.
 */
#ifndef KOFN_TESTS_ROUND_FIXTURE_H
#define KOFN_TESTS_ROUND_FIXTURE_H

#include <CUnit/CUnit.h>
#include <string.h>

#include "base/clock.h"
#include "round/round.h"

#define FIXTURE_WORKERS 8

struct fixture {
    struct kofn_round round;
    uint64_t now;
    uint64_t sequence[FIXTURE_WORKERS];
    uint32_t total[FIXTURE_WORKERS]; /* of the newest stamp */
    uint32_t before[FIXTURE_WORKERS], in_round[FIXTURE_WORKERS];
};

/* N workers, K, U; eager; late work is merged with full weight. */
static inline struct kofn_round_config fixture_config(const char *algorithm, uint32_t workers,
                                                      uint32_t wait_for, uint32_t local_steps)
{
    return (struct kofn_round_config){.algorithm = kofn_algorithm_find(algorithm),
                                      .workers = workers,
                                      .wait_for = wait_for,
                                      .local_steps = local_steps,
                                      .quorum = 1,
                                      .grace = 10 * KOFN_NS_PER_MS,
                                      .suspect_after = KOFN_NS_PER_S};
}

/* Opens round 1 with all workers in it, at 1 s. */
static inline void fixture_open(struct fixture *fixture, const struct kofn_round_config *config)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->now = KOFN_NS_PER_S;
    CU_ASSERT_EQUAL_FATAL(kofn_round_init(&fixture->round, config), 0);
    for (uint32_t rank = 0; rank < config->workers; rank++)
        kofn_round_join(&fixture->round, rank, 1, fixture->now);
    kofn_round_next(&fixture->round, fixture->now);
}

static inline void fixture_close(struct fixture *fixture)
{
    kofn_round_fini(&fixture->round);
}

static inline void fixture_wait(struct fixture *fixture, uint64_t ms)
{
    fixture->now += ms * KOFN_NS_PER_MS;
}

static inline void fixture_beat(struct fixture *fixture, uint32_t rank, uint32_t round,
                                uint32_t updates)
{
    struct kofn_beat beat = {round, updates};

    kofn_round_beat(&fixture->round, rank, beat, fixture->now);
}

/* The stamp of the next publication of @rank, which carries (from, updates] of @round, each of
 * which took 10 ms. It counts the worker's updates by what it was asked for before.
 */
static inline struct kofn_stamp fixture_stamp(struct fixture *fixture, uint32_t rank,
                                              uint32_t round, uint32_t from, uint32_t updates)
{
    if (round != fixture->in_round[rank]) {
        fixture->in_round[rank] = round;
        fixture->before[rank] = fixture->total[rank];
    }
    fixture->total[rank] = fixture->before[rank] + updates;
    return (struct kofn_stamp){.epoch = 1,
                               .round = round,
                               .version = round,
                               .from = from,
                               .updates = updates,
                               .total = fixture->total[rank],
                               .compute_ns = updates * 10 * KOFN_NS_PER_MS,
                               .sequence = ++fixture->sequence[rank]};
}

static inline enum kofn_verdict fixture_publish(struct fixture *fixture, uint32_t rank,
                                                uint32_t round, uint32_t from, uint32_t updates)
{
    struct kofn_stamp stamp = fixture_stamp(fixture, rank, round, from, updates);

    return kofn_round_arrive(&fixture->round, rank, &stamp, fixture->now);
}

/* Merges what is held and opens the next round. */
static inline void fixture_next(struct fixture *fixture)
{
    CU_ASSERT_EQUAL(fixture->round.phase, KOFN_PHASE_READY);
    kofn_round_settle(&fixture->round);
    kofn_round_next(&fixture->round, fixture->now);
}

#endif
