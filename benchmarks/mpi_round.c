/* mpi_round: the rounds of bench_round over Open MPI, for comparison.
 *
 *     mpirun -n 8 mpi_round allreduce BYTES ROUNDS WARM    every rank is a worker
 *     mpirun -n 9 mpi_round star BYTES ROUNDS WARM         rank 0 is the server of the others
 *
 * Prints the median and the mean time of a round at the first worker, in ns, warm-up dropped.
 * Exit status 1 if a worker has read a wrong sum.
 */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "benchmarks/round_data.h"

#define TAG 1

struct job {
    int rank, ranks;
    size_t count; /* f32 elements */
    uint32_t rounds, warm;
    double *times; /* of the measured rounds */
};

/* One rank's buffers; the server has one update a worker, side by side. With allreduce both are the
 * same: in place is faster.
 */
struct buffers {
    float *update, *model;
};

static void *allocate(size_t count)
{
    float *memory = aligned_alloc(4096, (count * sizeof(float) + 4095) / 4096 * 4096);

    if (!memory) {
        fprintf(stderr, "mpi_round: out of memory\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
        exit(1);
    }
    memset(memory, 0, count * sizeof(float));
    return memory;
}

static void worker_of_allreduce(const struct job *job, struct buffers *at)
{
    MPI_Allreduce(MPI_IN_PLACE, at->model, (int)job->count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static void worker_of_star(const struct job *job, struct buffers *at)
{
    MPI_Send(at->update, (int)job->count, MPI_FLOAT, 0, TAG, MPI_COMM_WORLD);
    MPI_Bcast(at->model, (int)job->count, MPI_FLOAT, 0, MPI_COMM_WORLD);
}

/* The sum of all workers' updates; four at a time, so that the model is not gone over for each. */
static void sum_up(const struct job *job, struct buffers *at)
{
    size_t count = job->count;
    int workers = job->ranks - 1, first = 0;
    float *restrict model = at->model;

    memset(model, 0, count * sizeof(float));
    for (; first + 4 <= workers; first += 4) {
        const float *restrict a = at->update + (size_t)first * count;
        const float *restrict b = a + count, *restrict c = b + count, *restrict d = c + count;

        for (size_t i = 0; i < count; i++)
            model[i] += (a[i] + b[i]) + (c[i] + d[i]);
    }
    for (; first < workers; first++) {
        const float *restrict a = at->update + (size_t)first * count;

        for (size_t i = 0; i < count; i++)
            model[i] += a[i];
    }
}

static void serve_star(const struct job *job, struct buffers *at)
{
    MPI_Request requests[64];
    int workers = job->ranks - 1;

    for (int i = 0; i < workers; i++)
        MPI_Irecv(at->update + (size_t)i * job->count, (int)job->count, MPI_FLOAT, i + 1, TAG,
                  MPI_COMM_WORLD, &requests[i]);
    MPI_Waitall(workers, requests, MPI_STATUSES_IGNORE);
    sum_up(job, at);
    MPI_Bcast(at->model, (int)job->count, MPI_FLOAT, 0, MPI_COMM_WORLD);
}

/* Returns how many rounds were not what they should be. */
static int work(const struct job *job, struct buffers *at, bool star)
{
    uint32_t worker = (uint32_t)(job->rank - star), workers = (uint32_t)(job->ranks - star);
    double before = 0, now;
    int wrong = 0;

    for (uint32_t round = 1; round <= job->warm + job->rounds; round++) {
        round_fill(at->update, job->count, worker, round);
        if (star)
            worker_of_star(job, at);
        else
            worker_of_allreduce(job, at);
        wrong += round_read(at->model, job->count) != round_expect(workers, round, job->count);
        now = round_clock();
        if (round > job->warm)
            job->times[round - job->warm - 1] = now - before;
        before = now;
    }
    return wrong;
}

static int run(struct job *job, bool star)
{
    bool server = star && job->rank == 0;
    struct buffers at;
    int wrong = 0, all;

    at.update = allocate(job->count * (size_t)(server ? job->ranks - 1 : 1));
    at.model = star ? allocate(job->count) : at.update;
    MPI_Barrier(MPI_COMM_WORLD);
    if (server)
        for (uint32_t round = 0; round < job->warm + job->rounds; round++)
            serve_star(job, &at);
    else
        wrong = work(job, &at, star);
    MPI_Allreduce(&wrong, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    free(at.update);
    if (star)
        free(at.model);
    return all;
}

static void print(const struct job *job)
{
    double mean = 0, median;

    for (uint32_t i = 0; i < job->rounds; i++)
        mean += job->times[i] / job->rounds;
    median = round_median(job->times, job->rounds);
    printf("%.0f %.0f\n", median, mean);
}

int main(int argc, char **argv)
{
    struct job job = {0};
    bool star = argc > 1 && !strcmp(argv[1], "star");
    int wrong;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &job.ranks);
    if (argc != 5 || job.ranks > 64 || (!star && strcmp(argv[1], "allreduce"))) {
        fprintf(stderr, "usage: mpi_round allreduce|star BYTES ROUNDS WARM\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    job.count = strtoul(argv[2], NULL, 10) / sizeof(float) / ROUND_LANES * ROUND_LANES;
    job.rounds = (uint32_t)strtoul(argv[3], NULL, 10);
    job.warm = (uint32_t)strtoul(argv[4], NULL, 10);
    job.times = allocate(2 * (size_t)job.rounds); /* doubles */
    wrong = run(&job, star);
    if (!wrong && job.rank == (star ? 1 : 0))
        print(&job);
    if (wrong && !job.rank)
        fprintf(stderr, "mpi_round: %d wrong sums\n", wrong);
    free(job.times);
    MPI_Finalize();
    return wrong ? 1 : 0;
}
