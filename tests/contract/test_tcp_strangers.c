/* Who may connect: whoever shows the token of an admission, once. Everybody else costs a bounded
 * number of descriptors for a bounded time, and harms nobody.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/tcp_client.h"
#include "transports/uring/hub.h"
#include "transports/uring/uring.h"

#define TIMEOUT (200 * KOFN_NS_PER_MS)

/* A publication of @client arrives whole. */
static bool works(struct tcp_scene *scene, const struct tcp_client *client, uint64_t sequence)
{
    unsigned char stream[1000];
    struct kofn_arrival arrival;
    struct kofn_stamp stamp;
    const void *payload;
    size_t length;

    CU_ASSERT_FATAL(tcp_stream_bytes(scene) <= sizeof(stream));
    length = tcp_stream(scene, client, sequence, stream);
    CU_ASSERT(tcp_send(tcp_payload_fd(client), stream, length));
    return tcp_poll(scene, &arrival) == 1 && arrival.rank == client->rank &&
           arrival.sequence == sequence &&
           !kofn_slot_begin(&scene->geometry, kofn_hub_slot(scene->hub, client->rank), sequence,
                            &payload, &stamp) &&
           payload_is(payload, scene->geometry.payload_bytes, client->rank, client->offer.epoch,
                      sequence);
}

/* Greetings with any byte changed, of another rank, epoch or link, are dropped; the true one is
 * good all the same, and good once.
 */
static void test_only_the_token_opens(void)
{
    struct tcp_scene scene;
    struct tcp_client client;
    struct kofn__greeting right;
    int fd;

    tcp_open(&scene, 3, SMALL_BYTES, 0, NULL);
    tcp_admit(&scene, 1, 5, &client);
    right = kofn__greeting_make(&client.offer, LINK_CONTROL);
    for (size_t at = 0; at < sizeof(right); at++) {
        unsigned char wrong[sizeof(right)];

        memcpy(wrong, &right, sizeof(right));
        wrong[at] ^= 1;
        fd = tcp_connect(&client.offer);
        CU_ASSERT(tcp_send(fd, wrong, sizeof(wrong)));
        CU_ASSERT(tcp_is_cut(&scene, fd));
        close(fd);
    }
    client.fds[0] = tcp_connect(&client.offer);
    tcp_greet(client.fds[0], &client.offer, LINK_CONTROL);
    tcp_answer(&scene, &client);
    CU_ASSERT(works(&scene, &client, 1));
    fd = tcp_connect(&client.offer);
    tcp_greet(fd, &client.offer, LINK_CONTROL);
    CU_ASSERT(tcp_is_cut(&scene, fd));
    close(fd);
    CU_ASSERT(works(&scene, &client, 2));
    tcp_leave(&client, false);
    tcp_close(&scene);
}

/* A token of before an eviction opens nothing afterwards. */
static void test_old_token_opens_nothing(void)
{
    struct tcp_scene scene;
    struct tcp_client old, fresh;
    int fd;

    tcp_open(&scene, 1, SMALL_BYTES, 0, NULL);
    tcp_admit(&scene, 0, 1, &old);
    kofn_tcp.hub_evict(scene.hub, 0);
    fd = tcp_connect(&old.offer);
    tcp_greet(fd, &old.offer, LINK_CONTROL);
    CU_ASSERT(tcp_is_cut(&scene, fd));
    close(fd);
    CU_ASSERT_EQUAL(kofn_tcp.hub_reclaim(scene.hub, 0, true), 0);
    tcp_join(&scene, 0, 1, &fresh); /* the same epoch: the token alone tells them apart */
    fd = tcp_connect(&old.offer);
    tcp_greet(fd, &old.offer, LINK_CONTROL);
    CU_ASSERT(tcp_is_cut(&scene, fd));
    close(fd);
    CU_ASSERT(memcmp(old.offer.token, fresh.offer.token, sizeof(old.offer.token)) != 0);
    CU_ASSERT(works(&scene, &fresh, 1));
    tcp_leave(&fresh, false);
    tcp_close(&scene);
}

