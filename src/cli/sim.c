/* kofn sim: a job under a virtual clock. */
#include <kofn/kofn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "cli/cpus.h"
#include "cli/display.h"
#include "cli/ending.h"
#include "cli/engine.h"
#include "cli/job_files.h"
#include "cli/option.h"
#include "cli/sim_learn.h"
#include "cli/stop.h"
#include "cli/terms.h"

#define EVENTS 65536     /* between two looks at the clock on the wall */
#define EVENTS_WORK 16   /* the same, where every event may be a gradient */
#define TABLE_WORKERS 64 /* more than that nobody reads */

struct simulation {
    struct kofn_options options;
    const struct kofn_conf *conf;
    struct kofn_display display;
    const struct kofn_log *log;
    struct kofn_terms terms;
    struct kofn_workload workload;
    bool works; /* there are gradients */
    struct kofn_job_files files;
    struct kofn_sim_learn *learn;
    struct kofn_sim_work work;
    float *first; /* the first model */
    struct kofn_engine engine;
    struct kofn_tally tally;
    struct kofn_result result;
    struct kofn_point score;
    bool scored;
    struct kofn_ending ending;
    uint64_t score_ns; /* virtual: when an evaluation is due */
    uint64_t wall_ns, show_ns;
};

/* ---- before ---- */

static int check(struct simulation *simulation)
{
    const struct kofn_conf *conf = simulation->conf;
    int rc = kofn_terms_make(&simulation->options, simulation->log, &simulation->terms);

    if (rc)
        return rc;
    if (!(kofn_delay_mean(&simulation->terms.delay) > 0))
        return kofn_error(simulation->log, KOFN_INVALID,
                          "--delay: in a simulation it is all that a local update takes, and %s is "
                          "nothing; try exp:40ms",
                          conf->delay);
    if (conf->target_accuracy > 0 &&
        (!strcmp(conf->model, "quadratic") || !strcmp(conf->model, "none")))
        return kofn_error(simulation->log, KOFN_INVALID,
                          "--target-accuracy: the model %s has no accuracy", conf->model);
    return 0;
}

static int open_work(struct simulation *simulation)
{
    const struct kofn_conf *conf = simulation->conf;
    uint32_t threads = conf->threads ? conf->threads : kofn_cpus_allowed();
    int rc;

    simulation->works = strcmp(conf->model, "none");
    if (!simulation->works)
        return 0;
    rc = kofn_workload_open(&simulation->workload, conf, simulation->log);
    if (rc)
        return rc;
    simulation->first = calloc(simulation->workload.parameters, sizeof(float));
    if (!simulation->first)
        return kofn_error(simulation->log, KOFN_NO_MEMORY, "a model of %zu parameters",
                          simulation->workload.parameters);
    kofn_model_init(simulation->workload.model, simulation->first);
    return kofn_sim_learn_open(&simulation->workload, conf, KOFN_MIN(threads, conf->workers),
                               simulation->log, &simulation->work, &simulation->learn);
}

static int init_result(struct simulation *simulation)
{
    struct kofn_result *result = &simulation->result;

    result->method = "simulation";
    result->version = kofn_version();
    result->seed = simulation->conf->seed;
    result->algorithm = simulation->conf->algorithm->name;
    result->workers = simulation->terms.workers;
    result->wait_for = simulation->terms.wait_for;
    result->peers = simulation->terms.algorithm->peers != NULL;
    result->local_steps = simulation->terms.local_steps;
    result->members = calloc(result->workers, sizeof(*result->members));
    if (!result->members)
        return kofn_error(simulation->log, KOFN_NO_MEMORY, "%u workers: no memory",
                          result->workers);
    return 0;
}

static void record(void *arg, const struct kofn_trace_record *line)
{
    struct simulation *simulation = arg;

    kofn_trace_add(simulation->files.trace, line);
}

static int open_sim(struct simulation *simulation)
{
    const struct kofn_conf *conf = simulation->conf;
    struct kofn_sim_attr attr = kofn_engine_attr(conf, &simulation->terms);

    attr.payload_bytes = sizeof(float) * (simulation->works ? simulation->workload.parameters
                                                            : (size_t)conf->parameters);
    attr.work = simulation->works ? &simulation->work : NULL;
    attr.model = simulation->first;
    attr.updated = simulation->files.trace ? record : NULL;
    attr.arg = simulation;
    attr.log = simulation->log;
    return kofn_engine_open(&attr, conf, &simulation->engine);
}

