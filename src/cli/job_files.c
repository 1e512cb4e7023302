#include "cli/job_files.h"

#include <stdlib.h>
#include <string.h>

static int open_trace(struct kofn_job_files *files, const char *command, const struct kofn_log *log)
{
    int rc;

    files->trace = malloc(sizeof(*files->trace));
    if (!files->trace)
        return kofn_error(log, KOFN_NO_MEMORY, "--record: out of memory");
    rc = kofn_trace_create(files->trace, kofn_output_name(&files->record), command, log);
    if (rc) {
        free(files->trace);
        files->trace = NULL;
    }
    return rc;
}

int kofn_job_files_open(struct kofn_job_files *files, const struct kofn_conf *conf,
                        const char *command, const struct kofn_log *log)
{
    int rc;

    if (conf->record && !strcmp(conf->record, "-"))
        return kofn_error(log, KOFN_INVALID, "--record: needs a file, not standard output");
    if (conf->json && conf->record && !strcmp(conf->json, conf->record))
        return kofn_error(log, KOFN_INVALID, "--record: %s is --json already", conf->record);
    rc = kofn_output_open(&files->json, conf->json, "--json", log);
    if (!rc)
        rc = kofn_output_open(&files->record, conf->record, "--record", log);
    return rc || !conf->record ? rc : open_trace(files, command, log);
}

int kofn_job_files_write(struct kofn_job_files *files, const struct kofn_result *result,
                         const struct kofn_log *log)
{
    int rc = 0;

    if (files->trace && kofn_trace_close(files->trace, log)) {
        kofn_output_drop(&files->record);
        rc = KOFN_SYSTEM;
    }
    free(files->trace);
    files->trace = NULL;
    if (result && kofn_output_is_open(&files->json) &&
        kofn_result_write_json(result, files->json.stream, log))
        return KOFN_SYSTEM;
    if (kofn_output_commit(&files->json, log) | kofn_output_commit(&files->record, log))
        rc = KOFN_SYSTEM;
    return rc;
}

void kofn_job_files_drop_record(struct kofn_job_files *files)
{
    if (files->trace)
        kofn_trace_close(files->trace, NULL);
    free(files->trace);
    files->trace = NULL;
    kofn_output_drop(&files->record);
}

void kofn_job_files_drop(struct kofn_job_files *files)
{
    kofn_job_files_drop_record(files);
    kofn_output_drop(&files->json);
}

const char *kofn_join_command(int argc, char **argv, char text[KOFN_COMMAND_BYTES])
{
    size_t used = (size_t)snprintf(text, KOFN_COMMAND_BYTES, "kofn");

    for (int i = 0; i < argc && used < KOFN_COMMAND_BYTES; i++)
        used += (size_t)snprintf(text + used, KOFN_COMMAND_BYTES - used, " %s", argv[i]);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    return text;
}
