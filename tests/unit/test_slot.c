/* Slots: what can be read is one whole publication, whenever and however its writer was stopped. */
#include <CUnit/CUnit.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/racy.h"
#include "base/random.h"
#include "proto/slot.h"
#include "proto/word.h"

#define BYTES 200

static void *new_slot(const struct kofn_geometry *geometry)
{
    void *slot = aligned_alloc(KOFN_PAGE, geometry->slot_bytes);

    CU_ASSERT_PTR_NOT_NULL_FATAL(slot);
    return memset(slot, 0, geometry->slot_bytes);
}

static struct kofn_stamp stamp_of(uint64_t sequence)
{
    return (struct kofn_stamp){.epoch = 3,
                               .round = (uint32_t)sequence * 0x01010101u,
                               .updates = ~(uint32_t)sequence,
                               .compute_ns = sequence * UINT64_C(0x0101010101010101),
                               .post_ns = (uint32_t)sequence * 7,
                               .length = BYTES,
                               .sequence = sequence};
}

static unsigned char payload_byte(uint64_t sequence, size_t i)
{
    return (unsigned char)(sequence * 31 + i * 7 + 1);
}

/* Writes a publication the way its writer does. */
static void publish(const struct kofn_geometry *geometry, void *slot, uint64_t sequence)
{
    unsigned char *payload = kofn_slot_withdraw(geometry, slot, sequence);
    struct kofn_stamp stamp = stamp_of(sequence);

    for (size_t i = 0; i < geometry->payload_bytes; i++)
        payload[i] = payload_byte(sequence, i);
    kofn_slot_publish(geometry, slot, &stamp);
}

static bool payload_whole(const unsigned char *payload, uint64_t bytes, uint64_t sequence)
{
    for (size_t i = 0; i < bytes; i++)
        if (payload[i] != payload_byte(sequence, i))
            return false;
    return true;
}

/* A slot holds D buffers, each a payload up to a line, then its stamp; whole pages; nothing
 * overlaps, and what cannot be a slot is refused with the output untouched.
 */
static void test_geometry(void)
{
    static const uint64_t sizes[] = {1, 63, 64, 65, 4096, 1000003, KOFN_PAYLOAD_MAX};
    struct kofn_geometry geometry = {.payload_bytes = 99};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++)
        for (uint32_t depth = 2; depth <= KOFN_DEPTH_MAX; depth++) {
            CU_ASSERT_EQUAL(kofn_geometry_init(&geometry, sizes[i], depth), 0);
            CU_ASSERT_EQUAL(geometry.stamp_offset % KOFN_CACHE_LINE, 0);
            CU_ASSERT(geometry.stamp_offset >= sizes[i]);
            CU_ASSERT(geometry.stamp_offset < sizes[i] + KOFN_CACHE_LINE);
            CU_ASSERT_EQUAL(geometry.buffer_bytes,
                            geometry.stamp_offset + sizeof(struct kofn_stamp));
            CU_ASSERT_EQUAL(geometry.slot_bytes % KOFN_PAGE, 0);
            CU_ASSERT(geometry.slot_bytes >= depth * geometry.buffer_bytes);
            for (uint64_t s = 1; s < 20; s++)
                CU_ASSERT_EQUAL(kofn_buffer_offset(&geometry, s),
                                s % depth * geometry.buffer_bytes);
        }
    geometry.payload_bytes = 99;
    CU_ASSERT_EQUAL(kofn_geometry_init(&geometry, 0, 2), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_geometry_init(&geometry, KOFN_PAYLOAD_MAX + 1, 2), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_geometry_init(&geometry, UINT64_MAX, 2), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_geometry_init(&geometry, 64, 1), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_geometry_init(&geometry, 64, KOFN_DEPTH_MAX + 1), KOFN_INVALID);
    CU_ASSERT_EQUAL(geometry.payload_bytes, 99);
}

/* What was published is read: payload, stamp, and nothing before the first or after the newest. */
static void test_published_is_read(void)
{
    struct kofn_geometry geometry;

    for (uint32_t depth = 2; depth <= KOFN_DEPTH_MAX; depth++) {
        void *slot;

        kofn_geometry_init(&geometry, BYTES, depth);
        slot = new_slot(&geometry);
        for (uint64_t s = 1; s <= 30; s++) {
            struct kofn_stamp stamp, wanted;
            const void *payload;

            CU_ASSERT_EQUAL(kofn_slot_begin(&geometry, slot, s, &payload, &stamp), KOFN_AGAIN);
            publish(&geometry, slot, s);
            for (uint64_t t = s >= depth ? s - depth + 1 : 1; t <= s; t++) {
                wanted = stamp_of(t);
                CU_ASSERT_EQUAL_FATAL(kofn_slot_begin(&geometry, slot, t, &payload, &stamp), 0);
                CU_ASSERT_EQUAL(memcmp(&stamp, &wanted, sizeof(stamp)), 0);
                CU_ASSERT(payload_whole(payload, BYTES, t));
                CU_ASSERT_EQUAL(kofn_slot_end(&geometry, slot, t), 0);
            }
            if (s > depth)
                CU_ASSERT_EQUAL(kofn_slot_begin(&geometry, slot, s - depth, &payload, &stamp),
                                KOFN_AGAIN);
        }
        free(slot);
    }
}

