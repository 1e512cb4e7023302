#include <jansson.h>
#include <kofn/kofn.h>
#include <string.h>
#include <zlib.h>

#include "algorithms/algorithm.h"
#include "cli/info.h"
#include "cli/json.h"
#include "cli/table.h"
#include "math/reduce.h"
#include "train/model.h"
#include "transports/transport.h"

/* ---- for people ---- */

static void print_built_in(const struct kofn_info *info)
{
    const struct kofn_transport_ops *transport;
    const struct kofn_algorithm *algorithm;

    printf("kofn %s\n\nBuilt in\n", kofn_version());
    for (size_t i = 0; (transport = kofn_transport_at(i)); i++)
        printf("  transport %-8s %s\n", transport->name, transport->summary);
    for (size_t i = 0; (algorithm = kofn_algorithm_at(i)); i++)
        printf("  algorithm %-12s %s%s\n", algorithm->name, algorithm->summary,
               algorithm->baseline ? " (baseline)" : "");
    printf("  OpenBLAS           %s\n",
           info->openblas ? info->openblas : "no: softmax, mlp and cnn cannot be trained");
    printf("  oneDNN             %s\n", *info->onednn ? info->onednn : "no: cnn cannot be trained");
    printf("  hwloc              %s\n", info->hwloc ? info->hwloc : "no: cores are not known");
    printf("  GSL                %s\n",
           info->gsl ? info->gsl : "no: plans are simulated where quadrature would do");
    printf("  jansson, zlib      %s, %s\n", jansson_version_str(), zlibVersion());
    printf("  merge kernels      %s\n", kofn_reduce_select()->name);
}

static void print_finding(void *arg, const char *what, const char *text)
{
    const char *const *transport = arg;
    char name[128];

    snprintf(name, sizeof(name), "%s %s", *transport, what);
    printf("  %-18s %s\n", name, text);
}

/* What a job would be run with: the options that are set are those of the transport that is set. */
static const char *options_of(const struct kofn_transport_ops *transport,
                              const struct kofn_info *info)
{
    const struct kofn_conf *conf = &info->options->conf;

    return conf->transport == transport ? conf->transport_options : NULL;
}

static void print_findings(const struct kofn_info *info)
{
    const struct kofn_transport_ops *transport;

    printf("\nTransports on this host\n");
    for (size_t i = 0; (transport = kofn_transport_at(i)); i++)
        if (transport->describe)
            transport->describe(options_of(transport, info), print_finding,
                                &(const char *){transport->name});
}

static void print_limit(const char *name, uint64_t value, bool bytes)
{
    char text[KOFN_CELL_BYTES];

    if (value == UINT64_MAX)
        printf("  %-18s unlimited\n", name);
    else if (bytes)
        printf("  %-18s %s\n", name, kofn_show_bytes((double)value, text));
    else
        printf("  %-18s %llu\n", name, (unsigned long long)value);
}

static void print_place_line(void *arg, const char *text)
{
    (void)arg;
    printf("  %s\n", text);
}

static void print_machine(const struct kofn_info *info)
{
    printf("\nLimits\n");
    print_limit("locked memory", info->memlock, true);
    print_limit("open files", info->nofile, false);
    if (info->quota.period_us)
        printf("  %-18s %.3g CPUs (%s)\n", "CPU quota",
               (double)info->quota.quota_us / (double)info->quota.period_us, info->quota.file);
    else
        printf("  %-18s none\n", "CPU quota");
    printf("\nPlaces of a job with %u workers%s\n", info->options->conf.workers,
           info->options->conf.pin == KOFN_PIN_OFF ? " (not used: --pin off)" : "");
    if (info->map.workers)
        kofn_place_print(&info->map, print_place_line, NULL);
    else
        printf("  not known\n");
}

static void print_options(const struct kofn_options *options)
{
    printf("\nOptions%s%s\n", options->file ? ", file " : "",
           options->file ? options->file_path : "");
    for (size_t i = 0; i < kofn_option_count; i++) {
        const struct kofn_value *value = &options->values[i];

        if (!(kofn_option_table[i].flags & KOFN_OPTION_FLAG_ONLY))
            printf("  %-18s %-12s %s\n", kofn_option_table[i].name, kofn_origin_name(value->origin),
                   value->text ? value->text : "-");
    }
}

void kofn_info_print(const struct kofn_info *info)
{
    print_built_in(info);
    print_findings(info);
    print_machine(info);
    print_options(info->options);
}

/* ---- for programs ---- */

