/* option_value.h: the parsers of the option table: from a text to a field of struct kofn_conf.
 *
 * All have the signature of kofn_option.parse; the type behind @field is said at each.
 */
#ifndef KOFN_CLI_OPTION_VALUE_H
#define KOFN_CLI_OPTION_VALUE_H

#include "cli/option.h"

#define KOFN_OPTION_PARSER(name)                                                                   \
    int name(const struct kofn_option *option, const char *text, const char *where,                \
             const struct kofn_log *log, void *field)

/* Whole numbers of option->min to option->max, or the word option->zero: uint32_t, uint64_t. */
KOFN_OPTION_PARSER(kofn_option_u32);
KOFN_OPTION_PARSER(kofn_option_u64);

/* A duration of at least option->min, or the word option->zero: uint64_t, ns. */
KOFN_OPTION_PARSER(kofn_option_duration);

/* Bytes a second, a number and perhaps k, M, G or T (powers of 1000), of at least option->min, or
 * the word option->zero: double. */
KOFN_OPTION_PARSER(kofn_option_rate);

/* A duration, or the word option->special: struct kofn_conf_deadline. */
KOFN_OPTION_PARSER(kofn_option_deadline);

/* A number of option->min to option->max, or the word option->zero: double. */
KOFN_OPTION_PARSER(kofn_option_float);

/* One of option->choice: its index, int; or its name, const char *. */
KOFN_OPTION_PARSER(kofn_option_choice);
KOFN_OPTION_PARSER(kofn_option_name);

/* yes, no, true, false, on, off, 1, 0: bool. */
KOFN_OPTION_PARSER(kofn_option_switch);

/* Any text but the empty one: const char *. */
KOFN_OPTION_PARSER(kofn_option_text);

/* none, median or trimmed:F: struct kofn_conf_screen. */
KOFN_OPTION_PARSER(kofn_option_screen);

/* What has a parser of its own: the text is checked and kept, const char *. */
KOFN_OPTION_PARSER(kofn_option_delay);
KOFN_OPTION_PARSER(kofn_option_straggler);
KOFN_OPTION_PARSER(kofn_option_split);

/* A rank, or option->special, which stands for KOFN_ROOT_ANY. */
KOFN_OPTION_PARSER(kofn_option_root);

/* An algorithm, a transport, by name: a pointer to its table. */
KOFN_OPTION_PARSER(kofn_option_algorithm);
KOFN_OPTION_PARSER(kofn_option_transport);

#endif
