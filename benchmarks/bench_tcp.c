/* kofn over TCP, on loopback: how long until a server has found a publication of 8 bytes, how fast
 * publications of 4 MiB follow one another, what a thousand connections cost, and the CPU time of
 * each.
 *
 * Against UCX's put over tcp and a raw exchange of 8 bytes by two processes that do nothing else;
 * against one stream of iperf3; against a server that only reads and counts; and against fixed
 * limits. Each with both engines, where io_uring is allowed, which then is the one that is chosen
 * by itself; and one engine against the other.
 */
#include <math.h>

#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "benchmarks/raw_tcp.h"
#include "benchmarks/slot_ping.h"
#include "benchmarks/tcp_crowd.h"
#include "benchmarks/tcp_flow.h"
#include "benchmarks/ucx_ping.h"
#include "transports/uring/engine.h"
#include "transports/uring/uring.h"

#define TRIPS 5000u        /* of a sample: some 50 ms; each is timed, as UCX does */
#define SLEEPY_TRIPS 2000u /* the same, where each side is woken */
#define CROWD 1000u
#define WAIT_FOR 800u
#define CROWD_ROUNDS 100u
#define DETECT_LIMIT_NS 1e6
#define IDLE_LIMIT_NS 1e6 /* a second: one thousandth of a core */
#define NAME_BYTES 128

enum engine { URING, POLL, ENGINES };
static const char *const engine_options[ENGINES] = {"engine=uring", "engine=poll"};
static const char *const engine_names[ENGINES] = {"io_uring", "epoll"};

static bool engine_allowed(enum engine engine)
{
    const char *why;

    return engine == POLL || kofn__engine_uring_allowed(&why);
}

/* ---- rows ---- */

/* A row for each engine beside @against. Nobody has to have io_uring, so only where it is allowed
 * something is promised of it.
 */
static int compare_both(struct bench *bench, const char *what, const char *unit,
                        const struct bench_contender ours[ENGINES],
                        const struct bench_contender *against, const char *bar)
{
    int rc = 0;

    for (int i = 0; !rc && i < ENGINES; i++) {
        char name[NAME_BYTES];

        snprintf(name, sizeof(name), "%s, %s", what, engine_names[i]);
        rc = bench_compare(bench, name, unit, &ours[i], against,
                           engine_allowed((enum engine)i) ? bar : NULL);
    }
    return rc;
}

/* Where io_uring pays, and where not. */
static int compare_engines(struct bench *bench, const char *what, const char *unit,
                           const struct bench_contender ours[ENGINES])
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s, %s", what, engine_names[URING]);
    return bench_compare(bench, name, unit, &ours[URING], &ours[POLL], NULL);
}

static int measure_limit(void *arg, double *ns, const char **why)
{
    (void)why;
    *ns = *(const double *)arg;
    return 0;
}

/* A sample's second number: what the contender before it has left. NaN: there was nothing. */
static int measure_kept(void *arg, double *value, const char **why)
{
    *value = *(const double *)arg;
    *why = "not measured";
    return isfinite(*value) ? 0 : KOFN_UNSUPPORTED;
}

/* ---- latency ---- */

#define RAW ENGINES
#define PINGS (ENGINES + 1)

/* A ping of either kind, and the CPU time of its server. */
struct ping {
    struct slot_ping *slot;
    struct raw_tcp *raw;
    double cpu_ns;
};

static int measure_ping(void *arg, double *ns, const char **why)
{
    const struct ping *ping = arg;

    if (!ping->slot) {
        kofn__engine_uring_allowed(why);
        return KOFN_UNSUPPORTED;
    }
    return slot_ping_publication(ping->slot, false, TRIPS, ns);
}

static int measure_sleepy(void *arg, double *ns, const char **why)
{
    struct ping *ping = arg;
    double before = bench_cpu_ns(false);
    int rc;

    if (!ping->slot) {
        kofn__engine_uring_allowed(why);
        return KOFN_UNSUPPORTED;
    }
    rc = slot_ping_beat(ping->slot, SLEEPY_TRIPS, ns);
    ping->cpu_ns = (bench_cpu_ns(false) - before) / SLEEPY_TRIPS;
    return rc;
}

