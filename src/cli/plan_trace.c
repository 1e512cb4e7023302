/* plan_trace.c: what a plan takes from the record of a job: the delays, and what the job was. */
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "cli/plan.h"

#define WORDS 64 /* of a command, at most */

static bool is_set(const struct kofn_plan *plan, const char *name)
{
    return kofn_options_value(&plan->options, name)->origin != KOFN_ORIGIN_DEFAULT;
}

static void say_nothing(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg, (void)level, (void)message;
}

/* The options of the recorded command, as texts. What cannot be read is not there: the record may
 * be of another version, and a long command is cut off.
 */
static bool read_command(struct kofn_plan *plan)
{
    static const struct kofn_command commands[] = {
        {.name = "run", .bit = KOFN_FOR_RUN},
        {.name = "sim", .bit = KOFN_FOR_SIM},
        {.name = "serve", .bit = KOFN_FOR_SERVE, .accepts = KOFN_FOR_RUN},
    };
    const struct kofn_log silent = {.write = say_nothing};
    char *argv[WORDS + 1] = {NULL}, *rest = plan->recorded_command;
    int argc = 0;

    while (argc < WORDS && (argv[argc] = strsep(&rest, " ")))
        argc += *argv[argc] != '\0';
    argv[argc] = NULL;
    if (argc < 2 || strcmp(argv[0], "kofn"))
        return false;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(commands); i++) {
        if (strcmp(argv[1], commands[i].name))
            continue;
        kofn_options_take_flags(&plan->recorded, &commands[i], argc - 1, argv + 1, &silent);
        return true;
    }
    return false;
}

/* Takes option @name as it was recorded, or else its default, unless it was given. */
static void take(struct kofn_plan *plan, const char *name)
{
    const struct kofn_option *option = kofn_option_find(name);
    const char *text = kofn_options_value(&plan->recorded, name)->text;
    const struct kofn_log silent = {.write = say_nothing};
    char *field = (char *)&plan->options.conf + option->offset;

    if (!is_set(plan, name) && text)
        option->parse(option, text, name, &silent, field); /* a failure leaves the default */
}

/* An algorithm that goes with what was given. */
static void take_algorithm(struct kofn_plan *plan)
{
    const struct kofn_algorithm *before = plan->conf->algorithm, *taken;

    take(plan, "algorithm");
    taken = plan->conf->algorithm;
    if (taken->adapt || (taken->needs_all && is_set(plan, "wait-for")) ||
        (taken->single_step && is_set(plan, "local-steps")) ||
        (taken->eager && is_set(plan, "publish")) ||
        (taken->payload == KOFN_PAYLOAD_GRADIENT && is_set(plan, "momentum")))
        plan->options.conf.algorithm = before;
}

/* K, U and the publication mode, as far as they go with the algorithm and with N. */
static void take_terms(struct kofn_plan *plan)
{
    struct kofn_conf *conf = &plan->options.conf;
    uint32_t before = conf->wait_for;

    if (!conf->algorithm->needs_all && !conf->algorithm->adapt)
        take(plan, "wait-for");
    if (!is_set(plan, "wait-for") && conf->wait_for > conf->workers &&
        !kofn_algorithm_adds(conf->algorithm))
        conf->wait_for = before;
    if (!conf->algorithm->single_step)
        take(plan, "local-steps");
    if (!conf->algorithm->eager)
        take(plan, "publish");
}

/* The model, which says what an update weighs; nobody else's if it was given, or its weight. */
static void take_model(struct kofn_plan *plan)
{
    static const char *const names[] = {"model", "hidden", "data", "parameters"};

    if (is_set(plan, "model") || is_set(plan, "parameters"))
        return;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++)
        take(plan, names[i]);
    plan->recorded_model = true;
}

static void take_job(struct kofn_plan *plan)
{
    if (!read_command(plan))
        return;
    take_algorithm(plan);
    take_terms(plan);
    take(plan, "late");
    take(plan, "weights");
    take_model(plan);
}

int kofn_plan_read_trace(struct kofn_plan *plan)
{
    struct kofn_trace trace;
    int rc;

    if (!plan->conf->trace)
        return 0;
    if (is_set(plan, "delay"))
        return kofn_error(plan->log, KOFN_INVALID,
                          "--trace: the delays come from %s, or from --delay, not from both",
                          plan->conf->trace);
    rc = kofn_trace_read(plan->conf->trace, plan->log, &trace);
    if (rc)
        return rc;
    rc = kofn_fit_trace(&trace, plan->log, &plan->fit);
    memcpy(plan->recorded_command, trace.command, sizeof(trace.command));
    kofn_trace_free(&trace);
    if (!rc)
        rc = kofn_fit_delay(&plan->fit, plan->log, &plan->fitted);
    if (rc)
        return rc;
    if (!is_set(plan, "workers"))
        plan->options.conf.workers = plan->fit.workers;
    take_job(plan);
    return 0;
}
