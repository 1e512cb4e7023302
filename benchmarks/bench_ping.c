/* How long until the other process sees what one has written, over shared memory: 8 bytes, one way.
 *
 * Contenders: the raw exchange of one and of two cache lines, and UCX's put over posix shared
 * memory.
 */
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "benchmarks/raw_ping.h"
#include "benchmarks/ucx_ping.h"

#define BLOCKS 1000 /* of 100 round trips: some 30 ms a sample */

static int measure_raw(void *arg, double *ns, const char **why)
{
    (void)why;
    return raw_ping_measure(arg, BLOCKS, ns);
}

static int measure_ucx(void *arg, double *ns, const char **why)
{
    return ucx_ping_measure(arg, ns, why);
}

static int run(struct bench *bench, int here, int there)
{
    struct ucx_ping posix = {.test = "ucp_put_lat",
                             .transports = "posix,self",
                             .bytes = 8,
                             .iterations = 200000,
                             .here = here,
                             .there = there};
    struct raw_ping *pings[2] = {NULL, NULL};
    static struct bench_contender one = {.name = "raw ping, one line", .measure = measure_raw};
    static struct bench_contender two = {.name = "raw ping, two lines", .measure = measure_raw};
    static struct bench_contender ucx = {.name = "ucp_put_lat, posix", .measure = measure_ucx};
    struct bench_contender *all[] = {&one, &two, &ucx};
    int rc;

    rc = raw_ping_open(1, here, there, &pings[0]);
    if (rc)
        return rc;
    rc = raw_ping_open(2, here, there, &pings[1]);
    if (rc)
        goto close_pings;
    one.arg = pings[0];
    two.arg = pings[1];
    ucx.arg = &posix;
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    if (rc)
        goto close_pings;
    rc = bench_compare(bench, "raw ping of one line, shm, 8 B", "ns", &one, &ucx, NULL);
    if (!rc)
        rc = bench_compare(bench, "raw ping of two lines, shm, 8 B", "ns", &two, &one, NULL);

close_pings:
    raw_ping_close(pings[1]);
    raw_ping_close(pings[0]);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int cpus[2] = {-1, -1};
    int rc = bench_open(&bench, argc, argv, "Latency between two processes over shared memory.");

    if (rc)
        return rc > 0 ? 0 : 2;
    if (bench_cores(cpus, 2) < 2)
        fprintf(stderr, "%s: fewer than two cores: what follows is the scheduler's latency\n",
                bench.program);
    return bench_close(&bench, run(&bench, cpus[0], cpus[1]));
}
