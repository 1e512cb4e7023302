/* The control channel's messages: what is packed comes out again, and nothing else is taken. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "proto/wire.h"

static void fill_text(struct kofn_random *random, char *text, size_t room)
{
    size_t length = kofn_random_below(random, room);

    for (size_t i = 0; i < length; i++)
        text[i] = (char)(' ' + kofn_random_below(random, '~' - ' ' + 1));
}

static void fill_welcome(struct kofn_random *random, struct kofn_wire *message)
{
    struct kofn_job *job = &message->welcome.job;

    fill_text(random, job->algorithm, sizeof(job->algorithm));
    job->payload = (enum kofn_payload)kofn_random_below(random, 2);
    job->publish = (enum kofn_publish)kofn_random_below(random, 3);
    job->late = (enum kofn_late)kofn_random_below(random, 2);
    job->workers = (uint32_t)kofn_random_next(random);
    job->wait_for = (uint32_t)kofn_random_next(random);
    job->local_steps = (uint32_t)kofn_random_next(random);
    job->epoch = (uint32_t)kofn_random_next(random);
    job->parameters = kofn_random_next(random);
    job->pullback = kofn_random_uniform(random);
    message->welcome.worker_may = (uint32_t)kofn_random_next(random);
    message->welcome.manners = (uint32_t)kofn_random_next(random);
    message->welcome.depth = (uint32_t)kofn_random_next(random);
    message->welcome.pid = (uint32_t)kofn_random_next(random);
    fill_text(random, message->welcome.transport, sizeof(message->welcome.transport));
}

static void fill_offer(struct kofn_random *random, struct kofn_wire *message)
{
    message->offer.length = (uint32_t)kofn_random_below(random, KOFN_WIRE_OFFER_BYTES + 1);
    for (uint32_t i = 0; i < message->offer.length; i++)
        message->offer.bytes[i] = (unsigned char)kofn_random_next(random);
}

/* A message of @type, every field of it at random, all others zero. */
static void draw_message(struct kofn_random *random, enum kofn_wire_type type,
                         struct kofn_wire *message)
{
    memset(message, 0, sizeof(*message));
    message->type = type;
    if (type == KOFN_WIRE_HELLO) {
        message->hello.rank = (uint32_t)kofn_random_next(random);
        message->hello.pid = (uint32_t)kofn_random_next(random);
        message->hello.epoch = (uint32_t)kofn_random_next(random);
        message->hello.finished = (uint32_t)kofn_random_next(random);
        message->hello.parameters = kofn_random_next(random);
        fill_text(random, message->hello.host, sizeof(message->hello.host));
        fill_text(random, message->hello.transport, sizeof(message->hello.transport));
        fill_text(random, message->hello.workload, sizeof(message->hello.workload));
    } else if (type == KOFN_WIRE_REFUSED) {
        message->refused.status = (int32_t)kofn_random_next(random);
        fill_text(random, message->refused.text, sizeof(message->refused.text));
    } else if (type == KOFN_WIRE_BYE) {
        message->bye.finished = kofn_random_next(random);
        message->bye.published = kofn_random_next(random);
    }
    if (type == KOFN_WIRE_WELCOME)
        fill_welcome(random, message);
    if (type == KOFN_WIRE_WELCOME || type == KOFN_WIRE_READY)
        fill_offer(random, message);
}

/* From a copy of exactly @length bytes, so that reading behind them is seen. */
static int unpack(const unsigned char *bytes, size_t length, struct kofn_wire *message)
{
    unsigned char *copy = malloc(length ? length : 1);
    const char *reason = NULL;
    int rc;

    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, bytes, length);
    rc = kofn_wire_unpack(copy, length, message, &reason);
    CU_ASSERT(!rc || (reason && strlen(reason)));
    free(copy);
    return rc;
}

/* Every field of every type comes out of a message as it went in. */
static void test_round_trip(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 1, 0);
    for (int i = 0; i < 2000; i++)
        for (int type = KOFN_WIRE_HELLO; type <= KOFN_WIRE_END; type++) {
            unsigned char bytes[KOFN_WIRE_BYTES];
            struct kofn_wire in, out;

            draw_message(&random, (enum kofn_wire_type)type, &in);
            memset(&out, 0xa5, sizeof(out));
            CU_ASSERT_EQUAL_FATAL(unpack(bytes, kofn_wire_pack(&in, bytes), &out), 0);
            CU_ASSERT_FATAL(!memcmp(&in, &out, sizeof(in)));
        }
}

/* A message that was cut off anywhere, or that goes on for one byte, is refused, and the output is
 * untouched.
 */
static void test_wrong_lengths_are_refused(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 2, 0);
    for (int type = KOFN_WIRE_HELLO; type <= KOFN_WIRE_END; type++) {
        unsigned char bytes[KOFN_WIRE_BYTES + 1];
        struct kofn_wire in, out, before;
        size_t length;

        draw_message(&random, (enum kofn_wire_type)type, &in);
        length = kofn_wire_pack(&in, bytes);
        memset(&before, 0x5a, sizeof(before));
        out = before;
        for (size_t cut = 0; cut < length; cut++) {
            CU_ASSERT_EQUAL(unpack(bytes, cut, &out), KOFN_PROTOCOL);
            CU_ASSERT(!memcmp(&out, &before, sizeof(out)));
        }
        for (int extra = 0; extra < 256; extra++) {
            bytes[length] = (unsigned char)extra;
            CU_ASSERT_EQUAL(unpack(bytes, length + 1, &out), KOFN_PROTOCOL);
            CU_ASSERT(!memcmp(&out, &before, sizeof(out)));
        }
    }
}

