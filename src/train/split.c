#include "train/split.h"

#include <stdlib.h>
#include <string.h>

#define ALPHA_MIN 1e-4
#define ALPHA_MAX 1e6

static const char *const kinds[] = {"iid", "sorted", "dirichlet"};

int kofn_split_parse(struct kofn_text spec, const struct kofn_log *log,
                     struct kofn_split_spec *result)
{
    struct kofn_text rest = spec, name = kofn_text_cut(&rest, ':');
    struct kofn_split_spec parsed = {KOFN_SPLIT_IID, 0};
    char hint[KOFN_HINT_LENGTH];
    struct kofn_bad bad;
    size_t kind = 0;

    while (kind < KOFN_ARRAY_SIZE(kinds) && !kofn_text_is(name, kinds[kind]))
        kind++;
    if (kind == KOFN_ARRAY_SIZE(kinds))
        return kofn_error(log, KOFN_INVALID, "split %.*s: unknown kind \"%.*s\"; %s",
                          KOFN_TEXT_ARGS(spec), KOFN_TEXT_ARGS(name),
                          kofn_hint(hint, name, kinds, KOFN_ARRAY_SIZE(kinds)));
    parsed.kind = (enum kofn_split_kind)kind;
    if (parsed.kind != KOFN_SPLIT_DIRICHLET && rest.start)
        return kofn_error(log, KOFN_INVALID, "split %.*s: %s takes no argument",
                          KOFN_TEXT_ARGS(spec), kinds[kind]);
    if (parsed.kind == KOFN_SPLIT_DIRICHLET && !rest.length)
        return kofn_error(log, KOFN_INVALID,
                          "split %.*s: ALPHA is missing: dirichlet:ALPHA, such as dirichlet:0.5",
                          KOFN_TEXT_ARGS(spec));
    if (parsed.kind == KOFN_SPLIT_DIRICHLET &&
        kofn_parse_float(rest, ALPHA_MIN, ALPHA_MAX, &parsed.alpha, &bad))
        return kofn_error(log, KOFN_INVALID,
                          "split %.*s: ALPHA " KOFN_BAD "; it is between %g and %g",
                          KOFN_TEXT_ARGS(spec), KOFN_BAD_ARGS(&bad), ALPHA_MIN, ALPHA_MAX);
    *result = parsed;
    return 0;
}

static void shuffle(uint32_t *index, uint32_t count, struct kofn_random *random)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = (uint32_t)kofn_random_below(random, i), swapped = index[i - 1];

        index[i - 1] = index[j];
        index[j] = swapped;
    }
}

/* Sorts @index by class, keeping the order within a class; begin[c] is where class c starts in the
 * result. */
static void sort_by_class(const struct kofn_samples *set, const uint32_t *index, uint32_t *sorted,
                          uint32_t begin[KOFN_DATA_CLASSES + 1])
{
    uint32_t next[KOFN_DATA_CLASSES];

    memset(begin, 0, (KOFN_DATA_CLASSES + 1) * sizeof(*begin));
    for (uint32_t i = 0; i < set->count; i++)
        begin[set->labels[i] + 1]++;
    for (uint32_t c = 0; c < KOFN_DATA_CLASSES; c++) {
        begin[c + 1] += begin[c];
        next[c] = begin[c];
    }
    for (uint32_t i = 0; i < set->count; i++)
        sorted[next[set->labels[index[i]]]++] = index[i];
}

static void cut_equally(struct kofn_split *split, uint32_t count)
{
    for (uint32_t m = 0; m <= split->workers; m++)
        split->start[m] = (uint32_t)((uint64_t)count * m / split->workers);
}

/* Proportions that add up to 1. With a tiny alpha all draws may underflow; the limit is one worker
 * having all. */
static void draw_proportions(double alpha, uint32_t workers, struct kofn_random *random,
                             double *proportions)
{
    double sum = 0;

    for (uint32_t m = 0; m < workers; m++)
        sum += proportions[m] = kofn_random_gamma(random, alpha);
    if (sum > 0)
        for (uint32_t m = 0; m < workers; m++)
            proportions[m] /= sum;
    else
        proportions[kofn_random_below(random, workers)] = 1;
}

/* Decides the owner of every sample of @sorted, class by class. */
static void draw_owners(const struct kofn_split_spec *spec,
                        const uint32_t begin[KOFN_DATA_CLASSES + 1], uint32_t classes,
                        uint32_t workers, struct kofn_random *random, double *proportions,
                        uint32_t *owners)
{
    for (uint32_t c = 0; c < classes; c++) {
        uint32_t count = begin[c + 1] - begin[c], at = begin[c], end;
        double sum = 0;

        draw_proportions(spec->alpha, workers, random, proportions);
        for (uint32_t m = 0; m < workers; m++) {
            sum += proportions[m];
            end = m + 1 == workers ? begin[c + 1] : begin[c] + (uint32_t)(sum * count + 0.5);
            end = KOFN_MIN(end, begin[c + 1]);
            while (at < end)
                owners[at++] = m;
        }
    }
}

