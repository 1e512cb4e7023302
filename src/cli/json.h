/* json.h: the little that jansson leaves to be decided. */
#ifndef KOFN_CLI_JSON_H
#define KOFN_CLI_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "base/log.h"

/* @value, or null where JSON has no number for it. */
json_t *kofn_json_number(double value);

/* @text, or null if it is NULL. Bytes that are not UTF-8 (of a path on the command line) become
 * "?". */
json_t *kofn_json_text(const char *text);

/* Writes @json and a newline, and releases it. KOFN_NO_MEMORY if it is NULL, KOFN_SYSTEM; logged.
 */
int kofn_json_write(json_t *json, FILE *stream, const struct kofn_log *log);

#endif
