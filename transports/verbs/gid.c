#include "transports/verbs/gid.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transports/transport.h"

static bool is_zero(const union ibv_gid *gid)
{
    static const union ibv_gid zero;

    return !memcmp(gid, &zero, sizeof(zero));
}

static bool is_ipv4(const union ibv_gid *gid)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    return !memcmp(gid->raw, mapped, sizeof(mapped));
}

static bool is_link_local(const union ibv_gid *gid)
{
    return gid->raw[0] == 0xfe && (gid->raw[1] & 0xc0) == 0x80;
}

/* Smaller is better. */
static int place(const struct ibv_gid_entry *entry)
{
    if (entry->gid_type != IBV_GID_TYPE_ROCE_V2)
        return 3 + (entry->gid_type == IBV_GID_TYPE_ROCE_V1 && is_link_local(&entry->gid));
    if (is_ipv4(&entry->gid))
        return 0;
    return is_link_local(&entry->gid) ? 2 : 1;
}

static bool before(const struct ibv_gid_entry *a, const struct ibv_gid_entry *b,
                   const union ibv_gid *near)
{
    bool near_a = near && !memcmp(&a->gid, near, sizeof(*near));
    bool near_b = near && !memcmp(&b->gid, near, sizeof(*near));

    if (place(a) != place(b))
        return place(a) < place(b);
    if (near_a != near_b)
        return near_a;
    return a->gid_index < b->gid_index;
}

size_t kofn__verbs_gid_order(struct ibv_gid_entry *entries, size_t count, const union ibv_gid *near)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct ibv_gid_entry entry = entries[i];
        size_t at = kept;

        if (is_zero(&entry.gid))
            continue;
        for (; at > 0 && before(&entry, &entries[at - 1], near); at--)
            entries[at] = entries[at - 1];
        entries[at] = entry;
        kept++;
    }
    return kept;
}

bool kofn__verbs_gid_parse(const char *text, union ibv_gid *gid)
{
    char host[KOFN_HOST_BYTES];
    union ibv_gid made = {.raw = {[10] = 0xff, [11] = 0xff}};

    snprintf(host, sizeof(host), "%s", text);
    host[strcspn(host, "%")] = 0;
    if (inet_pton(AF_INET, host, made.raw + 12) != 1 && inet_pton(AF_INET6, host, made.raw) != 1)
        return false;
    *gid = made;
    return true;
}

bool kofn__verbs_gid_wildcard(const union ibv_gid *gid)
{
    static const unsigned char none[4];

    return is_zero(gid) || (is_ipv4(gid) && !memcmp(gid->raw + 12, none, sizeof(none)));
}

const char *kofn__verbs_gid_print(const union ibv_gid *gid, char text[KOFN__VERBS_GID_TEXT])
{
    if (is_ipv4(gid))
        inet_ntop(AF_INET, gid->raw + 12, text, KOFN__VERBS_GID_TEXT);
    else
        inet_ntop(AF_INET6, gid->raw, text, KOFN__VERBS_GID_TEXT);
    return text;
}

const char *kofn__verbs_gid_type(uint32_t type)
{
    switch (type) {
    case IBV_GID_TYPE_ROCE_V2:
        return "RoCE v2";
    case IBV_GID_TYPE_ROCE_V1:
        return "RoCE v1";
    default:
        return "InfiniBand";
    }
}
