/* kofn work: one worker of a job, which kofn serve holds. */
#include <kofn/kofn.h>
#include <stdio.h>
#include <stdlib.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "boot/launcher.h"
#include "cli/display.h"
#include "cli/job_files.h"
#include "cli/stop.h"
#include "cli/where.h"
#include "cli/worker_loop.h"
#include "place/place.h"
#include "transports/transport.h"

/* A worker. Zeroed parts are not there yet. */
struct work {
    struct kofn_options options;
    const struct kofn_conf *conf;
    struct kofn_log log;
    struct kofn_launcher launcher;
    struct kofn_terms terms;
    struct kofn_workload workload;
    char description[KOFN_WORKLOAD_TEXT];
    struct kofn_job_files files;
    struct kofn_topology *topology;
    struct kofn_place_map map;
    char address[KOFN_ADDRESS_BYTES];
    uint32_t rank;
    struct kofn_busy busy;
    uint64_t start_ns;
};

/* getenv() with the signature of a look-up. */
static const char *look_up(const char *name)
{
    return getenv(name);
}

/* The rank that was given, or that the launcher says. */
static int find_rank(struct work *work)
{
    bool given = kofn_options_value(&work->options, "rank")->text != NULL;
    char where[KOFN_WHERE_BYTES];

    if (!given && !work->launcher.name)
        return kofn_error(&work->log, KOFN_INVALID,
                          "--rank: missing, and no launcher has said it (KOFN_RANK, "
                          "OMPI_COMM_WORLD_RANK, PMI_RANK, SLURM_PROCID, ...)");
    work->rank = given ? work->conf->rank : work->launcher.rank;
    if (work->rank >= work->conf->workers)
        return kofn_error(&work->log, KOFN_INVALID,
                          "%s: rank %u is not below the number of workers, %u (--workers)",
                          given ? kofn_options_where(&work->options, "rank", where)
                                : work->launcher.variable,
                          work->rank, work->conf->workers);
    return 0;
}

/* The algorithm is the server's, whatever is said of it here; but for one without a server a worker
 * would wait in vain.
 */
static int check_algorithm(const struct work *work)
{
    const char *name = kofn_options_value(&work->options, "algorithm")->text;
    const struct kofn_algorithm *algorithm = name ? kofn_algorithm_find(name) : NULL;

    return algorithm ? kofn_terms_need_server(algorithm, &work->log) : 0;
}

/* What can be known to fail before anybody is asked, does so here. */
static int check(struct work *work, const char *command)
{
    int rc;

    kofn_launcher_read(&work->launcher, look_up);
    rc = kofn_where_worker(&work->options, &work->log, work->address);
    if (!rc)
        rc = find_rank(work);
    if (!rc)
        rc = kofn_terms_make(&work->options, &work->log, &work->terms);
    if (!rc)
        rc = check_algorithm(work);
    if (!rc)
        rc = kofn_workload_open(&work->workload, work->conf, &work->log);
    if (!rc)
        rc = kofn_job_files_open(&work->files, work->conf, command, &work->log);
    kofn_workload_describe(work->conf, work->description);
    return rc;
}

/* Chooses where it runs. Over shared memory all workers are on this host, and the server; over a
 * network so many as the launcher says: where it does not, nothing is bound.
 */
static int place(struct work *work)
{
    bool here = !kofn_address_network(work->address);
    uint32_t local = here ? work->conf->workers : work->launcher.local_size;
    struct kofn_place_request request = {
        .workers = local ? local : 1, .threads = 1, .server = here};
    int rc = kofn_topology_open(&work->log, &work->topology);

    if (rc)
        return rc;
    kofn_cpu_quota_read("", &work->log, &request.quota);
    rc = kofn_place_choose(work->topology, &request, &work->log, &work->map);
    if (rc || !local || work->conf->pin == KOFN_PIN_OFF)
        return rc;
    return kofn_place_bind_thread(
        &work->map, kofn_place_worker(here ? work->rank : work->launcher.local_rank), &work->log);
}

/* The end and its cause, in one line. Why it has not joined has been said. */
static void report(const struct work *work, int rc)
{
    const struct kofn_busy *busy = &work->busy;
    double seconds = (double)(kofn_now_ns() - work->start_ns) / 1e9;
    const char *cause = rc == 0                  ? "the job is over"
                        : rc == KOFN_INTERRUPTED ? "it was asked to leave"
                                                 : kofn_status_text(rc);
    FILE *stream = rc ? stderr : stdout;

    if ((rc == 0 && work->conf->quiet) || (rc && rc != KOFN_INTERRUPTED && !busy->rounds))
        return;
    fprintf(stream, "%srank %u: %s after %.1f s", rc ? "kofn: " : "", work->rank, cause, seconds);
    if (busy->rounds)
        fprintf(stream, ": %llu local updates in %llu rounds, the last %u\n",
                (unsigned long long)busy->updates, (unsigned long long)busy->rounds, busy->round);
    else
        fprintf(stream, ", before its first round\n");
}

static int join_and_work(struct work *work)
{
    struct kofn_worker_task task = {.address = work->address,
                                    .transport = kofn_where_transport(&work->options),
                                    .transport_options = work->conf->transport_options,
                                    .description = work->description,
                                    .timeout = work->conf->timeout,
                                    .spin = work->map.spin_ns,
                                    .lr = work->conf->lr,
                                    .momentum = work->conf->momentum,
                                    .terms = &work->terms,
                                    .workload = &work->workload,
                                    .trace = work->files.trace,
                                    .busy = &work->busy,
                                    .stops = true};
    int rc, written;

    kofn_stop_install();
    work->start_ns = kofn_now_ns();
    rc = kofn_worker_loop(&task, work->rank, &work->log);
    written = rc && !work->busy.rounds ? 0 /* it has nothing to write */
                                       : kofn_job_files_write(&work->files, NULL, &work->log);
    report(work, rc);
    return rc && rc != KOFN_INTERRUPTED ? rc : written;
}

static int work_with_options(struct work *work, int argc, char **argv)
{
    char command[KOFN_COMMAND_BYTES];
    int rc;

    work->conf = &work->options.conf;
    work->log.level = kofn_display_level(work->conf);
    rc = check(work, kofn_join_command(argc, argv, command));
    if (!rc)
        rc = place(work);
    if (!rc)
        rc = join_and_work(work);
    kofn_place_free(&work->map);
    kofn_topology_close(work->topology);
    kofn_job_files_drop(&work->files);
    kofn_workload_close(&work->workload);
    kofn_terms_free(&work->terms);
    return !rc && kofn_stop_signal() ? KOFN_EXIT_SIGNAL + kofn_stop_signal() : kofn_exit_of(rc);
}

int kofn_command_work(const struct kofn_command *command, int argc, char **argv)
{
    struct work *work = calloc(1, sizeof(*work));
    int result;

    if (!work)
        return kofn_exit_of(kofn_error(NULL, KOFN_NO_MEMORY, "work: out of memory"));
    result = kofn_exit_of(kofn_options_read(&work->options, command, argc, argv, NULL));
    if (result == KOFN_EXIT_DONE && work->options.conf.help)
        kofn_options_help(command, stdout);
    else if (result == KOFN_EXIT_DONE)
        result = work_with_options(work, argc, argv);
    kofn_options_free(&work->options);
    free(work);
    return result;
}
