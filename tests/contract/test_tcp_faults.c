/* Networks and peers that fail: connections that are reset in the middle of anything, readers that
 * do not read, hosts that are gone without a word.
 */
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "tests/contract/tcp_client.h"
#include "transports/uring/uring.h"

/* ---- resets ---- */

/* A worker whose connections end, by a reset or in order, behind @cut bytes of its second
 * publication: the first is there, of the second nothing, and the rank can be taken again.
 */
static void cut_at(struct tcp_scene *scene, size_t cut, bool reset, uint32_t epoch)
{
    unsigned char *stream = malloc(2 * tcp_stream_bytes(scene));
    struct kofn_arrival arrival = {0};
    struct tcp_client client;
    struct kofn_stamp stamp;
    const void *payload;
    size_t first;

    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    tcp_join(scene, 1, epoch, &client);
    first = tcp_stream(scene, &client, 1, stream);
    tcp_stream(scene, &client, 2, stream + first);
    CU_ASSERT(tcp_send(tcp_payload_fd(&client), stream, first + cut));
    CU_ASSERT_EQUAL(tcp_poll(scene, &arrival), 1);
    tcp_leave(&client, reset);
    CU_ASSERT_EQUAL(arrival.sequence, 1);
    CU_ASSERT(tcp_quiet(scene));
    CU_ASSERT_EQUAL(kofn_tcp.hub_gate(scene->hub, 1, 1), 0); /* the gates of a dead one return */
    CU_ASSERT_EQUAL(
        kofn_slot_begin(&scene->geometry, kofn_hub_slot(scene->hub, 1), 1, &payload, &stamp), 0);
    CU_ASSERT(payload_is(payload, scene->geometry.payload_bytes, 1, epoch, 1));
    CU_ASSERT_EQUAL(
        kofn_slot_begin(&scene->geometry, kofn_hub_slot(scene->hub, 1), 2, &payload, &stamp),
        KOFN_AGAIN);
    kofn_tcp.hub_evict(scene->hub, 1);
    CU_ASSERT_EQUAL(kofn_tcp.hub_reclaim(scene->hub, 1, false), 0);
    free(stream);
}

/* Wherever in a publication its connection ends, it is not there, what was before it is, and
 * nothing is left open.
 */
static void test_a_cut_publication_is_not_there(void)
{
    static const uint64_t sizes[] = {SMALL_BYTES, LARGE_BYTES};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++) {
        struct tcp_scene scene;
        size_t whole, step;
        uint32_t epoch = 1;
        int fds;

        tcp_open(&scene, 2, sizes[i], 0, NULL);
        fds = contract_fds();
        whole = tcp_stream_bytes(&scene);
        step = KOFN_MAX(whole / contract_rounds(40), 1u);
        for (size_t cut = 0; cut < whole; cut += step, epoch++)
            cut_at(&scene, cut, epoch % 2, epoch);
        CU_ASSERT_EQUAL(contract_fds(), fds);
        CU_ASSERT_EQUAL(scene.caught.count, 0);
        tcp_close(&scene);
    }
}

/* A connection that has ended while nobody evicts its rank is said to have failed, after a while.
 */
static void test_ended_connection_is_reported(void)
{
    struct kofn_arrival arrival = {0};
    struct tcp_client client;
    struct tcp_scene scene;

    tcp_open(&scene, 2, SMALL_BYTES, 0, NULL);
    tcp_join(&scene, 1, 1, &client);
    tcp_leave(&client, false);
    CU_ASSERT_EQUAL(tcp_poll(&scene, &arrival), KOFN_GONE);
    CU_ASSERT_EQUAL(arrival.rank, 1);
    CU_ASSERT(kofn_caught_one(&scene.caught, "its connection was closed"));
    CU_ASSERT(tcp_quiet(&scene));
    tcp_close(&scene);
}

