/* history.h: seeded random histories of a whole job over the pure round machine: a virtual clock, a
 * network that delays, workers and a server that do what src/core does, and the truth about every
 * single local update, against which the machine's decisions and accounts are compared.
 *
 * history.c has the clock and the faults, history_worker.c the workers, history_server.c the
 * server, history_check.c what must hold after every event. A failure is printed with the seed that
 * repeats it.
 */
#ifndef KOFN_TESTS_HISTORY_H
#define KOFN_TESTS_HISTORY_H

#include "algorithms/manners.h"
#include "base/clock.h"
#include "base/random.h"
#include "round/round.h"

#define HISTORY_WORKERS 6
#define HISTORY_UPDATES 4096 /* of one worker, over all its memberships */
#define HISTORY_EVENTS 1024
#define HISTORY_RING 16 /* publications of a worker that are remembered; more than its buffers */
#define HISTORY_TICK (5 * KOFN_NS_PER_MS)

/* CALM: workers and network are merely slow. WILD: they freeze, die, leave, come back, are evicted;
 * the server does not look for a while; updates are not finite or torn.
 */
enum history_kind { HISTORY_CALM, HISTORY_WILD };

/* What has become of a local update. */
enum history_fate { FATE_OPEN, FATE_MERGED, FATE_LATE, FATE_REFUSED };

struct history_update {
    enum history_fate fate;
    uint32_t round; /* it was computed in */
};

struct history_publication {
    struct kofn_stamp stamp;
    uint32_t first; /* index of the first local update of its round */
    bool bad;       /* not finite */
};

enum history_event_kind {
    EVENT_COMPUTED, /* a worker has finished what it was at */
    EVENT_THAW,
    EVENT_DATA, /* arrives at the server */
    EVENT_BEAT,
    EVENT_CONTROL, /* a worker has left, or its death has been noticed */
    EVENT_GATE,    /* arrives at a worker */
    EVENT_RECEIPT,
    EVENT_TICK, /* of the server */
    EVENT_FAULT,
};

struct history_event {
    uint64_t time, order;
    enum history_event_kind kind;
    uint32_t rank, generation;
    union {
        uint64_t token; /* COMPUTED, THAW: of what was scheduled */
        struct history_publication publication;
        struct kofn_beat beat;
        struct kofn_gate gate;
        struct kofn_receipt_line receipt;
        struct {
            bool in_order;
            uint32_t total;
        } control;
    } u;
};

enum history_activity {
    ACTIVITY_WAITS,   /* in kofn_worker_take() */
    ACTIVITY_STARVES, /* in kofn_worker_report(), for a credit */
    ACTIVITY_COMPUTES
};

/* A worker: what src/core/worker.c and publish.c keep. */
struct history_worker {
    bool alive, frozen;
    uint32_t generation; /* = its epoch */
    enum history_activity activity;
    uint64_t token;      /* of the event that is to come; others are void */
    uint64_t thaw_token; /* of its thaw */
    bool computed;       /* while it was frozen */
    struct kofn_gate gate;
    struct kofn_receipt_line receipts[KOFN_RECEIPTS];
    uint32_t round, version, updates, total, published, first_updates;
    uint64_t sequence, first;
    bool late_sent;
    uint32_t bad_from;     /* first update of the round that is not finite; 0 = none */
    uint32_t first_update; /* index of the first update of the round */
    double mean_ns;        /* of a local update */
    uint64_t data_ns, beat_ns, control_ns; /* when the last message of that channel arrives */
    /* The truth. */
    struct history_update fates[HISTORY_UPDATES];
    uint32_t finished;
    bool died; /* some membership did not end in order */
};

/* What the server knows of a worker: src/core/server.h, struct kofn_peer. */
struct history_peer {
    bool admitted, evicted;
    uint32_t epoch;
    uint64_t released, sequence; /* newest released; newest taken in */
    uint64_t down_ns;            /* when the last message to it arrives */
    struct kofn_beat beat;
    bool beat_new;
    uint32_t inbox_count;
    struct history_publication inbox[HISTORY_RING];
    struct history_publication known[HISTORY_RING]; /* by sequence */
    uint64_t merged, late, refused;                 /* the truth */
    uint32_t late_in;             /* newest round into which a late update of it went */
    uint32_t added_in;            /* the same of those added on time, in this membership */
    enum kofn_member_state state; /* after the last event */
    struct kofn_beat seen;        /* furthest that the machine knows it is, and since when */
    uint64_t seen_ns;
};

/* What happened in a history, so that tests know that histories are worth something. */
struct history_counts {
    uint64_t rounds, deadline_closes, held, added, exact, spoilt, grown, merged, late, refused,
        covered, remainders, lost, bad, barred, kept, torn, deaths, evictions, rejoins, suspects,
        comebacks, skipped;
};

struct history {
    uint64_t seed;
    enum history_kind kind;
    struct kofn_random random;
    struct kofn_round round;
    uint64_t now, order, tokens;
    struct history_event events[HISTORY_EVENTS];
    uint32_t event_count;
    struct history_worker workers[HISTORY_WORKERS];
    struct history_peer peers[HISTORY_WORKERS];
    uint64_t data_delay, word_delay; /* at most */
    bool interrupts; /* a closing gate drops the update in progress, as an injected delay does */
    uint32_t version;
    bool gates_closed, stopping, stopped, over;
    uint64_t busy_ns; /* the server does not look until then */
    uint32_t rounds_wanted;
    uint64_t hope_ns;         /* since then some worker could have closed the open round */
    uint32_t asked, asked_in; /* the K of round asked_in, all the time */
    uint32_t added, spoilt;   /* to the open round; bad publications that would have been */
    uint32_t parted_in; /* newest round in which what a leaving worker had sent was taken in */
    struct history_counts counts;
    bool failed;
};

/* Runs the history of @seed, and adds to @counts what happened in it. Returns false, with a
 * message, if anything did not hold.
 */
bool history_run(uint64_t seed, enum history_kind kind, struct history_counts *counts);

/* ---- between the parts ---- */

void history_fail(struct history *history, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What the algorithm of this history lets its workers do. */
struct kofn_manners history_manners(const struct history *history);

/* Uniform below @bound, 0 for 0; true once in @in; a delay. */
uint64_t history_below(struct history *history, uint64_t bound);
bool history_chance(struct history *history, uint64_t in);

void history_post(struct history *history, struct history_event event);

void history_worker_join(struct history *history, uint32_t rank, uint32_t generation);
void history_worker_event(struct history *history, const struct history_event *event);
void history_worker_poke(struct history *history, uint32_t rank);
void history_worker_leave(struct history *history, uint32_t rank, bool in_order);

/* Opens round 1. */
void history_server_open(struct history *history);

bool history_server_admit(struct history *history, uint32_t rank);
void history_server_evict(struct history *history, uint32_t rank);
void history_server_event(struct history *history, const struct history_event *event);

/* A publication has got its verdict. */
void history_check_verdict(struct history *history, uint32_t rank,
                           const struct history_publication *publication,
                           enum kofn_verdict verdict);

/* The updates that @publication carries have met their fate. */
void history_check_settled(struct history *history, uint32_t rank,
                           const struct history_publication *publication, enum history_fate fate);

/* The round is READY, and what cannot be merged has been rejected. */
void history_check_merge(struct history *history);

/* After every event; after every tick, when the machine has had its chance to close; at the end. */
void history_check(struct history *history);
void history_check_tick(struct history *history);
void history_check_end(struct history *history);

#endif
