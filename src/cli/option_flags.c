/* option_flags.c: the command line, by getopt_long(); its messages are ours, so that they can
 * suggest. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cli/option.h"

#define LONG_ONLY 256 /* getopt's code for row i is LONG_ONLY + i, or its letter */

/* What getopt_long() is given. */
struct grammar {
    char letters[2 * KOFN_OPTIONS_MAX + 2];
    struct option options[KOFN_OPTIONS_MAX + 1];
};

static bool applies(const struct kofn_command *command, size_t row)
{
    return (kofn_option_table[row].commands & (command->bit | command->accepts)) != 0;
}

static void build_grammar(const struct kofn_command *command, struct grammar *grammar)
{
    size_t letters = 0, count = 0;

    memset(grammar, 0, sizeof(*grammar));
    grammar->letters[letters++] = ':'; /* a missing argument is told apart */
    for (size_t i = 0; i < kofn_option_count; i++) {
        const struct kofn_option *option = &kofn_option_table[i];

        if (!applies(command, i))
            continue;
        grammar->options[count++] =
            (struct option){option->name, option->argument ? required_argument : no_argument, NULL,
                            LONG_ONLY + (int)i};
        if (option->letter)
            grammar->letters[letters++] = option->letter;
        if (option->letter && option->argument)
            grammar->letters[letters++] = ':';
    }
}

/* The row that getopt_long() means by @code; kofn_option_count if none. */
static size_t row_of(const struct kofn_command *command, int code)
{
    if (code >= LONG_ONLY)
        return (size_t)(code - LONG_ONLY);
    for (size_t i = 0; i < kofn_option_count; i++)
        if (kofn_option_table[i].letter == code && applies(command, i))
            return i;
    return kofn_option_count;
}

/* The commands that take @option, "sim and plan": fills and returns @text. */
static const char *takers(const struct kofn_option *option, char text[KOFN_HINT_LENGTH])
{
    static const struct {
        unsigned bit;
        const char *name;
    } commands[] = {{KOFN_FOR_RUN, "run"}, {KOFN_FOR_SERVE, "serve"}, {KOFN_FOR_WORK, "work"},
                    {KOFN_FOR_SIM, "sim"}, {KOFN_FOR_PLAN, "plan"},   {KOFN_FOR_INFO, "info"}};
    unsigned left = option->commands;
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(commands); i++) {
        if (!(option->commands & commands[i].bit))
            continue;
        left &= ~commands[i].bit;
        used += (size_t)snprintf(text + used, KOFN_HINT_LENGTH - used, "%s%s",
                                 !used  ? ""
                                 : left ? ", "
                                        : " and ",
                                 commands[i].name);
    }
    return text;
}

/* The option of other commands that @argument names in full, or NULL. */
static const struct kofn_option *others_option(const char *argument, int length)
{
    char name[40];

    if (length <= 2)
        return NULL;
    snprintf(name, sizeof(name), "%.*s", length - 2, argument + 2);
    return kofn_option_find(name);
}

/* Says what is wrong with the long option @argument ("--wrokers=3"), which getopt_long() does not
 * take. */
static int refuse_long(const struct kofn_command *command, const char *argument,
                       const struct kofn_log *log)
{
    char dashed[KOFN_OPTIONS_MAX][40];
    char commands[KOFN_HINT_LENGTH];
    const char *names[KOFN_OPTIONS_MAX], *near, *begun[2];
    const struct kofn_option *other;
    int length = (int)KOFN_MIN(strcspn(argument, "="), (size_t)40);
    size_t count = 0, begins = 0;

    for (size_t i = 0; i < kofn_option_count; i++) {
        if (!applies(command, i))
            continue;
        snprintf(dashed[count], sizeof(dashed[count]), "--%s", kofn_option_table[i].name);
        names[count] = dashed[count];
        if (!strncmp(names[count], argument, (size_t)length) && begins < 2)
            begun[begins++] = names[count];
        count++;
    }
    if (begins == 2)
        return kofn_error(log, KOFN_INVALID, "%.*s: is it %s or %s?", length, argument, begun[0],
                          begun[1]);
    other = begins ? NULL : others_option(argument, length);
    if (other)
        return kofn_error(log, KOFN_INVALID, "--%s: is an option of %s, not of %s", other->name,
                          takers(other, commands), command->name);
    near = kofn_text_near_match((struct kofn_text){argument, (size_t)length}, names, count);
    if (near)
        return kofn_error(log, KOFN_INVALID, "%.*s: no such option; did you mean %s?", length,
                          argument, near);
    return kofn_error(log, KOFN_INVALID, "%.*s: no such option; `kofn %s --help` lists them",
                      length, argument, command->name);
}

/* Says why getopt_long() has answered @answer, '?' or ':'. */
static int refuse(const struct kofn_command *command, int answer, char **argv,
                  const struct kofn_log *log)
{
    size_t row = optopt ? row_of(command, optopt) : kofn_option_count;

    if (row < kofn_option_count && answer == ':')
        return kofn_error(log, KOFN_INVALID, "--%s: %s is missing", kofn_option_table[row].name,
                          kofn_option_table[row].argument);
    if (row < kofn_option_count)
        return kofn_error(log, KOFN_INVALID, "--%s: takes no value", kofn_option_table[row].name);
    if (optopt)
        return kofn_error(log, KOFN_INVALID, "-%c: no such option; `kofn %s --help` lists them",
                          optopt, command->name);
    return refuse_long(command, argv[optind - 1], log);
}

/* Texts for switches that were given so often. */
static const char *count_text(unsigned times)
{
    static const char *const texts[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

    return texts[KOFN_MIN(times, 9u)];
}

int kofn_options_take_flags(struct kofn_options *options, const struct kofn_command *command,
                            int argc, char **argv, const struct kofn_log *log)
{
    struct grammar grammar;
    int code, rc = 0;

    build_grammar(command, &grammar);
    optind = 0; /* GNU: starts anew */
    opterr = 0;
    while (!rc && (code = getopt_long(argc, argv, grammar.letters, grammar.options, NULL)) != -1) {
        size_t row = code == '?' || code == ':' ? kofn_option_count : row_of(command, code);
        struct kofn_value *value = &options->values[row < kofn_option_count ? row : 0];

        if (row == kofn_option_count)
            return refuse(command, code, argv, log);
        if (!strcmp(kofn_option_table[row].name, "help"))
            options->conf.help = true; /* the rest of the line no longer matters */
        if (options->conf.help)
            return 0;
        value->times++;
        rc = kofn_options_set(options, row,
                              optarg ? optarg
                              : kofn_option_table[row].flags & KOFN_OPTION_COUNTS
                                  ? count_text(value->times)
                                  : "yes",
                              KOFN_ORIGIN_FLAG, log);
    }
    if (!rc && optind < argc)
        return kofn_error(log, KOFN_INVALID, "%.64s: unexpected argument; options begin with --",
                          argv[optind]);
    return rc;
}
