/* kofn over TCP, on loopback: how long until a server has found a publication of 8 bytes, how fast
 * publications of 4 MiB follow one another, and what a thousand connections cost.
 *
 * Against UCX's put over tcp and a raw exchange of 8 bytes by two processes that do nothing else;
 * against one stream of iperf3; and against fixed limits. Each with both engines, where io_uring is
 * allowed: the rows with a bar are those of the engine that is chosen by itself.
 */
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "benchmarks/raw_tcp.h"
#include "benchmarks/slot_ping.h"
#include "benchmarks/tcp_crowd.h"
#include "benchmarks/tcp_flow.h"
#include "benchmarks/ucx_ping.h"
#include "transports/uring/engine.h"
#include "transports/uring/uring.h"

#define TRIPS 5000u /* of a sample: some 50 ms; each is timed, as UCX does */
#define CROWD 1000u
#define WAIT_FOR 800u
#define CROWD_ROUNDS 100u
#define DETECT_LIMIT_NS 1e6
#define IDLE_LIMIT_NS 1e6 /* a second: one thousandth of a core */

enum engine { AUTO, URING, POLL, ENGINES };
static const char *const engine_options[ENGINES] = {NULL, "engine=uring", "engine=poll"};

static int measure_ping(void *arg, double *ns, const char **why)
{
    if (!arg) {
        kofn__engine_uring_allowed(why);
        return KOFN_UNSUPPORTED;
    }
    return slot_ping_publication(arg, false, TRIPS, ns);
}

static int measure_raw(void *arg, double *ns, const char **why)
{
    (void)why;
    return raw_tcp_measure(arg, TRIPS, ns);
}

static int measure_ucx(void *arg, double *ns, const char **why)
{
    return ucx_ping_measure(arg, ns, why);
}

static int measure_flow(void *arg, double *rate, const char **why)
{
    const struct tcp_flow *flow = arg;

    if (flow->options == engine_options[URING] && !kofn__engine_uring_allowed(why))
        return KOFN_UNSUPPORTED;
    return tcp_flow_measure(flow, rate);
}

static int measure_iperf(void *arg, double *rate, const char **why)
{
    return iperf_measure(arg, rate, why);
}

static int measure_detect(void *arg, double *ns, const char **why)
{
    if (!arg) {
        *why = "too few descriptors (ulimit -n), or no io_uring";
        return KOFN_UNSUPPORTED;
    }
    return tcp_crowd_detect(arg, WAIT_FOR, CROWD_ROUNDS, ns);
}

static int measure_busy(void *arg, double *ns, const char **why)
{
    if (!arg) {
        *why = "too few descriptors (ulimit -n), or no io_uring";
        return KOFN_UNSUPPORTED;
    }
    return tcp_crowd_busy(arg, WAIT_FOR, CROWD_ROUNDS / 2, ns);
}

static int measure_idle(void *arg, double *ns, const char **why)
{
    if (!arg) {
        *why = "too few descriptors (ulimit -n), or no io_uring";
        return KOFN_UNSUPPORTED;
    }
    return tcp_crowd_idle(arg, 1, ns);
}

static int measure_limit(void *arg, double *ns, const char **why)
{
    (void)why;
    *ns = *(const double *)arg;
    return 0;
}

/* ---- latency ---- */

static int open_pings(struct slot_ping *pings[ENGINES], int here, int there)
{
    const char *why;
    int rc = 0;

    for (int i = 0; !rc && i < ENGINES; i++) {
        struct slot_ping_attr attr = {.transport = &kofn_tcp,
                                      .options = engine_options[i],
                                      .bytes = 8,
                                      .block = 1,
                                      .here = here,
                                      .there = there};

        if (i != URING || kofn__engine_uring_allowed(&why))
            rc = slot_ping_open(&attr, &pings[i]);
    }
    return rc;
}

