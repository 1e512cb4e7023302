#include "cli/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"

#define LOOK_NS (200 * KOFN_NS_PER_MS)

struct work {
    const struct kofn_crew *crew;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next, done, failed; /* failed: the first one; the count of tasks = none */
    int status;                /* of that one */
    uint32_t working;          /* threads */
    bool stopping;
};

static void *work_on(void *arg)
{
    struct work *work = arg;
    const struct kofn_crew *crew = work->crew;

    pthread_mutex_lock(&work->lock);
    while (!work->stopping && work->next < crew->count) {
        size_t index = work->next++;
        int status;

        pthread_mutex_unlock(&work->lock);
        status = crew->task(crew->arg, index);
        pthread_mutex_lock(&work->lock);
        work->done++;
        if (status && index < work->failed) {
            work->failed = index;
            work->status = status;
            work->stopping = true;
        }
        pthread_cond_signal(&work->changed);
    }
    work->working--;
    pthread_cond_signal(&work->changed);
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

/* Waits for the threads, and says now and then how far they are. */
static void watch(struct work *work)
{
    const struct kofn_crew *crew = work->crew;

    pthread_mutex_lock(&work->lock);
    while (work->working) {
        uint64_t ns = LOOK_NS;
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        ns += (uint64_t)until.tv_nsec;
        until.tv_sec += (time_t)(ns / KOFN_NS_PER_S);
        until.tv_nsec = (long)(ns % KOFN_NS_PER_S);
        pthread_cond_timedwait(&work->changed, &work->lock, &until);
        work->stopping |= crew->stopped && crew->stopped();
        if (crew->done)
            crew->done(crew->arg, work->done, crew->count);
    }
    pthread_mutex_unlock(&work->lock);
}

/* Signals are the business of the thread that waits. */
static uint32_t start(struct work *work, pthread_t *threads, uint32_t count)
{
    sigset_t all, before;
    uint32_t started = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    work->working = count;
    while (started < count && !pthread_create(&threads[started], NULL, work_on, work))
        started++;
    pthread_mutex_lock(&work->lock);
    work->working -= count - started;
    pthread_mutex_unlock(&work->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

int kofn_crew_work(const struct kofn_crew *crew)
{
    struct work work = {.crew = crew, .failed = crew->count};
    uint32_t count = (uint32_t)KOFN_MIN(KOFN_MAX(crew->threads, 1u), crew->count), started;
    pthread_t *threads = calloc(count, sizeof(*threads));

    if (!threads && count)
        return kofn_error(crew->log, KOFN_NO_MEMORY, "%u threads", count);
    pthread_mutex_init(&work.lock, NULL);
    pthread_cond_init(&work.changed, NULL);
    started = start(&work, threads, count);
    watch(&work);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&work.changed);
    pthread_mutex_destroy(&work.lock);
    free(threads);
    if (!started && count)
        return kofn_error(crew->log, KOFN_SYSTEM, "no thread could be started");
    if (!work.status && work.done < crew->count)
        return KOFN_INTERRUPTED;
    return work.status;
}
