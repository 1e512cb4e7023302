/* What a worker does when: for every algorithm, way of publishing, gate and state of a worker, the
 * rules fit together, so that nobody waits for what never comes and nothing is sent twice.
 */
#include <CUnit/CUnit.h>

#include "algorithms/algorithm.h"
#include "algorithms/manners.h"

#define U 3u
#define ROUNDS 3u

struct situation {
    struct kofn_manners manners;
    struct kofn_gate gate;
    uint32_t round, updates, published;
    bool over;
};

static void visit_states(struct situation *at, void (*check)(const struct situation *at))
{
    for (at->gate.state = KOFN_GATE_OPEN; at->gate.state <= KOFN_GATE_EVICTED; at->gate.state++)
        for (at->gate.round = 1; at->gate.round <= ROUNDS; at->gate.round++)
            for (at->round = 0; at->round <= ROUNDS; at->round++)
                for (at->updates = 0; at->updates <= U + 1; at->updates++)
                    for (at->published = 0; at->published <= at->updates; at->published++) {
                        at->over = kofn_manners_over(&at->manners, at->gate, at->round);
                        check(at);
                    }
}

/* Every algorithm that has a server, every way to publish that it has, and every state. */
static void visit(void (*check)(const struct situation *at))
{
    const struct kofn_algorithm *algorithm;
    int visited = 0;

    for (size_t i = 0; (algorithm = kofn_algorithm_at(i)); i++)
        for (int publish = KOFN_PUBLISH_EAGER; publish <= KOFN_PUBLISH_PULL; publish++) {
            struct situation at = {0};

            if (algorithm->peers || (algorithm->eager && publish != KOFN_PUBLISH_EAGER))
                continue;
            at.manners =
                kofn_manners_make(algorithm->payload, (enum kofn_publish)publish,
                                  algorithm->worker_may, kofn_algorithm_manners(algorithm));
            visit_states(&at, check);
            visited++;
        }
    CU_ASSERT(visited > 20);
}

static void check_end(const struct situation *at)
{
    if (at->gate.state != KOFN_GATE_END && at->gate.state != KOFN_GATE_EVICTED)
        return;
    CU_ASSERT(at->over);
    CU_ASSERT_FALSE(kofn_manners_may_take(&at->manners, at->gate, at->round, true));
}

/* The end of a job, and an eviction, are the end for everybody. */
static void test_the_end_is_the_end(void)
{
    visit(check_end);
}

static void check_next(const struct situation *at)
{
    if (at->gate.state == KOFN_GATE_OPEN && at->gate.round > at->round)
        CU_ASSERT(kofn_manners_may_take(&at->manners, at->gate, at->round, true));
    if (at->gate.state == KOFN_GATE_OPEN && at->gate.round < at->round)
        CU_ASSERT_EQUAL(kofn_manners_may_take(&at->manners, at->gate, at->round, true),
                        at->manners.fetches);
    if (at->manners.stale)
        CU_ASSERT_FALSE(kofn_manners_may_take(&at->manners, at->gate, at->round, false));
}

/* The model of a round that has opened may be taken by whoever is behind it; of those who may be
 * stale, once what they sent has been released. Only who fetches takes models whatever round it is
 * in.
 */
static void test_who_is_behind_may_take(void)
{
    visit(check_next);
}

static void check_owed(const struct situation *at)
{
    bool owed = kofn_manners_owed(&at->manners, at->gate, at->round, at->updates, at->published, U);
    bool last = kofn_manners_last(&at->manners, at->updates, at->published, U);
    enum kofn_deed deed = kofn_manners_deed(&at->manners, last, at->over);

    if (owed) {
        CU_ASSERT(at->updates > 0 && at->published == 0);
        CU_ASSERT_EQUAL(at->gate.state, KOFN_GATE_CLOSED);
        CU_ASSERT_EQUAL(deed, KOFN_DEED_BEAT); /* nothing was sent before the close */
    }
    CU_ASSERT_EQUAL(deed == KOFN_DEED_KEEP, at->manners.keeps);
    if (deed == KOFN_DEED_LAST)
        CU_ASSERT(last && at->manners.eager);
}

/* What the close asks for is work that has not been sent, of somebody who sends nothing before. */
static void test_only_unsent_work_is_owed(void)
{
    visit(check_owed);
}

static void check_done(const struct situation *at)
{
    bool last = kofn_manners_last(&at->manners, at->updates, at->published, U);

    if (at->over)
        CU_ASSERT(kofn_manners_done(&at->manners, last, at->over));
    if (at->manners.waits && at->updates >= U)
        CU_ASSERT(last && kofn_manners_done(&at->manners, last, at->over));
    if (!at->over && at->updates < U)
        CU_ASSERT_FALSE(kofn_manners_done(&at->manners, last, at->over));
}

/* Nobody computes on in a round that is over, or on a model that it has done its U updates on if it
 * is one of those who wait; and nobody stops before.
 */
static void test_who_is_done_stops(void)
{
    visit(check_done);
}

static void check_late(const struct situation *at)
{
    if (!kofn_manners_late(&at->manners, at->updates, at->published))
        return;
    CU_ASSERT(at->updates > 0);
    CU_ASSERT_FALSE(at->manners.cancels || at->manners.each);
    if (at->manners.gradient)
        CU_ASSERT_EQUAL(at->published, 0);
}

/* Late is only what has been done, is not cancelled, and has not been sent by itself. */
static void test_late_is_what_was_not_sent(void)
{
    visit(check_late);
}

void kofn_suite_manners(void)
{
    CU_pSuite suite = CU_add_suite("manners", NULL, NULL);

    CU_add_test(suite, "the end is the end", test_the_end_is_the_end);
    CU_add_test(suite, "who is behind may take", test_who_is_behind_may_take);
    CU_add_test(suite, "only unsent work is owed", test_only_unsent_work_is_owed);
    CU_add_test(suite, "who is done stops", test_who_is_done_stops);
    CU_add_test(suite, "late is what was not sent", test_late_is_what_was_not_sent);
}
