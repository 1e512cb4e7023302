#include "cli/sim_learn.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "train/sgd.h"

enum stage { NONE, WANTED, RUNNING, DONE };

/* What one worker's update in progress needs. */
struct task {
    enum stage stage;
    uint64_t due;
    const float *x;
    float *gradient;
    float loss;
    struct kofn_batch batch;
    uint32_t *index; /* of the batch */
    struct kofn_sampler sampler;
    struct kofn_sgd sgd;
};

struct helper {
    struct kofn_sim_learn *learn;
    pthread_t thread;
    struct kofn_model *model;
    bool started;
};

struct kofn_sim_learn {
    const struct kofn_workload *workload;
    uint32_t workers, helpers; /* helpers: threads but the simulation's own */
    struct task *tasks;        /* by rank */
    struct helper *list;       /* the last one is the simulation's thread itself */
    pthread_mutex_t lock;
    pthread_cond_t wanted, done;
    bool ending;
};

static float compute(struct kofn_model *model, const struct task *task)
{
    return kofn_model_gradient(model, task->x, &task->batch, task->gradient);
}

/* The wanted one that is due first; NULL if there is none. */
static struct task *first_wanted(struct kofn_sim_learn *learn)
{
    struct task *first = NULL;

    for (uint32_t rank = 0; rank < learn->workers; rank++) {
        struct task *task = &learn->tasks[rank];

        if (task->stage == WANTED && (!first || task->due < first->due))
            first = task;
    }
    return first;
}

static void *help(void *arg)
{
    struct helper *helper = arg;
    struct kofn_sim_learn *learn = helper->learn;

    pthread_mutex_lock(&learn->lock);
    while (!learn->ending) {
        struct task *task = first_wanted(learn);

        if (!task) {
            pthread_cond_wait(&learn->wanted, &learn->lock);
            continue;
        }
        task->stage = RUNNING;
        pthread_mutex_unlock(&learn->lock);
        task->loss = compute(helper->model, task);
        pthread_mutex_lock(&learn->lock);
        task->stage = DONE;
        pthread_cond_broadcast(&learn->done);
    }
    pthread_mutex_unlock(&learn->lock);
    return NULL;
}

/* ---- struct kofn_sim_work ---- */

static void fresh(void *arg, uint32_t rank)
{
    struct kofn_sim_learn *learn = arg;

    kofn_sgd_reset(&learn->tasks[rank].sgd);
}

static void begin(void *arg, uint32_t rank, const float *x, uint64_t due)
{
    struct kofn_sim_learn *learn = arg;
    struct task *task = &learn->tasks[rank];

    if (learn->workload->data)
        kofn_sampler_next(&task->sampler, task->batch.count, task->index);
    if (!learn->helpers) {
        task->x = x;
        return;
    }
    pthread_mutex_lock(&learn->lock);
    task->x = x;
    task->due = due;
    task->stage = WANTED;
    pthread_cond_signal(&learn->wanted);
    pthread_mutex_unlock(&learn->lock);
}

/* The gradient is there when this returns. */
static struct task *finish(struct kofn_sim_learn *learn, uint32_t rank)
{
    struct task *task = &learn->tasks[rank];
    enum stage stage = WANTED;

    if (learn->helpers) {
        pthread_mutex_lock(&learn->lock);
        while (task->stage == RUNNING)
            pthread_cond_wait(&learn->done, &learn->lock);
        stage = task->stage;
        task->stage = NONE;
        pthread_mutex_unlock(&learn->lock);
    }
    if (stage == WANTED)
        task->loss = compute(learn->list[learn->helpers].model, task);
    return task;
}

static float step(void *arg, uint32_t rank, float *x)
{
    struct task *task = finish(arg, rank);

    kofn_sgd_step(&task->sgd, x, task->gradient);
    return task->loss;
}

static float gradient(void *arg, uint32_t rank, float *out)
{
    struct kofn_sim_learn *learn = arg;
    const struct task *task = finish(learn, rank);

    memcpy(out, task->gradient, learn->workload->parameters * sizeof(*out));
    return task->loss;
}

static void drop(void *arg, uint32_t rank)
{
    struct kofn_sim_learn *learn = arg;
    struct task *task = &learn->tasks[rank];

    if (!learn->helpers)
        return;
    pthread_mutex_lock(&learn->lock);
    while (task->stage == RUNNING)
        pthread_cond_wait(&learn->done, &learn->lock);
    task->stage = NONE;
    pthread_mutex_unlock(&learn->lock);
}

