/* sim_fixture.h: simulations for tests, and means with their standard errors. */
#ifndef KOFN_TESTS_SIM_FIXTURE_H
#define KOFN_TESTS_SIM_FIXTURE_H

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "sim/sim.h"

struct sim_mean {
    double sum, squares;
    uint64_t count;
};

static inline void sim_mean_add(struct sim_mean *mean, double value)
{
    mean->sum += value;
    mean->squares += value * value;
    mean->count++;
}

static inline double sim_mean_value(const struct sim_mean *mean)
{
    return mean->sum / (double)mean->count;
}

static inline double sim_mean_error(const struct sim_mean *mean)
{
    double value = sim_mean_value(mean);
    double variance = mean->squares / (double)mean->count - value * value;

    return sqrt(fmax(variance, 0) / (double)mean->count);
}

/* True if the mean is within four of its standard errors of @expected. */
static inline bool sim_mean_near(const struct sim_mean *mean, double expected, const char *what)
{
    double value = sim_mean_value(mean), error = sim_mean_error(mean);

    if (fabs(value - expected) <= 4 * error + 1e-9 * fabs(expected))
        return true;
    printf("# %s: %g instead of %g, standard error %g\n", what, value, expected, error);
    return false;
}

/* A simulation without arithmetic in which messages cost nothing and nobody is ever suspect. */
static inline struct kofn_sim_attr sim_attr(const char *algorithm, uint32_t workers,
                                            uint32_t wait_for, uint32_t local_steps,
                                            const struct kofn_delay *delay)
{
    return (struct kofn_sim_attr){.round = {.algorithm = kofn_algorithm_find(algorithm),
                                            .workers = workers,
                                            .wait_for = wait_for,
                                            .local_steps = local_steps,
                                            .quorum = 1,
                                            .grace = KOFN_NS_PER_S,
                                            .suspect_after = KOFN_FOREVER},
                                  .delay = delay,
                                  .payload_bytes = 40,
                                  .seed = 1};
}

/* What a simulation has shown; times in seconds. */
struct sim_means {
    struct sim_mean time, updates, uploads, staleness, publications;
};

static inline struct kofn_sim *sim_open(const struct kofn_sim_attr *attr)
{
    struct kofn_sim *sim = NULL;

    CU_ASSERT_EQUAL_FATAL(kofn_sim_open(attr, &sim), 0);
    return sim;
}

static inline void sim_next(struct kofn_sim *sim, struct kofn_round_report *report)
{
    CU_ASSERT_EQUAL_FATAL(kofn_sim_step(sim, KOFN_FOREVER, 1u << 30, report), 0);
}

/* The means of @rounds rounds behind the first @skipped ones. Rounds may depend on those before:
 * what is added up are means of @together rounds each, which hardly do.
 */
static inline struct sim_means sim_run_batches(const struct kofn_sim_attr *attr, uint32_t skipped,
                                               uint32_t rounds, uint32_t together)
{
    struct sim_means means = {0}, batch = {0};
    struct kofn_sim *sim = sim_open(attr);
    struct kofn_round_report report;

    for (uint32_t i = 0; i < skipped + rounds; i++) {
        sim_next(sim, &report);
        if (i < skipped)
            continue;
        sim_mean_add(&batch.time, (double)(report.published_ns - report.opened_ns) / 1e9);
        sim_mean_add(&batch.updates, (double)report.updates / attr->round.workers);
        sim_mean_add(&batch.uploads, report.merged);
        sim_mean_add(&batch.staleness, report.staleness);
        sim_mean_add(&batch.publications, report.publications);
        if (batch.time.count < together)
            continue;
        sim_mean_add(&means.time, sim_mean_value(&batch.time));
        sim_mean_add(&means.updates, sim_mean_value(&batch.updates));
        sim_mean_add(&means.uploads, sim_mean_value(&batch.uploads));
        sim_mean_add(&means.staleness, sim_mean_value(&batch.staleness));
        sim_mean_add(&means.publications, sim_mean_value(&batch.publications));
        memset(&batch, 0, sizeof(batch));
    }
    kofn_sim_close(sim);
    return means;
}

static inline struct sim_means sim_run(const struct kofn_sim_attr *attr, uint32_t skipped,
                                       uint32_t rounds)
{
    return sim_run_batches(attr, skipped, rounds, 1);
}

static inline void sim_delay(const char *spec, struct kofn_delay *delay)
{
    CU_ASSERT_EQUAL_FATAL(kofn_delay_open(spec, NULL, delay), 0);
}

#endif
