/* manners.h: what a worker does when: the rules of its side of a round, without its clock, its
 * connection and its bytes. Workers of a job (core/) and of a simulated one (sim/) keep to the
 * same.
 *
 * @gate is what the server says to this worker; @round the one it is in (0 = none yet); @updates of
 * that are finished, and @published of those were in its newest publication; @steps is U.
 */
#ifndef KOFN_ALGORITHMS_MANNERS_H
#define KOFN_ALGORITHMS_MANNERS_H

#include <kofn/types.h>

#include "proto/word.h"

struct kofn_manners {
    bool gradient; /* what it sends is GRADIENT, and written to where it is sent from; else DELTA */
    bool eager;    /* it publishes while its round is open; else what the close asks for */
    bool keeps;    /* its publications are kept to be read */
    bool waits;    /* after U local updates, for the next model */
    bool fetches;  /* it takes the newest model whenever it has published, be it the same */
    bool each;     /* its publications carry what is new, not all of the round */
    bool partial, stale, cancels, ahead; /* as in algorithm.h */
};

/* What an algorithm asks of workers: @may is an enum kofn_worker_may, @told a set of enum
 * kofn_manner.
 */
struct kofn_manners kofn_manners_make(enum kofn_payload payload, enum kofn_publish publish,
                                      uint32_t may, uint32_t told);

/* Does no round follow for this worker? */
static inline bool kofn_gate_ended(struct kofn_gate gate)
{
    return gate.state == KOFN_GATE_END || gate.state == KOFN_GATE_EVICTED;
}

/* Is the round over? */
static inline bool kofn_manners_over(const struct kofn_manners *manners, struct kofn_gate gate,
                                     uint32_t round)
{
    if (manners->stale || manners->ahead) /* nobody is cut off */
        return kofn_gate_ended(gate);
    return gate.round > round || kofn_gate_ended(gate) ||
           (gate.round == round && gate.state == KOFN_GATE_CLOSED);
}

/* May it take the model of the round that @gate has opened? One behind its own; where no round is
 * too old, once what it sent last is in a sum, or in a model, and so @released: who took one before
 * would miss its own last update, which the paper's workers never do; where it is ahead, the one
 * that its own round began without.
 */
static inline bool kofn_manners_may_take(const struct kofn_manners *manners, struct kofn_gate gate,
                                         uint32_t round, bool released)
{
    if (gate.state != KOFN_GATE_OPEN)
        return false;
    if (manners->fetches)
        return released;
    if (manners->ahead && round)
        return gate.round >= round;
    return gate.round > round && (!manners->stale || released);
}

/* How many local updates are worth a publication. */
static inline uint32_t kofn_manners_least(const struct kofn_manners *manners, uint32_t steps)
{
    return manners->partial ? 1 : steps;
}

/* Has the round closed with work of this worker that the server waits for? */
static inline bool kofn_manners_owed(const struct kofn_manners *manners, struct kofn_gate gate,
                                     uint32_t round, uint32_t updates, uint32_t published,
                                     uint32_t steps)
{
    return !manners->eager && !manners->keeps && gate.round == round &&
           gate.state == KOFN_GATE_CLOSED && updates >= kofn_manners_least(manners, steps) &&
           !published;
}

/* Is that enough on this model for a publication that nothing else follows? */
static inline bool kofn_manners_last(const struct kofn_manners *manners, uint32_t updates,
                                     uint32_t published, uint32_t steps)
{
    return ((manners->waits || manners->each) &&
            updates - (manners->each ? published : 0) >= steps) ||
           updates >= KOFN_BEAT_MAX_UPDATES;
}

/* What is done with a local update that is finished. */
enum kofn_deed {
    KOFN_DEED_BEAT,    /* it is said, no more */
    KOFN_DEED_KEEP,    /* a snapshot is kept */
    KOFN_DEED_PUBLISH, /* the round's work is sent, if there is a credit */
    KOFN_DEED_LAST,    /* the same, and a credit is waited for: nothing else will carry it */
};

/* @last as kofn_manners_last() says, @over as kofn_manners_over(). */
static inline enum kofn_deed kofn_manners_deed(const struct kofn_manners *manners, bool last,
                                               bool over)
{
    if (manners->keeps)
        return KOFN_DEED_KEEP;
    if (last && manners->eager && !manners->ahead)
        return KOFN_DEED_LAST;
    return manners->eager && manners->partial && !over ? KOFN_DEED_PUBLISH : KOFN_DEED_BEAT;
}

/* And then: does it take the next model, or compute on? */
static inline bool kofn_manners_done(const struct kofn_manners *manners, bool last, bool over)
{
    return over || (last && (manners->waits || manners->fetches));
}

/* Behind a round: may some of its work be sent as late? What is settled already is not asked. */
static inline bool kofn_manners_late(const struct kofn_manners *manners, uint32_t updates,
                                     uint32_t published)
{
    return updates && !manners->cancels && !manners->each && !(manners->gradient && published);
}

#endif
