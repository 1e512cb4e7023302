/* run_workers.c: the worker processes of a job on this machine. */
#include <kofn/kofn.h>
#include <stdio.h>
#include <sys/mman.h>

#include "cli/run.h"
#include "transports/transport.h"

#define ADDRESS_BYTES 256

static size_t busy_bytes(const struct kofn_run *run)
{
    return run->terms.workers * sizeof(*run->busy);
}

static size_t shared_bytes(const struct kofn_run *run)
{
    return busy_bytes(run) + ADDRESS_BYTES;
}

static int share_memory(struct kofn_run *run)
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

    run->task.busy = &run->busy[rank];
    if (run->conf->pin == KOFN_PIN_AUTO &&
        kofn_place_bind_thread(&run->map, kofn_place_worker(rank), log))
        return KOFN_EXIT_FAILED;
    return kofn_worker_loop(&run->task, rank, log) ? KOFN_EXIT_FAILED : KOFN_EXIT_DONE;
}

static int start_workers(struct kofn_run *run)
{
    run->task = (struct kofn_worker_task){.address = run->address,
                                          .transport = run->conf->transport->name,
                                          .transport_options = run->conf->transport_options,
                                          .spin = run->map.spin_ns,
                                          .lr = run->conf->lr,
                                          .momentum = run->conf->momentum,
                                          .terms = &run->terms,
                                          .workload = &run->workload,
                                          .trace = run->files.trace};
    return kofn_children_start(&run->children, run->terms.workers, work, run, run->log);
}

int kofn_run_open(struct kofn_run *run)
{
    int rc = share_memory(run);

    if (!rc)
        rc = start_workers(run);
    if (!rc)
        rc = kofn_run_open_server(run, NULL);
    if (rc)
        return rc;
    snprintf(run->address, ADDRESS_BYTES, "%s", kofn_server_address(run->server));
    kofn_children_go(&run->children);
    return 0;
}
