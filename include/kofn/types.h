/* types.h: the words of kofn: status codes, handles, attributes and reports.
 *
 * Everything here is plain data. Structures a caller fills begin with `size`, set to sizeof the
 * structure as the caller was compiled, so that a newer library can tell which fields an older
 * caller knows; kofn_update and kofn_receipt, which are small and passed often, never grow. A zero
 * in any other field asks for the default. Times are nanoseconds of CLOCK_MONOTONIC; durations are
 * nanoseconds.
 */
#ifndef KOFN_TYPES_H
#define KOFN_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a failure takes with it: the call alone, one peer, or the whole context. */
enum kofn_scope { KOFN_SCOPE_CALL, KOFN_SCOPE_PEER, KOFN_SCOPE_CONTEXT };

/* Status codes: name, value, scope, text. Functions return 0 or one of these. */
#define KOFN_STATUS_MAP(X)                                                                         \
    X(OK, 0, CALL, "success")                                                                      \
    X(AGAIN, -1, CALL, "not yet")                                                                  \
    X(INVALID, -2, CALL, "invalid argument")                                                       \
    X(NO_MEMORY, -3, CALL, "out of memory")                                                        \
    X(UNSUPPORTED, -4, CALL, "not supported")                                                      \
    X(SYSTEM, -5, CALL, "system call failed")                                                      \
    X(FORMAT, -6, CALL, "malformed data")                                                          \
    X(NO_CREDIT, -7, CALL, "no released buffer")                                                   \
    X(INTERRUPTED, -8, CALL, "interrupted by a signal")                                            \
    X(TIMEOUT, -20, PEER, "timed out")                                                             \
    X(GONE, -21, PEER, "peer is gone")                                                             \
    X(EPOCH, -22, PEER, "evicted: the epoch has changed")                                          \
    X(PROTOCOL, -23, PEER, "protocol violation")                                                   \
    X(REFUSED, -24, PEER, "refused by the peer")                                                   \
    X(NOT_FINITE, -25, PEER, "update holds NaN or infinity")                                       \
    X(TORN, -26, PEER, "publication changed while it was read")                                    \
    X(LOST, -40, CONTEXT, "device lost")

enum kofn_status {
#define KOFN_STATUS_ENUM(name, value, scope, text) KOFN_##name = value,
    KOFN_STATUS_MAP(KOFN_STATUS_ENUM)
#undef KOFN_STATUS_ENUM
};

/* Positive returns: nothing failed, and the caller has something to do. */
enum kofn_progress {
    KOFN_ROUND_OVER = 1, /* the round the caller computes in has closed: take the next model */
    KOFN_JOB_OVER = 2,   /* the server has ended the job in order: close */
};

enum kofn_log_level { KOFN_LOG_ERROR, KOFN_LOG_WARN, KOFN_LOG_INFO, KOFN_LOG_DEBUG };

/* Where messages go. @write gets one line without a newline; it may be called from any thread that
 * uses an object opened with this log, and must not call back into kofn. A NULL log prints warnings
 * and errors to stderr.
 */
struct kofn_log {
    enum kofn_log_level level; /* messages above it are dropped */
    void (*write)(void *arg, enum kofn_log_level level, const char *message);
    void *arg;
};

/* What an update is. GRADIENT: the server applies the learning rate. DELTA: model now minus model
 * taken. */
enum kofn_payload { KOFN_PAYLOAD_GRADIENT, KOFN_PAYLOAD_DELTA };

/* When workers send their updates; see kofn(1), --publish. */
enum kofn_publish { KOFN_PUBLISH_EAGER, KOFN_PUBLISH_ON_CLOSE, KOFN_PUBLISH_PULL };

/* How members of a round are weighted. */
enum kofn_weights { KOFN_WEIGHTS_UNIFORM, KOFN_WEIGHTS_FEDNOVA };

/* Which updates of a round are believed, coordinate by coordinate: all; the median; all but some of
 * the smallest and of the largest.
 */
enum kofn_screening { KOFN_SCREENING_NONE, KOFN_SCREENING_MEDIAN, KOFN_SCREENING_TRIMMED };

/* What happens to an update that misses its round. */
enum kofn_late { KOFN_LATE_MERGE, KOFN_LATE_REFUSE };

/* What the server believes of a worker. */
enum kofn_member_state {
    KOFN_MEMBER_ABSENT,  /* never connected */
    KOFN_MEMBER_JOINING, /* admitted; has not taken a model yet */
    KOFN_MEMBER_READY,   /* makes progress */
    KOFN_MEMBER_SLOW,    /* makes progress, several times slower than the median */
    KOFN_MEMBER_SUSPECT, /* connected, but no local update for longer than its time-out */
    KOFN_MEMBER_GONE,    /* its process or connection ended, or it was evicted */
    KOFN_MEMBER_LEFT,    /* closed in order */
};

