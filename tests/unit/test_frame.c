/* Frames on a stream of bytes: what was sent comes out again, however it was cut into pieces, and
 * nothing is taken that the rules of the connection do not allow.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "transports/uring/frame.h"

#define PAYLOAD 1000u
#define EPOCH 7u

/* What a reader has made of a stream. */
struct taken {
    unsigned char payload[PAYLOAD];
    uint64_t filled, words, stamps, last_word;
    struct kofn_stamp stamp;
    const char *refuse; /* what complete() is to say */
};

static const char *begin(void *arg, const struct kofn__frame *frame, void **target)
{
    struct taken *taken = arg;

    *target = taken->payload + frame->offset;
    return NULL;
}

static const char *complete(void *arg, const struct kofn__frame *frame, const void *body)
{
    struct taken *taken = arg;

    if (frame->type == FRAME_WRITE)
        taken->filled += frame->length;
    if (frame->type == FRAME_STAMP) {
        taken->stamps++;
        memcpy(&taken->stamp, body, sizeof(taken->stamp));
    }
    if (frame->type == FRAME_WORD) {
        taken->words++;
        taken->last_word = frame->value;
    }
    return taken->refuse;
}

static const struct kofn__frame_sink sink = {begin, complete};
static const struct kofn__frame_rules rules = {
    .server = true, .payload = true, .epoch = EPOCH, .payload_bytes = PAYLOAD};

static size_t put(unsigned char *stream, const struct kofn__frame *frame, const void *body)
{
    memcpy(stream, frame, sizeof(*frame));
    memcpy(stream + sizeof(*frame), body, frame->length);
    return sizeof(*frame) + frame->length;
}

static struct kofn_stamp stamp_of(uint64_t sequence)
{
    return (struct kofn_stamp){.epoch = EPOCH, .length = PAYLOAD, .sequence = sequence};
}

/* A publication in two parts, beats before, between and behind them. Returns its bytes. */
static size_t publication(unsigned char *stream, unsigned char payload[PAYLOAD])
{
    struct kofn_stamp stamp = stamp_of(1);
    struct kofn__frame frame;
    size_t length = 0;

    for (size_t i = 0; i < PAYLOAD; i++)
        payload[i] = (unsigned char)(i * 7 + i / 256);
    for (uint64_t part = 0; part < 2; part++) {
        frame = kofn__frame_word(REGION_BEAT, EPOCH, 100 + part, 0);
        length += put(stream + length, &frame, "");
        frame = kofn__frame_write(REGION_SLOT, EPOCH, 1, part * 600, part ? PAYLOAD - 600 : 600);
        length += put(stream + length, &frame, payload + part * 600);
    }
    frame = kofn__frame_stamp(REGION_SLOT, EPOCH, 1);
    length += put(stream + length, &frame, &stamp);
    frame = kofn__frame_word(REGION_BEAT, EPOCH, 102, 0);
    return length + put(stream + length, &frame, "");
}

/* Gives the stream in pieces of random lengths, some of them straight into the payload. */
static void feed_pieces(struct kofn__reader *reader, struct taken *taken,
                        const unsigned char *stream, size_t length, struct kofn_random *random)
{
    while (length) {
        size_t drawn = 1 + kofn_random_below(random, 200), piece = KOFN_MIN(length, drawn);
        uint64_t room;
        void *target = kofn__reader_room(reader, &room);

        if (target && kofn_random_below(random, 2)) {
            piece = KOFN_MIN(piece, room);
            memcpy(target, stream, piece);
            CU_ASSERT_PTR_NULL(kofn__reader_filled(reader, piece, &sink, taken));
        } else {
            CU_ASSERT_PTR_NULL(kofn__reader_feed(reader, stream, piece, &sink, taken));
        }
        stream += piece;
        length -= piece;
    }
}

/* The same comes out however the stream was cut into pieces. */
static void test_pieces_do_not_matter(void)
{
    unsigned char stream[2 * PAYLOAD], payload[PAYLOAD];
    size_t length = publication(stream, payload);
    struct kofn_random random;

    kofn_random_seed(&random, 3, 0);
    for (int i = 0; i < 2000; i++) {
        struct kofn_stamp stamp = stamp_of(1);
        struct kofn__reader reader;
        struct taken taken = {0};

        kofn__reader_init(&reader, &rules);
        feed_pieces(&reader, &taken, stream, length, &random);
        CU_ASSERT_EQUAL(taken.filled, PAYLOAD);
        CU_ASSERT_EQUAL(taken.words, 3);
        CU_ASSERT_EQUAL(taken.last_word, 102);
        CU_ASSERT_EQUAL(taken.stamps, 1);
        CU_ASSERT(!memcmp(&taken.stamp, &stamp, sizeof(stamp)));
        CU_ASSERT(!memcmp(taken.payload, payload, PAYLOAD));
    }
}

/* A stream that ends anywhere has given everything before its last frame, and nothing of that one.
 */
static void test_a_cut_frame_is_not_complete(void)
{
    unsigned char stream[2 * PAYLOAD], payload[PAYLOAD];
    size_t length = publication(stream, payload);

    for (size_t cut = 0; cut < length; cut++) {
        struct kofn__reader reader;
        struct taken taken = {0};

        kofn__reader_init(&reader, &rules);
        CU_ASSERT_PTR_NULL(kofn__reader_feed(&reader, stream, cut, &sink, &taken));
        CU_ASSERT(taken.words < 3);
        CU_ASSERT_EQUAL(taken.stamps, cut >= length - sizeof(struct kofn__frame));
    }
}

