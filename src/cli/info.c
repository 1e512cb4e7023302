/* kofn info: what is built in, the limits of this machine, the pinning map, every option and where
 * it comes from. */
#include <kofn/kofn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#ifdef HAVE_OPENBLAS
#include <cblas.h>
#endif
#ifdef HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

#include "cli/info.h"
#include "cli/output.h"
#include "theory/special.h"

static uint64_t soft_limit(int resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

static const char *openblas_description(void)
{
#ifdef HAVE_OPENBLAS
    return openblas_get_config();
#else
    return NULL;
#endif
}

static void describe_onednn(char *text, size_t size)
{
#ifdef HAVE_ONEDNN
    const dnnl_version_t *version = dnnl_version();

    snprintf(text, size, "%d.%d.%d", version->major, version->minor, version->patch);
#else
    snprintf(text, size, "%s", "");
#endif
}

/* Where a job with these options would run. What goes wrong is said, and the rest shown all the
 * same. */
static void find_places(struct kofn_info *info, const struct kofn_log *log)
{
    struct kofn_place_request request = {
        .workers = info->options->conf.workers, .threads = 1, .server = true, .quota = info->quota};
    struct kofn_topology *topology;

    if (kofn_topology_open(log, &topology))
        return;
    info->hwloc = kofn_topology_library();
    if (kofn_place_choose(topology, &request, log, &info->map))
        info->map = (struct kofn_place_map){0};
    kofn_topology_close(topology);
}

static int show(const struct kofn_options *options)
{
    struct kofn_info info = {.options = options,
                             .openblas = openblas_description(),
                             .gsl = kofn_special_library(),
                             .memlock = soft_limit(RLIMIT_MEMLOCK),
                             .nofile = soft_limit(RLIMIT_NOFILE)};
    const char *path = options->conf.json;
    struct kofn_output json;
    int rc;

    describe_onednn(info.onednn, sizeof(info.onednn));
    kofn_cpu_quota_read("", NULL, &info.quota);
    rc = kofn_output_open(&json, path, "--json", NULL);
    if (rc)
        return rc;
    find_places(&info, NULL);
    if (!path || strcmp(path, "-"))
        kofn_info_print(&info);
    if (path)
        rc = kofn_info_write_json(&info, json.stream, NULL);
    if (!rc)
        rc = kofn_output_commit(&json, NULL);
    kofn_output_drop(&json);
    kofn_place_free(&info.map);
    return rc;
}

int kofn_command_info(const struct kofn_command *command, int argc, char **argv)
{
    struct kofn_options options;
    int rc;

    rc = kofn_options_read(&options, command, argc, argv, NULL);
    if (!rc && options.conf.help)
        kofn_options_help(command, stdout);
    else if (!rc)
        rc = show(&options);
    kofn_options_free(&options);
    return kofn_exit_of(rc);
}
