/* watch_fixture.h: workers with a pace each, in virtual time, around the pure round machine: each
 * finishes the local update it is in, whatever round has been opened meanwhile.
 */
#ifndef KOFN_TESTS_WATCH_FIXTURE_H
#define KOFN_TESTS_WATCH_FIXTURE_H

#include "round/account.h"
#include "tests/unit/round_fixture.h"

struct crew {
    struct fixture fixture;
    struct {
        double pace, left; /* ms of a local update; of the one it is in */
        uint64_t post_ns, wait_ns;
        uint32_t round, updates, finished;
        bool frozen;
    } worker[FIXTURE_WORKERS];
    double (*draw)(void *context, double pace); /* ms of the next update; NULL = the pace */
    void *context;
    uint32_t turned_slow, turned_ready; /* how often somebody became slow; was ready after that */
    enum kofn_member_state state[FIXTURE_WORKERS];
};

static inline double crew_draw(const struct crew *crew, uint32_t rank)
{
    double pace = crew->worker[rank].pace;

    return crew->draw ? crew->draw(crew->context, pace) : pace;
}

static inline void crew_open(struct crew *crew, const struct kofn_round_config *config, double pace)
{
    memset(crew, 0, sizeof(*crew));
    fixture_open(&crew->fixture, config);
    for (uint32_t rank = 0; rank < config->workers; rank++)
        crew->worker[rank].pace = crew->worker[rank].left = pace;
}

static inline void crew_close(struct crew *crew)
{
    fixture_close(&crew->fixture);
}

static inline void crew_take(struct crew *crew, uint32_t rank)
{
    crew->worker[rank].round = crew->fixture.round.number;
    crew->worker[rank].updates = 0;
    crew->worker[rank].left = crew_draw(crew, rank);
    fixture_beat(&crew->fixture, rank, crew->worker[rank].round, 0);
}

static inline void crew_publish(struct crew *crew, uint32_t rank)
{
    struct fixture *fixture = &crew->fixture;
    uint32_t round = crew->worker[rank].round, updates = ++crew->worker[rank].updates;
    uint32_t settled = kofn_member_settled(&fixture->round.members[rank], round);
    struct kofn_stamp stamp = fixture_stamp(fixture, rank, round, settled, updates);

    crew->worker[rank].finished++;
    crew->worker[rank].left += crew_draw(crew, rank);
    stamp.compute_ns = (uint64_t)(updates * crew->worker[rank].pace * (double)KOFN_NS_PER_MS);
    stamp.post_ns = crew->worker[rank].post_ns;
    stamp.wait_ns = crew->worker[rank].wait_ns;
    kofn_round_arrive(&fixture->round, rank, &stamp, fixture->now);
    if (fixture->round.phase == KOFN_PHASE_READY)
        fixture_next(fixture);
}

static inline void crew_watch(struct crew *crew)
{
    const struct kofn_round *round = &crew->fixture.round;

    for (uint32_t rank = 0; rank < round->config.workers; rank++) {
        enum kofn_member_state state = round->members[rank].state;

        crew->turned_slow += state == KOFN_MEMBER_SLOW && crew->state[rank] != state;
        crew->turned_ready += state == KOFN_MEMBER_READY && crew->state[rank] == KOFN_MEMBER_SLOW;
        crew->state[rank] = state;
    }
}

/* One millisecond for @rank, unless it is frozen or waits for a model. */
static inline void crew_step(struct crew *crew, uint32_t rank)
{
    const struct kofn_round *round = &crew->fixture.round;
    bool waits = round->config.algorithm->worker_may == KOFN_WORKER_WAITS &&
                 crew->worker[rank].updates >= round->config.local_steps;

    if (crew->worker[rank].frozen)
        return;
    if (!crew->worker[rank].round ||
        (crew->worker[rank].round < round->number &&
         (waits || crew->worker[rank].left >= crew->worker[rank].pace)))
        crew_take(crew, rank);
    else if (waits)
        return;
    for (crew->worker[rank].left -= 1; crew->worker[rank].left <= 0;)
        crew_publish(crew, rank);
}

/* @ms pass. Between two updates a worker takes the newest model. The clock ticks every 5 ms. */
static inline void crew_run(struct crew *crew, uint64_t ms)
{
    struct fixture *fixture = &crew->fixture;

    for (uint64_t i = 0; i < ms; i++) {
        fixture_wait(fixture, 1);
        for (uint32_t rank = 0; rank < fixture->round.config.workers; rank++)
            crew_step(crew, rank);
        if (i % 5)
            continue;
        kofn_round_tick(&fixture->round, fixture->now);
        crew_watch(crew);
        if (fixture->round.phase == KOFN_PHASE_READY)
            fixture_next(fixture);
    }
}

static inline struct kofn_member_report crew_report(const struct crew *crew, uint32_t rank)
{
    struct kofn_usual usual = kofn_round_usual(&crew->fixture.round);
    struct kofn_member_report report;

    kofn_round_member(&crew->fixture.round, rank, crew->fixture.now, &usual, &report);
    return report;
}

#endif
