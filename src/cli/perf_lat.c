/* Publication to detected: two sides publish in turn, each as soon as it has seen the other's. Half
 * of a round trip is what one publication takes, as ib_write_lat measures a write.
 */
#include "base/clock.h"
#include "cli/perf.h"

/* Waits for publication @sequence of the other side. The answer to it is what frees its buffer, so
 * there are no gates. */
static int await(struct kofn_perf_link *link, uint64_t sequence)
{
    struct kofn_arrival arrival;
    int count = kofn_perf_collect(link, &arrival, 1);

    if (KOFN_UNLIKELY(count < 0))
        return count;
    return arrival.sequence == sequence
               ? 0
               : kofn_error(link->conf->log, KOFN_PROTOCOL, "perf: %s is out of step", link->who);
}

static int ping(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                struct kofn_perf_times *times)
{
    uint64_t all = order->warm_up + order->iterations, before = 0;
    int rc = 0;

    for (uint64_t i = 1; i <= all + 1 && !rc; i++) {
        uint64_t now = kofn_now_ns(); /* the end of one trip, and the start of the next */

        rc = i <= all ? kofn_perf_publish(link, i) : 0;
        if (i > order->warm_up + 1) /* while that is on its way */
            kofn_perf_times_record(times, (now - before) / 2);
        before = now;
        if (!rc && i <= all)
            rc = await(link, i);
    }
    return rc;
}

static int pong(struct kofn_perf_link *link, const struct kofn_perf_order *order)
{
    uint64_t all = order->warm_up + order->iterations;
    int rc = 0;

    for (uint64_t i = 1; i <= all && !rc; i++) {
        rc = await(link, i);
        rc = rc ? rc : kofn_perf_publish(link, i);
    }
    return rc ? rc : kofn_perf_await_left(link, all);
}

/* Nobody waits for us while the times are put in order. */
static int measure(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                   struct kofn_perf_report *report)
{
    struct kofn_perf_times times;
    int rc = kofn_perf_times_init(&times, order->iterations, link->conf->log);

    if (rc)
        return rc;
    kofn_perf_report_device(report, link->endpoint->counters);
    rc = ping(link, order, &times);
    rc = rc ? rc : kofn_perf_part(link);
    if (!rc)
        kofn_perf_report_times(report, order->bytes, NULL, &times);
    kofn_perf_times_free(&times);
    return rc;
}

/* Each side has a hub that the other publishes into. */
static int join_both(struct kofn_perf_link *link, const struct kofn_perf_order *order, bool client)
{
    uint64_t patience = link->conf->timeout;
    int rc = kofn_perf_open_hub(link, order, 1);

    if (rc)
        return rc;
    if (client) {
        rc = kofn_perf_join(link, order, 0, patience);
        return rc ? rc : kofn_perf_admit(link, 0);
    }
    rc = kofn_perf_admit(link, 0);
    return rc ? rc : kofn_perf_join(link, order, 0, patience);
}

int kofn_perf_lat(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                  struct kofn_perf_report *report)
{
    int rc = join_both(link, order, report);

    rc = rc ? rc : kofn_perf_meet(link);
    if (rc)
        return rc;
    if (report)
        return measure(link, order, report);
    rc = pong(link, order);
    return rc ? rc : kofn_perf_part(link);
}
