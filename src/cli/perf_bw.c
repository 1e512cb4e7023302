/* Bandwidth of publications: a worker publishes whenever it has a credit, a server releases what
 * has arrived, half of the buffers at a time: the other half is on its way meanwhile. Timed at the
 * worker, from the last release of the warm-up to the last of all: what is on its way at both ends
 * of that time is the same, so filling the way is not counted.
 */
#include "base/clock.h"
#include "cli/perf.h"

#define SECOND 1e9
#define SPANS 10u      /* parts of the time, of which the best is the peak */
#define SPAN_WINDOWS 4 /* a part has as many windows of credits: releases come in bunches */

/* When the publications before a part, and those of all parts, had been released. */
struct marks {
    uint64_t publications; /* of a part */
    uint32_t spans, taken;
    uint64_t at[SPANS + 1];
};

static void init_marks(struct marks *marks, const struct kofn_perf_order *order)
{
    uint64_t most = order->iterations / (SPAN_WINDOWS * order->depth);

    *marks = (struct marks){.spans = (uint32_t)KOFN_MAX(KOFN_MIN(most, (uint64_t)SPANS), 1u)};
    marks->publications = order->iterations / marks->spans;
}

/* Publication @sequence has been released, and it is the newest. */
static void take_mark(struct marks *marks, const struct kofn_perf_order *order, uint64_t sequence)
{
    bool last = sequence == order->warm_up + order->iterations;

    if (last || (marks->taken < marks->spans &&
                 sequence == order->warm_up + marks->taken * marks->publications))
        marks->at[marks->taken++] = kofn_now_ns();
}

/* Credit for a publication means that the one `depth` before it has been released. */
static int stream(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                  struct marks *marks)
{
    uint64_t all = order->warm_up + order->iterations, depth = order->depth;
    int rc = 0;

    if (!order->warm_up)
        take_mark(marks, order, 0);
    for (uint64_t i = 1; i <= all + depth && !rc; i++) {
        rc = kofn_perf_await_credit(link, i);
        if (!rc && i > depth)
            take_mark(marks, order, i - depth);
        if (!rc && i <= all)
            rc = kofn_perf_publish(link, i);
    }
    return rc;
}

static int release_all(struct kofn_perf_link *link, const struct kofn_perf_order *order)
{
    uint64_t all = order->warm_up + order->iterations, released = 0, done;
    struct kofn_arrival arrivals[KOFN_DEPTH_MAX];

    while (released < all) {
        int count = kofn_perf_collect(link, arrivals, KOFN_ARRAY_SIZE(arrivals)), rc;
        struct kofn_gate gate = {.round = 1, .state = KOFN_GATE_OPEN};

        if (count < 0)
            return count;
        done = arrivals[count - 1].sequence;
        if (done < all && done - released < link->geometry.depth / 2)
            continue;
        released = done;
        gate.released = (uint32_t)(done % 256);
        rc = link->conf->ops->hub_gate(link->hub, 0, kofn_gate_pack(gate));
        if (rc)
            return rc;
    }
    return 0;
}

static double bandwidth(uint64_t publications, uint64_t bytes, uint64_t ns)
{
    return (double)publications * (double)bytes * SECOND / (double)KOFN_MAX(ns, 1u);
}

static void report_stream(struct kofn_perf_report *report, const struct kofn_perf_order *order,
                          const struct marks *marks)
{
    double average =
        bandwidth(order->iterations, order->bytes, marks->at[marks->spans] - marks->at[0]);
    double peak = average;

    for (uint32_t i = 0; i + 1 < marks->spans; i++) /* the last part is longer, by a remainder */
        peak = KOFN_MAX(
            peak, bandwidth(marks->publications, order->bytes, marks->at[i + 1] - marks->at[i]));
    kofn_perf_report_bandwidth(report, order->bytes, order->iterations, peak, average);
}

static int measure(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                   struct kofn_perf_report *report)
{
    struct marks marks;
    int rc;

    init_marks(&marks, order);
    kofn_perf_report_device(report, link->endpoint->counters);
    rc = stream(link, order, &marks);
    if (!rc)
        report_stream(report, order, &marks);
    return rc;
}

int kofn_perf_bw(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                 struct kofn_perf_report *report)
{
    int rc;

    if (report) {
        rc = kofn_perf_join(link, order, 0, link->conf->timeout);
    } else {
        rc = kofn_perf_open_hub(link, order, 1);
        rc = rc ? rc : kofn_perf_admit(link, 0);
    }
    rc = rc ? rc : kofn_perf_meet(link);
    if (rc)
        return rc;
    rc = report ? measure(link, order, report) : release_all(link, order);
    return rc ? rc : kofn_perf_part(link);
}
