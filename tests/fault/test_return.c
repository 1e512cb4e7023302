/* Workers that have lost their connection, and whose server cannot take them back at once: they try
 * again as long as their patience lasts.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/channel.h"
#include "core/server.h"
#include "tests/fault/cluster.h"

enum { VICTIM = 1 };

#define SILENCE (2 * KOFN_NS_PER_S) /* what the victim bears */

static bool victim_is_gone(struct cluster *cluster)
{
    return cluster_member(cluster, VICTIM).state == KOFN_MEMBER_GONE;
}

static bool victim_works_again(struct cluster *cluster)
{
    struct kofn_member_report member = cluster_member(cluster, VICTIM);

    return member.rejoins && member.state == KOFN_MEMBER_READY &&
           cluster->report.merged == cluster->attr.workers;
}

/* ---- somebody else in its place, on the way to membership ---- */

/* Takes the rank of the victim as far as WELCOME, and no further. */
static struct kofn_channel *half_join(struct cluster *cluster)
{
    struct kofn_wire message = {
        .type = KOFN_WIRE_HELLO,
        .hello = {.rank = VICTIM, .pid = (uint32_t)getpid(), .parameters = CLUSTER_PARAMETERS}};
    struct kofn_connect_attr attr = {.address = kofn_server_address(cluster->server),
                                     .deadline = kofn_now_ns() + CLUSTER_PATIENCE};
    struct kofn_channel *channel = NULL;
    const char *reason;
    int rc;

    CU_ASSERT_EQUAL_FATAL(kofn_channel_connect(&attr, &channel), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_channel_send(channel, &message, NULL), 0);
    do {
        CU_ASSERT_FATAL(cluster_step(cluster, 1));
    } while ((rc = kofn_channel_receive(channel, 0, &message, NULL, &reason)) == KOFN_AGAIN &&
             kofn_now_ns() < attr.deadline);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    CU_ASSERT_EQUAL(message.type, KOFN_WIRE_WELCOME);
    return channel;
}

static bool victim_was_put_off(struct cluster *cluster)
{
    return strstr(cluster->log.text, "may not join yet, and will try again: rank 1 is taken");
}

/* A worker whose place another process is about to have is not refused for that: should nothing
 * come of the other one, it has its place again, with an account that is whole.
 */
static void test_place_is_taken_for_a_while(void)
{
    struct kofn_channel *other;
    struct cluster cluster;

    cluster_init(&cluster, 2);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    cluster_signal(&cluster, VICTIM, SIGSTOP);
    shutdown(cluster.server->peers[VICTIM].control->fd, SHUT_RDWR);
    CU_ASSERT(cluster_step_until(&cluster, victim_is_gone));
    other = half_join(&cluster);
    kill(cluster.pids[VICTIM], SIGCONT);
    CU_ASSERT(cluster_step_until(&cluster, victim_was_put_off));
    kofn_channel_close(other);
    CU_ASSERT(cluster_step_until(&cluster, victim_works_again));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).pid, cluster.pids[VICTIM]);
    cluster_end(&cluster);
}

/* But it is refused, and ends, once the other process is a member in its place. */
static void test_place_is_taken_for_good(void)
{
    struct cluster cluster;
    pid_t former;

    cluster_init(&cluster, 2);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT(cluster_step(&cluster, 3));
    former = cluster.pids[VICTIM];
    cluster_signal(&cluster, VICTIM, SIGSTOP);
    shutdown(cluster.server->peers[VICTIM].control->fd, SHUT_RDWR);
    CU_ASSERT(cluster_step_until(&cluster, victim_is_gone));
    cluster_fork(&cluster, VICTIM);
    CU_ASSERT(cluster_step_until(&cluster, victim_works_again));
    kill(former, SIGCONT);
    for (int status = 0; !waitpid(former, &status, WNOHANG);)
        CU_ASSERT_FATAL(cluster_step(&cluster, 1));
    CU_ASSERT(cluster_said(&cluster, "may not join", "another process has had that rank"));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).pid, cluster.pids[VICTIM]);
    CU_ASSERT(cluster_step(&cluster, 3));
    cluster_end(&cluster);
}

