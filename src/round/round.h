/* round.h: the state machine of K-of-N rounds: events in, decisions out.
 *
 * Events are what a server sees (a worker joins, beats, publishes, leaves, time passes), each with
 * its time; decisions are what it then does (hold or release a publication, close the round, merge
 * these with these weights, give up on that worker). There is no I/O, no clock and, after
 * kofn_round_init(), no allocation. A server drives it with real events, the simulator with virtual
 * ones, the tests with random histories.
 *
 *   OPEN --condition or deadline--> COLLECTING --all in, or grace over--> READY
 * --kofn_round_next()--> OPEN (on-close only; eager goes straight to READY)
 *
 * round.c has a round's begin and end and its members, arrive.c what comes in of them, places.c who
 * is one of the K, close.c when a round closes, merge.c and account.c what becomes of it, watch.c
 * and sample.c who is slow.
 *
 * Threads: one. Ranks must be below config.workers; the caller has checked them.
 */
#ifndef KOFN_ROUND_ROUND_H
#define KOFN_ROUND_ROUND_H

#include "algorithms/algorithm.h"
#include "base/histogram.h"
#include "round/deadline.h"
#include "round/member.h"
#include "round/pursuit.h"

struct kofn_round_config {
    const struct kofn_algorithm *algorithm;
    uint32_t workers;     /* N */
    uint32_t wait_for;    /* K; where that grows, the first */
    uint32_t local_steps; /* U; where that changes, of the open round */
    uint32_t quorum;
    enum kofn_publish publish;
    enum kofn_weights weights;
    enum kofn_late late;
    double staleness_weight;                 /* W */
    uint64_t grace, deadline, suspect_after; /* ns; deadline 0 = none */
    bool deadline_adaptive;
    uint64_t adapt_every; /* ns: how often a K or U that follows the loss is thought over; 0 = in
                             every round */
    /* The share of the full step that an update made on model @version is worth; NULL: all of it.
     */
    double (*damp)(void *arg, uint32_t version);
    void *damp_arg;
    double small_move; /* flanp: a merge that moves the model no further lets K double */
};

enum kofn_phase { KOFN_PHASE_IDLE, KOFN_PHASE_OPEN, KOFN_PHASE_COLLECTING, KOFN_PHASE_READY };

/* What is to be done with a publication that has arrived. */
enum kofn_verdict {
    KOFN_VERDICT_HOLD, /* keep its buffer; the one held before, if any, is superseded: release that
                        */
    KOFN_VERDICT_LATE, /* add it to the sum with kofn_round.factor now, then release it */
    KOFN_VERDICT_ADD,  /* the same; it is on time */
    KOFN_VERDICT_REFUSED, /* release it; the worker is told */
    KOFN_VERDICT_COVERED, /* overlaps what is settled: release it; the worker will send the
                             remainder */
    KOFN_VERDICT_KEPT,    /* refused, but what is held before it stays: release neither of them */
};

/* Medians over the workers, ns: of the time from one local update to the next, over all closed
 * rounds and lately, those cut off included; of the time from the end of an update to its post; of
 * the wait for a credit. 0 = not known.
 */
struct kofn_usual {
    double pace_mean, pace, post, wait;
};

/* The same, as it was at a moment. */
struct kofn_recent {
    struct kofn_usual usual;
    uint64_t at_ns; /* 0 = never */
    uint32_t number, publications;
    enum kofn_phase phase;
};

struct kofn_round {
    struct kofn_round_config config;
    struct kofn_member *members;     /* config.workers */
    struct kofn_histogram *lateness; /* the same: ns behind the median worker, one entry a round */
    double *scratch;                 /* twice as many: medians, and what they are of */

