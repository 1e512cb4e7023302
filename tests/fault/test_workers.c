/* Workers that are slow, frozen, killed or wrong, in processes of their own: nobody waits for them,
 * and the account of their updates stays complete.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <signal.h>

#include "tests/fault/cluster.h"

enum { VICTIM = 3 };

static bool victim_is_slow(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_SLOW;
}

static bool victim_is_suspect(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_SUSPECT;
}

static bool victim_is_gone(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_GONE;
}

static bool victim_merged_again(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_READY &&
           cluster->report.merged == cluster->attr.workers;
}

/* No round waits for a worker that is ten times slower, what it finishes is merged, and the cause
 * is named. */
static void slow_worker(enum kofn_publish publish)
{
    struct cluster cluster;

    cluster_init(&cluster, 4);
    cluster.attr.wait_for = 3;
    cluster.attr.local_steps = 25;
    cluster.attr.publish = publish;
    cluster.workers[VICTIM].update_ns *= 10;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    for (int round = 0; round < 10; round++) {
        CU_ASSERT(cluster_step(&cluster, 1));
        CU_ASSERT_EQUAL(cluster.report.close, KOFN_CLOSE_REACHED);
        CU_ASSERT_EQUAL(cluster.report.wait_for, 3);
    }
    CU_ASSERT(cluster_step_until(&cluster, victim_is_slow));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).first_k, 0);
    CU_ASSERT(cluster_member(&cluster, VICTIM).merged + cluster_member(&cluster, VICTIM).late > 0);
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).cause, KOFN_CAUSE_COMPUTE);
    CU_ASSERT(cluster_member(&cluster, VICTIM).late_p50 > cluster_member(&cluster, 0).late_p50);
    CU_ASSERT(cluster_said(&cluster, "rank 3", "slow"));
    cluster_end(&cluster);
}

static void test_ten_times_slower(void)
{
    slow_worker(KOFN_PUBLISH_EAGER);
}

static void test_ten_times_slower_on_close(void)
{
    slow_worker(KOFN_PUBLISH_ON_CLOSE);
}

static void test_ten_times_slower_pull(void)
{
    slow_worker(KOFN_PUBLISH_PULL);
}

/* Rounds go on without a frozen worker; when it is back, what it had finished is late, never the
 * current round's, and it takes part again.
 */
static void frozen_worker(const char *algorithm, enum kofn_late late)
{
    struct kofn_member_report before, after;
    struct cluster cluster;
    uint32_t round;

    cluster_init(&cluster, 4);
    cluster.attr.algorithm = algorithm;
    cluster.attr.local_steps = algorithm[1] == 'y' ? 1 : 5; /* sync has one */
    cluster.attr.late = late;
    cluster.attr.staleness_weight = 1;
    cluster.attr.suspect_after = 300 * KOFN_NS_PER_MS;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cluster_signal(&cluster, VICTIM, SIGSTOP);
    CU_ASSERT(cluster_step_until(&cluster, victim_is_suspect));
    CU_ASSERT(cluster_said(&cluster, "rank 3", "suspect"));
    round = cluster.report.round;
    CU_ASSERT(cluster_step(&cluster, 6));
    CU_ASSERT_EQUAL(cluster.report.wait_for, 3);
    CU_ASSERT_EQUAL(cluster.report.merged, 3);
    before = cluster_member(&cluster, VICTIM);
    cluster_signal(&cluster, VICTIM, SIGCONT);
    CU_ASSERT(cluster_step_until(&cluster, victim_merged_again));
    CU_ASSERT(cluster.report.round >= round + 6);
    after = cluster_member(&cluster, VICTIM);
    CU_ASSERT_EQUAL(after.epoch, 1);
    if (late == KOFN_LATE_REFUSE)
        CU_ASSERT_EQUAL(after.late, before.late);
    CU_ASSERT(after.late + after.refused >= before.late + before.refused);
    CU_ASSERT(cluster_said(&cluster, "rank 3", "is back"));
    cluster_end(&cluster);
}

static void test_frozen_local_merge(void)
{
    frozen_worker("local", KOFN_LATE_MERGE);
}

