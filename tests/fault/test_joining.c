/* Strangers, impostors and dead servers: what the control channel lets in, and what a worker does
 * when it breaks. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/channel.h"
#include "tests/fault/cluster.h"

/* Tries to join in a process of its own, while the server steps: its exit status and what it said.
 */
static int intrude(struct cluster *cluster, uint32_t rank, uint64_t parameters, char *said,
                   size_t room)
{
    int pipe_fds[2], status = 0;
    ssize_t got;
    pid_t pid;

    CU_ASSERT_EQUAL_FATAL(pipe(pipe_fds), 0);
    pid = fork();
    if (pid == 0) {
        struct kofn_worker_attr attr = {.size = sizeof(attr),
                                        .address = kofn_server_address(cluster->server),
                                        .rank = rank,
                                        .parameters = parameters,
                                        .timeout = CLUSTER_PATIENCE};
        struct kofn_worker *worker;

        dup2(pipe_fds[1], STDERR_FILENO);
        _exit(kofn_worker_open(&attr, &worker) == KOFN_REFUSED ? 7 : 0);
    }
    close(pipe_fds[1]);
    while (waitpid(pid, &status, WNOHANG) == 0)
        CU_ASSERT(cluster_step(cluster, 1));
    got = read(pipe_fds[0], said, room - 1);
    said[got > 0 ? got : 0] = '\0';
    close(pipe_fds[0]);
    return WEXITSTATUS(status);
}

/* A rank beyond N, a rank that is taken and a model of another size are refused with the reason;
 * nobody else notices. */
static void test_refused(void)
{
    struct cluster cluster;
    char said[512];

    cluster_init(&cluster, 2);
    CU_ASSERT_FATAL(cluster_start(&cluster));
    CU_ASSERT_EQUAL(intrude(&cluster, 2, CLUSTER_PARAMETERS, said, sizeof(said)), 7);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "rank 2 is not below the number of workers, 2"));
    CU_ASSERT_EQUAL(intrude(&cluster, 1, CLUSTER_PARAMETERS, said, sizeof(said)), 7);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "rank 1 is taken by pid"));
    CU_ASSERT_EQUAL(intrude(&cluster, 0, CLUSTER_PARAMETERS + 1, said, sizeof(said)), 7);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "1001 parameters, the server's has 1000"));
    CU_ASSERT(cluster_step(&cluster, 3));
    CU_ASSERT_EQUAL(cluster.report.merged, 2);
    cluster_end(&cluster);
}

/* Sends raw bytes to the server; it must hang up and go on. */
static void intrude_bytes(struct cluster *cluster, const void *bytes, size_t length)
{
    struct timeval patience = {.tv_sec = 10};
    struct kofn_connect_attr attr = {.address = kofn_server_address(cluster->server),
                                     .deadline = kofn_now_ns() + CLUSTER_PATIENCE};
    char answer[KOFN_WIRE_BYTES];
    struct kofn_channel *channel;
    ssize_t got = 1;
    int fd;

    CU_ASSERT_EQUAL_FATAL(kofn_channel_connect(&attr, &channel), 0);
    fd = channel->fd;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (channel->network) {
        unsigned char head[4] = {(unsigned char)length, (unsigned char)(length >> 8)};

        CU_ASSERT_EQUAL(send(fd, head, sizeof(head), 0), sizeof(head));
    }
    /* over a network it may have been cut off already: its length was wrong */
    CU_ASSERT(send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length || channel->network);
    CU_ASSERT(cluster_step(cluster, 3));
    while (got > 0)
        got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    /* hung up, not silent; with a reset where it had not read all of it */
    CU_ASSERT(got == 0 || (channel->network && errno == ECONNRESET));
    kofn_channel_close(channel);
}

/* A hello of another version, with another magic, cut short, too long or out of turn ends the
 * connection alone. */
static void test_bad_hello(void)
{
    struct kofn_wire hello = {.type = KOFN_WIRE_HELLO}, ready = {.type = KOFN_WIRE_READY};
    unsigned char good[KOFN_WIRE_BYTES], bad[2 * KOFN_WIRE_BYTES] = {0};
    struct cluster cluster;
    size_t length;

    cluster_init(&cluster, 2);
    cluster.log.log.level = KOFN_LOG_WARN;
    CU_ASSERT_FATAL(cluster_start(&cluster));
    length = kofn_wire_pack(&hello, good);
    memcpy(bad, good, length);
    bad[4] ^= 2;
    intrude_bytes(&cluster, bad, length);
    CU_ASSERT(cluster_said(&cluster, "may not join", "another version of the protocol"));
    memcpy(bad, good, length);
    bad[0] ^= 1;
    intrude_bytes(&cluster, bad, length);
    CU_ASSERT(cluster_said(&cluster, "may not join", "not a message of kofn"));
    intrude_bytes(&cluster, good, length - 1);
    intrude_bytes(&cluster, bad, sizeof(bad));
    length = kofn_wire_pack(&ready, good);
    intrude_bytes(&cluster, good, length);
    CU_ASSERT(cluster_said(&cluster, "may not join", "out of turn"));
    CU_ASSERT(cluster_step(&cluster, 3));
    CU_ASSERT_EQUAL(cluster.report.merged, 2);
    cluster_end(&cluster);
}

