/* The control channel by itself: addresses, messages that come in pieces, those who never read, and
 * descriptors that must not be lost. */
#include <arpa/inet.h>
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "core/channel.h"
#include "tests/lib/caught_log.h"

#define PATIENCE (20 * KOFN_NS_PER_S)

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

/* Two ends of a connection. */
struct pair {
    struct kofn_listener listener;
    struct kofn_channel *worker, *server;
};

static void pair_open(struct pair *pair, const char *address)
{
    struct kofn_listener_attr listen = {.address = address, .silence = PATIENCE};
    struct kofn_connect_attr connect = {.deadline = kofn_now_ns() + PATIENCE, .silence = PATIENCE};
    int rc;

    CU_ASSERT_EQUAL_FATAL(kofn_listener_open(&listen, &pair->listener), 0);
    connect.address = pair->listener.address;
    CU_ASSERT_EQUAL_FATAL(kofn_channel_connect(&connect, &pair->worker), 0);
    while ((rc = kofn_listener_accept(&pair->listener, &pair->server, NULL)) == KOFN_AGAIN) {
    }
    CU_ASSERT_EQUAL_FATAL(rc, 0);
}

static void pair_close(struct pair *pair)
{
    kofn_channel_close(pair->worker);
    kofn_channel_close(pair->server);
    kofn_listener_close(&pair->listener);
}

static struct kofn_wire hello_of(uint32_t rank)
{
    struct kofn_wire message = {.type = KOFN_WIRE_HELLO};

    message.hello.rank = rank;
    snprintf(message.hello.host, sizeof(message.hello.host), "node%u", rank);
    return message;
}

/* Is the next message the HELLO of @rank? */
static bool next_is(struct kofn_channel *channel, uint32_t rank)
{
    struct kofn_wire message, wanted = hello_of(rank);
    const char *reason;
    int rc;

    while ((rc = kofn_channel_receive(channel, kofn_now_ns() + PATIENCE, &message, NULL,
                                      &reason)) == KOFN_AGAIN) {
    }
    return !rc && !memcmp(&message, &wanted, sizeof(message));
}

/* What is not an address is refused with the forms that are. */
static void test_bad_addresses(void)
{
    static const char *const bad[] = {
        "",          "shm:",           "somewhere",       "tcp:",
        "tcp:host",  "tcp::1",         "tcp:[::1:5",      "tcp:1:2:3",
        "tcp:host:", "tcp:host:65536", "tcp:host:-1",     "tcp:host:http",
        "tcp:[]:5",  "tcp:[::1]5:5",   "TCP:127.0.0.1:5",
    };
    struct kofn_listener listener;
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(bad); i++) {
        struct kofn_listener_attr listen = {.address = bad[i], .log = &caught.log};
        struct kofn_connect_attr connect = {.address = bad[i], .log = &caught.log};
        struct kofn_channel *channel;

        CU_ASSERT_EQUAL(kofn_listener_open(&listen, &listener), KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, "is not of the form"));
        CU_ASSERT_EQUAL(kofn_channel_connect(&connect, &channel), KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, "tcp:HOST:PORT"));
    }
}

/* Whoever can be reached from other hosts must have said so; the reason names the way out. */
static void test_beyond_this_host(void)
{
    static const char *const open[] = {"tcp:*:0", "tcp:0.0.0.0:0"};
    struct kofn_listener listener;
    struct kofn_caught caught;
    unsigned port;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(open); i++) {
        struct kofn_listener_attr attr = {.address = open[i], .log = &caught.log};

        CU_ASSERT_EQUAL(kofn_listener_open(&attr, &listener), KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, "--insecure"));
        attr.insecure = true;
        CU_ASSERT_EQUAL_FATAL(kofn_listener_open(&attr, &listener), 0);
        CU_ASSERT_STRING_EQUAL(listener.host, ""); /* all of this host's */
        CU_ASSERT_EQUAL(sscanf(strrchr(listener.address, ':'), ":%u", &port), 1);
        CU_ASSERT(port > 0);
        CU_ASSERT(!strstr(listener.address, "*") && !strstr(listener.address, ":0.0.0.0:"));
        kofn_listener_close(&listener);
    }
}

