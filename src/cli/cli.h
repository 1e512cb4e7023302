/* cli.h: what every subcommand of the program `kofn` has in common: its place in the list, its
 * exit codes, and where its messages go.
 *
 * A subcommand is one file with one entry function, one line in main.c, and one bit here, by which
 * the rows of the option table say whom they are for.
 */
#ifndef KOFN_CLI_CLI_H
#define KOFN_CLI_CLI_H

#include "base/log.h"

enum kofn_exit {
    KOFN_EXIT_DONE = 0,
    KOFN_EXIT_FAILED = 1,
    KOFN_EXIT_USAGE = 2,
    KOFN_EXIT_SIGNAL = 128, /* + the number of the signal that ended the job: 130 after Ctrl-C */
};

/* A set of subcommands. */
enum kofn_for {
    KOFN_FOR_INFO = 1 << 0,
    KOFN_FOR_RUN = 1 << 1,
    KOFN_FOR_SIM = 1 << 2,
    KOFN_FOR_PLAN = 1 << 3,
    KOFN_FOR_SERVE = 1 << 4,
    KOFN_FOR_WORK = 1 << 5,
};
#define KOFN_FOR_SERVER (KOFN_FOR_RUN | KOFN_FOR_SERVE) /* whatever has a server */
#define KOFN_FOR_JOB (KOFN_FOR_SERVER | KOFN_FOR_SIM)   /* or has rounds */
#define KOFN_FOR_WORKERS (KOFN_FOR_RUN | KOFN_FOR_SIM | KOFN_FOR_PLAN | KOFN_FOR_WORK)
#define KOFN_FOR_TERMS (KOFN_FOR_JOB | KOFN_FOR_PLAN) /* or speaks of them */
#define KOFN_FOR_VIRTUAL (KOFN_FOR_SIM | KOFN_FOR_PLAN)
#define KOFN_FOR_PEERS (KOFN_FOR_RUN | KOFN_FOR_SIM | KOFN_FOR_PLAN)
#define KOFN_FOR_ALL (~0u)

struct kofn_command {
    const char *name;
    unsigned bit;        /* enum kofn_for */
    unsigned accepts;    /* takes the options of these subcommands, which change nothing */
    const char *summary; /* one line, for `kofn --help` */
    const char *text;    /* what it does, for its own --help; lines of at most 80 characters */

    /* @argv[0] is the name of the subcommand. Returns an enum kofn_exit. */
    int (*run)(const struct kofn_command *command, int argc, char **argv);
};

/* The entry functions, each in the file of its name. */
int kofn_command_info(const struct kofn_command *command, int argc, char **argv);
int kofn_command_perf(const struct kofn_command *command, int argc, char **argv);
int kofn_command_plan(const struct kofn_command *command, int argc, char **argv);
int kofn_command_run(const struct kofn_command *command, int argc, char **argv);
int kofn_command_serve(const struct kofn_command *command, int argc, char **argv);
int kofn_command_sim(const struct kofn_command *command, int argc, char **argv);
int kofn_command_work(const struct kofn_command *command, int argc, char **argv);

/* The exit code of a step that failed with @status and has logged why: what was typed is at fault,
 * or the world is.
 */
static inline int kofn_exit_of(int status)
{
    return status == 0              ? KOFN_EXIT_DONE
           : status == KOFN_INVALID ? KOFN_EXIT_USAGE
                                    : KOFN_EXIT_FAILED;
}

#endif
