/* What it takes to know that the K-th of N workers is done, once its beat has arrived: the look at
 * all beats, as a server takes it, and the round that counts them.
 *
 * Against a bare read of the same lines. Another process on another core writes a beat of a random
 * rank; when it says that it has, the look, or the read, is timed, in turns. Beats lie side by
 * side, as where they come over a network, or each in its worker's own memory, as in shared memory.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "benchmarks/cores.h"
#include "benchmarks/echo.h"
#include "benchmarks/harness.h"
#include "proto/beats.h"
#include "round/round.h"
#include "round/watch.h"
#include "transports/shm/layout.h"

#define TRIALS 200   /* a sample; an odd one is a bare read */
#define READ_STEP 8u /* lines; the numbers of workers are multiples of 64 */

struct quorum {
    uint32_t workers;
    size_t stride;
    struct kofn_memory beats;
    uint64_t *seen;
    uint32_t *changed, *order; /* ranks in the order of their beats */
    uint32_t turn;             /* in it */
    struct kofn_round round;
    struct kofn_random random;
    struct echo *writer;

    double look_ns, read_ns; /* of the last sample */
    uint64_t sink;
};

/* ---- what is timed ---- */

/* A server's look at its beats; see core/serve.c. */
static void look(struct quorum *quorum, uint64_t now)
{
    uint32_t count = kofn_beats_scan(quorum->beats.address, quorum->stride, quorum->seen,
                                     quorum->workers, quorum->changed, quorum->workers);

    for (uint32_t i = 0; i < count; i++) {
        struct kofn_beat beat;

        if (kofn_beat_unpack(quorum->seen[quorum->changed[i]], &beat))
            kofn_round_beat(&quorum->round, quorum->changed[i], beat, now);
    }
}

/* One word of every line that has beats in it; several a turn, which is faster. */
static void read_lines(struct quorum *quorum)
{
    const char *at = quorum->beats.address, *end = at + quorum->workers * quorum->stride;
    size_t step = KOFN_MAX(quorum->stride, KOFN_CACHE_LINE);
    uint64_t sum = 0;

    for (; at < end; at += READ_STEP * step)
        for (size_t i = 0; i < READ_STEP; i++)
            sum += *(const volatile uint64_t *)(const void *)(at + i * step);
    quorum->sink = sum;
}

/* ---- a sample ---- */

static void shuffle(struct quorum *quorum)
{
    for (uint32_t i = quorum->workers - 1; i > 0; i--) {
        uint32_t other = (uint32_t)kofn_random_below(&quorum->random, i + 1);
        uint32_t keep = quorum->order[i];

        quorum->order[i] = quorum->order[other];
        quorum->order[other] = keep;
    }
}

/* The rank whose beat comes next; a new round where only the last one is left, with which this one
 * would close.
 */
static uint32_t next_rank(struct quorum *quorum)
{
    if (quorum->turn + 1 == quorum->workers) {
        kofn_round_next(&quorum->round, kofn_now_ns());
        shuffle(quorum);
        quorum->turn = 0;
    }
    return quorum->order[quorum->turn++];
}

static bool beat_comes(struct quorum *quorum)
{
    uint32_t rank = next_rank(quorum);
    struct kofn_beat beat = {quorum->round.number, 1};

    return echo_write(quorum->writer, (char *)quorum->beats.address + rank * quorum->stride,
                      kofn_beat_pack(beat));
}

static int sample(struct quorum *quorum)
{
    double times[2][TRIALS / 2];

    for (uint32_t i = 0; i < TRIALS; i++) {
        uint64_t start, end;
        uint32_t before;

        if (!beat_comes(quorum))
            return kofn_error(NULL, KOFN_GONE, "quorum: the other process does not answer");
        before = quorum->round.reached; /* a new round may have begun */
        start = kofn_now_ns();
        if (i % 2)
            read_lines(quorum);
        else
            look(quorum, start);
        end = kofn_now_ns();
        times[i % 2][i / 2] = (double)(end - start);
        if (i % 2)
            look(quorum, end);
        if (quorum->round.reached != before + 1)
            return kofn_error(NULL, KOFN_FORMAT, "quorum: a beat was not counted");
    }
    quorum->look_ns = bench_middle(times[0], TRIALS / 2);
    quorum->read_ns = bench_middle(times[1], TRIALS / 2);
    return 0;
}

/* ---- contenders: the first takes the sample, the others say what is in it ---- */

static int measure_look(void *arg, double *us, const char **why)
{
    struct quorum *quorum = arg;
    int rc = sample(quorum);

    (void)why;
    *us = quorum->look_ns / 1e3;
    return rc;
}

static int measure_read(void *arg, double *us, const char **why)
{
    (void)why;
    *us = ((const struct quorum *)arg)->read_ns / 1e3;
    return 0;
}

static int measure_beyond(void *arg, double *us, const char **why)
{
    const struct quorum *quorum = arg;

    (void)why;
    *us = (quorum->look_ns - quorum->read_ns) / 1e3;
    return 0;
}

