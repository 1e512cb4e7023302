#include "math/reduce_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/log.h"

#define CHUNK_MIN 16384u /* elements; below this, waking a thread costs more than it saves */
#define CHUNK_MAX (1u << 20)
#define CHUNK_UNIT 1024u /* a page of f32 */
#define CHUNKS_EACH 8    /* a thread, so that they end at about the same time */
#define YIELDS 4

/* The ticket is what threads race for: the number of the job in the upper half, its chunks not
 * taken yet in the lower. A thread takes a chunk by counting down, which fails if the job is
 * another by now. Who holds a chunk may read the job's other fields: the caller does not touch them
 * before all chunks are done.
 */
#define TICKET(job, chunks) ((uint64_t)(job) << 32 | (chunks))
#define TICKET_CHUNKS(ticket) ((uint32_t)(ticket))

struct kofn_reduce_pool {
    KOFN_LINE_ALIGNED uint64_t ticket; /* atomic */
    KOFN_LINE_ALIGNED uint32_t done;   /* atomic: chunks of this job that are finished */
    bool failed;                       /* atomic: a call returned false */
    bool stop;                         /* atomic */

    /* The job; written by the caller while no chunk is out. */
    KOFN_LINE_ALIGNED kofn_reduce_work work;
    void *arg;
    size_t n, chunk;
    uint32_t chunks, job;

    /* Sleep. Counters are raised before the last look at the ticket (or at `done`), and read after
     * writing it. */
    pthread_mutex_t lock;
    pthread_cond_t work_there, work_done;
    uint32_t sleepers; /* atomic: threads that sleep or are about to */
    bool caller_waits; /* atomic */

    const struct kofn_reduce_ops *ops;
    size_t stream_bytes;
    uint64_t spin;
    void (*start)(void *arg, unsigned thread);
    void *start_arg;
    unsigned started; /* threads of its own */
    pthread_t threads[];
};

