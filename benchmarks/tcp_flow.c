#include "benchmarks/tcp_flow.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "benchmarks/child.h"
#include "benchmarks/cores.h"
#include "transports/uring/uring.h"

#define EPOCH 1u
#define WARM_UP 8u /* publications before the clock starts */
#define WAIT_NS (100 * KOFN_NS_PER_MS)
#define SILENCE_NS (10 * KOFN_NS_PER_S)

/* ---- the worker ---- */

/* Waits until publication @sequence may be written. */
static void await_credit(struct kofn_endpoint *endpoint, uint64_t sequence)
{
    for (;;) {
        uint64_t word = kofn_peer_load64(&endpoint->block->gate);
        struct kofn_gate gate = {0};

        kofn_gate_unpack(word, &gate);
        if (kofn_credit_granted(&endpoint->slot, sequence, gate.released) &&
            (sequence <= endpoint->slot.depth ||
             !endpoint->ops->endpoint_left(endpoint, sequence - endpoint->slot.depth)))
            return;
        endpoint->ops->endpoint_wait(endpoint, word, kofn_now_ns() + WAIT_NS);
    }
}

static void publish_for_ever(struct kofn_endpoint *endpoint)
{
    struct kofn_stamp stamp = {.epoch = EPOCH,
                               .round = 1,
                               .version = 1,
                               .updates = 1,
                               .total = 1,
                               .length = endpoint->slot.payload_bytes};

    for (;;) {
        await_credit(endpoint, ++stamp.sequence);
        endpoint->ops->endpoint_buffer(endpoint, stamp.sequence);
        if (endpoint->ops->endpoint_publish(endpoint, &stamp))
            return;
    }
}

static void child_main(const struct tcp_flow *flow, const struct kofn_hub *hub,
                       const struct kofn_offer *offer, int answers, pid_t parent)
{
    struct kofn_endpoint_attr attr = {
        .epoch = EPOCH, .slot = hub->slot, .model = hub->model, .options = flow->options};
    struct kofn_endpoint *endpoint;
    struct kofn_offer answer;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && bench_pin(flow->there) == 0 &&
        kofn_tcp.endpoint_open(&attr, offer, &answer, &endpoint) == 0 &&
        write(answers, &answer, sizeof(answer)) == sizeof(answer))
        publish_for_ever(endpoint);
    _exit(0);
}

/* ---- the server ---- */

/* Takes what has come, and gives it back. Returns how many, negative if the worker is gone. */
static int take(struct kofn_hub *hub)
{
    struct kofn_arrival found[KOFN_DEPTH];
    int count = hub->ops->hub_poll(hub, found, KOFN_DEPTH);

    for (int i = 0; i < count; i++) {
        struct kofn_gate gate = {
            .round = 1, .state = KOFN_GATE_OPEN, .released = (uint32_t)(found[i].sequence % 256)};

        hub->ops->hub_gate(hub, 0, kofn_gate_pack(gate));
    }
    return count;
}

/* @all: out: publications in all, also before the clock started. */
static int count_bytes(const struct tcp_flow *flow, struct kofn_hub *hub, double *rate,
                       uint64_t *all)
{
    uint64_t count = 0, begun = 0, now = kofn_now_ns(), heard = now;

    while (!begun || now < begun + flow->seconds * KOFN_NS_PER_S) {
        int more = take(hub);

        if (!more)
            hub->ops->hub_wait(hub, kofn_now_ns() + WAIT_NS);
        now = kofn_now_ns();
        heard = more > 0 ? now : heard;
        if (more < 0 || now > heard + SILENCE_NS)
            return kofn_error(NULL, KOFN_GONE, "flow: the worker does not go on");
        count += (uint64_t)more;
        if (!begun && count >= WARM_UP) {
            begun = now;
            *all = count;
            count = 0;
        }
    }
    *all += count;
    *rate = (double)(count * flow->bytes) / ((double)(heard - begun) / 1e9);
    return 0;
}

