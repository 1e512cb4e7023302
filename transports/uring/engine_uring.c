/* The io_uring engine. Small sockets have a multishot receive into buffers that the kernel picks:
 * whatever has come to any number of them is taken in with one system call. Others have a poll that
 * is set again after each report.
 *
 * The ring is of one thread (SINGLE_ISSUER) and does its work in that thread's calls and nowhere
 * else (DEFER_TASKRUN): no interrupts while it computes, and no reads but within reap() and wait(),
 * which the driver relies on. So a kernel without that (before 6.1) is not one for this engine.
 */
#include "transports/uring/engine.h"

#ifdef HAVE_LIBURING

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

#define RING_FLAGS                                                                                 \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |         \
     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)
#define SUBMISSIONS 256u
#define COMPLETIONS_LEAST 256u
#define BATCH 64u
#define BATCHES 16 /* handed on at once: all is done under a lock */
#define BUFFERS_LEAST 8u
#define BUFFERS_MOST                                                                               \
    1024u /* one a socket, up to here: a receive that finds none has to be made                    \
             anew, which costs as much as several that find one */
#define BUFFER_BYTES_MOST 16384u /* the longest small payload and its frames fit */
#define BUFFERS_BYTES (4u << 20) /* all of them at most: where there are many, each is shorter */
#define GROUP 0

/* What a request is for, in its user_data: a key, an operation, a generation. */
enum operation { OPERATION_STREAM, OPERATION_READ, OPERATION_WRITE };
#define GENERATIONS (1u << 24)

struct socket_entry {
    int fd; /* -1 = not watched */
    uint32_t generation;
    bool small, reading, writing; /* reading, writing: a request is under way */
    bool want_write;
    bool listed; /* in `due` */
};

struct uring_engine {
    struct kofn__engine engine;
    struct io_uring ring;
    bool open;
    pthread_t thread; /* whose ring it is */
    struct io_uring_buf_ring *buffer_ring;
    char *buffers;
    uint32_t buffer_count, buffer_bytes;
    uint32_t *due; /* keys that may need a request */
    uint32_t due_count, sockets;
    struct socket_entry entries[];
};

static struct uring_engine *uring_engine(struct kofn__engine *engine)
{
    return (struct uring_engine *)engine;
}

static uint32_t power_of_two(uint32_t least, uint32_t wanted, uint32_t most)
{
    while (least < wanted && least < most)
        least *= 2;
    return least;
}

static char *buffer_at(const struct uring_engine *engine, uint32_t id)
{
    return engine->buffers + (size_t)id * engine->buffer_bytes;
}

static void give_buffer(struct uring_engine *engine, uint32_t id)
{
    io_uring_buf_ring_add(engine->buffer_ring, buffer_at(engine, id), engine->buffer_bytes,
                          (unsigned short)id, io_uring_buf_ring_mask(engine->buffer_count), 0);
    io_uring_buf_ring_advance(engine->buffer_ring, 1);
}

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static size_t buffer_ring_bytes(const struct uring_engine *engine)
{
    return engine->buffer_count * sizeof(struct io_uring_buf);
}

/* Tells the ring of its buffers. */
static int register_buffers(struct uring_engine *engine)
{
    struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)engine->buffer_ring,
                                            .ring_entries = engine->buffer_count,
                                            .bgid = GROUP};
    int rc;

    memset(engine->buffer_ring, 0, buffer_ring_bytes(engine));
    rc = io_uring_register_buf_ring(&engine->ring, &registration, 0);
    if (rc)
        return rc;
    for (uint32_t id = 0; id < engine->buffer_count; id++)
        give_buffer(engine, id);
    return 0;
}

/* Can the kernel do what is asked of it below? */
static bool has_operations(struct io_uring *ring)
{
    static const int needed[] = {IORING_OP_RECV, IORING_OP_POLL_ADD, IORING_OP_SEND_ZC};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool all = probe != NULL;

    for (size_t i = 0; all && i < KOFN_ARRAY_SIZE(needed); i++)
        all = io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    return all;
}

