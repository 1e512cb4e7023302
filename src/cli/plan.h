/* plan.h: the parts of `kofn plan`: plan.c makes the forecasts, plan_trace.c reads the
 * record of a job, plan_print.c shows them. */
#ifndef KOFN_CLI_PLAN_H
#define KOFN_CLI_PLAN_H

#include "cli/choices.h"
#include "cli/display.h"
#include "cli/forecast.h"
#include "cli/option.h"
#include "cli/output.h"
#include "sim/fit.h"

struct kofn_planned {
    struct kofn_case job;
    struct kofn_forecast forecast;
};

struct kofn_plan {
    struct kofn_options options;
    const struct kofn_conf *conf;
    struct kofn_display display;
    const struct kofn_log *log;
    struct kofn_terms terms;
    struct kofn_output json;
    const char *command;

    char recorded_command[KOFN_TRACE_LINE]; /* cut into words, to which `recorded` points */
    struct kofn_options recorded;           /* its options, as texts */
    bool recorded_model;                    /* the model is that of the record */
    struct kofn_fit fit;                    /* of the trace; workers 0 = there is none */
    struct kofn_delay fitted;
    uint64_t payload_bytes;
    double seconds, rounds; /* of the job; 0 = no end */

    struct kofn_planned *list; /* one an algorithm; owned */
    size_t count;
    size_t asked; /* the one that was asked for */
    struct kofn_choices choices;
    const char *what; /* is being simulated */
    uint64_t wall_ns, show_ns;
};

/* ---- plan_trace.c ---- */

/* Reads --trace, if it is given, fits the delays, and takes what was not given otherwise from the
 * command of the recorded job: the number of workers, the algorithm, K, U, publication, model.
 */
int kofn_plan_read_trace(struct kofn_plan *plan);

/* ---- plan_print.c ---- */

void kofn_plan_print(const struct kofn_plan *plan, FILE *stream);

/* KOFN_NO_MEMORY or KOFN_SYSTEM, logged. */
int kofn_plan_write_json(const struct kofn_plan *plan, FILE *stream);

#endif
