#include "cli/option_value.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"

#define CHOICES_MAX 32

static int complain(const struct kofn_log *log, const char *where, const struct kofn_bad *bad)
{
    return kofn_error(log, KOFN_INVALID, "%s: " KOFN_BAD, where, KOFN_BAD_ARGS(bad));
}

static bool is_zero_word(const struct kofn_option *option, const char *text)
{
    return option->zero && !strcmp(text, option->zero);
}

/* What else may stand there, for the end of a message: `, or "all"`. */
static const char *or_zero(const struct kofn_option *option, char text[32])
{
    text[0] = '\0';
    if (option->zero)
        snprintf(text, 32, ", or \"%s\"", option->zero);
    return text;
}

KOFN_OPTION_PARSER(kofn_option_u64)
{
    uint64_t min = (uint64_t)option->min;
    uint64_t max = option->max > 0 ? (uint64_t)option->max : UINT64_MAX, value;
    struct kofn_bad bad;
    char also[32];

    if (is_zero_word(option, text)) {
        *(uint64_t *)field = 0;
        return 0;
    }
    if (kofn_parse_uint(kofn_text(text), 0, UINT64_MAX, &value, &bad))
        return complain(log, where, &bad);
    if (value < min && max == UINT64_MAX)
        return kofn_error(log, KOFN_INVALID, "%s: %s is too small: at least %llu%s", where, text,
                          (unsigned long long)min, or_zero(option, also));
    if (value < min || value > max)
        return kofn_error(log, KOFN_INVALID, "%s: %s is too %s: %llu to %llu%s", where, text,
                          value < min ? "small" : "large", (unsigned long long)min,
                          (unsigned long long)max, or_zero(option, also));
    *(uint64_t *)field = value;
    return 0;
}

KOFN_OPTION_PARSER(kofn_option_u32)
{
    uint64_t value;
    int rc = kofn_option_u64(option, text, where, log, &value);

    if (rc)
        return rc;
    if (value > UINT32_MAX)
        return kofn_error(log, KOFN_INVALID, "%s: %s is too large", where, text);
    *(uint32_t *)field = (uint32_t)value;
    return 0;
}

KOFN_OPTION_PARSER(kofn_option_duration)
{
    struct kofn_bad bad;
    uint64_t ns;

    if (is_zero_word(option, text)) {
        *(uint64_t *)field = 0;
        return 0;
    }
    if (kofn_parse_duration(kofn_text(text), &ns, &bad))
        return complain(log, where, &bad);
    if ((double)ns < option->min)
        return kofn_error(log, KOFN_INVALID, "%s: %s is too short: at least %g ms", where, text,
                          option->min / 1e6);
    *(uint64_t *)field = ns;
    return 0;
}

KOFN_OPTION_PARSER(kofn_option_deadline)
{
    struct kofn_conf_deadline *deadline = field;
    uint64_t ns;
    int rc;

    if (!strcmp(text, option->special)) {
        *deadline = (struct kofn_conf_deadline){.adaptive = true};
        return 0;
    }
    rc = kofn_option_duration(option, text, where, log, &ns);
    if (!rc)
        *deadline = (struct kofn_conf_deadline){.ns = ns};
    return rc;
}

KOFN_OPTION_PARSER(kofn_option_screen)
{
    struct kofn_text rest = kofn_text(text), name = kofn_text_cut(&rest, ':');
    struct kofn_conf_screen screen = {.kind = KOFN_SCREENING_NONE};
    uint64_t trim = 0;
    int rc = 0;

    if (kofn_text_is(name, "trimmed")) {
        screen.kind = KOFN_SCREENING_TRIMMED;
        if (!rest.start)
            return kofn_error(log, KOFN_INVALID, "%s: trimmed:F needs a number F", where);
        rc = kofn_option_u64(option, rest.start, where, log, &trim);
        screen.trim = (uint32_t)trim;
    } else if (kofn_text_is(kofn_text(text), "median")) {
        screen.kind = KOFN_SCREENING_MEDIAN;
    } else if (!kofn_text_is(kofn_text(text), "none")) {
        return kofn_error(log, KOFN_INVALID, "%s: \"%.*s\" is none of none, median, trimmed:F",
                          where, KOFN_TEXT_SHOWN, text);
    }
    if (!rc)
        *(struct kofn_conf_screen *)field = screen;
    return rc;
}

KOFN_OPTION_PARSER(kofn_option_float)
{
    struct kofn_bad bad;
    double value;

    if (is_zero_word(option, text)) {
        *(double *)field = 0;
        return 0;
    }
    if (kofn_parse_float(kofn_text(text), -1e300, 1e300, &value, &bad))
        return complain(log, where, &bad);
    if (value < option->min || value > option->max)
        return kofn_error(log, KOFN_INVALID, "%s: %s is too %s: %g to %g", where, text,
                          value < option->min ? "small" : "large", option->min, option->max);
    *(double *)field = value;
    return 0;
}

KOFN_OPTION_PARSER(kofn_option_rate)
{
    static const char letters[] = "kMGT";
    struct kofn_text number = kofn_text(text);
    const char *letter = number.length ? strchr(letters, text[number.length - 1]) : NULL;
    struct kofn_bad bad;
    double value, factor = 1;
    char also[32];

    if (is_zero_word(option, text)) {
        *(double *)field = 0;
        return 0;
    }
    if (letter && *letter) {
        number.length--;
        for (const char *c = letters; c <= letter; c++)
            factor *= 1000;
    }
    if (kofn_parse_float(number, 0, 1e300, &value, &bad))
        return complain(log, where, &bad);
    if (value * factor < option->min)
        return kofn_error(log, KOFN_INVALID, "%s: %s is too small: at least %g bytes a second%s",
                          where, text, option->min, or_zero(option, also));
    *(double *)field = value * factor;
    return 0;
}

/* The index of @text among the choices, or a negative status. */
static int choose(const struct kofn_option *option, const char *text, const char *where,
                  const struct kofn_log *log)
{
    const char *names[CHOICES_MAX];
    char hint[KOFN_HINT_LENGTH];
    size_t count = 0;

    for (; count < CHOICES_MAX && (names[count] = option->choice(count)); count++)
        if (!strcmp(text, names[count]))
            return (int)count;
    return kofn_error(log, KOFN_INVALID, "%s: there is no %s \"%.*s\"; %s", where, option->name,
                      KOFN_TEXT_SHOWN, text, kofn_hint(hint, kofn_text(text), names, count));
}

KOFN_OPTION_PARSER(kofn_option_choice)
{
    int index = choose(option, text, where, log);

    if (index < 0)
        return index;
    *(int *)field = index;
    return 0;
}

KOFN_OPTION_PARSER(kofn_option_name)
{
    int index = choose(option, text, where, log);

    if (index < 0)
        return index;
    *(const char **)field = option->choice((size_t)index);
    return 0;
}

KOFN_OPTION_PARSER(kofn_option_switch)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};

    (void)option;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(yes); i++)
        if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
            *(bool *)field = !strcmp(text, yes[i]);
            return 0;
        }
    return kofn_error(log, KOFN_INVALID, "%s: \"%.*s\" is neither yes nor no", where,
                      KOFN_TEXT_SHOWN, text);
}

KOFN_OPTION_PARSER(kofn_option_text)
{
    (void)option;
    if (!*text)
        return kofn_error(log, KOFN_INVALID, "%s: is empty", where);
    *(const char **)field = text;
    return 0;
}
