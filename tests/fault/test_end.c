/* The end of a job for workers that do not answer to it: their account is closed with it, and when
 * they come to look, the job was over in order.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <signal.h>
#include <unistd.h>

#include "core/server.h"
#include "tests/fault/cluster.h"

enum { VICTIM = 2 };

static bool victim_is_suspect(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_SUSPECT;
}

/* A worker that is frozen until after the end: what it has finished and not sent is lost, and is
 * said to be.
 */
static void test_frozen(void)
{
    struct kofn_member_report member;
    struct cluster cluster;

    cluster_init(&cluster, 3);
    cluster.attr.algorithm = "local";
    cluster.attr.local_steps = 20;
    cluster.attr.suspect_after = 100 * KOFN_NS_PER_MS;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cluster_signal(&cluster, VICTIM, SIGSTOP);
    CU_ASSERT(cluster_step_until(&cluster, victim_is_suspect));
    CU_ASSERT_EQUAL(kofn_server_stop(cluster.server, 50 * KOFN_NS_PER_MS), 0);
    member = cluster_member(&cluster, VICTIM);
    CU_ASSERT_EQUAL(member.state, KOFN_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(member.finished, member.merged + member.late + member.refused + member.lost);
    cluster_end(&cluster);
}

/* Takes a model, and reports the one update it makes of it once @go can be read from. */
static int work_for_long(const char *address, int ready, int go)
{
    struct kofn_worker_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .rank = VICTIM,
                                    .parameters = CLUSTER_PARAMETERS,
                                    .timeout = CLUSTER_PATIENCE};
    float model[CLUSTER_PARAMETERS];
    struct kofn_worker *worker;
    char byte = 0;

    if (kofn_worker_open(&attr, &worker) || kofn_worker_take(worker, model, NULL) ||
        write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
        return 1;
    if (kofn_worker_report(worker, model, NULL) != KOFN_ROUND_OVER)
        return 2;
    if (kofn_worker_take(worker, model, NULL) != KOFN_JOB_OVER)
        return 3;
    kofn_worker_close(worker);
    return 0;
}

/* A worker whose local update takes until after the server is gone: its job is over, not broken. */
static void test_a_long_update(void)
{
    struct cluster cluster;
    int ready[2], go[2];
    char byte;

    cluster_init(&cluster, 3);
    cluster.attr.wait_for = 2;
    CU_ASSERT_EQUAL_FATAL(kofn_server_open(&cluster.attr, &cluster.server), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(ready) | pipe(go), 0);
    cluster_fork(&cluster, 0);
    cluster_fork(&cluster, 1);
    cluster.pids[VICTIM] = fork();
    if (cluster.pids[VICTIM] == 0) {
        close(go[1]);
        _exit(work_for_long(kofn_server_address(cluster.server), ready[1], go[0]));
    }
    CU_ASSERT_EQUAL_FATAL(kofn_server_start(cluster.server, (float[CLUSTER_PARAMETERS]){0}), 0);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    CU_ASSERT(cluster_step(&cluster, 3));
    CU_ASSERT_EQUAL(kofn_server_stop(cluster.server, 50 * KOFN_NS_PER_MS), KOFN_TIMEOUT);
    kofn_server_close(cluster.server);
    close(go[1]);
    for (uint32_t rank = 0; rank < 3; rank++)
        CU_ASSERT_EQUAL(cluster_wait(cluster.pids[rank]), 0);
    close(go[0]);
    close(ready[0]);
    close(ready[1]);
}

/* A gate, unless it is the last: that is lost on its way. */
static int lose_end(struct kofn_hub *hub, uint32_t rank, uint64_t word)
{
    struct kofn_gate gate;

    return kofn_gate_unpack(word, &gate) && gate.state == KOFN_GATE_END
               ? 0
               : kofn_transport_find(hub->ops->name)->hub_gate(hub, rank, word);
}

/* Workers that the last gate does not reach hear of the end all the same, and leave in order. */
static void test_a_lost_gate(void)
{
    struct kofn_transport_ops lossy;
    struct cluster cluster;

    cluster_init(&cluster, 3);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    lossy = *cluster.server->hub->ops;
    lossy.hub_gate = lose_end;
    cluster.server->hub->ops = &lossy;
    CU_ASSERT_EQUAL(kofn_server_stop(cluster.server, CLUSTER_PATIENCE), 0);
    for (uint32_t rank = 0; rank < 3; rank++)
        CU_ASSERT_EQUAL(cluster_member(&cluster, rank).state, KOFN_MEMBER_LEFT);
    cluster_end(&cluster);
}

static void add_tests(CU_pSuite suite)
{
    CU_add_test(suite, "frozen until after it", test_frozen);
    CU_add_test(suite, "a gate that is lost", test_a_lost_gate);
    CU_add_test(suite, "an update longer than the job", test_a_long_update);
}

void kofn_suite_end(void)
{
    add_tests(CU_add_suite("end", NULL, NULL));
}

void kofn_suite_end_tcp(void)
{
    cluster_suite_over_tcp("end_tcp", add_tests);
}
