/* worker.h: the inside of a worker handle, shared by join.c (how it becomes a member), rejoin.c
 * (how it becomes one again after its connection has failed), take.c (how it gets a model),
 * update.c (what it does with a local update), publish.c (what it sends), kept.c (what it keeps to
 * be read) and worker.c (its begin, its end, and how it waits).
 */
#ifndef KOFN_CORE_WORKER_H
#define KOFN_CORE_WORKER_H

#include <kofn/kofn.h>

#include "algorithms/manners.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/channel.h"
#include "math/reduce.h"
#include "transports/transport.h"

#define KOFN_SERVER_BYTES (KOFN_ADDRESS_BYTES + KOFN_HOST_BYTES + 32)

struct kofn_worker {
    /* Read and written at every local update. */
    struct kofn_endpoint *endpoint;
    uint32_t round, version; /* being computed on; 0 = none taken yet */
    uint32_t updates;        /* finished in that round */
    uint32_t total;          /* finished since it joined */
    uint64_t mark_ns;        /* when the local update in progress began */
    uint64_t compute_ns;     /* of this round's finished updates */
    double loss_sum;         /* of the same */
    const void *view;        /* the model where it was published, if it was not copied */
    bool reporting;          /* a report was interrupted when the update had been counted */
    bool filling;            /* GRADIENT: its buffer has been given out since the last report */
    int starved;             /* else why not, the last time it was asked for */

    /* Publications. */
    uint64_t sequence;               /* of the newest; 0 = none */
    uint32_t published;              /* local updates of this round it carried */
    uint64_t first;                  /* the first of this round; 0 = none */
    uint32_t first_updates;          /* local updates it carried */
    double first_loss;               /* sum over them */
    double losses[KOFN_DEPTH_MAX];   /* the same of the newest ones, by sequence */
    uint32_t counts[KOFN_DEPTH_MAX]; /* pull: local updates the newest ones carried, by sequence */
    bool late_sent;                  /* what the closed round did not merge has been sent */
    uint64_t late;                   /* pull: the snapshot that has it; 0 = none, or it was read */
    uint64_t
        starved_ns; /* since when a publication has had to wait for its credit; 0 = it does not */
    uint64_t receipt_after; /* receipts up to this publication have been read; of late ones: */
    uint64_t late_after;

    /* Fixed since the worker joined. */
    struct kofn_manners manners;
    struct kofn_job job;
    float *base; /* DELTA: the model taken */
    const struct kofn_reduce_ops *reduce;
    bool stream; /* an update is larger than the caches */
    uint64_t timeout;
    const struct kofn_log *log;
    struct kofn_rank_log named; /* for its channel and its transport */

    /* The control channel, looked at now and then. */
    struct kofn_channel *control; /* NULL: none, in tests that join their ends themselves */
    uint32_t server_pid;
    char server[KOFN_SERVER_BYTES]; /* who it is, for messages */
    uint64_t heard_ns, looked_ns;
    bool server_gone;
    bool dismissed; /* the server has said there that the job is over */

    /* Its connection may fail, and another one be made: see rejoin.c. */
    int (*reconnect)(struct kofn_worker *worker, uint64_t deadline, const char **why);
    void *reconnect_arg;          /* of a test's own */
    struct kofn_worker_attr attr; /* as it was opened with; its texts are in: */
    char *texts;
    uint32_t rank;
    uint32_t epoch;     /* of the last membership that began */
    bool broken;        /* the connection has failed; `endpoint` may be NULL from then on */
    uint64_t broken_ns; /* when */
    uint64_t pause_ns;  /* until the next attempt */
    const char *why;    /* in words, as far as the control channel knows; "" */
};

/* join.c: makes @worker a member of the job of the server that @control leads to; fills it from the
 * server's welcome, and closes the endpoint that it had. On failure @control is still the caller's,
 * and @worker has what it had before, but for that endpoint. @deadline is the server's; what memory
 * of the job's size takes to be made ready at both sides comes on top.
 */
int kofn__worker_join(struct kofn_worker *worker, struct kofn_channel *control, uint64_t deadline);