/* ---- a server that is silent ---- */

static void tell(void *arg, enum kofn_log_level level, const char *message)
{
    (void)level;
    if (write(*(int *)arg, message, strlen(message)) < 0)
        _exit(9);
}

/* Forks a victim with little patience; returns where its messages come from, one a read. */
static int fork_impatient(struct cluster *cluster)
{
    int ends[2];
    struct kofn_log log = {KOFN_LOG_WARN, tell, &ends[1]};

    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    cluster->workers[VICTIM].timeout = SILENCE;
    cluster->pids[VICTIM] = fork();
    if (cluster->pids[VICTIM] == 0)
        _exit(cluster_work(kofn_server_address(cluster->server), VICTIM, &cluster->workers[VICTIM],
                           &log));
    close(ends[1]);
    return ends[0];
}

/* A job of two that has got under way, the victim one of them; its messages. */
static int start_impatient(struct cluster *cluster)
{
    float model[CLUSTER_PARAMETERS] = {0};
    int messages;

    cluster_init(cluster, 2);
    CU_ASSERT_EQUAL_FATAL(kofn_server_open(&cluster->attr, &cluster->server), 0);
    cluster_fork(cluster, 0);
    messages = fork_impatient(cluster);
    CU_ASSERT_EQUAL_FATAL(kofn_server_start(cluster->server, model), 0);
    CU_ASSERT(cluster_step(cluster, 3));
    return messages;
}

/* Waits for the next message, which is to have @part in it. */
static bool hears(int messages, const char *part)
{
    struct pollfd ready = {.fd = messages, .events = POLLIN};
    char text[1024];
    ssize_t bytes;

    if (poll(&ready, 1, (int)(CLUSTER_PATIENCE / KOFN_NS_PER_MS)) != 1)
        return false;
    bytes = read(messages, text, sizeof(text) - 1);
    text[KOFN_MAX(bytes, 0)] = '\0';
    if (strstr(text, part))
        return true;
    printf("# heard \"%s\"\n", text);
    return false;
}

/* A server that says nothing for longer than its worker bears, and whose connections the kernel
 * keeps, is connected to again: when it goes on, that worker is a member once more.
 */
static void test_server_is_silent(void)
{
    struct cluster cluster;
    int messages;

    messages = start_impatient(&cluster);
    CU_ASSERT(hears(messages, "no sign of it for longer than its time-out; connecting again"));
    CU_ASSERT(cluster_step_until(&cluster, victim_works_again));
    CU_ASSERT_EQUAL(cluster_member(&cluster, VICTIM).pid, cluster.pids[VICTIM]);
    CU_ASSERT_EQUAL(cluster_member(&cluster, 0).rejoins, 0);
    cluster_end(&cluster);
    close(messages);
}

/* And is given up when it stays silent for as long again, with the reason. */
static void test_server_stays_silent(void)
{
    struct cluster cluster;
    int messages, status;

    messages = start_impatient(&cluster);
    CU_ASSERT(hears(messages, "connecting again"));
    CU_ASSERT(hears(messages, "has not answered in"));
    CU_ASSERT(hears(messages, "could not be joined again"));
    status = cluster_wait(cluster.pids[VICTIM]);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    cluster.pids[VICTIM] = 0;
    CU_ASSERT(cluster_step(&cluster, 3));
    cluster_end(&cluster);
    close(messages);
}

static void add_tests(CU_pSuite suite)
{
    CU_add_test(suite, "place taken for a while", test_place_is_taken_for_a_while);
    CU_add_test(suite, "place taken for good", test_place_is_taken_for_good);
    CU_add_test(suite, "server is silent", test_server_is_silent);
    CU_add_test(suite, "server stays silent", test_server_stays_silent);
}

void kofn_suite_return(void)
{
    cluster_suite_over_tcp("return", add_tests);
}
