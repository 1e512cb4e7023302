#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "train/sources.h"

#define FIRST_CAPACITY ((size_t)1 << 20)
#define READ_MAX ((size_t)1 << 30) /* zlib counts in int */

/* What went wrong with @file: a system call, or the compressed data. */
static int read_error(gzFile file, const char *path, const struct kofn_log *log)
{
    int code;
    const char *text = gzerror(file, &code);

    if (code == Z_ERRNO)
        return kofn_error_errno(log, "%s: cannot be read", path);
    return kofn_error(log, KOFN_FORMAT, "%s: damaged or cut off: %s", path,
                      code == Z_BUF_ERROR ? "it ends in the middle" : text);
}

static int read_all(gzFile file, const char *path, size_t limit, const struct kofn_log *log,
                    uint8_t **bytes, size_t *length)
{
    size_t capacity = FIRST_CAPACITY, used = 0;
    uint8_t *grown;
    int n, code;

    for (;;) {
        if (!*bytes || used == capacity) {
            capacity = *bytes ? KOFN_MIN(2 * capacity, limit + 1) : capacity;
            grown = realloc(*bytes, capacity);
            if (!grown)
                return kofn_error(log, KOFN_NO_MEMORY, "%s: %zu bytes", path, capacity);
            *bytes = grown;
        }
        n = gzread(file, *bytes + used, (unsigned)KOFN_MIN(capacity - used, READ_MAX));
        if (n < 0)
            return read_error(file, path, log);
        if (!n)
            break;
        used += (size_t)n;
        if (used > limit)
            return kofn_error(log, KOFN_FORMAT, "%s: longer than %zu bytes", path, limit);
    }
    /* a file that was cut off ends with fewer bytes and this, not with an error of gzread() */
    gzerror(file, &code);
    if (code != Z_OK)
        return read_error(file, path, log);
    *length = used;
    return 0;
}

int kofn_gzip_read(const char *path, size_t limit, const struct kofn_log *log, uint8_t **bytes,
                   size_t *length)
{
    uint8_t *content = NULL;
    size_t used = 0;
    gzFile file;
    int rc;

    errno = 0;
    file = gzopen(path, "rbe");
    if (!file) {
        errno = errno ? errno : ENOMEM; /* zlib says nothing where it has no memory */
        return kofn_error_errno(log, "%s: cannot be opened", path);
    }
    gzbuffer(file, 1 << 17);
    rc = read_all(file, path, limit, log, &content, &used);
    gzclose_r(file);
    if (rc) {
        free(content);
        return rc;
    }
    *bytes = content;
    *length = used;
    return 0;
}
