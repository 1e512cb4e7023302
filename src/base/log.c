#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool kofn_log_wants(const struct kofn_log *log, enum kofn_log_level level)
{
    return level <= (log ? log->level : KOFN_LOG_WARN);
}

static void emit(const struct kofn_log *log, enum kofn_log_level level, const char *line)
{
    if (log && log->write)
        log->write(log->arg, level, line);
    else
        fprintf(stderr, "kofn: %s\n", line);
}

void kofn_log(const struct kofn_log *log, enum kofn_log_level level, const char *format, ...)
{
    char line[KOFN_LOG_LINE];
    va_list args;

    if (!kofn_log_wants(log, level))
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    emit(log, level, line);
}

int kofn_error(const struct kofn_log *log, int status, const char *format, ...)
{
    char line[KOFN_LOG_LINE];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    emit(log, KOFN_LOG_ERROR, line);
    return status;
}

int kofn_error_errno(const struct kofn_log *log, const char *format, ...)
{
    int error = errno;
    char line[KOFN_LOG_LINE], text[128];
    size_t used;
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    used = strlen(line);
    /* the GNU strerror_r is thread-safe and returns the text, which need not be in the buffer */
    snprintf(line + used, sizeof(line) - used, ": %s", strerror_r(error, text, sizeof(text)));
    emit(log, KOFN_LOG_ERROR, line);
    return error == ENOMEM ? KOFN_NO_MEMORY : KOFN_SYSTEM;
}

static void write_named(void *arg, enum kofn_log_level level, const char *message)
{
    const struct kofn_rank_log *named = arg;

    if (strstr(message, "rank "))
        kofn_log(named->to, level, "%s", message);
    else
        kofn_log(named->to, level, "rank %u: %s", named->rank, message);
}

void kofn_rank_log_init(struct kofn_rank_log *named, const struct kofn_log *to, uint32_t rank)
{
    *named = (struct kofn_rank_log){
        .log = {to ? to->level : KOFN_LOG_WARN, write_named, named}, .to = to, .rank = rank};
}
