/* futex.h: sleeping on a word of memory that processes share; the sleeper may have it read-only. */
#ifndef KOFN_TRANSPORTS_SHM_FUTEX_H
#define KOFN_TRANSPORTS_SHM_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

/* Sleeps until somebody wakes those who sleep on @word, unless it is no longer @seen, but not
 * beyond
 * @deadline (CLOCK_MONOTONIC). Returns 0, or KOFN_INTERRUPTED after a signal.
 */
static inline int kofn__futex_wait(const uint32_t *word, uint32_t seen, uint64_t deadline)
{
    struct timespec until = {.tv_sec = (time_t)(deadline / KOFN_NS_PER_S),
                             .tv_nsec = (long)(deadline % KOFN_NS_PER_S)};
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen,
                      deadline == KOFN_FOREVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);

    return rc && errno == EINTR ? KOFN_INTERRUPTED : 0;
}

/* Wakes all who sleep on @word: one of them could be a stranger. */
static inline void kofn__futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
