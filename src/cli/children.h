/* children.h: the worker processes of a job on this machine: started, listened to, reaped.
 *
 * Threads: one. The process has no other children.
 */
#ifndef KOFN_CLI_CHILDREN_H
#define KOFN_CLI_CHILDREN_H

#include <sys/types.h>

#include "base/log.h"

struct kofn_child {
    pid_t pid;  /* 0 = not started */
    bool ended; /* and reaped */
    int status; /* of waitpid() */
};

struct kofn_children {
    struct kofn_child *list; /* by rank; owned */
    uint32_t count;
    uint32_t running;
    int messages; /* what workers say, to be read; -1 = none */
    int gate;     /* a byte for each lets them go; -1 = they went */
    const struct kofn_log *log;
    char line[2 * KOFN_LOG_LINE]; /* a message that has not come to its end */
    size_t used;
};

/* Forks @count processes; in the one of rank r, @work is called after kofn_children_go(), and what
 * it returns is its exit status. Its log sends lines to the parent, which are printed by
 * kofn_children_look(). What the parent opens between the two calls is not theirs.
 *
 * Returns KOFN_SYSTEM or KOFN_NO_MEMORY (logged) if one could not be started; those that were are
 * killed then.
 */
int kofn_children_start(struct kofn_children *children, uint32_t count,
                        int (*work)(void *arg, uint32_t rank, const struct kofn_log *log),
                        void *arg, const struct kofn_log *log);

/* Lets them begin. */
void kofn_children_go(struct kofn_children *children);

/* Prints what workers have said, and reaps those that have ended. Does not wait. Zeroed children
 * are allowed. */
void kofn_children_look(struct kofn_children *children);

/* The first worker that has ended otherwise than by exit(0), or -1. */
int64_t kofn_children_failed(const struct kofn_children *children);

/* Describes how a worker ended, "killed by signal 9 (Killed)"; fills and returns @text. */
#define KOFN_CHILD_TEXT 64
const char *kofn_child_end(const struct kofn_child *child, char text[KOFN_CHILD_TEXT]);

/* Waits for all workers until @deadline (CLOCK_MONOTONIC), then kills those that are left, with a
 * warning, and frees everything. Zeroed children are allowed.
 */
void kofn_children_end(struct kofn_children *children, uint64_t deadline);

#endif
