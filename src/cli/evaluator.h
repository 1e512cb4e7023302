/* evaluator.h: scores models on held-out data beside the job, in a thread of its own that gives way
 * to everybody else.
 *
 * One thread calls these functions. A model is copied when it is handed over; while one is being
 * scored, no other is taken.
 */
#ifndef KOFN_CLI_EVALUATOR_H
#define KOFN_CLI_EVALUATOR_H

#include "cli/result.h"
#include "cli/workload.h"

struct kofn_evaluator;

int kofn_evaluator_open(const struct kofn_workload *workload, const struct kofn_log *log,
                        struct kofn_evaluator **evaluator_p);

/* Waits for the evaluation that is running, and forgets it. NULL is allowed. */
void kofn_evaluator_close(struct kofn_evaluator *evaluator);

/* True if it has nothing to do and its last point has been taken. */
bool kofn_evaluator_free(struct kofn_evaluator *evaluator);

/* Starts to score @model; @point says when it is from. The evaluator must be free. */
void kofn_evaluator_give(struct kofn_evaluator *evaluator, const float *model,
                         const struct kofn_point *point);

/* Takes the point that was given last, with its scores; false if they are not there yet. @wait:
 * until they are. */
bool kofn_evaluator_take(struct kofn_evaluator *evaluator, bool wait, struct kofn_point *point);

#endif
