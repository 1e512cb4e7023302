#include "transports/uring/driver.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define TICK_NS (5 * KOFN_NS_PER_MS) /* the guard looks so often whether the owner is away */
#define IDLE_TICKS 8                 /* of an owner who waits, until the guard no longer looks */
#define STACK_BYTES (256 * 1024)
#define YIELDS 1000 /* to callers, until the guard takes its turn all the same */

/* A mutex is not fair: who has just given it back has it again before a waiter is awake. */
static void let_pass(struct kofn__driver *driver)
{
    for (int i = 0; i < YIELDS && __atomic_load_n(&driver->callers, __ATOMIC_RELAXED); i++)
        sched_yield();
}

static void guard_drives_once(struct kofn__driver *driver)
{
    struct kofn__engine *guard = driver->guard;

    pthread_mutex_unlock(&driver->lock);
    guard->ops->wait(guard, KOFN_FOREVER, 1);
    let_pass(driver);
    pthread_mutex_lock(&driver->lock);
    if (driver->guard_drives && !driver->stopping)
        guard->ops->reap(guard, driver->sink, driver->arg);
}

/* One tick, or until told. Returns true if it was told. */
static bool sleep_tick(struct kofn__driver *driver, bool for_ever)
{
    uint64_t until = kofn_now_ns() + TICK_NS;
    struct timespec deadline = {.tv_sec = (time_t)(until / KOFN_NS_PER_S),
                                .tv_nsec = (long)(until % KOFN_NS_PER_S)};
    int rc = 0;

    while (!driver->told && rc != ETIMEDOUT)
        rc = for_ever ? pthread_cond_wait(&driver->changed, &driver->nap)
                      : pthread_cond_timedwait(&driver->changed, &driver->nap, &deadline);
    return driver->told;
}

/* Sleeps while the owner drives; he does his work meanwhile without meeting the guard at the
 * driver's lock. Returns, with the lock, when the guard was told, when the owner seems to be away
 * (@away: out), or when he has waited so long that the guard may park.
 */
static bool nap(struct kofn__driver *driver, bool park, bool *away)
{
    uint64_t turns = driver->turns, now;
    uint32_t idle = 0;
    bool told = false;

    pthread_mutex_lock(&driver->nap);
    __atomic_store_n(&driver->ticking, true, __ATOMIC_RELAXED);
    driver->parked = park;
    pthread_mutex_unlock(&driver->lock); /* who finds `ticking` from here on wakes the guard */
    *away = false;
    while (!*away && idle <= IDLE_TICKS && !(told = sleep_tick(driver, park))) {
        now = __atomic_load_n(&driver->turns, __ATOMIC_RELAXED);
        idle = now == turns ? idle + 1 : 0;
        *away = idle && !__atomic_load_n(&driver->inside, __ATOMIC_RELAXED);
        turns = now;
    }
    driver->told = false;
    __atomic_store_n(&driver->ticking, false, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&driver->nap);
    pthread_mutex_lock(&driver->lock);
    *away = *away && !driver->inside && driver->turns == turns;
    return !told && driver->inside && driver->turns == turns;
}

/* Wakes the guard, if he sleeps. */
static void tell(struct kofn__driver *driver)
{
    if (!__atomic_load_n(&driver->ticking, __ATOMIC_RELAXED))
        return;
    pthread_mutex_lock(&driver->nap);
    driver->told = true;
    driver->parked = false;
    pthread_cond_signal(&driver->changed);
    pthread_mutex_unlock(&driver->nap);
}

static void *guard_main(void *arg)
{
    struct kofn__driver *driver = arg;
    bool park = false, away;

    pthread_mutex_lock(&driver->lock);
    while (!driver->stopping) {
        if (driver->guard_drives) {
            guard_drives_once(driver);
            park = false;
            continue;
        }
        park = nap(driver, park, &away);
        driver->guard_drives = driver->guard_drives || away;
    }
    pthread_mutex_unlock(&driver->lock);
    return NULL;
}

/* Signals are for the program's own threads. */
static int start_guard(struct kofn__driver *driver)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int error;

    if (pthread_attr_init(&attr))
        return ENOMEM;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&driver->thread, &attr, guard_main, driver);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (!error)
        pthread_setname_np(driver->thread, "kofn-tcp");
    return error;
}

static void init_lock(struct kofn__driver *driver)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&driver->lock, NULL);
    pthread_mutex_init(&driver->nap, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&driver->changed, &attr);
    pthread_condattr_destroy(&attr);
}

int kofn__driver_open(struct kofn__driver *driver, const struct kofn__driver_attr *attr)
{
    const char *reason = "";
    int rc;

    *driver = (struct kofn__driver){.sink = attr->sink, .arg = attr->arg, .guard_drives = true};
    kofn_backoff_init(&driver->backoff, attr->spin, 0);
    rc = kofn__engine_poll.open(attr->sockets, &driver->guard, &reason);
    if (rc)
        return kofn_error(attr->log, rc, "tcp: %s", reason);
    rc = attr->engine->open(attr->sockets, &driver->owner, &reason);
    if (rc) {
        kofn_error(attr->log, rc, "tcp: no engine `%s`: %s", attr->engine->name, reason);
        goto close_guard;
    }
    init_lock(driver);
    errno = start_guard(driver);
    if (errno) {
        rc = kofn_error_errno(attr->log, "tcp: a thread");
        goto destroy_lock;
    }
    return 0;

destroy_lock:
    pthread_cond_destroy(&driver->changed);
    pthread_mutex_destroy(&driver->nap);
    pthread_mutex_destroy(&driver->lock);
    driver->owner->ops->close(driver->owner);
close_guard:
    driver->guard->ops->close(driver->guard);
    driver->guard = driver->owner = NULL;
    return rc;
}

