/* Strangers on the network, hosts that end without a word, servers that say nonsense or run out of
 * descriptors: the job of the others goes on, and what ends says why.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/channel.h"
#include "tests/fault/cluster.h"
#include "tests/fault/loopback.h"
#include "tests/lib/runner.h"

static size_t open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static struct kofn_channel *visit(const struct cluster *cluster)
{
    struct kofn_connect_attr attr = {.address = kofn_server_address(cluster->server),
                                     .deadline = kofn_now_ns() + CLUSTER_PATIENCE,
                                     .silence = CLUSTER_PATIENCE};
    struct kofn_channel *channel = NULL;

    CU_ASSERT_EQUAL_FATAL(kofn_channel_connect(&attr, &channel), 0);
    return channel;
}

/* Steps until the server has hung up on @channel. */
static bool hung_up(struct cluster *cluster, struct kofn_channel *channel)
{
    uint64_t deadline = kofn_now_ns() + CLUSTER_PATIENCE;
    char answer[KOFN_FRAME_BYTES];
    ssize_t got;

    do {
        CU_ASSERT_FATAL(cluster_step(cluster, 1));
        got = recv(channel->fd, answer, sizeof(answer), MSG_DONTWAIT);
    } while ((got > 0 || (got < 0 && errno == EAGAIN)) && kofn_now_ns() < deadline);
    return got == 0 || errno == ECONNRESET;
}

/* Somebody who speaks another language is sent away and named; the round he came in closes. */
static void test_another_language(void)
{
    static const char *const greetings[] = {
        "GET / HTTP/1.1\r\nHost: example\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\xff\xff\xff\xff\xff\xff"};
    struct cluster cluster;

    cluster_init(&cluster, 2);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(greetings); i++) {
        struct kofn_channel *channel = visit(&cluster);

        CU_ASSERT(send(channel->fd, greetings[i], strlen(greetings[i]), MSG_NOSIGNAL) > 0);
        CU_ASSERT(hung_up(&cluster, channel));
        kofn_channel_close(channel);
    }
    CU_ASSERT(cluster_said(&cluster, "127.0.0.1 may not join", "not a message of kofn"));
    CU_ASSERT(cluster_step(&cluster, 3));
    CU_ASSERT_EQUAL(cluster.report.merged, 2);
    cluster_end(&cluster);
}

/* More visitors than the server lets in, who say nothing, or a byte at a time: each has his time,
 * no more of them are held than there are places, and a worker that comes behind them joins.
 */
static void test_slow_visitors(void)
{
    enum { VISITORS = 80, PLACES = 64 };
    struct kofn_channel *visitors[VISITORS];
    float model[CLUSTER_PARAMETERS] = {0};
    struct kofn_wire hello = {.type = KOFN_WIRE_HELLO};
    unsigned char bytes[KOFN_FRAME_BYTES];
    struct cluster cluster;
    size_t most = 0, before, dripped = 0;
    pid_t worker;

    cluster_init(&cluster, 1);
    cluster.attr.join_timeout =
        20 * KOFN_NS_PER_MS; /* a message each, and there is room for 64 KiB */
    kofn_frame_pack(&hello, bytes);
    CU_ASSERT_EQUAL_FATAL(kofn_server_open(&cluster.attr, &cluster.server), 0);
    for (size_t i = 0; i < VISITORS; i++)
        visitors[i] = visit(&cluster);
    before = open_descriptors();
    cluster_fork(&cluster, 0);
    worker = cluster.pids[0];
    while (kofn_server_start(cluster.server, model) == KOFN_TIMEOUT) {
        size_t now = open_descriptors();

        most = now > most ? now : most;
        for (size_t i = 0; i < VISITORS; i += 2) /* every other one drips */
            send(visitors[i]->fd, bytes + dripped % 8, dripped < 300, MSG_NOSIGNAL);
        dripped++;
        CU_ASSERT_FATAL(waitpid(worker, NULL, WNOHANG) == 0);
    }
    CU_ASSERT(most <= before + PLACES + 1);
    CU_ASSERT(cluster_said(&cluster, "127.0.0.1", "did not join within 5 s; closed"));
    CU_ASSERT(cluster_step(&cluster, 3));
    for (size_t i = 0; i < VISITORS; i++)
        kofn_channel_close(visitors[i]);
    cluster_end(&cluster);
}

/* A process without descriptors says so, goes on with those that are in, and lets others in when it
 * has some again.
 */
