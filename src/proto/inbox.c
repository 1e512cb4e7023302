#include "proto/inbox.h"

#include <stdlib.h>

#include "base/barrier.h"

#define NEVER UINT64_MAX /* no sequence: the word that is looked at is always 0 */

void kofn_inbox_expect(struct kofn_inbox *inbox, uint32_t rank, uint64_t sequence)
{
    const char *slot = inbox->slots + (size_t)rank * inbox->slot_stride;
    const char *stamp =
        slot + kofn_buffer_offset(&inbox->geometry, sequence) + inbox->geometry.stamp_offset;

    inbox->expected[rank].word =
        (const uint64_t *)(const void *)(stamp + offsetof(struct kofn_stamp, sequence));
    inbox->expected[rank].sequence = sequence;
}

int kofn_inbox_init(struct kofn_inbox *inbox, uint32_t workers,
                    const struct kofn_geometry *geometry, const char *slots, size_t slot_stride)
{
    size_t bytes = kofn_round_up(workers * sizeof(*inbox->expected), KOFN_CACHE_LINE);

    inbox->expected = aligned_alloc(KOFN_CACHE_LINE, bytes);
    if (!inbox->expected)
        return KOFN_NO_MEMORY;
    inbox->geometry = *geometry;
    inbox->slots = slots;
    inbox->slot_stride = slot_stride;
    inbox->workers = workers;
    inbox->next = 0;
    inbox->never = 0;
    inbox->once = false;
    for (uint32_t rank = 0; rank < workers; rank++)
        kofn_inbox_unwatch(inbox, rank);
    return 0;
}

void kofn_inbox_fini(struct kofn_inbox *inbox)
{
    free(inbox->expected);
}

void kofn_inbox_watch(struct kofn_inbox *inbox, uint32_t rank)
{
    kofn_inbox_expect(inbox, rank, 1);
}

void kofn_inbox_unwatch(struct kofn_inbox *inbox, uint32_t rank)
{
    inbox->expected[rank] = (struct kofn_expected){.word = &inbox->never, .sequence = NEVER};
}

static inline bool complete(const struct kofn_expected *expected)
{
    return KOFN_UNLIKELY(kofn_peer_load64(expected->word) == expected->sequence);
}

/* What has arrived is read next: its first line may as well be on its way before its stamp is
 * judged.
 */
static inline void fetch_payload(const struct kofn_inbox *inbox, uint32_t rank)
{
    const char *stamp =
        (const char *)inbox->expected[rank].word - offsetof(struct kofn_stamp, sequence);

    __builtin_prefetch(stamp - inbox->geometry.stamp_offset);
}

/* Takes what @rank has, which is one publication at least, and at most a slot full: a worker that
 * writes without end does not hold us.
 */
static inline int take_rank(struct kofn_inbox *inbox, uint32_t rank, struct kofn_arrival *arrivals,
                            int max)
{
    uint64_t sequence = inbox->expected[rank].sequence;
    uint32_t left = inbox->geometry.depth;
    int count = 0;

    do {
        arrivals[count].rank = rank;
        arrivals[count++].sequence = sequence++;
        if (inbox->once)
            kofn_inbox_unwatch(inbox, rank);
        else
            kofn_inbox_expect(inbox, rank, sequence);
    } while (count < max && --left > 0 && complete(&inbox->expected[rank]));
    inbox->next = rank + 1 < inbox->workers ? rank + 1 : 0;
    return count;
}

/* The ranks @from to @to - 1. */
static inline int take_range(struct kofn_inbox *inbox, uint32_t from, uint32_t to,
                             struct kofn_arrival *arrivals, int max)
{
    int count = 0;

    for (uint32_t rank = from; rank < to && count < max; rank++)
        if (complete(&inbox->expected[rank])) {
            fetch_payload(inbox, rank);
            count += take_rank(inbox, rank, arrivals + count, max - count);
        }
    return count;
}

int kofn_inbox_take(struct kofn_inbox *inbox, struct kofn_arrival *arrivals, int max)
{
    uint32_t start = inbox->next;
    int count = take_range(inbox, start, inbox->workers, arrivals, max);

    if (start > 0)
        count += take_range(inbox, 0, start, arrivals + count, max - count);
    return count;
}

/* Goes to the first of the ranks @from to @to - 1 that has something. */
static inline bool seek(struct kofn_inbox *inbox, uint32_t from, uint32_t to)
{
    for (uint32_t rank = from; rank < to; rank++)
        if (complete(&inbox->expected[rank])) {
            fetch_payload(inbox, rank);
            inbox->next = rank;
            return true;
        }
    return false;
}

bool kofn_inbox_any(struct kofn_inbox *inbox)
{
    uint32_t start = inbox->next;

    return seek(inbox, start, inbox->workers) || (start > 0 && seek(inbox, 0, start));
}
