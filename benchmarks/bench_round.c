/* A whole round over shared memory: 8 workers fill an update each, the server merges all of them,
 * every worker reads the model that comes of it. A large round (4 MiB) and a small one (4 KiB).
 *
 * Contenders: Open MPI's MPI_Allreduce, an Open MPI star, PyTorch's gloo; and the
 * traffic between cores and memory that no round can do without.
 */
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "benchmarks/round_contenders.h"

/* What serves Open MPI best where ranks outnumber cores: waits yield, and messages are copied
 * through shared buffers, not read out of the other process, which takes a system call each. For
 * small messages the latter does not matter.
 */
#define MPI_SETTINGS                                                                               \
    {                                                                                              \
        "--mca", "mpi_yield_when_idle", "1", "--mca", "btl_vader_single_copy_mechanism", "none",   \
            NULL                                                                                   \
    }

static struct round_shape large = {4u << 20, 40, 10}, small = {4096, 2000, 300},
                          small_gloo = {4096, 300, 50};

static int compare_large(struct bench *bench, uint32_t cores)
{
    static struct round_kofn view = {.shape = &large}, copy = {.shape = &large, .copy = true};
    static struct round_mpi reduce = {
        .shape = &large, .kind = "allreduce", .settings = MPI_SETTINGS};
    static struct round_mpi star = {.shape = &large, .kind = "star", .settings = MPI_SETTINGS};
    static struct round_gloo gloo = {.shape = &large};
    static struct round_memory memory = {.shape = &large};
    static struct bench_contender ours = {.name = "kofn", round_kofn_measure, &view};
    static struct bench_contender copying = {
        .name = "kofn, models copied", round_kofn_measure, &copy};
    static struct bench_contender others[] = {
        {.name = "MPI_Allreduce", round_mpi_measure, &reduce},
        {.name = "Open MPI star", round_mpi_measure, &star},
        {.name = "gloo gather and broadcast", round_gloo_measure, &gloo},
        {.name = "its memory traffic alone", round_memory_measure, &memory}};
    struct bench_contender *all[] = {&ours,      &copying,   &others[0],
                                     &others[1], &others[2], &others[3]};
    int rc;

    view.merge_threads = copy.merge_threads = memory.threads = cores;
    rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    if (!rc)
        rc = bench_compare(bench, "round of 4 MiB, 8 workers, shm", "us", &ours, &others[0],
                           "<= 0.5");
    if (!rc)
        rc = bench_compare(bench, "round of 4 MiB, 8 workers, shm", "us", &ours, &others[1],
                           "<= 0.125");
    if (!rc)
        rc = bench_compare(bench, "round of 4 MiB, 8 workers, shm", "us", &ours, &others[2],
                           "<= 0.05");
    if (!rc)
        rc = bench_compare(bench, "round of 4 MiB, 8 workers, shm", "us", &ours, &others[3], NULL);
    if (!rc)
        rc = bench_compare(bench, "round of 4 MiB, 8 workers, shm, models copied", "us", &copying,
                           &others[0], NULL);
    return rc;
}

static int compare_small(struct bench *bench)
{
    static struct round_kofn spinning = {.shape = &small, .spin = 1000000, .merge_threads = 1};
    static struct round_kofn blocking = {.shape = &small, .merge_threads = 1};
    static struct round_mpi star = {.shape = &small, .kind = "star", .settings = MPI_SETTINGS};
    static struct round_gloo gloo = {.shape = &small_gloo};
    static struct bench_contender ours[] = {
        {.name = "kofn, spinning", round_kofn_measure, &spinning},
        {.name = "kofn, blocking", round_kofn_measure, &blocking}};
    static struct bench_contender others[] = {
        {.name = "Open MPI star", round_mpi_measure, &star},
        {.name = "gloo gather and broadcast", round_gloo_measure, &gloo}};
    struct bench_contender *all[] = {&ours[0], &ours[1], &others[0], &others[1]};
    int rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));

    if (!rc)
        rc = bench_compare(bench, "round of 4 KiB, 8 workers, shm, spinning", "us", &ours[0],
                           &others[0], "<= 1.0");
    if (!rc)
        rc = bench_compare(bench, "round of 4 KiB, 8 workers, shm, blocking", "us", &ours[1],
                           &others[1], "<= 0.2");
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int cpus[BENCH_CORES_MAX], cores = bench_cores(cpus, BENCH_CORES_MAX);
    int rc = bench_open(&bench, argc, argv, "Whole rounds of 8 workers over shared memory.");

    if (rc)
        return rc > 0 ? 0 : 2;
    rc = compare_small(&bench);
    if (!rc)
        rc = compare_large(&bench, cores > 0 ? (uint32_t)cores : 1);
    return bench_close(&bench, rc);
}
