/* plan_print.c: a plan for people, and for programs. */
#include <math.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "cli/plan.h"
#include "cli/result_json.h"
#include "cli/table.h"

#define CHOICES_SHOWN 16
#define FITS_SHOWN 32

/* ---- for people ---- */

static const char *show_value(const struct kofn_forecast *forecast, enum kofn_quantity quantity,
                              char text[KOFN_CELL_BYTES])
{
    double value = forecast->value[quantity];

    if (isinf(value))
        return "infinite";
    switch (quantity) {
    case KOFN_ROUND_TIME:
        return kofn_show_seconds(value, text);
    case KOFN_BYTES:
        return kofn_show_bytes(value, text);
    case KOFN_IDLE:
        return kofn_show_number(value, 4, text);
    default:
        return kofn_show_number(value, 3, text);
    }
}

static const char *show_publish(enum kofn_publish publish)
{
    static const char *const names[] = {"eager", "on-close", "pull"};

    return names[publish];
}

/* Every quantity of one job, and how it is known. */
static void print_one(const struct kofn_planned *planned, FILE *stream)
{
    static const char *const columns[] = {"<quantity", "value", "error", "<method"};
    const struct kofn_forecast *forecast = &planned->forecast;
    struct kofn_table table;
    char text[KOFN_CELL_BYTES];

    kofn_table_init(&table, columns, KOFN_ARRAY_SIZE(columns));
    for (int i = 0; i < KOFN_QUANTITIES; i++) {
        kofn_table_cell(&table, "%s", kofn_quantity_key((enum kofn_quantity)i));
        kofn_table_cell(&table, "%s", show_value(forecast, (enum kofn_quantity)i, text));
        if (forecast->error[i] > 0)
            kofn_table_cell(&table, "%.1e", forecast->error[i]);
        else
            kofn_table_cell(&table, "-");
        kofn_table_cell(&table, "%s", forecast->method[i] ? forecast->method[i] : "-");
    }
    kofn_table_print(&table, stream);
    kofn_table_free(&table);
}

static void print_all(const struct kofn_plan *plan, FILE *stream)
{
    static const char *const columns[] = {"<algorithm", "K",      "U",         "round",
                                          "updates",    "merged", "published", "bytes",
                                          "staleness",  "idle",   "merged/s",  "<method"};
    struct kofn_table table;
    char text[KOFN_CELL_BYTES];

    kofn_table_init(&table, columns, KOFN_ARRAY_SIZE(columns));
    for (size_t i = 0; i < plan->count; i++) {
        const struct kofn_planned *planned = &plan->list[i];

        kofn_table_cell(&table, "%s", planned->job.algorithm->name);
        kofn_table_cell(&table, planned->job.algorithm->peers ? "-" : "%u", planned->job.wait_for);
        kofn_table_cell(&table, "%u", planned->job.local_steps);
        for (int q = 0; q < KOFN_QUANTITIES; q++)
            kofn_table_cell(&table, "%s",
                            show_value(&planned->forecast, (enum kofn_quantity)q, text));
        kofn_table_cell(&table, "%s",
                        kofn_show_number(planned->forecast.merged_per_second, 1, text));
        kofn_table_cell(&table, "%s", planned->forecast.weakest);
    }
    kofn_table_print(&table, stream);
    kofn_table_free(&table);
}

static void print_fit(const struct kofn_fit *fit, FILE *stream)
{
    static const char *const columns[] = {"rank",  "finished", "cut off", "mean", "finished only",
                                          "least", "p50",      "p99",     "<"};
    struct kofn_table table;
    char text[KOFN_CELL_BYTES];

    kofn_table_init(&table, columns, KOFN_ARRAY_SIZE(columns));
    for (uint32_t rank = 0; rank < fit->workers && rank < FITS_SHOWN; rank++) {
        const struct kofn_fit_worker *worker = &fit->list[rank];

        kofn_table_cell(&table, "%u", rank);
        kofn_table_cell(&table, "%llu", (unsigned long long)worker->finished);
        kofn_table_cell(&table, "%llu", (unsigned long long)worker->cancelled);
        kofn_table_cell(&table, "%s", kofn_show_seconds(worker->mean / 1e9, text));
        kofn_table_cell(&table, "%s", kofn_show_seconds(worker->naive / 1e9, text));
        kofn_table_cell(&table, "%s", kofn_show_seconds(worker->low / 1e9, text));
        kofn_table_cell(&table, "%s", kofn_show_seconds(worker->p50 / 1e9, text));
        kofn_table_cell(&table, "%s", kofn_show_seconds(worker->p99 / 1e9, text));
        kofn_table_cell(&table, "%s", worker->borrowed ? "few: shape of all" : "");
    }
    fprintf(stream, "What a local update takes, cut off ones included\n");
    kofn_table_print(&table, stream);
    kofn_table_free(&table);
    if (fit->workers > FITS_SHOWN)
        fprintf(stream, "and %u more; see --json\n", fit->workers - FITS_SHOWN);
    fprintf(
        stream,
        "%.0f %% of it is computing, which a closing round does not cut off; sending takes %s\n\n",
        100 * fit->compute_share, kofn_show_seconds(fit->publish / 1e9, text));
}

