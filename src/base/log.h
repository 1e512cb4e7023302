/* log.h: messages a person can act on, and status codes that carry them.
 *
 * The first function that knows a cause logs it, once, and returns its status; callers pass the
 * status on. A message is one line, lower case, names the rank where there is one, and says what
 * happens now.
 */
#ifndef KOFN_BASE_LOG_H
#define KOFN_BASE_LOG_H

#include "base/base.h"

#define KOFN_LOG_LINE 512 /* bytes of a message; longer ones are cut */

/* Writes a message to @log, or to stderr as `kofn: message` where @log is NULL. Thread-safe where
 * @log's is. */
void kofn_log(const struct kofn_log *log, enum kofn_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Logs an error and returns @status, so that a failing line can be `return kofn_error(...)`. */
int kofn_error(const struct kofn_log *log, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Logs an error with the text of errno behind it, and returns KOFN_SYSTEM (KOFN_NO_MEMORY for
 * ENOMEM). */
int kofn_error_errno(const struct kofn_log *log, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A log for those who know of no rank, or need not name it: writes to another one, with the rank in
 * front of every message that names none.
 */
struct kofn_rank_log {
    struct kofn_log log; /* give its address to them */
    const struct kofn_log *to;
    uint32_t rank;
};

/* @named must not move afterwards. Its level is that of @to now. */
void kofn_rank_log_init(struct kofn_rank_log *named, const struct kofn_log *to, uint32_t rank);

/* True if @log would print a message of @level: guards work that is only done for a message. */
bool kofn_log_wants(const struct kofn_log *log, enum kofn_log_level level);

#endif
