/* reduce_pool.h: a few threads that share the elements of one large merge.
 *
 * The caller works too, so a pool of T threads has T - 1 of its own, and one of 1 has none and
 * costs nothing. A range is cut into chunks of whole pages, which threads take one by one: a thread
 * that is held up by something else delays the rest by one chunk at most, and one that does not
 * wake in time is not waited for. Where cuts fall changes no result (see reduce.h).
 *
 * Threads: one caller at a time; the pool's own threads call nothing of kofn but the function
 * given.
 */
#ifndef KOFN_MATH_REDUCE_POOL_H
#define KOFN_MATH_REDUCE_POOL_H

#include "math/reduce.h"

#define KOFN_REDUCE_THREADS_MAX 1024u

struct kofn_reduce_pool_attr {
    unsigned threads; /* the caller included; 1 to KOFN_REDUCE_THREADS_MAX */
    uint64_t
        spin; /* ns that threads poll for work, and the caller for its end, before they sleep */
    const struct kofn_reduce_ops *ops; /* NULL = kofn_reduce_select() */
    void (*start)(void *arg,
                  unsigned thread); /* run first in each thread 1..T-1: to bind it; may be NULL */
    void *arg;
    const struct kofn_log *log;
};

struct kofn_reduce_pool;

/* Starts the threads. Returns KOFN_INVALID, KOFN_NO_MEMORY, or KOFN_SYSTEM if a thread cannot be
 * had. */
int kofn_reduce_pool_open(const struct kofn_reduce_pool_attr *attr,
                          struct kofn_reduce_pool **pool_p);

/* Ends and frees; NULL is allowed. */
void kofn_reduce_pool_close(struct kofn_reduce_pool *pool);

/* The kernels it uses. */
const struct kofn_reduce_ops *kofn_reduce_pool_ops(const struct kofn_reduce_pool *pool);

/* Calls @work for disjoint ranges that cover elements 0 to @n - 1, in any order, from several
 * threads at once; small ranges are done by the caller alone. Returns true if all calls did, after
 * the last of them.
 */
typedef bool (*kofn_reduce_work)(void *arg, size_t first, size_t last);
bool kofn_reduce_pool_run(struct kofn_reduce_pool *pool, kofn_reduce_work work, void *arg,
                          size_t n);

/* The whole merge over @n elements; @merge->stream is ignored and chosen by size. Returns true if
 * all is finite. */
bool kofn_reduce_pool_merge(struct kofn_reduce_pool *pool, enum kofn_element element,
                            const struct kofn_merge *merge, size_t n);

/* kofn_reduce_ops.all_finite with all threads. */
bool kofn_reduce_pool_all_finite(struct kofn_reduce_pool *pool, enum kofn_element element,
                                 const void *array, size_t n);

#endif
