#include "cli/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *kofn_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *kofn_json_text(const char *text)
{
    json_t *json;
    char *copy;

    if (!text)
        return json_null();
    json = json_string(text);
    if (json)
        return json;
    copy = strdup(text);
    if (!copy)
        return NULL;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json = json_string(copy);
    free(copy);
    return json;
}

int kofn_json_write(json_t *json, FILE *stream, const struct kofn_log *log)
{
    int failed;

    if (!json)
        return kofn_error(log, KOFN_NO_MEMORY, "JSON: out of memory");
    failed = json_dumpf(json, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(json);
    if (failed || fputc('\n', stream) == EOF || fflush(stream))
        return kofn_error_errno(log, "JSON: cannot be written");
    return 0;
}