/* A publication of which any number of bytes has arrived, in order, over one that was there before,
 * as a one-sided write leaves it when its writer dies: if it can be read at all, it is all there.
 */
static void cut_everywhere(uint64_t sequence)
{
    struct kofn_geometry geometry;
    struct kofn_stamp stamp, wanted = stamp_of(sequence);
    const void *payload;
    unsigned char *whole, *slot;
    size_t begin, end;
    uint32_t read = 0;

    kofn_geometry_init(&geometry, BYTES, 2);
    whole = new_slot(&geometry);
    slot = new_slot(&geometry);
    publish(&geometry, whole, sequence);
    if (sequence > 2)
        publish(&geometry, slot, sequence - 2);
    begin = kofn_buffer_offset(&geometry, sequence);
    end = begin + geometry.buffer_bytes;
    for (size_t cut = begin; cut <= end; cut++) {
        if (cut > begin)
            slot[cut - 1] = whole[cut - 1];
        if (kofn_slot_begin(&geometry, slot, sequence, &payload, &stamp))
            continue;
        read++;
        CU_ASSERT(payload_whole(payload, BYTES, sequence));
        CU_ASSERT_EQUAL(memcmp(&stamp, &wanted, sizeof(stamp)), 0);
        CU_ASSERT_EQUAL(kofn_slot_end(&geometry, slot, sequence), 0);
    }
    CU_ASSERT(read >= 1 && read <= 8); /* at the latest with its last byte */
    free(whole);
    free(slot);
}

static void test_torn_publication_is_never_read(void)
{
    static const uint64_t sequences[] = {1,
                                         2,
                                         3,
                                         4,
                                         100,
                                         255,
                                         256,
                                         257,
                                         258,
                                         511,
                                         65535,
                                         65537,
                                         UINT32_MAX,
                                         UINT64_C(1) << 32,
                                         (UINT64_C(1) << 32) + 1,
                                         UINT64_C(1) << 56};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sequences); i++)
        cut_everywhere(sequences[i]);
}

/* Whoever reads while the buffer is withdrawn and written again, is told so at the end. */
static void test_overwritten_while_read(void)
{
    struct kofn_geometry geometry;
    struct kofn_stamp stamp;
    const void *payload;
    void *slot;

    kofn_geometry_init(&geometry, BYTES, 2);
    slot = new_slot(&geometry);
    publish(&geometry, slot, 1);
    CU_ASSERT_EQUAL(kofn_slot_begin(&geometry, slot, 1, &payload, &stamp), 0);
    CU_ASSERT_PTR_EQUAL(kofn_slot_withdraw(&geometry, slot, 3), payload);
    CU_ASSERT_EQUAL(kofn_slot_end(&geometry, slot, 1), KOFN_TORN);
    CU_ASSERT_EQUAL(kofn_slot_begin(&geometry, slot, 1, &payload, &stamp), KOFN_AGAIN);
    publish(&geometry, slot, 3);
    CU_ASSERT_EQUAL(kofn_slot_end(&geometry, slot, 1), KOFN_TORN);
    CU_ASSERT_EQUAL(kofn_slot_end(&geometry, slot, 3), 0);
    publish(&geometry, slot, 2); /* the other buffer */
    CU_ASSERT_EQUAL(kofn_slot_end(&geometry, slot, 3), 0);
    free(slot);
}

/* ---- a writer and a reader at once ---- */

#define LAPS 20000

struct shared {
    struct kofn_geometry geometry;
    void *slot;
    uint64_t newest; /* published so far; UINT64_MAX = the reader has seen enough */
};

static void *write_on(void *arg)
{
    struct shared *shared = arg;

    for (uint64_t s = 1;; s++) {
        uint64_t before = s - 1;

        publish(&shared->geometry, shared->slot, s);
        if (!__atomic_compare_exchange_n(&shared->newest, &before, s, false, __ATOMIC_RELEASE,
                                         __ATOMIC_RELAXED))
            return NULL;
    }
}

/* With a writer that heeds no credit, whatever passes both looks at the stamp is one publication.
 */