static void test_frozen_local_refuse(void)
{
    frozen_worker("local", KOFN_LATE_REFUSE);
}

static void test_frozen_stsyn_merge(void)
{
    frozen_worker("stsyn", KOFN_LATE_MERGE);
}

static void test_frozen_stsyn_refuse(void)
{
    frozen_worker("stsyn", KOFN_LATE_REFUSE);
}

static void test_frozen_sync(void)
{
    frozen_worker("sync", KOFN_LATE_MERGE);
}

/* A killed worker is noticed within a second, named with its pid, and K is capped to the living. */
static void killed_worker(const char *algorithm)
{
    struct cluster cluster;
    char pid[32];
    uint64_t killed;

    cluster_init(&cluster, 4);
    cluster.attr.algorithm = algorithm;
    cluster.attr.local_steps = algorithm[1] == 'y' ? 1 : 5;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    snprintf(pid, sizeof(pid), "pid %d", (int)cluster.pids[VICTIM]);
    cluster_signal(&cluster, VICTIM, SIGKILL);
    killed = kofn_now_ns();
    CU_ASSERT(cluster_step_until(&cluster, victim_is_gone));
    CU_ASSERT(kofn_now_ns() - killed < KOFN_NS_PER_S);
    CU_ASSERT(cluster_step(&cluster, 5));
    CU_ASSERT_EQUAL(cluster.report.wait_for, 3);
    CU_ASSERT_EQUAL(cluster.report.living, 3);
    CU_ASSERT(cluster_said(&cluster, "rank 3", pid));
    CU_ASSERT(cluster_said(&cluster, "rank 3", "K = 3 of 3 left"));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).cause, KOFN_CAUSE_DEAD);
    cluster_end(&cluster);
}

static void test_killed_local(void)
{
    killed_worker("local");
}

static void test_killed_sync(void)
{
    killed_worker("sync");
}

static void test_killed_stsyn(void)
{
    killed_worker("stsyn");
}

/* The rank of a dead worker can be taken again: new epoch, new slot, merged again, nothing of its
 * past lost. */
static void test_rejoin(void)
{
    struct kofn_member_report dead, back;
    struct cluster cluster;

    cluster_init(&cluster, 4);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cluster_signal(&cluster, VICTIM, SIGKILL);
    CU_ASSERT(cluster_step_until(&cluster, victim_is_gone));
    CU_ASSERT(cluster_step(&cluster, 2));
    dead = cluster_member(&cluster, VICTIM);
    cluster_fork(&cluster, VICTIM);
    CU_ASSERT(cluster_step_until(&cluster, victim_merged_again));
    back = cluster_member(&cluster, VICTIM);
    CU_ASSERT_EQUAL(back.epoch, 2);
    CU_ASSERT(back.finished > dead.finished);
    CU_ASSERT(back.merged > dead.merged);
    CU_ASSERT_EQUAL(back.lost, dead.lost);
    cluster_end(&cluster);
}

/* A worker that leaves in order is not an error, and the others go on. */
static void test_leaves_in_order(void)
{
    struct cluster cluster;

    cluster_init(&cluster, 4);
    cluster.workers[VICTIM].quits = true;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 12));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).state, KOFN_MEMBER_LEFT);
    CU_ASSERT_EQUAL(cluster.report.wait_for, 3);
    CU_ASSERT_EQUAL(cluster_wait(cluster.pids[VICTIM]), 0);
    cluster.pids[VICTIM] = 0;
    cluster_end(&cluster);
}

/* NaN in an update: that worker's update is refused and named, the model stays finite, the others
 * are merged. */
