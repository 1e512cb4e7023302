/* kofn plan: what a job will be like, and which one to choose. */
#include "cli/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"
#include "cli/cpus.h"
#include "cli/crew.h"
#include "cli/job_files.h"
#include "cli/stop.h"
#include "cli/workload.h"

/* Of the job that is asked for; of the algorithms beside it, which are shown with three digits; of
 * each choice, of which there are many, and which tie within 2 %. */
static const struct kofn_effort effort_asked = {.events = 3000000, .precision = 0.001};
static const struct kofn_effort effort_other = {.events = 1000000, .precision = 0.003};
static const struct kofn_effort effort_choice = {.events = 300000, .precision = 0.005};

/* ---- before ---- */

static bool is_set(const struct kofn_plan *plan, const char *name)
{
    return kofn_options_value(&plan->options, name)->origin != KOFN_ORIGIN_DEFAULT;
}

/* What an update weighs: the model's parameters, if a model is named, here or in the record of a
 * job; else --parameters. A record may be read where its data are not.
 */
static int weigh(struct kofn_plan *plan)
{
    struct kofn_workload workload;
    int rc;

    plan->payload_bytes = sizeof(float) * (uint64_t)plan->conf->parameters;
    if (!(is_set(plan, "model") || plan->recorded_model) || !strcmp(plan->conf->model, "none"))
        return 0;
    rc = kofn_workload_open(&workload, plan->conf, plan->log);
    if (rc && plan->recorded_model) {
        kofn_log(plan->log, KOFN_LOG_WARN,
                 "--trace: what an update of the recorded job weighs is not known, and taken as "
                 "%llu bytes; --parameters says it",
                 (unsigned long long)plan->payload_bytes);
        return 0;
    }
    if (rc)
        return rc;
    plan->payload_bytes = sizeof(float) * workload.parameters;
    kofn_workload_close(&workload);
    return 0;
}

static int check(struct kofn_plan *plan)
{
    int rc = kofn_plan_read_trace(plan);

    if (!rc)
        rc = kofn_terms_make(&plan->options, plan->log, &plan->terms);
    if (rc)
        return rc;
    if (!plan->conf->trace && !(kofn_delay_mean(&plan->terms.delay) > 0))
        return kofn_error(plan->log, KOFN_INVALID,
                          "--delay: what a local update takes is what all else follows from, and "
                          "%s is nothing; try exp:40ms, or --trace",
                          plan->conf->delay);
    rc = weigh(plan);
    if (!rc)
        rc = kofn_output_open(&plan->json, plan->conf->json, "--json", plan->log);
    return rc;
}

/* ---- forecasts ---- */

/* A K that grows is foretold as the first one. */
static uint32_t wait_for(const struct kofn_plan *plan, const struct kofn_algorithm *algorithm)
{
    if (algorithm->needs_all)
        return plan->terms.workers;
    return algorithm->adapt && !is_set(plan, "wait-for") ? 1 : plan->terms.wait_for;
}

static struct kofn_case case_of(const struct kofn_plan *plan,
                                const struct kofn_algorithm *algorithm)
{
    const struct kofn_terms *terms = &plan->terms;

    return (struct kofn_case){
        .algorithm = algorithm == plan->conf->algorithm ? terms->algorithm : algorithm,
        .workers = terms->workers,
        .wait_for = wait_for(plan, algorithm),
        .local_steps = algorithm->single_step ? 1 : terms->local_steps,
        .publish = algorithm->eager ? KOFN_PUBLISH_EAGER : (enum kofn_publish)plan->conf->publish,
        .conf = plan->conf,
        .terms = terms,
        .delay = plan->fit.workers ? &plan->fitted : &terms->delay,
        .compute_share = plan->fit.compute_share,
        .publish_ns = plan->fit.publish,
        .payload_bytes = plan->payload_bytes,
    };
}

/* Shows how far the simulations are. */
static void show(void *arg, size_t done, size_t count)
{
    struct kofn_plan *plan = arg;
    uint64_t now = kofn_now_ns();
    char what[64];
    const struct kofn_moment moment = {.simulated = true,
                                       .what = what,
                                       .fraction = (double)done / (double)count,
                                       .wall_seconds = (double)(now - plan->wall_ns) / 1e9};

    if (now < plan->show_ns)
        return;
    snprintf(what, sizeof(what), "%zu of %zu %s simulated", done, count, plan->what);
    kofn_display_show(&plan->display, &moment);
    plan->show_ns = kofn_deadline(now, kofn_display_interval(&plan->display));
}

/* Does so many @tasks, which are @what, on all threads. */
static int work(struct kofn_plan *plan, const char *what, size_t count,
                int (*task)(void *arg, size_t index))
{
    const struct kofn_crew crew = {.count = count,
                                   .threads = plan->conf->threads ? plan->conf->threads
                                                                  : kofn_cpus_allowed(),
                                   .task = task,
                                   .done = show,
                                   .stopped = kofn_stop_signal,
                                   .arg = plan,
                                   .log = plan->log};
    int rc;

    plan->what = what;
    plan->wall_ns = kofn_now_ns();
    plan->show_ns = kofn_deadline(plan->wall_ns, kofn_display_interval(&plan->display));
    rc = kofn_crew_work(&crew);
    kofn_display_clear(&plan->display);
    return rc;
}

/* Without rounds that end there is nothing to plan; beside the job that is asked for such ones are
 * but shown.
 */