static void test_reader_beside_a_writer(void)
{
    struct shared shared;
    uint32_t whole = 0, mixed = 0;
    unsigned char copy[BYTES];
    pthread_t thread;

    kofn_geometry_init(&shared.geometry, BYTES, 2);
    shared.slot = new_slot(&shared.geometry);
    shared.newest = 0;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, write_on, &shared), 0);
    for (uint32_t lap = 0; lap < LAPS || whole < 100; lap++) {
        uint64_t s = __atomic_load_n(&shared.newest, __ATOMIC_ACQUIRE);
        struct kofn_stamp stamp, wanted = stamp_of(s);
        const void *payload;

        if (kofn_slot_begin(&shared.geometry, shared.slot, s, &payload, &stamp))
            continue;
        kofn_racy_copy(copy, payload, sizeof(copy));
        if (kofn_slot_end(&shared.geometry, shared.slot, s) || !s)
            continue;
        whole++;
        mixed += !payload_whole(copy, sizeof(copy), s) || memcmp(&stamp, &wanted, sizeof(stamp));
    }
    __atomic_store_n(&shared.newest, UINT64_MAX, __ATOMIC_RELAXED);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(mixed, 0);
    free(shared.slot);
}

/* ---- credits, stamps, receipts ---- */

/* A publication may be written when the one whose buffer it takes has been released, and exactly
 * then, although of the released sequence only 8 bits are known.
 */
static void test_credits_wrap_around(void)
{
    struct kofn_geometry geometry;

    for (uint32_t depth = 2; depth <= KOFN_DEPTH_MAX; depth++) {
        kofn_geometry_init(&geometry, BYTES, depth);
        for (uint64_t sequence = 1; sequence < 1200; sequence++)
            for (uint64_t released = sequence > 100 ? sequence - 100 : 0; released < sequence;
                 released++)
                CU_ASSERT_EQUAL(
                    kofn_credit_granted(&geometry, sequence, (uint32_t)(released % 256)),
                    sequence <= released + depth);
    }
    kofn_geometry_init(&geometry, BYTES, 2);
    for (uint64_t sequence = UINT32_MAX - 5; sequence < UINT32_MAX + UINT64_C(10); sequence++)
        for (uint64_t back = 1; back < 20; back++)
            CU_ASSERT_EQUAL(
                kofn_credit_granted(&geometry, sequence, (uint32_t)((sequence - back) % 256)),
                back <= 2);
}

/* A stamp passes at its bounds and not beyond any of them; who is refused learns why. */
static void test_stamp_bounds(void)
{
    static const struct kofn_stamp good = {
        .epoch = 4, .round = 20, .version = 20, .updates = 1, .total = 1, .length = BYTES};
    struct kofn_geometry geometry;
    struct kofn_stamp stamp;
    const char *why = NULL;

    kofn_geometry_init(&geometry, BYTES, 2);
#define PASSES(...) (stamp = good, __VA_ARGS__, kofn_stamp_valid(&stamp, &geometry, 4, 20, &why))
#define FAILS(...) (why = NULL, !PASSES(__VA_ARGS__) && why && *why)
    CU_ASSERT(PASSES(stamp.epoch = 4));
    CU_ASSERT(FAILS(stamp.epoch = 3));
    CU_ASSERT(FAILS(stamp.epoch = 5));
    CU_ASSERT(FAILS(stamp.length = BYTES - 1));
    CU_ASSERT(FAILS(stamp.length = BYTES + 1));
    CU_ASSERT(FAILS(stamp.length = UINT64_MAX));
    CU_ASSERT(FAILS(stamp.round = stamp.version = 0));
    CU_ASSERT(PASSES(stamp.round = stamp.version = 1));
    CU_ASSERT(FAILS(stamp.round = stamp.version = 21));
    CU_ASSERT(FAILS(stamp.round = UINT32_MAX));
    CU_ASSERT(FAILS(stamp.version = 0));
    CU_ASSERT(FAILS(stamp.version = 21));
    CU_ASSERT(PASSES(stamp.version = 20 - KOFN_DEPTH_MAX));
    CU_ASSERT(FAILS(stamp.version = 20 - KOFN_DEPTH_MAX - 1));
    CU_ASSERT(FAILS(stamp.updates = 0));
    CU_ASSERT(FAILS(stamp.from = 1));
    CU_ASSERT(FAILS(stamp.from = UINT32_MAX));
    CU_ASSERT(PASSES(stamp.from = 1, stamp.updates = 2, stamp.total = 2));
    CU_ASSERT(FAILS(stamp.from = 2, stamp.updates = 2, stamp.total = 2));
    CU_ASSERT(FAILS(stamp.updates = 2, stamp.total = 1));
    CU_ASSERT(PASSES(stamp.updates = KOFN_BEAT_MAX_UPDATES, stamp.total = UINT32_MAX));
    CU_ASSERT(FAILS(stamp.updates = KOFN_BEAT_MAX_UPDATES + 1, stamp.total = UINT32_MAX));
#undef PASSES
#undef FAILS
}

