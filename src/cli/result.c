#include "cli/result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const endings[][2] = {
    [KOFN_ENDED_NOT] = {NULL, NULL},
    [KOFN_ENDED_ROUNDS] = {"rounds", "all rounds done"},
    [KOFN_ENDED_SECONDS] = {"seconds", "time is up"},
    [KOFN_ENDED_TARGET] = {"target", "target accuracy reached"},
    [KOFN_ENDED_INTERRUPTED] = {"interrupted", "interrupted"},
    [KOFN_ENDED_DIVERGED] = {"diverged", "diverged"},
    [KOFN_ENDED_WORKERS_LOST] = {"workers-lost", "no worker is left"},
    [KOFN_ENDED_ROOT_LOST] = {"root-lost", "the root is gone"},
};

const char *kofn_ended_name(enum kofn_ended ended)
{
    return endings[ended][0];
}

const char *kofn_ended_text(enum kofn_ended ended)
{
    return endings[ended][1];
}

double kofn_member_update_time(const struct kofn_member_report *member)
{
    if (!member->finished)
        return NAN;
    return member->pace_mean > 0 ? member->pace_mean : member->compute_mean;
}

void kofn_result_init(struct kofn_result *result)
{
    memset(result, 0, sizeof(*result));
    result->seconds = result->round_time_mean = result->round_time_p50 = result->round_time_p99 =
        NAN;
    result->updates_per_worker_mean = result->uploads_mean = NAN;
    result->publications_mean = result->bytes_mean = result->staleness_mean = NAN;
    result->conservation_error = NAN;
    result->loss = result->accuracy = result->idle_fraction_mean = NAN;
}

void kofn_result_free(struct kofn_result *result)
{
    free(result->members);
    free(result->curve.points);
    kofn_result_init(result);
}

int kofn_curve_add(struct kofn_curve *curve, const struct kofn_point *point)
{
    size_t capacity = curve->capacity ? 2 * curve->capacity : 64;
    struct kofn_point *points;

    if (curve->count == curve->capacity) {
        points = realloc(curve->points, capacity * sizeof(*points));
        if (!points)
            return KOFN_NO_MEMORY;
        curve->points = points;
        curve->capacity = capacity;
    }
    curve->points[curve->count++] = *point;
    return 0;
}

void kofn_tally_add(struct kofn_tally *tally, const struct kofn_round_report *report)
{
    uint64_t took = report->published_ns - report->opened_ns;

    tally->rounds++;
    tally->wait_for = report->wait_for;
    tally->round_seconds += (double)took / 1e9;
    tally->uploads += report->merged;
    tally->publications += report->publications;
    tally->bytes += (double)report->bytes;
    tally->staleness += report->staleness * report->contributions;
    tally->merged += report->contributions;
    kofn_histogram_record(&tally->round_times, took);
}

/* Mean idle fraction over the workers that have one. */
static double mean_idle(const struct kofn_result *result)
{
    double sum = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < result->workers; i++)
        if (isfinite(result->members[i].idle_fraction)) {
            sum += result->members[i].idle_fraction;
            count++;
        }
    return count ? sum / count : NAN;
}

void kofn_result_finish(struct kofn_result *result, const struct kofn_tally *tally)
{
    double rounds = (double)tally->rounds, finished = 0;

    result->rounds = tally->rounds;
    result->wait_for_last = tally->wait_for;
    if (result->members) {
        for (uint32_t i = 0; i < result->workers; i++)
            finished += (double)result->members[i].finished;
        result->idle_fraction_mean = mean_idle(result);
    }
    if (!tally->rounds)
        return;
    result->round_time_mean = tally->round_seconds / rounds;
    result->round_time_p50 = (double)kofn_histogram_percentile(&tally->round_times, 50) / 1e9;
    result->round_time_p99 = (double)kofn_histogram_percentile(&tally->round_times, 99) / 1e9;
    if (result->members)
        result->updates_per_worker_mean = finished / result->workers / rounds;
    if (!result->peers)
        result->uploads_mean = tally->uploads / rounds;
    result->publications_mean = tally->publications / rounds;
    result->bytes_mean = tally->bytes / rounds;
    if (tally->merged > 0)
        result->staleness_mean = tally->staleness / tally->merged;
}