static int measure_sleepy_raw(void *arg, double *ns, const char **why)
{
    struct ping *ping = arg;
    double before = bench_cpu_ns(false);
    int rc = raw_tcp_measure(ping->raw, SLEEPY_TRIPS, ns);

    (void)why;
    ping->cpu_ns = (bench_cpu_ns(false) - before) / SLEEPY_TRIPS;
    return rc;
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

static int open_pings(struct ping pings[ENGINES], bool sleeps, int here, int there)
{
    int rc = 0;

    for (int i = 0; !rc && i < ENGINES; i++) {
        struct slot_ping_attr attr = {.transport = &kofn_tcp,
                                      .options = engine_options[i],
                                      .bytes = 8,
                                      .block = 1,
                                      .sleeps = sleeps,
                                      .here = here,
                                      .there = there};

        pings[i] = (struct ping){.cpu_ns = NAN};
        if (engine_allowed((enum engine)i))
            rc = slot_ping_open(&attr, &pings[i].slot);
    }
    return rc;
}

static void close_pings(struct ping pings[ENGINES])
{
    for (int i = 0; i < ENGINES; i++)
        slot_ping_close(pings[i].slot);
}

static int run_latency(struct bench *bench, int here, int there)
{
    static const char name[] = "publication to detected, TCP, 8 B";
    struct ping pings[ENGINES] = {{0}};
    struct raw_tcp *raw_tcp = NULL;
    struct ucx_ping ucx_tcp = {.test = "ucp_put_lat",
                               .transports = "tcp,self",
                               .bytes = 8,
                               .iterations = 20000,
                               .here = here,
                               .there = there};
    static struct bench_contender ours[ENGINES] = {
        {.name = "kofn, io_uring", .measure = measure_ping},
        {.name = "kofn, epoll", .measure = measure_ping}};
    static struct bench_contender raw = {.name = "raw TCP ping", .measure = measure_raw};
    static struct bench_contender ucx = {.name = "ucp_put_lat, tcp", .measure = measure_ucx};
    struct bench_contender *all[] = {&ours[URING], &raw, &ours[POLL], &ucx};
    int rc = open_pings(pings, false, here, there);

    rc = rc ? rc : raw_tcp_open(here, there, false, &raw_tcp);
    ours[URING].arg = &pings[URING];
    ours[POLL].arg = &pings[POLL];
    raw.arg = raw_tcp;
    ucx.arg = &ucx_tcp;
    rc = rc ? rc : bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : compare_both(bench, name, "ns", ours, &ucx, "<= 1.0");
    rc = rc ? rc : compare_both(bench, name, "ns", ours, &raw, "<= 2");
    rc = rc ? rc : compare_engines(bench, name, "ns", ours);
    close_pings(pings);
    raw_tcp_close(raw_tcp);
    return rc;
}

/* The same where neither polls: both are woken, as in a job that leaves the cores to others. */
static int run_sleepy(struct bench *bench, int here, int there)
{
    static const char name[] = "beat to a server that sleeps, TCP";
    static const char cpu_name[] = "CPU of a server for a beat that wakes it, TCP";
    struct ping pings[PINGS] = {{0}};
    static struct bench_contender ours[PINGS] = {
        {.name = "kofn, io_uring", .measure = measure_sleepy},
        {.name = "kofn, epoll", .measure = measure_sleepy},
        {.name = "raw TCP ping", .measure = measure_sleepy_raw}};
    static struct bench_contender cpu[PINGS] = {{.name = "kofn, io_uring", .measure = measure_kept},
                                                {.name = "kofn, epoll", .measure = measure_kept},
                                                {.name = "raw TCP ping", .measure = measure_kept}};
    struct bench_contender *all[2 * PINGS];
    int rc = open_pings(pings, true, here, there);

    rc = rc ? rc : raw_tcp_open(here, there, true, &pings[RAW].raw);
    for (int i = 0; i < PINGS; i++) {
        ours[i].arg = &pings[i];
        cpu[i].arg = &pings[i].cpu_ns;
        all[2 * i] = &ours[i];
        all[2 * i + 1] = &cpu[i];
    }
    rc = rc ? rc : bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : compare_both(bench, name, "ns", ours, &ours[RAW], NULL);
    rc = rc ? rc : compare_engines(bench, name, "ns", ours);
    rc = rc ? rc : compare_both(bench, cpu_name, "ns", cpu, &cpu[RAW], NULL);
    rc = rc ? rc : compare_engines(bench, cpu_name, "ns", cpu);
    close_pings(pings);
    raw_tcp_close(pings[RAW].raw);
    return rc;
}

/* ---- bandwidth ---- */

struct flow {
    struct tcp_flow flow;
    struct tcp_flow_sample sample;
};

static int measure_flow(void *arg, double *rate, const char **why)
{
    struct flow *flow = arg;
    int rc;

    if (flow->flow.options == engine_options[URING] && !kofn__engine_uring_allowed(why))
        return KOFN_UNSUPPORTED;
    rc = tcp_flow_measure(&flow->flow, &flow->sample);
    *rate = flow->sample.rate;
    return rc;
}

static int measure_iperf(void *arg, double *rate, const char **why)
{
    struct flow *flow = arg;
    int rc = iperf_measure(&flow->flow, &flow->sample, why);

    *rate = flow->sample.rate;
    return rc;
}

#define IPERF ENGINES
#define FLOWS (ENGINES + 1)

static int run_flow(struct bench *bench, int here, int there)
{
    static const char name[] = "publications of 4 MiB, TCP", cpu_name[] = "CPU of 4 MiB, TCP";
    struct flow flows[FLOWS];
    static struct bench_contender rates[FLOWS] = {
        {.name = "kofn, io_uring", .measure = measure_flow},
        {.name = "kofn, epoll", .measure = measure_flow},
        {.name = "iperf3, one stream", .measure = measure_iperf}};
    static struct bench_contender cpu[FLOWS] = {
        {.name = "kofn, io_uring", .measure = measure_kept},
        {.name = "kofn, epoll", .measure = measure_kept},
        {.name = "iperf3, one stream", .measure = measure_kept}};
    struct bench_contender *all[2 * FLOWS];
    int rc;

    for (int i = 0; i < FLOWS; i++) {
        flows[i] = (struct flow){.flow = {.options = i < ENGINES ? engine_options[i] : NULL,
                                          .bytes = 4 << 20,
                                          .seconds = 1,
                                          .here = here,
                                          .there = there},
                                 .sample.cpu_ns = NAN};
        rates[i].arg = &flows[i];
        cpu[i].arg = &flows[i].sample.cpu_ns;
        all[2 * i] = &rates[i];
        all[2 * i + 1] = &cpu[i];
    }
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : compare_both(bench, name, "B/s", rates, &rates[IPERF], ">= 0.9");
    rc = rc ? rc : compare_engines(bench, name, "B/s", rates);
    rc = rc ? rc : compare_both(bench, cpu_name, "ns", cpu, &cpu[IPERF], NULL);
    return rc ? rc : compare_engines(bench, cpu_name, "ns", cpu);
}

/* ---- a thousand ---- */

#define BARE ENGINES
#define CROWDS (ENGINES + 1)

struct crowd {
    struct tcp_crowd *crowd;
    struct tcp_crowd_sample sample;
};

static int measure_detect(void *arg, double *ns, const char **why)
{
    struct crowd *crowd = arg;
    int rc;

    *why = "too few descriptors (ulimit -n), or no io_uring";
    if (!crowd->crowd)
        return KOFN_UNSUPPORTED;
    rc = tcp_crowd_run(crowd->crowd, WAIT_FOR, CROWD_ROUNDS, &crowd->sample);
    *ns = crowd->sample.p99_ns;
    return rc;
}

static int measure_idle(void *arg, double *ns, const char **why)
{
    struct crowd *crowd = arg;

    *why = "too few descriptors (ulimit -n), or no io_uring";
    return crowd->crowd ? tcp_crowd_idle(crowd->crowd, 1, ns) : KOFN_UNSUPPORTED;
}

static int open_crowds(struct crowd crowds[CROWDS], int here, int there)
{
    for (int i = 0; i < CROWDS; i++) {
        int rc = 0;

        crowds[i].sample.cpu_ns = NAN;
        if (i == BARE || engine_allowed((enum engine)i))
            rc = tcp_crowd_open(CROWD, i == BARE ? tcp_crowd_bare : engine_options[i], here, there,
                                &crowds[i].crowd);
        if (rc && rc != KOFN_UNSUPPORTED)
            return rc;
    }
    return 0;
}

static int run_detect(struct bench *bench, struct crowd crowds[CROWDS])
{
    static const char name[] = "800th of 1,000 publications to detected, TCP, p99";
    static const char cpu_name[] = "CPU of a server for one of 1,000 publications of 8 B, TCP";
    static double limit = DETECT_LIMIT_NS;
    static struct bench_contender ours[CROWDS] = {
        {.name = "kofn, io_uring", .measure = measure_detect},
        {.name = "kofn, epoll", .measure = measure_detect},
        {.name = "epoll and recv", .measure = measure_detect}};
    static struct bench_contender cpu[CROWDS] = {
        {.name = "kofn, io_uring", .measure = measure_kept},
        {.name = "kofn, epoll", .measure = measure_kept},
        {.name = "epoll and recv", .measure = measure_kept}};
    static struct bench_contender millisecond = {
        .name = "1 ms", .measure = measure_limit, .arg = &limit};
    struct bench_contender *all[2 * CROWDS + 1] = {&millisecond};
    int rc;

    for (int i = 0; i < CROWDS; i++) {
        ours[i].arg = &crowds[i];
        cpu[i].arg = &crowds[i].sample.cpu_ns;
        all[2 * i + 1] = &ours[i];
        all[2 * i + 2] = &cpu[i];
    }
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : compare_both(bench, name, "ns", ours, &millisecond, "<= 1.0");
    rc = rc ? rc : compare_both(bench, name, "ns", ours, &ours[BARE], NULL);
    rc = rc ? rc : compare_engines(bench, name, "ns", ours);
    rc = rc ? rc : compare_both(bench, cpu_name, "ns", cpu, &cpu[BARE], NULL);
    return rc ? rc : compare_engines(bench, cpu_name, "ns", cpu);
}

static int run_idle(struct bench *bench, struct crowd crowds[CROWDS])
{
    static const char name[] = "CPU of a server with 1,000 idle connections, a second";
    static double limit = IDLE_LIMIT_NS;
    static struct bench_contender ours[ENGINES] = {
        {.name = "kofn, io_uring", .measure = measure_idle},
        {.name = "kofn, epoll", .measure = measure_idle}};
    static struct bench_contender thousandth = {
        .name = "1 ms", .measure = measure_limit, .arg = &limit};
    struct bench_contender *all[] = {&ours[URING], &ours[POLL], &thousandth};
    int rc;

    ours[URING].arg = &crowds[URING];
    ours[POLL].arg = &crowds[POLL];
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : compare_both(bench, name, "ns", ours, &thousandth, "<= 1.0");
    return rc ? rc : compare_engines(bench, name, "ns", ours);
}

static int run_crowd(struct bench *bench, int here, int there)
{
    struct crowd crowds[CROWDS] = {{0}};
    int rc;

    if (!bench_first(true))
        fprintf(stderr,
                "%s: no real-time priority (ulimit -r): what follows waits for neighbours\n",
                bench->program);
    rc = open_crowds(crowds, here, there);
    rc = rc ? rc : run_detect(bench, crowds);
    rc = rc ? rc : run_idle(bench, crowds);
    for (int i = 0; i < CROWDS; i++)
        tcp_crowd_close(crowds[i].crowd);
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
    rc = rc ? rc : run_sleepy(&bench, cpus[0], cpus[1]);
    rc = rc ? rc : run_flow(&bench, cpus[0], cpus[1]);
    rc = rc ? rc : run_crowd(&bench, cpus[0], cpus[1]);
    return bench_close(&bench, rc);
}