static const char *refusal(int error)
{
    switch (error) {
    case ENOSYS:
        return "this kernel has no io_uring";
    case EPERM:
    case EACCES:
        return "io_uring is not permitted here (kernel.io_uring_disabled, or a sandbox)";
    case ENOMEM:
        return "no memory for io_uring (ulimit -l)";
    case EMFILE:
    case ENFILE:
        return "no descriptor left for io_uring (ulimit -n)";
    default:
        return "the io_uring of this kernel is too old (6.1 is needed)";
    }
}

/* A ring of the calling thread's own. Returns 0 or -errno. */
static int open_ring(struct uring_engine *engine)
{
    struct io_uring_params params = {
        .flags = RING_FLAGS, .cq_entries = KOFN_MAX(4 * engine->sockets, COMPLETIONS_LEAST)};
    int rc = io_uring_queue_init_params(SUBMISSIONS, &engine->ring, &params);

    if (rc)
        return rc;
    if (!has_operations(&engine->ring))
        rc = -EINVAL;
    rc = rc ? rc : register_buffers(engine);
    if (rc) {
        io_uring_queue_exit(&engine->ring);
        return rc;
    }
    engine->open = true;
    engine->thread = pthread_self();
    return 0;
}

static void close_ring(struct uring_engine *engine)
{
    if (engine->open)
        io_uring_queue_exit(&engine->ring);
    engine->open = false;
}

static void uring_close(struct kofn__engine *base)
{
    struct uring_engine *engine = uring_engine(base);

    close_ring(engine);
    if (engine->buffers)
        munmap(engine->buffers, (size_t)engine->buffer_count * engine->buffer_bytes);
    if (engine->buffer_ring)
        munmap(engine->buffer_ring, buffer_ring_bytes(engine));
    free(engine->due);
    free(engine);
}

static int uring_open(uint32_t sockets, struct kofn__engine **engine_p, const char **reason)
{
    struct uring_engine *engine;
    int rc;

    *reason = "out of memory";
    engine = calloc(1, sizeof(*engine) + sockets * sizeof(engine->entries[0]));
    if (!engine)
        return KOFN_NO_MEMORY;
    engine->engine.ops = &kofn__engine_uring;
    engine->sockets = sockets;
    engine->buffer_count = power_of_two(BUFFERS_LEAST, sockets, BUFFERS_MOST);
    engine->buffer_bytes = KOFN_MIN(BUFFERS_BYTES / engine->buffer_count, BUFFER_BYTES_MOST);
    engine->due = calloc(sockets, sizeof(engine->due[0]));
    engine->buffer_ring = map(buffer_ring_bytes(engine));
    engine->buffers = map((size_t)engine->buffer_count * engine->buffer_bytes);
    for (uint32_t key = 0; key < sockets; key++)
        engine->entries[key].fd = -1;
    if (!engine->due || !engine->buffer_ring || !engine->buffers) {
        uring_close(&engine->engine);
        return KOFN_NO_MEMORY;
    }
    rc = open_ring(engine);
    if (rc) {
        *reason = refusal(-rc);
        uring_close(&engine->engine);
        return KOFN_UNSUPPORTED;
    }
    *engine_p = &engine->engine;
    return 0;
}

bool kofn__engine_uring_allowed(const char **reason)
{
    struct kofn__engine *engine;

    if (uring_open(1, &engine, reason))
        return false;
    uring_close(engine);
    return true;
}

/* ---- what is watched: tables, and requests that are made of them later, by the ring's thread ----
 */

static void list(struct uring_engine *engine, uint32_t key)
{
    if (engine->entries[key].listed)
        return;
    engine->entries[key].listed = true;
    engine->due[engine->due_count++] = key;
}

static int uring_watch(struct kofn__engine *base, uint32_t key, int fd, bool small)
{
    struct uring_engine *engine = uring_engine(base);
    struct socket_entry *entry = &engine->entries[key];

    entry->fd = fd;
    entry->small = small;
    entry->reading = entry->writing = entry->want_write = false;
    list(engine, key);
    return 0;
}

