/* driver.h: who moves an end of the transport along: its owner, or, while he is away, a thread of
 * the transport's own.
 *
 * What has come lies in a socket until somebody takes it from there to where it belongs. The owner
 * (the server's thread, or the worker's) does that whenever he looks or waits: nobody is faster.
 * But a worker that computes, or a server that merges, does not look: then the guard, a thread that
 * otherwise sleeps, takes over, so that what is sent to a slot gets there and what was published
 * leaves. It notices within a few milliseconds that the owner is away, or is told at once; the
 * owner takes over again by looking.
 *
 * Threads: everything an end has is under the driver's lock: its owner's calls take it, and the
 * sink is called with it held, from whichever thread drives.
 */
#ifndef KOFN_TRANSPORTS_URING_DRIVER_H
#define KOFN_TRANSPORTS_URING_DRIVER_H

#include <pthread.h>

#include "base/backoff.h"
#include "transports/uring/engine.h"

struct kofn__driver_attr {
    const struct kofn__engine_ops *engine; /* the owner's; the guard's is always `poll` */
    uint32_t sockets;
    uint64_t spin; /* ns a wait polls before it sleeps */
    const struct kofn__engine_sink *sink;
    void *arg; /* of the sink */
    const struct kofn_log *log;
};

struct kofn__driver {
    pthread_mutex_t lock;
    struct kofn__engine *owner, *guard;
    const struct kofn__engine_sink *sink;
    void *arg;
    struct kofn_backoff backoff;

    /* Whose turn it is. */
    bool inside;       /* the owner waits: nobody else touches a socket */
    bool guard_drives; /* the owner is away */
    bool stopping;
    uint64_t turns;   /* grows whenever the owner drives */
    uint32_t callers; /* threads that wait for the lock, but for the guard, who lets them pass */

    /* Where the guard sleeps while the owner is there: under a lock of its own, so that an owner
     * who does much does not find the driver's taken whenever the guard wakes. */
    pthread_mutex_t nap;
    pthread_cond_t changed;
    bool ticking; /* it sleeps, and looks now and then whether the owner is away */
    bool parked;  /* it sleeps until it is told */
    bool told;
    pthread_t thread;
};

/* Opens both engines and starts the guard, who drives until the owner first looks. Errors are
 * logged. */
int kofn__driver_open(struct kofn__driver *driver, const struct kofn__driver_attr *attr);

/* Ends the guard, first of all. What is watched is the caller's to close, before or afterwards. */
void kofn__driver_stop(struct kofn__driver *driver);
void kofn__driver_close(struct kofn__driver *driver);

static inline void kofn__driver_enter(struct kofn__driver *driver)
{
    if (KOFN_LIKELY(!pthread_mutex_trylock(&driver->lock)))
        return;
    __atomic_fetch_add(&driver->callers, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&driver->lock);
    __atomic_fetch_sub(&driver->callers, 1, __ATOMIC_RELAXED);
}

static inline void kofn__driver_leave(struct kofn__driver *driver)
{
    pthread_mutex_unlock(&driver->lock);
}

/* All below are called between enter() and leave(), or by the sink. */

/* The socket @key is looked at from here on, by both engines; errors are the caller's to log.
 * watch_owner(): by the owner's alone, until guard_too() says otherwise.
 */
int kofn__driver_watch(struct kofn__driver *driver, uint32_t key, int fd, bool small);
int kofn__driver_watch_owner(struct kofn__driver *driver, uint32_t key, int fd);
void kofn__driver_guard_too(struct kofn__driver *driver, uint32_t key, int fd, bool too);
void kofn__driver_unwatch(struct kofn__driver *driver, uint32_t key);
void kofn__driver_want_write(struct kofn__driver *driver, uint32_t key, bool wanted);

/* The owner takes in what has come, without waiting. */
void kofn__driver_look(struct kofn__driver *driver);

/* The same, unless the guard does it: for calls that are not about what has come. */
void kofn__driver_glance(struct kofn__driver *driver);

/* The owner is about to be away, with something left to do: the guard takes over at once. */
void kofn__driver_hand_over(struct kofn__driver *driver);

/* The owner waits until nothing is missing, or @deadline; polls for attr.spin first.
 *
 * @missing  how many events are still needed, at least: 0 = the wait is over; more than 1 only
 * where no fewer can be enough, and nothing else matters Returns 0; KOFN_INTERRUPTED after a
 * signal; KOFN_NO_MEMORY, KOFN_SYSTEM.
 */
int kofn__driver_wait(struct kofn__driver *driver, uint32_t (*missing)(void *arg),
                      uint64_t deadline);

#endif
