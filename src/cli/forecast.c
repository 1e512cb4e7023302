#include "cli/forecast.h"

#include <math.h>
#include <string.h>

#include "algorithms/algorithm.h"

const char *kofn_quantity_key(enum kofn_quantity quantity)
{
    static const char *const keys[] = {
        "round_time_mean", "updates_per_worker_mean", "uploads_mean",      "publications_mean",
        "bytes_mean",      "staleness_mean",          "idle_fraction_mean"};

    return keys[quantity];
}

static void nothing_known(struct kofn_forecast *forecast)
{
    memset(forecast, 0, sizeof(*forecast));
    for (int i = 0; i < KOFN_QUANTITIES; i++)
        forecast->value[i] = forecast->error[i] = NAN;
    forecast->merged_per_second = forecast->bias = NAN;
    forecast->merged_error = forecast->bias_error = 0;
}

static void find_weakest(struct kofn_forecast *forecast)
{
    forecast->weakest = "closed-form";
    for (int i = 0; i < KOFN_QUANTITIES; i++) {
        const char *method = forecast->method[i];

        if (!method)
            continue;
        if (!strcmp(method, "simulation") || !strcmp(forecast->weakest, "closed-form"))
            forecast->weakest = method;
    }
}

/* Where nobody is late nothing was merged but what was finished and in time. Of an infinite number
 * a simulation has only seen some.
 */
static void derive(const struct kofn_case *job, struct kofn_forecast *forecast)
{
    bool simulated = isfinite(forecast->merged_per_second);

    if (!simulated || isinf(forecast->value[KOFN_UPDATES]))
        forecast->merged_per_second =
            forecast->value[KOFN_UPDATES] * job->workers / forecast->value[KOFN_ROUND_TIME];
    if (!simulated)
        forecast->bias = 0; /* all workers are alike */
}

int kofn_forecast_simulated(const struct kofn_case *job, const struct kofn_effort *effort,
                            const struct kofn_log *log, struct kofn_forecast *forecast)
{
    int rc;

    nothing_known(forecast);
    rc = kofn_forecast_simulate(job, effort, log, forecast);
    forecast->weakest = "simulation";
    return rc;
}

int kofn_forecast(const struct kofn_case *job, const struct kofn_effort *effort,
                  const struct kofn_log *log, struct kofn_forecast *forecast)
{
    bool complete = true;
    int rc;

    nothing_known(forecast);
    kofn_forecast_theory(job, forecast);
    for (int i = 0; i < KOFN_QUANTITIES; i++)
        complete &= forecast->method[i] || !kofn_case_has(job, (enum kofn_quantity)i);
    if (!complete && !isinf(forecast->value[KOFN_ROUND_TIME])) {
        rc = kofn_forecast_simulate(job, effort, log, forecast);
        if (rc)
            return rc;
    }
    find_weakest(forecast);
    derive(job, forecast);
    return 0;
}
