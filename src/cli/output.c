#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a new file beside output->path, with the rights a file made the usual way would have. */
static int open_temporary(struct kofn_output *output)
{
    mode_t mask = umask(0);
    int fd, n;

    umask(mask);
    n = snprintf(output->temporary, sizeof(output->temporary), "%s.XXXXXX", output->path);
    if (n >= (int)sizeof(output->temporary)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(output->temporary, O_CLOEXEC);
    if (fd >= 0 && fchmod(fd, 0666 & ~mask)) {
        unlink(output->temporary);
        close(fd);
        return -1;
    }
    return fd;
}

/* A descriptor to write to, or -1 with errno set. */
static int open_path(struct kofn_output *output)
{
    struct stat info;

    if (stat(output->path, &info)) {
        if (errno != ENOENT)
            return -1;
        return open_temporary(output);
    }
    if (!S_ISREG(info.st_mode))
        return open(output->path, O_WRONLY | O_CLOEXEC); /* EISDIR for a directory */
    if (access(output->path, W_OK))
        return -1;
    return open_temporary(output);
}

int kofn_output_open(struct kofn_output *output, const char *path, const char *option,
                     const struct kofn_log *log)
{
    char *real;
    int fd;

    memset(output, 0, sizeof(*output));
    if (!path)
        return 0;
    /* a link is followed, so that the file it leads to is replaced and not the link */
    real = realpath(path, NULL);
    if (strlen(real ? real : path) >= sizeof(output->path)) {
        free(real);
        return kofn_error(log, KOFN_INVALID, "%s: the path is too long", option);
    }
    strcpy(output->path, real ? real : path);
    free(real);
    fd = strcmp(path, "-") ? open_path(output) : dup(STDOUT_FILENO);
    if (fd < 0) {
        int rc = kofn_error_errno(log, "%s: %s cannot be written", option, path);

        memset(output, 0, sizeof(*output));
        return rc;
    }
    output->stream = fdopen(fd, "w");
    if (!output->stream) {
        close(fd);
        kofn_output_drop(output);
        return kofn_error(log, KOFN_NO_MEMORY, "%s: no memory for a stream", option);
    }
    return 0;
}

const char *kofn_output_name(const struct kofn_output *output)
{
    return output->temporary[0] ? output->temporary : output->path;
}

int kofn_output_commit(struct kofn_output *output, const struct kofn_log *log)
{
    bool failed;
    int rc = 0;

    if (!kofn_output_is_open(output))
        return 0;
    failed = ferror(output->stream) != 0;
    failed |= fclose(output->stream) != 0;
    output->stream = NULL;
    if (failed || (output->temporary[0] && rename(output->temporary, output->path)))
        rc = kofn_error_errno(log, "%s cannot be written", output->path);
    if (!rc)
        output->temporary[0] = '\0';
    kofn_output_drop(output);
    return rc;
}

void kofn_output_drop(struct kofn_output *output)
{
    if (output->stream)
        fclose(output->stream);
    if (output->temporary[0])
        unlink(output->temporary);
    memset(output, 0, sizeof(*output));
}
