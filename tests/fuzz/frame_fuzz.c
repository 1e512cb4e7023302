/* Bytes of a peer, cut into pieces at will, at both ends of the transport over TCP: whatever they
 * are, they write within their slot alone, and only a payload that has come whole gets its stamp.
 *
 * First byte: bit 0 server or worker, bit 1 pieces. Then the stream.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transports/uring/endpoint.h"
#include "transports/uring/hub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAYLOAD 200u
#define EPOCH 1u
#define GUARD 0xa5

/* An engine for sockets that are none. */
static int watch(struct kofn__engine *engine, uint32_t key, int fd, bool small)
{
    (void)engine;
    (void)key;
    (void)fd;
    (void)small;
    return 0;
}

static void unwatch(struct kofn__engine *engine, uint32_t key)
{
    (void)engine;
    (void)key;
}

static void want_write(struct kofn__engine *engine, uint32_t key, bool wanted)
{
    (void)engine;
    (void)key;
    (void)wanted;
}

static const struct kofn__engine_ops no_engine = {
    .name = "none", .watch = watch, .unwatch = unwatch, .want_write = want_write};

static void fake_driver(struct kofn__driver *driver, struct kofn__engine *engine)
{
    engine->ops = &no_engine;
    driver->owner = driver->guard = engine;
}

static void start(struct kofn__stream *stream, uint32_t key, bool server)
{
    struct kofn__frame_rules rules = {
        .server = server, .payload = true, .epoch = EPOCH, .payload_bytes = PAYLOAD};

    kofn__stream_init(stream, key, true);
    stream->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    stream->started = true;
    kofn__reader_init(&stream->reader, &rules);
}

/* Hands the stream to @sink, whole or in pieces whose lengths the stream itself gives. */
static void feed(const struct kofn__engine_sink *sink, void *arg, uint32_t key, bool pieces,
                 const uint8_t *data, size_t size)
{
    while (size) {
        size_t piece = pieces ? KOFN_MIN(size, 1u + data[0] % 61u) : size;
        uint8_t *copy = malloc(piece); /* so that a sanitizer sees a read beyond it */

        if (!copy)
            abort();
        memcpy(copy, data, piece);
        sink->bytes(arg, key, copy, (ssize_t)piece);
        free(copy);
        data += piece;
        size -= piece;
    }
}

/* True if memory around the @bytes at @memory + GUARDED is as it was. */
#define GUARDED 256u
static bool intact(const unsigned char *memory, size_t bytes)
{
    for (size_t i = 0; i < GUARDED; i++)
        if (memory[i] != GUARD || memory[GUARDED + bytes + i] != GUARD)
            return false;
    return true;
}

static unsigned char *guarded(size_t bytes)
{
    unsigned char *memory = aligned_alloc(KOFN_CACHE_LINE, bytes + 2 * GUARDED);

    if (!memory)
        abort();
    memset(memory, GUARD, bytes + 2 * GUARDED);
    memset(memory + GUARDED, 0, bytes);
    return memory;
}

static void fuzz_hub(bool pieces, const uint8_t *data, size_t size)
{
    static struct kofn__tcp_hub hub;
    static struct kofn__member member;
    static char small_model[PAYLOAD];
    struct kofn_arrival arrivals[2];
    uint64_t beat = 0;
    struct kofn__engine engine;
    unsigned char *slot, *models;

    memset(&hub, 0, sizeof(hub));
    member = (struct kofn__member){
        .place = PLACE_CONNECTED, .epoch = EPOCH, .expected = 1, .small_model = small_model};
    fake_driver(&hub.driver, &engine);
    if (kofn_geometry_init(&hub.hub.slot, PAYLOAD, KOFN_DEPTH))
        abort();
    hub.hub.model = hub.hub.slot;
    hub.hub.workers = 1;
    hub.links = 1;
    hub.members = &member;
    hub.arrivals = arrivals;
    hub.arrival_room = KOFN_ARRAY_SIZE(arrivals);
    hub.beats = &beat;
    hub.report_ns = UINT64_MAX;
    slot = guarded(hub.hub.slot.slot_bytes);
    models = guarded(hub.hub.model.slot_bytes);
    hub.hub.slots = (char *)slot + GUARDED;
    hub.hub.models = models + GUARDED;
    start(&member.streams[LINK_CONTROL], KOFN__KEY_MEMBERS, true);
    kofn__stream_init(&member.streams[LINK_PAYLOAD], KOFN__KEY_MEMBERS + 1, false);

    feed(&kofn__hub_sink, &hub, KOFN__KEY_MEMBERS, pieces, data, size);

    if (!intact(slot, hub.hub.slot.slot_bytes) || !intact(models, hub.hub.model.slot_bytes) ||
        member.filled > PAYLOAD || hub.arrival_count > KOFN_DEPTH)
        abort();
    for (uint32_t i = 0; i < hub.arrival_count; i++) {
        struct kofn_stamp stamp;
        const void *payload;

        if (arrivals[i].sequence != i + 1)
            abort();
        /* it is there, unless the one that takes its place is being written */
        if (kofn_slot_begin(&hub.hub.slot, hub.hub.slots, i + 1, &payload, &stamp))
            abort();
    }
    if (member.status && member.streams[LINK_CONTROL].fd >= 0)
        abort(); /* cut off, and still open */
    kofn__stream_close(&member.streams[LINK_CONTROL], &hub.driver);
    free(slot);
    free(models);
}

static void fuzz_endpoint(bool pieces, const uint8_t *data, size_t size)
{
    static KOFN_LINE_ALIGNED struct kofn__tcp_endpoint endpoint;
    struct kofn__engine engine;
    unsigned char *buffers, *models;

    memset(&endpoint, 0, sizeof(endpoint));
    fake_driver(&endpoint.driver, &engine);
    if (kofn_geometry_init(&endpoint.endpoint.slot, PAYLOAD, KOFN_DEPTH))
        abort();
    endpoint.endpoint.model = endpoint.endpoint.slot;
    endpoint.endpoint.epoch = EPOCH;
    endpoint.links = 1;
    buffers = guarded(endpoint.endpoint.slot.slot_bytes);
    models = guarded(endpoint.endpoint.model.slot_bytes);
    endpoint.endpoint.buffers = buffers + GUARDED;
    endpoint.models.address = models + GUARDED;
    start(&endpoint.streams[LINK_CONTROL], LINK_CONTROL, false);
    kofn__stream_init(&endpoint.streams[LINK_PAYLOAD], LINK_PAYLOAD, false);

    feed(&kofn__endpoint_sink, &endpoint, LINK_CONTROL, pieces, data, size);

    if (!intact(buffers, endpoint.endpoint.slot.slot_bytes) ||
        !intact(models, endpoint.endpoint.model.slot_bytes) || endpoint.filled > PAYLOAD ||
        endpoint.model_buffer >= KOFN_DEPTH)
        abort();
    if (endpoint.model) {
        const struct kofn_stamp *stamp =
            (const void *)(kofn__endpoint_model(&endpoint, endpoint.model_buffer) +
                           endpoint.endpoint.model.stamp_offset);

        if (stamp->sequence != endpoint.model)
            abort();
    }
    kofn__stream_close(&endpoint.streams[LINK_CONTROL], &endpoint.driver);
    free(buffers);
    free(models);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] & 1)
        fuzz_hub(data[0] & 2, data + 1, size - 1);
    else
        fuzz_endpoint(data[0] & 2, data + 1, size - 1);
    return 0;
}
