/* caught_log.h: a log that keeps what is written to it, for tests of messages. */
#ifndef KOFN_TESTS_CAUGHT_LOG_H
#define KOFN_TESTS_CAUGHT_LOG_H

#include <stdio.h>
#include <string.h>

#include "base/log.h"

struct kofn_caught {
    struct kofn_log log; /* give its address to what is tested */
    int count;           /* messages since the last reset */
    char last[KOFN_LOG_LINE];
};

static inline void kofn_caught_write(void *arg, enum kofn_log_level level, const char *message)
{
    struct kofn_caught *caught = arg;

    (void)level;
    caught->count++;
    snprintf(caught->last, sizeof(caught->last), "%s", message);
}

/* @caught must not move afterwards. Catches warnings and errors. */
static inline void kofn_caught_reset(struct kofn_caught *caught)
{
    *caught = (struct kofn_caught){{KOFN_LOG_WARN, kofn_caught_write, caught}, 0, ""};
}

/* True if exactly one message was caught, it is one line, and it has @part in it; forgets it. */
static inline bool kofn_caught_one(struct kofn_caught *caught, const char *part)
{
    bool one = caught->count == 1 && !strchr(caught->last, '\n') && strstr(caught->last, part);

    if (!one)
        printf("# %d messages, last \"%s\", wanted \"%s\"\n", caught->count, caught->last, part);
    kofn_caught_reset(caught);
    return one;
}

#endif
