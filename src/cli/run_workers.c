/* run_workers.c: the processes of a job on this machine, and the CPUs they get. */
#include <kofn/kofn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "algorithms/algorithm.h"
#include "cli/run.h"
#include "transports/transport.h"

#define ADDRESS_BYTES 256

int kofn_run_place(struct kofn_run *run)
{
    struct kofn_place_request request = {
        .workers = run->terms.workers, .threads = 1, .server = true};
    int rc;

    rc = kofn_topology_open(run->log, &run->topology);
    if (rc)
        return rc;
    kofn_cpu_quota_read("", run->log, &request.quota);
    rc = kofn_place_choose(run->topology, &request, run->log, &run->map);
    if (!rc && run->conf->pin == KOFN_PIN_AUTO)
        kofn_place_probe(&run->map, run->log); /* a refusal is said once, not by every worker */
    return rc;
}

/* A worker costs the server a handful of descriptors: takes as many as the system lets everybody
 * take. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* if not, opening fails where there are too many */
    }
}

int kofn_run_open_server(struct kofn_run *run)
{
    const struct kofn_conf *conf = run->conf;
    struct kofn_server_attr attr = {
        .size = sizeof(attr),
        .workers = run->terms.workers,
        .parameters = run->workload.parameters,
        .algorithm = conf->algorithm->name,
        .wait_for = run->terms.wait_for,
        .local_steps = run->terms.local_steps,
        .publish = (enum kofn_publish)conf->publish,
        .weights = (enum kofn_weights)conf->weights,
        .late = (enum kofn_late)conf->late,
        .staleness_weight = conf->staleness_weight,
        .learning_rate = conf->algorithm->payload == KOFN_PAYLOAD_GRADIENT ? conf->lr : 1,
        .grace = conf->grace,
        .deadline = conf->deadline.ns,
        .deadline_adaptive = conf->deadline.adaptive,
        .quorum = conf->quorum,
        .suspect_after = run->terms.suspect_after,
        .merge_threads = conf->merge_threads,
        .spin = run->map.spin_ns,
        .log = run->log,
        .transport = conf->transport->name,
    };
    int rc;

    raise_limit();
    rc = kofn_server_open(&attr, &run->server);
    if (rc)
        return rc;
    snprintf(run->address, ADDRESS_BYTES, "%s", kofn_server_address(run->server));
    kofn_children_go(&run->children);
    return 0;
}

static size_t busy_bytes(const struct kofn_run *run)
{
    return run->terms.workers * sizeof(*run->busy);
}

static size_t shared_bytes(const struct kofn_run *run)
{
    return busy_bytes(run) + ADDRESS_BYTES;
}

int kofn_run_share_memory(struct kofn_run *run)
{
    void *memory =
        mmap(NULL, shared_bytes(run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return kofn_error_errno(run->log, "workers: %zu bytes of shared memory", shared_bytes(run));
    run->busy = memory;
    run->address = (char *)memory + busy_bytes(run);
    return 0;
}

void kofn_run_unshare_memory(struct kofn_run *run)
{
    if (run->busy)
        munmap(run->busy, shared_bytes(run));
    run->busy = NULL;
    run->address = NULL;
}

/* In the process of rank @rank. */
static int work(void *arg, uint32_t rank, const struct kofn_log *log)
{
    struct kofn_run *run = arg;

    if (run->conf->pin == KOFN_PIN_AUTO &&
        kofn_place_bind_thread(&run->map, kofn_place_worker(rank), log))
        return KOFN_EXIT_FAILED;
    return kofn_worker_loop(&run->task, rank, log) ? KOFN_EXIT_FAILED : KOFN_EXIT_DONE;
}

int kofn_run_start_workers(struct kofn_run *run)
{
    int rc;

    run->task = (struct kofn_worker_task){.address = run->address,
                                          .spin = run->map.spin_ns,
                                          .lr = run->conf->lr,
                                          .momentum = run->conf->momentum,
                                          .terms = &run->terms,
                                          .workload = &run->workload,
                                          .trace = run->files.trace,
                                          .busy = run->busy};
    rc = kofn_children_start(&run->children, run->terms.workers, work, run, run->log);
    if (rc || run->conf->pin == KOFN_PIN_OFF)
        return rc;
    /* last, so that only the evaluator, which this thread starts next, shares the server's CPU */
    return kofn_place_bind_thread(&run->map, kofn_place_server(), run->log);
}