static int measure_limit(void *arg, double *us, const char **why)
{
    (void)why;
    *us = *(const double *)arg;
    return 0;
}

/* ---- set-up ---- */

/* As many workers as there are, in the first round, which waits for all of them. */
static int open_round(struct quorum *quorum)
{
    struct kofn_round_config config = {.algorithm = &kofn_stsyn,
                                       .workers = quorum->workers,
                                       .wait_for = quorum->workers,
                                       .local_steps = 1,
                                       .quorum = 1,
                                       .publish = KOFN_PUBLISH_ON_CLOSE};
    uint64_t now = kofn_now_ns();
    int rc = kofn_round_init(&quorum->round, &config);

    if (rc)
        return kofn_error(NULL, rc, "quorum: a round of %u workers", quorum->workers);
    for (uint32_t rank = 0; rank < quorum->workers; rank++) {
        kofn_member_join(&quorum->round.members[rank], 1, now);
        quorum->round.members[rank].state = KOFN_MEMBER_READY;
    }
    kofn_watch_membership(&quorum->round);
    kofn_round_next(&quorum->round, now);
    return 0;
}

static void close_quorum(struct quorum *quorum)
{
    echo_close(quorum->writer);
    kofn_round_fini(&quorum->round);
    kofn_memory_unmap(&quorum->beats);
    free(quorum->seen);
    free(quorum->changed);
    free(quorum->order);
}

static int open_quorum(struct quorum *quorum, uint32_t workers, size_t stride, int there)
{
    int rc;

    *quorum = (struct quorum){.workers = workers, .stride = stride};
    kofn_random_seed(&quorum->random, 1, workers);
    quorum->seen = calloc(workers, sizeof(*quorum->seen));
    quorum->changed = calloc(workers, sizeof(*quorum->changed));
    quorum->order = calloc(workers, sizeof(*quorum->order));
    if (!quorum->seen || !quorum->changed || !quorum->order)
        return kofn_error(NULL, KOFN_NO_MEMORY, "quorum: %u workers", workers);
    for (uint32_t i = 0; i < workers; i++)
        quorum->order[i] = i;
    shuffle(quorum);
    rc = kofn_memory_map_shared(&quorum->beats, "beats", workers * stride, KOFN_MEMORY_PLAIN, NULL);
    rc = rc ? rc : open_round(quorum);
    return rc ? rc : echo_open(there, &quorum->writer);
}

/* ---- rows ---- */

struct row {
    uint32_t workers;
    double limit_us;
    const char *limit, *bar;
};

static const struct row rows[] = {
    {64, 1, "1 us", NULL}, {1024, 1, "1 us", "<= 1.0"}, {16384, 10, "10 us", "<= 1.0"}};

static int compare(struct bench *bench, const struct row *row, bool dense, int there)
{
    struct kofn__shm_layout layout;
    struct kofn_geometry slot;
    struct quorum quorum;
    struct bench_contender look = {.name = "look", .measure = measure_look, .arg = &quorum};
    struct bench_contender read = {.name = "bare read", .measure = measure_read, .arg = &quorum};
    struct bench_contender beyond = {.name = "beyond", .measure = measure_beyond, .arg = &quorum};
    struct bench_contender limit = {
        .name = row->limit, .measure = measure_limit, .arg = (void *)&row->limit_us};
    struct bench_contender *all[] = {&look, &read, &beyond, &limit};
    const char *where = dense ? "side by side" : "in shared memory";
    char name[100];
    int rc = kofn_geometry_init(&slot, 8, KOFN_DEPTH);

    if (rc)
        return rc;
    kofn__shm_layout_init(&layout, row->workers, &slot);
    rc = open_quorum(&quorum, row->workers, dense ? 8 : layout.worker_bytes + layout.colour, there);
    rc = rc ? rc : bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    if (!rc) {
        snprintf(name, sizeof(name), "K-th of %u detected beyond a bare read, %s", row->workers,
                 where);
        rc = bench_compare(bench, name, "us", &beyond, &limit, row->bar);
    }
    if (!rc) {
        snprintf(name, sizeof(name), "K-th of %u detected, %s", row->workers, where);
        rc = bench_compare(bench, name, "us", &look, &read, NULL);
    }
    close_quorum(&quorum);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int cpus[2] = {-1, -1};
    int rc = bench_open(&bench, argc, argv, "Detection of the K-th of N beats.");

    if (rc)
        return rc > 0 ? 0 : 2;
    if (bench_cores(cpus, 2) < 2)
        fprintf(stderr, "%s: fewer than two cores: beats come from this one\n", bench.program);
    rc = bench_pin(cpus[0]);
    for (size_t i = 0; !rc && i < KOFN_ARRAY_SIZE(rows); i++)
        for (int dense = 1; !rc && dense >= 0; dense--)
            rc = compare(&bench, &rows[i], dense, cpus[1]);
    return bench_close(&bench, rc);
}