/* Why a worker is late. */
enum kofn_cause {
    KOFN_CAUSE_NONE,
    KOFN_CAUSE_COMPUTE, /* its local updates take longer than the others' */
    KOFN_CAUSE_NETWORK, /* the time from the end of an update to its arrival does */
    KOFN_CAUSE_SERVER,  /* updates wait at the server or for its credits */
    KOFN_CAUSE_DEAD,
};

/* What became of a publication. */
enum kofn_outcome {
    KOFN_OUTCOME_NONE,
    KOFN_OUTCOME_MERGED,  /* in the round it was made for */
    KOFN_OUTCOME_LATE,    /* in a later round, with a staleness weight */
    KOFN_OUTCOME_REFUSED, /* too late, or not finite */
};

/* Longest name of an algorithm or a host, with its final zero. */
#define KOFN_NAME_BYTES 32

/* The job a worker has joined, as the server told it. */
struct kofn_job {
    char algorithm[KOFN_NAME_BYTES];
    enum kofn_payload payload;
    enum kofn_publish publish;
    enum kofn_late late;
    uint32_t workers;     /* N */
    uint32_t wait_for;    /* K */
    uint32_t local_steps; /* U; of adacomm that of the model taken last */
    uint32_t epoch;      /* of this worker's membership; grows with every rejoin and reconnection */
    uint64_t parameters; /* f32 elements of a model and of an update */
    double pullback; /* overlap: the share by which kofn_worker_take() pulls the worker's parameters
                        to the anchor, and keeps the rest; local momentum is then kept, too. 0 with
                        all others: it replaces them */
};

/* What a worker says of one finished local update. */
struct kofn_update {
    float loss;          /* mean loss of its mini-batch */
    uint64_t compute_ns; /* what it took, injected delay included; 0 = measured by kofn, from report
                            to report */
};

/* What became of a publication of this worker. */
struct kofn_receipt {
    enum kofn_outcome outcome;
    uint32_t made_in;   /* the round it was computed in */
    uint32_t merged_in; /* the round it was merged into; 0 if it was refused */
    uint32_t updates; /* local updates of round `made_in` that are settled by now, counted from its
                         first */
    uint32_t staleness; /* model versions between the two */
    float weight;       /* its factor in the merge; 0 if refused */
    uint64_t sequence;  /* which publication, from 1 */
};

/* Why a round closed. */
enum kofn_close {
    KOFN_CLOSE_NONE,
    KOFN_CLOSE_REACHED,  /* the algorithm's condition was met */
    KOFN_CLOSE_DEADLINE, /* --deadline, with a quorum */
    KOFN_CLOSE_STOP,     /* the job was asked to end */
};

/* One closed round, as kofn_server_step() reports it. */
struct kofn_round_report {
    size_t size;
    uint32_t round;        /* from 1 */
    enum kofn_close close; /* why */
    uint32_t wait_for; /* K in force: as asked for, capped to the workers that can still answer */
    uint32_t living;   /* workers that were not suspect, gone or absent */
    uint32_t merged;   /* workers merged on time: uploads */
    uint32_t late;     /* late updates merged into it, in publications */
    uint32_t refused;  /* publications refused in it */
    uint32_t publications;  /* all that arrived in it */
    uint64_t bytes;         /* of all that arrived in it, and of the models that went out */
    uint64_t updates;       /* local updates merged, late ones included */
    double staleness;       /* mean over merged publications */
    double loss;            /* mean over merged local updates, at their workers */
    uint64_t opened_ns;     /* times of CLOCK_MONOTONIC */
    uint64_t closed_ns;     /* the K-th arrival */
    uint64_t published_ns;  /* the next model was out */
    uint32_t contributions; /* publications merged: what staleness is the mean of */
};

/* One worker as the server sees it. Updates are local updates; finished = merged + late + refused +
 * lost + pending. */
struct kofn_member_report {
    size_t size;
    uint32_t rank;
    uint32_t epoch;
    int32_t pid; /* on its host; 0 if it never came */
    enum kofn_member_state state;
    enum kofn_cause cause; /* none, unless it is late */
    char host[KOFN_NAME_BYTES];
    uint32_t round, updates; /* where its last beat says it is */
    uint64_t finished;
    uint64_t merged;
    uint64_t late;
    uint64_t refused; /* or cancelled with their round, where it does that */
    uint64_t lost;    /* finished, and nothing will come of them any more */
    uint64_t publications;
    uint64_t first_k; /* rounds in which it was one of the first K */
    double late_p50,
        late_p99; /* seconds behind the median worker of a round; one that is not there as it closes
                     is taken to need one more local update; NaN before the first round */
    double pace;  /* seconds from one local update to the next lately, those cut off included */
    double compute_mean;       /* seconds a finished local update took */
    double post_mean;          /* seconds from the end of an update to its arrival */
    double wait_mean;          /* seconds a publication waited for a credit */
    double idle_fraction;      /* 1 - compute / wall time since it joined; NaN before that */
    uint64_t last_progress_ns; /* time of its last beat or publication */
    double pace_mean;          /* pace over all closed rounds; NaN before the first update */
    double silence; /* seconds in which it owed a local update and none came; 0 if it owes none */
    uint64_t
        rejoins; /* times it has joined again: after a failed connection, or as a new process */
};