/* A message crosses in both families, and the ends know where they are; port 0 became a real one.
 */
static void both_ways(const char *address, const char *host, const char *public)
{
    struct kofn_wire hello = hello_of(7), go = {.type = KOFN_WIRE_GO}, got;
    struct pair pair;
    const char *reason;

    pair_open(&pair, address);
    CU_ASSERT(!strncmp(pair.listener.address, public, strlen(public)));
    CU_ASSERT_STRING_EQUAL(pair.listener.host, host);
    CU_ASSERT_STRING_EQUAL(pair.worker->path.peer, host);
    CU_ASSERT_STRING_EQUAL(pair.server->path.local, host);
    CU_ASSERT_STRING_EQUAL(pair.server->path.peer, host);
    CU_ASSERT_EQUAL(kofn_channel_send(pair.worker, &hello, NULL), 0);
    CU_ASSERT(next_is(pair.server, 7));
    CU_ASSERT_EQUAL(kofn_channel_receive(pair.server, 0, &got, NULL, &reason), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_channel_send(pair.server, &go, NULL), 0);
    CU_ASSERT_EQUAL(
        kofn_channel_receive(pair.worker, kofn_now_ns() + PATIENCE, &got, NULL, &reason), 0);
    CU_ASSERT_EQUAL(got.type, KOFN_WIRE_GO);
    pair_close(&pair);
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has = fd >= 0 && !bind(fd, (struct sockaddr *)&loopback, sizeof(loopback));

    if (fd >= 0)
        close(fd);
    return has;
}

static void test_both_families(void)
{
    both_ways("tcp:127.0.0.1:0", "127.0.0.1", "tcp:127.0.0.1:");
    if (has_ipv6())
        both_ways("tcp:[::1]:0", "::1", "tcp:[::1]:");
    both_ways(NULL, "", "shm:");
}

/* Descriptors cannot travel over a network: nothing is sent in their place. */
static void test_no_descriptors_over_a_network(void)
{
    struct kofn_wire hello = hello_of(1), got;
    struct kofn_fds fds = {.count = 1, .fds = {STDIN_FILENO}};
    const char *reason;
    struct pair pair;

    pair_open(&pair, "tcp:127.0.0.1:0");
    CU_ASSERT_EQUAL(kofn_channel_send(pair.worker, &hello, &fds), KOFN_UNSUPPORTED);
    CU_ASSERT_EQUAL(kofn_channel_receive(pair.server, 0, &got, NULL, &reason), KOFN_AGAIN);
    pair_close(&pair);
}

/* However a stream is cut, each message comes out whole, once, in order, and never early. */
static void test_messages_in_pieces(void)
{
    unsigned char stream[20 * KOFN_FRAME_BYTES];
    struct kofn_random random;
    size_t length = 0, sent = 0;
    uint32_t seen = 0;
    struct pair pair;

    kofn_random_seed(&random, 11, 0);
    pair_open(&pair, "tcp:127.0.0.1:0");
    for (uint32_t rank = 0; rank < 20; rank++) {
        struct kofn_wire hello = hello_of(rank);

        length += kofn_frame_pack(&hello, stream + length);
    }
    while (seen < 20) {
        size_t piece = KOFN_MIN(1 + kofn_random_below(&random, 700), length - sent);
        struct kofn_wire message, wanted = hello_of(seen);
        unsigned char all[20 * KOFN_FRAME_BYTES];
        const char *reason;
        ssize_t there;

        if (piece)
            CU_ASSERT_EQUAL_FATAL(send(pair.worker->fd, stream + sent, piece, 0), (ssize_t)piece);
        sent += piece;
        there = recv(pair.server->fd, all, sizeof(all), MSG_PEEK); /* waits until it has crossed */
        CU_ASSERT_FATAL(there > 0);
        while (!kofn_channel_receive(pair.server, 0, &message, NULL, &reason)) {
            CU_ASSERT_FATAL(!memcmp(&message, &wanted, sizeof(message)));
            wanted = hello_of(++seen);
        }
        CU_ASSERT_FATAL(seen <= sent / (length / 20));
    }
    CU_ASSERT_EQUAL(sent, length);
    pair_close(&pair);
}

