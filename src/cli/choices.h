/* choices.h: which K, U and publication mode to choose: every one of a grid, simulated on the
 * delays of a trace, the best first.
 */
#ifndef KOFN_CLI_CHOICES_H
#define KOFN_CLI_CHOICES_H

#include "cli/forecast.h"

struct kofn_choice {
    struct kofn_case job;
    struct kofn_forecast forecast;
    int status; /* of its simulation */
};

struct kofn_choices {
    struct kofn_choice *list; /* owned; sorted */
    size_t count;
};

/* What of a job is not to be changed. */
struct kofn_kept {
    bool wait_for, local_steps, publish;
};

/* Simulates the grid around @job, and local SGD with the same U beside it, on @threads threads,
 * each job of it with @events events.
 * @done  called now and then from this thread with how many are; may be NULL
 * Returns 0, KOFN_NO_MEMORY, KOFN_SYSTEM; KOFN_INTERRUPTED once @stopped says so; logged.
 */
int kofn_choices_make(const struct kofn_case *job, const struct kofn_kept *kept, uint64_t events,
                      uint32_t threads, void (*done)(void *arg, size_t done, size_t count),
                      int (*stopped)(void), void *arg, const struct kofn_log *log,
                      struct kofn_choices *choices);
/* Sorts @list, @count > 0: first those that merge within 2 % of the most a second, from the least
 * bias to the most, and of those whose bias is the same within 1 % (or 0.002) the shortest round
 * first; then the others, most first.
 */
void kofn_choices_sort(struct kofn_choice *list, size_t count);

void kofn_choices_free(struct kofn_choices *choices);

#endif