/* Without its workers a start ends at its time-out, and lists who is missing. */
static void test_nobody_comes(void)
{
    struct cluster cluster;
    float model[CLUSTER_PARAMETERS] = {0};

    cluster_init(&cluster, 3);
    cluster.attr.join_timeout = 50 * KOFN_NS_PER_MS;
    CU_ASSERT_EQUAL_FATAL(kofn_server_open(&cluster.attr, &cluster.server), 0);
    CU_ASSERT_EQUAL(kofn_server_start(cluster.server, model), KOFN_TIMEOUT);
    CU_ASSERT(cluster_said(&cluster, "0 of 3 workers", "missing: rank 0, 1, 2"));
    kofn_server_close(cluster.server);
}

/* A worker whose server never comes gives up at its time-out. */
static void test_no_server(void)
{
    struct cluster_worker worker = {.timeout = 50 * KOFN_NS_PER_MS};
    struct cluster cluster;

    cluster_init(&cluster, 1);
    CU_ASSERT_EQUAL(cluster_work("shm:nobody-listens-here", 0, &worker, &cluster.log.log), 1);
    CU_ASSERT(cluster_said(&cluster, "no server at shm:nobody-listens-here", "for 0."));
    CU_ASSERT_EQUAL(cluster_work("tcp://example", 0, &worker, &cluster.log.log), 1);
    CU_ASSERT(cluster_said(&cluster, "'tcp://example'", "tcp:HOST:PORT"));
    CU_ASSERT_EQUAL(cluster_work("example:1234", 0, &worker, &cluster.log.log), 1);
    CU_ASSERT(cluster_said(&cluster, "'example:1234'", "shm:NAME"));
    CU_ASSERT_EQUAL(cluster_work("tcp:127.0.0.1:1", 0, &worker, &cluster.log.log), 1);
    CU_ASSERT(cluster_said(&cluster, "no server at tcp:127.0.0.1:1", "refused"));
}

/* A server in a process of its own, which steps until it is killed. */
static void serve_forever(struct cluster *cluster)
{
    float model[CLUSTER_PARAMETERS] = {0};

    cluster->attr.log = NULL;
    if (kofn_server_open(&cluster->attr, &cluster->server) ||
        kofn_server_start(cluster->server, model))
        _exit(1);
    while (cluster_step(cluster, 1)) {
    }
    _exit(1);
}

/* The server is killed, or frozen: its workers end within their deadline, and say who failed them.
 */
static void server_fails(int signal, uint64_t timeout, const char *reason)
{
    struct cluster_worker worker = {
        .update_ns = 2 * KOFN_NS_PER_MS, .timeout = timeout, .signal = signal};
    struct cluster cluster;
    char address[64], name[32];

    cluster_init(&cluster, 1);
    cluster_address(address);
    cluster.attr.address = address;
    worker.victim = fork();
    if (worker.victim == 0)
        serve_forever(&cluster);
    CU_ASSERT_EQUAL(cluster_work(address, 0, &worker, &cluster.log.log), 1);
    snprintf(name, sizeof(name), "pid %d", (int)worker.victim);
    /* over a network its data connection may tell first */
    CU_ASSERT(cluster_said(&cluster, name, reason) ||
              cluster_said(&cluster, name, "its connection to the server ("));
    kill(worker.victim, SIGKILL);
    cluster_wait(worker.victim);
}

static void test_server_killed(void)
{
    server_fails(SIGKILL, CLUSTER_PATIENCE, "is gone");
}

static void test_server_frozen(void)
{
    server_fails(SIGSTOP, 2 * KOFN_NS_PER_S, "no sign of the server");
}

static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR};

/* Takes the next worker in and hears its HELLO. NULL if none comes. */
static struct kofn_channel *hear_hello(struct kofn_listener *listener, struct kofn_wire *message)
{
    uint64_t deadline = kofn_now_ns() + CLUSTER_PATIENCE;
    struct kofn_channel *channel = NULL;
    const char *reason;

