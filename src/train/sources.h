/* sources.h: where data sets come from: one function a source, behind kofn_data_open().
 *
 * A loader gets an empty structure and fills in all but `mean` and `scale`. What it has allocated
 * is in `owned`, and on failure too: the caller frees it. Parsers take memory, so that they can be
 * given anything.
 */
#ifndef KOFN_TRAIN_SOURCES_H
#define KOFN_TRAIN_SOURCES_H

#include "train/data.h"

int kofn_synthetic_make(uint64_t seed, const struct kofn_log *log, struct kofn_data *data);
int kofn_cifar10_load(const char *directory, const struct kofn_log *log, struct kofn_data *data);
int kofn_idx_load(const char *directory, const struct kofn_log *log, struct kofn_data *data);

/* ---- CIFAR-10, binary version: records of 1 label byte and 3,072 pixels ---- */

#define KOFN_CIFAR10_RECORD 3073u
#define KOFN_CIFAR10_CLASSES 10u

/* Checks a batch file: whole records, at least one, labels below 10. KOFN_FORMAT otherwise; logged.
 */
int kofn_cifar10_check(const uint8_t *bytes, size_t length, const char *name,
                       const struct kofn_log *log);

/* Takes the records of a checked file apart; both arrays have room for all of them. */
void kofn_cifar10_unpack(const uint8_t *bytes, size_t length, uint8_t *labels, uint8_t *pixels);

/* ---- idx: big-endian header {0, 0, type, dimensions, sizes...}, then the values ---- */

struct kofn_idx {
    uint32_t count;         /* size of the first dimension */
    uint32_t height, width; /* of the others: 1 x 1 where there are none (labels) */
    const uint8_t *values;  /* count x height x width, in the memory that was parsed */
};

/* Parses a file of unsigned bytes with @dimensions 1 (labels) or 3 (images). KOFN_FORMAT: not that,
 * or its length is not what its header says; logged.
 */
int kofn_idx_parse(const uint8_t *bytes, size_t length, unsigned dimensions, const char *name,
                   const struct kofn_log *log, struct kofn_idx *idx);

/* Checks that all labels are below @classes (0: any) and as many as the images. KOFN_FORMAT
 * otherwise; logged. */
int kofn_idx_match(const struct kofn_idx *images, const struct kofn_idx *labels, uint32_t classes,
                   const char *name, const struct kofn_log *log);

/* Reads a file that may or may not be compressed with gzip; otherwise as kofn_file_read(). */
int kofn_gzip_read(const char *path, size_t limit, const struct kofn_log *log, uint8_t **bytes,
                   size_t *length);

#endif
