/* The end of a job: which of its ends comes first, and which of them are failures. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <string.h>

#include "cli/ending.h"
#include "tests/lib/caught_log.h"

static struct kofn_caught caught;
static struct kofn_conf conf;
static struct kofn_ending ending;
static struct kofn_terms terms;

static void fresh(void)
{
    kofn_caught_reset(&caught);
    conf = (struct kofn_conf){.lr = 0.5, .publish = KOFN_PUBLISH_EAGER, .late = KOFN_LATE_MERGE};
    memset(&ending, 0, sizeof(ending));
    terms = (struct kofn_terms){.rounds = 10};
}

/* A round closes in which so many publications were merged and refused. */
static void close_round(uint32_t merged, uint32_t refused)
{
    const struct kofn_round_report report = {
        .round = 7, .contributions = merged, .refused = refused};

    kofn_ending_round(&ending, &conf, &report, &caught.log);
}

static void score(double loss, double accuracy)
{
    const struct kofn_point point = {.loss = loss, .accuracy = accuracy};

    kofn_ending_score(&ending, &conf, &point);
}

static enum kofn_ended look(uint64_t rounds, bool time_up)
{
    return kofn_ending_look(&ending, &terms, rounds, time_up);
}

static int judge(enum kofn_ended ended, uint64_t rounds, enum kofn_ended *judged)
{
    struct kofn_result result = {.ended = ended, .rounds = rounds};
    int rc = kofn_ending_judge(&ending, &conf, &result, &caught.log);

    *judged = result.ended;
    return rc;
}

/* Rounds, time and accuracy end a job, and each is a success that needs no word. */
static void test_ends_in_order(void)
{
    enum kofn_ended judged;

    fresh();
    conf.target_accuracy = 0.5;
    CU_ASSERT_EQUAL(look(9, false), KOFN_ENDED_NOT);
    CU_ASSERT_EQUAL(look(9, true), KOFN_ENDED_SECONDS);
    CU_ASSERT_EQUAL(look(10, true), KOFN_ENDED_ROUNDS);
    score(1, 0.4);
    CU_ASSERT_EQUAL(look(9, false), KOFN_ENDED_NOT);
    score(1, 0.5);
    CU_ASSERT_EQUAL(look(9, false), KOFN_ENDED_TARGET);
    CU_ASSERT_EQUAL(judge(KOFN_ENDED_TARGET, 9, &judged), 0);
    CU_ASSERT_EQUAL(judged, KOFN_ENDED_TARGET);
    CU_ASSERT_EQUAL(caught.count, 0);
}

/* Three rounds in a row of which nothing could be merged end a job, not three with others between
 * them; the first is told, with what to do, and the job has failed.
 */
static void test_refused_rounds(void)
{
    enum kofn_ended judged;

    fresh();
    close_round(0, 4);
    CU_ASSERT(kofn_caught_one(&caught, "round 7: none of its updates could be merged"));
    close_round(0, 3);
    close_round(1, 3);
    close_round(0, 1);
    close_round(0, 0); /* nothing came, nothing was refused */
    close_round(0, 1);
    close_round(0, 2);
    CU_ASSERT_EQUAL(look(3, false), KOFN_ENDED_NOT);
    CU_ASSERT_EQUAL(caught.count, 0); /* once a job */
    close_round(0, 2);
    CU_ASSERT_EQUAL(look(3, false), KOFN_ENDED_DIVERGED);
    CU_ASSERT_EQUAL(judge(KOFN_ENDED_DIVERGED, 3, &judged), KOFN_NOT_FINITE);
    CU_ASSERT(kofn_caught_one(&caught, "in 3 rounds in a row"));
}

/* Where updates are refused for being late, and a round waits for them once it has closed, refused
 * ones say nothing about numbers.
 */
static void test_late_ones_are_no_divergence(void)
{
    fresh();
    conf.late = KOFN_LATE_REFUSE;
    conf.publish = KOFN_PUBLISH_ON_CLOSE;
    for (int i = 0; i < 2 * KOFN_ROUNDS_REFUSED; i++)
        close_round(0, 4);
    CU_ASSERT_EQUAL(look(6, false), KOFN_ENDED_NOT);
    CU_ASSERT_EQUAL(caught.count, 0);
}

/* A loss that is no number ends a job, or fails one that had ended well without it. */
static void test_loss_that_is_no_number(void)
{
    enum kofn_ended judged;

    fresh();
    score(NAN, 0.1);
    CU_ASSERT_EQUAL(look(1, false), KOFN_ENDED_DIVERGED);
    CU_ASSERT_EQUAL(judge(KOFN_ENDED_ROUNDS, 10, &judged), KOFN_NOT_FINITE);
    CU_ASSERT_EQUAL(judged, KOFN_ENDED_DIVERGED);
    CU_ASSERT(kofn_caught_one(&caught, "learning rate below 0.5"));
    CU_ASSERT_EQUAL(judge(KOFN_ENDED_INTERRUPTED, 10, &judged), 0);
    CU_ASSERT_EQUAL(judged, KOFN_ENDED_INTERRUPTED);
}

/* A job without a round has failed, unless somebody wanted it so. */
static void test_no_round(void)
{
    enum kofn_ended judged;

    fresh();
    CU_ASSERT_EQUAL(judge(KOFN_ENDED_SECONDS, 0, &judged), KOFN_TIMEOUT);
    CU_ASSERT_EQUAL(judged, KOFN_ENDED_SECONDS);
    CU_ASSERT(kofn_caught_one(&caught, "no round was completed"));
    CU_ASSERT_EQUAL(judge(KOFN_ENDED_INTERRUPTED, 0, &judged), 0);
    CU_ASSERT(kofn_caught_one(&caught, "interrupted before a round was completed"));
}

void kofn_suite_ending(void)
{
    CU_pSuite suite = CU_add_suite("ending", NULL, NULL);

    CU_add_test(suite, "ends in order", test_ends_in_order);
    CU_add_test(suite, "refused rounds", test_refused_rounds);
    CU_add_test(suite, "late ones are no divergence", test_late_ones_are_no_divergence);
    CU_add_test(suite, "loss that is no number", test_loss_that_is_no_number);
    CU_add_test(suite, "no round", test_no_round);
}
