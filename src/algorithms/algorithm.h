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

/* What a worker does once it has finished the U local updates of its round. */
enum kofn_worker_may {
    KOFN_WORKER_WAITS,     /* waits for the next model */
    KOFN_WORKER_CONTINUES, /* goes on with local updates until the gate closes */
};

struct kofn_algorithm {
    const char *name;
    const char *summary; /* one line, for `kofn info` */
    const char *source;  /* the paper */
    enum kofn_payload payload;
    enum kofn_worker_may worker_may;
    bool needs_all;   /* K is N */
    bool single_step; /* U is 1 and cannot be chosen */
    bool partial;     /* less than U local updates are merged too, and so published */

    /* Does @stamp belong to the open round? (Else it is late.) */
    bool (*current)(const struct kofn_round *round, const struct kofn_stamp *stamp);

    /* Has @updates local updates made a worker one of the K? */
    bool (*counts)(const struct kofn_round *round, uint32_t updates);

    /* Is the round complete? Asked after every event that can change the answer. */
    bool (*closed)(const struct kofn_round *round);
};

extern const struct kofn_algorithm kofn_sync;
extern const struct kofn_algorithm kofn_local;
extern const struct kofn_algorithm kofn_stsyn;

/* By name, or NULL. */
const struct kofn_algorithm *kofn_algorithm_find(const char *name);

/* The index-th, for lists; NULL behind the last. */
const struct kofn_algorithm *kofn_algorithm_at(size_t index);

/* ---- pieces that several tables share ---- */

/* The update was computed in the round that is open. */
bool kofn_current_same_round(const struct kofn_round *round, const struct kofn_stamp *stamp);

/* U local updates are done. */
bool kofn_counts_steps(const struct kofn_round *round, uint32_t updates);

/* As many workers as the round waits for count. */
bool kofn_closed_by_count(const struct kofn_round *round);

#endif
