/* algorithm.h: an algorithm is a table: who counts, when a round is complete, what is merged, what
 * workers do meanwhile.
 *
 * The functions are pure: they look at a round and say yes or no. Server, simulator and tests run
 * the same ones. A new algorithm is a new file here and a line in table.c.
 */
#ifndef KOFN_ALGORITHMS_ALGORITHM_H
#define KOFN_ALGORITHMS_ALGORITHM_H

#include "base/base.h"
#include "proto/slot.h"

struct kofn_round;
struct kofn_member;
struct kofn_node_ops;

/* What a worker does between two models. */
enum kofn_worker_may {
    KOFN_WORKER_WAITS,     /* U local updates, then it waits for the next model */
    KOFN_WORKER_CONTINUES, /* local updates until its round closes; what it sends is all of them */
    KOFN_WORKER_REPEATS, /* the same, but every U are sent by themselves, and count by themselves */
    KOFN_WORKER_FETCHES, /* U local updates, sent by themselves; then the newest model, at once */
};

struct kofn_algorithm {
    const char *name;
    const char *summary; /* one line, for `kofn info` */
    const char *source;  /* the paper */
    enum kofn_payload payload;
    enum kofn_worker_may worker_may;
    bool baseline;    /* what others are compared with, not one of the papers' own */
    bool needs_all;   /* K is N */
    bool single_step; /* U is 1 and cannot be chosen */
    bool partial;     /* less than U local updates are merged too, and so published */
    bool eager;       /* workers publish as they finish: there is no other way */

    /* Updates made on an earlier model count like others. A round that closes cuts nobody off; who
     * WAITS does so until what it sent has been merged.
     */
    bool stale;

    /* Workers keep their own models, which a new one only pulls at; nobody is cut off, and who
     * WAITS computes on while its round is merged. `round` of a stamp is then the one its local
     * updates were made in, `version` the model that its parameters have been pulled to.
     */
    bool ahead;
    bool cancels; /* what misses its round is dropped, whatever is said of late updates */
    bool exact;   /* K are merged and no more, though others may have come in the same moment */
    const struct kofn_node_ops *peers; /* there is no server and no round: node.h; the functions
                                          below are NULL then */
    bool elastic;            /* ahead, and the model goes towards them all by what they gave up */
    bool measures;           /* it wants to know how far each merge moves the model */
    double staleness_weight; /* W where nothing is said */
    const char *over; /* the algorithm whose rounds it has, if it only chooses their K; else NULL */

    /* Does @stamp belong to the open round? (Else it is late.) */
    bool (*current)(const struct kofn_round *round, const struct kofn_stamp *stamp);

    /* Has @updates local updates made a worker one of the K? */
    bool (*counts)(const struct kofn_round *round, uint32_t updates);

    /* Is the round complete? Asked after every event that can change the answer. */
    bool (*closed)(const struct kofn_round *round);

    /* A round is about to open: changes its K, kofn_round.asked. NULL: K stays as it is. */
    void (*adapt)(struct kofn_round *round, uint64_t now);

    /* A round has been merged, and it is time to think over: U of the next one. NULL: U stays. */
    uint32_t (*steps)(const struct kofn_round *round);
};

extern const struct kofn_algorithm kofn_sync;
extern const struct kofn_algorithm kofn_local;
extern const struct kofn_algorithm kofn_ksync;
extern const struct kofn_algorithm kofn_kbatch_sync;
extern const struct kofn_algorithm kofn_kasync;
extern const struct kofn_algorithm kofn_kbatch_async;
extern const struct kofn_algorithm kofn_adasync; /* over kasync */
extern const struct kofn_algorithm kofn_stsyn;
extern const struct kofn_algorithm kofn_overlap;
extern const struct kofn_algorithm kofn_rfast;
extern const struct kofn_algorithm kofn_dpsgd;
extern const struct kofn_algorithm kofn_adpsgd;
extern const struct kofn_algorithm kofn_osgp;
extern const struct kofn_algorithm kofn_adacomm;
extern const struct kofn_algorithm kofn_easgd;
extern const struct kofn_algorithm kofn_fedbuff;
extern const struct kofn_algorithm kofn_flanp;

/* True if every publication is one of the K, so that K may be more than N: they are summed up as
 * they come, not held.
 */
static inline bool kofn_algorithm_adds(const struct kofn_algorithm *algorithm)
{
    return algorithm->worker_may >= KOFN_WORKER_REPEATS;
}

/* True if K may be more than N: it counts mini-batches, and does not grow (up to N). */
static inline bool kofn_algorithm_counts_batches(const struct kofn_algorithm *algorithm)
{
    return kofn_algorithm_adds(algorithm) && !algorithm->adapt;
}

/* True if a worker computes until its round closes. */
static inline bool kofn_algorithm_goes_on(const struct kofn_algorithm *algorithm)
{
    return algorithm->worker_may == KOFN_WORKER_CONTINUES ||
           algorithm->worker_may == KOFN_WORKER_REPEATS;
}

/* True if its messages may be lost, and are not sent again. */
bool kofn_algorithm_lossy(const struct kofn_algorithm *algorithm);

/* What of this a worker is told when it joins: a set of these. */
enum kofn_manner {
    KOFN_MANNER_PARTIAL = 1 << 0,
    KOFN_MANNER_STALE = 1 << 1,
    KOFN_MANNER_CANCELS = 1 << 2,
    KOFN_MANNER_AHEAD = 1 << 3,
};
#define KOFN_MANNERS 15u
uint32_t kofn_algorithm_manners(const struct kofn_algorithm *algorithm);

/* By name, or NULL. */
const struct kofn_algorithm *kofn_algorithm_find(const char *name);

/* @algorithm over another one, or as it is if @over is NULL or empty; NULL if it cannot be over
 * that one.
 */
const struct kofn_algorithm *kofn_algorithm_over(const struct kofn_algorithm *algorithm,
                                                 const char *over);

/* The index-th, for lists; NULL behind the last. */
const struct kofn_algorithm *kofn_algorithm_at(size_t index);

/* ---- pieces that several tables share ---- */

/* The update was computed in the round that is open. */
bool kofn_current_same_round(const struct kofn_round *round, const struct kofn_stamp *stamp);

/* It is relative to the model of the round that is open. */
bool kofn_current_same_version(const struct kofn_round *round, const struct kofn_stamp *stamp);

/* On whatever model. */
bool kofn_current_any(const struct kofn_round *round, const struct kofn_stamp *stamp);

/* U local updates are done. */
bool kofn_counts_steps(const struct kofn_round *round, uint32_t updates);

/* As many workers, or publications, as the round waits for count. */
bool kofn_closed_by_count(const struct kofn_round *round);

#endif
