#include <kofn/kofn.h>

#include "base/base.h"

static const struct {
    int status;
    enum kofn_scope scope;
    const char *name, *text;
} table[] = {
#define ROW(name, value, scope, text) {value, KOFN_SCOPE_##scope, "KOFN_" #name, text},
    KOFN_STATUS_MAP(ROW)
#undef ROW
};

const char *kofn_status_text(int status)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "unknown status";
}

const char *kofn_status_name(int status)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(table); i++)
        if (table[i].status == status)
            return table[i].name;
    return "KOFN_UNKNOWN";
}

enum kofn_scope kofn_status_scope(int status)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(table); i++)
        if (table[i].status == status)
            return table[i].scope;
    return KOFN_SCOPE_CONTEXT;
}