/* ---- the job ---- */

static double seconds_of(const struct simulation *simulation)
{
    return (double)kofn_engine_now(&simulation->engine) / 1e9;
}

/* Scores the model as it is now. The virtual clock stands meanwhile. */
static void take_score(struct simulation *simulation)
{
    const struct kofn_data *data = simulation->workload.data;
    struct kofn_score score =
        kofn_model_evaluate(simulation->workload.model, kofn_engine_model(&simulation->engine),
                            data ? &data->test : NULL, 0);

    simulation->score = (struct kofn_point){.seconds = seconds_of(simulation),
                                            .round = simulation->tally.rounds,
                                            .accuracy = score.accuracy,
                                            .loss = score.loss};
    simulation->scored = true;
    if (kofn_curve_add(&simulation->result.curve, &simulation->score))
        kofn_log(simulation->log, KOFN_LOG_WARN, "no memory for the curve; it is cut off");
    kofn_ending_score(&simulation->ending, simulation->conf, &simulation->score);
}

/* How much of the job is done, from what is known to end it. */
static double fraction_of(const struct simulation *simulation)
{
    const struct kofn_terms *terms = &simulation->terms;
    double fraction = 0;

    if (terms->rounds)
        fraction = (double)simulation->tally.rounds / (double)terms->rounds;
    if (terms->seconds)
        fraction =
            fmax(fraction, (double)kofn_engine_now(&simulation->engine) / (double)terms->seconds);
    return fmin(fraction, 1);
}

static void show(struct simulation *simulation, uint64_t now)
{
    const struct kofn_moment moment = {
        .seconds = seconds_of(simulation),
        .seconds_limit = (double)simulation->terms.seconds / 1e9,
        .rounds = simulation->tally.rounds,
        .rounds_limit = simulation->terms.rounds,
        .score = simulation->scored ? &simulation->score : NULL,
        .workers = simulation->terms.workers,
        .simulated = true,
        .fraction = fraction_of(simulation),
        .wall_seconds = (double)(now - simulation->wall_ns) / 1e9,
        .events = kofn_engine_events(&simulation->engine),
    };

    kofn_display_show(&simulation->display, &moment);
}

static bool is_over(struct simulation *simulation, bool time_up)
{
    simulation->result.ended = kofn_ending_look(&simulation->ending, &simulation->terms,
                                                simulation->tally.rounds, time_up);
    return simulation->result.ended != KOFN_ENDED_NOT;
}

static void closed(struct simulation *simulation, const struct kofn_round_report *report)
{
    uint64_t now = kofn_engine_now(&simulation->engine);

    kofn_tally_add(&simulation->tally, report);
    kofn_ending_round(&simulation->ending, simulation->conf, report, simulation->log);
    if (!simulation->works || now < simulation->score_ns)
        return;
    take_score(simulation);
    simulation->score_ns = kofn_deadline(now, simulation->conf->eval_every);
}

static int go(struct simulation *simulation)
{
    uint64_t end = simulation->terms.seconds ? simulation->terms.seconds : KOFN_FOREVER;
    struct kofn_round_report report;
    uint64_t looked = 0, events = simulation->works ? EVENTS_WORK : EVENTS;
    int rc = 0;

    while (!is_over(simulation, rc == KOFN_TIMEOUT)) {
        uint64_t now;

        rc = kofn_engine_step(&simulation->engine, end, events, &report);
        if (!rc)
            closed(simulation, &report);
        else if (rc != KOFN_AGAIN && rc != KOFN_TIMEOUT)
            return rc;
        if (kofn_engine_events(&simulation->engine) - looked < events)
            continue;
        looked = kofn_engine_events(&simulation->engine);
        now = kofn_now_ns();
        if (now >= simulation->show_ns) {
            show(simulation, now);
            simulation->show_ns = kofn_deadline(now, kofn_display_interval(&simulation->display));
        }
    }
    return 0;
}

static void finish(struct simulation *simulation)
{
    struct kofn_result *result = &simulation->result;
    const struct kofn_point *curve = result->curve.points;
    size_t count = result->curve.count;

    result->seconds = seconds_of(simulation);
    if (simulation->works && (!count || curve[count - 1].round != simulation->tally.rounds))
        take_score(simulation);
    if (simulation->works) {
        result->loss = simulation->score.loss;
        result->accuracy = simulation->score.accuracy;
    }
    result->conservation_error = kofn_engine_violation(&simulation->engine);
    kofn_engine_stop(&simulation->engine);
    kofn_engine_members(&simulation->engine, result->members);
    kofn_result_finish(result, &simulation->tally);
}

