/* Who is slow, and who is not waited for: by silence, against what is known of its pace and of the
 * others.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

#include "base/random.h"
#include "tests/unit/watch_fixture.h"

/* @ms pass, and the clock ticks all the while. */
static void tick_for(struct fixture *fixture, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 5) {
        fixture_wait(fixture, 5);
        kofn_round_tick(&fixture->round, fixture->now);
    }
}

static uint32_t count_suspects(const struct fixture *fixture)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < fixture->round.config.workers; rank++)
        count += fixture->round.members[rank].state == KOFN_MEMBER_SUSPECT;
    return count;
}

/* Local updates that take longer than any silence may, in the first round, of which nothing is
 * known: nobody is suspect, and the round waits for all K.
 */
static void first_updates_are_long(enum kofn_publish publish)
{
    struct kofn_round_config config = fixture_config("sync", 4, 4, 1);
    struct fixture fixture;

    config.publish = publish;
    fixture_open(&fixture, &config);
    for (uint32_t rank = 0; rank < 4; rank++)
        fixture_beat(&fixture, rank, 1, 0);
    tick_for(&fixture, 5000);
    CU_ASSERT_EQUAL(fixture.round.available, 4);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 4);
    for (uint32_t rank = 0; rank < 4; rank++) {
        CU_ASSERT_EQUAL(fixture.round.phase, KOFN_PHASE_OPEN);
        if (publish == KOFN_PUBLISH_EAGER) {
            struct kofn_stamp stamp = fixture_stamp(&fixture, rank, 1, 0, 1);

            stamp.compute_ns = 5 * KOFN_NS_PER_S;
            kofn_round_arrive(&fixture.round, rank, &stamp, fixture.now);
        } else {
            fixture_beat(&fixture, rank, 1, 1);
        }
        tick_for(&fixture, 3000);
    }
    CU_ASSERT_EQUAL(fixture.round.reached, 4);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 4);
    fixture_close(&fixture);
}

static void test_first_updates_are_long(void)
{
    first_updates_are_long(KOFN_PUBLISH_EAGER);
    first_updates_are_long(KOFN_PUBLISH_ON_CLOSE);
}

/* Somebody of whom nothing is known has as much time as twenty updates take the others. */
static void test_who_is_not_known_is_measured_by_the_others(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 1);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    for (uint32_t rank = 0; rank < 3; rank++)
        fixture_beat(&fixture, rank, 1, 0);
    for (uint32_t i = 1; i <= 20; i++) {
        CU_ASSERT_EQUAL(count_suspects(&fixture), 0);
        tick_for(&fixture, 100);
        for (uint32_t rank = 0; rank < 2; rank++)
            fixture_beat(&fixture, rank, 1, i);
    }
    tick_for(&fixture, 5);
    CU_ASSERT_EQUAL(fixture.round.members[2].state, KOFN_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 1);
    fixture_close(&fixture);
}

/* All stand still (the machine slept, the disk was full): nobody is suspect for it, K stays, and
 * when one is back the others have the same time to follow. Who does not is suspect then.
 */
static void test_a_machine_that_stands_still(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 4, 100);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    for (uint32_t i = 1; i <= 10; i++) {
        tick_for(&fixture, 10);
        for (uint32_t rank = 0; rank < 4; rank++)
            fixture_publish(&fixture, rank, 1, 0, i);
    }
    tick_for(&fixture, 30000);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 0);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 4);
    for (uint32_t i = 11; i <= 105; i++) {
        fixture_publish(&fixture, 0, 1, 0, i);
        tick_for(&fixture, 10);
        CU_ASSERT_EQUAL(count_suspects(&fixture), 0);
        if (i == 50)
            for (uint32_t rank = 1; rank < 3; rank++)
                fixture_publish(&fixture, rank, 1, 0, 11);
    }
    tick_for(&fixture, 100);
    CU_ASSERT_EQUAL(fixture.round.members[3].state, KOFN_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 1);
    CU_ASSERT_EQUAL(fixture.round.wait_for, 3);
    fixture_close(&fixture);
}

/* Whatever the silences are, they never leave a round without anybody to wait for. */
static void test_the_last_one_is_waited_for(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 2, 1000);
    struct fixture fixture;

    fixture_open(&fixture, &config);
    fixture_wait(&fixture, 10);
    for (uint32_t rank = 0; rank < 3; rank++)
        fixture_publish(&fixture, rank, 1, 0, 1);
    for (uint32_t last = 0; last < 3; last++) {
        for (uint32_t i = 2; i < 200; i++) {
            for (uint32_t rank = last; rank < 3; rank++)
                fixture_publish(&fixture, rank, 1, 0, 200 * last + i);
            tick_for(&fixture, 10);
        }
        CU_ASSERT_EQUAL(count_suspects(&fixture), last);
    }
    tick_for(&fixture, 60000);
    CU_ASSERT_EQUAL(count_suspects(&fixture), 2);
    CU_ASSERT_EQUAL(fixture.round.available, 1);
    fixture_close(&fixture);
}

