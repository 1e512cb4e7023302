/* Workers that die while they join: after they have said who they are, or after they have got their
 * slot. Their rank is free again, nobody else notices, and nothing of them stays.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/channel.h"
#include "core/server.h"
#include "tests/fault/cluster.h"

enum { VICTIM = 1, DEATHS = 8 };

/* What a worker lives to see. */
enum stage { HELLO_SENT, WELCOME_RECEIVED };

/* Joins as far as @stage, and dies. Does not return. */
static _Noreturn void join_and_die(const char *address, enum stage stage)
{
    struct kofn_wire message = {
        .type = KOFN_WIRE_HELLO,
        .hello = {.rank = VICTIM, .pid = (uint32_t)getpid(), .parameters = CLUSTER_PARAMETERS}};
    struct kofn_connect_attr attr = {.address = address,
                                     .deadline = kofn_now_ns() + CLUSTER_PATIENCE};
    struct kofn_channel *channel;
    struct kofn_fds fds = {0};
    const char *reason;

    if (kofn_channel_connect(&attr, &channel) || kofn_channel_send(channel, &message, NULL))
        _exit(1);
    if (stage == WELCOME_RECEIVED &&
        (kofn_channel_receive(channel, attr.deadline, &message, &fds, &reason) ||
         message.type != KOFN_WIRE_WELCOME || fds.count == 0))
        _exit(2);
    raise(SIGKILL);
    _exit(3);
}

/* Several die, one after the other; then, if it @stays, a worker takes part. Returns its exit
 * status.
 */
static int die_and_join(struct cluster *cluster, enum stage stage, bool stays)
{
    static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR};
    const char *address = kofn_server_address(cluster->server);

    for (int i = 0; i < DEATHS; i++) {
        pid_t pid = fork();
        int status;

        if (pid == 0)
            join_and_die(address, stage);
        if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
            return 4;
    }
    return stays ? cluster_work(address, VICTIM, &cluster->workers[VICTIM], &quiet) : 0;
}

static pid_t fork_deaths(struct cluster *cluster, enum stage stage, bool stays)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(die_and_join(cluster, stage, stays));
    return pid;
}

static bool victim_takes_part(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_READY &&
           cluster->report.merged == cluster->attr.workers;
}

/* A job starts with all its workers, however many have died on their way into it. */
static void start_with_deaths(enum stage stage)
{
    struct cluster cluster;
    float model[CLUSTER_PARAMETERS] = {0};

    cluster_init(&cluster, 2);
    CU_ASSERT_EQUAL_FATAL(kofn_server_open(&cluster.attr, &cluster.server), 0);
    cluster_fork(&cluster, 0);
    cluster.pids[VICTIM] = fork_deaths(&cluster, stage, true);
    CU_ASSERT_EQUAL_FATAL(kofn_server_start(cluster.server, model), 0);
    CU_ASSERT(cluster_step_until(&cluster, victim_takes_part));
    CU_ASSERT_EQUAL(cluster.report.wait_for, 2);
    CU_ASSERT(cluster_step(&cluster, 3));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).lost, 0);
    cluster_end(&cluster);
}

static void test_start_after_hello(void)
{
    start_with_deaths(HELLO_SENT);
}

static void test_start_after_welcome(void)
{
    start_with_deaths(WELCOME_RECEIVED);
}

/* What a guest hears while the server looks at it as if it were @now; 0 = nothing yet. */
static uint32_t hear(struct kofn_server *server, struct kofn_channel *channel, uint64_t now,
                     struct kofn_wire *message)
{
    struct kofn_fds fds = {0};
    const char *reason;
    int rc;

    CU_ASSERT_EQUAL(kofn__admit_look(server, kofn_now_ns(), 0), 0);
    kofn__guests_look(server, now);
    rc = kofn_channel_receive(channel, 0, message, &fds, &reason);
    kofn_fds_close(&fds);
    return rc ? 0 : message->type;
}

/* A worker that has its slot may take as long to answer as memory of the job's size takes to be
 * made ready for a device; then it is told why it is not a member, as the log is, with its rank.
 */
