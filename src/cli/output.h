/* output.h: a file that is there whole or not at all.
 *
 * Opened before a job starts, so that what cannot be written is known then; filled under a name of
 * its own next to the one that was asked for; given that name when it is complete. Whatever was
 * there before stays until then. A path that is there and no regular file (/dev/null, a pipe) is
 * written to directly; "-" is standard output.
 */
#ifndef KOFN_CLI_OUTPUT_H
#define KOFN_CLI_OUTPUT_H

#include <limits.h>
#include <stdio.h>

#include "base/log.h"

struct kofn_output {
    char path[PATH_MAX];      /* what was asked for; "" = not open */
    char temporary[PATH_MAX]; /* what is written; "" = the path itself */
    FILE *stream;
};

/* Opens @path for writing; NULL opens nothing, and is a success. @option is for messages
 * ("--json"). Returns 0, KOFN_INVALID (too long), KOFN_SYSTEM; logged.
 */
int kofn_output_open(struct kofn_output *output, const char *path, const char *option,
                     const struct kofn_log *log);

static inline bool kofn_output_is_open(const struct kofn_output *output)
{
    return output->path[0] != '\0';
}

/* The name of the file that is being written, for those who open it themselves. */
const char *kofn_output_name(const struct kofn_output *output);

/* The file is complete: closes it and gives it its name. KOFN_SYSTEM, logged, if anything was not
 * written. Nothing is left to be dropped after this, whatever it returns.
 */
int kofn_output_commit(struct kofn_output *output, const struct kofn_log *log);

/* Removes what was written. Safe for one that is not open, and after a commit. */
void kofn_output_drop(struct kofn_output *output);

#endif
