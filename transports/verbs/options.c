#include "transports/verbs/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "transports/transport.h"

static const char *const modes[] = {"imm", "atomic", "poll", NULL};
static const char *const connects[] = {"tcp", "rdmacm", NULL};
static const char *const answers[] = {"no", "yes", NULL};

/* All options but the device's. A number is in [min, max]; a choice is one of the words. */
static const struct entry {
    const char *key;
    size_t offset; /* of a 64-bit number */
    uint64_t min, max, preset;
    const char *const *words;
    const char *hint; /* another program's variable */
} entries[] = {
    {"port", offsetof(struct kofn__verbs_options, port), 0, 255, 0, NULL, NULL},
    {"gid", offsetof(struct kofn__verbs_options, gid), 0, 65535, UINT64_MAX, NULL,
     "NCCL_IB_GID_INDEX"},
    {"mtu", offsetof(struct kofn__verbs_options, mtu), 256, 4096, 0, NULL, NULL},
    {"sl", offsetof(struct kofn__verbs_options, level), 0, 15, 0, NULL, "NCCL_IB_SL"},
    {"tc", offsetof(struct kofn__verbs_options, traffic), 0, 255, UINT64_MAX, NULL, "NCCL_IB_TC"},
    {"hops", offsetof(struct kofn__verbs_options, hops), 1, 255, 255, NULL, NULL},
    {"retries", offsetof(struct kofn__verbs_options, retries), 0, KOFN__VERBS_RETRIES,
     KOFN__VERBS_RETRIES, NULL, NULL},
    {"timeout", offsetof(struct kofn__verbs_options, timeout), 1, 31, 0, NULL, NULL},
    {"inline", offsetof(struct kofn__verbs_options, inlined), 0, 1024, 220, NULL, NULL},
    {"mode", offsetof(struct kofn__verbs_options, mode), 0, 0, 0, modes, NULL},
    {"connect", offsetof(struct kofn__verbs_options, connect), 0, 0, 0, connects, NULL},
    {"unsafe-poll", offsetof(struct kofn__verbs_options, unsafe), 0, 0, 0, answers, NULL},
    {"relaxed", offsetof(struct kofn__verbs_options, relaxed), 0, 0, 0, answers, NULL},
};

const char *kofn__verbs_mode_name(uint32_t mode)
{
    return mode < KOFN_ARRAY_SIZE(modes) - 1 ? modes[mode] : "?";
}

static uint64_t *field(struct kofn__verbs_options *options, const struct entry *entry)
{
    return (uint64_t *)(void *)((char *)options + entry->offset);
}

static int parse(struct kofn__verbs_options *options, const struct entry *entry,
                 struct kofn_text value, struct kofn_bad *bad)
{
    if (!entry->words)
        return kofn_parse_uint(value, entry->min, entry->max, field(options, entry), bad);
    for (uint64_t i = 0; entry->words[i]; i++)
        if (kofn_text_is(value, entry->words[i])) {
            *field(options, entry) = i;
            return 0;
        }
    *bad = (struct kofn_bad){value, "is not one of its words"};
    return KOFN_INVALID;
}

static int set_filter(struct kofn__verbs_filter *filter, struct kofn_text text, bool prefix,
                      bool named)
{
    if (text.length >= sizeof(filter->text))
        return KOFN_INVALID;
    memcpy(filter->text, text.start, text.length);
    filter->text[text.length] = 0;
    filter->prefix = prefix;
    filter->named = named;
    return 0;
}

/* One option, from @where; the key is known to be one unless @log says otherwise. */
static int set(struct kofn__verbs_options *options, const char *where, struct kofn_text key,
               struct kofn_text value, const struct kofn_log *log)
{
    struct kofn_bad bad = {value, "is too long"};
    const char *keys[KOFN_ARRAY_SIZE(entries) + 1];
    char hint[KOFN_HINT_LENGTH];
    int rc;