static json_t *limit_json(uint64_t value)
{
    return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

static void add_finding(void *arg, const char *what, const char *text)
{
    json_object_set_new(arg, what, kofn_json_text(text));
}

static json_t *findings_json(const struct kofn_info *info)
{
    const struct kofn_transport_ops *transport;
    json_t *json = json_object();

    for (size_t i = 0; (transport = kofn_transport_at(i)); i++) {
        json_t *one = json_object();

        if (transport->describe)
            transport->describe(options_of(transport, info), add_finding, one);
        json_object_set_new(json, transport->name, one);
    }
    return json;
}

static void set_built_in(json_t *json, const struct kofn_info *info)
{
    json_t *transports = json_object(), *algorithms = json_object(), *models = json_array();
    json_t *baselines = json_array();
    const struct kofn_transport_ops *transport;
    const struct kofn_algorithm *algorithm;

    for (size_t i = 0; (transport = kofn_transport_at(i)); i++)
        json_object_set_new(transports, transport->name, json_string(transport->summary));
    for (size_t i = 0; (algorithm = kofn_algorithm_at(i)); i++)
        json_object_set_new(algorithms, algorithm->name, json_string(algorithm->summary));
    for (size_t i = 0; (algorithm = kofn_algorithm_at(i)); i++)
        if (algorithm->baseline)
            json_array_append_new(baselines, json_string(algorithm->name));
    for (size_t i = 0; i < kofn_model_names_count; i++)
        json_array_append_new(models, json_string(kofn_model_names[i]));
    json_object_set_new(json, "version", json_string(kofn_version()));
    json_object_set_new(json, "transports", transports);
    json_object_set_new(json, "algorithms", algorithms);
    json_object_set_new(json, "baselines", baselines);
    json_object_set_new(json, "models", models);
    json_object_set_new(json, "openblas", kofn_json_text(info->openblas));
    json_object_set_new(json, "onednn", kofn_json_text(*info->onednn ? info->onednn : NULL));
    json_object_set_new(json, "hwloc", kofn_json_text(info->hwloc));
    json_object_set_new(json, "gsl", kofn_json_text(info->gsl));
    json_object_set_new(json, "jansson", json_string(jansson_version_str()));
    json_object_set_new(json, "zlib", json_string(zlibVersion()));
    json_object_set_new(json, "merge_kernels", json_string(kofn_reduce_select()->name));
}

static json_t *limits_json(const struct kofn_info *info)
{
    json_t *json = json_object();
    double quota =
        info->quota.period_us ? (double)info->quota.quota_us / (double)info->quota.period_us : 0;

    json_object_set_new(json, "memlock_bytes", limit_json(info->memlock));
    json_object_set_new(json, "open_files", limit_json(info->nofile));
    json_object_set_new(json, "cpu_quota", quota > 0 ? json_real(quota) : json_null());
    return json;
}

static json_t *place_json(const struct kofn_place *place, const char *role, unsigned rank)
{
    json_t *json = json_object();

    json_object_set_new(json, "role", json_string(role));
    if (!strcmp(role, "worker"))
        json_object_set_new(json, "rank", json_integer(rank));
    json_object_set_new(json, "cpu", place->cpu < 0 ? json_null() : json_integer(place->cpu));
    json_object_set_new(json, "core", place->core < 0 ? json_null() : json_integer(place->core));
    json_object_set_new(json, "node", place->node < 0 ? json_null() : json_integer(place->node));
    return json;
}

static json_t *places_json(const struct kofn_place_map *map)
{
    json_t *json = json_object(), *threads = json_array();
    char cpus[KOFN_CPUS_TEXT_BYTES];

    json_object_set_new(json, "cpus",
                        json_string(kofn_cpus_format(&map->cpus, cpus, sizeof(cpus))));
    json_object_set_new(json, "cores", json_integer(map->core_count));
    json_object_set_new(json, "nodes", json_integer(map->node_count));
    json_object_set_new(json, "spin", json_boolean(map->spin_ok));
    json_object_set_new(json, "spin_why", kofn_json_text(map->spin_why));
    if (map->workers)
        json_array_append_new(threads, place_json(&map->poll, "server", 0));
    for (unsigned i = 0; i < map->workers; i++)
        json_array_append_new(threads, place_json(&map->compute[i], "worker", i));
    json_object_set_new(json, "threads", threads);
    return json;
}

static json_t *options_json(const struct kofn_options *options)
{
    json_t *json = json_object();

    for (size_t i = 0; i < kofn_option_count; i++) {
        const struct kofn_value *value = &options->values[i];
        json_t *one = json_object();

        if (kofn_option_table[i].flags & KOFN_OPTION_FLAG_ONLY) {
            json_decref(one);
            continue;
        }
        json_object_set_new(one, "value", kofn_json_text(value->text));
        json_object_set_new(one, "from", json_string(kofn_origin_name(value->origin)));
        json_object_set_new(json, kofn_option_table[i].name, one);
    }
    return json;
}

int kofn_info_write_json(const struct kofn_info *info, FILE *stream, const struct kofn_log *log)
{
    json_t *json = json_object();

    set_built_in(json, info);
    json_object_set_new(json, "findings", findings_json(info));
    json_object_set_new(json, "limits", limits_json(info));
    json_object_set_new(json, "places", places_json(&info->map));
    json_object_set_new(json, "config_file",
                        kofn_json_text(info->options->file ? info->options->file_path : NULL));
    json_object_set_new(json, "options", options_json(info->options));
    return kofn_json_write(json, stream, log);
}