/* Connections that say nothing, or not all, are closed after a while, and it is said. */
static void test_silent_connections_are_dropped(void)
{
    struct tcp_scene scene;
    struct tcp_client client;
    int silent, slow, before, fds;

    tcp_open(&scene, 2, SMALL_BYTES, TIMEOUT, NULL);
    tcp_admit(&scene, 1, 1, &client);
    before = contract_fds();
    silent = tcp_connect(&client.offer);
    slow = tcp_connect(&client.offer);
    CU_ASSERT(tcp_send(slow, "kofntcpG\1\0\0", 11));
    CU_ASSERT(tcp_is_cut(&scene, silent));
    CU_ASSERT(tcp_is_cut(&scene, slow));
    close(silent);
    close(slow);
    fds = contract_fds();
    CU_ASSERT_EQUAL(fds, before);
    CU_ASSERT(tcp_quiet(&scene));
    CU_ASSERT(kofn_caught_one(&scene.caught, "no valid token"));
    tcp_close(&scene);
}

/* However many strangers connect and keep silent, they hold a bounded number of descriptors, and
 * workers are let in between them.
 */
static void test_crowd_of_strangers_keeps_nobody_out(void)
{
    enum { CROWD = 4 * KOFN__VISITORS };
    struct tcp_scene scene;
    struct tcp_client client;
    int crowd[CROWD], fds;

    tcp_open(&scene, 2, SMALL_BYTES, 0, NULL);
    tcp_admit(&scene, 0, 1, &client);
    fds = contract_fds();
    for (int i = 0; i < CROWD / 2; i++)
        crowd[i] = tcp_connect(&client.offer);
    CU_ASSERT(tcp_quiet(&scene));
    client.fds[0] = tcp_connect(&client.offer);
    tcp_greet(client.fds[0], &client.offer, LINK_CONTROL);
    for (int i = CROWD / 2; i < CROWD; i++)
        crowd[i] = tcp_connect(&client.offer);
    tcp_answer(&scene, &client);
    CU_ASSERT(works(&scene, &client, 1));
    CU_ASSERT(contract_fds() <= fds + CROWD + 2 + (int)KOFN__VISITORS);
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    CU_ASSERT(works(&scene, &client, 2));
    tcp_leave(&client, false);
    tcp_close(&scene);
}

/* A worker whose connection comes only after its answer is a member once it is there; what the hub
 * had for it meanwhile reaches it. One that never comes has failed.
 */
static void test_connection_may_come_late(void)
{
    struct tcp_scene scene;
    struct tcp_client late, never;
    struct kofn_arrival arrival;
    struct kofn__frame frame;

    tcp_open(&scene, 2, SMALL_BYTES, TIMEOUT, NULL);
    tcp_admit(&scene, 0, 1, &late);
    tcp_admit(&scene, 1, 1, &never);
    tcp_answer(&scene, &late);
    CU_ASSERT_EQUAL(kofn_tcp.hub_gate(scene.hub, 0, 1234), 0);
    late.fds[0] = tcp_connect(&late.offer);
    tcp_greet(late.fds[0], &late.offer, LINK_CONTROL);
    CU_ASSERT(works(&scene, &late, 1));
    CU_ASSERT(tcp_receive(late.fds[0], &frame, sizeof(frame)));
    CU_ASSERT_EQUAL(frame.type, FRAME_WORD);
    CU_ASSERT_EQUAL(frame.value, 1234);
    tcp_answer(&scene, &never);
    CU_ASSERT_EQUAL(tcp_poll(&scene, &arrival), KOFN_GONE);
    CU_ASSERT_EQUAL(arrival.rank, 1);
    CU_ASSERT(kofn_caught_one(&scene.caught, "rank 1: it has not connected"));
    CU_ASSERT(works(&scene, &late, 2));
    tcp_leave(&late, false);
    tcp_close(&scene);
}