static void print_choice(struct kofn_table *table, const struct kofn_choice *choice)
{
    const double *value = choice->forecast.value;
    char text[KOFN_CELL_BYTES];

    kofn_table_cell(table, "%s", choice->job.algorithm->name);
    kofn_table_cell(table, "%s", show_publish(choice->job.publish));
    kofn_table_cell(table, "%u", choice->job.wait_for);
    kofn_table_cell(table, "%u", choice->job.local_steps);
    kofn_table_cell(table, "%s", kofn_show_number(choice->forecast.merged_per_second, 1, text));
    kofn_table_cell(table, "%s", kofn_show_seconds(value[KOFN_ROUND_TIME], text));
    kofn_table_cell(table, "%s", kofn_show_number(choice->forecast.bias, 4, text));
    kofn_table_cell(table, "%s", kofn_show_number(value[KOFN_STALENESS], 3, text));
    kofn_table_cell(table, "%s", kofn_show_number(value[KOFN_IDLE], 3, text));
    kofn_table_cell(table, "%s", kofn_show_bytes(value[KOFN_BYTES] / value[KOFN_ROUND_TIME], text));
}

/* The first ones, and the first one of the algorithm beside them. */
static void print_choices(const struct kofn_choices *choices, FILE *stream)
{
    static const char *const columns[] = {"<algorithm", "<publish", "K",         "U",    "merged/s",
                                          "round",      "bias",     "staleness", "idle", "bytes/s"};
    const struct kofn_algorithm *first = choices->list[0].job.algorithm;
    struct kofn_table table;
    bool other = false;

    kofn_table_init(&table, columns, KOFN_ARRAY_SIZE(columns));
    for (size_t i = 0; i < choices->count; i++) {
        bool is_other = choices->list[i].job.algorithm != first;

        if (i < CHOICES_SHOWN || (is_other && !other))
            print_choice(&table, &choices->list[i]);
        other |= is_other;
    }
    kofn_table_print(&table, stream);
    kofn_table_free(&table);
    if (choices->count > CHOICES_SHOWN)
        fprintf(stream, "%zu choices in all; see --json\n", choices->count);
}

static void print_answer(const struct kofn_plan *plan, FILE *stream)
{
    const struct kofn_choice *best = &plan->choices.list[0];
    char text[2][KOFN_CELL_BYTES];

    fprintf(stream,
            "Choices. First those that merge the most local updates a second, within 2 %%: the\n"
            "less bias the better, and where it is the same within 1 %% (or 0.002) the shorter\n"
            "the round; then the others, most updates first; all with two standard errors to\n"
            "spare. Bias is the share of the workers' pull that is not where it would be if all\n"
            "pulled alike\n");
    print_choices(&plan->choices, stream);
    fprintf(stream,
            "kofn run -n %u -a %s -k %u -u %u --publish %s: %s local updates merged a second, "
            "bias %s\n",
            best->job.workers, best->job.algorithm->name, best->job.wait_for, best->job.local_steps,
            show_publish(best->job.publish),
            kofn_show_number(best->forecast.merged_per_second, 1, text[0]),
            kofn_show_number(best->forecast.bias, 4, text[1]));
}

void kofn_plan_print(const struct kofn_plan *plan, FILE *stream)
{
    const struct kofn_planned *asked = &plan->list[plan->asked];
    char text[KOFN_CELL_BYTES];

    if (plan->fit.workers)
        print_fit(&plan->fit, stream);
    if (plan->count == 1) {
        fprintf(stream, "%s, %u workers", asked->job.algorithm->name, asked->job.workers);
        if (asked->job.algorithm->peers)
            fprintf(stream, "; a round is an activation of the root\n");
        else
            fprintf(stream, ", K = %u, U = %u\n", asked->job.wait_for, asked->job.local_steps);
        print_one(asked, stream);
        fprintf(stream, "%s local updates merged a second\n",
                kofn_show_number(asked->forecast.merged_per_second, 1, text));
    } else {
        print_all(plan, stream);
    }
    if (plan->choices.count) {
        fputc('\n', stream);
        print_answer(plan, stream);
    }
}

/* ---- for programs ---- */

static json_t *errors_json(const struct kofn_forecast *forecast)
{
    json_t *errors = json_object();

    for (int i = 0; i < KOFN_QUANTITIES; i++)
        json_object_set_new(errors, kofn_quantity_key((enum kofn_quantity)i),
                            kofn_json_number(forecast->error[i]));
    json_object_set_new(errors, "merged_per_second", kofn_json_number(forecast->merged_error));
    json_object_set_new(errors, "bias", kofn_json_number(forecast->bias_error));
    return errors;
}