/* Starts the worker's process, and connects it. @child: out, also where that fails; 0 = none. */
static int start_worker(const struct tcp_flow *flow, struct kofn_hub *hub, pid_t *child)
{
    struct kofn_offer offer, answer;
    pid_t parent = getpid();
    int answers[2], rc = hub->ops->hub_admit(hub, 0, EPOCH, &offer);

    *child = 0;
    if (rc)
        return rc;
    if (pipe(answers))
        return kofn_error_errno(NULL, "flow: pipe");
    *child = fork();
    if (*child == 0)
        child_main(flow, hub, &offer, answers[1], parent);
    close(answers[1]);
    if (*child < 0)
        rc = kofn_error_errno(NULL, "flow: fork");
    else if (read(answers[0], &answer, sizeof(answer)) != sizeof(answer))
        rc = kofn_error(NULL, KOFN_GONE, "flow: the worker cannot join");
    close(answers[0]);
    return rc ? rc : hub->ops->hub_connect(hub, 0, &answer);
}

/* CPU time is that of the whole life of both: starting takes a thousandth of it. */
static int run(const struct tcp_flow *flow, struct kofn_hub *hub, struct tcp_flow_sample *sample)
{
    double before = bench_cpu_ns(false) + bench_cpu_ns(true);
    uint64_t publications = 1;
    pid_t child;
    int rc = start_worker(flow, hub, &child);

    rc = rc ? rc : count_bytes(flow, hub, &sample->rate, &publications);
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    sample->cpu_ns = (bench_cpu_ns(false) + bench_cpu_ns(true) - before) / (double)publications;
    return rc;
}

int tcp_flow_measure(const struct tcp_flow *flow, struct tcp_flow_sample *sample)
{
    struct kofn_hub_attr attr = {
        .workers = 1, .numa_node = -1, .bind = "127.0.0.1", .options = flow->options};
    struct kofn_hub *hub;
    int rc = bench_pin(flow->here);

    rc = rc ? rc : kofn_geometry_init(&attr.slot, flow->bytes, KOFN_DEPTH);
    attr.model = attr.slot;
    rc = rc ? rc : kofn_tcp.hub_open(&attr, &hub);
    if (rc)
        return rc;
    rc = run(flow, hub, sample);
    kofn_tcp.hub_close(hub);
    return rc;
}

/* ---- iperf3 ---- */

/* The report of a client: the rate, and which share of a core each side had. */
static int parse(const char *text, uint64_t bytes, struct tcp_flow_sample *sample)
{
    json_t *root = json_loads(text, 0, NULL);
    double bits = 0, client = 0, server = 0;
    int bad = json_unpack(root, "{s:{s:{s:F}, s:{s:F, s:F}}}", "end", "sum_received",
                          "bits_per_second", &bits, "cpu_utilization_percent", "host_total",
                          &client, "remote_total", &server);

    json_decref(root);
    if (bad || !(bits > 0))
        return kofn_error(NULL, KOFN_FORMAT, "iperf3: report not understood: %.200s", text);
    sample->rate = bits / 8;
    sample->cpu_ns = (client + server) / 100 * 1e9 * (double)bytes / sample->rate;
    return 0;
}

/* One server, one client, one stream; the server ends with its client, and is tried until it
 * listens.
 */
int iperf_measure(const struct tcp_flow *flow, struct tcp_flow_sample *sample, const char **why)
{
    static char report[65536];
    char script[512], cpus[48] = "";
    const char *argv[] = {"sh", "-c", script, NULL};
    int status, rc;

    if (!bench_child_there("iperf3")) {
        *why = "iperf3 is not installed (Debian package iperf3)";
        return KOFN_UNSUPPORTED;
    }
    if (flow->here >= 0 && flow->there >= 0)
        snprintf(cpus, sizeof(cpus), "-A %d,%d", flow->there, flow->here);
    snprintf(script, sizeof(script),
             "port=$((20000 + $$ %% 10000))\n"
             "timeout 30 iperf3 -s -1 -B 127.0.0.1 -p $port >/dev/null &\n"
             "for try in 1 2 3 4 5 6 7 8 9 10; do\n"
             "    sleep 0.1\n"
             "    report=$(iperf3 -c 127.0.0.1 -p $port %s -t %u -J) && echo \"$report\" && break\n"
             "done\n"
             "wait\n",
             cpus, flow->seconds);
    rc = bench_child_run(argv, 60, report, sizeof(report), &status);
    return rc ? rc : parse(report, flow->bytes, sample);
}
