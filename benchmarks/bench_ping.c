/* How long until the other process sees what one has written, over shared memory: 8 bytes, one way.
 *
 * Contenders: the raw exchange of one and of two cache lines, with and without pauses, and UCX's
 * put over posix shared memory.
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

/* The raw exchanges: of one and of two lines, each with looks close together and with pauses. */
static const struct {
    const char *name;
    unsigned lines;
    bool relax;
} kinds[] = {
    {"raw ping, one line", 1, false},
    {"raw ping, one line, pausing", 1, true},
    {"raw ping, two lines", 2, false},
    {"raw ping, two lines, pausing", 2, true},
};
#define KINDS KOFN_ARRAY_SIZE(kinds)

struct pings {
    struct raw_ping *raw[KINDS];
    struct bench_contender contenders[KINDS];
};

static void close_pings(struct pings *pings)
{
    for (size_t i = 0; i < KINDS; i++)
        raw_ping_close(pings->raw[i]);
}

static int open_pings(struct pings *pings, int here, int there)
{
    for (size_t i = 0; i < KINDS; i++) {
        int rc = raw_ping_open(kinds[i].lines, kinds[i].relax, here, there, &pings->raw[i]);

        if (rc) {
            close_pings(pings);
            return rc;
        }
        pings->contenders[i] = (struct bench_contender){
            .name = kinds[i].name, .measure = measure_raw, .arg = pings->raw[i]};
    }
    return 0;
}

static const struct bench_contender *faster(const struct bench_contender *a,
                                            const struct bench_contender *b)
{
    return bench_median(a) <= bench_median(b) ? a : b;
}

static int run(struct bench *bench, int here, int there)
{
    struct ucx_ping posix = {.test = "ucp_put_lat",
                             .transports = "posix,self",
                             .bytes = 8,
                             .iterations = 200000,
                             .here = here,
                             .there = there};
    static struct bench_contender ucx = {.name = "ucp_put_lat, posix", .measure = measure_ucx};
    static struct pings pings;
    struct bench_contender *raw = pings.contenders;
    struct bench_contender *all[] = {&raw[0], &raw[1], &raw[2], &raw[3], &ucx};
    const struct bench_contender *one, *two;
    int rc = open_pings(&pings, here, there);

    if (rc)
        return rc;
    ucx.arg = &posix;
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    if (rc)
        goto close_pings;
    one = faster(&raw[0], &raw[1]);
    two = faster(&raw[2], &raw[3]);
    rc = bench_compare(bench, "raw ping of one line, shm, 8 B", "ns", one, &ucx, NULL);
    if (!rc)
        rc = bench_compare(bench, "raw ping of two lines, shm, 8 B", "ns", two, one, NULL);

close_pings:
    close_pings(&pings);
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