/* join.c: takes over the job that @welcome describes; allocates what it needs and has not yet. */
int kofn__worker_adopt(struct kofn_worker *worker, const struct kofn_wire *welcome);

/* join.c: reads the control channel if it is time to. Returns 0, KOFN_GONE or KOFN_TIMEOUT (logged
 * once, unless kofn__worker_breaks() is going to say it). */
int kofn__worker_listen(struct kofn_worker *worker, uint64_t now);

/* rejoin.c: a call has returned KOFN_GONE. True if that is not the end: either the server has said
 * that the job is over, or the worker can have another connection: it is broken from here on.
 */
bool kofn__worker_breaks(struct kofn_worker *worker);

/* rejoin.c: makes another connection for one that is broken, and forgets what was the former
 * membership's. Tries until the worker's time-out. Returns 0; KOFN_GONE, KOFN_REFUSED, ... (logged:
 * that is the end); KOFN_INTERRUPTED (a later call goes on).
 */
int kofn__worker_mend(struct kofn_worker *worker);

/* rejoin.c: kofn_worker.reconnect for control channels over a network: one attempt. Returns 0,
 * KOFN_AGAIN and @why, KOFN_GONE (nobody listens there any more), KOFN_INTERRUPTED, or what has
 * been logged.
 */
int kofn__worker_reconnect(struct kofn_worker *worker, uint64_t deadline, const char **why);

/* What a call answers where another one has returned @rc: who has lost its connection can take the
 * next model, which gives it another one.
 */
int kofn__worker_answer(struct kofn_worker *worker, int rc);

/* The gate as it stands; a torn word is read again. That of a worker which has been dismissed says
 * so, whatever is written there.
 */
struct kofn_gate kofn__worker_gate(const struct kofn_worker *worker, uint64_t *word);

/* True if the gate says that the round in progress is over. */
bool kofn__worker_over(const struct kofn_worker *worker, struct kofn_gate gate);

/* publish.c: may the next publication be written? */
bool kofn__publish_credit(const struct kofn_worker *worker, struct kofn_gate gate);

/* publish.c: sends all finished work of the round, model - base (or the gradient in the buffer). */
int kofn__publish_all(struct kofn_worker *worker, const float *model, uint64_t finished_ns);

/* publish.c: where the worker is ahead: pulls the parameters @model to the model taken last and
 * sends the difference. There is a credit.
 */
int kofn__publish_pulled(struct kofn_worker *worker, float *model, uint64_t finished_ns);

/* publish.c: after the round has closed: sends what neither it nor a later one will have merged.
 * @model as last reported.
 */
int kofn__publish_late(struct kofn_worker *worker, const float *model);

/* kept.c (pull): what the next snapshot is numbered. */
uint64_t kofn__kept_next(struct kofn_worker *worker, struct kofn_gate gate);

/* kept.c (pull): a local update is finished: keeps a snapshot of the round's work, and beats.
 * @over: the round has closed; if it may hold a snapshot of ours we do not touch it any more.
 */
int kofn__kept_report(struct kofn_worker *worker, const float *model, bool over,
                      struct kofn_gate gate, uint64_t finished_ns);

/* kept.c (pull): as kofn__publish_late(): keeps it, and waits until the server has read it. */
int kofn__kept_late(struct kofn_worker *worker, const float *model);

/* publish.c: fills the next buffer with what publication @settled did not carry, or with all. */
void kofn__publish_fill(struct kofn_worker *worker, const float *model, uint64_t settled);

/* publish.c: the buffer of the next publication is filled: stamps it and sends it, or keeps it. It
 * carries the updates behind the first @from of the round, the sum of whose losses is @from_loss.
 */
int kofn__publish_send(struct kofn_worker *worker, uint32_t from, double from_loss,
                       uint64_t finished_ns);

/* worker.c: tells the server where we are. */
int kofn__worker_beat(struct kofn_worker *worker);

/* worker.c: waits for one change of the gate @seen, but only as long as the server lives. */
int kofn__worker_wait(struct kofn_worker *worker, uint64_t seen, uint64_t deadline);

#endif
