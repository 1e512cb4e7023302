/* option.h: the options of kofn: one table, from which parsing, --help and `kofn info` all come.
 *
 * An option has one name everywhere: `--local-steps U` on the command line, KOFN_LOCAL_STEPS in the
 * environment, `local-steps = U` in the file. The command line beats the environment, which beats
 * the file, which beats the default; the default is a text that goes through the same parser.
 * The file is --config, or KOFN_CONFIG, or kofn.conf in $XDG_CONFIG_HOME (~/.config) if it exists.
 *
 * A new option is a row in option_table.c and a field in conf.h.
 */
#ifndef KOFN_CLI_OPTION_H
#define KOFN_CLI_OPTION_H

#include <limits.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/conf.h"

enum kofn_origin {
    KOFN_ORIGIN_DEFAULT,
    KOFN_ORIGIN_FILE,
    KOFN_ORIGIN_ENVIRONMENT,
    KOFN_ORIGIN_FLAG,
};

/* "default", "file", ... */
const char *kofn_origin_name(enum kofn_origin origin);

enum kofn_option_flags {
    KOFN_OPTION_REPEATS = 1 << 0,   /* may be given several times; the texts are joined by spaces */
    KOFN_OPTION_COUNTS = 1 << 1,    /* takes no argument; its value is how often it was given */
    KOFN_OPTION_FLAG_ONLY = 1 << 2, /* on the command line alone */
    KOFN_OPTION_NOT_IN_FILE = 1 << 3,
};

struct kofn_option {
    const char *name;
    char letter;          /* 0 = none */
    const char *argument; /* what --help calls it; NULL for a switch */
    const char *value;    /* the default, as one would type it; NULL = none */
    const char *doc;      /* a sentence or two, without the default */
    const char *group;    /* the heading it stands under in --help */
    unsigned commands;    /* a set of enum kofn_for */
    unsigned flags;       /* enum kofn_option_flags */

    /* Parses @text into the field at @offset of struct kofn_conf. @where is the name in messages
     * ("--lr", "KOFN_LR"). Returns 0, or KOFN_INVALID (logged).
     */
    int (*parse)(const struct kofn_option *option, const char *text, const char *where,
                 const struct kofn_log *log, void *field);
    size_t offset;

    /* For the parser: bounds of a number (ns for durations), a word that stands for 0, a word that
     * stands for something else, and the allowed words (NULL behind the last).
     */
    double min, max;
    const char *zero;
    const char *special;
    const char *(*choice)(size_t index);
};

#define KOFN_OPTIONS_MAX 96

extern const struct kofn_option kofn_option_table[];
extern const size_t kofn_option_count;

/* The row of @name, or NULL. */
const struct kofn_option *kofn_option_find(const char *name);

/* Environment variable of @option ("KOFN_LOCAL_STEPS"), or NULL if it has none. */
#define KOFN_OPTION_NAME_BYTES 64
const char *kofn_option_environment(const struct kofn_option *option,
                                    char name[KOFN_OPTION_NAME_BYTES]);

/* Where an option's value comes from. */
struct kofn_value {
    const char *text; /* NULL: it has none */
    enum kofn_origin origin;
    unsigned line;  /* of the file */
    unsigned times; /* given on the command line */
    char *joined;   /* owned; what `text` points to, of an option that was repeated */
};

struct kofn_options {
    struct kofn_conf conf;
    struct kofn_value values[KOFN_OPTIONS_MAX]; /* by row of the table */
    char *file; /* content, cut into strings; NULL = none was read */
    char file_path[PATH_MAX];
    char transport_options[512]; /* where.c: conf.transport_options with what else is said of it */
};

/* Reads all options of @command. Nothing is opened but the file of options.
 *
 * Returns 0 (also with conf.help set, and then the rest is not parsed); KOFN_INVALID for what
 * cannot be meant; KOFN_SYSTEM or KOFN_FORMAT if the file cannot be read; KOFN_NO_MEMORY. One line
 * is logged then. Whatever it returns, kofn_options_free() is to be called.
 */
int kofn_options_read(struct kofn_options *options, const struct kofn_command *command, int argc,
                      char **argv, const struct kofn_log *log);
void kofn_options_free(struct kofn_options *options);

/* The value of the option called @name, which must be in the table. */
const struct kofn_value *kofn_options_value(const struct kofn_options *options, const char *name);

/* How the person who set @name called it: "--lr", "KOFN_LR", "/etc/kofn.conf:3: lr". Fills and
 * returns @where. */
#define KOFN_WHERE_BYTES 256
const char *kofn_options_where(const struct kofn_options *options, const char *name,
                               char where[KOFN_WHERE_BYTES]);

/* Writes the --help text of @command. */
void kofn_options_help(const struct kofn_command *command, FILE *stream);

/* ---- between the files of the option table ---- */

/* Steps of kofn_options_read(): what the command line and the file say, as texts. */
int kofn_options_take_flags(struct kofn_options *options, const struct kofn_command *command,
                            int argc, char **argv, const struct kofn_log *log);
int kofn_options_take_file(struct kofn_options *options, const struct kofn_log *log);

/* Gives option number @row the text @text, joining it to what it has from the same origin if it
 * repeats. */
int kofn_options_set(struct kofn_options *options, size_t row, const char *text,
                     enum kofn_origin origin, const struct kofn_log *log);

#endif