/* A length that no message has ends it, before anything of the message has come. */
static void test_wrong_lengths(void)
{
    static const unsigned char heads[][4] = {
        {0, 0, 0, 0}, {1, 4, 0, 0}, {0, 0, 0, 1}, {255, 255, 255, 255}, {'G', 'E', 'T', ' '}};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(heads); i++) {
        struct kofn_wire message;
        const char *reason;
        struct pair pair;

        pair_open(&pair, "tcp:127.0.0.1:0");
        CU_ASSERT_EQUAL(send(pair.worker->fd, heads[i], 4, 0), 4);
        CU_ASSERT_EQUAL(
            kofn_channel_receive(pair.server, kofn_now_ns() + PATIENCE, &message, NULL, &reason),
            KOFN_PROTOCOL);
        CU_ASSERT_STRING_EQUAL(reason, "not a message of kofn");
        pair_close(&pair);
    }
}

/* To somebody who does not read, messages stop being taken; those that were taken arrive whole. */
static void test_a_peer_that_does_not_read(void)
{
    int small = 4096;
    uint32_t taken = 0;
    struct kofn_wire hello;
    struct pair pair;
    int rc;

    pair_open(&pair, "tcp:127.0.0.1:0");
    setsockopt(pair.worker->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(pair.server->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    do {
        hello = hello_of(taken);
        rc = kofn_channel_send(pair.worker, &hello, NULL);
        taken += !rc;
    } while (!rc && taken < 1000000);
    CU_ASSERT_EQUAL(rc, KOFN_AGAIN);
    for (uint32_t rank = 0; rank + 1 < taken; rank++)
        CU_ASSERT_FATAL(next_is(pair.server, rank));
    CU_ASSERT_EQUAL(kofn_channel_send(pair.worker, &hello, NULL),
                    0); /* behind the rest of the last */
    CU_ASSERT(next_is(pair.server, taken - 1));
    CU_ASSERT(next_is(pair.server, taken));
    pair_close(&pair);
}

/* The end of the other side is told apart from silence, and says how it came. */
static void test_ends(void)
{
    static const char *const addresses[] = {"tcp:127.0.0.1:0", NULL};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(addresses); i++) {
        struct kofn_wire hello = hello_of(3), message;
        const char *reason;
        struct pair pair;

        pair_open(&pair, addresses[i]);
        CU_ASSERT_EQUAL(kofn_channel_receive(pair.server, 0, &message, NULL, &reason), KOFN_AGAIN);
        CU_ASSERT_EQUAL(kofn_channel_send(pair.worker, &hello, NULL), 0);
        kofn_channel_close(pair.worker);
        pair.worker = NULL;
        CU_ASSERT(next_is(pair.server, 3)); /* what it said before is still heard */
        CU_ASSERT_EQUAL(
            kofn_channel_receive(pair.server, kofn_now_ns() + PATIENCE, &message, NULL, &reason),
            KOFN_GONE);
        CU_ASSERT_PTR_NOT_NULL(strstr(reason, "ended, or closed"));
        CU_ASSERT_EQUAL(pair.server->ended, addresses[i] != NULL);
        pair_close(&pair);
    }
}

/* A kernel tells an error of the network once. If it has been told to a send, what is received is
 * an end all the same, but no other side has closed anything: here one resets its connection, and
 * one takes nothing more, as a host that has lost its power.
 */
static void test_errors_that_sends_have_met(void)
{
    struct kofn_wire alive = {.type = KOFN_WIRE_ALIVE}, message;
    const char *reason;
    struct pair pair;

    for (int silent = 0; silent < 2; silent++) {
        struct pollfd failed = {.events = 0};
        int one_ms = 1, rc;

        pair_open(&pair, "tcp:127.0.0.1:0");
        failed.fd = pair.server->fd;
        if (silent) {
            while (!(rc = kofn_channel_send(pair.server, &alive, NULL))) {
            }
            CU_ASSERT_EQUAL(rc, KOFN_AGAIN);
            CU_ASSERT_EQUAL(
                setsockopt(failed.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &one_ms, sizeof(one_ms)), 0);
        } else {
            CU_ASSERT_EQUAL(kofn_channel_send(pair.server, &alive, NULL), 0);
            kofn_channel_close(pair.worker); /* with a message unread */
            pair.worker = NULL;
        }
        CU_ASSERT_EQUAL(poll(&failed, 1, (int)(PATIENCE / KOFN_NS_PER_MS)), 1);
        CU_ASSERT_EQUAL(kofn_channel_send(pair.server, &alive, NULL), KOFN_GONE);
        CU_ASSERT_EQUAL(kofn_channel_send(pair.server, &alive, NULL), KOFN_GONE);
        CU_ASSERT_EQUAL(kofn_channel_receive(pair.server, 0, &message, NULL, &reason), KOFN_GONE);
        CU_ASSERT_STRING_EQUAL(reason, silent ? "its host does not answer any more"
                                              : "its connection was reset");
        CU_ASSERT_FALSE(pair.server->ended);
        pair_close(&pair);
    }
}

static void *hang_up_after_bye(void *arg)
{
    struct kofn_channel *channel = arg;
    struct kofn_wire message;
    const char *reason;
    int rc;

    do
        rc = kofn_channel_receive(channel, kofn_now_ns() + PATIENCE, &message, NULL, &reason);
    while (rc == KOFN_AGAIN || (!rc && message.type != KOFN_WIRE_BYE));
    kofn_channel_close(channel);
    return rc ? NULL : arg;
}

/* A last word is heard, although the other side's messages were never read; finishing waits for the
 * other side to hang up, and no longer.
 */
static void test_last_words(void)
{
    struct kofn_wire alive = {.type = KOFN_WIRE_ALIVE}, bye = {.type = KOFN_WIRE_BYE};
    uint64_t deadline = kofn_now_ns() + PATIENCE;
    pthread_t server;
    struct pair pair;
    void *heard;

    pair_open(&pair, "tcp:127.0.0.1:0");
    for (int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(kofn_channel_send(pair.server, &alive, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&server, NULL, hang_up_after_bye, pair.server), 0);
    CU_ASSERT_EQUAL(kofn_channel_send(pair.worker, &bye, NULL), 0);
    kofn_channel_finish(pair.worker, deadline);
    CU_ASSERT(kofn_now_ns() < deadline);
    pthread_join(server, &heard);
    CU_ASSERT_PTR_NOT_NULL(heard);
    pair.server = NULL;
    pair_close(&pair);
}

/* Who connects does not wait beyond the deadline: nobody there, or nobody who takes the connection.
 */
static void test_connecting_ends(void)
{
    struct kofn_listener_attr listen = {.address = NULL};
    struct kofn_connect_attr connect = {.address = "tcp:127.0.0.1:1"};
    struct kofn_channel *channels[1000];
    struct kofn_listener listener;
    struct kofn_caught caught;
    size_t count = 0;
    int rc;

    kofn_caught_reset(&caught);
    connect.log = &caught.log;
    connect.deadline = kofn_now_ns() + 30 * KOFN_NS_PER_MS;
    CU_ASSERT_EQUAL(kofn_channel_connect(&connect, &channels[0]), KOFN_TIMEOUT);
    CU_ASSERT(kofn_caught_one(&caught, "no server at tcp:127.0.0.1:1 for 0.0 s"));
    CU_ASSERT_EQUAL_FATAL(kofn_listener_open(&listen, &listener), 0);
    connect.address = listener.address;
    do {
        connect.deadline = kofn_now_ns() + 30 * KOFN_NS_PER_MS;
        rc = kofn_channel_connect(&connect, &channels[count]);
        count += !rc;
    } while (!rc && count < KOFN_ARRAY_SIZE(channels));
    CU_ASSERT_EQUAL(rc, KOFN_TIMEOUT); /* its queue is full, and it accepts nobody */
    CU_ASSERT(kofn_caught_one(&caught, "its queue is full"));
    while (count--)
        kofn_channel_close(channels[count]);
    kofn_listener_close(&listener);
}

/* Listens on @arg, a port that was bound and left alone. */
static void *listen_late(void *arg)
{
    int *fd = arg;

    listen(*fd, 5);
    return NULL;
}

/* A worker that is early gets through as soon as the server is there. */
static void test_early(void)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct kofn_connect_attr connect = {.deadline = kofn_now_ns() + PATIENCE, .silence = PATIENCE};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct kofn_channel *channel = NULL;
    socklen_t bytes = sizeof(where);
    pthread_t server;
    char address[40];

    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&where, sizeof(where)), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&where, &bytes), 0);
    snprintf(address, sizeof(address), "tcp:localhost:%u", ntohs(where.sin_port));
    connect.address = address;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&server, NULL, listen_late, &fd), 0);
    CU_ASSERT_EQUAL(kofn_channel_connect(&connect, &channel), 0);
    pthread_join(server, NULL);
    kofn_channel_close(channel);
    close(fd);
}

