/* word.h: the two 8-byte words of kofn, beat and gate: written whole, read whole, never behind
 * payload.
 *
 * A worker writes its beat at the server after every local update: progress, and liveness that
 * means something. The server writes each worker's gate: which round is open, which credits it has.
 * Both carry 8 check bits, because a device that is not a NIC may copy a word byte by byte: a torn
 * word fails its check and is read again. A word that was never written is 0 and fails it too.
 *
 *   beat   63..32 round   31..8 updates                                7..0 check
 *   gate   63..32 round   31..20 lag  19..16 state  15..8 released     7..0 check
 */
#ifndef KOFN_PROTO_WORD_H
#define KOFN_PROTO_WORD_H

#include "base/base.h"

struct kofn_beat {
    uint32_t
        round; /* whose model the worker computes on; with updates = 0 it acknowledges that model */
    uint32_t updates; /* local updates finished on it; 24 bits */
};

#define KOFN_BEAT_MAX_UPDATES ((1u << 24) - 1)

enum kofn_gate_state {
    KOFN_GATE_OPEN = 1, /* round `round` is open: compute */
    KOFN_GATE_CLOSED =
        2, /* it has closed: publish what there is (on-close), then wait for the next one */
    KOFN_GATE_END = 3,    /* the job is over: leave */
    KOFN_GATE_EVICTED = 4 /* this worker is no longer a member: leave */
};

struct kofn_gate {
    uint32_t round;
    uint32_t lag;      /* round minus the version of the model to compute on; 12 bits */
    uint32_t state;    /* enum kofn_gate_state */
    uint32_t released; /* sequence of the newest released publication, modulo 256: see
                          kofn_credit_granted() */
};

#define KOFN_GATE_MAX_LAG ((1u << 12) - 1)

/* 8 bits that depend on all of the 56 above them, and are not 0 for 0. */
static inline uint64_t kofn_word_check(uint64_t word)
{
    uint64_t bits = (word >> 8) + 1;

    return (bits * UINT64_C(0x9e3779b97f4a7c15)) >> 56;
}

static inline uint64_t kofn_word_seal(uint64_t word)
{
    return (word & ~UINT64_C(0xff)) | kofn_word_check(word);
}

/* False for a word that is torn or was never written. */
static inline bool kofn_word_whole(uint64_t word)
{
    return (word & 0xff) == kofn_word_check(word);
}

static inline uint64_t kofn_beat_pack(struct kofn_beat beat)
{
    uint64_t updates = KOFN_MIN(beat.updates, KOFN_BEAT_MAX_UPDATES);

    return kofn_word_seal((uint64_t)beat.round << 32 | updates << 8);
}

/* Returns false, with @beat untouched, for a word that is not whole. */
static inline bool kofn_beat_unpack(uint64_t word, struct kofn_beat *beat)
{
    if (!kofn_word_whole(word))
        return false;
    beat->round = (uint32_t)(word >> 32);
    beat->updates = (uint32_t)(word >> 8) & KOFN_BEAT_MAX_UPDATES;
    return true;
}

static inline uint64_t kofn_gate_pack(struct kofn_gate gate)
{
    return kofn_word_seal((uint64_t)gate.round << 32 |
                          (uint64_t)(gate.lag & KOFN_GATE_MAX_LAG) << 20 |
                          (uint64_t)(gate.state & 15) << 16 | (uint64_t)(gate.released & 255) << 8);
}

static inline bool kofn_gate_unpack(uint64_t word, struct kofn_gate *gate)
{
    if (!kofn_word_whole(word))
        return false;
    gate->round = (uint32_t)(word >> 32);
    gate->lag = (uint32_t)(word >> 20) & KOFN_GATE_MAX_LAG;
    gate->state = (uint32_t)(word >> 16) & 15;
    gate->released = (uint32_t)(word >> 8) & 255;
    return true;
}

#endif