static void test_answer_takes_time_by_size(void)
{
    struct kofn_wire message = {.type = KOFN_WIRE_HELLO,
                                .hello = {.rank = VICTIM, .parameters = 4000000}};
    struct kofn_connect_attr attr = {.deadline = kofn_now_ns() + CLUSTER_PATIENCE};
    struct kofn_channel *channel;
    struct cluster cluster;
    uint64_t now;

    cluster_init(&cluster, 2);
    cluster.attr.parameters = message.hello.parameters; /* 64 MB of slot and models: 0.64 s more */
    CU_ASSERT_EQUAL_FATAL(kofn_server_open(&cluster.attr, &cluster.server), 0);
    attr.address = kofn_server_address(cluster.server);
    CU_ASSERT_EQUAL_FATAL(kofn_channel_connect(&attr, &channel), 0);
    CU_ASSERT_EQUAL(kofn_channel_send(channel, &message, NULL), 0);
    do
        now = kofn_now_ns();
    while (!hear(cluster.server, channel, now, &message) && now < attr.deadline);
    CU_ASSERT_EQUAL(message.type, KOFN_WIRE_WELCOME);
    CU_ASSERT_EQUAL(hear(cluster.server, channel, now + 5200 * KOFN_NS_PER_MS, &message), 0);
    CU_ASSERT_EQUAL(hear(cluster.server, channel, kofn_now_ns() + 6 * KOFN_NS_PER_S, &message),
                    KOFN_WIRE_REFUSED);
    CU_ASSERT_STRING_EQUAL(message.refused.text,
                           "rank 1: it has its slot, and did not answer within 5.6 s");
    kofn_channel_close(channel);
    kofn_server_close(cluster.server);
}

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* Steps until @pid has ended, and the server has seen the end of what it did. */
static void step_until_ended(struct cluster *cluster, pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, WNOHANG) == 0)
        CU_ASSERT_FATAL(cluster_step(cluster, 1));
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT(cluster_step(cluster, 3));
}

static bool victim_is_gone(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_GONE;
}

/* A running job goes on without those that want to take a dead worker's place and die; no
 * descriptor of them stays open; and the one that lives has it.
 */
static void test_running_job(void)
{
    struct kofn_member_report dead, back;
    struct cluster cluster;
    int descriptors;

    cluster_init(&cluster, 3);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cluster_signal(&cluster, VICTIM, SIGKILL);
    CU_ASSERT(cluster_step_until(&cluster, victim_is_gone));
    CU_ASSERT(cluster_step(&cluster, 3));
    dead = cluster_member(&cluster, VICTIM);
    step_until_ended(&cluster, fork_deaths(&cluster, WELCOME_RECEIVED, false));
    descriptors = open_descriptors();
    step_until_ended(&cluster, fork_deaths(&cluster, HELLO_SENT, false));
    step_until_ended(&cluster, fork_deaths(&cluster, WELCOME_RECEIVED, false));
    CU_ASSERT_EQUAL(open_descriptors(), descriptors);
    CU_ASSERT_EQUAL(cluster.report.wait_for, 2);
    CU_ASSERT_EQUAL(cluster.report.merged, 2);
    cluster_fork(&cluster, VICTIM);
    CU_ASSERT(cluster_step_until(&cluster, victim_takes_part));
    back = cluster_member(&cluster, VICTIM);
    CU_ASSERT(back.epoch > dead.epoch + 2 * DEATHS);
    CU_ASSERT_EQUAL(back.lost, dead.lost);
    CU_ASSERT(back.finished > dead.finished);
    cluster_end(&cluster);
}

void kofn_suite_half_joined(void)
{
    CU_pSuite suite = CU_add_suite("half_joined", NULL, NULL);

    CU_add_test(suite, "dead after hello, at the start", test_start_after_hello);
    CU_add_test(suite, "dead after welcome, at the start", test_start_after_welcome);
    CU_add_test(suite, "dead in a running job", test_running_job);
    CU_add_test(suite, "silent after welcome", test_answer_takes_time_by_size);
}
