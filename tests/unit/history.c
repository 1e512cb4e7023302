#include "tests/unit/history.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST (120 * KOFN_NS_PER_S)
#define FAULTS_EVERY (40 * KOFN_NS_PER_MS)

void history_fail(struct history *history, const char *format, ...)
{
    va_list args;

    if (history->failed)
        return;
    history->failed = true;
    printf("# %s history %llu at %.3f ms, round %u: ", history->kind ? "wild" : "calm",
           (unsigned long long)history->seed, (double)history->now / 1e6, history->round.number);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

uint64_t history_below(struct history *history, uint64_t bound)
{
    return bound ? kofn_random_below(&history->random, bound) : 0;
}

bool history_chance(struct history *history, uint64_t in)
{
    return kofn_random_below(&history->random, in) == 0;
}

/* ---- a heap of events, by time and then by the order in which they were posted ---- */

static bool earlier(const struct history_event *a, const struct history_event *b)
{
    return a->time < b->time || (a->time == b->time && a->order < b->order);
}

void history_post(struct history *history, struct history_event event)
{
    uint32_t at = history->event_count;

    if (at == HISTORY_EVENTS) {
        history_fail(history, "too many events under way");
        return;
    }
    history->event_count++;
    event.order = history->order++;
    for (; at && earlier(&event, &history->events[(at - 1) / 2]); at = (at - 1) / 2)
        history->events[at] = history->events[(at - 1) / 2];
    history->events[at] = event;
}

static struct history_event take_event(struct history *history)
{
    struct history_event first = history->events[0];
    struct history_event last = history->events[--history->event_count];
    uint32_t at = 0, child;

    while ((child = 2 * at + 1) < history->event_count) {
        child += child + 1 < history->event_count &&
                 earlier(&history->events[child + 1], &history->events[child]);
        if (!earlier(&history->events[child], &last))
            break;
        history->events[at] = history->events[child];
        at = child;
    }
    history->events[at] = last;
    return first;
}

/* ---- faults ---- */

static void freeze(struct history *history, uint32_t rank)
{
    struct history_worker *worker = &history->workers[rank];
    struct history_event thaw = {.kind = EVENT_THAW,
                                 .rank = rank,
                                 .generation = worker->generation,
                                 .time =
                                     history->now + history_below(history, 3 * KOFN_NS_PER_S / 2)};

    worker->frozen = true;
    thaw.u.token = worker->thaw_token = ++history->tokens;
    history_post(history, thaw);
}

static void fault(struct history *history)
{
    uint32_t rank = (uint32_t)history_below(history, history->round.config.workers);
    struct history_worker *worker = &history->workers[rank];
    struct history_event next = {.kind = EVENT_FAULT,
                                 .time = history->now + history_below(history, 2 * FAULTS_EVERY)};

    history_post(history, next);
    if (history->stopped)
        return;
    if (!worker->alive) {
        history->counts.rejoins += history_server_admit(history, rank);
        return;
    }
    switch (history_below(history, 8)) {
    case 0:
        history_worker_leave(history, rank, false);
        break;
    case 1:
        history_worker_leave(history, rank, true);
        break;
    case 2:
        history_server_evict(history, rank);
        break;
    case 3:
    case 4:
        history->busy_ns = history->now + history_below(history, 60 * KOFN_NS_PER_MS);
        break;
    default:
        freeze(history, rank);
    }
}

/* ---- a history ---- */

/* What adasync is over in this history. */
static const char *draw_over(struct history *history)
{
    static const char *const names[] = {"ksync", "kbatch-sync", "kasync", "kbatch-async"};

    return names[history_below(history, KOFN_ARRAY_SIZE(names))];
}

/* The mode says who owes a closed round something; bytes are not moved here. */
static enum kofn_publish draw_publish(struct history *history,
                                      const struct kofn_algorithm *algorithm)
{
    uint64_t drawn = history_below(history, 4) % 3;

    return algorithm->eager ? KOFN_PUBLISH_EAGER : (enum kofn_publish)drawn;
}

static struct kofn_round_config draw_config(struct history *history)
{
    const struct kofn_algorithm *algorithm = kofn_algorithm_at(history_below(history, 13));
    uint32_t workers = 1 + (uint32_t)history_below(history, HISTORY_WORKERS), most;

    if (!algorithm || algorithm->peers)
        algorithm = &kofn_stsyn; /* the one with most to go wrong */
    if (algorithm->over)
        algorithm = kofn_algorithm_over(algorithm, draw_over(history));
    most = kofn_algorithm_counts_batches(algorithm) ? 2 * workers : workers;
    return (struct kofn_round_config){
        .algorithm = algorithm,
        .workers = workers,
        .wait_for = algorithm->needs_all ? workers : 1 + (uint32_t)history_below(history, most),
        .local_steps = algorithm->single_step ? 1 : 1 + (uint32_t)history_below(history, 4),
        .quorum = 1 + (uint32_t)history_below(history, workers),
        .publish = draw_publish(history, algorithm),
        .weights = (enum kofn_weights)history_below(history, 2),
        .late = history_below(history, 3) ? KOFN_LATE_MERGE : KOFN_LATE_REFUSE,
        .staleness_weight = (double)history_below(history, 3) / 2,
        .grace = history_below(history, 40 * KOFN_NS_PER_MS),
        .deadline = history_chance(history, 3) ? history_below(history, 40 * KOFN_NS_PER_MS) : 0,
        .deadline_adaptive = history_chance(history, 3),
        .suspect_after = 200 * KOFN_NS_PER_MS,
        .adapt_every = history_below(history, 3) * 20 * KOFN_NS_PER_MS,
    };
}

static bool begin(struct history *history)
{
    struct kofn_round_config config = draw_config(history);
    struct history_event tick = {.kind = EVENT_TICK, .time = history->now + HISTORY_TICK};

    history->data_delay = history_below(history, 4) * 3 * KOFN_NS_PER_MS;
    history->word_delay = history_below(history, 4) * 2 * KOFN_NS_PER_MS;
    history->interrupts = history_below(history, 2);
    history->rounds_wanted = 10 + (uint32_t)history_below(history, 30);
    if (kofn_round_init(&history->round, &config))
        return false;
    history->hope_ns = history->now;
    for (uint32_t rank = 0; rank < config.workers; rank++) {
        history->workers[rank].mean_ns =
            (1 + (double)history_below(history, 10)) * (double)KOFN_NS_PER_MS;
        history_server_admit(history, rank);
    }
    history_server_open(history);
    history_post(history, tick);
    tick.kind = EVENT_FAULT;
    if (history->kind == HISTORY_WILD)
        history_post(history, tick);
    return true;
}

static void turn(struct history *history)
{
    struct history_event event = take_event(history);

    history->now = event.time;
    if (event.kind == EVENT_FAULT)
        fault(history);
    else if (event.kind == EVENT_COMPUTED || event.kind == EVENT_THAW || event.kind == EVENT_GATE ||
             event.kind == EVENT_RECEIPT)
        history_worker_event(history, &event);
    else
        history_server_event(history, &event);
    history_check(history);
    if (history->now > LONGEST)
        history_fail(history, "it does not end");
}

static void add_counts(const struct history_counts *from, struct history_counts *to)
{
    const uint64_t *in = (const uint64_t *)from;
    uint64_t *out = (uint64_t *)to;

    for (size_t i = 0; i < sizeof(*from) / sizeof(*in); i++)
        out[i] += in[i];
}

bool history_run(uint64_t seed, enum history_kind kind, struct history_counts *counts)
{
    struct history *history = calloc(1, sizeof(*history));
    bool good;

    if (!history)
        return false;
    history->seed = seed;
    history->kind = kind;
    history->now = KOFN_NS_PER_S;
    kofn_random_seed(&history->random, seed, kind);
    if (!begin(history)) {
        free(history);
        return false;
    }
    while (!history->over && !history->failed && history->event_count)
        turn(history);
    if (!history->failed)
        history_check_end(history);
    add_counts(&history->counts, counts);
    good = !history->failed;
    kofn_round_fini(&history->round);
    free(history);
    return good;
}