static void poisoned_worker(const char *algorithm, enum kofn_publish publish)
{
    struct cluster cluster;

    cluster_init(&cluster, 4);
    cluster.attr.algorithm = algorithm;
    cluster.attr.publish = publish;
    cluster.attr.local_steps = algorithm[1] == 'y' ? 1 : 5;
    cluster.workers[VICTIM].bad_from = 3;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 2));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).refused, 0);
    for (int round = 0; round < 8; round++) {
        CU_ASSERT(cluster_step(&cluster, 1));
        for (size_t i = 0; i < CLUSTER_PARAMETERS; i++)
            CU_ASSERT_FATAL(isfinite(kofn_server_model(cluster.server)[i]));
    }
    CU_ASSERT(cluster_member(&cluster, VICTIM).refused > 0);
    CU_ASSERT_EQUAL(cluster_member(&cluster, 0).refused, 0);
    CU_ASSERT(cluster_said(&cluster, "rank 3", "NaN or infinity"));
    cluster_end(&cluster);
}

static void test_poisoned_sync(void)
{
    poisoned_worker("sync", KOFN_PUBLISH_EAGER);
}

static void test_poisoned_stsyn(void)
{
    poisoned_worker("stsyn", KOFN_PUBLISH_EAGER);
}

static void test_poisoned_pull(void)
{
    poisoned_worker("stsyn", KOFN_PUBLISH_PULL);
}

static void test_poisoned_on_close(void)
{
    poisoned_worker("stsyn", KOFN_PUBLISH_ON_CLOSE);
}

/* Many more processes than cores: every round closes, and everybody takes part. */
static void test_more_workers_than_cores(void)
{
    struct cluster cluster;

    cluster_init(&cluster, 24);
    cluster.attr.wait_for = 20;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 20));
    for (uint32_t rank = 0; rank < 24; rank++)
        CU_ASSERT(cluster_member(&cluster, rank).merged > 0);
    cluster_end(&cluster);
}

/* Two workers that take 100 times longer do not keep a round open beyond its deadline, once there
 * is a quorum. */
static void test_deadline_with_quorum(void)
{
    struct cluster cluster;

    cluster_init(&cluster, 4);
    cluster.attr.algorithm = "local";
    cluster.attr.deadline = 100 * KOFN_NS_PER_MS;
    cluster.attr.quorum = 2;
    cluster.workers[0].update_ns *= 100;
    cluster.workers[1].update_ns *= 100;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    for (int round = 0; round < 4; round++) {
        CU_ASSERT(cluster_step(&cluster, 1));
        CU_ASSERT_EQUAL(cluster.report.close, KOFN_CLOSE_DEADLINE);
        CU_ASSERT(cluster.report.merged >= 2);
    }
    cluster_end(&cluster);
}

static void add_tests(CU_pSuite suite)
{
    CU_add_test(suite, "ten times slower", test_ten_times_slower);
    CU_add_test(suite, "ten times slower, on-close", test_ten_times_slower_on_close);
    CU_add_test(suite, "ten times slower, pull", test_ten_times_slower_pull);
    CU_add_test(suite, "frozen, local, late merged", test_frozen_local_merge);
    CU_add_test(suite, "frozen, local, late refused", test_frozen_local_refuse);
    CU_add_test(suite, "frozen, stsyn, late merged", test_frozen_stsyn_merge);
    CU_add_test(suite, "frozen, stsyn, late refused", test_frozen_stsyn_refuse);
    CU_add_test(suite, "frozen, sync", test_frozen_sync);
    CU_add_test(suite, "killed, local", test_killed_local);
    CU_add_test(suite, "killed, sync", test_killed_sync);
    CU_add_test(suite, "killed, stsyn", test_killed_stsyn);
    CU_add_test(suite, "killed and back", test_rejoin);
    CU_add_test(suite, "leaves in order", test_leaves_in_order);
    CU_add_test(suite, "poisoned, sync", test_poisoned_sync);
    CU_add_test(suite, "poisoned, stsyn", test_poisoned_stsyn);
    CU_add_test(suite, "poisoned, on-close", test_poisoned_on_close);
    CU_add_test(suite, "poisoned, pull", test_poisoned_pull);
    CU_add_test(suite, "more workers than cores", test_more_workers_than_cores);
    CU_add_test(suite, "deadline with a quorum", test_deadline_with_quorum);
}

void kofn_suite_workers(void)
{
    add_tests(CU_add_suite("workers", NULL, NULL));
}

void kofn_suite_workers_tcp(void)
{
    cluster_suite_over_tcp("workers_tcp", add_tests);
}
