/* How long the gradient of a mini-batch takes: the model cnn on images of the shape of CIFAR-10's,
 * in one thread on one core; against the same network in PyTorch.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "benchmarks/child.h"
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "train/model.h"

#define BATCH 100
#define BATCHES 7 /* of a sample; their median */
#define WARM 2
#define SAMPLES 1000u
#define FEATURES (3 * 32 * 32)
#define PATIENCE 120u

#define WORD(number) #number
#define TEXT(number) WORD(number)

struct job {
    struct kofn_data data; /* pixels and labels at random */
    uint8_t pixels[SAMPLES * FEATURES], labels[SAMPLES];
    float mean[FEATURES];
    struct kofn_model *model; /* NULL: it is not built in */
    float *parameters, *gradient;
    struct kofn_random random;
};

static int open_job(struct job *job)
{
    struct kofn_model_attr attr = {.name = "cnn", .data = &job->data, .seed = 1, .batch = BATCH};
    int rc;

    kofn_random_seed(&job->random, 1, 1);
    for (size_t i = 0; i < SAMPLES * FEATURES; i++)
        job->pixels[i] = (uint8_t)kofn_random_next(&job->random);
    for (size_t i = 0; i < SAMPLES; i++)
        job->labels[i] = (uint8_t)kofn_random_below(&job->random, 10);
    for (size_t i = 0; i < FEATURES; i++)
        job->mean[i] = 127.5f;
    job->data = (struct kofn_data){.train = {job->pixels, job->labels, SAMPLES},
                                   .test = {job->pixels, job->labels, SAMPLES},
                                   .channels = 3,
                                   .height = 32,
                                   .width = 32,
                                   .features = FEATURES,
                                   .classes = 10,
                                   .mean = job->mean,
                                   .scale = 1 / 73.9f};
    rc = kofn_model_open(&attr, NULL, &job->model);
    if (rc)
        return rc == KOFN_UNSUPPORTED ? 0 : rc;
    job->parameters = calloc(kofn_model_parameters(job->model), sizeof(float));
    job->gradient = calloc(kofn_model_parameters(job->model), sizeof(float));
    if (!job->parameters || !job->gradient)
        return kofn_error(NULL, KOFN_NO_MEMORY, "a model");
    kofn_model_init(job->model, job->parameters);
    return 0;
}

static void close_job(struct job *job)
{
    kofn_model_close(job->model);
    free(job->parameters);
    free(job->gradient);
    free(job);
}

static double one_batch(struct job *job)
{
    uint32_t index[BATCH];
    uint64_t start;

    for (size_t i = 0; i < BATCH; i++)
        index[i] = (uint32_t)kofn_random_below(&job->random, SAMPLES);
    start = kofn_now_ns();
    kofn_model_gradient(job->model, job->parameters, &(struct kofn_batch){index, BATCH, 0},
                        job->gradient);
    return (double)(kofn_now_ns() - start) / 1e6;
}

static int measure_kofn(void *arg, double *ms, const char **why)
{
    struct job *job = arg;
    double took[BATCHES];

    if (!job->model) {
        *why = "kofn was built without oneDNN or OpenBLAS";
        return KOFN_UNSUPPORTED;
    }
    for (int i = 0; i < WARM; i++)
        one_batch(job);
    for (int i = 0; i < BATCHES; i++)
        took[i] = one_batch(job);
    *ms = bench_middle(took, BATCHES);
    return 0;
}

static int measure_torch(void *arg, double *ms, const char **why)
{
    const char *const words[] = {TEXT(BATCH), TEXT(BATCHES), NULL};

    (void)arg;
    return bench_child_python("cnn_batch.py", words, PATIENCE, ms, why);
}

static int run(struct bench *bench)
{
    struct job *job = calloc(1, sizeof(*job));
    struct bench_contender ours = {.name = "kofn", .measure = measure_kofn, .arg = job};
    struct bench_contender torch = {.name = "PyTorch", .measure = measure_torch};
    struct bench_contender *all[] = {&ours, &torch};
    int cpus[BENCH_CORES_MAX] = {-1}, rc;

    if (!job)
        return kofn_error(NULL, KOFN_NO_MEMORY, "%zu bytes", sizeof(*job));
    bench_cores(cpus, BENCH_CORES_MAX);
    rc = bench_pin(cpus[0]);
    if (!rc)
        rc = open_job(job);
    if (!rc)
        rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));
    if (!rc)
        rc = bench_compare(bench, "gradient of 100 images, model cnn, one thread", "ms", &ours,
                           &torch, "<= 1.0");
    close_job(job);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int rc = bench_open(&bench, argc, argv, "A mini-batch of the model cnn.");

    if (rc)
        return rc > 0 ? 0 : 2;
    return bench_close(&bench, run(&bench));
}
