/* sim.h: a job under a virtual clock: the round machine and the algorithms of the real server, fed
 * with events that take no time to come about.
 *
 * Workers do what kofn_worker_take(), _report() and _pause() do; a local update costs what the
 * delay model says, times the factors of stragglers, and a closing gate cuts it off at once. What
 * else takes time is in kofn_sim_net. With kofn_sim_work real updates are made and merged, at no
 * time of their own; without, only times are simulated. Nothing but the seed decides what happens:
 * events at the same time have an order, and every worker has random numbers of its own.
 *
 * Time begins at 1 ns. All events of one moment are taken in before a round that has closed is
 * merged; where exactly K are, it is merged at once, and those behind them come after.
 *
 * Threads: one. Nothing is allocated per event, but for the queue of messages, which grows as it
 * must.
 */
#ifndef KOFN_SIM_SIM_H
#define KOFN_SIM_SIM_H

#include "round/round.h"
#include "round/rules.h"
#include "sim/delay.h"
#include "sim/straggler.h"
#include "sim/trace.h"

/* What messages cost. All zero: nothing. */
struct kofn_sim_net {
    uint64_t latency_ns;   /* of every message, one way */
    double byte_ns;        /* ns a byte of payload takes on a worker's own link, either way */
    double ingest_byte_ns; /* on the server's, through which all publications come, one by one */
    double loss; /* share of messages that are lost and sent again, a round trip later each time */
    bool ring;   /* gradients come together in a ring all-reduce, which begins once the last is
                    there: ring.h. There is no server that anything could come through */
};

/* The arithmetic of local updates. @rank is below the number of workers; one call at a time. */
struct kofn_sim_work {
    size_t parameters;

    /* @rank has taken a model in place of its own: forget what is not kept over rounds. */
    void (*fresh)(void *arg, uint32_t rank);

    /* A local update of @rank at the parameters @x begins, to end at @due or before; @x stays as it
     * is until it has ended, in one of the calls below.
     */
    void (*begin)(void *arg, uint32_t rank, const float *x, uint64_t due);

    /* It is finished: takes the local step in place, or writes the gradient; returns the loss. */
    float (*step)(void *arg, uint32_t rank, float *x);
    float (*gradient)(void *arg, uint32_t rank, float *gradient);

    /* It was cut off. */
    void (*drop)(void *arg, uint32_t rank);

    void *arg;
};

struct kofn_sim_attr {
    struct kofn_round_config round;
    struct kofn_rules rules;
    const struct kofn_delay *delay; /* open; a draw of 0 takes 1 ns */
    const struct kofn_straggler *stragglers;
    size_t straggler_count;
    struct kofn_sim_net net;
    double
        compute_share;   /* of a local update, that a closing gate does not cut off: at 1, whoever
                            is in one finishes it, and is then late; below, what is left is dropped */
    uint64_t publish_ns; /* what a worker itself takes to send an update */
    uint64_t payload_bytes; /* of an update, and of a model */
    uint64_t seed;

    /* What the code of STSyn's authors does beyond their paper: so many local updates a worker and
     * round at most (0: any number), after which it waits; of the workers that are to be merged,
     * the one with most of them is left out.
     */
    uint32_t most_steps;
    bool leave_out_most;

    double learning_rate;             /* of the server, where the payload is GRADIENT */
    const struct kofn_sim_work *work; /* NULL: times alone */
    const float *model;               /* the first; with work */

    /* Called when a round is about to be merged, with its members as they are held; may be NULL. */
    void (*closed)(void *arg, const struct kofn_round *round);

    /* Called with every local update that has ended; may be NULL. */
    void (*updated)(void *arg, const struct kofn_trace_record *record);
    void *arg;
    const struct kofn_log *log;
};

struct kofn_sim;

/* Opens a job whose workers have all joined, and its first round. What @attr points to must outlive
 * it. Returns KOFN_NO_MEMORY; logged.
 */
int kofn_sim_open(const struct kofn_sim_attr *attr, struct kofn_sim **sim_p);
void kofn_sim_close(struct kofn_sim *sim);

/* Goes on until a round has closed and the next one is open, or the clock stands at @until, or
 * @events more events have happened; some more, fewer than a round has, where updates that matter
 * to nobody are done many at a time. Returns 0 with @report filled, KOFN_TIMEOUT, KOFN_AGAIN;
 * KOFN_GONE if nothing can happen any more, KOFN_NO_MEMORY; logged.
 */
int kofn_sim_step(struct kofn_sim *sim, uint64_t until, uint64_t events,
                  struct kofn_round_report *report);

/* Closes the open round with what is there; it is settled and counted, but not reported. */
void kofn_sim_stop(struct kofn_sim *sim);

/* The time, ns since the job began; events so far (local updates that ended, finished or cut off;
 * messages that arrived, if they take time; deadlines); the model of the open round (with work). */
uint64_t kofn_sim_now(const struct kofn_sim *sim);
uint64_t kofn_sim_events(const struct kofn_sim *sim);
const float *kofn_sim_model(const struct kofn_sim *sim);

/* Over all workers: local updates finished, and time spent computing. */
struct kofn_sim_totals {
    double finished, busy_ns;
};
void kofn_sim_totals(const struct kofn_sim *sim, struct kofn_sim_totals *totals);

/* Local updates of @rank that were merged, on time or late. */
uint64_t kofn_sim_merged(const struct kofn_sim *sim, uint32_t rank);

/* All workers, as kofn_server_member() has them, to @reports; idle_fraction is exact. */
void kofn_sim_members(const struct kofn_sim *sim, struct kofn_member_report *reports);

#endif
