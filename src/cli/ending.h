/* ending.h: when a job ends, and why: the same of one that is measured and of one that is
 * simulated.
 */
#ifndef KOFN_CLI_ENDING_H
#define KOFN_CLI_ENDING_H

#include "cli/conf.h"
#include "cli/result.h"
#include "cli/terms.h"

/* So many rounds in a row without an update that could be merged are not an accident. */
#define KOFN_ROUNDS_REFUSED 3

/* What is known so far of how a job ends. Zeroed: nothing. */
struct kofn_ending {
    uint32_t refused;    /* rounds in a row, up to now, of which nothing could be merged */
    bool told;           /* such a round has been logged */
    bool scored, finite; /* the model has been evaluated; the latest loss was a number */
    bool reached;        /* its accuracy was what was asked for */
};

/* A round has closed. The first one in which all updates were refused is logged, with what helps.
 */
void kofn_ending_round(struct kofn_ending *ending, const struct kofn_conf *conf,
                       const struct kofn_round_report *report, const struct kofn_log *log);

/* The model has been evaluated. */
void kofn_ending_score(struct kofn_ending *ending, const struct kofn_conf *conf,
                       const struct kofn_point *score);

/* Why the job is over, or KOFN_ENDED_NOT.
 *
 * @rounds   that have closed
 * @time_up  it has lasted terms->seconds
 */
enum kofn_ended kofn_ending_look(const struct kofn_ending *ending, const struct kofn_terms *terms,
                                 uint64_t rounds, bool time_up);

/* Judges a job that is over because of result->ended. A last evaluation that was no number makes it
 * diverged, unless it was interrupted. Returns 0; KOFN_NOT_FINITE for a job that has diverged,
 * KOFN_TIMEOUT for one without a round; logged, with what helps.
 */
int kofn_ending_judge(const struct kofn_ending *ending, const struct kofn_conf *conf,
                      struct kofn_result *result, const struct kofn_log *log);

#endif
