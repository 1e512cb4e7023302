#include "cli/choices.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "base/clock.h"

#define VALUES 12 /* of K and of U, at most */
#define TIE 0.98  /* of the most merged updates a second: no worse */
#define SAME_BIAS 1.01
#define BIAS_NOISE 0.002 /* of a simulation: no less can be told apart */
#define LOOK_NS (200 * KOFN_NS_PER_MS)

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

/* ---- the simulations ---- */

struct crew {
    struct kofn_choices *choices;
    uint64_t events;
    const struct kofn_log *log;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next, done;
    uint32_t working; /* threads */
    bool stopping;
};

static void *work(void *arg)
{
    struct crew *crew = arg;

    pthread_mutex_lock(&crew->lock);
    while (!crew->stopping && crew->next < crew->choices->count) {
        struct kofn_choice *choice = &crew->choices->list[crew->next++];

        pthread_mutex_unlock(&crew->lock);
        choice->status =
            kofn_forecast_simulated(&choice->job, crew->events, crew->log, &choice->forecast);
        pthread_mutex_lock(&crew->lock);
        crew->done++;
        crew->stopping |= choice->status != 0;
        pthread_cond_signal(&crew->changed);
    }
    crew->working--;
    pthread_cond_signal(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* Waits for the threads, and says now and then how far they are. */
static void watch(struct crew *crew, void (*done)(void *arg, size_t done, size_t count),
                  int (*stopped)(void), void *arg)
{
    pthread_mutex_lock(&crew->lock);
    while (crew->working) {
        uint64_t ns = LOOK_NS;
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        ns += (uint64_t)until.tv_nsec;
        until.tv_sec += (time_t)(ns / KOFN_NS_PER_S);
        until.tv_nsec = (long)(ns % KOFN_NS_PER_S);
        pthread_cond_timedwait(&crew->changed, &crew->lock, &until);
        crew->stopping |= stopped && stopped();
        if (done)
            done(arg, crew->done, crew->choices->count);
    }
    pthread_mutex_unlock(&crew->lock);
}

static uint32_t start(struct crew *crew, pthread_t *threads, uint32_t count)
{
    sigset_t all, before;
    uint32_t started = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    crew->working = count;
    while (started < count && !pthread_create(&threads[started], NULL, work, crew))
        started++;
    pthread_mutex_lock(&crew->lock);
    crew->working -= count - started;
    pthread_mutex_unlock(&crew->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static int simulate(struct crew *crew, uint32_t count,
                    void (*done)(void *arg, size_t done, size_t count), int (*stopped)(void),
                    void *arg)
{
    pthread_t *threads = calloc(count, sizeof(*threads));
    uint32_t started;
    int rc = 0;

    if (!threads)
        return kofn_error(crew->log, KOFN_NO_MEMORY, "plan: %u threads", count);
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->changed, NULL);
    started = start(crew, threads, count);
    watch(crew, done, stopped, arg);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->lock);
    free(threads);
    if (!started)
        rc = kofn_error(crew->log, KOFN_SYSTEM, "plan: no thread");
    for (size_t i = 0; i < crew->choices->count && !rc; i++)
        rc = crew->choices->list[i].status;
    if (!rc && crew->done < crew->choices->count)
        rc = KOFN_INTERRUPTED;
    return rc;
}

/* ---- the order ---- */

static int compare(double a, double b)
{
    return a < b ? -1 : a > b;
}

static int most_first(const void *a, const void *b)
{
    const struct kofn_choice *x = a, *y = b;

    return compare(y->forecast.merged_per_second, x->forecast.merged_per_second);
}

static int least_bias_first(const void *a, const void *b)
{
    const struct kofn_choice *x = a, *y = b;

    return compare(x->forecast.bias, y->forecast.bias);
}

static int shortest_first(const void *a, const void *b)
{
    const struct kofn_choice *x = a, *y = b;

    return compare(x->forecast.value[KOFN_ROUND_TIME], y->forecast.value[KOFN_ROUND_TIME]);
}

/* How many of @list, which begins with the least bias, have the same as far as one can tell. */
static size_t same_bias(const struct kofn_choice *list, size_t count)
{
    double least = list[0].forecast.bias, most = fmax(least * SAME_BIAS, least + BIAS_NOISE);
    size_t same = 1;

    while (same < count && list[same].forecast.bias <= most)
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
    while (tied < count &&
           list[tied].forecast.merged_per_second >= TIE * list[0].forecast.merged_per_second)
        tied++;
    qsort(list, tied, sizeof(*list), least_bias_first);
    for (size_t i = 0; i < tied; i += same) {
        same = same_bias(list + i, tied - i);
        qsort(list + i, same, sizeof(*list), shortest_first);
    }
}

int kofn_choices_make(const struct kofn_case *job, const struct kofn_kept *kept, uint64_t events,
                      uint32_t threads, void (*done)(void *arg, size_t done, size_t count),
                      int (*stopped)(void), void *arg, const struct kofn_log *log,
                      struct kofn_choices *choices)
{
    struct crew crew = {.choices = choices, .events = events, .log = log};
    int rc;

    memset(choices, 0, sizeof(*choices));
    if (make_grid(job, kept, choices))
        return kofn_error(log, KOFN_NO_MEMORY, "plan: out of memory");
    rc = simulate(&crew, (uint32_t)KOFN_MIN(threads, choices->count), done, stopped, arg);
    if (rc)
        kofn_choices_free(choices);
    else
        kofn_choices_sort(choices->list, choices->count);
    return rc;
}

void kofn_choices_free(struct kofn_choices *choices)
{
    free(choices->list);
    memset(choices, 0, sizeof(*choices));
}
