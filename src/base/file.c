#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_CAPACITY 65536 /* where the size is not known, as of a pipe */

struct content {
    uint8_t *bytes;
    size_t length, capacity; /* one byte of the capacity stays free for the final zero */
};

static int grow(struct content *content, size_t capacity)
{
    uint8_t *bytes = realloc(content->bytes, capacity);

    if (!bytes)
        return KOFN_NO_MEMORY;
    content->bytes = bytes;
    content->capacity = capacity;
    return 0;
}

/* Reads until the end of the file or one byte more than @limit. */
static int read_all(int fd, const char *path, size_t limit, const struct kofn_log *log,
                    struct content *content)
{
    for (;;) {
        size_t space = content->capacity - 1 - content->length;
        ssize_t n;

        if (!space) {
            if (grow(content, 2 * content->capacity))
                return kofn_error(log, KOFN_NO_MEMORY, "%s: %zu bytes", path, content->capacity);
            continue;
        }
        n = read(fd, content->bytes + content->length, space);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kofn_error_errno(log, "%s: cannot be read", path);
        if (!n)
            return 0;
        content->length += (size_t)n;
        if (content->length > limit)
            return kofn_error(log, KOFN_FORMAT, "%s: longer than %zu bytes", path, limit);
    }
}

int kofn_file_read(const char *path, size_t limit, const struct kofn_log *log, uint8_t **bytes,
                   size_t *length)
{
    struct content content = {0};
    size_t capacity = FIRST_CAPACITY;
    struct stat info;
    int fd, rc;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kofn_error_errno(log, "%s: cannot be opened", path);
    if (!fstat(fd, &info) && S_ISREG(info.st_mode)) {
        if ((uint64_t)info.st_size > limit) {
            rc = kofn_error(log, KOFN_FORMAT, "%s: %lld bytes, more than the %zu allowed", path,
                            (long long)info.st_size, limit);
            goto close_file;
        }
        capacity = (size_t)info.st_size + 2; /* the final zero, and room to see the end */
    }
    rc = grow(&content, capacity);
    if (rc) {
        kofn_error(log, rc, "%s: %zu bytes", path, capacity);
        goto close_file;
    }
    rc = read_all(fd, path, limit, log, &content);
    if (rc)
        goto free_bytes;
    content.bytes[content.length] = 0;
    *bytes = content.bytes;
    *length = content.length;
    close(fd);
    return 0;

free_bytes:
    free(content.bytes);
close_file:
    close(fd);
    return rc;
}