void kofn__driver_stop(struct kofn__driver *driver)
{
    if (!driver->guard || driver->stopping)
        return;
    pthread_mutex_lock(&driver->lock);
    driver->stopping = true;
    tell(driver);
    pthread_mutex_unlock(&driver->lock);
    driver->guard->ops->kick(driver->guard);
    pthread_join(driver->thread, NULL);
}

void kofn__driver_close(struct kofn__driver *driver)
{
    if (!driver->guard)
        return;
    kofn__driver_stop(driver);
    pthread_cond_destroy(&driver->changed);
    pthread_mutex_destroy(&driver->nap);
    pthread_mutex_destroy(&driver->lock);
    driver->owner->ops->close(driver->owner);
    driver->guard->ops->close(driver->guard);
    driver->guard = NULL;
}

int kofn__driver_watch_owner(struct kofn__driver *driver, uint32_t key, int fd)
{
    return driver->owner->ops->watch(driver->owner, key, fd, false);
}

int kofn__driver_watch(struct kofn__driver *driver, uint32_t key, int fd, bool small)
{
    int rc = driver->guard->ops->watch(driver->guard, key, fd, small);

    if (rc)
        return rc;
    rc = driver->owner->ops->watch(driver->owner, key, fd, small);
    if (rc)
        driver->guard->ops->unwatch(driver->guard, key);
    return rc;
}

void kofn__driver_guard_too(struct kofn__driver *driver, uint32_t key, int fd, bool too)
{
    driver->guard->ops->unwatch(driver->guard, key);
    if (too)
        driver->guard->ops->watch(driver->guard, key, fd, false);
}

void kofn__driver_unwatch(struct kofn__driver *driver, uint32_t key)
{
    driver->guard->ops->unwatch(driver->guard, key);
    driver->owner->ops->unwatch(driver->owner, key);
}

void kofn__driver_want_write(struct kofn__driver *driver, uint32_t key, bool wanted)
{
    driver->guard->ops->want_write(driver->guard, key, wanted);
    driver->owner->ops->want_write(driver->owner, key, wanted);
}

/* The guard looks at it without the lock. */
static void turn(struct kofn__driver *driver)
{
    __atomic_store_n(&driver->turns, driver->turns + 1, __ATOMIC_RELAXED);
}

static void reap(struct kofn__driver *driver)
{
    driver->owner->ops->reap(driver->owner, driver->sink, driver->arg);
}

static void take_over(struct kofn__driver *driver)
{
    driver->guard_drives = false;
    turn(driver);
}

void kofn__driver_look(struct kofn__driver *driver)
{
    take_over(driver);
    reap(driver);
}

void kofn__driver_glance(struct kofn__driver *driver)
{
    if (!driver->guard_drives)
        reap(driver);
}

void kofn__driver_hand_over(struct kofn__driver *driver)
{
    driver->guard_drives = true;
    tell(driver);
}

/* The lock is free while the owner sleeps, but the sockets are his: `inside` says so. */
static int sleep_once(struct kofn__driver *driver, uint64_t deadline, uint32_t least)
{
    int rc;

    kofn__driver_leave(driver);
    rc = driver->owner->ops->wait(driver->owner, deadline, least);
    kofn__driver_enter(driver);
    return rc;
}

/* Who waits for many sleeps until half of them have come, then half of the rest: so few wakes, and
 * yet the last finds nothing before it that is not done.
 */
static int wait_missing(struct kofn__driver *driver, uint32_t (*missing)(void *arg),
                        uint64_t deadline)
{
    uint64_t now = kofn_now_ns();
    uint32_t least = 1;
    int rc = 0;

    if (now >= deadline)
        return 0;
    kofn_backoff_begin(&driver->backoff, now, deadline);
    while (kofn_backoff_step(&driver->backoff) != KOFN_BACKOFF_SLEEP) {
        reap(driver);
        if (!missing(driver->arg))
            return 0;
    }
    while (!rc && now < deadline && (least = missing(driver->arg)) > 0) {
        rc = sleep_once(driver, deadline, (least + 1) / 2);
        reap(driver);
        now = kofn_now_ns();
    }
    return rc;
}

/* Who is about to sleep need not look before: where there is something, sleep ends at once. That
 * saves a system call a wake, where a look takes one.
 */
static bool sleeps_at_once(const struct kofn__driver *driver, uint32_t (*missing)(void *arg),
                           uint64_t deadline)
{
    return !driver->owner->ops->reap_first && !driver->backoff.spin_ns && missing(driver->arg) &&
           kofn_now_ns() < deadline;
}

int kofn__driver_wait(struct kofn__driver *driver, uint32_t (*missing)(void *arg),
                      uint64_t deadline)
{
    int rc = 0;

    __atomic_store_n(&driver->inside, true, __ATOMIC_RELAXED);
    take_over(driver);
    if (!sleeps_at_once(driver, missing, deadline))
        reap(driver);
    if (missing(driver->arg))
        rc = wait_missing(driver, missing, deadline);
    __atomic_store_n(&driver->inside, false, __ATOMIC_RELAXED);
    turn(driver);
    if (driver->parked)
        tell(driver);
    return rc;
}