/* An endpoint that has become rank 0 and whose first publication has arrived. */
static struct kofn_endpoint *exchange(struct tcp_scene *scene,
                                      const struct kofn_endpoint_attr *attr)
{
    struct kofn_endpoint *endpoint;
    struct kofn_offer offer, answer;
    struct kofn_arrival arrival;

    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_admit(scene->hub, 0, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.endpoint_open(attr, &offer, &answer, &endpoint), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_connect(scene->hub, 0, &answer), 0);
    endpoint_fill(endpoint, 1);
    CU_ASSERT_EQUAL(endpoint_publish(endpoint, 1), 0);
    CU_ASSERT_EQUAL(tcp_poll(scene, &arrival), 1);
    return endpoint;
}

/* The hub listens where it is told to, in IPv6 as well, and an endpoint finds it there. */
static void test_ipv6(void)
{
    static const char *const hosts[] = {"::1", "::", "0.0.0.0", "127.0.0.1"};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(hosts); i++) {
        struct kofn_endpoint_attr attr = {
            .rank = 0, .epoch = 1, .options = contract_fixture()->options, .log = &contract_quiet};
        struct tcp_scene scene;
        int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (probe < 0 && i < 2)
            continue; /* a host without it */
        close(probe);
        tcp_open(&scene, 1, SMALL_BYTES, 0, hosts[i]);
        attr.slot = attr.model = scene.geometry;
        snprintf(attr.path.peer, sizeof(attr.path.peer), "%s", i < 2 ? "::1" : "127.0.0.1");
        kofn_tcp.endpoint_close(exchange(&scene, &attr));
        tcp_close(&scene);
    }
}

/* Payload goes over the interface that was asked for, wherever the control channel is; and to
 * where that is if nobody asked.
 */
static void test_interface_is_used(void)
{
    static const char elsewhere[] = "192.0.2.1"; /* reserved for documentation: nobody is there */
    struct kofn_hub_attr hub_attr = {
        .workers = 1, .numa_node = -1, .bind = elsewhere, .options = "interface=lo"};
    struct kofn_endpoint_attr attr = {.epoch = 1, .options = "interface=lo"};
    struct kofn_endpoint *endpoint;
    struct kofn_offer offer, answer;
    struct kofn__tcp_offer content;
    struct kofn_arrival arrival;
    struct tcp_scene scene;

    kofn_caught_reset(&scene.caught);
    hub_attr.log = attr.log = &scene.caught.log;
    kofn_geometry_init(&scene.geometry, SMALL_BYTES, 2);
    hub_attr.slot = hub_attr.model = attr.slot = attr.model = scene.geometry;
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_open(&hub_attr, &scene.hub), 0);
    snprintf(scene.hub->path.peer, sizeof(scene.hub->path.peer), "%s", elsewhere);
    snprintf(attr.path.peer, sizeof(attr.path.peer), "%s", elsewhere);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_admit(scene.hub, 0, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(kofn__offer_get(&offer, &content), 0);
    CU_ASSERT_STRING_EQUAL(content.host, "127.0.0.1");
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.endpoint_open(&attr, &offer, &answer, &endpoint), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_connect(scene.hub, 0, &answer), 0);
    endpoint_fill(endpoint, 1);
    CU_ASSERT_EQUAL(endpoint_publish(endpoint, 1), 0);
    CU_ASSERT_EQUAL(tcp_poll(&scene, &arrival), 1);
    kofn_tcp.endpoint_close(endpoint);
    tcp_close(&scene);

    tcp_open(&scene, 1, SMALL_BYTES, 0, NULL);
    snprintf(scene.hub->path.peer, sizeof(scene.hub->path.peer), "%s", elsewhere);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_admit(scene.hub, 0, 1, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(kofn__offer_get(&offer, &content), 0);
    CU_ASSERT_STRING_EQUAL(content.host, "");
    attr.options = "interface=none0";
    CU_ASSERT_EQUAL(kofn_tcp.endpoint_open(&attr, &offer, &answer, &endpoint), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&scene.caught, "interface=none0: has no address"));
    tcp_close(&scene);
}

