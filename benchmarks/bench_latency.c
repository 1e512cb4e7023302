/* How long until the server has found what a worker has written, over shared memory.
 *
 * A beat is one line, a publication of 8 bytes two, the payload's and the stamp's. Against them:
 * the raw exchange of one and of two lines between two processes, with or without pauses, whichever
 * is faster, and UCX's put over posix shared memory.
 */
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "benchmarks/raw_ping.h"
#include "benchmarks/slot_ping.h"
#include "benchmarks/ucx_ping.h"
#include "transports/shm/shm.h"

#define BLOCKS 400 /* of 100 round trips: some 12 ms a sample */
#define BYTES 8

static int measure_raw(void *arg, double *ns, const char **why)
{
    (void)why;
    return raw_ping_measure(arg, BLOCKS, ns);
}

static int measure_ucx(void *arg, double *ns, const char **why)
{
    return ucx_ping_measure(arg, ns, why);
}

static int measure_beat(void *arg, double *ns, const char **why)
{
    (void)why;
    return slot_ping_beat(arg, BLOCKS, ns);
}

static int measure_found(void *arg, double *ns, const char **why)
{
    (void)why;
    return slot_ping_publication(arg, false, BLOCKS, ns);
}

static int measure_read(void *arg, double *ns, const char **why)
{
    (void)why;
    return slot_ping_publication(arg, true, BLOCKS, ns);
}

/* The raw exchanges: of one and of two lines, each with looks close together and with pauses. */
static const struct {
    const char *name;
    unsigned lines;
    bool relax;
} raws[] = {
    {"raw ping, one line", 1, false},
    {"raw ping, one line, pausing", 1, true},
    {"raw ping, two lines", 2, false},
    {"raw ping, two lines, pausing", 2, true},
};

#define RAWS KOFN_ARRAY_SIZE(raws)

struct pings {
    struct raw_ping *raw[RAWS];
    struct slot_ping *shm;
    struct ucx_ping posix;
    struct bench_contender raws[RAWS], beat, found, read, ucx;
};

static void close_pings(struct pings *pings)
{
    for (size_t i = 0; i < RAWS; i++)
        raw_ping_close(pings->raw[i]);
    slot_ping_close(pings->shm);
}

static int open_pings(struct pings *pings, int here, int there)
{
    struct slot_ping_attr shm = {
        .transport = &kofn_shm, .bytes = BYTES, .block = 100, .here = here, .there = there};
    int rc = slot_ping_open(&shm, &pings->shm);

    for (size_t i = 0; !rc && i < RAWS; i++) {
        rc = raw_ping_open(raws[i].lines, raws[i].relax, here, there, &pings->raw[i]);
        pings->raws[i] = (struct bench_contender){
            .name = raws[i].name, .measure = measure_raw, .arg = pings->raw[i]};
    }
    pings->beat =
        (struct bench_contender){.name = "kofn, beat", .measure = measure_beat, .arg = pings->shm};
    pings->found = (struct bench_contender){
        .name = "kofn, publication", .measure = measure_found, .arg = pings->shm};
    pings->read = (struct bench_contender){
        .name = "kofn, publication read", .measure = measure_read, .arg = pings->shm};
    pings->posix = (struct ucx_ping){.test = "ucp_put_lat",
                                     .transports = "posix,self",
                                     .bytes = BYTES,
                                     .iterations = 200000,
                                     .here = here,
                                     .there = there};
    pings->ucx = (struct bench_contender){
        .name = "ucp_put_lat, posix", .measure = measure_ucx, .arg = &pings->posix};
    return rc;
}

static const struct bench_contender *faster(const struct bench_contender *a,
                                            const struct bench_contender *b)
{
    return bench_median(a) <= bench_median(b) ? a : b;
}

static int report(struct bench *bench, const struct pings *pings)
{
    const struct bench_contender *one = faster(&pings->raws[0], &pings->raws[1]);
    const struct bench_contender *two = faster(&pings->raws[2], &pings->raws[3]);
    const struct {
        const char *name;
        const struct bench_contender *ours, *against;
        const char *bar;
    } rows[] = {
        {"beat to detected, shm, 8 B", &pings->beat, &pings->ucx, "<= 1.0"},
        {"beat to detected, shm, 8 B", &pings->beat, one, "<= 1.2"},
        {"publication to detected, shm, 8 B", &pings->found, two, "<= 1.2"},
        {"publication to judged and read, shm, 8 B", &pings->read, two, NULL},
        {"raw ping of one line, shm, 8 B", one, &pings->ucx, NULL},
        {"raw ping of two lines, shm, 8 B", two, one, NULL},
    };
    int rc = 0;

    for (size_t i = 0; !rc && i < KOFN_ARRAY_SIZE(rows); i++)
        rc = bench_compare(bench, rows[i].name, "ns", rows[i].ours, rows[i].against, rows[i].bar);
    return rc;
}

static int run(struct bench *bench, int here, int there)
{
    static struct pings pings;
    struct bench_contender *raw = pings.raws;
    struct bench_contender *all[] = {&raw[0],     &raw[1],      &raw[2],     &raw[3],
                                     &pings.beat, &pings.found, &pings.read, &pings.ucx};
    int rc = open_pings(&pings, here, there);

    rc = rc ? rc : bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    rc = rc ? rc : report(bench, &pings);
    close_pings(&pings);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int cpus[2] = {-1, -1};
    int rc =
        bench_open(&bench, argc, argv, "Latency from a worker to its server over shared memory.");

    if (rc)
        return rc > 0 ? 0 : 2;
    if (bench_cores(cpus, 2) < 2)
        fprintf(stderr, "%s: fewer than two cores: what follows is the scheduler's latency\n",
                bench.program);
    return bench_close(&bench, run(&bench, cpus[0], cpus[1]));
}
