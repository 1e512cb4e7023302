/* Connections that fail while both of their ends live: the worker has another one by itself, and
 * what was under way neither spoils the model nor is missing from the account.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "core/server.h"
#include "tests/fault/cluster.h"
#include "tests/fault/loopback.h"
#include "tests/lib/runner.h"
#include "transports/uring/hub.h"

enum { VICTIM = 1 };

#define LARGE                                                                                      \
    (1u << 20) /* parameters of a payload that no socket holds: it is under way for long */
#define CUTS 8

static bool victim_works_again(struct cluster *cluster)
{
    struct kofn_member_report member = cluster_member(cluster, VICTIM);

    return member.rejoins && member.state == KOFN_MEMBER_READY &&
           cluster->report.merged == cluster->attr.workers;
}

/* Every local update adds the same to every parameter, so a model of which all parameters are equal
 * has nothing in it that is torn.
 */
static bool model_is_whole(const struct cluster *cluster)
{
    const float *model = kofn_server_model(cluster->server);

    for (size_t i = 1; i < cluster->attr.parameters; i++)
        if (model[i] != model[0])
            return false;
    return model[0] > 0;
}

static void cut_data(struct cluster *cluster, uint32_t rank, enum kofn__link link)
{
    struct kofn__tcp_hub *hub = (struct kofn__tcp_hub *)cluster->server->hub;

    kofn__driver_enter(&hub->driver);
    if (hub->members[rank].streams[link].fd >= 0)
        shutdown(hub->members[rank].streams[link].fd, SHUT_RDWR);
    kofn__driver_leave(&hub->driver);
}

static void cut_control(struct cluster *cluster, uint32_t rank)
{
    const struct kofn_channel *control = cluster->server->peers[rank].control;

    if (control)
        shutdown(control->fd, SHUT_RDWR);
}

/* After a cut: the same process is a member again, in a new epoch, and what it does is merged. */
static void check_back(struct cluster *cluster)
{
    uint64_t merged = cluster_member(cluster, VICTIM).merged;

    CU_ASSERT(cluster_step_until(cluster, victim_works_again));
    CU_ASSERT(cluster_member(cluster, VICTIM).merged > merged);
    CU_ASSERT_EQUAL(cluster_member(cluster, VICTIM).pid, cluster->pids[VICTIM]);
    CU_ASSERT_EQUAL(cluster_member(cluster, VICTIM).epoch, 2);
    CU_ASSERT_EQUAL(cluster_member(cluster, VICTIM).rejoins, 1);
    CU_ASSERT_EQUAL(cluster_member(cluster, 0).rejoins, 0);
    CU_ASSERT(cluster_said(cluster, "rank 1", "gone in round"));
    CU_ASSERT(cluster_said(cluster, "rank 1", "has joined again"));
}

/* The connection that publications travel on breaks. */
static void test_data(void)
{
    struct cluster cluster;

    cluster_init(&cluster, 2);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cut_data(&cluster, VICTIM, LINK_CONTROL); /* small payloads go with the words */
    check_back(&cluster);
    cluster_end(&cluster); /* where it ends in order */
}

/* The control channel does. */
static void test_control(void)
{
    struct cluster cluster;

    cluster_init(&cluster, 2);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cut_control(&cluster, VICTIM);
    check_back(&cluster);
    cluster_end(&cluster);
}

/* The only worker's does: the server does not take that for the end. */
static void test_the_only_one(void)
{
    struct cluster cluster;

    cluster_init(&cluster, 1);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cut_data(&cluster, 0, LINK_CONTROL);
    CU_ASSERT(cluster_step(&cluster, 3));
    CU_ASSERT_EQUAL(cluster_member(&cluster, 0).rejoins, 1);
    cluster_end(&cluster);
}

