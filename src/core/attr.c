#include "core/attr.h"

#include <string.h>

static size_t size_of(const void *structure)
{
    size_t size;

    memcpy(&size, structure, sizeof(size));
    return size;
}

int kofn__attr_take(const void *from, void *to, size_t known)
{
    size_t size = from ? size_of(from) : 0;
    const unsigned char *bytes = from;

    if (size <= sizeof(size))
        return KOFN_INVALID;
    for (size_t i = known; i < size; i++)
        if (bytes[i])
            return KOFN_UNSUPPORTED;
    memset(to, 0, known);
    memcpy(to, from, KOFN_MIN(size, known));
    memcpy(to, &known, sizeof(known));
    return 0;
}

int kofn__report_give(const void *from, size_t known, void *to)
{
    size_t size = size_of(to);

    if (size <= sizeof(size))
        return KOFN_INVALID;
    memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
           KOFN_MIN(size, known) - sizeof(size));
    return 0;
}