/* An endpoint whose server is gone says so, once, and goes on returning. */
static void test_endpoint_of_a_dead_hub(void)
{
    struct kofn_caught caught;
    struct kofn_endpoint_attr attr = {.epoch = 1, .options = contract_fixture()->options};
    struct kofn_offer offer, answer;
    struct kofn_endpoint *endpoint;
    struct tcp_scene scene;
    uint64_t deadline = contract_deadline();
    int rc;

    kofn_caught_reset(&caught);
    attr.log = &caught.log;
    tcp_open(&scene, 1, LARGE_BYTES, 0, NULL);
    attr.slot = attr.model = scene.geometry;
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_admit(scene.hub, 0, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.endpoint_open(&attr, &offer, &answer, &endpoint), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_connect(scene.hub, 0, &answer), 0);
    tcp_close(&scene);
    do
        rc = kofn_tcp.endpoint_beat(endpoint, 1);
    while (!rc && kofn_now_ns() < deadline);
    CU_ASSERT_EQUAL(rc, KOFN_GONE);
    endpoint_fill(endpoint, 1);
    CU_ASSERT_EQUAL(endpoint_publish(endpoint, 1), KOFN_GONE);
    CU_ASSERT_EQUAL(kofn_tcp.endpoint_left(endpoint, 1), KOFN_GONE);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(kofn_tcp.endpoint_wait(endpoint, 0, kofn_now_ns() + KOFN_NS_PER_MS),
                        KOFN_GONE);
    CU_ASSERT(kofn_caught_one(&caught, "rank 0: its connection to the server (unknown) has ended"));
    kofn_tcp.endpoint_close(endpoint);
}