/* ---- set-up ---- */

static int open_task(struct kofn_sim_learn *learn, uint32_t rank, const struct kofn_conf *conf,
                     const struct kofn_log *log)
{
    const struct kofn_workload *workload = learn->workload;
    struct task *task = &learn->tasks[rank];
    size_t bytes = kofn_round_up(workload->parameters * sizeof(float), KOFN_CACHE_LINE);

    task->gradient = aligned_alloc(KOFN_CACHE_LINE, bytes);
    task->index = calloc(workload->batch, sizeof(*task->index));
    if (!task->gradient || !task->index)
        return kofn_error(log, KOFN_NO_MEMORY, "rank %u: a gradient of %zu bytes", rank, bytes);
    task->batch = (struct kofn_batch){task->index, workload->batch, rank};
    if (workload->data)
        kofn_sampler_init(&task->sampler, &workload->split, rank, workload->seed);
    return kofn_sgd_open(workload->parameters, conf->lr, conf->momentum, log, &task->sgd);
}

/* With all signals blocked: they are for the thread that runs the job. */
static int start_helper(struct helper *helper, const struct kofn_log *log)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&helper->thread, NULL, help, helper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return kofn_error(log, KOFN_SYSTEM, "simulation: no thread: %s", strerror(error));
    helper->started = true;
    return 0;
}

static int open_parts(struct kofn_sim_learn *learn, const struct kofn_conf *conf,
                      const struct kofn_log *log)
{
    int rc = 0;

    learn->tasks = calloc(learn->workers, sizeof(*learn->tasks));
    learn->list = calloc(learn->helpers + 1, sizeof(*learn->list));
    if (!learn->tasks || !learn->list)
        return kofn_error(log, KOFN_NO_MEMORY, "simulation: %u workers", learn->workers);
    for (uint32_t rank = 0; rank < learn->workers && !rc; rank++)
        rc = open_task(learn, rank, conf, log);
    for (uint32_t i = 0; i <= learn->helpers && !rc; i++) {
        learn->list[i].learn = learn;
        rc = kofn_model_open(&learn->workload->attr, log, &learn->list[i].model);
    }
    for (uint32_t i = 0; i < learn->helpers && !rc; i++)
        rc = start_helper(&learn->list[i], log);
    return rc;
}

int kofn_sim_learn_open(const struct kofn_workload *workload, const struct kofn_conf *conf,
                        uint32_t threads, const struct kofn_log *log, struct kofn_sim_work *work,
                        struct kofn_sim_learn **learn_p)
{
    struct kofn_sim_learn *learn = calloc(1, sizeof(*learn));
    int rc;

    if (!learn)
        return kofn_error(log, KOFN_NO_MEMORY, "simulation: out of memory");
    learn->workload = workload;
    learn->workers = conf->workers;
    learn->helpers = threads - 1;
    pthread_mutex_init(&learn->lock, NULL);
    pthread_cond_init(&learn->wanted, NULL);
    pthread_cond_init(&learn->done, NULL);
    rc = open_parts(learn, conf, log);
    if (rc) {
        kofn_sim_learn_close(learn);
        return rc;
    }
    *work = (struct kofn_sim_work){.parameters = workload->parameters,
                                   .fresh = fresh,
                                   .begin = begin,
                                   .step = step,
                                   .gradient = gradient,
                                   .drop = drop,
                                   .arg = learn};
    *learn_p = learn;
    return 0;
}

void kofn_sim_learn_close(struct kofn_sim_learn *learn)
{
    if (!learn)
        return;
    pthread_mutex_lock(&learn->lock);
    learn->ending = true;
    pthread_cond_broadcast(&learn->wanted);
    pthread_mutex_unlock(&learn->lock);
    for (uint32_t i = 0; learn->list && i <= learn->helpers; i++) {
        if (learn->list[i].started)
            pthread_join(learn->list[i].thread, NULL);
        kofn_model_close(learn->list[i].model);
    }
    for (uint32_t rank = 0; learn->tasks && rank < learn->workers; rank++) {
        free(learn->tasks[rank].gradient);
        free(learn->tasks[rank].index);
        kofn_sgd_close(&learn->tasks[rank].sgd);
    }
    pthread_cond_destroy(&learn->done);
    pthread_cond_destroy(&learn->wanted);
    pthread_mutex_destroy(&learn->lock);
    free(learn->list);
    free(learn->tasks);
    free(learn);
}