/* The keys of a result, and what a forecast has beside them. */
static json_t *planned_json(const struct kofn_plan *plan, const struct kofn_case *job,
                            const struct kofn_forecast *forecast)
{
    json_t *json, *methods = json_object();
    struct kofn_result result;

    kofn_result_init(&result);
    result.method = forecast->weakest;
    result.version = kofn_version();
    result.command = plan->command;
    result.seed = plan->conf->seed;
    result.algorithm = job->algorithm->name;
    result.workers = job->workers;
    result.wait_for = job->wait_for;
    result.peers = job->algorithm->peers != NULL;
    result.local_steps = job->local_steps;
    result.rounds = (uint64_t)plan->rounds;
    result.seconds = plan->seconds > 0 ? plan->seconds : NAN;
    result.round_time_mean = forecast->value[KOFN_ROUND_TIME];
    result.updates_per_worker_mean = forecast->value[KOFN_UPDATES];
    result.uploads_mean = forecast->value[KOFN_UPLOADS];
    result.publications_mean = forecast->value[KOFN_PUBLICATIONS];
    result.bytes_mean = forecast->value[KOFN_BYTES];
    result.staleness_mean = forecast->value[KOFN_STALENESS];
    result.idle_fraction_mean = forecast->value[KOFN_IDLE];
    json = kofn_result_json(&result);
    for (int i = 0; i < KOFN_QUANTITIES; i++) {
        const char *key = kofn_quantity_key((enum kofn_quantity)i);

        json_object_set_new(methods, key, kofn_json_text(forecast->method[i]));
    }
    json_object_set_new(json, "publish", json_string(show_publish(job->publish)));
    json_object_set_new(json, "methods", methods);
    json_object_set_new(json, "merged_per_second", kofn_json_number(forecast->merged_per_second));
    json_object_set_new(json, "bias", kofn_json_number(forecast->bias));
    json_object_set_new(json, "errors", errors_json(forecast));
    return json;
}

static json_t *choice_json(const struct kofn_choice *choice)
{
    const struct kofn_forecast *forecast = &choice->forecast;
    json_t *json = json_object();

    json_object_set_new(json, "algorithm", json_string(choice->job.algorithm->name));
    json_object_set_new(json, "publish", json_string(show_publish(choice->job.publish)));
    json_object_set_new(json, "k", json_integer(choice->job.wait_for));
    json_object_set_new(json, "local_steps", json_integer(choice->job.local_steps));
    json_object_set_new(json, "merged_per_second", kofn_json_number(forecast->merged_per_second));
    json_object_set_new(json, "bias", kofn_json_number(forecast->bias));
    for (int i = 0; i < KOFN_QUANTITIES; i++)
        json_object_set_new(json, kofn_quantity_key((enum kofn_quantity)i),
                            kofn_json_number(forecast->value[i]));
    json_object_set_new(json, "errors", errors_json(forecast));
    return json;
}

static json_t *fit_json(const struct kofn_fit *fit)
{
    json_t *array = json_array();

    for (uint32_t rank = 0; rank < fit->workers; rank++) {
        const struct kofn_fit_worker *worker = &fit->list[rank];
        json_t *json = json_object();

        json_object_set_new(json, "rank", json_integer(rank));
        json_object_set_new(json, "finished", json_integer((json_int_t)worker->finished));
        json_object_set_new(json, "cancelled", json_integer((json_int_t)worker->cancelled));
        json_object_set_new(json, "mean", kofn_json_number(worker->mean / 1e9));
        json_object_set_new(json, "finished_mean", kofn_json_number(worker->naive / 1e9));
        json_object_set_new(json, "least", kofn_json_number(worker->low / 1e9));
        json_object_set_new(json, "p50", kofn_json_number(worker->p50 / 1e9));
        json_object_set_new(json, "p99", kofn_json_number(worker->p99 / 1e9));
        json_object_set_new(json, "borrowed", json_boolean(worker->borrowed));
        json_array_append_new(array, json);
    }
    return array;
}

static void add_choices(json_t *json, const struct kofn_choices *choices)
{
    json_t *array = json_array();

    for (size_t i = 0; i < choices->count; i++)
        json_array_append_new(array, choice_json(&choices->list[i]));
    json_object_set_new(json, "choices", array);
    json_object_set_new(json, "best", choice_json(&choices->list[0]));
}

int kofn_plan_write_json(const struct kofn_plan *plan, FILE *stream)
{
    const struct kofn_planned *asked = &plan->list[plan->asked];
    json_t *json = planned_json(plan, &asked->job, &asked->forecast), *array;

    if (plan->count > 1) {
        array = json_array();
        for (size_t i = 0; i < plan->count; i++)
            json_array_append_new(array,
                                  planned_json(plan, &plan->list[i].job, &plan->list[i].forecast));
        json_object_set_new(json, "algorithms", array);
    }
    if (plan->fit.workers)
        json_object_set_new(json, "fit", fit_json(&plan->fit));
    if (plan->choices.count)
        add_choices(json, &plan->choices);
    return kofn_json_write(json, stream, plan->log);
}