static void test_no_descriptors(void)
{
    struct rlimit before, none;
    struct cluster cluster;
    int fds[2], spare[256];
    size_t taken = 0;

    cluster_init(&cluster, 2);
    cluster.attr.wait_for = 1;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    cluster_signal(&cluster, 1, SIGKILL);
    CU_ASSERT(cluster_step(&cluster, 20));
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    none = before;
    none.rlim_cur = (rlim_t)fds[1] + 1; /* all below it are in use, or are after this */
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (taken < KOFN_ARRAY_SIZE(spare) && (spare[taken] = dup(fds[0])) >= 0)
        taken++;
    cluster_fork(&cluster, 1);
    while (!strstr(cluster.log.text, "a worker cannot be let in"))
        CU_ASSERT_FATAL(cluster_step(&cluster, 1));
    CU_ASSERT(cluster_step(&cluster, 5));
    CU_ASSERT(cluster_said(&cluster, "a worker cannot be let in", "Too many open files"));
    setrlimit(RLIMIT_NOFILE, &before);
    while (taken)
        close(spare[--taken]);
    while (cluster_member(&cluster, 1).state == KOFN_MEMBER_GONE)
        CU_ASSERT_FATAL(cluster_step(&cluster, 1));
    close(fds[0]);
    close(fds[1]);
    cluster_end(&cluster);
}

/* Sends @message to the server and returns its answer's text. */
static void ask(struct cluster *cluster, const struct kofn_wire *message, char *text)
{
    struct kofn_channel *channel = visit(cluster);
    struct kofn_wire answer;
    const char *reason;
    int rc;

    CU_ASSERT_EQUAL(kofn_channel_send(channel, message, NULL), 0);
    do {
        CU_ASSERT_FATAL(cluster_step(cluster, 1));
        rc = kofn_channel_receive(channel, 0, &answer, NULL, &reason);
    } while (rc == KOFN_AGAIN);
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT_EQUAL(answer.type, KOFN_WIRE_REFUSED);
    snprintf(text, KOFN_WIRE_TEXT_BYTES, "%s", answer.refused.text);
    kofn_channel_close(channel);
}

/* A worker of another transport, or that was started for another job, is told what differs. */
static void test_another_job(void)
{
    struct kofn_wire hello = {.type = KOFN_WIRE_HELLO};
    char text[KOFN_WIRE_TEXT_BYTES];
    struct cluster cluster;

    cluster_init(&cluster, 2);
    cluster.attr.workload = "model=mlp batch=64 lr=0.1 seed=1";
    CU_ASSERT_FATAL(cluster_start(&cluster)); /* its workers say nothing of a workload */
    hello.hello.rank = 1;
    hello.hello.parameters = CLUSTER_PARAMETERS;
    snprintf(hello.hello.transport, sizeof(hello.hello.transport), "pigeons");
    ask(&cluster, &hello, text);
    CU_ASSERT_STRING_EQUAL(text, "its transport is pigeons, the server's is tcp");
    snprintf(hello.hello.transport, sizeof(hello.hello.transport), "tcp");
    snprintf(hello.hello.workload, sizeof(hello.hello.workload),
             "model=mlp batch=64 lr=0.12 seed=1");
    ask(&cluster, &hello, text);
    CU_ASSERT_STRING_EQUAL(text, "it was started with lr=0.12, the server with lr=0.1");
    snprintf(hello.hello.workload, sizeof(hello.hello.workload), "%s", cluster.attr.workload);
    ask(&cluster, &hello, text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "rank 1 is taken by pid")); /* all the rest suits */
    cluster_end(&cluster);
}

/* What a false server answers to HELLO, with @fds beside it, in a process of its own. */
static pid_t false_server(const char *address, const struct kofn_wire *answer,
                          const struct kofn_fds *fds)
{
    struct kofn_listener_attr listen = {.address = address};
    struct kofn_listener listener;
    pid_t pid;

    CU_ASSERT_EQUAL_FATAL(kofn_listener_open(&listen, &listener), 0);
    pid = fork();
    if (pid == 0) {
        struct kofn_channel *channel;
        struct kofn_wire message;
        const char *reason;

        while (kofn_listener_accept(&listener, &channel, NULL) == KOFN_AGAIN) {
        }
        while (kofn_channel_receive(channel, kofn_now_ns() + CLUSTER_PATIENCE, &message, NULL,
                                    &reason) == KOFN_AGAIN) {
        }
        kofn_channel_send(channel, answer, fds);
        /* until the worker hangs up */
        kofn_channel_receive(channel, kofn_now_ns() + CLUSTER_PATIENCE, &message, NULL, &reason);
        _exit(0);
    }
    kofn_listener_close(&listener);
    return pid;
}

/* A welcome that makes no sense ends the joining, with a reason, and leaves no descriptor behind.
 */
