/* trace.h: the record of a job: what every local update of every worker cost.
 *
 * `run --record` writes it; `plan --trace` and `--delay trace:FILE` read it. A text file that any
 * spreadsheet or plotting program takes:
 *
 *     # kofn-trace 1
 *     # kofn run ...
 *     # comments, anywhere
 *     rank,round,update,start_ns,compute_ns,delay_ns,publish_ns,cancelled
 *     3,117,0,4711000000,2100345,40000000,181220,0
 *
 * One line a local update, in any order. An update that was cut off (the round closed, the job
 * ended) is there too, with cancelled = 1: its cost is then a lower bound, a censored observation.
 * To leave these out would make slow workers look fast.
 */
#ifndef KOFN_SIM_TRACE_H
#define KOFN_SIM_TRACE_H

#include "base/log.h"
#include "base/parse.h"

#define KOFN_TRACE_WORKERS (1u << 20)      /* ranks are below this */
#define KOFN_TRACE_BYTES ((size_t)1 << 30) /* of a file that is read */
#define KOFN_TRACE_LINE 192                /* bytes of a line, its end included */

struct kofn_trace_record {
    uint32_t rank;
    uint32_t round;      /* the one whose model the update started from */
    uint32_t update;     /* local updates finished before it in that round */
    uint32_t cancelled;  /* 1: cut off after compute_ns + delay_ns; 0: finished */
    uint64_t start_ns;   /* since the start of the job */
    uint64_t compute_ns; /* real work */
    uint64_t delay_ns;   /* injected on top of it */
    uint64_t publish_ns; /* from the end of the update until its publication had left; 0: not
                            published */
};

struct kofn_trace {
    struct kofn_trace_record *records; /* in the order of the file */
    size_t count;                      /* at least 1 */
    uint32_t workers;                  /* largest rank + 1 */
    char command[KOFN_TRACE_LINE];     /* the job's, as far as it is known for certain; or "" */
};

/* What an update cost, or, if it was cancelled, at least cost. */
static inline uint64_t kofn_trace_cost(const struct kofn_trace_record *record)
{
    return record->compute_ns + record->delay_ns;
}

/* Reads a trace from memory; @name is for messages. Returns 0, KOFN_FORMAT (the line, and what is
 * wrong with it, is logged), KOFN_NO_MEMORY.
 */
int kofn_trace_parse(const char *text, size_t length, const char *name, const struct kofn_log *log,
                     struct kofn_trace *trace);

/* Reads a trace from a file. Also returns KOFN_SYSTEM. */
int kofn_trace_read(const char *path, const struct kofn_log *log, struct kofn_trace *trace);

void kofn_trace_free(struct kofn_trace *trace);

/* Writes a trace. Only whole lines are written, and always at the end of the file, so the writer
 * may be copied by fork() while its buffer is empty, and all processes may then write to the one
 * file. One thread each.
 */
struct kofn_trace_writer {
    int fd;
    int status; /* 0, or what went wrong first; nothing is written after that */
    bool told;  /* it has been logged */
    size_t used;
    char buffer[16384];
};

/* Bytes of the comment in the header; longer ones are cut off. */
#define KOFN_TRACE_COMMENT 160

/* Creates (or empties) @path and writes the header, with @comment as a comment line unless it is
 * NULL; it must have no line breaks. KOFN_SYSTEM if that fails; logged.
 */
int kofn_trace_create(struct kofn_trace_writer *writer, const char *path, const char *comment,
                      const struct kofn_log *log);

/* Adds a record: no allocation, and a system call only when the buffer is full. Errors show at the
 * end. */
void kofn_trace_add(struct kofn_trace_writer *writer, const struct kofn_trace_record *record);

/* Writes what is left in the buffer; the writer can go on. Returns 0, or KOFN_SYSTEM (logged
 * the first time) if anything since the start was not written.
 */
int kofn_trace_flush(struct kofn_trace_writer *writer, const struct kofn_log *log);

/* The same, and closes the file. */
int kofn_trace_close(struct kofn_trace_writer *writer, const struct kofn_log *log);

#endif
