/* inside.h: the inside of a simulation. sim.c has the loop, sim_server.c what the server does,
 * sim_worker.c what workers do, sim_lag.c when nobody has to look at them, sim_kept.c both where
 * publications are read, sim_bytes.c their arithmetic.
 *
 * They mirror src/core: the same order of checks, the same words to the round machine. What a
 * message costs is decided where it is sent; one that costs nothing has arrived when the sender
 * goes on.
 */
#ifndef KOFN_SIM_INSIDE_H
#define KOFN_SIM_INSIDE_H

#include "algorithms/manners.h"
#include "base/clock.h"
#include "math/anchor.h"
#include "math/reduce.h"
#include "math/screen.h"
#include "math/versions.h"
#include "sim/post.h"
#include "sim/ring.h"
#include "sim/sim.h"
#include "sim/timers.h"

enum kofn_sim_activity {
    KOFN_SIM_WAITS,    /* for the gate */
    KOFN_SIM_STARVES,  /* for a credit, with a finished update in hand */
    KOFN_SIM_HALTS,    /* for a credit, because its gradient is written to where it is sent from */
    KOFN_SIM_COMPUTES, /* its timer runs */
    KOFN_SIM_CUT,      /* the same; the round is over, and the update will be dropped */
};

/* A model that somebody still computes on, or that is published. */
struct kofn_sim_version {
    struct kofn_sim_version *next; /* of those that nobody uses */
    uint32_t references;
    KOFN_LINE_ALIGNED float data[];
};

/* What became of a publication, as its worker can know it from `seen_ns` on. */
struct kofn_sim_receipt {
    uint64_t sequence, seen_ns;
    uint32_t made_in, updates;
};

#define KOFN_SIM_RING 4u /* at least as many as there are buffers */

/* As struct kofn_member: what every event looks at comes first. */
struct kofn_sim_worker {
    /* as in core/worker.h */
    KOFN_LINE_ALIGNED uint32_t round;
    uint32_t updates, total, published, gate_round;
    uint8_t activity, gate_state;
    bool late_sent, sent; /* sent: a publication since the last local update began */
    uint64_t sequence, released;
    uint64_t granted;  /* newest publication that the server has released; it may not know yet */
    uint64_t begin_ns; /* of the update in progress */
    uint64_t due_ns;   /* its end */

    uint64_t compute_ns; /* of this round's finished updates */
    uint64_t busy_ns;
    double loss_sum;
    uint64_t first;
    uint64_t starved_ns; /* 0 = it does not */
    uint64_t timer_ns;   /* where workers lag: when the timer runs out; 0 = it is to be set */
    uint32_t first_updates;
    uint32_t steps; /* U, as it says */
    uint32_t taken; /* the version of the model taken last */

    KOFN_LINE_ALIGNED struct kofn_delay_source delays;

    struct kofn_sim_receipt receipts[KOFN_SIM_RING];

    /* Messages: when its link is free again, and the last of each kind arrives. */
    uint64_t link_ns, data_ns, beat_ns, down_ns;
    struct kofn_stamp stamps[KOFN_SIM_RING]; /* of publications under way, or kept, by sequence */

    /* Publications that are read. */
    uint64_t late; /* the snapshot that has the rest of a closed round; 0 = none */
    uint64_t read; /* newest snapshot that the server has taken in */
    uint32_t read_round, read_updates; /* the place it is about */
    bool reading;

    /* Arithmetic; NULL without. */
    struct kofn_sim_version *version; /* the model taken */
    float *x;                         /* DELTA: parameters now */
    float *buffers[KOFN_DEPTH_PULL];
};

KOFN_STATIC_ASSERT(offsetof(struct kofn_sim_worker, delays) == 2 * KOFN_CACHE_LINE, "two lines");

/* How much of a worker an event looks at, but for the draw it takes; where every publication
 * counts, its receipt, too.
 */
#define KOFN_SIM_WORKER_HOT (offsetof(struct kofn_sim_worker, delays) + 1)
#define KOFN_SIM_WORKER_WARM offsetof(struct kofn_sim_worker, link_ns)

struct kofn_sim {
    struct kofn_sim_attr attr;
    const struct kofn_log *log;
    const struct kofn_algorithm *algorithm;
    struct kofn_round round;
    struct kofn_timers timers;
    struct kofn_post post;
    struct kofn_sim_worker *workers;
    uint64_t now, events, tick_ns;
    int status; /* what went wrong where nothing can be returned */

    /* Fixed. */
    struct kofn_manners manners; /* of all workers */
    uint32_t depth;              /* buffers of a worker */
    bool instant;                /* no message costs anything */
    bool lags;                   /* workers may lag behind the clock: sim_lag.c */
    bool one_timer; /* the same, and only the worker that will close the round has a timer */

    /* Workers that lag, with one timer: whose that is; when updates end. */
    uint32_t closer;
    uint64_t *dues;

    /* The server. */
    bool gates_closed;
    uint64_t ingest_ns;        /* its link is free again */
    struct kofn_random random; /* loss */
    struct kofn_ring ring;     /* where gradients come together in one */
    uint64_t bytes, merged_updates;
    double loss_sum;

    /* Arithmetic. */
    size_t parameters; /* 0 = there is none */
    const struct kofn_reduce_ops *reduce;
    struct kofn_anchor anchor;
    struct kofn_screen screen;
    struct kofn_versions versions; /* with a staleness step */
    uint32_t *in_use;
    struct kofn_sim_version *model, *spare; /* of the open round; not in use */
    float *late_sum, *late_next;
    bool late_any;
    uint32_t *ranks;
    const void **updates;
    float *weights;
};

/* ---- sim_worker.c ---- */

/* Its timer has run out: the update in progress is finished. */
void kofn_sim_worker_finish(struct kofn_sim *sim, uint32_t rank);