static int run_latency(struct bench *bench, int here, int there)
{
    static const char name[] = "publication to detected, TCP, 8 B";
    struct slot_ping *pings[ENGINES] = {NULL};
    struct raw_tcp *raw_tcp = NULL;
    struct ucx_ping ucx_tcp = {.test = "ucp_put_lat",
                               .transports = "tcp,self",
                               .bytes = 8,
                               .iterations = 20000,
                               .here = here,
                               .there = there};
    static struct bench_contender ours = {.name = "kofn", .measure = measure_ping};
    static struct bench_contender uring = {.name = "kofn, io_uring", .measure = measure_ping};
    static struct bench_contender poll = {.name = "kofn, epoll", .measure = measure_ping};
    static struct bench_contender raw = {.name = "raw TCP ping", .measure = measure_raw};
    static struct bench_contender ucx = {.name = "ucp_put_lat, tcp", .measure = measure_ucx};
    struct bench_contender *all[] = {&ours, &raw, &uring, &poll, &ucx};
    int rc = open_pings(pings, here, there);

    rc = rc ? rc : raw_tcp_open(here, there, &raw_tcp);
    ours.arg = pings[AUTO];
    uring.arg = pings[URING];
    poll.arg = pings[POLL];
    raw.arg = raw_tcp;
    ucx.arg = &ucx_tcp;
    rc = rc ? rc : bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : bench_compare(bench, name, "ns", &ours, &ucx, "<= 1.0");
    rc = rc ? rc : bench_compare(bench, name, "ns", &ours, &raw, "<= 2");
    rc = rc ? rc : bench_compare(bench, name, "ns", &uring, &poll, NULL);
    for (int i = 0; i < ENGINES; i++)
        slot_ping_close(pings[i]);
    raw_tcp_close(raw_tcp);
    return rc;
}

/* ---- bandwidth ---- */

static int run_flow(struct bench *bench, int here, int there)
{
    static const char name[] = "publications of 4 MiB, TCP";
    struct tcp_flow flows[ENGINES];
    static struct bench_contender ours = {.name = "kofn", .measure = measure_flow};
    static struct bench_contender uring = {.name = "kofn, io_uring", .measure = measure_flow};
    static struct bench_contender poll = {.name = "kofn, epoll", .measure = measure_flow};
    static struct bench_contender iperf = {.name = "iperf3, one stream", .measure = measure_iperf};
    struct bench_contender *all[] = {&ours, &iperf, &uring, &poll};
    int rc;

    for (int i = 0; i < ENGINES; i++)
        flows[i] = (struct tcp_flow){.options = engine_options[i],
                                     .bytes = 4 << 20,
                                     .seconds = 1,
                                     .here = here,
                                     .there = there};
    ours.arg = iperf.arg = &flows[AUTO];
    uring.arg = &flows[URING];
    poll.arg = &flows[POLL];
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : bench_compare(bench, name, "B/s", &ours, &iperf, ">= 0.9");
    return rc ? rc : bench_compare(bench, name, "B/s", &uring, &poll, NULL);
}

/* ---- a thousand ---- */

#define BARE ENGINES
#define CROWDS (ENGINES + 1)

static int open_crowds(struct tcp_crowd *crowds[CROWDS], int here, int there)
{
    const char *why;

    for (int i = 0; i < CROWDS; i++) {
        int rc = 0;

        if (i != URING || kofn__engine_uring_allowed(&why))
            rc = tcp_crowd_open(CROWD, i == BARE ? tcp_crowd_bare : engine_options[i], here, there,
                                &crowds[i]);
        if (rc && rc != KOFN_UNSUPPORTED)
            return rc;
    }
    return 0;
}