/* ---- slow readers ---- */

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long all, resident;

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fscanf(file, "%lu %lu", &all, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void publish_model(struct kofn_hub *hub, uint64_t version)
{
    struct kofn_stamp stamp = {.round = (uint32_t)version, .sequence = version};

    payload_fill(kofn_slot_withdraw(&hub->model, hub->models, version), hub->model.payload_bytes, 0,
                 0, version);
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    CU_ASSERT_EQUAL(hub->ops->hub_push(hub, 0, version), 0);
}

/* What a client has read: the newest gate, the newest model whose stamp has come. */
struct seen {
    uint64_t gate, model;
    char payload[1 << 20];
};

static const char *begin(void *arg, const struct kofn__frame *frame, void **target)
{
    *target = ((struct seen *)arg)->payload + frame->offset;
    return NULL;
}

static const char *complete(void *arg, const struct kofn__frame *frame, const void *body)
{
    struct seen *seen = arg;

    (void)body;
    if (frame->type == FRAME_WORD)
        seen->gate = frame->value;
    if (frame->type == FRAME_STAMP)
        seen->model = frame->value;
    return NULL;
}

/* Reads what there is on all links; false if that is nothing. */
static bool read_all(const struct tcp_client *client, struct kofn__reader readers[LINKS],
                     struct seen *seen)
{
    static const struct kofn__frame_sink sink = {begin, complete};
    char bytes[65536];
    bool any = false;

    for (int link = 0; link < client->links; link++) {
        ssize_t got = recv(client->fds[link], bytes, sizeof(bytes), MSG_DONTWAIT);

        if (got > 0)
            CU_ASSERT_PTR_NULL_FATAL(
                kofn__reader_feed(&readers[link], bytes, (size_t)got, &sink, seen));
        any |= got > 0;
    }
    return any;
}

/* A client that reads nothing takes no memory and no time of the hub, which has models, gates and
 * receipts for it without end. When it reads at last, the newest of each is what comes last.
 */
static void unread(uint64_t bytes, uint32_t rounds)
{
    static struct seen seen;
    struct kofn__frame_rules rules = {.payload = true, .epoch = 1, .payload_bytes = bytes};
    struct kofn_receipt_line line = {.outcome = KOFN_OUTCOME_MERGED};
    struct kofn__reader readers[LINKS];
    struct tcp_client client;
    struct tcp_scene scene;
    uint64_t deadline;
    size_t before = 0;

    seen.gate = seen.model = 0;
    for (int link = 0; link < LINKS; link++)
        kofn__reader_init(&readers[link], &rules);
    tcp_open(&scene, 1, bytes, 0, NULL);
    tcp_join(&scene, 0, 1, &client);
    for (uint32_t round = 1; round <= rounds; round++) {
        if (round == 10)
            before = resident_bytes(); /* all that is used at all has been by now */
        line.sequence = round;
        publish_model(scene.hub, round);
        CU_ASSERT_EQUAL(kofn_tcp.hub_receipt(scene.hub, 0, &line), 0);
        CU_ASSERT_EQUAL(kofn_tcp.hub_gate(scene.hub, 0, round), 0);
    }
    CU_ASSERT(resident_bytes() < before + (4u << 20));
    deadline = contract_deadline();
    while ((seen.gate < rounds || seen.model < rounds) && kofn_now_ns() < deadline)
        if (!read_all(&client, readers, &seen))
            kofn_tcp.hub_wait(scene.hub, kofn_now_ns() + KOFN_NS_PER_MS / 10);
    CU_ASSERT_EQUAL(seen.gate, rounds);
    CU_ASSERT_EQUAL(seen.model, rounds);
    CU_ASSERT(payload_is(seen.payload, bytes, 0, 0, rounds));
    tcp_leave(&client, false);
    tcp_close(&scene);
}

static void test_slow_reader_costs_no_memory(void)
{
    unread(SMALL_BYTES, 200000);
    unread(1 << 20, 200); /* what struct seen has room for */
}

/* A hub that does not read takes no memory of its worker, whose beats go on, the newest last. */
static void test_slow_hub_costs_no_memory(void)
{
    struct kofn_endpoint_attr attr = {
        .epoch = 1, .options = contract_fixture()->options, .log = &contract_quiet};
    struct kofn__tcp_offer content = {.workers = 1,
                                      .epoch = 1,
                                      .slot_depth = 2,
                                      .model_depth = 2,
                                      .slot_payload = SMALL_BYTES,
                                      .model_payload = SMALL_BYTES};
    struct kofn_offer offer, answer;
    struct kofn_endpoint *endpoint;
    struct kofn__greeting greeting;
    struct kofn__frame frame = {0};
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    uint64_t last = 300000;
    size_t before = 0;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

    /* a hub by hand: it accepts, and then looks at nothing */
    CU_ASSERT_EQUAL_FATAL(listen(listener, 1), 0);
    CU_ASSERT_EQUAL(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    content.port = (uint32_t)(((unsigned char *)&address)[2] << 8 | ((unsigned char *)&address)[3]);
    CU_ASSERT_EQUAL(kofn__offer_seal(&content), 0);
    kofn__offer_put(&offer, &content);
    kofn_geometry_init(&attr.slot, SMALL_BYTES, 2);
    attr.model = attr.slot;
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.endpoint_open(&attr, &offer, &answer, &endpoint), 0);
    fd = accept(listener, NULL, NULL);
    CU_ASSERT_FATAL(fd >= 0);
    for (uint64_t beat = 1; beat <= last; beat++) {
        if (beat == 10)
            before = resident_bytes();
        CU_ASSERT_EQUAL(kofn_tcp.endpoint_beat(endpoint, beat), 0);
    }
    CU_ASSERT(resident_bytes() < before + (4u << 20));
    CU_ASSERT(tcp_receive(fd, &greeting, sizeof(greeting)));
    while (frame.value < last && tcp_receive(fd, &frame, sizeof(frame)))
        ;
    CU_ASSERT_EQUAL(frame.value, last);
    kofn_tcp.endpoint_close(endpoint);
    close(fd);
    close(listener);
}

/* ---- hosts that are gone ---- */

static bool set_loopback(bool up)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done;

    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request))
        return false;
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    done = !ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return done;
}

