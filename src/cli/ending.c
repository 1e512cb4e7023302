#include "cli/ending.h"

#include <math.h>

#include "cli/stop.h"

/* Updates that came too late are refused as well, where that was asked for: of a round that waits
 * for publications only once it has closed these may be all.
 */
static bool all_refused(const struct kofn_conf *conf, const struct kofn_round_report *report)
{
    bool only_late = conf->late == KOFN_LATE_REFUSE && conf->publish != KOFN_PUBLISH_EAGER;

    return !report->contributions && report->refused && !only_late;
}

void kofn_ending_round(struct kofn_ending *ending, const struct kofn_conf *conf,
                       const struct kofn_round_report *report, const struct kofn_log *log)
{
    if (!all_refused(conf, report)) {
        ending->refused = 0;
        return;
    }
    ending->refused++;
    if (!ending->told)
        kofn_log(log, KOFN_LOG_WARN,
                 "round %u: none of its updates could be merged: they hold NaN or infinity, and "
                 "the model stays as it was; a learning rate below %g (--lr) may help",
                 report->round, conf->lr);
    ending->told = true;
}

void kofn_ending_score(struct kofn_ending *ending, const struct kofn_conf *conf,
                       const struct kofn_point *score)
{
    ending->scored = true;
    ending->finite = isfinite(score->loss);
    if (conf->target_accuracy > 0 && score->accuracy >= conf->target_accuracy)
        ending->reached = true;
}

enum kofn_ended kofn_ending_look(const struct kofn_ending *ending, const struct kofn_terms *terms,
                                 uint64_t rounds, bool time_up)
{
    if (kofn_stop_signal())
        return KOFN_ENDED_INTERRUPTED;
    if (ending->refused >= KOFN_ROUNDS_REFUSED || (ending->scored && !ending->finite))
        return KOFN_ENDED_DIVERGED;
    if (ending->reached)
        return KOFN_ENDED_TARGET;
    if (terms->rounds && rounds >= terms->rounds)
        return KOFN_ENDED_ROUNDS;
    return time_up ? KOFN_ENDED_SECONDS : KOFN_ENDED_NOT;
}

int kofn_ending_judge(const struct kofn_ending *ending, const struct kofn_conf *conf,
                      struct kofn_result *result, const struct kofn_log *log)
{
    if (result->ended == KOFN_ENDED_INTERRUPTED) {
        if (!result->rounds)
            kofn_log(log, KOFN_LOG_WARN, "interrupted before a round was completed");
        return 0;
    }
    if (ending->scored && !ending->finite)
        result->ended = KOFN_ENDED_DIVERGED;
    if (result->ended == KOFN_ENDED_DIVERGED && ending->scored && !ending->finite)
        return kofn_error(log, KOFN_NOT_FINITE,
                          "the job has diverged: the loss of its model is not finite; a learning "
                          "rate below %g (--lr) may help",
                          conf->lr);
    if (result->ended == KOFN_ENDED_DIVERGED)
        return kofn_error(log, KOFN_NOT_FINITE,
                          "the job has diverged: in %u rounds in a row no update could be merged "
                          "(NaN or infinity); a learning rate below %g (--lr) may help",
                          ending->refused, conf->lr);
    if (!result->rounds)
        return kofn_error(log, KOFN_TIMEOUT,
                          "no round was completed: the job is as it began; give it more time "
                          "(--seconds), or rounds that close earlier (--wait-for, --local-steps)");
    return 0;
}