/* Sends @length bytes with a descriptor beside them. */
static void send_with_descriptor(int fd, const void *bytes, size_t length)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {(void *)bytes, length};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    int passed = STDIN_FILENO;

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &passed, sizeof(passed));
    CU_ASSERT_EQUAL(sendmsg(fd, &header, 0), (ssize_t)length);
}

/* Descriptors that nobody asked for are closed: with an empty message, a bad one, one too many. */
static void test_no_descriptor_is_lost(void)
{
    struct kofn_wire hello = hello_of(2), message;
    unsigned char bytes[KOFN_WIRE_BYTES];
    size_t length = kofn_wire_pack(&hello, bytes), before;
    const char *reason;
    struct pair pair;

    pair_open(&pair, NULL);
    before = open_descriptors();
    send_with_descriptor(pair.worker->fd, bytes, 0);
    CU_ASSERT_EQUAL(kofn_channel_receive(pair.server, 0, &message, NULL, &reason), KOFN_GONE);
    CU_ASSERT_EQUAL(open_descriptors(), before);
    send_with_descriptor(pair.worker->fd, bytes, length - 1);
    CU_ASSERT_EQUAL(kofn_channel_receive(pair.server, 0, &message, NULL, &reason), KOFN_PROTOCOL);
    CU_ASSERT_EQUAL(open_descriptors(), before);
    send_with_descriptor(pair.worker->fd, bytes, length);
    CU_ASSERT_EQUAL(kofn_channel_receive(pair.server, 0, &message, NULL, &reason), 0);
    CU_ASSERT_EQUAL(open_descriptors(), before);
    pair_close(&pair);
}

void kofn_suite_channel(void)
{
    CU_pSuite suite = CU_add_suite("channel", NULL, NULL);

    CU_add_test(suite, "bad addresses", test_bad_addresses);
    CU_add_test(suite, "beyond this host", test_beyond_this_host);
    CU_add_test(suite, "both families", test_both_families);
    CU_add_test(suite, "no descriptors over a network", test_no_descriptors_over_a_network);
    CU_add_test(suite, "messages in pieces", test_messages_in_pieces);
    CU_add_test(suite, "wrong lengths", test_wrong_lengths);
    CU_add_test(suite, "a peer that does not read", test_a_peer_that_does_not_read);
    CU_add_test(suite, "ends", test_ends);
    CU_add_test(suite, "errors that sends have met", test_errors_that_sends_have_met);
    CU_add_test(suite, "last words", test_last_words);
    CU_add_test(suite, "connecting ends", test_connecting_ends);
    CU_add_test(suite, "early", test_early);
    CU_add_test(suite, "no descriptor is lost", test_no_descriptor_is_lost);
}
