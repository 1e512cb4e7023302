/* The engine that works everywhere: epoll, and whoever is told reads for himself. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "transports/uring/engine.h"

#define EVENTS 64 /* taken at once: it is all done under the lock */
#define KICK UINT32_MAX

/* A key is used again: what epoll says of its former socket is told by the generation. */
struct watched {
    int fd;
    uint32_t generation;
};

struct poll_engine {
    struct kofn__engine engine;
    int epoll, kicks;
    int found; /* events that are not handed on yet */
    struct epoll_event events[EVENTS];
    struct watched watched[];
};

static struct poll_engine *poll_engine(struct kofn__engine *engine)
{
    return (struct poll_engine *)engine;
}

static void poll_close(struct kofn__engine *base)
{
    struct poll_engine *engine = poll_engine(base);

    if (engine->kicks >= 0)
        close(engine->kicks);
    if (engine->epoll >= 0)
        close(engine->epoll);
    free(engine);
}

static int control(struct poll_engine *engine, int operation, uint32_t key, int fd, uint32_t events)
{
    uint32_t generation = key == KICK ? 0 : engine->watched[key].generation;
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)generation << 32 | key};

    if (!epoll_ctl(engine->epoll, operation, fd, &event))
        return 0;
    return errno == ENOMEM || errno == ENOSPC ? KOFN_NO_MEMORY : KOFN_SYSTEM;
}

static int poll_open(uint32_t sockets, struct kofn__engine **engine_p, const char **reason)
{
    struct poll_engine *engine;

    *reason = "epoll is not to be had";
    engine = calloc(1, sizeof(*engine) + sockets * sizeof(engine->watched[0]));
    if (!engine)
        return KOFN_NO_MEMORY;
    engine->engine.ops = &kofn__engine_poll;
    engine->kicks = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t key = 0; key < sockets; key++)
        engine->watched[key].fd = -1;
    if (engine->kicks < 0 || engine->epoll < 0 ||
        control(engine, EPOLL_CTL_ADD, KICK, engine->kicks, EPOLLIN)) {
        poll_close(&engine->engine);
        return KOFN_SYSTEM;
    }
    *engine_p = &engine->engine;
    return 0;
}

static int poll_watch(struct kofn__engine *base, uint32_t key, int fd, bool small)
{
    struct poll_engine *engine = poll_engine(base);
    int rc = control(engine, EPOLL_CTL_ADD, key, fd, EPOLLIN);

    (void)small;
    if (!rc)
        engine->watched[key].fd = fd;
    return rc;
}

static void poll_unwatch(struct kofn__engine *base, uint32_t key)
{
    struct poll_engine *engine = poll_engine(base);
    struct watched *watched = &engine->watched[key];

    if (watched->fd < 0)
        return;
    control(engine, EPOLL_CTL_DEL, key, watched->fd, 0);
    watched->fd = -1;
    watched->generation++;
}

static void poll_want_write(struct kofn__engine *base, uint32_t key, bool wanted)
{
    struct poll_engine *engine = poll_engine(base);

    if (engine->watched[key].fd >= 0)
        control(engine, EPOLL_CTL_MOD, key, engine->watched[key].fd,
                EPOLLIN | (wanted ? EPOLLOUT : 0));
}

/* epoll_wait() in nanoseconds, where the kernel has that (5.11): in milliseconds, rounded up, where
 * it has not.
 */
static int wait_events(struct poll_engine *engine, uint64_t deadline)
{
    uint64_t now = deadline && deadline != KOFN_FOREVER ? kofn_now_ns() : 0;
    uint64_t left = deadline > now ? deadline - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left / KOFN_NS_PER_S),
                               .tv_nsec = (long)(left % KOFN_NS_PER_S)};
    int found = epoll_pwait2(engine->epoll, engine->events, EVENTS,
                             deadline == KOFN_FOREVER ? NULL : &timeout, NULL);

    if (found < 0 && errno == ENOSYS)
        found = epoll_wait(
            engine->epoll, engine->events, EVENTS,
            deadline == KOFN_FOREVER
                ? -1
                : (int)KOFN_MIN((left + KOFN_NS_PER_MS - 1) / KOFN_NS_PER_MS, (uint64_t)INT32_MAX));
    return found;
}

static int poll_wait(struct kofn__engine *base, uint64_t deadline, uint32_t least)
{
    struct poll_engine *engine = poll_engine(base);
    int found;

    (void)least;
    if (engine->found)
        return 0;
    found = wait_events(engine, deadline);
    if (found < 0)
        return errno == EINTR ? KOFN_INTERRUPTED : 0;
    engine->found = found;
    return 0;
}

static void hand_on(struct poll_engine *engine, const struct epoll_event *event,
                    const struct kofn__engine_sink *sink, void *arg)
{
    uint32_t key = (uint32_t)event->data.u64;
    unsigned events = 0;
    uint64_t count;

    if (key == KICK) {
        (void)!read(engine->kicks, &count, sizeof(count)); /* there is nothing in it to be lost */
        return;
    }
    if (engine->watched[key].fd < 0 || engine->watched[key].generation != event->data.u64 >> 32)
        return;
    if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        events |= EVENT_READ;
    if (event->events & EPOLLOUT)
        events |= EVENT_WRITE;
    sink->ready(arg, key, events);
}

static void poll_reap(struct kofn__engine *base, const struct kofn__engine_sink *sink, void *arg)
{
    struct poll_engine *engine = poll_engine(base);
    int found = engine->found;

    if (!found)
        found = epoll_wait(engine->epoll, engine->events, EVENTS, 0);
    engine->found = 0;
    for (int i = 0; i < found; i++)
        hand_on(engine, &engine->events[i], sink, arg);
}

static void poll_kick(struct kofn__engine *base)
{
    uint64_t one = 1;

    (void)!write(poll_engine(base)->kicks, &one, sizeof(one)); /* full is kicked, too */
}

const struct kofn__engine_ops kofn__engine_poll = {
    .name = "poll",
    .open = poll_open,
    .close = poll_close,
    .watch = poll_watch,
    .unwatch = poll_unwatch,
    .want_write = poll_want_write,
    .wait = poll_wait,
    .reap = poll_reap,
    .kick = poll_kick,
};
