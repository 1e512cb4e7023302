/* kofn run: a whole job on this machine: a server and N worker processes; and what kofn serve
 * shares with it. */
#include "cli/run.h"

#include <kofn/kofn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "cli/peer_loop.h"
#include "cli/stop.h"
#include "transports/transport.h"

/* ---- before ---- */

static int init_result(struct kofn_run *run)
{
    struct kofn_result *result = &run->result;

    result->method = "measured";
    result->version = kofn_version();
    result->seed = run->conf->seed;
    result->algorithm = run->conf->algorithm->name;
    result->transport = run->conf->transport->name;
    result->workers = run->terms.workers;
    result->wait_for = run->terms.wait_for;
    result->peers = run->terms.algorithm->peers != NULL;
    result->local_steps = run->terms.local_steps;
    result->members = calloc(result->workers, sizeof(*result->members));
    if (!result->members)
        return kofn_error(run->log, KOFN_NO_MEMORY, "%u workers: no memory", result->workers);
    return 0;
}

/* What only peers can, and what they cannot. */
static int check_peers(const struct kofn_run *run)
{
    const struct kofn_algorithm *algorithm = run->terms.algorithm;

    if (!algorithm->peers && run->conf->loss > 0)
        return kofn_error(run->log, KOFN_INVALID,
                          "--loss: only messages of rfast may be lost, not those of %s",
                          algorithm->name);
    if (!run->local)
        return kofn_terms_need_server(algorithm, run->log);
    if (algorithm->peers && !kofn_algorithm_lossy(algorithm))
        return kofn_error(run->log, KOFN_INVALID,
                          "--algorithm: %s can only be simulated (kofn sim); of those without a "
                          "server rfast can be run",
                          algorithm->name);
    return 0;
}

/* What can be known to fail before there is a process or a file, does so here. */
static int check(struct kofn_run *run)
{
    int rc = run->local ? kofn_where_connect(&run->options, run->log)
                        : kofn_where_server(&run->options, run->log, run->where);

    if (!rc)
        rc = kofn_terms_make(&run->options, run->log, &run->terms);
    if (!rc)
        rc = check_peers(run);
    if (!rc && !strcmp(run->conf->model, "none"))
        rc = kofn_error(run->log, KOFN_INVALID,
                        "--model: none trains nothing, and is for kofn sim; quadratic, softmax, "
                        "mlp and cnn are models");
    if (!rc && run->conf->target_accuracy > 0 && !strcmp(run->conf->model, "quadratic"))
        rc = kofn_error(run->log, KOFN_INVALID, "--target-accuracy: a quadratic has no accuracy");
    if (!rc)
        rc = kofn_workload_open(&run->workload, run->conf, run->log);
    if (!rc)
        rc = init_result(run);
    if (!rc)
        rc = kofn_job_files_open(&run->files, run->conf, run->result.command, run->log);
    return rc;
}

/* ---- after ---- */

static void print_result(struct kofn_run *run)
{
    FILE *stream = run->display.stream;

    if (run->display.mode != KOFN_DISPLAY_QUIET)
        fputc('\n', stream);
    kofn_result_print_workers(&run->result, stream);
    fputc('\n', stream);
    kofn_result_print_summary(&run->result, stream);
    fflush(stream);
}

/* A record that lacks what one worker could not write is none. */
static int check_record(struct kofn_run *run)
{
    for (uint32_t rank = 0; run->busy && rank < run->terms.workers; rank++) {
        if (!run->busy[rank].record_failed)
            continue;
        kofn_job_files_drop_record(&run->files);
        return kofn_error(run->log, KOFN_SYSTEM,
                          "--record: rank %u could not write its local updates; there is no %s",
                          rank, run->conf->record);
    }
    return 0;
}

/* Prints the tables, writes the files. */
static int report(struct kofn_run *run)
{
    int rc;

    print_result(run);
    rc = check_record(run);
    if (ferror(run->display.stream))
        rc = kofn_error(run->log, KOFN_SYSTEM, "the result could not be printed");
    return kofn_job_files_write(&run->files, &run->result, run->log) ? KOFN_SYSTEM : rc;
}

static void clean_up(struct kofn_run *run)
{
    kofn_stop_wakes(NULL);
    kofn_evaluator_close(run->evaluator);
    kofn_server_close(run->server);
    kofn_children_end(&run->children, 0); /* ended already, unless something has failed */
    kofn_run_unshare_memory(run);
    kofn_place_free(&run->map);
    kofn_topology_close(run->topology);
    kofn_job_files_drop(&run->files);
    kofn_result_free(&run->result);
    kofn_workload_close(&run->workload);
    kofn_terms_free(&run->terms);
}

/* ---- the job ---- */

static int run_and_report(struct kofn_run *run)
{
    int rc, reported;

    rc = run->terms.algorithm->peers ? kofn_run_peers(run) : kofn_run_job(run);
    if (!run->start_ns) {
        kofn_children_end(&run->children, 0); /* they wait for a server that will not come */
        return rc;
    }
    reported = report(run);
    return rc ? rc : reported;
}

static int run_here(struct kofn_run *run)
{
    int rc;

    rc = check(run);
    if (rc || kofn_stop_signal())
        return rc;
    rc = kofn_run_place(run);
    if (rc)
        return rc;
    if (run->terms.algorithm->peers)
        return run_and_report(run);
    rc = run->local ? kofn_run_open(run) : kofn_serve_open(run);
    if (rc)
        return rc;
    kofn_stop_wakes(run->server);
    return run_and_report(run);
}

static int run_with_options(struct kofn_run *run, int argc, char **argv)
{
    char command[KOFN_COMMAND_BYTES];
    int rc;

    run->conf = &run->options.conf;
    kofn_result_init(&run->result);
    run->result.command = kofn_join_command(argc, argv, command);
    rc = kofn_display_open(&run->display, run->conf);
    run->log = &run->display.log;
    if (!rc) {
        kofn_stop_install();
        rc = run_here(run);
    }
    clean_up(run);
    kofn_display_close(&run->display);
    if (!rc && kofn_stop_signal())
        return KOFN_EXIT_SIGNAL + kofn_stop_signal();
    return kofn_exit_of(rc);
}

int kofn_run_command(const struct kofn_command *command, int argc, char **argv)
{
    struct kofn_run *run = calloc(1, sizeof(*run));
    int result;

    if (!run)
        return kofn_exit_of(kofn_error(NULL, KOFN_NO_MEMORY, "%s: out of memory", command->name));
    run->local = command->bit == KOFN_FOR_RUN;
    result = kofn_exit_of(kofn_options_read(&run->options, command, argc, argv, NULL));
    if (result == KOFN_EXIT_DONE && run->options.conf.help)
        kofn_options_help(command, stdout);
    else if (result == KOFN_EXIT_DONE)
        result = run_with_options(run, argc, argv);
    kofn_options_free(&run->options);
    free(run);
    return result;
}

int kofn_command_run(const struct kofn_command *command, int argc, char **argv)
{
    return kofn_run_command(command, argc, argv);
}
