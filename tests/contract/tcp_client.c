#include "tests/contract/tcp_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "transports/uring/uring.h"

static void open_hub(struct tcp_scene *scene, uint32_t workers, uint64_t bytes,
                     uint64_t peer_timeout, const char *bind, bool pull)
{
    struct kofn_hub_attr attr = {.workers = workers,
                                 .pull = pull,
                                 .numa_node = -1,
                                 .bind = bind ? bind : "127.0.0.1",
                                 .peer_timeout = peer_timeout,
                                 .options = contract_fixture()->options,
                                 .log = &scene->caught.log};

    kofn_caught_reset(&scene->caught);
    CU_ASSERT_EQUAL_FATAL(kofn_geometry_init(&scene->geometry, bytes, 2), 0);
    attr.slot = attr.model = scene->geometry;
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_open(&attr, &scene->hub), 0);
}

void tcp_open(struct tcp_scene *scene, uint32_t workers, uint64_t bytes, uint64_t peer_timeout,
              const char *bind)
{
    open_hub(scene, workers, bytes, peer_timeout, bind, false);
}

void tcp_open_pull(struct tcp_scene *scene, uint32_t workers, uint64_t bytes)
{
    open_hub(scene, workers, bytes, 0, NULL, true);
}

void tcp_close(struct tcp_scene *scene)
{
    kofn_tcp.hub_close(scene->hub);
}

int tcp_connect(const struct kofn__tcp_offer *offer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)offer->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(inet_pton(AF_INET, "127.0.0.1", &address.sin_addr), 1);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void tcp_greet(int fd, const struct kofn__tcp_offer *offer, enum kofn__link link)
{
    struct kofn__greeting greeting = kofn__greeting_make(offer, link);

    CU_ASSERT(tcp_send(fd, &greeting, sizeof(greeting)));
}

void tcp_admit(struct tcp_scene *scene, uint32_t rank, uint32_t epoch, struct tcp_client *client)
{
    struct kofn_offer offer;

    *client = (struct tcp_client){.rank = rank, .fds = {-1, -1}};
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_admit(scene->hub, rank, epoch, &offer), 0);
    CU_ASSERT_EQUAL_FATAL(kofn__offer_get(&offer, &client->offer), 0);
    client->links = kofn__links(scene->geometry.payload_bytes, scene->geometry.payload_bytes);
}

void tcp_answer(struct tcp_scene *scene, const struct tcp_client *client)
{
    struct kofn_offer answer;

    kofn__answer_put(&answer, &client->offer);
    CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_connect(scene->hub, client->rank, &answer), 0);
}

void tcp_join(struct tcp_scene *scene, uint32_t rank, uint32_t epoch, struct tcp_client *client)
{
    tcp_admit(scene, rank, epoch, client);
    for (int link = 0; link < client->links; link++) {
        client->fds[link] = tcp_connect(&client->offer);
        tcp_greet(client->fds[link], &client->offer, (enum kofn__link)link);
    }
    tcp_answer(scene, client);
}

void tcp_leave(struct tcp_client *client, bool reset)
{
    struct linger now = {.l_onoff = 1};

    for (int link = 0; link < LINKS; link++) {
        if (client->fds[link] < 0)
            continue;
        if (reset)
            setsockopt(client->fds[link], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(client->fds[link]);
        client->fds[link] = -1;
    }
}

int tcp_payload_fd(const struct tcp_client *client)
{
    return client->fds[client->links == 1 ? LINK_CONTROL : LINK_PAYLOAD];
}

size_t tcp_stream_bytes(const struct tcp_scene *scene)
{
    return scene->geometry.payload_bytes + 3 * sizeof(struct kofn__frame) +
           sizeof(struct kofn_stamp);
}

size_t tcp_stream(const struct tcp_scene *scene, const struct tcp_client *client, uint64_t sequence,
                  unsigned char *stream)
{
    uint64_t bytes = scene->geometry.payload_bytes, half = bytes / 2;
    struct kofn_stamp stamp = {.epoch = client->offer.epoch,
                               .round = 1,
                               .version = 1,
                               .updates = 1,
                               .total = 1,
                               .length = bytes,
                               .sequence = sequence};
    unsigned char *payload = malloc(bytes), *at = stream;
    struct kofn__frame frame;

    CU_ASSERT_PTR_NOT_NULL_FATAL(payload);
    payload_fill(payload, bytes, client->rank, client->offer.epoch, sequence);
    for (int part = 0; part < 2; part++) {
        frame = kofn__frame_write(REGION_SLOT, client->offer.epoch, sequence, part ? half : 0,
                                  part ? bytes - half : half);
        memcpy(at, &frame, sizeof(frame));
        memcpy(at + sizeof(frame), payload + frame.offset, frame.length);
        at += sizeof(frame) + frame.length;
    }
    frame = kofn__frame_stamp(REGION_SLOT, client->offer.epoch, sequence);
    memcpy(at, &frame, sizeof(frame));
    memcpy(at + sizeof(frame), &stamp, sizeof(stamp));
    free(payload);
    return (size_t)(at - stream) + sizeof(frame) + sizeof(stamp);
}

bool tcp_send(int fd, const void *bytes, size_t count)
{
    const char *at = bytes;

    while (count) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        at += sent;
        count -= (size_t)sent;
    }
    return true;
}

/* Waits until @fd can be read. */
static bool await(int fd, uint64_t deadline)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    uint64_t now = kofn_now_ns();

    return now < deadline && poll(&waiting, 1, (int)((deadline - now) / KOFN_NS_PER_MS + 1)) > 0;
}

bool tcp_receive(int fd, void *bytes, size_t count)
{
    uint64_t deadline = contract_deadline();
    char *at = bytes;

    while (count) {
        ssize_t got = await(fd, deadline) ? recv(fd, at, count, 0) : -1;

        if (got <= 0)
            return false;
        at += got;
        count -= (size_t)got;
    }
    return true;
}

bool tcp_is_cut(struct tcp_scene *scene, int fd)
{
    uint64_t deadline = contract_deadline();
    char skipped[4096];

    while (kofn_now_ns() < deadline) {
        ssize_t got = recv(fd, skipped, sizeof(skipped), MSG_DONTWAIT);

        if (!got || (got < 0 && errno != EAGAIN))
            return true;
        if (got < 0)
            kofn_tcp.hub_wait(scene->hub, kofn_now_ns() + KOFN_NS_PER_MS);
    }
    return false;
}

int tcp_poll(struct tcp_scene *scene, struct kofn_arrival *arrival)
{
    uint64_t deadline = contract_deadline();
    int rc;

    while (!(rc = kofn_tcp.hub_poll(scene->hub, arrival, 1)) && kofn_now_ns() < deadline)
        kofn_tcp.hub_wait(scene->hub, deadline);
    return rc;
}

bool tcp_quiet(struct tcp_scene *scene)
{
    struct kofn_arrival arrival;

    for (int i = 0; i < 3; i++) {
        if (kofn_tcp.hub_poll(scene->hub, &arrival, 1))
            return false;
        kofn_tcp.hub_wait(scene->hub, kofn_now_ns() + KOFN_NS_PER_MS);
    }
    return true;
}
