/* engine.h: how one end of the transport learns what its sockets have, and sleeps until they have
 * something.
 *
 * A socket is known by its key, a number below the engine's limit. Two kinds: of a small one, which
 * carries words and small payloads, the engine may take the bytes by itself and hand them on; of
 * any other it only says when it can be read. There are two engines: `uring` (multishot receives
 * into buffers that the kernel picks, one system call for all that has come) and `poll` (epoll),
 * for kernels and sandboxes that do not allow the other.
 *
 * Threads: all calls but wait() and kick() are made under one lock of the caller's. The `uring`
 * engine reads sockets only inside reap() and wait(), in the thread that calls them: while nobody
 * is in there, anybody who holds the lock may read them directly. It moves to a thread that calls
 * it for the first time, which takes some 100 us; wait() and reap() are called by one thread at a
 * time.
 */
#ifndef KOFN_TRANSPORTS_URING_ENGINE_H
#define KOFN_TRANSPORTS_URING_ENGINE_H

#include <sys/types.h>

#include "base/base.h"

enum kofn__engine_event { EVENT_READ = 1, EVENT_WRITE = 2 };

/* What happens to sockets; called by reap() alone. */
struct kofn__engine_sink {
    /* It can be read (or has ended), written, or both. Says so again as long as that is so. */
    void (*ready)(void *arg, uint32_t key, unsigned events);

    /* The next @count bytes of a small socket; 0 at its end, -errno if it has failed. */
    void (*bytes)(void *arg, uint32_t key, const void *bytes, ssize_t count);
};

struct kofn__engine_ops;

struct kofn__engine {
    const struct kofn__engine_ops *ops;
};

struct kofn__engine_ops {
    const char *name;
    bool reap_first; /* wait() is to come behind a reap(), which makes the requests that it needs */

    /* @sockets: keys are below that. KOFN_UNSUPPORTED if the kernel does not allow it: @reason
     * (static) says what is missing; KOFN_NO_MEMORY, KOFN_SYSTEM.
     */
    int (*open)(uint32_t sockets, struct kofn__engine **engine_p, const char **reason);
    void (*close)(struct kofn__engine *engine);

    /* Looks at @fd, which is not blocking, as @key from here on; KOFN_NO_MEMORY, KOFN_SYSTEM.
     * unwatch() comes before the descriptor is closed; if the socket may still have something, it
     * has been shut down.
     */
    int (*watch)(struct kofn__engine *engine, uint32_t key, int fd, bool small);
    void (*unwatch)(struct kofn__engine *engine, uint32_t key);

    /* Says when it can be written, from here on or no longer. */
    void (*want_write)(struct kofn__engine *engine, uint32_t key, bool wanted);

    /* Sleeps until there is something to reap, @deadline, or somebody kicks. @least: so many events
     * are needed; a hint, it may return at the first. Returns 0; KOFN_INTERRUPTED; KOFN_NO_MEMORY
     * or KOFN_SYSTEM if it cannot work in this thread.
     */
    int (*wait)(struct kofn__engine *engine, uint64_t deadline, uint32_t least);

    /* Hands on what there is, without waiting. */
    void (*reap)(struct kofn__engine *engine, const struct kofn__engine_sink *sink, void *arg);

    /* Wakes whoever waits, or will wait next. From any thread. */
    void (*kick)(struct kofn__engine *engine);
};

extern const struct kofn__engine_ops kofn__engine_poll;
extern const struct kofn__engine_ops kofn__engine_uring;

/* True if this kernel allows `uring`; @reason (static), if not: what it lacks. */
bool kofn__engine_uring_allowed(const char **reason);

#endif
