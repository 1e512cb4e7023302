/* Many writers to one server: in every round the server opens a gate for all, each publishes as
 * soon as it sees it, and the server takes the time until the first, the K-th and the last is in.
 */
#include <stdio.h>

#include "base/clock.h"
#include "cli/perf.h"

#define ARRIVALS 64

enum { FIRST, KTH, LAST, PLACES };

/* A server and all its writers. */
struct crowd {
    const struct kofn_perf_conf *conf;
    const struct kofn_listener *listener;
    struct kofn_perf_link link; /* the hub is here, without a channel */
    struct kofn_perf_order order;
    struct kofn_perf_link visitors[KOFN_PERF_WRITERS_MAX]; /* by rank; a channel each, and the hub
                                                              while they meet */
    uint32_t joined;
};

/* ---- who comes ---- */

/* The first order says how many writers there are; the others must be like it. */
static int judge(const struct crowd *crowd, const struct kofn_perf_order *order, uint32_t rank)
{
    const struct kofn_log *log = crowd->conf->log;

    if (rank >= order->writers)
        return kofn_error(log, KOFN_PROTOCOL, "perf: writer %u is one too many of %u", rank,
                          (unsigned)order->writers);
    if (crowd->joined && !kofn_perf_order_same(&crowd->order, order))
        return kofn_error(log, KOFN_PROTOCOL, "perf: writer %u asks for another test", rank);
    if (crowd->visitors[rank].channel)
        return kofn_error(log, KOFN_PROTOCOL, "perf: writer %u is there twice (--first)", rank);
    return 0;
}

static int take_writer(struct crowd *crowd, uint64_t deadline)
{
    struct kofn_perf_link visitor = {.conf = crowd->conf};
    struct kofn_perf_order order;
    uint32_t rank = 0;
    bool more;
    int rc;

    snprintf(visitor.who, sizeof(visitor.who), crowd->joined ? "one of %u writers" : "a writer",
             (unsigned)crowd->order.writers);
    rc = kofn_perf_accept(&visitor, crowd->listener, deadline);
    rc = rc ? rc : kofn_perf_learn(&visitor, &more, &order, &rank);
    if (!rc && !more)
        rc = kofn_error(crowd->conf->log, KOFN_GONE, "perf: a writer has left at once");
    rc = rc ? rc : judge(crowd, &order, rank);
    if (rc) {
        kofn_channel_close(visitor.channel);
        return rc;
    }
    crowd->order = order;
    snprintf(visitor.who, sizeof(visitor.who), "writer %u", rank);
    crowd->visitors[rank] = visitor;
    crowd->joined++;
    return 0;
}

static int gather(struct crowd *crowd)
{
    uint64_t deadline = kofn_deadline(kofn_now_ns(), crowd->conf->wait);
    int rc;

    do
        rc = take_writer(crowd, deadline);
    while (!rc && crowd->joined < crowd->order.writers);
    return rc;
}

/* The next size, for which every writer asks; or all say that there is none. */
static int next_order(struct crowd *crowd, bool *more)
{
    struct kofn_perf_order order;
    uint32_t rank;

    for (uint32_t i = 0; i < crowd->joined; i++) {
        bool another;
        int rc = kofn_perf_learn(&crowd->visitors[i], &another, &order, &rank);

        if (rc)
            return rc;
        if (i && (another != *more || (another && !kofn_perf_order_same(&crowd->order, &order))))
            return kofn_error(crowd->conf->log, KOFN_PROTOCOL, "perf: writer %u is out of step", i);
        if (another && order.writers != crowd->joined)
            return kofn_error(crowd->conf->log, KOFN_PROTOCOL,
                              "perf: writer %u now speaks of %u writers, not %u", i,
                              (unsigned)order.writers, crowd->joined);
        *more = another;
        if (another)
            crowd->order = order;
    }
    return 0;
}

static int admit_all(struct crowd *crowd)
{
    int rc = kofn_perf_open_hub(&crowd->link, &crowd->order, crowd->joined);

    for (uint32_t rank = 0; !rc && rank < crowd->joined; rank++) {
        crowd->visitors[rank].hub = crowd->link.hub;
        crowd->visitors[rank].geometry = crowd->link.geometry;
        rc = kofn_perf_admit(&crowd->visitors[rank], rank);
    }
    return rc;
}

/* ---- rounds ---- */

static int write_gates(struct crowd *crowd, const struct kofn_gate *gate)
{
    int rc = 0;

    for (uint32_t rank = 0; rank < crowd->joined && !rc; rank++)
        rc = crowd->conf->ops->hub_gate(crowd->link.hub, rank, kofn_gate_pack(*gate));
    return rc;
}

/* Looks after the writers that are not in, while the round goes on since @began. */
static int look_after(const struct crowd *crowd, const bool *in, uint64_t began)
{
    int rc = 0;

    for (uint32_t rank = 0; rank < crowd->joined && !rc; rank++)
        if (!in[rank])
            rc = kofn_perf_overdue(&crowd->visitors[rank], began);
    return rc;
}

