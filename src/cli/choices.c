#include "cli/choices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"

#define VALUES 12 /* of K and of U, at most */
#define TIE 0.98  /* of the most merged updates a second: no worse */
#define SAME_BIAS 1.01
#define BIAS_NOISE 0.002 /* of a simulation: no less can be told apart */

static const uint32_t steps[] = {1, 2, 5, 10, 20, 50};

/* ---- the grid ---- */

static size_t add_value(uint32_t *values, size_t count, uint32_t value)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] == value)
            return count;
    if (count < VALUES)
        values[count++] = value;
    return count;
}

/* All K of few workers; of many, what was asked for, 1, N, and eighths of N. */
static size_t all_k(const struct kofn_case *job, bool kept, uint32_t *values)
{
    size_t count = add_value(values, 0, job->wait_for);

    for (uint32_t i = 0; i <= 8 && !kept && !job->algorithm->needs_all; i++) {
        uint32_t k = job->workers <= 8 ? i : (uint32_t)((uint64_t)job->workers * i / 8);

        if (k <= job->workers)
            count = add_value(values, count, KOFN_MAX(k, 1u));
    }
    return count;
}

static size_t all_u(const struct kofn_case *job, bool kept, uint32_t *values)
{
    size_t count = add_value(values, 0, job->local_steps);

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(steps) && !kept && !job->algorithm->single_step; i++)
        count = add_value(values, count, steps[i]);
    return count;
}

static void add(struct kofn_choices *choices, const struct kofn_case *job,
                enum kofn_publish publish)
{
    choices->list[choices->count].job = *job;
    choices->list[choices->count++].job.publish = publish;
}

/* Both modes, unless one was asked for or there is no other. */
static void add_modes(struct kofn_choices *choices, const struct kofn_case *job, bool kept)
{
    add(choices, job, job->publish);
    if (!kept && !job->algorithm->eager)
        add(choices, job,
            job->publish == KOFN_PUBLISH_EAGER ? KOFN_PUBLISH_ON_CLOSE : KOFN_PUBLISH_EAGER);
}

static int make_grid(const struct kofn_case *job, const struct kofn_kept *kept,
                     struct kofn_choices *choices)
{
    uint32_t k[VALUES], u[VALUES];
    size_t k_count = all_k(job, kept->wait_for, k), u_count = all_u(job, kept->local_steps, u);
    struct kofn_case one = *job;

    choices->list = calloc((k_count + 1) * u_count * 2, sizeof(*choices->list));
    if (!choices->list)
        return KOFN_NO_MEMORY;
    for (size_t j = 0; j < u_count; j++) {
        one.local_steps = u[j];
        one.algorithm = job->algorithm;
        for (size_t i = 0; i < k_count; i++) {
            one.wait_for = k[i];
            add_modes(choices, &one, kept->publish);
        }
        if (job->algorithm->needs_all)
            continue;
        one.algorithm = &kofn_local;
        one.wait_for = job->workers;
        add_modes(choices, &one, kept->publish);
    }
    return 0;
}

/* ---- the order ---- */

static int compare(double a, double b)
{
    return a < b ? -1 : a > b;
}

/* What a choice merges at least, and how large its bias is at most, as far as its simulation tells:
 * one of which little is known is not to win by chance.
 */
static double sure_rate(const struct kofn_choice *choice)
{
    return choice->forecast.merged_per_second - 2 * choice->forecast.merged_error;
}

static double sure_bias(const struct kofn_choice *choice)
{
    return choice->forecast.bias + 2 * choice->forecast.bias_error;
}

static int most_first(const void *a, const void *b)
{
    const struct kofn_choice *x = a, *y = b;

    return compare(sure_rate(y), sure_rate(x));
}

static int least_bias_first(const void *a, const void *b)
{
    const struct kofn_choice *x = a, *y = b;

    return compare(sure_bias(x), sure_bias(y));
}

static int shortest_first(const void *a, const void *b)
{
    const struct kofn_choice *x = a, *y = b;

    return compare(x->forecast.value[KOFN_ROUND_TIME], y->forecast.value[KOFN_ROUND_TIME]);
}

/* How many of @list, which begins with the least bias, have the same as far as one can tell. */
static size_t same_bias(const struct kofn_choice *list, size_t count)
{
    double least = sure_bias(&list[0]), most = fmax(least * SAME_BIAS, least + BIAS_NOISE);
    size_t same = 1;

    while (same < count && sure_bias(&list[same]) <= most)
        same++;
    return same;
}

/* The most first; those that merge as much as the first, within what simulations tell apart, by
 * bias; those of these whose bias is the same, the shortest round first.
 */
void kofn_choices_sort(struct kofn_choice *list, size_t count)
{
    size_t tied = 1, same;

    qsort(list, count, sizeof(*list), most_first);
    while (tied < count && sure_rate(&list[tied]) >= TIE * sure_rate(&list[0]))
        tied++;
    qsort(list, tied, sizeof(*list), least_bias_first);
    for (size_t i = 0; i < tied; i += same) {
        same = same_bias(list + i, tied - i);
        qsort(list + i, same, sizeof(*list), shortest_first);
    }
}

int kofn_choices_make(const struct kofn_case *job, const struct kofn_kept *kept,
                      const struct kofn_log *log, struct kofn_choices *choices)
{
    memset(choices, 0, sizeof(*choices));
    if (make_grid(job, kept, choices))
        return kofn_error(log, KOFN_NO_MEMORY, "plan: out of memory");
    return 0;
}

void kofn_choices_free(struct kofn_choices *choices)
{
    free(choices->list);
    memset(choices, 0, sizeof(*choices));
}