/* Another magic, another version, a type that is not there: refused, whatever follows. */
static void test_strangers_are_refused(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 3, 0);
    for (int type = KOFN_WIRE_HELLO; type <= KOFN_WIRE_END; type++) {
        unsigned char bytes[KOFN_WIRE_BYTES];
        struct kofn_wire in, out;
        size_t length;

        draw_message(&random, (enum kofn_wire_type)type, &in);
        length = kofn_wire_pack(&in, bytes);
        for (size_t at = 0; at < 8; at++) {
            bytes[at] ^= 0x10;
            CU_ASSERT_EQUAL(unpack(bytes, length, &out), KOFN_PROTOCOL);
            bytes[at] ^= 0x10;
        }
        bytes[8] = 0;
        CU_ASSERT_EQUAL(unpack(bytes, length, &out), KOFN_PROTOCOL);
        bytes[8] = KOFN_WIRE_END + 1;
        CU_ASSERT_EQUAL(unpack(bytes, length, &out), KOFN_PROTOCOL);
    }
}

/* Bytes of 255 in any place of a message never give a text without an end, an offer longer than its
 * room or a number outside of its enum.
 */
static void test_fields_stay_in_range(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 4, 0);
    for (int i = 0; i < 20000; i++) {
        unsigned char bytes[KOFN_WIRE_BYTES];
        struct kofn_wire in, out;
        size_t length, at, span;

        draw_message(&random, (enum kofn_wire_type)(1 + i % KOFN_WIRE_END), &in);
        length = kofn_wire_pack(&in, bytes);
        at = 12 + kofn_random_below(&random, length - 11);
        span = kofn_random_below(&random, 40);
        memset(bytes + at, 0xff, KOFN_MIN(span, length - KOFN_MIN(at, length)));
        if (unpack(bytes, length, &out))
            continue;
        CU_ASSERT(out.offer.length <= KOFN_WIRE_OFFER_BYTES);
        CU_ASSERT(memchr(out.hello.host, 0, sizeof(out.hello.host)) != NULL);
        CU_ASSERT(memchr(out.refused.text, 0, sizeof(out.refused.text)) != NULL);
        CU_ASSERT(memchr(out.welcome.job.algorithm, 0, KOFN_NAME_BYTES) != NULL);
        CU_ASSERT(out.welcome.job.payload <= KOFN_PAYLOAD_DELTA);
        CU_ASSERT(out.welcome.job.publish <= KOFN_PUBLISH_PULL);
        CU_ASSERT(out.welcome.job.late <= KOFN_LATE_REFUSE);
    }
}

/* A text never brings a control character into a log, and never lacks its end. */
static void test_texts_can_be_printed(void)
{
    struct kofn_wire in = {.type = KOFN_WIRE_REFUSED}, out;
    unsigned char bytes[KOFN_WIRE_BYTES];

    memset(in.refused.text, 'x', sizeof(in.refused.text));
    memcpy(in.refused.text, "\033[2J\n\x9b\x7f", 7);
    CU_ASSERT_EQUAL_FATAL(unpack(bytes, kofn_wire_pack(&in, bytes), &out), 0);
    CU_ASSERT(!memcmp(out.refused.text, "?[2J???xxx", 10));
    CU_ASSERT_EQUAL(strlen(out.refused.text), sizeof(out.refused.text) - 1);
}

/* Random bytes, with a right beginning or not, are refused or make a message that packs again to
 * the same length.
 */
static void test_random_bytes(void)
{
    struct kofn_random random;

    kofn_random_seed(&random, 5, 0);
    for (int i = 0; i < 20000; i++) {
        unsigned char bytes[KOFN_WIRE_BYTES] = {0x6b, 0x6f, 0x66, 0x6e, KOFN_WIRE_VERSION};
        unsigned char again[KOFN_WIRE_BYTES];
        size_t length = kofn_random_below(&random, i % 2 ? 64 : sizeof(bytes) + 1);
        struct kofn_wire out;

        for (size_t at = i % 4 ? 12 : 0; at < length; at++)
            bytes[at] = (unsigned char)kofn_random_next(&random);
        if (i % 4)
            bytes[8] = (unsigned char)kofn_random_below(&random, KOFN_WIRE_END + 2);
        if (!unpack(bytes, length, &out))
            CU_ASSERT_EQUAL(kofn_wire_pack(&out, again), length);
    }
}

void kofn_suite_wire(void)
{
    CU_pSuite suite = CU_add_suite("wire", NULL, NULL);

    CU_add_test(suite, "round trip", test_round_trip);
    CU_add_test(suite, "wrong lengths are refused", test_wrong_lengths_are_refused);
    CU_add_test(suite, "strangers are refused", test_strangers_are_refused);
    CU_add_test(suite, "texts can be printed", test_texts_can_be_printed);
    CU_add_test(suite, "fields stay in range", test_fields_stay_in_range);
    CU_add_test(suite, "random bytes", test_random_bytes);
}
