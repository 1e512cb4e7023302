/* choices.h: which K, U and publication mode to choose: a grid of them, and their order.
 */
#ifndef KOFN_CLI_CHOICES_H
#define KOFN_CLI_CHOICES_H

#include "cli/forecast.h"

struct kofn_choice {
    struct kofn_case job;
    struct kofn_forecast forecast;
};

struct kofn_choices {
    struct kofn_choice *list; /* owned; sorted */
    size_t count;
};

/* What of a job is not to be changed. */
struct kofn_kept {
    bool wait_for, local_steps, publish;
};

/* The grid around @job, and local SGD with the same U beside it; nothing is simulated yet.
 * KOFN_NO_MEMORY; logged.
 */
int kofn_choices_make(const struct kofn_case *job, const struct kofn_kept *kept,
                      const struct kofn_log *log, struct kofn_choices *choices);

/* Sorts @list, @count > 0: first those that merge within 2 % of the most a second, from the least
 * bias to the most, and of those whose bias is the same within 1 % (or 0.002) the shortest round
 * first; then the others, most first. Of what was simulated, that of which one can be sure counts:
 * two standard errors less, of the bias more.
 */
void kofn_choices_sort(struct kofn_choice *list, size_t count);

void kofn_choices_free(struct kofn_choices *choices);

#endif
