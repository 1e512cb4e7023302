#include "sim/straggler.h"

#include "base/clock.h"

enum key { RANK, FACTOR, FROM, TO, KEYS };

static const char *const keys[KEYS] = {"rank", "factor", "from", "to"};

/* The enum key called @name, or KOFN_INVALID. */
static int find_key(struct kofn_text spec, struct kofn_text name, const struct kofn_log *log)
{
    char hint[KOFN_HINT_LENGTH];

    for (int key = 0; key < KEYS; key++)
        if (kofn_text_is(name, keys[key]))
            return key;
    return kofn_error(log, KOFN_INVALID, "straggler %.*s: unknown key \"%.*s\"; %s",
                      KOFN_TEXT_ARGS(spec), KOFN_TEXT_ARGS(name),
                      kofn_hint(hint, name, keys, KEYS));
}

static int parse_value(int key, struct kofn_text value, struct kofn_straggler *straggler,
                       struct kofn_bad *bad)
{
    uint64_t rank;
    int rc;

    switch (key) {
    case RANK:
        rc = kofn_parse_uint(value, 0, UINT32_MAX - 1, &rank, bad);
        if (!rc)
            straggler->rank = (uint32_t)rank;
        return rc;
    case FACTOR:
        return kofn_parse_float(value, KOFN_STRAGGLER_FACTOR_MIN, KOFN_STRAGGLER_FACTOR_MAX,
                                &straggler->factor, bad);
    case FROM:
        return kofn_parse_duration(value, &straggler->from_ns, bad);
    default:
        return kofn_parse_duration(value, &straggler->to_ns, bad);
    }
}

/* One `key=value`; @seen tells which keys there have been. */
static int parse_item(struct kofn_text spec, struct kofn_text item, const struct kofn_log *log,
                      bool seen[KEYS], struct kofn_straggler *straggler)
{
    struct kofn_text value = item, name = kofn_text_cut(&value, '=');
    struct kofn_bad bad;
    int key, rc;

    key = find_key(spec, name, log);
    if (key < 0)
        return key;
    if (!value.start)
        return kofn_error(log, KOFN_INVALID, "straggler %.*s: %s has no value",
                          KOFN_TEXT_ARGS(spec), keys[key]);
    if (seen[key])
        return kofn_error(log, KOFN_INVALID, "straggler %.*s: %s is there twice",
                          KOFN_TEXT_ARGS(spec), keys[key]);
    rc = parse_value(key, value, straggler, &bad);
    if (rc)
        return kofn_error(log, rc, "straggler %.*s: %s " KOFN_BAD, KOFN_TEXT_ARGS(spec), keys[key],
                          KOFN_BAD_ARGS(&bad));
    seen[key] = true;
    return 0;
}

int kofn_straggler_parse(struct kofn_text spec, const struct kofn_log *log,
                         struct kofn_straggler *straggler)
{
    struct kofn_straggler result = {.factor = 1, .to_ns = KOFN_FOREVER};
    struct kofn_text rest = spec;
    bool seen[KEYS] = {false};
    int rc;

    do {
        rc = parse_item(spec, kofn_text_cut(&rest, ','), log, seen, &result);
        if (rc)
            return rc;
    } while (rest.start);
    if (!seen[RANK] || !seen[FACTOR])
        return kofn_error(log, KOFN_INVALID, "straggler %.*s: %s is missing", KOFN_TEXT_ARGS(spec),
                          keys[seen[RANK] ? FACTOR : RANK]);
    if (result.to_ns <= result.from_ns)
        return kofn_error(log, KOFN_INVALID, "straggler %.*s: ends before it begins",
                          KOFN_TEXT_ARGS(spec));
    *straggler = result;
    return 0;
}

int kofn_straggler_check(const struct kofn_straggler *list, size_t count, uint32_t workers,
                         const struct kofn_log *log)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].rank >= workers)
            return kofn_error(log, KOFN_INVALID,
                              "straggler: rank %u, but the %u workers have ranks 0 to %u",
                              list[i].rank, workers, workers - 1);
    return 0;
}

double kofn_straggler_factor(const struct kofn_straggler *list, size_t count, uint32_t rank,
                             uint64_t time_ns)
{
    double factor = 1;

    for (size_t i = 0; i < count; i++)
        if (list[i].rank == rank && time_ns >= list[i].from_ns && time_ns < list[i].to_ns)
            factor *= list[i].factor;
    return factor;
}
