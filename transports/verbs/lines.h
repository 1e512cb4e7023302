/* lines.h: the small words that the two sides write at each other, besides those of proto/word.h.
 *
 * The first line of a worker's block holds, besides the gate, what the transport itself must tell:
 *
 *   gate       as the server wrote it
 *   published  55..8 sequence of the newest model              7..0 check
 *   state      39..32 wants   31..8 count of lines written     7..0 check
 *
 * They are written in one piece, and each of them can tell that it is whole. Nobody is woken by a
 * write; who sleeps gets an immediate instead. A worker about to sleep says so with the count it
 * has seen: a hub that has written more since wakes it at once, else with its next line. A hub that
 * is to be woken by what does not wake (beats, and publications that are polled) says in `wants`
 * that an immediate is to come with it.
 */
#ifndef KOFN_TRANSPORTS_VERBS_LINES_H
#define KOFN_TRANSPORTS_VERBS_LINES_H

#include "proto/slot.h"
#include "proto/word.h"

struct kofn__verbs_line {
    uint64_t gate, published, state;
};
KOFN_STATIC_ASSERT(sizeof(struct kofn__verbs_line) <= offsetof(struct kofn_block, receipts),
                   "beside the gate there is room");

enum kofn__verbs_wants { KOFN__VERBS_WAKE_BEATS = 1, KOFN__VERBS_WAKE_PUBLICATIONS = 2 };

#define KOFN__VERBS_COUNT_MASK 0xffffffu

/* Immediates on the queue pair for words, from a worker: a kind and 24 bits. */
enum kofn__verbs_note {
    KOFN__VERBS_NOTE_ASLEEP = 1, /* it sleeps; the count it has seen */
    KOFN__VERBS_NOTE_MODEL,      /* it needs the newest model */
    KOFN__VERBS_NOTE_BEAT,       /* with a beat, to wake */
};

static inline uint64_t kofn__verbs_state(uint32_t wants, uint32_t count)
{
    return kofn_word_seal((uint64_t)wants << 32 | (uint64_t)(count & KOFN__VERBS_COUNT_MASK) << 8);
}

static inline uint32_t kofn__verbs_state_count(uint64_t state)
{
    return (uint32_t)(state >> 8) & KOFN__VERBS_COUNT_MASK;
}

static inline uint32_t kofn__verbs_state_wants(uint64_t state)
{
    return (uint32_t)(state >> 32) & 0xff;
}

static inline uint32_t kofn__verbs_note(enum kofn__verbs_note kind, uint32_t value)
{
    return (uint32_t)kind << 24 | (value & KOFN__VERBS_COUNT_MASK);
}

#endif
