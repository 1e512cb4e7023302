#include "cli/evaluator.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NICE 10 /* a tenth of a CPU where a worker wants it too */

enum stage { FREE, GIVEN, SCORED };

struct kofn_evaluator {
    const struct kofn_workload *workload;
    struct kofn_model *scorer;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum stage stage;
    bool ending;
    float *model;
    struct kofn_point point;
};

/* Scores what was given. The model and the point are this thread's while the stage is GIVEN. */
static void score(struct kofn_evaluator *evaluator)
{
    const struct kofn_data *data = evaluator->workload->data;
    struct kofn_score score =
        kofn_model_evaluate(evaluator->scorer, evaluator->model, data ? &data->test : NULL, 0);

    evaluator->point.loss = score.loss;
    evaluator->point.accuracy = score.accuracy;
}

static void *evaluate(void *arg)
{
    struct kofn_evaluator *evaluator = arg;

    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    pthread_mutex_lock(&evaluator->lock);
    while (!evaluator->ending) {
        if (evaluator->stage != GIVEN) {
            pthread_cond_wait(&evaluator->changed, &evaluator->lock);
            continue;
        }
        pthread_mutex_unlock(&evaluator->lock);
        score(evaluator);
        pthread_mutex_lock(&evaluator->lock);
        evaluator->stage = SCORED;
        pthread_cond_broadcast(&evaluator->changed);
    }
    pthread_mutex_unlock(&evaluator->lock);
    return NULL;
}

/* Starts the thread with all signals blocked: they are for the one that runs the job. */
static int start_thread(struct kofn_evaluator *evaluator, const struct kofn_log *log)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&evaluator->thread, NULL, evaluate, evaluator);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return kofn_error(log, KOFN_SYSTEM, "evaluation: no thread: %s", strerror(error));
    return 0;
}

int kofn_evaluator_open(const struct kofn_workload *workload, const struct kofn_log *log,
                        struct kofn_evaluator **evaluator_p)
{
    struct kofn_evaluator *evaluator = calloc(1, sizeof(*evaluator));
    int rc;

    if (!evaluator)
        return kofn_error(log, KOFN_NO_MEMORY, "evaluation: out of memory");
    evaluator->workload = workload;
    rc = kofn_model_open(&workload->attr, log, &evaluator->scorer);
    if (rc)
        goto free_evaluator;
    evaluator->model = calloc(workload->parameters, sizeof(float));
    if (!evaluator->model) {
        rc = kofn_error(log, KOFN_NO_MEMORY, "evaluation: a model of %zu parameters",
                        workload->parameters);
        goto close_scorer;
    }
    pthread_mutex_init(&evaluator->lock, NULL);
    pthread_cond_init(&evaluator->changed, NULL);
    rc = start_thread(evaluator, log);
    if (rc)
        goto free_model;
    *evaluator_p = evaluator;
    return 0;

free_model:
    pthread_cond_destroy(&evaluator->changed);
    pthread_mutex_destroy(&evaluator->lock);
    free(evaluator->model);
close_scorer:
    kofn_model_close(evaluator->scorer);
free_evaluator:
    free(evaluator);
    return rc;
}

void kofn_evaluator_close(struct kofn_evaluator *evaluator)
{
    if (!evaluator)
        return;
    pthread_mutex_lock(&evaluator->lock);
    evaluator->ending = true;
    pthread_cond_broadcast(&evaluator->changed);
    pthread_mutex_unlock(&evaluator->lock);
    pthread_join(evaluator->thread, NULL);
    pthread_cond_destroy(&evaluator->changed);
    pthread_mutex_destroy(&evaluator->lock);
    kofn_model_close(evaluator->scorer);
    free(evaluator->model);
    free(evaluator);
}

bool kofn_evaluator_free(struct kofn_evaluator *evaluator)
{
    bool is_free;

    pthread_mutex_lock(&evaluator->lock);
    is_free = evaluator->stage == FREE;
    pthread_mutex_unlock(&evaluator->lock);
    return is_free;
}

void kofn_evaluator_give(struct kofn_evaluator *evaluator, const float *model,
                         const struct kofn_point *point)
{
    memcpy(evaluator->model, model, evaluator->workload->parameters * sizeof(float));
    evaluator->point = *point;
    pthread_mutex_lock(&evaluator->lock);
    evaluator->stage = GIVEN;
    pthread_cond_broadcast(&evaluator->changed);
    pthread_mutex_unlock(&evaluator->lock);
}

bool kofn_evaluator_take(struct kofn_evaluator *evaluator, bool wait, struct kofn_point *point)
{
    bool taken;

    pthread_mutex_lock(&evaluator->lock);
    while (wait && evaluator->stage == GIVEN)
        pthread_cond_wait(&evaluator->changed, &evaluator->lock);
    taken = evaluator->stage == SCORED;
    if (taken) {
        *point = evaluator->point;
        evaluator->stage = FREE;
    }
    pthread_mutex_unlock(&evaluator->lock);
    return taken;
}
