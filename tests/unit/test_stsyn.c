/* STSyn in the round machine has the means that theory gives it: local updates take exponential
 * times of mean 1, nothing else takes any time.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdio.h>

#include "base/random.h"
#include "round/round.h"

#define WORKERS 20
#define UNIT 1e6 /* ns of one mean local update */

struct mean {
    double sum, squares;
    uint32_t count;
};

static void add(struct mean *mean, double value)
{
    mean->sum += value;
    mean->squares += value * value;
    mean->count++;
}

/* True if the mean is within four of its standard errors of @expected. */
static bool near(const struct mean *mean, double expected, const char *what)
{
    double average = mean->sum / mean->count;
    double error = sqrt((mean->squares / mean->count - average * average) / mean->count);

    if (fabs(average - expected) <= 4 * error)
        return true;
    printf("# %s: %g instead of %g, standard error %g\n", what, average, expected, error);
    return false;
}

struct job {
    struct kofn_round round;
    struct kofn_random random;
    double now, due[WORKERS]; /* in units */
    uint64_t sequence[WORKERS];
    uint32_t total[WORKERS], updates[WORKERS];
};

static uint64_t clock_of(const struct job *job)
{
    return (uint64_t)(job->now * UNIT) + 1;
}

/* The worker that finishes next publishes all it has done in this round. */
static void finish_next(struct job *job)
{
    uint32_t next = 0;
    struct kofn_stamp stamp;

    for (uint32_t rank = 1; rank < job->round.config.workers; rank++)
        if (job->due[rank] < job->due[next])
            next = rank;
    job->now = job->due[next];
    job->due[next] = job->now + kofn_random_exponential(&job->random);
    stamp = (struct kofn_stamp){.round = job->round.number,
                                .version = job->round.number,
                                .updates = ++job->updates[next],
                                .total = ++job->total[next],
                                .compute_ns = 1000,
                                .sequence = ++job->sequence[next]};
    kofn_round_arrive(&job->round, next, &stamp, clock_of(job));
}

/* One round; everybody begins it afresh. */
static void run_round(struct job *job, struct mean *time, struct mean *updates,
                      struct mean *uploads)
{
    double opened = job->now, done = 0;

    for (uint32_t rank = 0; rank < job->round.config.workers; rank++) {
        job->due[rank] = job->now + kofn_random_exponential(&job->random);
        job->updates[rank] = 0;
    }
    while (job->round.phase == KOFN_PHASE_OPEN)
        finish_next(job);
    for (uint32_t rank = 0; rank < job->round.config.workers; rank++)
        done += job->updates[rank];
    add(time, job->now - opened);
    add(updates, done / job->round.config.workers);
    add(uploads, job->round.holding);
    kofn_round_settle(&job->round);
    kofn_round_next(&job->round, clock_of(job));
}

static void run(uint32_t workers, uint32_t wait_for, uint32_t local_steps, int rounds,
                double expected_time, double expected_uploads)
{
    struct kofn_round_config config = {.algorithm = &kofn_stsyn,
                                       .workers = workers,
                                       .wait_for = wait_for,
                                       .local_steps = local_steps,
                                       .quorum = 1,
                                       .suspect_after = UINT64_MAX};
    struct job job = {.now = 1};
    struct mean time = {0}, updates = {0}, uploads = {0};

    CU_ASSERT_EQUAL_FATAL(kofn_round_init(&job.round, &config), 0);
    kofn_random_seed(&job.random, 1, 0);
    for (uint32_t rank = 0; rank < workers; rank++)
        kofn_round_join(&job.round, rank, 1, clock_of(&job));
    kofn_round_next(&job.round, clock_of(&job));
    for (int i = 0; i < rounds; i++)
        run_round(&job, &time, &updates, &uploads);
    CU_ASSERT(near(&time, expected_time, "round time"));
    CU_ASSERT(near(&updates, expected_time, "updates a worker")); /* the same number: mu E[T] */
    CU_ASSERT(near(&uploads, expected_uploads, "uploads"));
    kofn_round_fini(&job.round);
}

/* N = 4, K = 3, U = 3: E[T] = 3.30808 and 3.87867 uploads. */
static void test_four_workers(void)
{
    run(4, 3, 3, 40000, 3.30808, 3.87867);
}

/* N = 20, K = 5, U = 10: E[T] = 7.56773 and 19.9871 uploads. */
static void test_twenty_workers(void)
{
    run(20, 5, 10, 6000, 7.56773, 19.9871);
}

/* N = 20, K = 1, U = 10: E[T] = 5.04913 and 19.7939 uploads. */
static void test_the_fastest_of_twenty(void)
{
    run(20, 1, 10, 6000, 5.04913, 19.7939);
}

void kofn_suite_stsyn(void)
{
    CU_pSuite suite = CU_add_suite("stsyn", NULL, NULL);

    CU_add_test(suite, "four workers", test_four_workers);
    CU_add_test(suite, "twenty workers", test_twenty_workers);
    CU_add_test(suite, "the fastest of twenty", test_the_fastest_of_twenty);
}