static void nonsense(const struct kofn_wire *welcome, int wanted, const char *part)
{
    struct kofn_fds fds = {.count = 2, .fds = {STDIN_FILENO, STDOUT_FILENO}};
    struct cluster_log log = {.used = 0};
    struct kofn_worker_attr attr = {
        .size = sizeof(attr), .parameters = CLUSTER_PARAMETERS, .timeout = CLUSTER_PATIENCE};
    struct kofn_worker *worker;
    size_t before = open_descriptors();
    char address[64];
    pid_t server;

    cluster_log_init(&log);
    attr.log = &log.log;
    snprintf(address, sizeof(address), "shm:false-server-%d", (int)getpid());
    attr.address = address;
    server = false_server(address, welcome, &fds);
    CU_ASSERT_EQUAL(kofn_worker_open(&attr, &worker), wanted);
    CU_ASSERT_EQUAL(open_descriptors(), before);
    CU_ASSERT_PTR_NOT_NULL(strstr(log.text, part));
    CU_ASSERT_EQUAL(cluster_wait(server), 0);
}

static void test_false_server(void)
{
    struct kofn_wire welcome = {.type = KOFN_WIRE_WELCOME}, bad;

    snprintf(welcome.welcome.transport, sizeof(welcome.welcome.transport), "shm");
    welcome.welcome.job.workers = 1;
    welcome.welcome.job.local_steps = 1;
    welcome.welcome.job.parameters = CLUSTER_PARAMETERS;
    welcome.welcome.depth = 2;
    nonsense(&welcome, KOFN_PROTOCOL, "not one of shared memory"); /* its offer is empty */
    bad = welcome;
    bad.welcome.depth = 1000000;
    nonsense(&bad, KOFN_PROTOCOL, "no valid shape");
    bad.welcome.depth = 0;
    nonsense(&bad, KOFN_PROTOCOL, "no valid shape");
    bad = welcome;
    bad.welcome.job.workers = 0;
    nonsense(&bad, KOFN_PROTOCOL, "contradicts itself");
    bad = welcome;
    snprintf(bad.welcome.transport, sizeof(bad.welcome.transport), "pigeons");
    nonsense(&bad, KOFN_UNSUPPORTED, "pigeons, which is not in this build");
    snprintf(bad.welcome.transport, sizeof(bad.welcome.transport), "tcp"); /* over a Unix socket */
    nonsense(&bad, KOFN_UNSUPPORTED, "tcp");
    bad = welcome;
    bad.type = KOFN_WIRE_GO;
    nonsense(&bad, KOFN_PROTOCOL, "out of turn");
}

/* In a network of its own: nothing is heard of the other hosts any more. The exit status says what
 * was wrong.
 */
static int lose_the_network(void)
{
    struct cluster cluster;
    uint64_t lost;
    int rc = 0;

    if (!loopback_of_its_own())
        return 77;
    cluster_init(&cluster, 2);
    cluster.attr.peer_timeout = KOFN_NS_PER_S;
    cluster.workers[0].timeout = cluster.workers[1].timeout = KOFN_NS_PER_S * 3 / 2;
    if (!cluster_start(&cluster) || !cluster_step(&cluster, 3))
        return 1;
    loopback_set(false);
    lost = kofn_now_ns();
    while (!rc && kofn_now_ns() - lost < CLUSTER_PATIENCE)
        rc = kofn_server_step(cluster.server, 100 * KOFN_NS_PER_MS, &cluster.report) == KOFN_GONE;
    if (!rc || kofn_now_ns() - lost > 10 * KOFN_NS_PER_S)
        return 2;
    if (!cluster_said(&cluster, "rank 0", "gone in round") ||
        !cluster_said(&cluster, "rank 1", "gone in round"))
        return 3;
    for (int rank = 0; rank < 2; rank++) /* they end by themselves, too */
        if (WEXITSTATUS(cluster_wait(cluster.pids[rank])) != 1)
            return 4;
    return 0;
}

/* Hosts that are cut off without a word are gone within the time-out, on both sides. */
static void test_hosts_lose_power(void)
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(lose_the_network());
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        kofn_test_skip("no network namespaces for this user");
        return;
    }
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
}

static void add_tests(CU_pSuite suite)
{
    CU_add_test(suite, "another language", test_another_language);
    CU_add_test(suite, "slow visitors", test_slow_visitors);
    CU_add_test(suite, "no descriptors", test_no_descriptors);
    CU_add_test(suite, "another job", test_another_job);
    CU_add_test(suite, "false server", test_false_server);
    CU_add_test(suite, "hosts lose power", test_hosts_lose_power);
}

void kofn_suite_network(void)
{
    cluster_suite_over_tcp("network", add_tests);
}
