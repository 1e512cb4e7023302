/* result_json.h: a result as JSON, for those who add to it. */
#ifndef KOFN_CLI_RESULT_JSON_H
#define KOFN_CLI_RESULT_JSON_H

#include "cli/json.h"
#include "cli/result.h"

/* One object with every key of a result; the caller's. NULL without memory. */
json_t *kofn_result_json(const struct kofn_result *result);

#endif