/* Gives every worker without a sample one of a worker that has several. One pass over the samples
 * is enough: a worker that has one left never gets another.
 */
static void feed_empty(uint32_t *owners, uint32_t *counts, uint32_t workers)
{
    uint32_t at = 0;

    for (uint32_t m = 0; m < workers; m++) {
        if (counts[m])
            continue;
        while (counts[owners[at]] < 2)
            at++; /* there are as many samples as workers, so this ends */
        counts[owners[at]]--;
        owners[at++] = m;
        counts[m] = 1;
    }
}

/* Sorts @sorted by owner into the split; counts[m] is how many worker m has. */
static void sort_by_owner(struct kofn_split *split, const uint32_t *sorted, const uint32_t *owners,
                          const uint32_t *counts, uint32_t count)
{
    uint32_t *next = split->start + 1; /* becomes the end of each worker's piece */

    split->start[0] = 0;
    for (uint32_t m = 0; m < split->workers; m++)
        next[m] = m ? next[m - 1] + counts[m - 1] : 0;
    for (uint32_t i = 0; i < count; i++)
        split->index[next[owners[i]]++] = sorted[i];
}

static int split_dirichlet(const struct kofn_split_spec *spec, const uint32_t *sorted,
                           const uint32_t begin[KOFN_DATA_CLASSES + 1], uint32_t classes,
                           struct kofn_random *random, struct kofn_split *split)
{
    uint32_t count = begin[KOFN_DATA_CLASSES], workers = split->workers;
    double *proportions = calloc(workers, sizeof(*proportions));
    uint32_t *owners = calloc(count, sizeof(*owners)), *counts = calloc(workers, sizeof(*counts));
    int rc = KOFN_NO_MEMORY;

    if (proportions && owners && counts) {
        draw_owners(spec, begin, classes, workers, random, proportions, owners);
        for (uint32_t i = 0; i < count; i++)
            counts[owners[i]]++;
        feed_empty(owners, counts, workers);
        sort_by_owner(split, sorted, owners, counts, count);
        rc = 0;
    }
    free(counts);
    free(owners);
    free(proportions);
    return rc;
}

/* Fills in the split, whose arrays are there; @shuffled is scratch of as many samples. */
static int fill(const struct kofn_split_spec *spec, const struct kofn_samples *set,
                uint32_t classes, uint64_t seed, uint32_t *shuffled, struct kofn_split *split)
{
    uint32_t begin[KOFN_DATA_CLASSES + 1];
    struct kofn_random random;

    kofn_random_seed(&random, seed, kofn_stream_of(KOFN_STREAM_SPLIT, 0));
    for (uint32_t i = 0; i < set->count; i++)
        shuffled[i] = i;
    shuffle(shuffled, set->count, &random);
    cut_equally(split, set->count);
    switch (spec->kind) {
    case KOFN_SPLIT_IID:
        memcpy(split->index, shuffled, set->count * sizeof(*shuffled));
        break;
    case KOFN_SPLIT_SORTED:
        sort_by_class(set, shuffled, split->index, begin);
        break;
    case KOFN_SPLIT_DIRICHLET:
        sort_by_class(set, shuffled, split->index, begin);
        memcpy(shuffled, split->index, set->count * sizeof(*shuffled));
        return split_dirichlet(spec, shuffled, begin, classes, &random, split);
    }
    return 0;
}

int kofn_split_make(const struct kofn_split_spec *spec, const struct kofn_samples *set,
                    uint32_t classes, uint32_t workers, uint64_t seed, const struct kofn_log *log,
                    struct kofn_split *split)
{
    struct kofn_split result = {.workers = workers};
    uint32_t *shuffled;
    int rc = KOFN_NO_MEMORY;

    if (!workers || workers > set->count)
        return kofn_error(log, KOFN_INVALID, "split: %u workers, but %u samples to share", workers,
                          set->count);
    result.index = calloc(set->count, sizeof(*result.index));
    result.start = calloc((size_t)workers + 1, sizeof(*result.start));
    shuffled = calloc(set->count, sizeof(*shuffled));
    if (result.index && result.start && shuffled)
        rc = fill(spec, set, classes, seed, shuffled, &result);
    free(shuffled);
    if (rc) {
        kofn_split_free(&result);
        return kofn_error(log, rc, "split: %u samples", set->count);
    }
    *split = result;
    return 0;
}

void kofn_split_free(struct kofn_split *split)
{
    free(split->index);
    free(split->start);
    *split = (struct kofn_split){0};
}
