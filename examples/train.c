/* train.c: a training loop on libkofn: a server and four workers fit a line to points of their own.
 *   cc train.c $(pkg-config --cflags --libs kofn) -o train && ./train
 * Worker 3 is eight times slower: no round waits for it, and its work is merged all the same, late.
 */
#include <kofn/kofn.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, PARAMETERS = 2, SLOW = 3, ROUNDS = 60 };

/* One mini-batch of y = 3x + 2: the gradient of the mean squared error at @model, and the loss. */
static float gradient(const float *model, unsigned *seed, float *result)
{
    float loss = result[0] = result[1] = 0;

    for (int i = 0; i < 16; i++) {
        float x = (float)rand_r(seed) / (float)RAND_MAX * 2 - 1;
        float error = model[0] * x + model[1] - (3 * x + 2);

        result[0] += 2 * error * x / 16;
        result[1] += 2 * error / 16;
        loss += error * error / 16;
    }
    return loss;
}

static int work(const char *address, uint32_t rank)
{
    struct kofn_worker_attr attr = {
        .size = sizeof(attr), .address = address, .rank = rank, .parameters = PARAMETERS};
    struct kofn_worker *worker;
    float model[PARAMETERS], slope[PARAMETERS];
    unsigned seed = rank + 1;
    int rc = kofn_worker_open(&attr, &worker);

    if (rc)
        return rc;
    while ((rc = kofn_worker_take(worker, model, NULL)) == 0) {
        do {
            struct kofn_update update = {.loss = gradient(model, &seed, slope)};

            usleep(rank == SLOW ? 8000 : 1000); /* more work */
            model[0] -= 0.1f * slope[0];
            model[1] -= 0.1f * slope[1];
            rc = kofn_worker_report(worker, model, &update);
        } while (rc == 0);
        if (rc < 0)
            break;
    }
    kofn_worker_close(worker);
    return rc == KOFN_JOB_OVER ? 0 : rc;
}

static int serve(struct kofn_server *server)
{
    struct kofn_member_report member = {.size = sizeof(member)};
    float model[PARAMETERS] = {0, 0};
    int rc = kofn_server_start(server, model);

    for (int i = 0; i < ROUNDS && !rc; i++)
        rc = kofn_server_step(server, 10000000000, NULL);
    if (!rc)
        rc = kofn_server_stop(server, 2000000000);
    printf("y = %.2f x + %.2f\n", kofn_server_model(server)[0], kofn_server_model(server)[1]);
    for (uint32_t rank = 0; rank < WORKERS && !kofn_server_member(server, rank, &member); rank++)
        printf("rank %u: %llu local updates, %llu merged, %llu late\n", rank,
               (unsigned long long)member.finished, (unsigned long long)member.merged,
               (unsigned long long)member.late);
    return rc;
}

int main(void)
{
    char address[64];
    struct kofn_server_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .workers = WORKERS,
                                    .parameters = PARAMETERS,
                                    .wait_for = 3, /* of four, with five local updates each */
                                    .local_steps = 5};
    struct kofn_server *server;
    int rc;

    snprintf(address, sizeof(address), "shm:train-%d", (int)getpid());
    /* forked before the server is opened, workers hold nothing of it: they wait for it */
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        if (fork() == 0)
            _exit(work(address, rank) ? EXIT_FAILURE : EXIT_SUCCESS);
    if (kofn_server_open(&attr, &server))
        return EXIT_FAILURE;
    rc = serve(server);
    kofn_server_close(server);
    while (wait(NULL) > 0)
        ;
    return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
