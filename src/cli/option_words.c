#include "cli/option_words.h"

#include <string.h>

#include "algorithms/algorithm.h"
#include "train/model.h"
#include "transports/transport.h"

/* A function that has the words of a fixed list. */
#define WORDS(name, ...)                                                                           \
    const char *name(size_t index)                                                                 \
    {                                                                                              \
        static const char *const words[] = {__VA_ARGS__};                                          \
                                                                                                   \
        return index < KOFN_ARRAY_SIZE(words) ? words[index] : NULL;                               \
    }

WORDS(kofn_option_publish_word, "eager", "on-close", "pull")
WORDS(kofn_option_weights_word, "uniform", "fednova")
WORDS(kofn_option_late_word, "merge", "refuse")
WORDS(kofn_option_pin_word, "auto", "off")
WORDS(kofn_option_over_name, "ksync", "kbatch-sync", "kasync", "kbatch-async") /* of adasync */
WORDS(kofn_option_collective_word, "star", "ring")
WORDS(kofn_option_connect_word, "tcp", "rdmacm") /* as the option of verbs has it */

const char *kofn_option_algorithm_name(size_t index)
{
    const struct kofn_algorithm *algorithm = kofn_algorithm_at(index);

    return algorithm ? algorithm->name : NULL;
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
