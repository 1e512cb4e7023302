/* clock.h: the one clock of kofn: nanoseconds of CLOCK_MONOTONIC, comparable between processes of a
 * host.
 *
 * Logic never reads it: times are arguments. Only the edges (core, cli, transports) call
 * kofn_now_ns().
 */
#ifndef KOFN_BASE_CLOCK_H
#define KOFN_BASE_CLOCK_H

#include <time.h>

#include "base/base.h"

#define KOFN_NS_PER_US UINT64_C(1000)
#define KOFN_NS_PER_MS UINT64_C(1000000)
#define KOFN_NS_PER_S UINT64_C(1000000000)
#define KOFN_FOREVER UINT64_MAX /* a deadline that never comes */

static inline uint64_t kofn_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * KOFN_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* now - then; 0 if @then is later, as it is where @now was read a moment before. */
static inline uint64_t kofn_since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

/* now + span, saturating at KOFN_FOREVER. */
static inline uint64_t kofn_deadline(uint64_t now, uint64_t span)
{
    return span > KOFN_FOREVER - now ? KOFN_FOREVER : now + span;
}

#endif
