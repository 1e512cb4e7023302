/* The two processes of kofn perf: how they find each other, and what they say. */
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "cli/perf.h"
#include "cli/stop.h"

#define PUMP_NS UINT64_C(1000000) /* between two looks at the channel while ends still send */

static double seconds(uint64_t ns)
{
    return (double)ns / (double)KOFN_NS_PER_S;
}

static int slice_ms(void)
{
    return (int)(KOFN_PERF_SLICE_NS / 1000000);
}

/* ---- finding each other ---- */

static void address_of(const struct kofn_perf_conf *conf, const char *host,
                       char address[KOFN_ADDRESS_BYTES])
{
    bool bare = strchr(host, ':') && host[0] != '[';

    if (conf->ops->capabilities & KOFN_CAP_ONE_HOST)
        snprintf(address, KOFN_ADDRESS_BYTES, "shm:kofn-perf-%" PRIu64, conf->port);
    else
        snprintf(address, KOFN_ADDRESS_BYTES, bare ? "tcp:[%s]:%" PRIu64 : "tcp:%s:%" PRIu64, host,
                 conf->port);
}

int kofn_perf_listen(const struct kofn_perf_conf *conf, struct kofn_listener *listener)
{
    char address[KOFN_ADDRESS_BYTES];
    struct kofn_listener_attr attr = {
        .address = address, .insecure = conf->insecure, .silence = conf->timeout, .log = conf->log};

    address_of(conf, conf->insecure ? "*" : "127.0.0.1", address);
    return kofn_listener_open(&attr, listener);
}

int kofn_perf_accept(struct kofn_perf_link *link, const struct kofn_listener *listener,
                     uint64_t deadline)
{
    const struct kofn_log *log = link->conf->log;
    struct pollfd ready = {.fd = listener->fd, .events = POLLIN};
    int rc;

    /* another user's process is turned away, and the wait goes on */
    while ((rc = kofn_listener_accept(listener, &link->channel, log)) == KOFN_AGAIN ||
           rc == KOFN_REFUSED) {
        if (kofn_stop_signal())
            return KOFN_INTERRUPTED;
        if (kofn_now_ns() >= deadline)
            return kofn_error(log, KOFN_TIMEOUT, "perf: %s has not come to %s within %g s (--wait)",
                              link->who, listener->address, seconds(link->conf->wait));
        poll(&ready, 1, slice_ms());
    }
    return rc;
}

int kofn_perf_connect(struct kofn_perf_link *link)
{
    const struct kofn_perf_conf *conf = link->conf;
    char address[KOFN_ADDRESS_BYTES];
    struct kofn_connect_attr attr = {.address = address,
                                     .deadline = kofn_deadline(kofn_now_ns(), conf->wait),
                                     .silence = conf->timeout,
                                     .log = conf->log};

    address_of(conf, conf->host, address);
    return kofn_channel_connect(&attr, &link->channel);
}

/* ---- messages ---- */

int kofn_perf_send(const struct kofn_perf_link *link, const struct kofn_wire *message,
                   const struct kofn_fds *fds)
{
    int rc = kofn_channel_send(link->channel, message, fds);

    return rc ? kofn_error(link->conf->log, rc, "perf: %s has hung up", link->who) : 0;
}

/* A message has come, or the connection has failed: is it one of type @wanted? */
static int judge(const struct kofn_perf_link *link, enum kofn_wire_type wanted, int rc,
                 const char *reason, const struct kofn_wire *message)
{
    const struct kofn_log *log = link->conf->log;

    if (rc)
        return kofn_error(log, rc, "perf: %s: %s", link->who, reason);
    if (message->type == KOFN_WIRE_REFUSED)
        return kofn_error(log, KOFN_REFUSED, "perf: %s refuses: %s", link->who,
                          message->refused.text);
    if (message->type != wanted)
        return kofn_error(log, KOFN_PROTOCOL, "perf: %s is out of step", link->who);
    return 0;
}

static int receive(const struct kofn_perf_link *link, enum kofn_wire_type wanted, uint64_t patience,
                   struct kofn_wire *message, struct kofn_fds *fds, bool bye)
{
    uint64_t now = kofn_now_ns(), deadline = kofn_deadline(now, patience);
    const char *reason = "";
    int rc;

    do {
        rc = kofn_channel_receive(link->channel, KOFN_MIN(deadline, now + KOFN_PERF_SLICE_NS),
                                  message, fds, &reason);
        if (rc != KOFN_AGAIN && rc != KOFN_INTERRUPTED)
            return !rc && bye && message->type == KOFN_WIRE_BYE
                       ? 0
                       : judge(link, wanted, rc, reason, message);
        if (kofn_stop_signal())
            return KOFN_INTERRUPTED;
        now = kofn_now_ns();
    } while (now < deadline);
    return kofn_error(link->conf->log, KOFN_TIMEOUT, "perf: no word of %s for %g s", link->who,
                      seconds(patience));
}

