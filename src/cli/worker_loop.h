/* worker_loop.h: what a worker process of `kofn run` and `kofn work` does: take, compute, pause,
 * report, until the job is over.
 *
 * It knows the server by its address alone and uses nothing but <kofn/kofn.h> to talk to it: the
 * same lines are what a program of one's own would have.
 */
#ifndef KOFN_CLI_WORKER_LOOP_H
#define KOFN_CLI_WORKER_LOOP_H

#include "cli/terms.h"
#include "cli/workload.h"
#include "sim/trace.h"

/* What a worker has done with its time; of kofn run in memory that the parent shares, written by
 * the worker alone. */
struct kofn_busy {
    KOFN_LINE_ALIGNED uint64_t start_ns; /* it had its first model; 0 = not yet */
    uint64_t end_ns;                     /* of what it did last */
    uint64_t busy_ns;         /* computing and injected delay, that of cancelled updates too */
    uint64_t rounds, updates; /* that it took part in; finished */
    uint32_t round;           /* the latest */
    bool record_failed;       /* its local updates are not all in the record */
};

struct kofn_worker_task {
    const char *address;
    const char *transport;         /* NULL = the server's */
    const char *transport_options; /* NULL = none */
    const char *description;       /* kofn_workload_describe() */
    uint64_t timeout;              /* of the server's silence; 0 = the library's */
    uint64_t spin;
    double lr, momentum; /* of a local step, where the payload is DELTA */
    const struct kofn_terms *terms;
    const struct kofn_workload *workload;
    struct kofn_trace_writer *trace; /* NULL = nothing is recorded */
    struct kofn_busy *busy;          /* its own */
    bool stops;                      /* a signal that was noted (stop.h) ends it */
};

/* Works as rank @rank until the job is over. Returns 0 then, KOFN_INTERRUPTED if it was asked to
 * leave before, else what went wrong; logged. */
int kofn_worker_loop(const struct kofn_worker_task *task, uint32_t rank,
                     const struct kofn_log *log);

#endif