    uint32_t number; /* of the open round, from 1; 0 before the first */
    enum kofn_phase phase;
    enum kofn_close close;
    bool ended;                       /* no round follows */
    uint32_t asked;                   /* K of the open round, if all could answer */
    uint32_t first_steps, next_steps; /* U of the first round; settled: of the next one */
    double moved;       /* settled, where the algorithm measures: how far the merge moved the model;
                           set by who drives the machine, else NaN */
    uint32_t wait_for;  /* K in force; once the round has closed, that with which it did */
    uint32_t available; /* members an answer can be expected of */
    uint32_t reached;   /* members that count; publications, where those are added */
    uint32_t spoilt;    /* where publications are added: those that could not be, off K */
    uint32_t holding;   /* members with a held publication */
    uint32_t merging;   /* those, and those with updates in the sum */
    uint64_t steps;     /* local updates of the held ones */
    uint32_t expected;  /* COLLECTING: members that still owe theirs */
    uint64_t opened_ns, closed_ns;
    uint64_t previous_opened_ns, previous_closed_ns; /* of the round before */
    uint64_t excused_ns;  /* until then nobody got on: silences are judged from there */
    uint64_t deadline_ns; /* from the opening; 0 = none */

    /* The sum that goes into this round: of late updates, and of those that are added on time. */
    uint32_t late_count; /* publications */
    uint64_t late_updates, added_updates;
    double staleness; /* sum over the publications merged, held ones included once it is settled */
    float factor;     /* of the last KOFN_VERDICT_LATE or KOFN_VERDICT_ADD */
    uint32_t age;     /* its staleness */
    uint32_t merged;  /* settled: workers merged on time */
    double loss;     /* settled: mean over the publications merged on time; NaN if there are none */
    double loss_sum; /* of those in the sum */

    uint32_t publications, refused; /* arrived, refused, in this round */
    double median_pace_ns;          /* of the last tick; 0 = not known */
    struct kofn_recent *recent;     /* what kofn_round_recent() found last */
    struct kofn_deadline deadline;
    struct kofn_pursuit pursuit;
};

/* Allocates the members. Returns KOFN_NO_MEMORY or KOFN_INVALID. The configuration is checked by
 * the caller. */
int kofn_round_init(struct kofn_round *round, const struct kofn_round_config *config);
void kofn_round_fini(struct kofn_round *round);

/* Opens the next round: what was held is dropped, the number grows by one. */
void kofn_round_next(struct kofn_round *round, uint64_t now);

/* ---- events ---- */

/* A rank that joins again must not be connected any more; what it still held is lost. */
void kofn_round_join(struct kofn_round *round, uint32_t rank, uint32_t epoch, uint64_t now);

/* Gives up what a member that is not connected any more still holds: it is lost. */
void kofn_round_drop(struct kofn_round *round, uint32_t rank);

/* A worker that was taken out says how much it had finished in membership @epoch: for its account.
 */
void kofn_round_finished(struct kofn_round *round, uint32_t rank, uint32_t epoch, uint64_t total);

/* What has arrived of a worker that leaves stays and counts; that it said it was done (on-close)
 * does not.
 */
void kofn_round_leave(struct kofn_round *round, uint32_t rank, bool in_order, uint64_t total,
                      uint64_t now);
void kofn_round_beat(struct kofn_round *round, uint32_t rank, struct kofn_beat beat, uint64_t now);

/* A valid publication (kofn_stamp_valid()) has arrived. */
enum kofn_verdict kofn_round_arrive(struct kofn_round *round, uint32_t rank,
                                    const struct kofn_stamp *stamp, uint64_t now);

/* Foresight, for looking at bytes before kofn_round_arrive() counts them: would @stamp make its
 * worker one of the K? Would it be added to the sum, and with which factor (kofn_late_factor())?
 */
bool kofn_round_counts(const struct kofn_round *round, uint32_t rank,
                       const struct kofn_stamp *stamp);
bool kofn_round_sums(const struct kofn_round *round, uint32_t rank, const struct kofn_stamp *stamp,
                     float *factor);