/* Again and again, in the middle of payloads, both ways. */
static void test_in_the_middle(void)
{
    struct kofn_random random;
    struct cluster cluster;
    uint64_t torn = 0;

    kofn_random_seed(&random, 1, 0);
    cluster_init(&cluster, 2);
    cluster.attr.parameters = LARGE;
    cluster.attr.wait_for = 1;
    for (uint32_t rank = 0; rank < 2; rank++)
        cluster.workers[rank].parameters = LARGE;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    for (uint32_t cut = 0; cut < CUTS; cut++) {
        uint64_t rejoins = cluster_member(&cluster, VICTIM).rejoins;
        uint64_t deadline = kofn_now_ns() + CLUSTER_PATIENCE;

        CU_ASSERT(cluster_step(&cluster, 1 + (unsigned)kofn_random_below(&random, 3)));
        cut_data(&cluster, VICTIM, LINK_PAYLOAD);
        while (cluster_member(&cluster, VICTIM).rejoins == rejoins && kofn_now_ns() < deadline)
            CU_ASSERT_FATAL(cluster_step(&cluster, 1));
        CU_ASSERT(model_is_whole(&cluster));
        torn = cluster_member(&cluster, VICTIM).lost;
    }
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).rejoins, CUTS);
    CU_ASSERT(torn > 0);
    CU_ASSERT(cluster_step(&cluster, 3));
    CU_ASSERT(model_is_whole(&cluster));
    cluster_end(&cluster);
}

/* ---- a network that is down for a while ---- */

static bool all_gone(const struct cluster *cluster)
{
    for (uint32_t rank = 0; rank < cluster->attr.workers; rank++)
        if (cluster_member(cluster, rank).state != KOFN_MEMBER_GONE)
            return false;
    return true;
}

static bool all_back(const struct cluster *cluster)
{
    for (uint32_t rank = 0; rank < cluster->attr.workers; rank++)
        if (cluster_member(cluster, rank).rejoins != 1)
            return false;
    return true;
}

/* Steps, whether rounds close or not, until @reached. */
static bool serve_until(struct cluster *cluster, bool (*reached)(const struct cluster *cluster))
{
    uint64_t deadline = kofn_now_ns() + CLUSTER_PATIENCE;

    while (!reached(cluster) && kofn_now_ns() < deadline) {
        int rc = kofn_server_step(cluster->server, 20 * KOFN_NS_PER_MS, &cluster->report);

        if (rc && rc != KOFN_TIMEOUT)
            return false;
    }
    return reached(cluster);
}

/* In a network of its own; the exit status says what was wrong. */
static int lose_it_for_a_while(void)
{
    struct cluster cluster;

    if (!loopback_of_its_own())
        return 77;
    cluster_init(&cluster, 2);
    cluster.attr.peer_timeout = 2 * KOFN_NS_PER_S;
    if (!cluster_start(&cluster) || !cluster_step(&cluster, 3))
        return 1;
    loopback_set(false);
    if (!serve_until(&cluster, all_gone))
        return 2;
    loopback_set(true);
    if (!serve_until(&cluster, all_back))
        return 3;
    if (!cluster_step(&cluster, 3) || cluster.report.merged != 2)
        return 4;
    if (kofn_server_stop(cluster.server, CLUSTER_PATIENCE))
        return 5;
    for (int rank = 0; rank < 2; rank++)
        if (cluster_wait(cluster.pids[rank]))
            return 6;
    kofn_server_close(cluster.server);
    return 0;
}

/* All hosts lose each other for longer than the time-out, and find each other again. */
static void test_network_down(void)
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(lose_it_for_a_while());
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        kofn_test_skip("no network namespaces for this user");
        return;
    }
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    if (WEXITSTATUS(status))
        printf("# its exit status was %d\n", WEXITSTATUS(status));
}

static void add_tests(CU_pSuite suite)
{
    CU_add_test(suite, "data connection cut", test_data);
    CU_add_test(suite, "control channel cut", test_control);
    CU_add_test(suite, "the only worker", test_the_only_one);
    CU_add_test(suite, "in the middle of payloads", test_in_the_middle);
    CU_add_test(suite, "network down and up", test_network_down);
}

void kofn_suite_rejoin(void)
{
    cluster_suite_over_tcp("rejoin", add_tests);
}
