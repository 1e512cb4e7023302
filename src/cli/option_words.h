/* option_words.h: the words that options allow, for kofn_option.choice: the one at an index, NULL
 * behind the last. Where an enum of <kofn/types.h> has the same things, they stand in its order.
 */
#ifndef KOFN_CLI_OPTION_WORDS_H
#define KOFN_CLI_OPTION_WORDS_H

#include <stddef.h>

const char *kofn_option_publish_word(size_t index);
const char *kofn_option_weights_word(size_t index);
const char *kofn_option_late_word(size_t index);
const char *kofn_option_pin_word(size_t index);
const char *kofn_option_algorithm_name(size_t index);
const char *kofn_option_over_name(size_t index);
const char *kofn_option_collective_word(size_t index);
const char *kofn_option_connect_word(size_t index);
const char *kofn_option_transport_name(size_t index);
const char *kofn_option_model_name(size_t index);

#endif
