/* option_help.c: --help of a subcommand, from the option table. */
#include <stdio.h>
#include <string.h>

#include "cli/option.h"

#define WIDTH 80
#define INDENT 29 /* column where texts begin */

/* Prints @text from column @column on, in lines of WIDTH characters that begin at INDENT. */
static void print_wrapped(FILE *stream, const char *text, size_t column)
{
    while (*text) {
        size_t word = strcspn(text, " ");

        if (column > INDENT && column + 1 + word > WIDTH) {
            fprintf(stream, "\n%*s", INDENT, "");
            column = INDENT;
        } else if (column > INDENT) {
            fputc(' ', stream);
            column++;
        }
        fprintf(stream, "%.*s", (int)word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', stream);
}

/* Appends "one of A, B, C" to @text. */
static void append_choices(const struct kofn_option *option, char *text, size_t size)
{
    const char *name;
    size_t used = strlen(text);

    for (size_t i = 0; (name = option->choice(i)) && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "; one of ", name);
}

static void print_option(FILE *stream, const struct kofn_option *option)
{
    char head[64], letter[] = "    ", text[1024];
    size_t used;
    int column;

    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    snprintf(head, sizeof(head), "  %.4s--%s%s%s", letter, option->name,
             option->argument ? " " : "", option->argument ? option->argument : "");
    snprintf(text, sizeof(text), "%s", option->doc);
    if (option->choice)
        append_choices(option, text, sizeof(text));
    used = strlen(text);
    if (option->value && option->argument && used < sizeof(text))
        snprintf(text + used, sizeof(text) - used, " [%s]", option->value);
    column = fprintf(stream, "%-*s", INDENT - 1, head);
    if (column >= INDENT)
        fprintf(stream, "\n%*s", INDENT - 1, "");
    fputc(' ', stream);
    print_wrapped(stream, text, INDENT);
}

void kofn_options_help(const struct kofn_command *command, FILE *stream)
{
    const char *group = NULL;

    fprintf(stream, "Usage: kofn %s [OPTION]...\n\n%s", command->name, command->text);
    for (size_t i = 0; i < kofn_option_count; i++) {
        const struct kofn_option *option = &kofn_option_table[i];

        if (!(option->commands & command->bit))
            continue;
        if (!group || strcmp(group, option->group))
            fprintf(stream, "\n%s\n", option->group);
        group = option->group;
        print_option(stream, option);
    }
    fprintf(stream,
            "\nAn option can also be set in the environment (KOFN_WORKERS for --workers) or\n"
            "in a file (workers = 8). The command line beats the environment, which beats the\n"
            "file. Durations take ns, us, ms, s, m or h, and are seconds without one.\n");
}