/* A valid publication has arrived whose bytes cannot be used: its worker cannot be one of the K of
 * the round it was made in any more. Refused, and counted as such (KOFN_VERDICT_REFUSED), unless an
 * older one of the same round is held, which carries some of its updates: that one can be merged
 * still (KOFN_VERDICT_KEPT).
 */
enum kofn_verdict kofn_round_refuse(struct kofn_round *round, uint32_t rank,
                                    const struct kofn_stamp *stamp, uint64_t now);

/* What a member that is about to leave said last, which nobody had looked at: for its account
 * alone.
 */
void kofn_round_last_beat(struct kofn_round *round, uint32_t rank, struct kofn_beat beat,
                          uint64_t now);

/* How many publications may be taken in before the round is merged: where exactly K are, as many as
 * are missing.
 */
uint32_t kofn_round_room(const struct kofn_round *round);

/* Time has passed: deadlines, grace, and who is slow or suspect. Costs O(N); call it at a tick, not
 * in a spin. */
void kofn_round_tick(struct kofn_round *round, uint64_t now);

/* When the open round may close without its K, or 0; and for how long work has been owed by @rank
 * in silence (over several rounds, if it has not taken their models), until the round closed if it
 * has.
 */
uint64_t kofn_round_deadline(const struct kofn_round *round);
uint64_t kofn_round_silence(const struct kofn_round *round, uint32_t rank, uint64_t now);

/* The job is to end: an open round closes with what is there; one that is collecting waits no
 * longer.
 */
void kofn_round_stop(struct kofn_round *round, uint64_t now);

/* The job has ended: nothing will be merged any more, so whatever still arrives is refused. */
void kofn_round_end(struct kofn_round *round);

/* Nothing of @rank will be taken in any more, though it has neither left nor died: what has not
 * been accounted for is lost.
 */
void kofn_round_write_off(struct kofn_round *round, uint32_t rank);

/* The next time at which a tick can change something that no event announces. */
uint64_t kofn_round_next_tick(const struct kofn_round *round, uint64_t now);

/* ---- READY: what is merged ---- */

/* The factor of held member @rank in the merge (before any learning rate), and of the sum of the
 * late ones. With n = the distinct workers merged, on time or late: uniform 1/n; FedNova tau_eff /
 * (n tau_m), tau_eff the mean count of the on-time members (Wang et al. 2020, arXiv 2007.07481).
 */
double kofn_round_weight(const struct kofn_round *round, uint32_t rank);
double kofn_round_late_scale(const struct kofn_round *round);

/* What a late publication is multiplied by as it is added to the late sum. */
double kofn_late_factor(const struct kofn_round *round, const struct kofn_stamp *stamp,
                        uint32_t staleness);

/* The held publication of @rank cannot be merged (not finite, torn): it is refused, and counts no
 * more. */
void kofn_round_reject(struct kofn_round *round, uint32_t rank);

/* The updates in the sum cannot be merged (it is not finite): they are refused. */
void kofn_round_reject_sum(struct kofn_round *round);

/* All that is held has been merged: settles the accounts and the statistics of the round. */
void kofn_round_settle(struct kofn_round *round);

/* ---- statistics ---- */

/* Finished updates of @rank that its rounds have cancelled, where the algorithm does that: refused
 * without a publication. What a dead one had done in its last round is lost.
 */
uint64_t kofn_round_dropped(const struct kofn_round *round, uint32_t rank);

/* What is usual among the workers, as it is now. Costs O(N). */
struct kofn_usual kofn_round_usual(const struct kofn_round *round);

/* The same, for one look at all the workers: looked up once, until something happens that could
 * change it, and at least every 100 ms.
 */
const struct kofn_usual *kofn_round_recent(const struct kofn_round *round, uint64_t now);

/* Why @rank is, or was, late, against what is usual: KOFN_CAUSE_NONE where it is not, where too
 * little is known of it, and where nothing but its silence is.
 */
enum kofn_cause kofn_round_cause(const struct kofn_round *round, uint32_t rank,
                                 const struct kofn_usual *usual);

#endif
