/* option_table.c: every option of kofn, in the order of --help. */
#include <kofn/kofn.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "cli/option_value.h"
#include "train/model.h"
#include "transports/transport.h"

#define FIELD(name) offsetof(struct kofn_conf, name)

/* Words by their place in the enum of <kofn/types.h>. */
static const char *publish_word(size_t index)
{
    static const char *const words[] = {"eager", "on-close", "pull"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

static const char *weights_word(size_t index)
{
    static const char *const words[] = {"uniform", "fednova"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

static const char *late_word(size_t index)
{
    static const char *const words[] = {"merge", "refuse"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

static const char *pin_word(size_t index)
{
    static const char *const words[] = {"auto", "off"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

static const char *algorithm_name(size_t index)
{
    const struct kofn_algorithm *algorithm = kofn_algorithm_at(index);

    return algorithm ? algorithm->name : NULL;
}

/* `self` is inside one thread and so for tests, not for jobs. */
static const char *transport_name(size_t index)
{
    const struct kofn_transport_ops *ops;

    for (size_t i = 0; (ops = kofn_transport_at(i)); i++)
        if (strcmp(ops->name, "self") && !index--)
            return ops->name;
    return NULL;
}

/* `none` has no parameters: there is nothing to send. */
static const char *model_name(size_t index)
{
    for (size_t i = 0; i < kofn_model_names_count; i++)
        if (strcmp(kofn_model_names[i], "none") && !index--)
            return kofn_model_names[i];
    return NULL;
}

#define JOB "The job"
#define END "Its end: whichever comes first"
#define WORK "What is trained"
#define MACHINE "The machine"
#define FAULTS "Injected slowness"
#define OUTPUT "Output"

const struct kofn_option kofn_option_table[] = {
    {.name = "workers",
     .letter = 'n',
     .argument = "N",
     .value = "4",
     .doc = "worker processes",
     .group = JOB,
     .commands = KOFN_FOR_RUN | KOFN_FOR_INFO,
     .min = 1,
     .max = 65536,
     .parse = kofn_option_u32,
     .offset = FIELD(workers)},
    {.name = "wait-for",
     .letter = 'k',
     .argument = "K",
     .value = "all",
     .doc = "workers a round waits for; sync and local wait for all of them",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .min = 1,
     .max = 65536,
     .zero = "all",
     .parse = kofn_option_u32,
     .offset = FIELD(wait_for)},
    {.name = "algorithm",
     .letter = 'a',
     .argument = "NAME",
     .value = "stsyn",
     .doc = "when a round closes and what is merged",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .choice = algorithm_name,
     .parse = kofn_option_algorithm,
     .offset = FIELD(algorithm)},
    {.name = "local-steps",
     .letter = 'u',
     .argument = "U",
     .value = "1",
     .doc = "local updates that make a worker one of the K; always 1 with sync",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .min = 1,
     .max = 1000000,
     .parse = kofn_option_u32,
     .offset = FIELD(local_steps)},
    {.name = "publish",
     .argument = "MODE",
     .value = "eager",
     .doc = "when workers send their updates",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .choice = publish_word,
     .parse = kofn_option_choice,
     .offset = FIELD(publish)},
    {.name = "weights",
     .argument = "NAME",
     .value = "uniform",
     .doc = "how the members of a round are weighted",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .choice = weights_word,
     .parse = kofn_option_choice,
     .offset = FIELD(weights)},
    {.name = "late",
     .argument = "POLICY",
     .value = "merge",
     .doc = "what becomes of an update that misses its round",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .choice = late_word,
     .parse = kofn_option_choice,
     .offset = FIELD(late)},
    {.name = "staleness-weight",
     .argument = "W",
     .value = "0",
     .doc = "a late update that is S models old is merged with the factor 1/(1+S)^W",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .min = 0,
     .max = 100,
     .parse = kofn_option_float,
     .offset = FIELD(staleness_weight)},
    {.name = "grace",
     .argument = "T",
     .value = "250ms",
     .doc = "with --publish on-close: how long a closed round waits for its publications",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .min = 1e3,
     .parse = kofn_option_duration,
     .offset = FIELD(grace)},
    {.name = "deadline",
     .argument = "T",
     .value = "none",
     .doc = "closes a round that has its quorum after T; with `adaptive` after the median and 3 "
            "MAD of arrival times",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .min = 1e3,
     .zero = "none",
     .special = "adaptive",
     .parse = kofn_option_deadline,
     .offset = FIELD(deadline)},
    {.name = "quorum",
     .argument = "Q",
     .value = "1",
     .doc = "workers without which no deadline closes a round",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .min = 1,
     .max = 65536,
     .parse = kofn_option_u32,
     .offset = FIELD(quorum)},
    {.name = "suspect-after",
     .argument = "T",
     .value = "2s",
     .doc = "a worker without progress for T, and for 20 of its usual updates, is not waited for",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .min = 1e6,
     .parse = kofn_option_duration,
     .offset = FIELD(suspect_after)},
    {.name = "seed",
     .argument = "S",
     .value = "1",
     .doc = "where all random numbers start: data, split, model, batches, delays",
     .group = JOB,
     .commands = KOFN_FOR_RUN,
     .max = 9e18,
     .parse = kofn_option_u64,
     .offset = FIELD(seed)},
    {.name = "rounds",
     .argument = "R",
     .value = "none",
     .doc = "after R rounds",
     .group = END,
     .commands = KOFN_FOR_RUN,
     .min = 1,
     .max = 4e9,
     .zero = "none",
     .parse = kofn_option_u64,
     .offset = FIELD(rounds)},
    {.name = "seconds",
     .argument = "S",
     .value = "30",
     .doc = "after S seconds; without a limit where --rounds or --target-accuracy is given and "
            "this is not",
     .group = END,
     .commands = KOFN_FOR_RUN,
     .min = 1e6,
     .zero = "none",
     .parse = kofn_option_duration,
     .offset = FIELD(seconds)},
    {.name = "target-accuracy",
     .argument = "A",
     .value = "none",
     .doc = "once the model has accuracy A (above 0, at most 1) on held-out data",
     .group = END,
     .commands = KOFN_FOR_RUN,
     .min = 1e-6,
     .max = 1,
     .zero = "none",
     .parse = kofn_option_float,
     .offset = FIELD(target_accuracy)},
    {.name = "eval-every",
     .argument = "S",
     .value = "2",
     .doc = "seconds between two evaluations of the model",
     .group = END,
     .commands = KOFN_FOR_RUN,
     .min = 1e6,
     .parse = kofn_option_duration,
     .offset = FIELD(eval_every)},
    {.name = "model",
     .argument = "NAME",
     .value = "softmax",
     .doc = "the model",
     .group = WORK,
     .commands = KOFN_FOR_RUN,
     .choice = model_name,
     .parse = kofn_option_name,
     .offset = FIELD(model)},
    {.name = "hidden",
     .argument = "H",
     .value = "256",
     .doc = "hidden units of the mlp",
     .group = WORK,
     .commands = KOFN_FOR_RUN,
     .min = 1,
     .max = KOFN_MODEL_HIDDEN_MAX,
     .parse = kofn_option_u32,
     .offset = FIELD(hidden)},
    {.name = "data",
     .argument = "SPEC",
     .value = "synthetic",
     .doc = "data set: synthetic, cifar10:DIR or idx:DIR",
     .group = WORK,
     .commands = KOFN_FOR_RUN,
     .parse = kofn_option_text,
     .offset = FIELD(data)},
    {.name = "split",
     .argument = "SPEC",
     .value = "iid",
     .doc = "how workers share it: iid, sorted or dirichlet:ALPHA",
     .group = WORK,
     .commands = KOFN_FOR_RUN,
     .parse = kofn_option_split,
     .offset = FIELD(split)},
    {.name = "batch",
     .argument = "B",
     .value = "64",
     .doc = "samples of a mini-batch",
     .group = WORK,
     .commands = KOFN_FOR_RUN,
     .min = 1,
     .max = KOFN_MODEL_BATCH_MAX,
     .parse = kofn_option_u32,
     .offset = FIELD(batch)},
    {.name = "lr",
     .argument = "ETA",
     .value = "0.1",
     .doc = "learning rate",
     .group = WORK,
     .commands = KOFN_FOR_RUN,
     .min = 1e-12,
     .max = 1e6,
     .parse = kofn_option_float,
     .offset = FIELD(lr)},
    {.name = "momentum",
     .argument = "M",
     .value = "0",
     .doc = "momentum of local updates, forgotten at the end of a round; not with sync",
     .group = WORK,
     .commands = KOFN_FOR_RUN,
     .min = 0,
     .max = 0.9999,
     .parse = kofn_option_float,
     .offset = FIELD(momentum)},
    {.name = "transport",
     .letter = 't',
     .argument = "NAME",
     .value = "shm",
     .doc = "how updates and models travel",
     .group = MACHINE,
     .commands = KOFN_FOR_RUN,
     .choice = transport_name,
     .parse = kofn_option_transport,
     .offset = FIELD(transport)},
    {.name = "merge-threads",
     .argument = "N",
     .value = "1",
     .doc = "threads of the server that merge",
     .group = MACHINE,
     .commands = KOFN_FOR_RUN,
     .min = 1,
     .max = 256,
     .parse = kofn_option_u32,
     .offset = FIELD(merge_threads)},
    {.name = "pin",
     .argument = "HOW",
     .value = "auto",
     .doc = "auto gives server and workers cores of their own where there are enough",
     .group = MACHINE,
     .commands = KOFN_FOR_RUN | KOFN_FOR_INFO,
     .choice = pin_word,
     .parse = kofn_option_choice,
     .offset = FIELD(pin)},
    {.name = "delay",
     .argument = "SPEC",
     .value = "none",
     .doc =
         "added to every local update: none, exp:MEAN, shifted-exp:SHIFT,MEAN, pareto:SHAPE,SCALE, "
         "uniform:LO,HI or trace:FILE; with @round behind it drawn once a worker and round",
     .group = FAULTS,
     .commands = KOFN_FOR_RUN,
     .parse = kofn_option_delay,
     .offset = FIELD(delay)},
    {.name = "straggler",
     .argument = "SPEC",
     .doc = "makes a worker slow, rank=R,factor=F[,from=T][,to=T]: its delay and its computing "
            "take F times as long; may be repeated",
     .group = FAULTS,
     .commands = KOFN_FOR_RUN,
     .flags = KOFN_OPTION_REPEATS,
     .parse = kofn_option_straggler,
     .offset = FIELD(straggler)},
    {.name = "record",
     .argument = "FILE",
     .doc = "writes the time of every local update to FILE",
     .group = OUTPUT,
     .commands = KOFN_FOR_RUN,
     .parse = kofn_option_text,
     .offset = FIELD(record)},
    {.name = "json",
     .argument = "FILE",
     .doc = "writes the result as JSON to FILE; - is standard output, and tables then go to "
            "standard error",
     .group = OUTPUT,
     .commands = KOFN_FOR_RUN | KOFN_FOR_INFO,
     .parse = kofn_option_text,
     .offset = FIELD(json)},
    {.name = "quiet",
     .letter = 'q',
     .value = "no",
     .doc = "prints the result alone",
     .group = OUTPUT,
     .commands = KOFN_FOR_RUN,
     .parse = kofn_option_switch,
     .offset = FIELD(quiet)},
    {.name = "verbose",
     .letter = 'v',
     .value = "0",
     .doc = "prints more of what happens; twice for still more",
     .group = OUTPUT,
     .commands = KOFN_FOR_ALL,
     .flags = KOFN_OPTION_COUNTS,
     .max = 9,
     .parse = kofn_option_u32,
     .offset = FIELD(verbose)},
    {.name = "config",
     .argument = "FILE",
     .doc = "reads options from FILE, not from ~/.config/kofn.conf",
     .group = OUTPUT,
     .commands = KOFN_FOR_ALL,
     .flags = KOFN_OPTION_NOT_IN_FILE,
     .parse = kofn_option_text,
     .offset = FIELD(config)},
    {.name = "help",
     .letter = 'h',
     .value = "no",
     .doc = "prints this text",
     .group = OUTPUT,
     .commands = KOFN_FOR_ALL,
     .flags = KOFN_OPTION_FLAG_ONLY,
     .parse = kofn_option_switch,
     .offset = FIELD(help)},
};

const size_t kofn_option_count = KOFN_ARRAY_SIZE(kofn_option_table);
KOFN_STATIC_ASSERT(KOFN_ARRAY_SIZE(kofn_option_table) <= KOFN_OPTIONS_MAX, "values have a place");
