/* option_file.c: the file of options: `name = value` a line; # starts a comment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/parse.h"
#include "cli/option.h"

#define FILE_BYTES_MAX 65536

/* The file that is read without being asked for, in @path; false if the environment names none. */
static bool usual_path(char path[PATH_MAX])
{
    const char *home = getenv("XDG_CONFIG_HOME");

    if (home && *home)
        return snprintf(path, PATH_MAX, "%s/kofn.conf", home) < PATH_MAX;
    home = getenv("HOME");
    return home && *home && snprintf(path, PATH_MAX, "%s/.config/kofn.conf", home) < PATH_MAX;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* @text without blanks at both ends; the end is cut off in place. */
static char *strip(char *text)
{
    char *end = text + strlen(text);

    while (end > text && is_blank(end[-1]))
        *--end = '\0';
    while (is_blank(*text))
        text++;
    return text;
}

static int unknown_name(const struct kofn_options *options, unsigned line, const char *name,
                        const struct kofn_log *log)
{
    const char *names[KOFN_OPTIONS_MAX], *near;
    size_t count = 0;

    for (size_t i = 0; i < kofn_option_count; i++)
        if (!(kofn_option_table[i].flags & (KOFN_OPTION_FLAG_ONLY | KOFN_OPTION_NOT_IN_FILE)))
            names[count++] = kofn_option_table[i].name;
    near = kofn_near_match(name, names, count);
    return kofn_error(log, KOFN_INVALID, "%s:%u: no option is called \"%.*s\"%s%s%s",
                      options->file_path, line, KOFN_TEXT_SHOWN, name,
                      near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int take_line(struct kofn_options *options, unsigned line, char *text,
                     const struct kofn_log *log)
{
    const struct kofn_option *option;
    char *equals, *name, *value;
    size_t row;

    text[strcspn(text, "#")] = '\0';
    text = strip(text);
    if (!*text)
        return 0;
    equals = strchr(text, '=');
    if (!equals)
        return kofn_error(log, KOFN_INVALID, "%s:%u: \"%.*s\" is not `name = value`",
                          options->file_path, line, KOFN_TEXT_SHOWN, text);
    *equals = '\0';
    name = strip(text);
    value = strip(equals + 1);
    option = kofn_option_find(name);
    if (!option || option->flags & (KOFN_OPTION_FLAG_ONLY | KOFN_OPTION_NOT_IN_FILE))
        return unknown_name(options, line, name, log);
    if (!*value)
        return kofn_error(log, KOFN_INVALID, "%s:%u: %s has no value", options->file_path, line,
                          name);
    row = (size_t)(option - kofn_option_table);
    if (!options->values[row].text || options->values[row].origin <= KOFN_ORIGIN_FILE)
        options->values[row].line = line;
    return kofn_options_set(options, row, value, KOFN_ORIGIN_FILE, log);
}

int kofn_options_take_file(struct kofn_options *options, const struct kofn_log *log)
{
    const char *asked = kofn_options_value(options, "config")->text;
    char *line, *rest;
    unsigned number = 0;
    uint8_t *bytes;
    size_t length;
    int rc = 0;

    if (asked)
        snprintf(options->file_path, sizeof(options->file_path), "%s", asked);
    else if (!usual_path(options->file_path) || access(options->file_path, F_OK)) {
        options->file_path[0] = '\0';
        return 0;
    }
    rc = kofn_file_read(options->file_path, FILE_BYTES_MAX, log, &bytes, &length);
    if (rc)
        return rc;
    options->file = rest = (char *)bytes;
    if (strlen(rest) < length)
        return kofn_error(log, KOFN_FORMAT, "%s: is not a text file", options->file_path);
    while (!rc && (line = strsep(&rest, "\n")))
        rc = take_line(options, ++number, line, log);
    return rc;
}