/* A few updates that fell long make nobody slow, and a moment's silence does not either; many do,
 * and so does a long one.
 */
static void test_slow_needs_evidence(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 3, 3, 1);
    struct fixture fixture;
    uint32_t slow_from = 0;

    fixture_open(&fixture, &config);
    for (uint32_t round = 1; round <= 20 && !slow_from; round++) {
        tick_for(&fixture, 10);
        fixture_publish(&fixture, 0, round, 0, 1);
        fixture_publish(&fixture, 1, round, 0, 1);
        tick_for(&fixture, 20);
        for (uint32_t rank = 0; rank < 2; rank++)
            fixture_publish(&fixture, rank, round, 0, 3);
        fixture_publish(&fixture, 2, round, 0, 1);
        fixture_next(&fixture);
        kofn_round_tick(&fixture.round, fixture.now);
        if (fixture.round.members[2].state == KOFN_MEMBER_SLOW)
            slow_from = round;
    }
    CU_ASSERT(slow_from >= 8); /* 24 of the others' updates */
    fixture_beat(&fixture, 0, fixture.round.number, 1);
    for (uint32_t i = 1; i <= 40; i++) {
        fixture_beat(&fixture, 1, fixture.round.number, i);
        fixture_beat(&fixture, 2, fixture.round.number, i);
        tick_for(&fixture, 10);
        if (i == 20)
            CU_ASSERT_NOT_EQUAL(fixture.round.members[0].state, KOFN_MEMBER_SLOW);
    }
    CU_ASSERT_EQUAL(fixture.round.members[0].state, KOFN_MEMBER_SLOW);
    CU_ASSERT_EQUAL(fixture.round.members[1].state, KOFN_MEMBER_READY);
    fixture_close(&fixture);
}

/* A straggler of five times the pace is named within a few of its updates, from the beginning or
 * from the middle, and only it is; it is ready again when it has kept up for a while.
 */
static void stragglers_are_named(const char *algorithm, uint32_t wait_for, uint32_t steps)
{
    struct kofn_round_config config = fixture_config(algorithm, 4, wait_for, steps);
    struct crew crew;

    crew_open(&crew, &config, 10);
    crew.worker[2].pace = crew.worker[2].left = 50;
    crew_run(&crew, 450 + 20 * steps);
    CU_ASSERT_EQUAL(crew.fixture.round.members[2].state, KOFN_MEMBER_SLOW);
    crew.worker[2].pace = 10;
    crew_run(&crew, 2000);
    CU_ASSERT_EQUAL(crew.fixture.round.members[2].state, KOFN_MEMBER_READY);
    crew.worker[2].pace = 50;
    crew_run(&crew, 500 + 20 * steps);
    CU_ASSERT_EQUAL(crew.fixture.round.members[2].state, KOFN_MEMBER_SLOW);
    CU_ASSERT_EQUAL(crew.turned_slow, 2);
    CU_ASSERT_EQUAL(crew.turned_ready, 1);
    crew_close(&crew);
}

static void test_stragglers_are_named(void)
{
    stragglers_are_named("stsyn", 3, 1);
    stragglers_are_named("stsyn", 3, 5);
    stragglers_are_named("kasync", 2, 1);
}

static double draw_exponential(void *context, double pace)
{
    return pace * kofn_random_exponential(context);
}

/* Whoever loses the CPU now and then, for a moment or a little longer, is not slow; nor is one that
 * takes a little longer than the others all the time.
 */
static void test_noise_makes_nobody_slow(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 8, 5, 10);
    struct kofn_random random;
    struct crew crew;

    kofn_random_seed(&random, 11, 0);
    crew_open(&crew, &config, 4);
    crew.draw = draw_exponential;
    crew.context = &random;
    crew.worker[7].pace = 6;
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t rank = i % 8, length = i % 4 ? 30 : 100;

        crew.worker[rank].frozen = true;
        crew_run(&crew, length);
        crew.worker[rank].frozen = false;
        crew_run(&crew, 150 - length);
    }
    CU_ASSERT_EQUAL(crew.turned_slow, 0);
    for (uint32_t rank = 0; rank < 8; rank++)
        CU_ASSERT_EQUAL(crew_report(&crew, rank).cause, KOFN_CAUSE_NONE);
    crew_close(&crew);
}

/* All workers at twice their pace, or standing still for a moment: nobody is slower than the
 * others. */
