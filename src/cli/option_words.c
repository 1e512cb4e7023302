#include "cli/option_words.h"

#include <string.h>

#include "algorithms/algorithm.h"
#include "train/model.h"
#include "transports/transport.h"

/* Words by their place in the enum of <kofn/types.h>. */
const char *kofn_option_publish_word(size_t index)
{
    static const char *const words[] = {"eager", "on-close", "pull"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

const char *kofn_option_weights_word(size_t index)
{
    static const char *const words[] = {"uniform", "fednova"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

const char *kofn_option_late_word(size_t index)
{
    static const char *const words[] = {"merge", "refuse"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

const char *kofn_option_pin_word(size_t index)
{
    static const char *const words[] = {"auto", "off"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

const char *kofn_option_algorithm_name(size_t index)
{
    const struct kofn_algorithm *algorithm = kofn_algorithm_at(index);

    return algorithm ? algorithm->name : NULL;
}

/* Whose K adasync chooses. */
const char *kofn_option_over_name(size_t index)
{
    static const char *const words[] = {"ksync", "kbatch-sync", "kasync", "kbatch-async"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

const char *kofn_option_collective_word(size_t index)
{
    static const char *const words[] = {"star", "ring"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

/* How verbs makes connections: as its option `connect` has it. */
const char *kofn_option_connect_word(size_t index)
{
    static const char *const words[] = {"tcp", "rdmacm"};

    return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;
}

/* `self` is inside one thread and so for tests, not for jobs. */
const char *kofn_option_transport_name(size_t index)
{
    const struct kofn_transport_ops *ops;

    for (size_t i = 0; (ops = kofn_transport_at(i)); i++)
        if (strcmp(ops->name, "self") && !index--)
            return ops->name;
    return NULL;
}

const char *kofn_option_model_name(size_t index)
{
    return index < kofn_model_names_count ? kofn_model_names[index] : NULL;
}
