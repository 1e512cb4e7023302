/* crew.h: many tasks of their own, done by several threads, in the order in which they are
 * numbered. What a task finds depends on its number alone, not on the thread.
 */
#ifndef KOFN_CLI_CREW_H
#define KOFN_CLI_CREW_H

#include "base/log.h"

struct kofn_crew {
    size_t count; /* of tasks */
    uint32_t threads;

    /* Task @index, from any thread: 0, or a negative status, which is logged and keeps tasks that
     * are not begun from being so. */
    int (*task)(void *arg, size_t index);

    /* From the thread of the caller, now and then: how many are done; whether to stop. Either may
     * be NULL. */
    void (*done)(void *arg, size_t done, size_t count);
    int (*stopped)(void);

    void *arg;
    const struct kofn_log *log;
};

/* Returns once every task is done: 0; the status of the first one that failed; KOFN_INTERRUPTED
 * if some were not begun because stopped() said so; KOFN_NO_MEMORY, KOFN_SYSTEM, logged.
 */
int kofn_crew_work(const struct kofn_crew *crew);

#endif