static void test_a_busy_machine_makes_nobody_slow(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 4, 3, 5);
    struct crew crew;

    crew_open(&crew, &config, 2);
    crew_run(&crew, 1000);
    for (uint32_t rank = 0; rank < 4; rank++)
        crew.worker[rank].frozen = true;
    crew_run(&crew, 200);
    for (uint32_t rank = 0; rank < 4; rank++) {
        crew.worker[rank].frozen = false;
        crew.worker[rank].pace = 8;
        crew_run(&crew, 10); /* one after the other */
    }
    crew_run(&crew, 1000);
    CU_ASSERT_EQUAL(crew.turned_slow, 0);
    crew_close(&crew);
}

/* Many workers a core take turns: a silence that most of them have in their turn makes nobody slow,
 * however short their updates are while they have the core.
 */
static void test_turns_make_nobody_slow(void)
{
    struct kofn_round_config config = fixture_config("stsyn", 8, 8, 10000);
    struct crew crew;

    crew_open(&crew, &config, 2);
    for (uint32_t rank = 0; rank < 8; rank++)
        crew.worker[rank].frozen = true;
    for (uint32_t turn = 0; turn < 80; turn++) {
        crew.worker[turn % 8].frozen = false;
        crew_run(&crew, 60);
        crew.worker[turn % 8].frozen = true;
    }
    CU_ASSERT_EQUAL(crew.turned_slow, 0);
    crew_close(&crew);
}

/* Without progress nobody gets better: a frozen worker is slow, then suspect, and stays that though
 * round after round is opened for it.
 */
static void test_the_frozen_do_not_get_better(void)
{
    static const uint32_t steps[] = {1, 10, 60};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(steps); i++) {
        struct kofn_round_config config = fixture_config("stsyn", 4, 3, steps[i]);
        struct crew crew;

        config.suspect_after = 2 * KOFN_NS_PER_S;
        crew_open(&crew, &config, 20);
        crew_run(&crew, 3007);
        crew.worker[2].frozen = true;
        crew_run(&crew, 5000);
        CU_ASSERT_EQUAL(crew.turned_slow, 1);
        CU_ASSERT_EQUAL(crew.turned_ready, 0);
        CU_ASSERT_EQUAL(crew.fixture.round.members[2].state, KOFN_MEMBER_SUSPECT);
        CU_ASSERT_EQUAL(count_suspects(&crew.fixture), 1);
        crew.worker[2].frozen = false;
        crew_run(&crew, 100 + 20 * steps[i]);
        CU_ASSERT_EQUAL(crew.fixture.round.members[2].state, KOFN_MEMBER_READY);
        crew_close(&crew);
    }
}

/* The silence that a state is explained by is the one it was judged by, also where the judgement
 * closes the round, and so ends that silence.
 */
static void test_the_silence_that_was_judged(void)
{
    static const char *const names[] = {"sync", "local", "stsyn"};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++) {
        struct kofn_round_config config = fixture_config(names[i], 3, 3, i ? 4 : 1);
        struct crew crew;

        crew_open(&crew, &config, 10);
        crew_run(&crew, 1000);
        crew.worker[1].frozen = true;
        crew_run(&crew, 600);
        CU_ASSERT_EQUAL(crew.fixture.round.members[1].state, KOFN_MEMBER_SLOW);
        CU_ASSERT(crew.fixture.round.members[1].silent_ns >= KOFN_NS_PER_S / 4);
        crew_run(&crew, 600);
        CU_ASSERT_EQUAL(crew.fixture.round.members[1].state, KOFN_MEMBER_SUSPECT);
        CU_ASSERT(crew.fixture.round.members[1].silent_ns >= KOFN_NS_PER_S);
        CU_ASSERT(crew.fixture.round.members[1].silent_ns < 1100 * KOFN_NS_PER_MS);
        crew_close(&crew);
    }
}

void kofn_suite_watch(void)
{
    CU_pSuite suite = CU_add_suite("watch", NULL, NULL);

    CU_add_test(suite, "first updates are long", test_first_updates_are_long);
    CU_add_test(suite, "who is not known is measured by the others",
                test_who_is_not_known_is_measured_by_the_others);
    CU_add_test(suite, "a machine that stands still", test_a_machine_that_stands_still);
    CU_add_test(suite, "the last one is waited for", test_the_last_one_is_waited_for);
    CU_add_test(suite, "slow needs evidence", test_slow_needs_evidence);
    CU_add_test(suite, "stragglers are named", test_stragglers_are_named);
    CU_add_test(suite, "noise makes nobody slow", test_noise_makes_nobody_slow);
    CU_add_test(suite, "a busy machine makes nobody slow", test_a_busy_machine_makes_nobody_slow);
    CU_add_test(suite, "turns make nobody slow", test_turns_make_nobody_slow);
    CU_add_test(suite, "the frozen do not get better", test_the_frozen_do_not_get_better);
    CU_add_test(suite, "the silence that was judged", test_the_silence_that_was_judged);
}