    while (kofn_listener_accept(listener, &channel, &quiet) && kofn_now_ns() < deadline)
        sched_yield();
    if (channel && kofn_channel_receive(channel, deadline, message, NULL, &reason)) {
        kofn_channel_close(channel);
        channel = NULL;
    }
    return channel;
}

/* Joins whoever listens at @address, in a process of its own; its status is the exit status, what
 * it says goes to @said.
 */
static pid_t join_in_process(const char *address, uint64_t parameters, uint64_t timeout, int said)
{
    struct kofn_worker_attr attr = {
        .size = sizeof(attr), .address = address, .parameters = parameters, .timeout = timeout};
    struct kofn_worker *worker;
    pid_t pid = fork();

    if (pid == 0) {
        dup2(said, STDERR_FILENO);
        _exit(-kofn_worker_open(&attr, &worker));
    }
    return pid;
}

/* A server that hears a worker's HELLO, waits for @wait ns, and hangs up or @refuses it. Returns
 * the worker's status.
 */
static int answer_hello(uint64_t parameters, uint64_t timeout, uint64_t wait, bool refuses,
                        char *address, char *said, size_t room)
{
    struct kofn_listener_attr attr = {.network = !strcmp(cluster_transport, "tcp"),
                                      .address = address,
                                      .silence = CLUSTER_PATIENCE,
                                      .log = &quiet};
    struct kofn_wire message, refused = {.type = KOFN_WIRE_REFUSED};
    struct kofn_listener listener;
    struct kofn_channel *channel;
    int pipe_fds[2], status = 0;
    uint64_t until;
    ssize_t got;
    pid_t pid;

    cluster_address(address);
    CU_ASSERT_EQUAL_FATAL(kofn_listener_open(&attr, &listener), 0);
    strcpy(address, listener.address);
    CU_ASSERT_EQUAL_FATAL(pipe(pipe_fds), 0);
    pid = join_in_process(address, parameters, timeout, pipe_fds[1]);
    close(pipe_fds[1]);
    channel = hear_hello(&listener, &message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(channel);
    for (until = kofn_now_ns() + wait; kofn_now_ns() < until;)
        sched_yield();
    if (refuses)
        kofn_channel_send(channel, &refused, NULL);
    else
        kofn_channel_close(channel);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    if (refuses)
        kofn_channel_close(channel);
    got = read(pipe_fds[0], said, room - 1);
    said[got > 0 ? got : 0] = '\0';
    close(pipe_fds[0]);
    kofn_listener_close(&listener);
    CU_ASSERT(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

/* Who is hung up on while it joins says which server that was: where, and, where the kernel tells,
 * which process.
 */
static void test_server_hangs_up(void)
{
    char address[KOFN_ADDRESS_BYTES], said[512], process[32];

    CU_ASSERT_EQUAL(
        answer_hello(CLUSTER_PARAMETERS, CLUSTER_PATIENCE, 0, false, address, said, sizeof(said)),
        KOFN_GONE);
    snprintf(process, sizeof(process), "pid %d, ", (int)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(said, address));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "hung up while it was joined"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said, strcmp(cluster_transport, "tcp") ? process : "127.0.0.1, "));
}

/* A worker's time-out is the server's; what memory of the job's size takes to be made ready for a
 * device is not counted, before the first membership or a later one.
 */
static void test_memory_takes_its_time(void)
{
    const uint64_t timeout = 300 * KOFN_NS_PER_MS;
    char address[KOFN_ADDRESS_BYTES], said[512];

    CU_ASSERT_EQUAL(
        answer_hello(100000000, timeout, 3 * timeout, true, address, said, sizeof(said)),
        KOFN_REFUSED); /* GiBs: it waits for half a minute */
    CU_ASSERT_EQUAL(answer_hello(1000, timeout, 3 * timeout, true, address, said, sizeof(said)),
                    KOFN_TIMEOUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "has not answered in"));
}

static void add_tests(CU_pSuite suite)
{
    CU_add_test(suite, "refused with a reason", test_refused);
    CU_add_test(suite, "bad hello", test_bad_hello);
    CU_add_test(suite, "nobody comes", test_nobody_comes);
    CU_add_test(suite, "no server", test_no_server);
    CU_add_test(suite, "server killed", test_server_killed);
    CU_add_test(suite, "server frozen", test_server_frozen);
    CU_add_test(suite, "server hangs up", test_server_hangs_up);
    CU_add_test(suite, "memory takes its time", test_memory_takes_its_time);
}

void kofn_suite_joining(void)
{
    add_tests(CU_add_suite("joining", NULL, NULL));
}

void kofn_suite_joining_tcp(void)
{
    cluster_suite_over_tcp("joining_tcp", add_tests);
}
