/* Simulations are cut into parts, which say how sure one can be of their means, and are shared out
 * among threads.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdatomic.h>

#include "base/random.h"
#include "cli/crew.h"
#include "cli/parts.h"
#include "theory/bias.h"

/* ---- parts ---- */

/* Puts @rounds rounds of mean time 1 s, and so many updates each, into the next part. */
static void fill(struct kofn_parts *parts, uint32_t rounds, double updates,
                 struct kofn_random *random)
{
    double *pull;
    struct kofn_part *part = kofn_parts_next(parts, &pull);

    for (uint32_t i = 0; i < rounds; i++) {
        double seconds = kofn_random_uniform(random) * 2;

        part->sum[KOFN_ROUND_TIME] += seconds;
        part->seconds += seconds;
        part->updates += updates;
        part->rounds++;
    }
    for (uint32_t rank = 0; rank < parts->workers; rank++)
        pull[rank] = rank + 1;
}

/* Folding parts loses nothing: means stay what they are, and so does what workers have pulled. */
static void test_fold(void)
{
    struct kofn_parts parts;
    struct kofn_random random;
    struct kofn_mean time, rate;

    kofn_random_seed(&random, 1, 0);
    CU_ASSERT_EQUAL_FATAL(kofn_parts_open(&parts, 3), 0);
    for (uint32_t i = 0; i < KOFN_PARTS; i++)
        fill(&parts, 100, 5, &random);
    time = kofn_parts_mean(&parts, KOFN_ROUND_TIME);
    rate = kofn_parts_rate(&parts);
    kofn_parts_fold(&parts);
    CU_ASSERT_EQUAL(parts.count, KOFN_PARTS / 2);
    CU_ASSERT_DOUBLE_EQUAL(kofn_parts_mean(&parts, KOFN_ROUND_TIME).value, time.value, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(kofn_parts_rate(&parts).value, rate.value, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(parts.pull[0] + parts.pull[3 * (KOFN_PARTS / 2 - 1) + 2], 2 + 6, 1e-12);

    /* sd 1 / sqrt(3) of a round, 3200 of them; the error of an error of 16 parts is 18 % */
    CU_ASSERT_DOUBLE_EQUAL(time.error, 0.0102, 0.004);
    CU_ASSERT_DOUBLE_EQUAL(kofn_parts_mean(&parts, KOFN_ROUND_TIME).error, 0.0102, 0.006);
    CU_ASSERT_DOUBLE_EQUAL(rate.error / rate.value, time.error / time.value, 1e-3);
    CU_ASSERT(fabs(time.value - 1) < 4 * time.error);
    CU_ASSERT_DOUBLE_EQUAL(rate.value, 5 / time.value, 1e-9);
    kofn_parts_close(&parts);
}

/* Workers that are alike have no bias, however few updates they were seen to make; one that does a
 * third as much has the bias that it has: neither is more than 4 standard errors away.
 */
static void test_bias_without_noise(void)
{
    enum { WORKERS = 50, PARTS = 20, UPDATES = 4 };
    double pull[PARTS * WORKERS], bias, error, all[WORKERS] = {0};
    struct kofn_random random;

    for (int slow = 0; slow < 2; slow++) {
        double one = slow ? 1.0 / 3 : 1, share = one / (WORKERS - 1 + one);

        kofn_random_seed(&random, 7, 0);
        for (uint32_t i = 0; i < PARTS * WORKERS; i++) {
            uint32_t rank = i % WORKERS;

            pull[i] = 0;
            for (int update = 0; update < UPDATES; update++)
                pull[i] += kofn_random_uniform(&random) < 0.5 * (rank ? 1 : one);
            all[rank] += pull[i];
        }
        kofn_bias_estimate(pull, PARTS, WORKERS, &bias, &error);
        CU_ASSERT(fabs(bias - (1.0 / WORKERS - share)) < 4 * error);
        CU_ASSERT(error > 0 && error < 0.02);
    }
    CU_ASSERT(kofn_bias(all, WORKERS) > 0.03); /* what chance alone looks like */
    pull[0] = pull[1] = pull[2] = pull[3] = 1;
    kofn_bias_estimate(pull, 2, 2, &bias, &error);
    CU_ASSERT_DOUBLE_EQUAL(bias, 0, 1e-12);
    pull[2] = pull[3] = 0;
    kofn_bias_estimate(pull, 2, 2, &bias, &error);
    CU_ASSERT(isnan(bias) && isnan(error));
}

/* ---- threads ---- */

struct tasks {
    atomic_uint times[100];
    size_t fails; /* at this one; 100 = none */
};

static int do_task(void *arg, size_t index)
{
    struct tasks *tasks = arg;

    atomic_fetch_add(&tasks->times[index], 1);
    return index == tasks->fails ? KOFN_GONE : index > tasks->fails ? KOFN_NO_MEMORY : 0;
}

static int always(void)
{
    return 1;
}

/* Every task is done once; a failure is that of the first one that fails, on any number of threads,
 * and nothing before it is left out.
 */
static void test_crew(void)
{
    for (uint32_t threads = 1; threads <= 8; threads++)
        for (size_t fails = 20; fails <= 100; fails += 80) {
            struct tasks tasks = {.fails = fails};
            const struct kofn_crew crew = {
                .count = 100, .threads = threads, .task = do_task, .arg = &tasks};

            CU_ASSERT_EQUAL(kofn_crew_work(&crew), fails < 100 ? KOFN_GONE : 0);
            for (size_t i = 0; i < 100; i++) {
                unsigned times = atomic_load(&tasks.times[i]);

                CU_ASSERT(i <= fails ? times == 1 : times <= 1);
            }
        }
}

/* Who asks for the end gets it, though not everything is done; without tasks there is nothing to
 * wait for.
 */
static void test_crew_stops(void)
{
    struct tasks tasks = {.fails = 100};
    struct kofn_crew crew = {
        .count = 100, .threads = 2, .task = do_task, .stopped = always, .arg = &tasks};
    size_t done = 0;
    int rc = kofn_crew_work(&crew);

    for (size_t i = 0; i < 100; i++)
        done += atomic_load(&tasks.times[i]);
    CU_ASSERT_EQUAL(rc, done < 100 ? KOFN_INTERRUPTED : 0);
    crew.count = 0;
    CU_ASSERT_EQUAL(kofn_crew_work(&crew), 0);
}

void kofn_suite_parts(void)
{
    CU_pSuite suite = CU_add_suite("parts", NULL, NULL);

    CU_add_test(suite, "folding loses nothing", test_fold);
    CU_add_test(suite, "chance is no bias", test_bias_without_noise);
    CU_add_test(suite, "every task once", test_crew);
    CU_add_test(suite, "tasks that are not begun", test_crew_stops);
}
