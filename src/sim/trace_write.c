#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/trace.h"

/* One system call as a rule, so that lines of several processes do not mix: writes with O_APPEND
 * are whole. */
static int write_out(struct kofn_trace_writer *writer)
{
    size_t done = 0;

    while (!writer->status && done < writer->used) {
        ssize_t n = write(writer->fd, writer->buffer + done, writer->used - done);

        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            writer->status = -errno;
    }
    writer->used = 0;
    return writer->status;
}

int kofn_trace_create(struct kofn_trace_writer *writer, const char *path, const char *comment,
                      const struct kofn_log *log)
{
    int length, rc;

    *writer = (struct kofn_trace_writer){0};
    length = snprintf(writer->buffer, sizeof(writer->buffer), "# kofn-trace 1\n%s%.*s%s%s\n",
                      comment ? "# " : "", KOFN_TRACE_COMMENT, comment ? comment : "",
                      comment ? "\n" : "",
                      "rank,round,update,start_ns,compute_ns,delay_ns,publish_ns,cancelled");
    writer->used = (size_t)length;
    writer->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (writer->fd < 0)
        return kofn_error_errno(log, "trace %s: cannot be created", path);
    rc = kofn_trace_flush(writer, log);
    if (rc)
        close(writer->fd);
    return rc;
}

void kofn_trace_add(struct kofn_trace_writer *writer, const struct kofn_trace_record *record)
{
    int length;

    if (sizeof(writer->buffer) - writer->used < KOFN_TRACE_LINE)
        write_out(writer);
    length = snprintf(writer->buffer + writer->used, KOFN_TRACE_LINE,
                      "%u,%u,%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%u\n", record->rank,
                      record->round, record->update, record->start_ns, record->compute_ns,
                      record->delay_ns, record->publish_ns, record->cancelled);
    writer->used += (size_t)length;
}

int kofn_trace_flush(struct kofn_trace_writer *writer, const struct kofn_log *log)
{
    if (!write_out(writer))
        return 0;
    if (writer->told)
        return KOFN_SYSTEM;
    writer->told = true;
    errno = -writer->status;
    return kofn_error_errno(log, "trace: cannot be written");
}

int kofn_trace_close(struct kofn_trace_writer *writer, const struct kofn_log *log)
{
    int rc = kofn_trace_flush(writer, log);

    if (close(writer->fd) && !rc)
        rc = kofn_error_errno(log, "trace: cannot be written");
    writer->fd = -1;
    return rc;
}
