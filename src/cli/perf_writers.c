/* The writers of a quorum: a process each, which publishes at every gate that opens. */
#include <poll.h>

#include "base/clock.h"
#include "cli/children.h"
#include "cli/perf.h"
#include "cli/stop.h"

#define REAP_MS 100

/* Waits until the gate is another than @seen, which it then is. Torn ones are read again. */
static int await_gate(const struct kofn_perf_link *link, uint64_t *seen, struct kofn_gate *gate)
{
    struct kofn_endpoint *endpoint = link->endpoint;
    uint64_t began = kofn_now_ns(), word;
    int rc;

    while ((word = kofn_peer_load64(&endpoint->block->gate)) == *seen ||
           !kofn_gate_unpack(word, gate)) {
        rc = link->conf->ops->endpoint_wait(endpoint, word, kofn_now_ns() + KOFN_PERF_SLICE_NS);
        if (rc && rc != KOFN_INTERRUPTED)
            return rc;
        if (kofn_peer_load64(&endpoint->block->gate) != word)
            continue;
        rc = kofn_perf_overdue(link, began);
        if (rc)
            return rc;
    }
    *seen = word;
    return 0;
}

static int answer_gates(const struct kofn_perf_link *link)
{
    uint64_t seen = 0, sequence = 0;
    struct kofn_gate gate;
    int rc = 0;

    while (!rc && !(rc = await_gate(link, &seen, &gate)) && gate.state == KOFN_GATE_OPEN)
        rc = kofn_perf_publish(link, ++sequence);
    return rc;
}

/* The first offer comes when the last writer is there. */
static int write_size(struct kofn_perf_link *link, uint64_t bytes, uint32_t rank)
{
    struct kofn_perf_order order = kofn_perf_order_of(link->conf, bytes);
    int rc = kofn_perf_ask(link, &order, rank);

    rc = rc ? rc
            : kofn_perf_join(link, &order, rank, KOFN_MAX(link->conf->wait, link->conf->timeout));
    rc = rc ? rc : answer_gates(link);
    rc = rc ? rc : kofn_perf_meet(link);
    kofn_perf_unlink(link);
    return rc;
}

/* In the process of the client's writer @index. */
static int work(void *arg, uint32_t index, const struct kofn_log *log)
{
    struct kofn_perf_conf conf = *(const struct kofn_perf_conf *)arg;
    struct kofn_perf_link link = {.conf = &conf, .who = "the server"};
    uint32_t rank = (uint32_t)conf.first + index;
    int rc;

    conf.log = log;
    rc = kofn_perf_connect(&link);
    for (uint64_t i = 0; i < conf.count && !rc; i++)
        rc = write_size(&link, conf.sizes[i], rank);
    rc = rc ? rc : kofn_perf_bye(&link);
    kofn_channel_close(link.channel);
    return rc ? KOFN_EXIT_FAILED : KOFN_EXIT_DONE;
}

/* Every wait of a writer has a deadline of its own; one that fails ends the server, and by that the
 * others. */
int kofn_perf_writers(const struct kofn_perf_conf *conf)
{
    struct kofn_perf_conf copy = *conf;
    struct kofn_children children;
    uint32_t count = (uint32_t)(conf->here ? conf->here : conf->writers - conf->first);
    bool failed;
    int rc = kofn_children_start(&children, count, work, &copy, conf->log);

    if (rc)
        return rc;
    kofn_children_go(&children);
    while (children.running && !kofn_stop_signal()) {
        struct pollfd said = {.fd = children.messages, .events = POLLIN};

        poll(&said, 1, REAP_MS);
        kofn_children_look(&children);
    }
    failed = kofn_children_failed(&children) >= 0;
    kofn_children_end(&children, 0);
    return kofn_stop_signal() ? KOFN_INTERRUPTED : failed ? KOFN_GONE : 0;
}