    if (kofn_text_is(key, "device")) {
        rc = set_filter(&options->filter, value, false, true);
        return rc ? kofn_error(log, rc, "verbs: %s device: " KOFN_BAD, where, KOFN_BAD_ARGS(&bad))
                  : 0;
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(entries); i++) {
        keys[i] = entries[i].key;
        if (!kofn_text_is(key, entries[i].key))
            continue;
        rc = parse(options, &entries[i], value, &bad);
        return rc ? kofn_error(log, rc, "verbs: %s %s: " KOFN_BAD, where, entries[i].key,
                               KOFN_BAD_ARGS(&bad))
                  : 0;
    }
    keys[KOFN_ARRAY_SIZE(entries)] = "device";
    return kofn_error(log, KOFN_INVALID, "verbs: has no option \"%.*s\": %s", KOFN_TEXT_ARGS(key),
                      kofn_hint(hint, key, keys, KOFN_ARRAY_SIZE(keys)));
}

/* KOFN_VERBS_KEY in the environment; NULL if it is not set. */
static const char *from_environment(const char *key)
{
    char name[64];
    int length = snprintf(name, sizeof(name), "KOFN_VERBS_%s", key);

    for (int i = 0; i < length; i++)
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    return getenv(name);
}

/* What other programs were told is a hint: one that cannot be read is none. */
static void read_hint(struct kofn__verbs_options *options, const struct entry *entry)
{
    const char *text = entry->hint ? getenv(entry->hint) : NULL;
    struct kofn_bad bad;

    if (text)
        parse(options, entry, kofn_text(text), &bad);
}

static void hint_devices(struct kofn__verbs_options *options)
{
    const char *nccl = getenv("NCCL_IB_HCA"), *ucx = getenv("UCX_NET_DEVICES");

    if (nccl && *nccl)
        set_filter(&options->filter, kofn_text(nccl), true, false);
    else if (ucx && *ucx && strcmp(ucx, "all"))
        set_filter(&options->filter, kofn_text(ucx), false, false);
}

static int read_environment(struct kofn__verbs_options *options, const struct kofn_log *log)
{
    const char *text = from_environment("device");
    int rc = 0;

    hint_devices(options);
    if (text)
        rc = set(options, "KOFN_VERBS_DEVICE:", kofn_text("device"), kofn_text(text), log);
    for (size_t i = 0; !rc && i < KOFN_ARRAY_SIZE(entries); i++) {
        *field(options, &entries[i]) = entries[i].preset;
        read_hint(options, &entries[i]);
        text = from_environment(entries[i].key);
        if (text)
            rc = set(options, "environment:", kofn_text(entries[i].key), kofn_text(text), log);
    }
    return rc;
}

int kofn__verbs_options_read(struct kofn__verbs_options *options, const char *text,
                             const struct kofn_log *log)
{
    struct kofn__verbs_options made = {0};
    struct kofn_text key, value;
    const char *rest = NULL;
    int rc = read_environment(&made, log);

    while (!rc && kofn_transport_option(text, &rest, &key, &value))
        rc = set(&made, "option", key, value, log);
    if (!rc && made.mtu & (made.mtu - 1))
        rc = kofn_error(log, KOFN_INVALID, "verbs: mtu %llu: must be 256, 512, 1024, 2048 or 4096",
                        (unsigned long long)made.mtu);
    if (!rc)
        *options = made;
    return rc;
}

/* Does "NAME" or "NAME:PORT" mean this one? */
static bool item_is(struct kofn_text item, bool prefix, const char *name, uint32_t port)
{
    struct kofn_text device = kofn_text_cut(&item, ':');
    struct kofn_bad bad;
    uint64_t number = 0;

    if (item.start && kofn_parse_uint(item, 0, 255, &number, &bad))
        return false;
    if (number && port && number != port)
        return false;
    if (prefix)
        return !strncmp(device.start, name, device.length);
    return device.length == strlen(name) && !memcmp(device.start, name, device.length);
}

bool kofn__verbs_filter_names(const struct kofn__verbs_filter *filter)
{
    const char *list = filter->text + strspn(filter->text, "=");

    return filter->named && *list && *list != '^';
}

bool kofn__verbs_filter_passes(const struct kofn__verbs_filter *filter, const char *name,
                               uint32_t port)
{
    struct kofn_text list = kofn_text(filter->text);
    bool prefix = filter->prefix, exclude = false;

    if (!list.length)
        return true;
    while (list.length && (*list.start == '^' || *list.start == '=')) {
        exclude |= *list.start == '^';
        prefix &= *list.start != '=';
        list.start++;
        list.length--;
    }
    while (list.start && list.length) {
        struct kofn_text item = kofn_text_cut(&list, ',');

        if (item.length && item_is(item, prefix, name, port))
            return !exclude;
    }
    return exclude;
}
