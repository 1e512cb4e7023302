/* The scan of beats: every change once, in order, whatever the stride and the room; and the inbox,
 * which looks at stamps the same way.
 */
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "proto/beats.h"
#include "proto/inbox.h"

static void *zeroed(size_t bytes)
{
    void *memory = aligned_alloc(KOFN_CACHE_LINE, kofn_round_up(bytes, KOFN_CACHE_LINE));

    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    return memset(memory, 0, bytes);
}

static uint64_t *word_at(char *beats, size_t stride, uint32_t i)
{
    return (uint64_t *)(void *)(beats + i * stride);
}

/* Random words change at random times; what a scan reports is exactly what differs from what it
 * reported before, ascending, up to the room there is, and the rest the next time.
 */
static void scan_history(size_t stride, uint32_t n, uint64_t seed)
{
    char *beats = zeroed(n * stride);
    uint64_t *seen = zeroed(n * sizeof(*seen)), *model = zeroed(n * sizeof(*model));
    uint32_t *changed = zeroed(n * sizeof(*changed) + sizeof(*changed));
    struct kofn_random random;

    kofn_random_seed(&random, seed, stride);
    for (int step = 0; step < 60; step++) {
        uint32_t changes = (uint32_t)kofn_random_below(&random, step % 3 ? 4 : n + 1);
        uint32_t max = (uint32_t)kofn_random_below(&random, n + 1), found, wanted = 0;

        while (changes--)
            *word_at(beats, stride, (uint32_t)kofn_random_below(&random, n)) =
                kofn_random_below(&random, 3) << 56 | 1;
        found = kofn_beats_scan(beats, stride, seen, n, changed, max);
        for (uint32_t i = 0; i < n && wanted < max; i++)
            if (*word_at(beats, stride, i) != model[i]) {
                CU_ASSERT_FATAL(wanted < found);
                CU_ASSERT_EQUAL(changed[wanted], i);
                model[i] = *word_at(beats, stride, i);
                wanted++;
            }
        CU_ASSERT_EQUAL(found, wanted);
        CU_ASSERT_EQUAL(memcmp(model, seen, n * sizeof(*seen)), 0);
    }
    free(beats);
    free(seen);
    free(model);
    free(changed);
}

static void test_scan_reports_every_change_once(void)
{
    static const uint32_t counts[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 64, 100, 257};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(counts); i++) {
        scan_history(8, counts[i], 1);
        scan_history(64, counts[i], 2);
        scan_history(4096 + 128, counts[i], 3);
    }
}

/* A dense array need not begin on a line, and nothing around it is looked at. */
static void test_scan_stays_inside(void)
{
    for (uint32_t n = 1; n < 40; n++)
        for (uint32_t shift = 0; shift < 8; shift++) {
            uint64_t *block = malloc((shift + n) * sizeof(*block)),
                     *seen = calloc(n, sizeof(*seen));
            uint32_t changed[40];

            CU_ASSERT_FATAL(block && seen);
            memset(block, 0xff, shift * sizeof(*block));
            memset(block + shift, 0, n * sizeof(*block));
            CU_ASSERT_EQUAL(kofn_beats_scan((const char *)(block + shift), 8, seen, n, changed, 40),
                            0);
            block[shift + n - 1] = 1;
            CU_ASSERT_EQUAL(kofn_beats_scan((const char *)(block + shift), 8, seen, n, changed, 40),
                            1);
            CU_ASSERT_EQUAL(changed[0], n - 1);
            free(block);
            free(seen);
        }
}

/* ---- the inbox ---- */

#define WORKERS 37

/* Writes the stamp of a publication; the payload does not matter here. */
static void publish(const struct kofn_geometry *geometry, char *slots, uint32_t rank,
                    uint64_t sequence)
{
    struct kofn_stamp stamp = {.sequence = sequence};

    kofn_slot_publish(geometry, slots + rank * geometry->slot_bytes, &stamp);
}

/* Takes what there is and asserts that each is the next of its rank. */
static int take(struct kofn_inbox *inbox, uint64_t *taken, int max)
{
    struct kofn_arrival arrivals[WORKERS * KOFN_DEPTH_MAX];
    int count = kofn_inbox_take(inbox, arrivals, max);

    CU_ASSERT_FATAL(count >= 0 && count <= max);
    for (int i = 0; i < count; i++) {
        CU_ASSERT_FATAL(arrivals[i].rank < WORKERS);
        CU_ASSERT_EQUAL(arrivals[i].sequence, ++taken[arrivals[i].rank]);
    }
    return count;
}

/* Publications at random, taken at random times with random room, come out once each and in order;
 * ranks that are not watched do not, and those that are watched again begin anew.
 */
