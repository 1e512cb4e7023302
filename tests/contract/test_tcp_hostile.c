/* Bytes that no worker sends: whoever sends them is cut off and named, and nobody else notices. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "tests/contract/tcp_client.h"
#include "transports/uring/uring.h"

#define WORKERS 3u
#define CULPRIT 1u
#define EPOCH 9u

/* What the hub holds of all others, and its models. */
struct others {
    char *copies[WORKERS], *models;
};

static struct others copy_others(const struct tcp_scene *scene)
{
    uint64_t bytes = scene->geometry.slot_bytes;
    struct others others = {.models = malloc(bytes)};

    memcpy(others.models, scene->hub->models, bytes);
    for (uint32_t rank = 0; rank < WORKERS; rank++) {
        others.copies[rank] = malloc(bytes);
        memcpy(others.copies[rank], kofn_hub_slot(scene->hub, rank), bytes);
    }
    return others;
}

/* True if nothing of it has changed; frees the copies. */
static bool untouched(const struct tcp_scene *scene, struct others *others)
{
    uint64_t bytes = scene->geometry.slot_bytes;
    bool same = !memcmp(others->models, scene->hub->models, bytes);

    free(others->models);
    for (uint32_t rank = 0; rank < WORKERS; rank++) {
        same &= rank == CULPRIT ||
                !memcmp(others->copies[rank], kofn_hub_slot(scene->hub, rank), bytes);
        free(others->copies[rank]);
    }
    return same;
}

/* The hub is told of the failure of the culprit, once, and says why. */
static void expect_cut_off(struct tcp_scene *scene, int fd, const char *why)
{
    struct kofn_arrival arrival = {.rank = UINT32_MAX};

    CU_ASSERT(tcp_is_cut(scene, fd));
    CU_ASSERT_EQUAL(tcp_poll(scene, &arrival), KOFN_GONE);
    CU_ASSERT_EQUAL(arrival.rank, CULPRIT);
    CU_ASSERT(strstr(scene->caught.last, "rank 1 at 127.0.0.1:") != NULL);
    CU_ASSERT(kofn_caught_one(&scene->caught, why));
    CU_ASSERT(tcp_quiet(scene));
}

/* One frame too much, on this link. */
struct offence {
    const char *why; /* a part of what the hub is to say */
    enum kofn__link link;
    struct kofn__frame frame;
};

static void offend(uint64_t bytes, const struct offence *offence, bool midway)
{
    struct tcp_client clients[WORKERS];
    struct tcp_scene scene;
    struct others others;
    unsigned char *stream;
    struct kofn_arrival arrival;
    int fd;

    tcp_open(&scene, WORKERS, bytes, 0, NULL);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        tcp_join(&scene, rank, EPOCH, &clients[rank]);
    others = copy_others(&scene);
    stream = malloc(tcp_stream_bytes(&scene));
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    if (midway) { /* behind the first half of a good publication */
        tcp_stream(&scene, &clients[CULPRIT], 1, stream);
        CU_ASSERT(tcp_send(tcp_payload_fd(&clients[CULPRIT]), stream,
                           sizeof(struct kofn__frame) + bytes / 2));
    }
    fd = clients[CULPRIT].fds[clients[CULPRIT].links == 1 ? LINK_CONTROL : offence->link];
    memset(stream, 0xee, sizeof(struct kofn__frame) + 300);
    memcpy(stream, &offence->frame, sizeof(offence->frame));
    tcp_send(fd, stream, sizeof(struct kofn__frame) + 300);
    expect_cut_off(&scene, fd, offence->why);
    CU_ASSERT(untouched(&scene, &others));
    CU_ASSERT_EQUAL(
        kofn_slot_stamp(&scene.geometry, kofn_hub_slot(scene.hub, CULPRIT), 1)->sequence, 0);
    tcp_send(tcp_payload_fd(&clients[0]), stream, tcp_stream(&scene, &clients[0], 1, stream));
    CU_ASSERT_EQUAL(tcp_poll(&scene, &arrival), 1);
    CU_ASSERT_EQUAL(arrival.rank, 0);
    kofn_tcp.hub_evict(scene.hub, CULPRIT);
    CU_ASSERT_EQUAL(kofn_tcp.hub_reclaim(scene.hub, CULPRIT, false), 0);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        tcp_leave(&clients[rank], false);
    free(stream);
    tcp_close(&scene);
}