/* What a frame may be, by the rules of its connection. */
static void test_rules_are_kept(void)
{
    const struct kofn__frame_rules worker = {
        .payload = true, .epoch = EPOCH, .payload_bytes = PAYLOAD};
    struct kofn__frame_rules words = rules;
    const struct {
        struct kofn__frame frame;
        bool server, worker, words; /* who takes it: a server; a worker; a server without payload */
    } cases[] = {
        {kofn__frame_write(REGION_SLOT, EPOCH, 1, 0, PAYLOAD), true, false, false},
        {kofn__frame_write(REGION_MODEL, EPOCH, 1, 0, PAYLOAD), false, true, false},
        {kofn__frame_write(REGION_SLOT, EPOCH, 1, PAYLOAD - 1, 1), true, false, false},
        {kofn__frame_write(REGION_SLOT, EPOCH, 1, 0, PAYLOAD + 1), false, false, false},
        {kofn__frame_write(REGION_SLOT, EPOCH, 1, PAYLOAD, 1), false, false, false},
        {kofn__frame_write(REGION_SLOT, EPOCH, 1, UINT64_MAX, 2), false, false, false},
        {kofn__frame_write(REGION_SLOT, EPOCH, 1, 2, UINT64_MAX), false, false, false},
        {kofn__frame_write(REGION_SLOT, EPOCH, 1, 0, 0), false, false, false},
        {kofn__frame_write(REGION_SLOT, EPOCH + 1, 1, 0, 1), false, false, false},
        {kofn__frame_write(REGION_BEAT, EPOCH, 1, 0, 8), false, false, false},
        {kofn__frame_stamp(REGION_SLOT, EPOCH, 1), true, false, false},
        {kofn__frame_stamp(REGION_MODEL, EPOCH, 1), false, true, false},
        {kofn__frame_word(REGION_BEAT, EPOCH, 1, 0), true, false, true},
        {kofn__frame_word(REGION_BLOCK, EPOCH, 1, 0), false, true, false},
        {kofn__frame_receipt(EPOCH, 1), false, true, false},
        {kofn__frame_read(FRAME_READ, REGION_MODEL, EPOCH, 1), true, false, true},
        {kofn__frame_read(FRAME_READ, REGION_SLOT, EPOCH, 1), false, true, false},
        {kofn__frame_read(FRAME_NOTHING, REGION_SLOT, EPOCH, 1), true, false, true},
        {kofn__frame_read(FRAME_NOTHING, REGION_MODEL, EPOCH, 1), false, true, false},
        {kofn__frame_read((enum kofn__frame_type)99, REGION_SLOT, EPOCH, 1), false, false, false},
        {{0}, false, false, false},
    };

    words.payload = false;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(!kofn__frame_wrong(&cases[i].frame, &rules), cases[i].server);
        CU_ASSERT_EQUAL(!kofn__frame_wrong(&cases[i].frame, &worker), cases[i].worker);
        CU_ASSERT_EQUAL(!kofn__frame_wrong(&cases[i].frame, &words), cases[i].words);
    }
}

/* A stamp, a receipt or a word of any other length than its own is refused before its body. */
static void test_lengths_are_fixed(void)
{
    struct kofn__frame frames[] = {kofn__frame_stamp(REGION_SLOT, EPOCH, 1),
                                   kofn__frame_word(REGION_BEAT, EPOCH, 1, 0),
                                   kofn__frame_read(FRAME_READ, REGION_MODEL, EPOCH, 1)};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(frames); i++) {
        uint64_t right = frames[i].length;

        for (uint64_t length = 0; length < 200; length++) {
            frames[i].length = length;
            CU_ASSERT_EQUAL(!kofn__frame_wrong(&frames[i], &rules), length == right);
        }
        frames[i].length = UINT64_MAX;
        CU_ASSERT_PTR_NOT_NULL(kofn__frame_wrong(&frames[i], &rules));
        frames[i].length = right;
        frames[i].zero = 1;
        CU_ASSERT_PTR_NOT_NULL(kofn__frame_wrong(&frames[i], &rules));
    }
}

/* Once the owner of a reader has refused a frame, nothing behind it is looked at. */
static void test_refusal_ends_the_stream(void)
{
    unsigned char stream[2 * PAYLOAD], payload[PAYLOAD];
    size_t length = publication(stream, payload);
    struct taken taken = {.refuse = "no"};
    struct kofn__reader reader;

    kofn__reader_init(&reader, &rules);
    CU_ASSERT_STRING_EQUAL(kofn__reader_feed(&reader, stream, length, &sink, &taken), "no");
    CU_ASSERT_EQUAL(taken.words, 1);
    CU_ASSERT_EQUAL(taken.filled, 0);
}

void kofn_suite_frame(void)
{
    CU_pSuite suite = CU_add_suite("frame", NULL, NULL);

    CU_add_test(suite, "pieces do not matter", test_pieces_do_not_matter);
    CU_add_test(suite, "a cut frame is not complete", test_a_cut_frame_is_not_complete);
    CU_add_test(suite, "rules are kept", test_rules_are_kept);
    CU_add_test(suite, "lengths are fixed", test_lengths_are_fixed);
    CU_add_test(suite, "refusal ends the stream", test_refusal_ends_the_stream);
}