/* A receipt can be read until the eighth after it, or, of what came late, the fourth; cut off
 * anywhere it is not one.
 */
static void check_receipts(bool late, uint64_t places)
{
    struct kofn_block *block = aligned_alloc(KOFN_CACHE_LINE, sizeof(*block));
    struct kofn_receipt_line line = {.outcome = KOFN_OUTCOME_LATE, .weight = 0.25f}, got;

    CU_ASSERT_PTR_NOT_NULL_FATAL(block);
    memset(block, 0, sizeof(*block));
    CU_ASSERT_EQUAL(kofn_block_get_receipt(block, 1, &got), KOFN_AGAIN);
    for (line.sequence = 1; line.sequence <= 30; line.sequence++) {
        line.made_in = (uint32_t)line.sequence * 3;
        line.staleness = late ? ~line.made_in : 0;
        kofn_block_put_receipt(block, &line);
        CU_ASSERT_EQUAL(kofn_block_get_receipt(block, line.sequence, &got), 0);
        CU_ASSERT_EQUAL(memcmp(&got, &line, sizeof(got)), 0);
        CU_ASSERT_EQUAL(kofn_block_get_receipt(block, line.sequence + 1, &got), KOFN_AGAIN);
        for (uint64_t s = 1; s <= line.sequence; s++)
            CU_ASSERT_EQUAL(kofn_block_get_receipt(block, s, &got),
                            s + places > line.sequence ? 0 : KOFN_AGAIN);
    }
    CU_ASSERT_EQUAL(block->gate, 0);
    line.sequence = 38;
    for (size_t cut = 0; cut < sizeof(line); cut++) {
        memcpy((char *)block + kofn_receipt_offset(38, late), &line, cut);
        if (!kofn_block_get_receipt(block, 38, &got))
            CU_ASSERT_EQUAL(memcmp(&got, &line, sizeof(got)), 0);
    }
    free(block);
}

static void test_receipts(void)
{
    check_receipts(false, KOFN_RECEIPTS);
    check_receipts(true, KOFN_LATE_RECEIPTS);
}

/* Receipts of late publications are found in their order, and those of others are not overwritten
 * by them.
 */
static void test_late_receipts(void)
{
    struct kofn_block *block = aligned_alloc(KOFN_CACHE_LINE, sizeof(*block));
    struct kofn_receipt_line line = {.sequence = 9}, got;

    CU_ASSERT_PTR_NOT_NULL_FATAL(block);
    memset(block, 0, sizeof(*block));
    kofn_block_put_receipt(block, &line);
    CU_ASSERT_EQUAL(kofn_block_next_late(block, 0, &got), KOFN_AGAIN);
    line.staleness = 1;
    for (line.sequence = 1; line.sequence < 4; line.sequence += 2)
        kofn_block_put_receipt(block, &line);
    CU_ASSERT_EQUAL(kofn_block_next_late(block, 0, &got), 0);
    CU_ASSERT_EQUAL(got.sequence, 1);
    CU_ASSERT_EQUAL(kofn_block_next_late(block, 1, &got), 0);
    CU_ASSERT_EQUAL(got.sequence, 3);
    CU_ASSERT_EQUAL(kofn_block_next_late(block, 3, &got), KOFN_AGAIN);
    CU_ASSERT_EQUAL(kofn_block_get_receipt(block, 9, &got), 0);
    CU_ASSERT_EQUAL(got.staleness, 0);
    free(block);
}

void kofn_suite_slot(void);
void kofn_suite_slot(void)
{
    CU_pSuite suite = CU_add_suite("slot", NULL, NULL);

    CU_add_test(suite, "geometry", test_geometry);
    CU_add_test(suite, "published is read", test_published_is_read);
    CU_add_test(suite, "torn publication is never read", test_torn_publication_is_never_read);
    CU_add_test(suite, "overwritten while read", test_overwritten_while_read);
    CU_add_test(suite, "reader beside a writer", test_reader_beside_a_writer);
    CU_add_test(suite, "credits wrap around", test_credits_wrap_around);
    CU_add_test(suite, "stamp bounds", test_stamp_bounds);
    CU_add_test(suite, "receipts", test_receipts);
    CU_add_test(suite, "late receipts", test_late_receipts);
}