struct kofn_worker; /* one worker's end; used by one thread at a time */
struct kofn_server; /* the server's end of all its workers; used by one thread at a time */

struct kofn_worker_attr {
    size_t size;
    const char *address;           /* as kofn_server_address() gives it */
    uint32_t rank;                 /* 0 .. N-1 */
    uint64_t parameters;           /* f32 elements of the model; must be the server's */
    uint64_t timeout;              /* longest silence of the server before a call gives up, over a
                                      network before its connection is taken for one that has
                                      failed; and for how long such a one is made again; 30 s */
    uint64_t spin;                 /* how long a wait polls before it sleeps; 0 = sleep at once (see
                                      kofn_spin_budget()) */
    const struct kofn_log *log;    /* must outlive the worker */
    const char *transport;         /* NULL = the server's, whichever that is */
    const char *transport_options; /* KEY=VALUE with spaces between them; NULL = none */
    const char *workload;          /* must be the server's, if both say it: see kofn_server_attr */
};

struct kofn_server_attr {
    size_t size;
    const char *address; /* shm:NAME or tcp:HOST:PORT (a name, a number or [::1]; port 0 = any that
                            is free); NULL for a fresh one for workers of this host */
    uint32_t workers;    /* N */
    uint64_t parameters; /* f32 elements of the model */
    const char *algorithm; /* "stsyn" */
    uint32_t wait_for;     /* K; N */
    uint32_t local_steps;  /* U; 1 */
    enum kofn_publish publish;
    enum kofn_weights weights;
    enum kofn_late late;
    double staleness_weight; /* W: an update of staleness s is merged with 1/(1+s)^W; 0 = full
                                weight */
    double learning_rate; /* the server's: for GRADIENT payloads; DELTA payloads are applied as they
                             are */
    uint64_t grace; /* on-close, pull: how long a closed round waits for its publications; 250 ms */
    uint64_t deadline;      /* of a round; 0 = none */
    int deadline_adaptive;  /* median + 3 MAD of arrival times instead */
    uint32_t quorum;        /* workers without which no deadline closes a round; 1 */
    uint64_t suspect_after; /* no progress for this long (and 20 times its own median): not waited
                               for; 2 s */
    uint64_t join_timeout;  /* how long kofn_server_start() waits for the workers; 30 s */
    uint32_t merge_threads; /* 1 */
    uint64_t spin;          /* how long the server polls before it sleeps; 0 = sleep at once */
    const struct kofn_log *log; /* must outlive the server */
    const char *transport; /* "shm"; the name of one that is built in (`kofn info`); NULL = what
                              goes with the address */
    const char *transport_options; /* KEY=VALUE with spaces between them; NULL = none */
    const char *workload;  /* what is trained, in words, at most 255 bytes: a worker that says other
                              words is refused; NULL = not compared */
    uint64_t peer_timeout; /* no sign of a worker's host for this long, over a network: it is gone;
                              10 s */
    int insecure;          /* listen beyond this host although who connects is not authenticated */
    const char *over; /* of adasync: the algorithm whose K it chooses; NULL = "kasync". `wait_for`
                         is its first K; 1 */
    uint64_t adapt_every; /* the same: how often K is thought over; 0 = in every round */
    double alpha; /* of overlap and easgd: how far workers are pulled to the anchor, below 1, of
                     easgd at most 1/N; 0.6, and 0.9/N */
    double beta;  /* of overlap: momentum of the anchor, below 1; 0 = none */
    double small_move; /* of flanp: a round that moves the model (the norm) no further lets K
                          double; 0.2 */
    double
        outer_lr; /* the mean of a round's updates is a step of Nesterov's momentum with this rate;
                     1 */
    double outer_momentum; /* and this momentum, below 1; 0 = none */
    double staleness_step; /* C, where stale gradients count (kasync, kbatch-async, adasync over
                              them): one made at model w' is applied to w with min(C / |w - w'|^2,
                              learning_rate); costs up to N + 4 models of memory; 0 = none */
    enum kofn_screening screen; /* where updates are held until a round closes, and late ones are
                                   refused */
    uint32_t screen_trim;       /* TRIMMED: how many at either end; less than half of wait_for */
};

#ifdef __cplusplus
}
#endif

#endif