/* Requests that are under way end by themselves, because the socket has been shut down, or make no
 * difference; what they still say is told by the generation to be old.
 */
static void uring_unwatch(struct kofn__engine *base, uint32_t key)
{
    struct socket_entry *entry = &uring_engine(base)->entries[key];

    entry->fd = -1;
    entry->generation = (entry->generation + 1) % GENERATIONS;
}

static void uring_want_write(struct kofn__engine *base, uint32_t key, bool wanted)
{
    struct uring_engine *engine = uring_engine(base);

    engine->entries[key].want_write = wanted;
    if (wanted)
        list(engine, key);
}

static struct io_uring_sqe *next_request(struct uring_engine *engine)
{
    struct io_uring_sqe *request = io_uring_get_sqe(&engine->ring);

    if (request)
        return request;
    io_uring_submit(&engine->ring);
    return io_uring_get_sqe(&engine->ring);
}

static void mark(struct uring_engine *engine, struct io_uring_sqe *request, uint32_t key,
                 enum operation operation)
{
    io_uring_sqe_set_data64(request, (uint64_t)engine->entries[key].generation << 40 |
                                         (uint64_t)operation << 32 | key);
}

static bool request_poll(struct uring_engine *engine, uint32_t key, enum operation operation,
                         unsigned events)
{
    struct io_uring_sqe *request = next_request(engine);

    if (!request)
        return false;
    io_uring_prep_poll_add(request, engine->entries[key].fd, events);
    mark(engine, request, key, operation);
    return true;
}

static bool request_stream(struct uring_engine *engine, uint32_t key)
{
    struct io_uring_sqe *request = next_request(engine);

    if (!request)
        return false;
    io_uring_prep_recv_multishot(request, engine->entries[key].fd, NULL, 0, 0);
    mark(engine, request, key, OPERATION_STREAM);
    request->flags |= IOSQE_BUFFER_SELECT;
    request->buf_group = GROUP;
    return true;
}

/* Makes the requests that are due; they go to the kernel with the next call. */
static void request_due(struct uring_engine *engine)
{
    uint32_t count = engine->due_count;

    engine->due_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = engine->due[i];
        struct socket_entry *entry = &engine->entries[key];

        entry->listed = false;
        if (entry->fd < 0)
            continue;
        if (!entry->reading)
            entry->reading = entry->small ? request_stream(engine, key)
                                          : request_poll(engine, key, OPERATION_READ, POLLIN);
        if (entry->want_write && !entry->writing)
            entry->writing = request_poll(engine, key, OPERATION_WRITE, POLLOUT);
        if (!entry->reading || (entry->want_write && !entry->writing))
            list(engine, key); /* the ring is full: the next time; @due[i] has been read */
    }
}

/* ---- what has come ---- */

static void hand_stream(struct uring_engine *engine, uint32_t key, int result, uint32_t flags,
                        const struct kofn__engine_sink *sink, void *arg, bool current)
{
    bool buffer = flags & IORING_CQE_F_BUFFER;
    uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;

    if (current && result != -ENOBUFS && result != -ECANCELED)
        sink->bytes(arg, key, buffer ? buffer_at(engine, id) : NULL, result);
    if (buffer)
        give_buffer(engine, id);
}

static void hand_on(struct uring_engine *engine, const struct io_uring_cqe *completion,
                    const struct kofn__engine_sink *sink, void *arg)
{
    uint64_t data = io_uring_cqe_get_data64(completion);
    uint32_t key = (uint32_t)data, flags = completion->flags, generation = (uint32_t)(data >> 40);
    enum operation operation = (enum operation)(data >> 32 & 0xff);
    struct socket_entry *entry = &engine->entries[key];
    bool current = entry->fd >= 0 && entry->generation == generation;

    if (current && !(flags & IORING_CQE_F_MORE)) {
        *(operation == OPERATION_WRITE ? &entry->writing : &entry->reading) = false;
        list(engine, key);
    }
    if (operation == OPERATION_STREAM)
        hand_stream(engine, key, completion->res, flags, sink, arg, current);
    else if (current && completion->res >= 0)
        sink->ready(arg, key, operation == OPERATION_WRITE ? EVENT_WRITE : EVENT_READ);
}