int kofn_perf_expect(const struct kofn_perf_link *link, enum kofn_wire_type wanted,
                     uint64_t patience, struct kofn_wire *message, struct kofn_fds *fds)
{
    return receive(link, wanted, patience, message, fds, false);
}

/* ---- orders ---- */

int kofn_perf_ask(const struct kofn_perf_link *link, const struct kofn_perf_order *order,
                  uint32_t rank)
{
    struct kofn_wire hello = {.type = KOFN_WIRE_HELLO};

    hello.hello.rank = rank;
    hello.hello.parameters = order->bytes;
    snprintf(hello.hello.transport, sizeof(hello.hello.transport), "%s", link->conf->ops->name);
    kofn_perf_order_write(order, hello.hello.workload, sizeof(hello.hello.workload));
    return kofn_perf_send(link, &hello, NULL);
}

int kofn_perf_bye(const struct kofn_perf_link *link)
{
    struct kofn_wire bye = {.type = KOFN_WIRE_BYE};

    return kofn_perf_send(link, &bye, NULL);
}

/* What is wrong with it, for this server; NULL = nothing. */
static const char *judge_order(const struct kofn_perf_link *link, const struct kofn_wire *hello,
                               struct kofn_perf_order *order)
{
    const char *why = kofn_perf_order_read(hello->hello.workload, order);

    if (why)
        return why;
    if (order->test != link->conf->test)
        return "this server runs another test";
    if (strcmp(hello->hello.transport, link->conf->ops->name))
        return "this server uses another transport";
    return NULL;
}

int kofn_perf_learn(const struct kofn_perf_link *link, bool *more, struct kofn_perf_order *order,
                    uint32_t *rank)
{
    struct kofn_wire message, refusal = {.type = KOFN_WIRE_REFUSED};
    const char *why;
    int rc = receive(link, KOFN_WIRE_HELLO, link->conf->timeout, &message, NULL, true);

    if (rc)
        return rc;
    *more = message.type == KOFN_WIRE_HELLO;
    if (!*more)
        return 0;
    why = judge_order(link, &message, order);
    if (!why) {
        *rank = message.hello.rank;
        return 0;
    }
    refusal.refused.status = KOFN_PROTOCOL;
    snprintf(refusal.refused.text, sizeof(refusal.refused.text), "%s", why);
    kofn_channel_send(link->channel, &refusal, NULL);
    return kofn_error(link->conf->log, KOFN_PROTOCOL, "perf: %s is refused: %s", link->who, why);
}

/* ---- together ---- */

/* Lets the ends send what they still have to. */
static void pump(const struct kofn_perf_link *link)
{
    uint64_t deadline = link->conf->sleeps ? kofn_now_ns() + PUMP_NS : 0;

    if (!link->conf->sleeps)
        sched_yield();
    if (link->hub)
        link->conf->ops->hub_wait(link->hub, deadline);
    if (link->endpoint)
        link->conf->ops->endpoint_wait(link->endpoint,
                                       kofn_peer_load64(&link->endpoint->block->gate), deadline);
}

int kofn_perf_meet(const struct kofn_perf_link *link)
{
    struct kofn_wire message = {.type = KOFN_WIRE_ALIVE};
    uint64_t began = kofn_now_ns();
    const char *reason = "";
    int rc = kofn_perf_send(link, &message, NULL);

    if (rc)
        return rc;
    while ((rc = kofn_channel_receive(link->channel, 0, &message, NULL, &reason)) == KOFN_AGAIN ||
           rc == KOFN_INTERRUPTED) {
        rc = kofn_perf_overdue(link, began);
        if (rc)
            return rc;
        pump(link);
    }
    return judge(link, KOFN_WIRE_ALIVE, rc, reason, &message);
}

int kofn_perf_part(const struct kofn_perf_link *link)
{
    const struct kofn_gate end = {.round = 1, .state = KOFN_GATE_END};
    int rc = kofn_perf_meet(link);

    if (rc)
        return rc;
    if (link->hub)
        link->conf->ops->hub_gate(link->hub, 0, kofn_gate_pack(end));
    return kofn_perf_meet(link);
}

/* What it said last may still be there, and be what is waited for: then it has not ended yet. */
static bool has_ended(const struct kofn_channel *channel)
{
    struct pollfd end = {.fd = channel->fd, .events = POLLRDHUP};
    char byte;

    return poll(&end, 1, 0) > 0 && recv(channel->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

int kofn_perf_overdue(const struct kofn_perf_link *link, uint64_t began)
{
    const struct kofn_perf_conf *conf = link->conf;

    if (kofn_stop_signal())
        return KOFN_INTERRUPTED;
    if (has_ended(link->channel))
        return kofn_error(conf->log, KOFN_GONE, "perf: %s has ended", link->who);
    if (kofn_now_ns() - began < conf->timeout)
        return 0;
    return kofn_error(
        conf->log, KOFN_TIMEOUT,
        "perf: nothing has come from %s for %g s: it hangs, or cannot reach this side", link->who,
        seconds(conf->timeout));
}
