/* kofn: K-of-N data-parallel training. The list of subcommands; a new one is a line in it. */
#include <kofn/kofn.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cli/cli.h"

static const struct kofn_command commands[] = {
    {.name = "info",
     .bit = KOFN_FOR_INFO,
     .accepts = KOFN_FOR_ALL,
     .summary = "what is built in, limits, the pinning map, every option's value",
     .text = "Shows what is built in, the limits of this machine, where the threads of a job\n"
             "would run, and the value of every option with its origin. Takes the options of\n"
             "every other command too, to show what would become of them.\n",
     .run = kofn_command_info},
    {.name = "run",
     .bit = KOFN_FOR_RUN,
     .summary = "a whole job on this machine: a server and N worker processes",
     .text = "Trains a model on this machine with a server and N worker processes. A round\n"
             "closes when the K fastest workers are in; nobody waits for the others, and what\n"
             "they have finished is merged too.\n",
     .run = kofn_command_run},
    {.name = "serve",
     .bit = KOFN_FOR_SERVE,
     .accepts = KOFN_FOR_RUN,
     .summary = "the server of a job whose workers are started apart, on any hosts",
     .text = "Trains a model as kofn run does, with workers that are started apart by kofn\n"
             "work, on this host or on others. Takes the options of kofn run; those that\n"
             "concern workers alone are theirs.\n",
     .run = kofn_command_serve},
    {.name = "work",
     .bit = KOFN_FOR_WORK,
     .accepts = KOFN_FOR_RUN,
     .summary = "one worker of such a job",
     .text = "Joins the server of kofn serve as one of its workers, and works until the job is\n"
             "over. Rank and address come from the options, or else from the launcher that has\n"
             "started it (mpirun, srun, ...). Takes the options of kofn run; those that concern\n"
             "the server alone are the server's.\n",
     .run = kofn_command_work},
    {.name = "plan",
     .bit = KOFN_FOR_PLAN,
     .summary = "predicts a job, by theory or simulation; says which K to choose",
     .text = "Says what a job will be like before it runs: in closed form where there is one,\n"
             "by quadrature or simulation where not. With a trace that kofn run recorded it\n"
             "says which K, U and publication mode merge most, and at what cost.\n",
     .run = kofn_command_plan},
    {.name = "sim",
     .bit = KOFN_FOR_SIM,
     .summary = "the same job under a virtual clock: simulated time, real gradients or none",
     .text = "Runs a job as kofn run does, with the same rounds and algorithms, but under a\n"
             "virtual clock: a local update takes what --delay says, and nothing else takes any\n"
             "time unless it is asked for. Gradients are real; --model none leaves them out.\n",
     .run = kofn_command_sim},
    {.name = "perf",
     .summary = "latency, bandwidth and the K-th of N arrivals, over every transport",
     .text = "Measures what a publication takes from one process to another (lat), how much of\n"
             "them goes through (bw), or when the first, the K-th and the last of N writers have\n"
             "arrived (quorum). Without a HOST it is the server, with one the client of it. The\n"
             "client says what is to be done; the flags of the transport, of waiting and of\n"
             "output are each side's own. Letters and columns are those of perftest.\n",
     .run = kofn_command_perf},
};

static int print_help(void)
{
    printf("Usage: kofn COMMAND [OPTION]...\n"
           "       kofn help [COMMAND]\n"
           "       kofn --help | --version\n\n"
           "Data-parallel training that waits for the K fastest of N workers.\n\n");
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(commands); i++)
        printf("  %-6s %s\n", commands[i].name, commands[i].summary);
    printf("\n`kofn COMMAND --help` lists the options of a command.\n");
    return KOFN_EXIT_DONE;
}

static int print_version(void)
{
    printf("kofn %s\n", kofn_version());
    return KOFN_EXIT_DONE;
}

static int refuse(const char *word)
{
    const char *names[KOFN_ARRAY_SIZE(commands) + 3] = {"--help", "--version", "help"};
    char hint[KOFN_HINT_LENGTH];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(commands); i++)
        names[i + 3] = commands[i].name;
    return kofn_exit_of(
        kofn_error(NULL, KOFN_INVALID, "%.64s: no such command; %s", word,
                   kofn_hint(hint, kofn_text(word), names, KOFN_ARRAY_SIZE(names))));
}

static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(commands); i++)
        if (!strcmp(argv[0], commands[i].name))
            return commands[i].run(&commands[i], argc, argv);
    return refuse(argv[0]);
}

/* kofn help COMMAND: the same as kofn COMMAND --help. */
static int help(int argc, char **argv)
{
    char option[] = "--help", *command[] = {argc > 1 ? argv[1] : NULL, option, NULL};

    return command[0] ? run_command(2, command) : print_help();
}

int main(int argc, char **argv)
{
    int result;

    if (argc < 2)
        return kofn_exit_of(kofn_error(NULL, KOFN_INVALID, "no command; `kofn --help` lists them"));
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        result = print_help();
    else if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
        result = print_version();
    else if (!strcmp(argv[1], "help"))
        result = help(argc - 1, argv + 1);
    else
        result = run_command(argc - 1, argv + 1);
    /* what was printed is part of the result: a full disk is a failure */
    if (result == KOFN_EXIT_DONE && (fflush(stdout) || ferror(stdout)))
        return kofn_exit_of(kofn_error_errno(NULL, "standard output"));
    return result;
}
