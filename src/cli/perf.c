/* kofn perf: latency, bandwidth and the K-th of N arrivals, over every transport. */
#include "cli/perf.h"

#include <stdio.h>

#include "base/clock.h"
#include "cli/stop.h"

static int run_test(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                    struct kofn_perf_report *report)
{
    int rc = order->test == KOFN_PERF_LAT ? kofn_perf_lat(link, order, report)
                                          : kofn_perf_bw(link, order, report);

    kofn_perf_unlink(link);
    return rc;
}

/* What is wrong with the transport's options, or its device, is said before anybody is waited for.
 */
static int try_transport(const struct kofn_perf_conf *conf)
{
    struct kofn_perf_order order = kofn_perf_order_of(conf, 1);
    struct kofn_perf_link link = {.conf = conf, .bind = ""};
    int rc = kofn_perf_open_hub(&link, &order, 1);

    kofn_perf_unlink(&link);
    return rc;
}

/* ---- the server ---- */

/* Does what a client asks for until it says that this was all. */
static int serve_client(const struct kofn_perf_conf *conf, const struct kofn_listener *listener)
{
    struct kofn_perf_link link = {.conf = conf, .who = "the client"};
    struct kofn_perf_order order;
    uint32_t rank;
    bool more;
    int rc = kofn_perf_accept(&link, listener, kofn_deadline(kofn_now_ns(), conf->wait));

    while (!rc && !(rc = kofn_perf_learn(&link, &more, &order, &rank)) && more)
        rc = run_test(&link, &order, NULL);
    kofn_channel_close(link.channel);
    return rc;
}

static int serve_writers(const struct kofn_perf_conf *conf, const struct kofn_listener *listener)
{
    struct kofn_perf_report report;
    int rc = kofn_perf_report_begin(&report, conf), end;

    if (rc)
        return rc;
    rc = kofn_perf_quorum(conf, listener, &report);
    end = kofn_perf_report_end(&report, !rc);
    return rc ? rc : end;
}

static int serve(const struct kofn_perf_conf *conf)
{
    bool quorum = conf->test == KOFN_PERF_QUORUM;
    struct kofn_listener listener;
    int rc = kofn_perf_listen(conf, &listener);

    if (rc)
        return rc;
    if (!conf->json)
        printf("waiting for %s at %s\n", quorum ? "writers" : "a client", listener.address);
    fflush(stdout);
    rc = quorum ? serve_writers(conf, &listener) : serve_client(conf, &listener);
    kofn_listener_close(&listener);
    return rc;
}

/* ---- the client ---- */

static int measure(struct kofn_perf_link *link, struct kofn_perf_report *report)
{
    const struct kofn_perf_conf *conf = link->conf;
    int rc = 0;

    for (uint64_t i = 0; i < conf->count && !rc; i++) {
        struct kofn_perf_order order = kofn_perf_order_of(conf, conf->sizes[i]);

        rc = kofn_perf_ask(link, &order, 0);
        rc = rc ? rc : run_test(link, &order, report);
    }
    return rc ? rc : kofn_perf_bye(link);
}

static int ask(const struct kofn_perf_conf *conf)
{
    struct kofn_perf_link link = {.conf = conf, .who = "the server"};
    struct kofn_perf_report report;
    int rc = kofn_perf_report_begin(&report, conf), end;

    if (rc)
        return rc;
    rc = kofn_perf_connect(&link);
    rc = rc ? rc : measure(&link, &report);
    kofn_channel_close(link.channel);
    end = kofn_perf_report_end(&report, !rc);
    return rc ? rc : end;
}

int kofn_command_perf(const struct kofn_command *command, int argc, char **argv)
{
    struct kofn_perf_conf conf;
    int rc = kofn_perf_options(&conf, command, argc, argv);

    if (rc)
        return rc == KOFN_AGAIN ? KOFN_EXIT_DONE : kofn_exit_of(rc);
    kofn_stop_install();
    rc = try_transport(&conf);
    if (rc)
        return kofn_exit_of(rc);
    rc = !conf.host                      ? serve(&conf)
         : conf.test == KOFN_PERF_QUORUM ? kofn_perf_writers(&conf)
                                         : ask(&conf);
    return kofn_stop_signal() ? KOFN_EXIT_SIGNAL + kofn_stop_signal() : kofn_exit_of(rc);
}