/* The ring is the calling thread's, from here on if it was not. Returns 0 or -errno. */
static int own_ring(struct uring_engine *engine)
{
    int rc;

    if (KOFN_LIKELY(engine->open && pthread_equal(engine->thread, pthread_self())))
        return 0;
    close_ring(engine);
    rc = open_ring(engine);
    if (rc)
        return rc;
    for (uint32_t key = 0; key < engine->sockets; key++) {
        struct socket_entry *entry = &engine->entries[key];

        entry->generation = (entry->generation + 1) % GENERATIONS;
        entry->reading = entry->writing = false;
        list(engine, key);
    }
    return 0;
}

static void uring_reap(struct kofn__engine *base, const struct kofn__engine_sink *sink, void *arg)
{
    struct uring_engine *engine = uring_engine(base);
    struct io_uring_cqe *completions[BATCH];
    unsigned count;

    if (own_ring(engine))
        return; /* wait() says so */
    request_due(engine);
    if (io_uring_sq_ready(&engine->ring))
        io_uring_submit_and_get_events(&engine->ring);
    for (int batch = 0; batch < BATCHES; batch++) {
        count = io_uring_peek_batch_cqe(&engine->ring, completions, BATCH);
        if (!count)
            break;
        for (unsigned i = 0; i < count; i++)
            hand_on(engine, completions[i], sink, arg);
        io_uring_cq_advance(&engine->ring, count);
    }
    request_due(engine); /* they go to the kernel with the next call, reap() or wait() */
}

static int uring_wait(struct kofn__engine *base, uint64_t deadline, uint32_t least)
{
    struct uring_engine *engine = uring_engine(base);
    uint64_t now = deadline == KOFN_FOREVER ? 0 : kofn_now_ns();
    uint64_t left = deadline > now ? deadline - now : 0;
    struct __kernel_timespec timeout = {.tv_sec = (long long)(left / KOFN_NS_PER_S),
                                        .tv_nsec = (long long)(left % KOFN_NS_PER_S)};
    struct io_uring_cqe *first;
    int rc = own_ring(engine);

    if (rc)
        return rc == -ENOMEM ? KOFN_NO_MEMORY : KOFN_SYSTEM;
    if (!least || io_uring_cq_ready(&engine->ring))
        least = 1;
    least = KOFN_MIN(least, engine->buffer_count / 2); /* the rest may come until we are awake */
    rc = io_uring_submit_and_wait_timeout(&engine->ring, &first, least,
                                          deadline == KOFN_FOREVER ? NULL : &timeout, NULL);
    return rc == -EINTR ? KOFN_INTERRUPTED : 0;
}

static void uring_kick(struct kofn__engine *base)
{
    (void)base; /* an owner's engine: nobody else needs to wake him */
}

const struct kofn__engine_ops kofn__engine_uring = {
    .name = "uring",
    .reap_first = true,
    .open = uring_open,
    .close = uring_close,
    .watch = uring_watch,
    .unwatch = uring_unwatch,
    .want_write = uring_want_write,
    .wait = uring_wait,
    .reap = uring_reap,
    .kick = uring_kick,
};

#else

bool kofn__engine_uring_allowed(const char **reason)
{
    *reason = "built without liburing";
    return false;
}

static int uring_open(uint32_t sockets, struct kofn__engine **engine_p, const char **reason)
{
    (void)sockets;
    (void)engine_p;
    kofn__engine_uring_allowed(reason);
    return KOFN_UNSUPPORTED;
}

/* Never called: nothing opens. */
const struct kofn__engine_ops kofn__engine_uring = {.name = "uring", .open = uring_open};

#endif