/* Waits for the next arrivals. Returns how many, or what has failed. */
static int collect(struct crowd *crowd, struct kofn_arrival *arrivals, const bool *in,
                   uint64_t began)
{
    uint64_t next = kofn_now_ns() + KOFN_PERF_SLICE_NS;
    int count, rc;

    while (!(count = kofn_perf_poll(&crowd->link, arrivals, ARRIVALS, next))) {
        next += KOFN_PERF_SLICE_NS;
        rc = look_after(crowd, in, began);
        if (rc)
            return rc;
    }
    return count;
}

/* @times: ns from the first gate to each of PLACES. */
static int run_round(struct crowd *crowd, uint64_t round, uint64_t times[PLACES])
{
    struct kofn_gate gate = {.round = (uint32_t)round,
                             .state = KOFN_GATE_OPEN,
                             .released = (uint32_t)((round - 1) % 256)};
    bool in[KOFN_PERF_WRITERS_MAX] = {false};
    uint64_t began = kofn_now_ns(), now;
    uint32_t arrived = 0;
    int rc = write_gates(crowd, &gate);

    while (!rc && arrived < crowd->joined) {
        struct kofn_arrival arrivals[ARRIVALS];
        int count = collect(crowd, arrivals, in, began);

        if (count < 0)
            return count;
        now = kofn_now_ns();
        for (int i = 0; i < count; i++) {
            if (arrivals[i].sequence != round)
                return kofn_error(crowd->conf->log, KOFN_PROTOCOL,
                                  "perf: writer %u is out of step in round %u", arrivals[i].rank,
                                  gate.round);
            in[arrivals[i].rank] = true;
            arrived++;
            if (arrived == 1)
                times[FIRST] = now - began;
            if (arrived == crowd->order.wait_for)
                times[KTH] = now - began;
        }
        times[LAST] = now - began;
    }
    return rc;
}

static int run_rounds(struct crowd *crowd, struct kofn_perf_times times[PLACES])
{
    struct kofn_gate end = {.round = UINT32_MAX, .state = KOFN_GATE_END};
    uint64_t all = crowd->order.warm_up + crowd->order.iterations;
    int rc = 0;

    for (uint64_t round = 1; round <= all && !rc; round++) {
        uint64_t took[PLACES];

        rc = run_round(crowd, round, took);
        for (int i = 0; i < PLACES && !rc && round > crowd->order.warm_up; i++)
            kofn_perf_times_record(&times[i], took[i]);
    }
    return rc ? rc : write_gates(crowd, &end);
}

/* ---- one size ---- */

static void report_size(const struct crowd *crowd, struct kofn_perf_report *report,
                        struct kofn_perf_times times[PLACES])
{
    char kth[24], last[24];

    snprintf(kth, sizeof(kth), "K=%u", (unsigned)crowd->order.wait_for);
    snprintf(last, sizeof(last), "N=%u", crowd->joined);
    kofn_perf_report_times(report, crowd->order.bytes, "first", &times[FIRST]);
    kofn_perf_report_times(report, crowd->order.bytes, kth, &times[KTH]);
    kofn_perf_report_times(report, crowd->order.bytes, last, &times[LAST]);
}

static int measure(struct crowd *crowd, struct kofn_perf_report *report)
{
    struct kofn_perf_times times[PLACES] = {0};
    int rc = admit_all(crowd);

    for (int i = 0; i < PLACES && !rc; i++)
        rc = kofn_perf_times_init(&times[i], crowd->order.iterations, crowd->conf->log);
    if (!rc)
        kofn_perf_report_device(report, crowd->link.hub->counters);
    rc = rc ? rc : run_rounds(crowd, times);
    for (uint32_t rank = 0; rank < crowd->joined && !rc; rank++)
        rc = kofn_perf_meet(&crowd->visitors[rank]);
    if (!rc)
        report_size(crowd, report, times);
    for (int i = 0; i < PLACES; i++)
        kofn_perf_times_free(&times[i]);
    return rc;
}

int kofn_perf_quorum(const struct kofn_perf_conf *conf, const struct kofn_listener *listener,
                     struct kofn_perf_report *report)
{
    struct crowd crowd = {
        .conf = conf, .listener = listener, .link = {.conf = conf, .bind = listener->host}};
    bool more = true;
    int rc = gather(&crowd);

    while (!rc && more) {
        rc = measure(&crowd, report);
        kofn_perf_unlink(&crowd.link);
        rc = rc ? rc : next_order(&crowd, &more);
    }
    for (uint32_t rank = 0; rank < KOFN_PERF_WRITERS_MAX; rank++)
        kofn_channel_close(crowd.visitors[rank].channel);
    return rc;
}