/* In a network of its own, whose one cable is then pulled: exit status 0 if both ends notice. */
static int lose_the_network(bool busy)
{
    struct kofn_arrival arrival = {0};
    struct kofn_offer offer, answer;
    struct kofn_endpoint_attr attr = {.epoch = 1,
                                      .peer_timeout = KOFN_NS_PER_S,
                                      .options = contract_fixture()->options,
                                      .log = &contract_quiet};
    struct kofn_endpoint *endpoint;
    struct tcp_scene scene;
    uint64_t deadline;

    if (unshare(CLONE_NEWNET) || !set_loopback(true))
        return 77;
    tcp_open(&scene, 2, SMALL_BYTES, KOFN_NS_PER_S, NULL);
    attr.slot = attr.model = scene.geometry;
    if (kofn_tcp.hub_admit(scene.hub, 0, 1, &offer) ||
        kofn_tcp.endpoint_open(&attr, &offer, &answer, &endpoint) ||
        kofn_tcp.hub_connect(scene.hub, 0, &answer))
        return 1;
    if (!set_loopback(false))
        return 77;
    if (busy && kofn_tcp.hub_gate(scene.hub, 0, 1))
        return 4;
    if (tcp_poll(&scene, &arrival) != KOFN_GONE || arrival.rank ||
        !strstr(scene.caught.last, "no sign of its host for 1.0 s"))
        return 2;
    deadline = contract_deadline();
    while (kofn_tcp.endpoint_beat(endpoint, 1) != KOFN_GONE)
        if (kofn_now_ns() > deadline)
            return 3;
    kofn_tcp.endpoint_close(endpoint);
    tcp_close(&scene);
    return 0;
}

static pid_t pull_the_cable(bool busy)
{
    pid_t child = fork();

    if (!child)
        _exit(lose_the_network(busy));
    CU_ASSERT_FATAL(child > 0);
    return child;
}

static void has_noticed(pid_t child)
{
    int status;

    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        kofn_test_skip("no network namespace to be had");
    else
        CU_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* A host that vanishes without a word is noticed within the time-out, by an idle connection and by
 * one on which something is under way, at both ends.
 */
static void test_half_open_peers_time_out(void)
{
    pid_t idle = pull_the_cable(false), busy = pull_the_cable(true);

    has_noticed(idle);
    has_noticed(busy);
}

/* A worker that is stopped, with more for it than its buffers hold, is not given up by its
 * connection: its host answers. The kernel asks it 0.2 s and 0.6 s after it stopped, and then
 * nothing for longer than the time-out.
 */
static void test_stopped_reader_is_not_gone(void)
{
    uint64_t patience = kofn_now_ns() + KOFN_NS_PER_S;
    struct kofn_arrival arrival;
    struct tcp_client client;
    struct tcp_scene scene;

    tcp_open(&scene, 1, 1 << 20, KOFN_NS_PER_S / 4, NULL);
    tcp_join(&scene, 0, 1, &client);
    for (uint64_t version = 1; version <= 100; version++)
        publish_model(scene.hub, version);
    while (kofn_now_ns() < patience) {
        CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_poll(scene.hub, &arrival, 1), 0);
        CU_ASSERT_EQUAL(kofn_tcp.hub_gate(scene.hub, 0, patience), 0);
        kofn_tcp.hub_wait(scene.hub, kofn_now_ns() + 10 * KOFN_NS_PER_MS);
    }
    CU_ASSERT_EQUAL(scene.caught.count, 0);
    tcp_leave(&client, false);
    tcp_close(&scene);
}

void contract_tcp_faults(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_a_cut_publication_is_not_there);
    CONTRACT_TEST(suite, test_ended_connection_is_reported);
    CONTRACT_TEST(suite, test_endpoint_of_a_dead_hub);
    CONTRACT_TEST(suite, test_slow_reader_costs_no_memory);
    CONTRACT_TEST(suite, test_slow_hub_costs_no_memory);
    CONTRACT_TEST(suite, test_half_open_peers_time_out);
    CONTRACT_TEST(suite, test_stopped_reader_is_not_gone);
}
