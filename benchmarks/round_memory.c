/* What a round moves through memory, and nothing else: threads fill the updates, merge them and
 * read the model, without a message, a stamp or a copy between them. No round takes less.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <kofn/kofn.h>

#include "base/base.h"
#include "benchmarks/cores.h"
#include "benchmarks/round_contenders.h"
#include "benchmarks/round_data.h"
#include "math/reduce.h"

#define CHUNK 64u /* elements: where the threads' parts of a merge begin */

struct memory {
    const struct round_memory *job;
    size_t count;
    const struct kofn_reduce_ops *reduce;
    pthread_barrier_t barrier;
    float *models[2];
    float *updates[ROUND_WORKERS];
    double *times;
    bool wrong;
};

struct thread {
    struct memory *memory;
    uint32_t index;
    int cpu;
    pthread_t id;
};

static void merge_part(struct memory *memory, uint32_t index, uint32_t round)
{
    static const float weights[ROUND_WORKERS] = {1, 1, 1, 1, 1, 1, 1, 1};
    const struct kofn_merge merge = {.out = memory->models[round % 2],
                                     .base = memory->models[(round + 1) % 2],
                                     .updates = (const void *const *)memory->updates,
                                     .weights = weights,
                                     .count = ROUND_WORKERS};
    size_t chunks = memory->count / CHUNK, threads = memory->job->threads;
    size_t first = chunks * index / threads * CHUNK;
    size_t last = index + 1 == threads ? memory->count : chunks * (index + 1) / threads * CHUNK;

    memory->reduce->merge[KOFN_F32](&merge, first, last);
}

/* The workers of thread t are t, t + threads, ... */
static void one_round(struct thread *thread, uint32_t round)
{
    struct memory *memory = thread->memory;
    double wanted = round % 2 ? round_expect(ROUND_WORKERS, round, memory->count) : 0;

    for (uint32_t rank = thread->index; rank < ROUND_WORKERS; rank += memory->job->threads)
        round_fill(memory->updates[rank], memory->count, rank, round);
    pthread_barrier_wait(&memory->barrier);
    merge_part(memory, thread->index, round);
    pthread_barrier_wait(&memory->barrier);
    for (uint32_t rank = thread->index; rank < ROUND_WORKERS; rank += memory->job->threads)
        if (round_read(memory->models[round % 2], memory->count) != wanted)
            __atomic_store_n(&memory->wrong, true, __ATOMIC_RELAXED);
    pthread_barrier_wait(&memory->barrier);
}

static void *run_rounds(void *arg)
{
    struct thread *thread = arg;
    const struct round_shape *shape = thread->memory->job->shape;

    bench_pin(thread->cpu);
    for (uint32_t round = 1; round <= shape->warm + shape->rounds; round++) {
        double begin = round_clock();

        one_round(thread, round);
        if (thread->index == 0 && round > shape->warm)
            thread->memory->times[round - shape->warm - 1] = round_clock() - begin;
    }
    return NULL;
}

static int allocate(struct memory *memory)
{
    size_t bytes = memory->job->shape->bytes;

    memory->times = calloc(memory->job->shape->rounds, sizeof(*memory->times));
    if (!memory->times)
        return KOFN_NO_MEMORY;
    for (uint32_t i = 0; i < ROUND_WORKERS + 2; i++) {
        float **at = i < 2 ? &memory->models[i] : &memory->updates[i - 2];

        *at = aligned_alloc(KOFN_CACHE_LINE, bytes);
        if (!*at)
            return KOFN_NO_MEMORY;
        memset(*at, 0, bytes);
    }
    return 0;
}

static int run_threads(struct memory *memory)
{
    struct thread threads[BENCH_CORES_MAX];
    int cpus[BENCH_CORES_MAX], cores = bench_cores(cpus, BENCH_CORES_MAX);
    uint32_t begun = 0, count = memory->job->threads;

    if (pthread_barrier_init(&memory->barrier, NULL, count))
        return KOFN_NO_MEMORY;
    for (; begun < count; begun++) {
        threads[begun] = (struct thread){
            .memory = memory, .index = begun, .cpu = (int)begun < cores ? cpus[begun] : -1};
        if (pthread_create(&threads[begun].id, NULL, run_rounds, &threads[begun]))
            abort(); /* those that run wait for the others without end */
    }
    for (uint32_t i = 0; i < begun; i++)
        pthread_join(threads[i].id, NULL);
    pthread_barrier_destroy(&memory->barrier);
    return 0;
}

int round_memory_measure(void *arg, double *us, const char **why)
{
    const struct round_memory *job = arg;
    struct memory memory = {
        .job = job, .count = job->shape->bytes / sizeof(float), .reduce = kofn_reduce_select()};
    int rc = allocate(&memory);

    if (!rc)
        rc = run_threads(&memory);
    if (!rc && memory.wrong) {
        *why = "a sum is wrong";
        rc = KOFN_SYSTEM;
    }
    if (!rc)
        *us = round_median(memory.times, job->shape->rounds) / 1e3;
    for (uint32_t i = 0; i < ROUND_WORKERS; i++)
        free(memory.updates[i]);
    free(memory.models[0]);
    free(memory.models[1]);
    free(memory.times);
    return rc;
}