/* Takes a chunk of whatever job is on: true, and its range; false if there is none. */
static bool take(struct kofn_reduce_pool *pool, size_t *first, size_t *last)
{
    uint64_t ticket = __atomic_load_n(&pool->ticket, __ATOMIC_SEQ_CST);
    uint32_t index;

    do {
        if (TICKET_CHUNKS(ticket) == 0)
            return false;
    } while (!__atomic_compare_exchange_n(&pool->ticket, &ticket, ticket - 1, true,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    index = pool->chunks - TICKET_CHUNKS(ticket);
    *first = index * pool->chunk;
    *last = KOFN_MIN(*first + pool->chunk, pool->n);
    return true;
}

/* Does chunks until there are none. The thread that finishes the last one wakes the caller if need
 * be. */
static void work(struct kofn_reduce_pool *pool)
{
    size_t first, last;

    while (take(pool, &first, &last)) {
        uint32_t chunks = pool->chunks;

        if (!pool->work(pool->arg, first, last))
            __atomic_store_n(&pool->failed, true, __ATOMIC_RELAXED);
        /* from here on the job may be another */
        if (__atomic_add_fetch(&pool->done, 1, __ATOMIC_SEQ_CST) == chunks &&
            __atomic_load_n(&pool->caller_waits, __ATOMIC_SEQ_CST)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->work_done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

/* True if there is a chunk to take, or nothing will come any more. */
static bool awaited(const struct kofn_reduce_pool *pool)
{
    return TICKET_CHUNKS(__atomic_load_n(&pool->ticket, __ATOMIC_SEQ_CST)) > 0 ||
           __atomic_load_n(&pool->stop, __ATOMIC_SEQ_CST);
}

static void sleep_until_awaited(struct kofn_reduce_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    __atomic_add_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
    while (!awaited(pool))
        pthread_cond_wait(&pool->work_there, &pool->lock);
    __atomic_sub_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&pool->lock);
}

static void wake_threads(struct kofn_reduce_pool *pool)
{
    if (__atomic_load_n(&pool->sleepers, __ATOMIC_SEQ_CST) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->work_there);
    pthread_mutex_unlock(&pool->lock);
}

struct beginning {
    struct kofn_reduce_pool *pool;
    unsigned thread;
};

static void *thread_main(void *arg)
{
    struct beginning *beginning = arg;
    struct kofn_reduce_pool *pool = beginning->pool;
    struct kofn_backoff backoff;

    if (pool->start)
        pool->start(pool->start_arg, beginning->thread);
    free(beginning);
    kofn_backoff_init(&backoff, pool->spin, YIELDS);
    while (!__atomic_load_n(&pool->stop, __ATOMIC_SEQ_CST)) {
        work(pool);
        kofn_backoff_reset(&backoff);
        while (!awaited(pool))
            if (kofn_backoff_step(&backoff) == KOFN_BACKOFF_SLEEP)
                sleep_until_awaited(pool);
    }
    return NULL;
}

static bool finished(const struct kofn_reduce_pool *pool)
{
    return __atomic_load_n(&pool->done, __ATOMIC_SEQ_CST) == pool->chunks;
}

static void wait_finished(struct kofn_reduce_pool *pool)
{
    struct kofn_backoff backoff;

    kofn_backoff_init(&backoff, pool->spin, YIELDS);
    while (!finished(pool)) {
        if (kofn_backoff_step(&backoff) != KOFN_BACKOFF_SLEEP)
            continue;
        pthread_mutex_lock(&pool->lock);
        __atomic_store_n(&pool->caller_waits, true, __ATOMIC_SEQ_CST);
        while (!finished(pool))
            pthread_cond_wait(&pool->work_done, &pool->lock);
        __atomic_store_n(&pool->caller_waits, false, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&pool->lock);
    }
}

bool kofn_reduce_pool_run(struct kofn_reduce_pool *pool, kofn_reduce_work function, void *arg,
                          size_t n)
{
    size_t chunk = n / ((size_t)(pool->started + 1) * CHUNKS_EACH);

    chunk = KOFN_MIN(KOFN_MAX(chunk, (size_t)CHUNK_MIN), (size_t)CHUNK_MAX);
    chunk = kofn_round_up(chunk, CHUNK_UNIT);
    if (pool->started == 0 || n <= chunk)
        return function(arg, 0, n);
    while (n / chunk >= UINT32_MAX) /* a chunk's number has 32 bits */
        chunk *= 2;
    pool->work = function;
    pool->arg = arg;
    pool->n = n;
    pool->chunk = chunk;
    pool->chunks = (uint32_t)((n + chunk - 1) / chunk);
    __atomic_store_n(&pool->done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->failed, false, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->ticket, TICKET(++pool->job, pool->chunks), __ATOMIC_SEQ_CST);
    wake_threads(pool);
    work(pool);
    wait_finished(pool);
    return !__atomic_load_n(&pool->failed, __ATOMIC_RELAXED);
}

struct merge_job {
    struct kofn_merge merge;
    bool (*kernel)(const struct kofn_merge *merge, size_t first, size_t last);
};

static bool merge_part(void *arg, size_t first, size_t last)
{
    const struct merge_job *job = arg;

    return job->kernel(&job->merge, first, last);
}

bool kofn_reduce_pool_merge(struct kofn_reduce_pool *pool, enum kofn_element element,
                            const struct kofn_merge *merge, size_t n)
{
    struct merge_job job = {.merge = *merge, .kernel = pool->ops->merge[element]};

    job.merge.stream = n * sizeof(float) >= pool->stream_bytes;
    return kofn_reduce_pool_run(pool, merge_part, &job, n);
}

struct finite_job {
    const char *array;
    size_t element_bytes;
    bool (*kernel)(const void *array, size_t n);
};

static bool finite_part(void *arg, size_t first, size_t last)
{
    const struct finite_job *job = arg;

    return job->kernel(job->array + first * job->element_bytes, last - first);
}

bool kofn_reduce_pool_all_finite(struct kofn_reduce_pool *pool, enum kofn_element element,
                                 const void *array, size_t n)
{
    struct finite_job job = {array, kofn_element_bytes(element), pool->ops->all_finite[element]};

    return kofn_reduce_pool_run(pool, finite_part, &job, n);
}

const struct kofn_reduce_ops *kofn_reduce_pool_ops(const struct kofn_reduce_pool *pool)
{
    return pool->ops;
}

/* Starts the next thread of the pool. */
static int start_thread(struct kofn_reduce_pool *pool, const struct kofn_log *log)
{
    struct beginning *beginning = malloc(sizeof(*beginning));
    sigset_t all, before;
    int error;

    if (!beginning)
        return kofn_error(log, KOFN_NO_MEMORY, "merge threads: out of memory");
    beginning->pool = pool;
    beginning->thread = pool->started + 1;
    /* signals are for the program's own threads; a new thread inherits the mask */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&pool->threads[pool->started], NULL, thread_main, beginning);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        free(beginning);
        errno = error;
        return kofn_error_errno(log, "merge threads: cannot start thread %u", pool->started + 1);
    }
    pool->started++;
    return 0;
}

int kofn_reduce_pool_open(const struct kofn_reduce_pool_attr *attr,
                          struct kofn_reduce_pool **pool_p)
{
    struct kofn_reduce_pool *pool;
    size_t bytes;
    int rc;

    if (attr->threads == 0 || attr->threads > KOFN_REDUCE_THREADS_MAX)
        return kofn_error(attr->log, KOFN_INVALID, "merge threads: %u is not 1 to %u",
                          attr->threads, KOFN_REDUCE_THREADS_MAX);
    bytes =
        kofn_round_up(sizeof(*pool) + attr->threads * sizeof(pool->threads[0]), KOFN_CACHE_LINE);
    pool = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (!pool)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "merge threads: %zu bytes", bytes);
    memset(pool, 0, bytes);
    pool->ops = attr->ops ? attr->ops : kofn_reduce_select();
    pool->stream_bytes = kofn_reduce_stream_bytes();
    pool->spin = attr->spin;
    pool->start = attr->start;
    pool->start_arg = attr->arg;
    /* with default attributes these cannot fail on Linux */
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_there, NULL);
    pthread_cond_init(&pool->work_done, NULL);
    while (pool->started + 1 < attr->threads) {
        rc = start_thread(pool, attr->log);
        if (rc)
            goto close_pool;
    }
    *pool_p = pool;
    return 0;

close_pool:
    kofn_reduce_pool_close(pool);
    return rc;
}

void kofn_reduce_pool_close(struct kofn_reduce_pool *pool)
{
    if (!pool)
        return;
    __atomic_store_n(&pool->stop, true, __ATOMIC_SEQ_CST);
    wake_threads(pool);
    while (pool->started > 0)
        pthread_join(pool->threads[--pool->started], NULL);
    pthread_cond_destroy(&pool->work_done);
    pthread_cond_destroy(&pool->work_there);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