/* Every kind of frame that is against the rules, at the start and in the midst of a publication. */
static void test_whoever_breaks_a_rule_is_cut_off_and_named(void)
{
    static const uint64_t sizes[] = {400, LARGE_BYTES};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++) {
        uint64_t bytes = sizes[i];
        const struct offence offences[] = {
            {"more payload announced than was agreed on", LINK_PAYLOAD,
             kofn__frame_write(REGION_SLOT, EPOCH, 1, 0, bytes + 1)},
            {"more payload announced than was agreed on", LINK_PAYLOAD,
             kofn__frame_write(REGION_SLOT, EPOCH, 1, UINT64_MAX - 10, 100)},
            {"out of its turn", LINK_PAYLOAD, kofn__frame_write(REGION_SLOT, EPOCH, 1, 8, 8)},
            {"out of its turn", LINK_PAYLOAD, kofn__frame_write(REGION_SLOT, EPOCH, 2, 0, 8)},
            {"out of its turn", LINK_PAYLOAD, kofn__frame_write(REGION_SLOT, EPOCH, 0, 0, 8)},
            {"a kind that has no place", LINK_PAYLOAD,
             kofn__frame_write(REGION_MODEL, EPOCH, 1, 0, 8)},
            {"a kind that has no place", LINK_CONTROL, kofn__frame_receipt(EPOCH, 1)},
            {"a kind that has no place", LINK_CONTROL, kofn__frame_word(REGION_BLOCK, EPOCH, 1, 0)},
            {"another membership", LINK_CONTROL, kofn__frame_word(REGION_BEAT, EPOCH - 1, 1, 0)},
            {"before all of its payload", LINK_PAYLOAD, kofn__frame_stamp(REGION_SLOT, EPOCH, 1)},
            {"a wrong length", LINK_PAYLOAD, {FRAME_STAMP, REGION_SLOT, 0, EPOCH, 0, 65, 1}},
            {"a kind that has no place", LINK_CONTROL, {0}},
        };

        for (size_t j = 0; j < KOFN_ARRAY_SIZE(offences); j++)
            for (int midway = 0; midway < 2; midway++)
                offend(bytes, &offences[j], midway);
    }
}

/* Payload on the connection for words, where there are two, has no place there. */
static void test_payload_stays_on_its_connection(void)
{
    const struct offence offence = {"a kind that has no place", LINK_CONTROL,
                                    kofn__frame_write(REGION_SLOT, EPOCH, 1, 0, 8)};

    offend(LARGE_BYTES, &offence, false);
}

/* A third publication before the first has been taken has no credit, and does not get into its
 * buffer.
 */
static void test_no_credit_no_buffer(void)
{
    struct tcp_client client;
    struct tcp_scene scene;
    unsigned char stream[3 * 1000];
    struct kofn_arrival arrivals[4];
    const void *payload;
    struct kofn_stamp stamp;
    size_t length = 0;

    tcp_open(&scene, WORKERS, SMALL_BYTES, 0, NULL);
    tcp_join(&scene, CULPRIT, EPOCH, &client);
    for (uint64_t sequence = 1; sequence <= 3; sequence++)
        length += tcp_stream(&scene, &client, sequence, stream + length);
    tcp_send(client.fds[0], stream, length);
    CU_ASSERT(tcp_is_cut(&scene, client.fds[0]));
    CU_ASSERT_EQUAL(kofn_tcp.hub_poll(scene.hub, arrivals, 4), 2); /* what came in order counts */
    CU_ASSERT_EQUAL(
        kofn_slot_begin(&scene.geometry, kofn_hub_slot(scene.hub, CULPRIT), 1, &payload, &stamp),
        0);
    CU_ASSERT(payload_is(payload, SMALL_BYTES, CULPRIT, EPOCH, 1));
    CU_ASSERT_EQUAL(tcp_poll(&scene, arrivals), KOFN_GONE);
    CU_ASSERT(kofn_caught_one(&scene.caught, "a publication without a credit"));
    tcp_leave(&client, false);
    tcp_close(&scene);
}

