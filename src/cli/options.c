/* options.c: from where each option has its value, in order of precedence, and then its parsing. */
#include "cli/option.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"

const char *kofn_origin_name(enum kofn_origin origin)
{
    static const char *const names[] = {"default", "file", "environment", "flag"};

    return names[origin];
}

const struct kofn_option *kofn_option_find(const char *name)
{
    for (size_t i = 0; i < kofn_option_count; i++)
        if (!strcmp(kofn_option_table[i].name, name))
            return &kofn_option_table[i];
    return NULL;
}

const char *kofn_option_environment(const struct kofn_option *option,
                                    char name[KOFN_OPTION_NAME_BYTES])
{
    char *out = name;

    if (option->flags & KOFN_OPTION_FLAG_ONLY)
        return NULL;
    snprintf(name, KOFN_OPTION_NAME_BYTES, "KOFN_%s", option->name);
    for (; *out; out++)
        *out = *out == '-' ? '_' : (char)toupper((unsigned char)*out);
    return name;
}

const struct kofn_value *kofn_options_value(const struct kofn_options *options, const char *name)
{
    return &options->values[kofn_option_find(name) - kofn_option_table];
}

static const char *where_of(const struct kofn_options *options, size_t row,
                            char where[KOFN_WHERE_BYTES])
{
    const struct kofn_option *option = &kofn_option_table[row];

    switch (options->values[row].origin) {
    case KOFN_ORIGIN_FILE:
        snprintf(where, KOFN_WHERE_BYTES, "%.180s:%u: %s", options->file_path,
                 options->values[row].line, option->name);
        break;
    case KOFN_ORIGIN_ENVIRONMENT:
        kofn_option_environment(option, where);
        break;
    default:
        snprintf(where, KOFN_WHERE_BYTES, "--%s", option->name);
    }
    return where;
}

const char *kofn_options_where(const struct kofn_options *options, const char *name,
                               char where[KOFN_WHERE_BYTES])
{
    return where_of(options, (size_t)(kofn_option_find(name) - kofn_option_table), where);
}

int kofn_options_set(struct kofn_options *options, size_t row, const char *text,
                     enum kofn_origin origin, const struct kofn_log *log)
{
    const struct kofn_option *option = &kofn_option_table[row];
    struct kofn_value *value = &options->values[row];
    char *joined;

    if (value->text && value->origin > origin)
        return 0;
    if (value->text && value->origin == origin && option->flags & KOFN_OPTION_REPEATS) {
        if (asprintf(&joined, "%s %s", value->text, text) < 0)
            return kofn_error(log, KOFN_NO_MEMORY, "--%s: out of memory", option->name);
        free(value->joined);
        value->joined = joined;
        text = joined;
    }
    value->text = text;
    value->origin = origin;
    return 0;
}

/* A variable that is nearly called like an option is a slip of the pen, and would change nothing.
 * Others that begin with KOFN_ may be a launcher's or a script's.
 */
static void warn_of_near(const char *variable, const struct kofn_log *log)
{
    char names[KOFN_OPTIONS_MAX][KOFN_OPTION_NAME_BYTES];
    const char *list[KOFN_OPTIONS_MAX], *near;
    struct kofn_text name = {variable, strcspn(variable, "=")}, own;
    size_t count = 0, prefix = strlen("KOFN_");

    for (size_t i = 0; i < kofn_option_count; i++) {
        if (!kofn_option_environment(&kofn_option_table[i], names[count]))
            continue;
        if (kofn_text_is(name, names[count]))
            return;
        list[count] = names[count] + prefix;
        count++;
    }
    own = (struct kofn_text){name.start + prefix, name.length - prefix};
    near = kofn_text_near_match(own, list, count);
    if (near && strlen(near) <= own.length + 2) /* a mere beginning is no slip */
        kofn_log(log, KOFN_LOG_WARN, "%.*s: no option has this name; did you mean KOFN_%s?",
                 KOFN_TEXT_ARGS(name), near);
}

static void check_environment(const struct kofn_log *log)
{
    for (char **variable = environ; *variable; variable++)
        if (!strncmp(*variable, "KOFN_", strlen("KOFN_")))
            warn_of_near(*variable, log);
}

static int take_environment(struct kofn_options *options, const struct kofn_log *log)
{
    char name[KOFN_OPTION_NAME_BYTES];
    const char *text;
    int rc = 0;

    for (size_t i = 0; i < kofn_option_count && !rc; i++) {
        if (!kofn_option_environment(&kofn_option_table[i], name))
            continue;
        text = getenv(name);
        if (text && *text) /* set but empty counts as not set, as everywhere in Unix */
            rc = kofn_options_set(options, i, text, KOFN_ORIGIN_ENVIRONMENT, log);
    }
    check_environment(log);
    return rc;
}

/* Options of other commands that this one takes must be right, and change nothing. */
static int parse_value(struct kofn_options *options, size_t row, bool own,
                       const struct kofn_log *log)
{
    const struct kofn_option *option = &kofn_option_table[row];
    const char *text = options->values[row].text;
    char where[KOFN_WHERE_BYTES], *field = (char *)&options->conf + option->offset;
    struct kofn_conf others;
    int rc;

    if (own)
        return option->parse(option, text, where_of(options, row, where), log, field);
    rc = option->parse(option, text, where_of(options, row, where), log,
                       (char *)&others + option->offset);
    return rc || !option->value ? rc : option->parse(option, option->value, where, log, field);
}

static int parse_values(struct kofn_options *options, const struct kofn_command *command,
                        const struct kofn_log *log)
{
    int rc = 0;

    for (size_t i = 0; i < kofn_option_count && !rc; i++) {
        const struct kofn_option *option = &kofn_option_table[i];
        struct kofn_value *value = &options->values[i];

        if (!value->text)
            value->text = option->value;
        /* what only other commands look at may be wrong without hurting this one */
        if (value->text && option->commands & (command->bit | command->accepts))
            rc = parse_value(options, i, option->commands & command->bit, log);
    }
    return rc;
}

int kofn_options_read(struct kofn_options *options, const struct kofn_command *command, int argc,
                      char **argv, const struct kofn_log *log)
{
    int rc;

    memset(options, 0, sizeof(*options));
    rc = kofn_options_take_flags(options, command, argc, argv, log);
    if (rc || options->conf.help)
        return rc;
    rc = take_environment(options, log);
    if (!rc)
        rc = kofn_options_take_file(options, log);
    if (!rc)
        rc = parse_values(options, command, log);
    return rc;
}

void kofn_options_free(struct kofn_options *options)
{
    for (size_t i = 0; i < kofn_option_count; i++)
        free(options->values[i].joined);
    free(options->file);
    memset(options, 0, sizeof(*options));
}
