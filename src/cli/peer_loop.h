/* peer_loop.h: what the process of one peer of `kofn run` does, and what it shares with the process
 * that started all of them: that one brings the peers together, says when it is time to stop, and
 * looks at their models; nothing of the job goes through it.
 */
#ifndef KOFN_CLI_PEER_LOOP_H
#define KOFN_CLI_PEER_LOOP_H

#include "base/histogram.h"
#include "cli/run.h"
#include "core/channel.h"

/* What one peer shows. Written by it alone; words that others wait for with release. */
struct kofn_peer_share {
    KOFN_LINE_ALIGNED struct kofn_busy busy; /* rounds: activations that are finished */
    uint32_t listens;                        /* `address` is there */
    uint32_t connected;                      /* to all its neighbours */
    uint32_t finished;                       /* it has stopped, and all below is final */
    uint64_t copied;                         /* its model answers this request */
    uint64_t sent, lost, skipped;            /* messages */
    char address[KOFN_ADDRESS_BYTES];
};

/* What all share: one mapping, at the same place in every process. */
struct kofn_peer_board {
    uint32_t go, stop;                 /* words that peers look at */
    uint64_t wanted;                   /* number of the newest request for models */
    int32_t parent;                    /* pid; who has lost it stops */
    uint64_t start_ns;                 /* of the job */
    struct kofn_histogram round_times; /* ns; of the root, by the root */
    struct kofn_peer_share *list;      /* by rank */
    float *models;                     /* by rank, of `parameters` each */
    float *residuals, *scales;         /* kofn_node_residual(), once it has stopped */
};

static inline uint32_t kofn_board_look(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void kofn_board_say(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

struct kofn_peer_task {
    const struct kofn_run *run; /* options, terms, workload, files; as it was when it was forked */
    const struct kofn_graph *graph;
    const float *first;
    struct kofn_peer_board *board;
};

/* Works as rank @rank until the board says stop. Returns 0 then, else what went wrong; logged. */
int kofn_peer_loop(const struct kofn_peer_task *task, uint32_t rank, const struct kofn_log *log);

/* ---- run_peers.c ---- */

/* A whole job of peers; as kofn_run_job(), and what comes before it. */
int kofn_run_peers(struct kofn_run *run);

#endif