/* How many of this process's sockets pace themselves as @name says. */
static int sockets_of(const char *name)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        char found[32] = "";
        socklen_t length = sizeof(found) - 1;

        if (!getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, found, &length) && !strcmp(found, name))
            count++;
    }
    return count;
}

/* Both ends send as they were told: updates, and models, whose sockets come from the listener. */
static void test_congestion_is_chosen(void)
{
    static const char options[] = "congestion=reno"; /* every kernel has it, few take it */
    struct kofn_hub_attr hub_attr = {
        .workers = 1, .numa_node = -1, .bind = "127.0.0.1", .options = options};
    struct kofn_endpoint_attr attr = {.epoch = 1, .options = options};
    struct kofn_endpoint *endpoint;
    struct tcp_scene scene;
    int before = sockets_of("reno");

    kofn_caught_reset(&scene.caught);
    hub_attr.log = attr.log = &scene.caught.log;
    kofn_geometry_init(&scene.geometry, LARGE_BYTES, 2);
    hub_attr.slot = hub_attr.model = attr.slot = attr.model = scene.geometry;
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_open(&hub_attr, &scene.hub), 0);
    endpoint = exchange(&scene, &attr);
    CU_ASSERT_EQUAL(sockets_of("reno") - before, 1 + 2 * LINKS); /* the listener, two ends each */
    kofn_tcp.endpoint_close(endpoint);
    tcp_close(&scene);
}

#define OF_64_BYTES "0123456789012345678901234567890123456789012345678901234567890123"

/* What is not an option, or not a host, is refused in words. */
static void test_nonsense_is_refused(void)
{
    struct kofn_hub_attr attr = {.workers = 1, .numa_node = -1};
    struct kofn_caught caught;
    struct kofn_hub *hub;

    kofn_caught_reset(&caught);
    attr.log = &caught.log;
    kofn_geometry_init(&attr.slot, 64, 2);
    attr.model = attr.slot;
    attr.options = "engine=steam";
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "engine=steam: must be auto, uring or poll"));
    attr.options = "zero-copy=maybe";
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "zero-copy=maybe: must be auto, always or never"));
    attr.options = "congestion=none";
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_UNSUPPORTED);
    CU_ASSERT(kofn_caught_one(&caught, "congestion=none: this host does not have it"));
    attr.options = "congestion=" OF_64_BYTES;
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "not the name of a way"));
    attr.options = "speed=high";
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "no option 'speed'"));
    attr.options = "interface=none0";
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "interface=none0: has no address, or is not up; up are: "));
    attr.options = "interface=" OF_64_BYTES "," OF_64_BYTES;
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "not the name of an interface"));
    attr.options = NULL;
    attr.bind = "no.such.host";
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "'no.such.host': not the number of a host"));
    attr.bind = "192.0.2.1"; /* reserved for documentation: not ours */
    CU_ASSERT_EQUAL(kofn_tcp.hub_open(&attr, &hub), KOFN_SYSTEM);
    CU_ASSERT(kofn_caught_one(&caught, "cannot listen on 192.0.2.1"));
}

void contract_tcp_strangers(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_only_the_token_opens);
    CONTRACT_TEST(suite, test_old_token_opens_nothing);
    CONTRACT_TEST(suite, test_silent_connections_are_dropped);
    CONTRACT_TEST(suite, test_crowd_of_strangers_keeps_nobody_out);
    CONTRACT_TEST(suite, test_connection_may_come_late);
    CONTRACT_TEST(suite, test_ipv6);
    CONTRACT_TEST(suite, test_interface_is_used);
    CONTRACT_TEST(suite, test_congestion_is_chosen);
    CONTRACT_TEST(suite, test_nonsense_is_refused);
}
