/* job_files.h: the files that a job writes: its result as JSON, and the record of its local
 * updates.
 *
 * Both are opened before the job starts and are there whole at its end or not at all (output.h).
 * Zeroed: none is open.
 */
#ifndef KOFN_CLI_JOB_FILES_H
#define KOFN_CLI_JOB_FILES_H

#include "cli/conf.h"
#include "cli/output.h"
#include "cli/result.h"
#include "sim/trace.h"

struct kofn_job_files {
    struct kofn_output json, record;
    struct kofn_trace_writer *trace; /* of the record; owned; NULL = none */
};

/* Opens what @conf names; @command goes into the record. Returns 0, KOFN_INVALID, KOFN_SYSTEM or
 * KOFN_NO_MEMORY; logged. kofn_job_files_drop() is to be called, whatever it returns.
 */
int kofn_job_files_open(struct kofn_job_files *files, const struct kofn_conf *conf,
                        const char *command, const struct kofn_log *log);

/* Writes @result (NULL: none, for who has no JSON), and gives all files that are whole their names.
 * Returns 0, KOFN_NO_MEMORY or KOFN_SYSTEM; logged. */
int kofn_job_files_write(struct kofn_job_files *files, const struct kofn_result *result,
                         const struct kofn_log *log);

/* Removes the record: it has not become whole. The result can still be written. */
void kofn_job_files_drop_record(struct kofn_job_files *files);

/* Removes what was not written to its end. */
void kofn_job_files_drop(struct kofn_job_files *files);

/* The command as it was typed, in one line: fills and returns @text. */
#define KOFN_COMMAND_BYTES 4096
const char *kofn_join_command(int argc, char **argv, char text[KOFN_COMMAND_BYTES]);

#endif
