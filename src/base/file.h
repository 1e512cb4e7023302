/* file.h: a whole file in memory, bounded. */
#ifndef KOFN_BASE_FILE_H
#define KOFN_BASE_FILE_H

#include "base/log.h"

/* Reads @path (a regular file or a pipe) from its beginning to its end.
 *
 * @limit  the most bytes to take; a longer file is refused before it is read where its size is
 * known
 * @bytes  out: the content, to be given to free(); never NULL on success, followed by a zero byte
 * of its own Returns 0, KOFN_SYSTEM (cannot be opened or read), KOFN_FORMAT (longer than @limit),
 * KOFN_NO_MEMORY; logged.
 */
int kofn_file_read(const char *path, size_t limit, const struct kofn_log *log, uint8_t **bytes,
                   size_t *length);

#endif
