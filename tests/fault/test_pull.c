/* Workers that are stopped or killed in the middle of a round whose publications are read: what
 * they had finished by then is merged all the same, where their memory can be read without them.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <signal.h>
#include <string.h>

#include "tests/fault/cluster.h"

enum { VICTIM = 3, UPDATES = 40 };

static bool victim_merged_again(struct cluster *cluster)
{
    return cluster->report.merged == cluster->attr.workers;
}

/* Serves until the victim has finished a few updates of the open round: true if it has. */
static bool victim_is_at_work(struct cluster *cluster)
{
    uint64_t deadline = kofn_now_ns() + CLUSTER_PATIENCE;
    struct kofn_member_report victim;

    do {
        cluster->report.size = sizeof(cluster->report);
        kofn_server_step(cluster->server, KOFN_NS_PER_MS, &cluster->report);
        victim = cluster_member(cluster, VICTIM);
    } while ((victim.round <= cluster->report.round || victim.updates < 3 ||
              victim.updates > UPDATES / 2) &&
             kofn_now_ns() < deadline);
    return victim.round == cluster->report.round + 1 && victim.updates >= 3;
}

/* The round in which @signal hits the victim closes with what it had finished, and at once: nobody
 * waits for it. What is merged is all that its beats had said, and a little more may be there.
 */
static void hit_midway(const char *algorithm, int signal)
{
    struct kofn_member_report before, after;
    struct cluster cluster;

    cluster_init(&cluster, 4);
    cluster.attr.algorithm = algorithm;
    cluster.attr.wait_for = 3;
    cluster.attr.local_steps = UPDATES;
    cluster.attr.publish = KOFN_PUBLISH_PULL;
    cluster.attr.grace = 20 * KOFN_NS_PER_S;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 2));
    CU_ASSERT(victim_is_at_work(&cluster));
    before = cluster_member(&cluster, VICTIM);
    cluster_signal(&cluster, VICTIM, signal);
    CU_ASSERT(cluster_step(&cluster, 1));
    after = cluster_member(&cluster, VICTIM);
    CU_ASSERT_EQUAL(cluster.report.close, KOFN_CLOSE_REACHED);
    CU_ASSERT_EQUAL(cluster.report.merged, 4);
    CU_ASSERT(after.merged >= before.merged + before.updates);
    CU_ASSERT_EQUAL(after.late, before.late);
    CU_ASSERT_EQUAL(after.lost, 0);
    if (signal == SIGSTOP) {
        CU_ASSERT(cluster_step(&cluster, 3));
        CU_ASSERT_EQUAL(cluster.report.merged, 3); /* it has taken none of those */
        cluster_signal(&cluster, VICTIM, SIGCONT);
        CU_ASSERT(cluster_step_until(&cluster, victim_merged_again));
    }
    cluster_end(&cluster);
}

static void test_stopped(void)
{
    hit_midway("stsyn", SIGSTOP);
}

static void test_killed(void)
{
    hit_midway("stsyn", SIGKILL);
}

/* Over a network a stopped process does not answer: the round waits for it as long as the grace
 * allows, goes on without it, and once it is back what it had finished is late, or its own round's.
 */
static void test_stopped_over_tcp(void)
{
    struct cluster cluster;

    cluster_init(&cluster, 4);
    cluster.attr.wait_for = 3;
    cluster.attr.local_steps = UPDATES;
    cluster.attr.publish = KOFN_PUBLISH_PULL;
    cluster.attr.grace = 50 * KOFN_NS_PER_MS;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 2));
    CU_ASSERT(victim_is_at_work(&cluster));
    cluster_signal(&cluster, VICTIM, SIGSTOP);
    CU_ASSERT(cluster_step(&cluster, 2));
    CU_ASSERT_EQUAL(cluster.report.merged, 3);
    cluster_signal(&cluster, VICTIM, SIGCONT);
    CU_ASSERT(cluster_step_until(&cluster, victim_merged_again));
    CU_ASSERT(cluster_member(&cluster, VICTIM).late > 0);
    cluster_end(&cluster);
}

void kofn_suite_pull(void)
{
    CU_pSuite suite = CU_add_suite("pull", NULL, NULL);

    CU_add_test(suite, "stopped in the middle of a round", test_stopped);
    CU_add_test(suite, "killed in the middle of a round", test_killed);
}

static void add_over_tcp(CU_pSuite suite)
{
    CU_add_test(suite, "stopped in the middle of a round", test_stopped_over_tcp);
}

void kofn_suite_pull_tcp(void)
{
    cluster_suite_over_tcp("pull_tcp", add_over_tcp);
}
