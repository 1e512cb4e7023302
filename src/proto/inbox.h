/* inbox.h: which publications of many workers have become complete, found by looking at memory.
 *
 * For transports whose publications show in a slot when their stamp does. The inbox knows of every
 * rank which publication comes next and where the sequence of its stamp will appear, side by side
 * in one dense array: a scan reads 16 bytes of it and one word of the slot a rank, and nothing
 * else. A word that holds anything but the expected sequence (an older one, 0, garbage) counts as
 * nothing yet: a worker that breaks the rules loses its own publications and nobody else's.
 *
 * Threads: one. The words are written by anybody at any time.
 */
#ifndef KOFN_PROTO_INBOX_H
#define KOFN_PROTO_INBOX_H

#include "base/base.h"
#include "proto/slot.h"

/* What is expected of one rank. */
struct kofn_expected {
    const uint64_t *word; /* the sequence of the buffer that the publication will be in */
    uint64_t sequence;    /* which publication; for a rank that is not watched, one never seen */
};
KOFN_STATIC_ASSERT(sizeof(struct kofn_expected) * 4 == KOFN_CACHE_LINE, "four ranks a line");

struct kofn_inbox {
    struct kofn_expected *expected; /* one a rank, line-aligned */
    struct kofn_geometry geometry;
    const char *slots; /* as in struct kofn_hub */
    size_t slot_stride;
    uint32_t workers;
    uint32_t next;  /* the rank the next scan starts from */
    bool once;      /* of what kofn_inbox_expect() names, and nothing behind it */
    uint64_t never; /* looked at for a rank that is not watched: always 0 */
};

/* Nothing is watched at first. @inbox must stay where it is. Returns KOFN_NO_MEMORY. */
int kofn_inbox_init(struct kofn_inbox *inbox, uint32_t workers,
                    const struct kofn_geometry *geometry, const char *slots, size_t slot_stride);
void kofn_inbox_fini(struct kofn_inbox *inbox);

/* Publications of @rank are expected from here on, from sequence 1; or no longer. */
void kofn_inbox_watch(struct kofn_inbox *inbox, uint32_t rank);
void kofn_inbox_unwatch(struct kofn_inbox *inbox, uint32_t rank);

/* Publication @sequence of @rank is expected; where the inbox is `once`, that one alone. */
void kofn_inbox_expect(struct kofn_inbox *inbox, uint32_t rank, uint64_t sequence);

/* Is anything expected of @rank? */
static inline bool kofn_inbox_expects(const struct kofn_inbox *inbox, uint32_t rank)
{
    return inbox->expected[rank].word != &inbox->never;
}

/* Takes the publications that are complete, at most @max: those of one rank in order and no more
 * than a slot holds, and beginning behind the rank that was taken last, so that none is favoured.
 * Returns how many.
 */
int kofn_inbox_take(struct kofn_inbox *inbox, struct kofn_arrival *arrivals, int max);

/* True if kofn_inbox_take() would find something: it then begins with what was found here. */
bool kofn_inbox_any(struct kofn_inbox *inbox);

#endif
