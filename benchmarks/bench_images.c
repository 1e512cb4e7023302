/* How many images a second 4 workers train on when one of them is 5 times slower: STSyn, 3 of 4.
 *
 * An update takes 40 ms of idle time on top of its computing, so that cores do not matter and
 * waiting does; of the slow worker all takes 5 times as long. Images count once their update is
 * merged.
 *
 * Contenders: the same job without the slow worker, and PyTorch DistributedDataParallel on gloo
 * with it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "benchmarks/child.h"
#include "benchmarks/harness.h"

#define WORKERS "4"
#define WAIT_FOR "3"
/* A closing round cuts off the update that the slow worker is at: with rounds of 2.4 of its updates
 * it loses 0.4 of them. */
#define LOCAL_STEPS "12"
#define FEATURES "256" /* of the built-in synthetic data */
#define CLASSES "10"
#define HIDDEN "128"
#define BATCH 64
#define BATCH_TEXT "64"
#define DELAY_MS "40"
#define FACTOR "5"
#define SECONDS "4" /* of a sample */
#define PATIENCE 60u

/* "rank=3,factor=5", or NULL: nobody is slow. */
struct job {
    const char *straggler;
};

/* Merged local updates of a job, times the batch, by its seconds; NaN if @text is not what it
 * should be.
 */
static double images_of(const char *file)
{
    json_t *result = json_load_file(file, 0, NULL), *worker;
    double seconds = json_number_value(json_object_get(result, "seconds")), images = NAN;
    json_int_t merged = 0;
    size_t i;

    json_array_foreach(json_object_get(result, "per_worker"), i, worker)
    {
        merged += json_integer_value(json_object_get(worker, "merged"));
        merged += json_integer_value(json_object_get(worker, "late"));
    }
    if (seconds > 0)
        images = (double)merged * BATCH / seconds;
    json_decref(result);
    return images;
}

/* Runs the job; its result goes to @file. */
static int run_job(const struct job *job, const char *program, const char *file)
{
    const char *const argv[] = {
        program,         "run",       "--workers",    WORKERS,
        "--wait-for",    WAIT_FOR,    "--algorithm",  "stsyn",
        "--local-steps", LOCAL_STEPS, "--model",      "mlp",
        "--hidden",      HIDDEN,      "--batch",      BATCH_TEXT,
        "--lr",          "0.05",      "--delay",      "uniform:" DELAY_MS "ms," DELAY_MS "ms",
        "--seconds",     SECONDS,     "--eval-every", "1000",
        "--quiet",       "--json",    file,           job->straggler ? "--straggler" : NULL,
        job->straggler,  NULL};
    char table[4096];
    int status, rc = bench_child_run(argv, PATIENCE, table, sizeof(table), &status);

    if (!rc && status)
        rc = kofn_error(NULL, KOFN_FORMAT, "kofn run: exit status %d", status);
    return rc;
}

static int measure_kofn(void *arg, double *images, const char **why)
{
    char folder[400], program[440], file[] = "/tmp/bench_images.XXXXXX";
    int rc = bench_child_folder(folder, sizeof(folder)), fd;

    if (rc)
        return rc;
    snprintf(program, sizeof(program), "%s/../kofn", folder);
    if (!bench_child_there(program)) {
        *why = "the kofn program was not built";
        return KOFN_UNSUPPORTED;
    }
    fd = mkstemp(file);
    if (fd < 0)
        return kofn_error_errno(NULL, "cannot make %s", file);
    rc = run_job(arg, program, file);
    *images = rc ? NAN : images_of(file);
    if (!rc && !(*images > 0))
        rc = kofn_error(NULL, KOFN_FORMAT, "kofn run: its result has no merged updates");
    close(fd);
    unlink(file);
    return rc;
}

static int measure_ddp(void *arg, double *images, const char **why)
{
    const char *const words[] = {WORKERS,  FEATURES, HIDDEN,  CLASSES, BATCH_TEXT,
                                 DELAY_MS, FACTOR,   SECONDS, NULL};

    (void)arg;
    return bench_child_python("ddp_images.py", words, PATIENCE, images, why);
}

static int run(struct bench *bench)
{
    static struct job slow = {.straggler = "rank=3,factor=" FACTOR}, even = {0};
    static struct bench_contender ours = {
        .name = "kofn, one worker slow", .measure = measure_kofn, .arg = &slow};
    static struct bench_contender none = {
        .name = "kofn, no worker slow", .measure = measure_kofn, .arg = &even};
    static struct bench_contender ddp = {.name = "DDP on gloo, one worker slow",
                                         .measure = measure_ddp};
    struct bench_contender *all[] = {&ours, &none, &ddp};
    int rc = bench_alternate(bench, all, KOFN_ARRAY_SIZE(all));

    if (!rc)
        rc = bench_compare(bench, "images a second, one of 4 workers 5x slower", "1/s", &ours,
                           &none, ">= 0.76");
    if (!rc)
        rc = bench_compare(bench, "images a second, one of 4 workers 5x slower", "1/s", &ours, &ddp,
                           ">= 3.5");
    return rc;
}

int main(int argc, char **argv)
{
    struct bench bench;
    int rc = bench_open(&bench, argc, argv, "Training with one slow worker.");

    if (rc)
        return rc > 0 ? 0 : 2;
    return bench_close(&bench, run(&bench));
}