/* Random bytes behind a true greeting: cut off, or not yet judged; the other workers go on. */
static void test_random_bytes_do_no_harm(void)
{
    struct tcp_client clients[WORKERS];
    struct kofn_random random;
    struct tcp_scene scene;
    struct others others;

    kofn_random_seed(&random, 11, 0);
    tcp_open(&scene, WORKERS, 400, 0, NULL);
    tcp_join(&scene, 0, EPOCH, &clients[0]);
    tcp_join(&scene, 2, EPOCH, &clients[2]);
    kofn_tcp.hub_admit(scene.hub, CULPRIT, EPOCH, &(struct kofn_offer){0});
    others = copy_others(&scene);
    for (uint32_t i = 0; i < contract_rounds(100); i++) {
        size_t length = 1 + kofn_random_below(&random, 500);
        struct kofn_arrival arrival;
        unsigned char bytes[500];

        kofn_tcp.hub_evict(scene.hub, CULPRIT);
        CU_ASSERT_EQUAL_FATAL(kofn_tcp.hub_reclaim(scene.hub, CULPRIT, true), 0);
        tcp_join(&scene, CULPRIT, EPOCH, &clients[CULPRIT]);
        for (size_t j = 0; j < length; j++)
            bytes[j] = (unsigned char)kofn_random_next(&random);
        if (i % 2) /* a header that is right but for its numbers */
            memcpy(bytes,
                   &(struct kofn__frame){
                       .type = (uint8_t)(1 + i / 2 % 6), .region = REGION_SLOT, .epoch = EPOCH},
                   8);
        tcp_send(clients[CULPRIT].fds[0], bytes, length);
        tcp_leave(&clients[CULPRIT], false);
        do
            kofn_tcp.hub_wait(scene.hub, kofn_now_ns() + KOFN_NS_PER_MS / 4);
        while (kofn_tcp.hub_poll(scene.hub, &arrival, 1) > 0);
    }
    CU_ASSERT(untouched(&scene, &others));
    tcp_leave(&clients[0], false);
    tcp_leave(&clients[2], false);
    tcp_close(&scene);
}

/* Sends the stream of snapshot @sequence, or, if that is 0, that there is none, after the hub has
 * asked for what is behind @after (or, if that is UINT64_MAX, for nothing).
 */
static void answer(uint64_t bytes, uint64_t after, uint64_t sequence, const char *why)
{
    struct kofn__frame nothing = kofn__frame_read(FRAME_NOTHING, REGION_SLOT, EPOCH, 0);
    struct tcp_client clients[WORKERS];
    struct tcp_scene scene;
    struct others others;
    unsigned char *stream;
    size_t length = sizeof(nothing);

    tcp_open_pull(&scene, WORKERS, bytes);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        tcp_join(&scene, rank, EPOCH, &clients[rank]);
    others = copy_others(&scene);
    stream = malloc(tcp_stream_bytes(&scene));
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    if (after != UINT64_MAX)
        CU_ASSERT_EQUAL(kofn_tcp.hub_read(scene.hub, CULPRIT, after), 0);
    if (sequence)
        length = tcp_stream(&scene, &clients[CULPRIT], sequence, stream);
    else
        memcpy(stream, &nothing, sizeof(nothing));
    tcp_send(tcp_payload_fd(&clients[CULPRIT]), stream, length);
    expect_cut_off(&scene, tcp_payload_fd(&clients[CULPRIT]), why);
    CU_ASSERT(untouched(&scene, &others));
    free(stream);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        tcp_leave(&clients[rank], false);
    tcp_close(&scene);
}

/* Where publications are read, none comes that was not asked for, and none that is older than that.
 */
static void test_only_what_was_asked_for(void)
{
    static const uint64_t sizes[] = {SMALL_BYTES, LARGE_BYTES};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++) {
        answer(sizes[i], UINT64_MAX, 1, "not asked for");
        answer(sizes[i], UINT64_MAX, 0, "an answer to nothing");
        answer(sizes[i], 7, 7, "not newer");
    }
}

void contract_tcp_hostile(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_whoever_breaks_a_rule_is_cut_off_and_named);
    CONTRACT_TEST(suite, test_payload_stays_on_its_connection);
    CONTRACT_TEST(suite, test_no_credit_no_buffer);
    CONTRACT_TEST(suite, test_only_what_was_asked_for);
    CONTRACT_TEST(suite, test_random_bytes_do_no_harm);
}