static int foretell(void *arg, size_t index)
{
    struct kofn_plan *plan = arg;
    struct kofn_planned *planned = &plan->list[index];
    const struct kofn_case *job = &planned->job;
    bool asked = index == plan->asked;
    int rc =
        kofn_forecast(job, asked ? &effort_asked : &effort_other, plan->log, &planned->forecast);

    if (rc || !asked || !isinf(planned->forecast.value[KOFN_ROUND_TIME]))
        return rc;
    return kofn_error(plan->log, KOFN_INVALID,
                      "--delay: %s: with algorithm %s and K = %u of %u the mean time of a round is "
                      "infinite",
                      job->conf->delay, job->algorithm->name, job->wait_for, job->workers);
}

static void add(struct kofn_plan *plan, const struct kofn_algorithm *algorithm)
{
    if (algorithm == plan->conf->algorithm)
        plan->asked = plan->count;
    plan->list[plan->count++].job = case_of(plan, algorithm);
}

/* The algorithm that was named, or all of them. */
static int foretell_all(struct kofn_plan *plan)
{
    const struct kofn_algorithm *algorithm;
    size_t count = 0;

    while (kofn_algorithm_at(count))
        count++;
    plan->list = calloc(count, sizeof(*plan->list));
    if (!plan->list)
        return kofn_error(plan->log, KOFN_NO_MEMORY, "plan: out of memory");
    if (is_set(plan, "algorithm"))
        add(plan, plan->conf->algorithm);
    else
        for (size_t i = 0; (algorithm = kofn_algorithm_at(i)); i++)
            if (!algorithm->baseline || !algorithm->peers) /* those are foretold if named */
                add(plan, algorithm);
    return work(plan, "algorithms", plan->count, foretell);
}

static int simulate_choice(void *arg, size_t index)
{
    struct kofn_plan *plan = arg;
    struct kofn_choice *choice = &plan->choices.list[index];

    return kofn_forecast_simulated(&choice->job, &effort_choice, plan->log, &choice->forecast);
}

static int compare(struct kofn_plan *plan)
{
    struct kofn_case job = case_of(plan, plan->conf->algorithm);
    const struct kofn_kept kept = {.wait_for = is_set(plan, "wait-for"),
                                   .local_steps = is_set(plan, "local-steps"),
                                   .publish = is_set(plan, "publish")};
    int rc;

    if (!plan->fit.workers || plan->conf->algorithm->peers)
        return 0; /* without rounds there is no K to choose */
    rc = kofn_choices_make(&job, &kept, plan->log, &plan->choices);
    if (!rc)
        rc = work(plan, "choices", plan->choices.count, simulate_choice);
    if (!rc)
        kofn_choices_sort(plan->choices.list, plan->choices.count);
    return rc;
}

/* How long the job lasts, and how many rounds that is: from the first of its ends. */
static void set_end(struct kofn_plan *plan)
{
    double time = plan->list[plan->asked].forecast.value[KOFN_ROUND_TIME];

    plan->seconds = (double)plan->terms.seconds / 1e9;
    plan->rounds = (double)plan->terms.rounds;
    if (plan->rounds > 0 && (plan->seconds <= 0 || plan->rounds * time < plan->seconds))
        plan->seconds = plan->rounds * time;
    else if (plan->seconds > 0)
        plan->rounds = floor(plan->seconds / time);
}

static int report(struct kofn_plan *plan)
{
    FILE *stream = plan->display.stream;

    kofn_plan_print(plan, stream);
    fflush(stream);
    if (ferror(stream))
        return kofn_error(plan->log, KOFN_SYSTEM, "the result could not be printed");
    if (kofn_output_is_open(&plan->json) && kofn_plan_write_json(plan, plan->json.stream))
        return KOFN_SYSTEM;
    return kofn_output_commit(&plan->json, plan->log);
}

static int make_plan(struct kofn_plan *plan)
{
    int rc = check(plan);

    if (!rc)
        rc = foretell_all(plan);
    if (!rc && !kofn_stop_signal())
        rc = compare(plan);
    if (rc || kofn_stop_signal())
        return rc == KOFN_INTERRUPTED ? 0 : rc;
    set_end(plan);
    return report(plan);
}

static int plan_with_options(struct kofn_plan *plan, int argc, char **argv)
{
    char command[KOFN_COMMAND_BYTES];
    int rc;

    plan->conf = &plan->options.conf;
    plan->command = kofn_join_command(argc, argv, command);
    rc = kofn_display_open(&plan->display, plan->conf);
    plan->log = &plan->display.log;
    if (!rc) {
        kofn_stop_install();
        rc = make_plan(plan);
    }
    kofn_choices_free(&plan->choices);
    free(plan->list);
    kofn_delay_close(&plan->fitted);
    kofn_fit_free(&plan->fit);
    kofn_output_drop(&plan->json);
    kofn_terms_free(&plan->terms);
    kofn_display_close(&plan->display);
    if (!rc && kofn_stop_signal())
        return KOFN_EXIT_SIGNAL + kofn_stop_signal();
    return kofn_exit_of(rc);
}

int kofn_command_plan(const struct kofn_command *command, int argc, char **argv)
{
    struct kofn_plan *plan = calloc(1, sizeof(*plan));
    int result;

    if (!plan)
        return kofn_exit_of(kofn_error(NULL, KOFN_NO_MEMORY, "plan: out of memory"));
    result = kofn_exit_of(kofn_options_read(&plan->options, command, argc, argv, NULL));
    if (result == KOFN_EXIT_DONE && plan->options.conf.help)
        kofn_options_help(command, stdout);
    else if (result == KOFN_EXIT_DONE)
        result = plan_with_options(plan, argc, argv);
    kofn_options_free(&plan->recorded);
    kofn_options_free(&plan->options);
    free(plan);
    return result;
}