/* Its gate has changed. */
void kofn_sim_worker_gate(struct kofn_sim *sim, uint32_t rank, uint32_t round, uint8_t state,
                          uint64_t released);

/* Sends, or keeps, all of the round's work; what is in the next buffer: updates behind @from. */
void kofn_sim_publish_all(struct kofn_sim *sim, uint32_t rank);
void kofn_sim_publish(struct kofn_sim *sim, uint32_t rank, uint32_t from);

/* ---- sim_lag.c: workers that lag behind the clock ----
 *
 * If messages cost nothing, no time is limited and nobody watches updates, what a worker does in a
 * round concerns nobody else until it makes it one of the K. It can be done later, and for many
 * updates at once, as long as all of the round is done when that closes. So the timer of a worker
 * that goes on is set for the update that matters; where workers wait once they have finished one,
 * nobody's matters but the K-th to finish, who is known when the round opens. With thousands of
 * workers events cost what it takes to fetch from memory whoever is next: one after the other they
 * are there in time.
 */

/* Finds out whether workers of this simulation can lag. KOFN_NO_MEMORY; not logged. */
int kofn_sim_lag_open(struct kofn_sim *sim);
void kofn_sim_lag_close(struct kofn_sim *sim);

/* A round has opened, and everybody has begun: with one timer, sets it. */
void kofn_sim_lag_plan(struct kofn_sim *sim);

/* The timer of @rank has run out, now: its updates until now, and the one that ends now. */
void kofn_sim_lag_finish(struct kofn_sim *sim, uint32_t rank);

/* Nobody lags any more: all updates that end before @time are done. */
void kofn_sim_lag_end(struct kofn_sim *sim, uint64_t time);

/* ---- sim_kept.c: where publications are read ---- */

/* A local update is finished; the round is over by now, or not. */
void kofn_sim_keep(struct kofn_sim *sim, uint32_t rank, bool over);

/* What missed its round is kept: false if it has to wait until that is read. */
bool kofn_sim_keep_late(struct kofn_sim *sim, uint32_t rank);

/* The server reads whoever owes it something; what @rank has that missed its round; of all. */
void kofn_sim_read_owed(struct kofn_sim *sim);
void kofn_sim_read_late(struct kofn_sim *sim, uint32_t rank);
void kofn_sim_read_all_late(struct kofn_sim *sim);

/* A request has arrived at @rank; what it answered has arrived, and is still its snapshot (or is
 * read again: false).
 */
void kofn_sim_asked(struct kofn_sim *sim, uint32_t rank);
bool kofn_sim_read_whole(struct kofn_sim *sim, uint32_t rank, uint64_t sequence);

/* ---- sim_server.c ---- */

void kofn_sim_server_data(struct kofn_sim *sim, uint32_t rank, const struct kofn_stamp *stamp);
void kofn_sim_server_beat(struct kofn_sim *sim, uint32_t rank, struct kofn_beat beat);

/* Opens the next round for everybody. */
void kofn_sim_server_open(struct kofn_sim *sim);

/* Closes the gates, if the round has closed and that is to be known before the next one opens. */
void kofn_sim_server_close_gates(struct kofn_sim *sim);

/* What @rank holds is not merged: the round and the worker learn of it, as in core/merge.c. */
void kofn_sim_reject(struct kofn_sim *sim, uint32_t rank);

/* The round is READY: merges it. */
void kofn_sim_server_merge(struct kofn_sim *sim);

/* ---- sim.c: messages ---- */

/* A publication, a beat; each arrives at the server in its time. */
void kofn_sim_send_data(struct kofn_sim *sim, uint32_t rank, const struct kofn_stamp *stamp);
void kofn_sim_send_beat(struct kofn_sim *sim, uint32_t rank);

/* A request for the snapshot of @rank. */
void kofn_sim_send_read(struct kofn_sim *sim, uint32_t rank);

/* The gate of @rank as the round stands; one that opens a round comes behind the model. */
void kofn_sim_send_gate(struct kofn_sim *sim, uint32_t rank, bool opens);

/* ---- sim_bytes.c; each does nothing where there is no arithmetic ---- */

int kofn_sim_bytes_open(struct kofn_sim *sim);
void kofn_sim_bytes_close(struct kofn_sim *sim);

void kofn_sim_bytes_take(struct kofn_sim *sim, uint32_t rank);

/* Takes the model where @rank is ahead: pulls its parameters to that, and fills the buffer of
 * publication @sequence with the difference.
 */
void kofn_sim_bytes_pull(struct kofn_sim *sim, uint32_t rank, uint64_t sequence);
void kofn_sim_bytes_begin(struct kofn_sim *sim, uint32_t rank, uint64_t due);
void kofn_sim_bytes_drop(struct kofn_sim *sim, uint32_t rank);

/* kofn_round_config.damp; @arg: the simulation. */
double kofn_sim_bytes_damp(void *arg, uint32_t version);

/* A finished update: its loss. A gradient is written to the buffer of the next publication. */
float kofn_sim_bytes_finish(struct kofn_sim *sim, uint32_t rank);

/* Fills the buffer of publication @sequence with all of the round's work; with what publication
 * @settled did not carry of it (0: with all).
 */
void kofn_sim_bytes_fill(struct kofn_sim *sim, uint32_t rank, uint64_t sequence, uint64_t settled);

/* Adds a publication to the sum; false, and the sum as it was, if that is not finite then. */
bool kofn_sim_bytes_sum(struct kofn_sim *sim, uint32_t rank, uint64_t sequence, float factor);

/* Makes the next model of what is held; members whose updates are not finite are refused. */
void kofn_sim_bytes_merge(struct kofn_sim *sim);

#endif