static void inbox_history(uint32_t depth, uint64_t seed)
{
    struct kofn_inbox inbox;
    struct kofn_geometry geometry;
    struct kofn_random random;
    uint64_t sent[WORKERS] = {0}, taken[WORKERS] = {0};
    bool watched[WORKERS] = {false};
    char *slots;

    kofn_geometry_init(&geometry, 8, depth);
    slots = zeroed(WORKERS * geometry.slot_bytes);
    CU_ASSERT_EQUAL_FATAL(kofn_inbox_init(&inbox, WORKERS, &geometry, slots, geometry.slot_bytes),
                          0);
    CU_ASSERT(!kofn_inbox_any(&inbox));
    kofn_random_seed(&random, seed, depth);
    for (int step = 0; step < 5000; step++) {
        uint32_t rank = (uint32_t)kofn_random_below(&random, WORKERS);

        if (!watched[rank] || kofn_random_below(&random, 100) == 0) {
            watched[rank] = !watched[rank];
            memset(slots + rank * geometry.slot_bytes, 0, geometry.slot_bytes);
            sent[rank] = taken[rank] = 0;
            (watched[rank] ? kofn_inbox_watch : kofn_inbox_unwatch)(&inbox, rank);
        } else if (sent[rank] < taken[rank] + depth) {
            publish(&geometry, slots, rank, ++sent[rank]);
            CU_ASSERT(kofn_inbox_any(&inbox));
        }
        if (step % 5 == 0)
            take(&inbox, taken, (int)kofn_random_below(&random, WORKERS));
    }
    take(&inbox, taken, WORKERS * KOFN_DEPTH_MAX);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        CU_ASSERT(!watched[rank] || taken[rank] == sent[rank]);
    CU_ASSERT(!kofn_inbox_any(&inbox));
    kofn_inbox_fini(&inbox);
    free(slots);
}

static void test_inbox_takes_each_once_and_in_order(void)
{
    for (uint32_t depth = 2; depth <= KOFN_DEPTH_MAX; depth++)
        inbox_history(depth, depth);
}

/* Where every rank always has something, all get their turn, however little is taken at a time and
 * however often somebody looks in between.
 */
static void test_inbox_favours_nobody(void)
{
    struct kofn_inbox inbox;
    struct kofn_geometry geometry;
    uint64_t sent[WORKERS] = {0}, taken[WORKERS] = {0};
    char *slots;

    kofn_geometry_init(&geometry, 8, 2);
    slots = zeroed(WORKERS * geometry.slot_bytes);
    CU_ASSERT_EQUAL_FATAL(kofn_inbox_init(&inbox, WORKERS, &geometry, slots, geometry.slot_bytes),
                          0);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        kofn_inbox_watch(&inbox, rank);
    for (int step = 0; step < 10 * WORKERS; step++) {
        for (uint32_t rank = 0; rank < WORKERS; rank++)
            if (sent[rank] == taken[rank])
                publish(&geometry, slots, rank, ++sent[rank]);
        for (int looks = step % 3; looks > 0; looks--)
            CU_ASSERT(kofn_inbox_any(&inbox));
        CU_ASSERT_EQUAL(take(&inbox, taken, 1), 1);
    }
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        CU_ASSERT_EQUAL(taken[rank], 10);
    kofn_inbox_fini(&inbox);
    free(slots);
}

/* Words that no rule allows, from a worker that is broken or worse, are nothing: not a sequence
 * ahead, not an old one, not noise.
 */
static void test_inbox_ignores_nonsense(void)
{
    static const uint64_t nonsense[] = {2, 3, 5, UINT64_MAX, UINT64_C(1) << 63};
    struct kofn_inbox inbox;
    struct kofn_geometry geometry;
    struct kofn_arrival arrivals[4];
    char *slots;

    kofn_geometry_init(&geometry, 8, 2);
    slots = zeroed(WORKERS * geometry.slot_bytes);
    CU_ASSERT_EQUAL_FATAL(kofn_inbox_init(&inbox, WORKERS, &geometry, slots, geometry.slot_bytes),
                          0);
    kofn_inbox_watch(&inbox, 4);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(nonsense); i++) {
        kofn_slot_stamp(&geometry, slots + 4 * geometry.slot_bytes, 0)->sequence = nonsense[i];
        kofn_slot_stamp(&geometry, slots + 4 * geometry.slot_bytes, 1)->sequence = nonsense[i];
        CU_ASSERT(!kofn_inbox_any(&inbox));
        CU_ASSERT_EQUAL(kofn_inbox_take(&inbox, arrivals, 4), 0);
    }
    publish(&geometry, slots, 4, 1);
    CU_ASSERT_EQUAL(kofn_inbox_take(&inbox, arrivals, 4), 1);
    kofn_inbox_fini(&inbox);
    free(slots);
}

void kofn_suite_beats(void);
void kofn_suite_beats(void)
{
    CU_pSuite suite = CU_add_suite("beats", NULL, NULL);

    CU_add_test(suite, "scan reports every change once", test_scan_reports_every_change_once);
    CU_add_test(suite, "scan stays inside", test_scan_stays_inside);
    CU_add_test(suite, "inbox takes each once and in order",
                test_inbox_takes_each_once_and_in_order);
    CU_add_test(suite, "inbox favours nobody", test_inbox_favours_nobody);
    CU_add_test(suite, "inbox ignores nonsense", test_inbox_ignores_nonsense);
}
