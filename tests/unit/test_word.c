/* Beats and gates: what is packed comes back, and what is torn does not. */
#include <CUnit/CUnit.h>
#include <string.h>

#include "base/random.h"
#include "proto/word.h"

/* What is packed comes back, up to the limits of its fields. */
static void test_words_come_back(void)
{
    static const uint32_t rounds[] = {0, 1, 2, 255, 256, 65535, 65536, UINT32_MAX - 1, UINT32_MAX};
    static const uint32_t updates[] = {0, 1, 255, 256, 65536, KOFN_BEAT_MAX_UPDATES};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rounds); i++) {
        for (size_t j = 0; j < KOFN_ARRAY_SIZE(updates); j++) {
            struct kofn_beat in = {rounds[i], updates[j]}, out = {0};

            CU_ASSERT(kofn_beat_unpack(kofn_beat_pack(in), &out));
            CU_ASSERT(out.round == in.round && out.updates == in.updates);
        }
        for (uint32_t released = 0; released < 256; released++) {
            uint32_t lag = released * 16 + released % 16, state = 1 + released % 4;
            struct kofn_gate in = {rounds[i], lag, state, released}, out = {0};

            CU_ASSERT(kofn_gate_unpack(kofn_gate_pack(in), &out));
            CU_ASSERT(out.round == in.round && out.lag == in.lag && out.state == in.state &&
                      out.released == in.released);
        }
    }
}

/* More updates than a beat can say are said as the most it can, not as few; of a sequence the gate
 * says what is left modulo 256.
 */
static void test_limits_of_fields(void)
{
    struct kofn_beat beat = {7, UINT32_MAX};
    struct kofn_gate gate = {.round = 7, .state = KOFN_GATE_OPEN, .released = 1000};

    CU_ASSERT(kofn_beat_unpack(kofn_beat_pack(beat), &beat));
    CU_ASSERT(beat.round == 7 && beat.updates == KOFN_BEAT_MAX_UPDATES);
    CU_ASSERT(kofn_gate_unpack(kofn_gate_pack(gate), &gate));
    CU_ASSERT_EQUAL(gate.released, 1000 % 256);
}

/* A word that was never written, or is no longer what was, is nothing, and leaves the output alone.
 */
static void test_unwritten_word_is_nothing(void)
{
    struct kofn_beat beat = {11, 22};
    struct kofn_gate gate = {11, 22, 3, 44};

    CU_ASSERT(!kofn_beat_unpack(0, &beat));
    CU_ASSERT(!kofn_gate_unpack(0, &gate));
    CU_ASSERT(!kofn_beat_unpack(UINT64_MAX, &beat));
    CU_ASSERT(beat.round == 11 && beat.updates == 22);
    CU_ASSERT(gate.round == 11 && gate.lag == 22 && gate.state == 3 && gate.released == 44);
}

/* The first @cut bytes of @front and the rest of @back, as memory has them. */
static uint64_t spliced(uint64_t front, uint64_t back, size_t cut)
{
    memcpy(&back, &front, cut);
    return back;
}

/* How many mixtures of two words, in which either came in from one end byte by byte, pass for whole
 * and are neither of the two.
 */
static uint32_t undetected(uint64_t from, uint64_t to)
{
    uint32_t count = 0;

    for (size_t cut = 1; cut < sizeof(uint64_t); cut++) {
        uint64_t rising = spliced(to, from, cut), falling = spliced(from, to, cut);

        count += kofn_word_whole(rising) && rising != from && rising != to;
        count += kofn_word_whole(falling) && falling != from && falling != to;
    }
    return count;
}

/* Of a beat that follows another, as beats do (another update, or the next rounds), no half is ever
 * taken for a beat, wherever it was cut and whichever end came first. Of the first one, over
 * nothing, 1 in 256 may be.
 */
static void test_torn_beat_is_never_read(void)
{
    static const uint32_t rounds[] = {1, 2, 127, 255, 256, 511, 65535, 65536, 0xffffff, 0x7fffffff};
    uint32_t missed = 0, first = 0;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(rounds); i++)
        for (uint32_t updates = 0; updates < 600; updates++) {
            uint64_t from = kofn_beat_pack((struct kofn_beat){rounds[i], updates});

            first += undetected(0, from);
            for (uint32_t more = 1; more <= 3; more++) {
                struct kofn_beat next = {rounds[i], updates + more};

                missed += undetected(from, kofn_beat_pack(next));
                next = (struct kofn_beat){rounds[i] + more, 0};
                missed += undetected(from, kofn_beat_pack(next));
            }
        }
    CU_ASSERT_EQUAL(missed, 0);
    CU_ASSERT(first < KOFN_ARRAY_SIZE(rounds) * 600 * 14 / 256);
}

/* The same of gates, one of whose fields changes; if several do, 1 in 256 mixtures passes, as 8
 * bits of check must let it.
 */
static void test_torn_gate_is_rarely_read(void)
{
    struct kofn_random random;
    uint32_t missed = 0, mixed = 0;

    kofn_random_seed(&random, 5, 0);
    for (uint32_t round = 1; round < 3000; round++) {
        struct kofn_gate gate = {.round = round, .state = KOFN_GATE_OPEN, .released = round % 256};
        uint64_t from = kofn_gate_pack(gate);

        gate.released = (gate.released + 1) % 256;
        missed += undetected(from, kofn_gate_pack(gate));
        gate.released = round % 256;
        gate.state = KOFN_GATE_CLOSED;
        missed += undetected(from, kofn_gate_pack(gate));
        gate = (struct kofn_gate){.round = (uint32_t)kofn_random_next(&random),
                                  .lag = (uint32_t)kofn_random_below(&random, 4096),
                                  .state = 1 + (uint32_t)kofn_random_below(&random, 4),
                                  .released = (uint32_t)kofn_random_below(&random, 256)};
        mixed += undetected(from, kofn_gate_pack(gate));
    }
    CU_ASSERT_EQUAL(missed, 0);
    CU_ASSERT(mixed < 3000 * 14 / 100);
}

void kofn_suite_word(void);
void kofn_suite_word(void)
{
    CU_pSuite suite = CU_add_suite("word", NULL, NULL);

    CU_add_test(suite, "words come back", test_words_come_back);
    CU_add_test(suite, "limits of fields", test_limits_of_fields);
    CU_add_test(suite, "unwritten word is nothing", test_unwritten_word_is_nothing);
    CU_add_test(suite, "torn beat is never read", test_torn_beat_is_never_read);
    CU_add_test(suite, "torn gate is rarely read", test_torn_gate_is_rarely_read);
}
