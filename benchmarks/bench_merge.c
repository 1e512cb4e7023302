/* The weighted merge of K = 8 updates of 64 MiB, on one core and on all, in bytes of memory moved a
 * second.
 *
 * Contender: a kernel of the same instruction set that adds eight arrays into a ninth, no weights
 * and no check for NaN, with the kind of stores that is faster here. Where several cores work, it
 * uses the same threads.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "benchmarks/sum8.h"
#include "math/reduce_pool.h"

#define COUNT 8
#define BYTES (UINT64_C(64) << 20)
#define ELEMENTS (BYTES / sizeof(float))
#define ARRAYS (COUNT + 2) /* and the model, and the new one */

struct merges {
    struct kofn_memory arrays[ARRAYS];
    struct kofn_reduce_pool *pool;
    const void *updates[COUNT];
    float weights[COUNT], *model, *out;
};

/* One way to do it. */
struct job {
    struct merges *merges;
    bool onto_model;    /* the merge: adds to the model, one more array to read */
    sum8_kernel kernel; /* the contender; NULL = the merge */
};

static bool sum_part(void *arg, size_t first, size_t last)
{
    const struct job *job = arg;

    job->kernel(job->merges->out, (const float *const *)job->merges->updates, first, last);
    return true;
}

/* One sample in GB/s: what must be read and written at least, over the time it took. */
static int measure(void *arg, double *value, const char **why)
{
    const struct job *job = arg;
    struct merges *merges = job->merges;
    struct kofn_merge merge = {.out = merges->out,
                               .base = job->onto_model ? merges->model : NULL,
                               .updates = merges->updates,
                               .weights = merges->weights,
                               .count = COUNT};
    uint64_t before = kofn_now_ns();
    bool finite;

    (void)why;
    if (job->kernel)
        finite = kofn_reduce_pool_run(merges->pool, sum_part, arg, ELEMENTS);
    else
        finite = kofn_reduce_pool_merge(merges->pool, KOFN_F32, &merge, ELEMENTS);
    *value = (double)((COUNT + 1 + job->onto_model) * BYTES) / (double)(kofn_now_ns() - before);
    return finite ? 0 : KOFN_NOT_FINITE;
}

/* The contender: of the two kernels the one that is faster here. It is chosen before, because who
 * comes next in turn pays for lines that plain stores have left dirty in the caches.
 */
static int choose(const struct bench *bench, struct merges *merges, struct job *job,
                  struct bench_contender *chosen)
{
    static struct bench_contender plain, streaming;
    struct bench_contender *both[] = {&plain, &streaming};
    const struct sum8 *sum8 = sum8_find(kofn_reduce_pool_ops(merges->pool)->name);
    struct job jobs[] = {{merges, false, sum8->plain}, {merges, false, sum8->streaming}};
    struct bench brief = *bench;
    bool stream;
    int rc;

    brief.seconds /= 3;
    plain =
        (struct bench_contender){.name = "sum of 8 arrays", .measure = measure, .arg = &jobs[0]};
    streaming = (struct bench_contender){
        .name = "sum of 8 arrays, streaming stores", .measure = measure, .arg = &jobs[1]};
    rc = bench_alternate(&brief, both, 2);
    if (rc)
        return rc;
    stream = bench_median(&streaming) >= bench_median(&plain);
    *job = jobs[stream];
    *chosen = (struct bench_contender){.name = both[stream]->name, .measure = measure, .arg = job};
    return 0;
}

/* All contenders on the threads of merges->pool; @where goes into the names of the rows. */
static int compare(struct bench *bench, struct merges *merges, const char *where)
{
    static struct bench_contender fresh, onto, sum;
    struct bench_contender *all[] = {&fresh, &sum, &onto};
    struct job jobs[] = {{merges, false, NULL}, {merges, true, NULL}, {0}};
    char name[128];
    int rc;

    fresh = (struct bench_contender){.name = "merge", .measure = measure, .arg = &jobs[0]};
    onto = (struct bench_contender){
        .name = "merge onto the model", .measure = measure, .arg = &jobs[1]};
    rc = choose(bench, merges, &jobs[2], &sum);
    if (!rc)
        rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    if (rc)
        return rc;
    snprintf(name, sizeof(name), "weighted merge of 8 x 64 MiB, %s", where);
    rc = bench_compare(bench, name, "GB/s", &fresh, &sum, ">= 0.9");
    if (rc)
        return rc;
    snprintf(name, sizeof(name), "weighted merge of 8 x 64 MiB onto the model, %s", where);
    return bench_compare(bench, name, "GB/s", &onto, &sum, ">= 0.9");
}

static void bind_thread(void *arg, unsigned thread)
{
    const int *cpus = arg;

    bench_pin(cpus[thread]);
}

static int compare_on(struct bench *bench, struct merges *merges, int *cpus, unsigned cores)
{
    struct kofn_reduce_pool_attr attr = {
        .threads = cores, .spin = 100 * KOFN_NS_PER_US, .start = bind_thread, .arg = cpus};
    char where[32];
    int rc = kofn_reduce_pool_open(&attr, &merges->pool);

    if (rc)
        return rc;
    snprintf(where, sizeof(where), cores == 1 ? "one core" : "%u cores", cores);
    rc = compare(bench, merges, where);
    kofn_reduce_pool_close(merges->pool);
    return rc;
}

static int fill(struct merges *merges)
{
    for (size_t i = 0; i < ARRAYS; i++) {
        int rc = kofn_memory_map(&merges->arrays[i], BYTES, 0, NULL);
        float *array = merges->arrays[i].address;

        if (rc)
            return rc;
        for (size_t j = 0; j < ELEMENTS; j++)
            array[j] = (float)((i + j) % 1021) / 1021;
        if (i < COUNT) {
            merges->updates[i] = array;
            merges->weights[i] = 1.0f / COUNT;
        }
    }
    merges->model = merges->arrays[COUNT].address;
    merges->out = merges->arrays[COUNT + 1].address;
    return 0;
}

static int run(struct bench *bench)
{
    struct merges merges = {0};
    int cpus[BENCH_CORES_MAX] = {-1}, rc;
    unsigned cores = (unsigned)bench_cores(cpus, BENCH_CORES_MAX);

    rc = fill(&merges);
    if (!rc)
        rc = bench_pin(cpus[0]);
    if (!rc)
        rc = compare_on(bench, &merges, cpus, 1);
    if (!rc && cores > 1)
        rc = compare_on(bench, &merges, cpus, cores);
    for (size_t i = 0; i < ARRAYS; i++)
        kofn_memory_unmap(&merges.arrays[i]);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int rc = bench_open(&bench, argc, argv, "Weighted merge of eight updates of 64 MiB.");

    if (rc)
        return rc > 0 ? 0 : 2;
    return bench_close(&bench, run(&bench));
}