/* ---- after ---- */

static void print_speed(const struct simulation *simulation, FILE *stream)
{
    double wall = (double)(kofn_now_ns() - simulation->wall_ns) / 1e9;
    double events = (double)kofn_engine_events(&simulation->engine);

    fprintf(stream, "simulated in %.3g s: %.3g million events, %.3g million a second\n", wall,
            events / 1e6, events / 1e6 / wall);
}

static int report(struct simulation *simulation)
{
    FILE *stream = simulation->display.stream;
    int rc = 0;

    if (simulation->display.mode != KOFN_DISPLAY_QUIET)
        fputc('\n', stream);
    if (simulation->terms.workers <= TABLE_WORKERS) {
        kofn_result_print_workers(&simulation->result, stream);
        fputc('\n', stream);
    }
    kofn_result_print_summary(&simulation->result, stream);
    print_speed(simulation, stream);
    fflush(stream);
    if (ferror(stream))
        rc = kofn_error(simulation->log, KOFN_SYSTEM, "the result could not be printed");
    return kofn_job_files_write(&simulation->files, &simulation->result, simulation->log)
               ? KOFN_SYSTEM
               : rc;
}

static void clean_up(struct simulation *simulation)
{
    kofn_engine_close(&simulation->engine);
    kofn_sim_learn_close(simulation->learn);
    free(simulation->first);
    kofn_job_files_drop(&simulation->files);
    kofn_result_free(&simulation->result);
    kofn_workload_close(&simulation->workload);
    kofn_terms_free(&simulation->terms);
}

static int simulate(struct simulation *simulation)
{
    int rc, reported;

    rc = check(simulation);
    if (!rc)
        rc = open_work(simulation);
    if (!rc)
        rc = init_result(simulation);
    if (!rc)
        rc = kofn_job_files_open(&simulation->files, simulation->conf, simulation->result.command,
                                 simulation->log);
    if (!rc)
        rc = open_sim(simulation);
    if (rc)
        return rc;
    simulation->wall_ns = kofn_now_ns();
    simulation->score_ns = simulation->conf->eval_every;
    simulation->show_ns =
        kofn_deadline(simulation->wall_ns, kofn_display_interval(&simulation->display));
    rc = go(simulation);
    if (rc == KOFN_GONE)
        simulation->result.ended = KOFN_ENDED_WORKERS_LOST;
    kofn_display_clear(&simulation->display);
    finish(simulation);
    if (!rc)
        rc = kofn_ending_judge(&simulation->ending, simulation->conf, &simulation->result,
                               simulation->log);
    reported = report(simulation);
    return rc ? rc : reported;
}

static int simulate_with_options(struct simulation *simulation, int argc, char **argv)
{
    char command[KOFN_COMMAND_BYTES];
    int rc;

    simulation->conf = &simulation->options.conf;
    kofn_result_init(&simulation->result);
    simulation->result.command = kofn_join_command(argc, argv, command);
    rc = kofn_display_open(&simulation->display, simulation->conf);
    simulation->log = &simulation->display.log;
    if (!rc) {
        kofn_stop_install();
        rc = simulate(simulation);
    }
    clean_up(simulation);
    kofn_display_close(&simulation->display);
    if (!rc && kofn_stop_signal())
        return KOFN_EXIT_SIGNAL + kofn_stop_signal();
    return kofn_exit_of(rc);
}

int kofn_command_sim(const struct kofn_command *command, int argc, char **argv)
{
    struct simulation *simulation = calloc(1, sizeof(*simulation));
    int result;

    if (!simulation)
        return kofn_exit_of(kofn_error(NULL, KOFN_NO_MEMORY, "sim: out of memory"));
    result = kofn_exit_of(kofn_options_read(&simulation->options, command, argc, argv, NULL));
    if (result == KOFN_EXIT_DONE && simulation->options.conf.help)
        kofn_options_help(command, stdout);
    else if (result == KOFN_EXIT_DONE)
        result = simulate_with_options(simulation, argc, argv);
    kofn_options_free(&simulation->options);
    free(simulation);
    return result;
}