static int run_detect(struct bench *bench, struct tcp_crowd *const crowds[CROWDS])
{
    static const char name[] = "800th of 1,000 publications to detected, TCP, p99";
    static double limit = DETECT_LIMIT_NS;
    static struct bench_contender ours = {.name = "kofn", .measure = measure_detect};
    static struct bench_contender uring = {.name = "kofn, io_uring", .measure = measure_detect};
    static struct bench_contender poll = {.name = "kofn, epoll", .measure = measure_detect};
    static struct bench_contender bare = {.name = "epoll and recv", .measure = measure_detect};
    static struct bench_contender millisecond = {
        .name = "1 ms", .measure = measure_limit, .arg = &limit};
    struct bench_contender *all[] = {&ours, &bare, &uring, &poll, &millisecond};
    int rc;

    ours.arg = crowds[AUTO];
    uring.arg = crowds[URING];
    poll.arg = crowds[POLL];
    bare.arg = crowds[BARE];
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : bench_compare(bench, name, "ns", &ours, &millisecond, "<= 1.0");
    rc = rc ? rc : bench_compare(bench, name, "ns", &ours, &bare, NULL);
    return rc ? rc : bench_compare(bench, name, "ns", &uring, &poll, NULL);
}

static int run_busy(struct bench *bench, struct tcp_crowd *const crowds[CROWDS])
{
    static const char name[] = "CPU of a server for one of 1,000 publications of 8 B, TCP";
    static struct bench_contender ours = {.name = "kofn", .measure = measure_busy};
    static struct bench_contender uring = {.name = "kofn, io_uring", .measure = measure_busy};
    static struct bench_contender poll = {.name = "kofn, epoll", .measure = measure_busy};
    static struct bench_contender bare = {.name = "epoll and recv", .measure = measure_busy};
    struct bench_contender *all[] = {&ours, &bare, &uring, &poll};
    int rc;

    ours.arg = crowds[AUTO];
    uring.arg = crowds[URING];
    poll.arg = crowds[POLL];
    bare.arg = crowds[BARE];
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : bench_compare(bench, name, "ns", &ours, &bare, NULL);
    return rc ? rc : bench_compare(bench, name, "ns", &uring, &poll, NULL);
}

static int run_idle(struct bench *bench, struct tcp_crowd *const crowds[CROWDS])
{
    static const char name[] = "CPU of a server with 1,000 idle connections, a second";
    static double limit = IDLE_LIMIT_NS;
    static struct bench_contender ours = {.name = "kofn", .measure = measure_idle};
    static struct bench_contender uring = {.name = "kofn, io_uring", .measure = measure_idle};
    static struct bench_contender poll = {.name = "kofn, epoll", .measure = measure_idle};
    static struct bench_contender thousandth = {
        .name = "1 ms", .measure = measure_limit, .arg = &limit};
    struct bench_contender *all[] = {&ours, &uring, &poll, &thousandth};
    int rc;

    ours.arg = crowds[AUTO];
    uring.arg = crowds[URING];
    poll.arg = crowds[POLL];
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : bench_compare(bench, name, "ns", &ours, &thousandth, "<= 1.0");
    return rc ? rc : bench_compare(bench, name, "ns", &uring, &poll, NULL);
}

static int run_crowd(struct bench *bench, int here, int there)
{
    struct tcp_crowd *crowds[CROWDS] = {NULL};
    int rc;

    if (!bench_first(true))
        fprintf(stderr,
                "%s: no real-time priority (ulimit -r): what follows waits for neighbours\n",
                bench->program);
    rc = open_crowds(crowds, here, there);
    rc = rc ? rc : run_detect(bench, crowds);
    rc = rc ? rc : run_busy(bench, crowds);
    rc = rc ? rc : run_idle(bench, crowds);
    for (int i = 0; i < CROWDS; i++)
        tcp_crowd_close(crowds[i]);
    bench_first(false);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int cpus[2] = {-1, -1};
    int rc = bench_open(&bench, argc, argv, "A server and its workers over TCP, on loopback.");

    if (rc)
        return rc > 0 ? 0 : 2;
    if (bench_cores(cpus, 2) < 2)
        fprintf(stderr, "%s: fewer than two cores: what follows is the scheduler's latency\n",
                bench.program);
    rc = run_latency(&bench, cpus[0], cpus[1]);
    rc = rc ? rc : run_flow(&bench, cpus[0], cpus[1]);
    rc = rc ? rc : run_crowd(&bench, cpus[0], cpus[1]);
    return bench_close(&bench, rc);
}
