/* result_json.c: a result as JSON. The keys are an interface: they are never renamed. */
#include <jansson.h>
#include <math.h>

#include "cli/result_json.h"

static json_t *worker_json(const struct kofn_member_report *member)
{
    json_t *json = json_object();

    json_object_set_new(json, "rank", json_integer(member->rank));
    json_object_set_new(json, "host", *member->host ? kofn_json_text(member->host) : json_null());
    json_object_set_new(json, "pid", member->pid ? json_integer(member->pid) : json_null());
    json_object_set_new(json, "state", json_string(kofn_member_state_name(member->state)));
    json_object_set_new(json, "updates", json_integer((json_int_t)member->finished));
    json_object_set_new(json, "merged", json_integer((json_int_t)member->merged));
    json_object_set_new(json, "late", json_integer((json_int_t)member->late));
    json_object_set_new(json, "refused", json_integer((json_int_t)member->refused));
    json_object_set_new(json, "lost", json_integer((json_int_t)member->lost));
    json_object_set_new(json, "first_k", json_integer((json_int_t)member->first_k));
    json_object_set_new(json, "late_p50", kofn_json_number(member->late_p50));
    json_object_set_new(json, "late_p99", kofn_json_number(member->late_p99));
    json_object_set_new(json, "update_time_mean",
                        kofn_json_number(kofn_member_update_time(member)));
    json_object_set_new(json, "rejoins", json_integer((json_int_t)member->rejoins));
    json_object_set_new(json, "cause",
                        member->cause == KOFN_CAUSE_NONE
                            ? json_null()
                            : json_string(kofn_cause_name(member->cause)));
    return json;
}

static json_t *workers_json(const struct kofn_result *result)
{
    json_t *array = json_array();

    for (uint32_t i = 0; result->members && i < result->workers; i++)
        json_array_append_new(array, worker_json(&result->members[i]));
    return array;
}

static json_t *curve_json(const struct kofn_curve *curve)
{
    json_t *array = json_array();

    for (size_t i = 0; i < curve->count; i++) {
        const struct kofn_point *point = &curve->points[i];
        json_t *json = json_object();

        json_object_set_new(json, "seconds", kofn_json_number(point->seconds));
        json_object_set_new(json, "round", json_integer((json_int_t)point->round));
        json_object_set_new(json, "accuracy", kofn_json_number(point->accuracy));
        json_object_set_new(json, "loss", kofn_json_number(point->loss));
        json_array_append_new(array, json);
    }
    return array;
}

static void set_means(json_t *json, const struct kofn_result *result)
{
    const struct {
        const char *key;
        double value;
    } means[] = {
        {"seconds", result->seconds},
        {"round_time_mean", result->round_time_mean},
        {"round_time_p50", result->round_time_p50},
        {"round_time_p99", result->round_time_p99},
        {"updates_per_worker_mean", result->updates_per_worker_mean},
        {"uploads_mean", result->uploads_mean},
        {"publications_mean", result->publications_mean},
        {"bytes_mean", result->bytes_mean},
        {"staleness_mean", result->staleness_mean},
        {"loss", result->loss},
        {"accuracy", result->accuracy},
        {"idle_fraction_mean", result->idle_fraction_mean},
        {"conservation_error", result->conservation_error},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(means); i++)
        json_object_set_new(json, means[i].key, kofn_json_number(means[i].value));
}

json_t *kofn_result_json(const struct kofn_result *result)
{
    json_t *json = json_object();

    json_object_set_new(json, "version", json_string(result->version));
    json_object_set_new(json, "command", kofn_json_text(result->command));
    json_object_set_new(json, "method", json_string(result->method));
    json_object_set_new(json, "algorithm", json_string(result->algorithm));
    json_object_set_new(json, "workers", json_integer(result->workers));
    json_object_set_new(json, "k", result->peers ? json_null() : json_integer(result->wait_for));
    json_object_set_new(json, "k_last",
                        result->wait_for_last ? json_integer(result->wait_for_last) : json_null());
    json_object_set_new(json, "local_steps", json_integer(result->local_steps));
    json_object_set_new(json, "transport", kofn_json_text(result->transport));
    json_object_set_new(json, "seed", json_integer((json_int_t)result->seed));
    json_object_set_new(json, "ended", kofn_json_text(kofn_ended_name(result->ended)));
    json_object_set_new(json, "rounds", json_integer((json_int_t)result->rounds));
    set_means(json, result);
    json_object_set_new(json, "per_worker", workers_json(result));
    json_object_set_new(json, "curve", curve_json(&result->curve));
    return json;
}

int kofn_result_write_json(const struct kofn_result *result, FILE *stream,
                           const struct kofn_log *log)
{
    return kofn_json_write(kofn_result_json(result), stream, log);
}
