/* sim_lag.c: workers that lag behind the clock. */
#include <stdlib.h>

#include "base/select.h"
#include "sim/inside.h"

#define AHEAD 2u /* ranks: what is far away is there by the time that they are looked at */

/* Does nothing that happens to a worker in a round depend on the others, or on the time? */
static bool independent(const struct kofn_sim *sim)
{
    const struct kofn_round_config *config = &sim->attr.round;

    return sim->instant && sim->manners.eager && !sim->manners.stale && !sim->manners.ahead &&
           !sim->attr.net.ring && !sim->attr.work && !sim->attr.updated && !config->deadline &&
           !config->deadline_adaptive && config->suspect_after == KOFN_FOREVER;
}

int kofn_sim_lag_open(struct kofn_sim *sim)
{
    const struct kofn_round_config *config = &sim->attr.round;
    bool goes_on = sim->algorithm->worker_may == KOFN_WORKER_CONTINUES && sim->manners.partial;

    if (!independent(sim))
        return 0;
    sim->one_timer = sim->manners.waits && sim->manners.cancels && sim->algorithm->exact &&
                     config->local_steps == 1 && !(sim->attr.compute_share > 0);
    sim->lags = sim->one_timer || (goes_on && !sim->attr.most_steps);
    if (!sim->one_timer)
        return 0;
    sim->dues = calloc(config->workers, sizeof(*sim->dues));
    return sim->dues ? 0 : KOFN_NO_MEMORY;
}

void kofn_sim_lag_close(struct kofn_sim *sim)
{
    free(sim->dues);
}

/* Updates of @rank that end before @end. */
static void go_on_until(struct kofn_sim *sim, uint32_t rank, uint64_t end)
{
    const struct kofn_sim_worker *worker = &sim->workers[rank];

    while (worker->activity == KOFN_SIM_COMPUTES && worker->due_ns < end) {
        sim->now = worker->due_ns;
        sim->events++;
        kofn_sim_worker_finish(sim, rank);
    }
}

static void look_ahead(const struct kofn_sim *sim, uint32_t rank)
{
    const char *worker = (const char *)&sim->workers[rank];
    const char *member = (const char *)&sim->round.members[rank];

    if (rank >= sim->attr.round.workers)
        return;
    for (size_t line = 0; line < KOFN_SIM_WORKER_HOT; line += KOFN_CACHE_LINE)
        __builtin_prefetch(worker + line, 1);
    for (size_t line = 0; line < KOFN_MEMBER_HOT; line += KOFN_CACHE_LINE)
        __builtin_prefetch(member + line, 1);
}

/* All updates that end before @time, and those that end then of ranks below @rank: of one moment,
 * those of lower ranks come first.
 */
static void catch_up(struct kofn_sim *sim, uint64_t time, uint32_t rank)
{
    uint64_t now = sim->now;

    for (uint32_t other = 0; other < sim->attr.round.workers; other++) {
        look_ahead(sim, other + AHEAD);
        go_on_until(sim, other, time + (other < rank));
    }
    sim->now = now;
}

void kofn_sim_lag_end(struct kofn_sim *sim, uint64_t time)
{
    if (sim->lags)
        catch_up(sim, time, 0);
}

/* Does the update that @worker is at close the round? */
static bool closes(const struct kofn_sim *sim, const struct kofn_sim_worker *worker)
{
    const struct kofn_round *round = &sim->round;

    return round->phase == KOFN_PHASE_OPEN && round->reached + 1 >= round->wait_for &&
           worker->updates + 1 >= round->config.local_steps;
}

void kofn_sim_lag_finish(struct kofn_sim *sim, uint32_t rank)
{
    uint64_t now = sim->now;

    go_on_until(sim, rank, now);
    sim->now = now;
    if (sim->one_timer || closes(sim, &sim->workers[rank]))
        catch_up(sim, now, rank);
    kofn_sim_worker_finish(sim, rank);
}

KOFN_SELECT(select_nth, uint64_t)

/* Who ends as the @nth, from 0, of those that compute, at @time as it does; of one moment, lower
 * ranks come first.
 */
static uint32_t find_nth(const struct kofn_sim *sim, uint64_t time, size_t nth)
{
    uint32_t rank;

    for (rank = 0; rank < sim->attr.round.workers; rank++) {
        const struct kofn_sim_worker *worker = &sim->workers[rank];

        nth -= worker->activity == KOFN_SIM_COMPUTES && worker->due_ns < time;
    }
    for (rank = 0;; rank++) {
        const struct kofn_sim_worker *worker = &sim->workers[rank];

        if (worker->activity == KOFN_SIM_COMPUTES && worker->due_ns == time && !nth--)
            return rank;
    }
}

void kofn_sim_lag_plan(struct kofn_sim *sim)
{
    uint32_t wait_for = sim->round.wait_for;
    size_t count = 0;
    uint64_t time;

    if (!sim->one_timer)
        return;
    kofn_timers_set(&sim->timers, sim->closer, KOFN_FOREVER);
    for (uint32_t rank = 0; rank < sim->attr.round.workers; rank++)
        if (sim->workers[rank].activity == KOFN_SIM_COMPUTES)
            sim->dues[count++] = sim->workers[rank].due_ns;
    if (!wait_for || count < wait_for)
        return; /* it cannot close */
    time = select_nth(sim->dues, count, wait_for - 1);
    sim->closer = find_nth(sim, time, wait_for - 1);
    kofn_timers_set(&sim->timers, sim->closer, time);
}
