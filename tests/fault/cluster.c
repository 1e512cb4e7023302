#include "tests/fault/cluster.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/racy.h"
#include "tests/lib/runner.h"

const char *cluster_transport = "shm";

static int over_tcp(void)
{
    cluster_transport = "tcp";
    return 0;
}

static void skip_all(void)
{
    kofn_test_skip("TSan does not know threads of forked processes");
}

void cluster_suite_over_tcp(const char *name, void (*add_tests)(CU_pSuite suite))
{
    CU_pSuite suite = CU_add_suite(name, over_tcp, NULL);

    if (KOFN_THREAD_SANITIZER)
        CU_add_test(suite, "all", skip_all);
    else
        add_tests(suite);
}

void cluster_address(char address[64])
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = sizeof(where);

    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&where, sizeof(where)), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&where, &bytes), 0);
    close(fd);
    if (strcmp(cluster_transport, "shm"))
        snprintf(address, 64, "tcp:127.0.0.1:%u", ntohs(where.sin_port));
    else
        snprintf(address, 64, "shm:fault-test-%d", (int)getpid());
}

static void keep(void *arg, enum kofn_log_level level, const char *message)
{
    struct cluster_log *log = arg;
    int length = snprintf(log->text + log->used, sizeof(log->text) - log->used, "%s\n", message);

    (void)level;
    log->used = KOFN_MIN(log->used + (size_t)length, sizeof(log->text) - 1);
}

void cluster_log_init(struct cluster_log *log)
{
    log->used = 0;
    log->text[0] = '\0';
    log->log = (struct kofn_log){KOFN_LOG_INFO, keep, log};
}

void cluster_init(struct cluster *cluster, uint32_t workers)
{
    memset(cluster, 0, sizeof(*cluster));
    cluster_log_init(&cluster->log);
    cluster->report.size = sizeof(cluster->report);
    cluster->attr = (struct kofn_server_attr){.size = sizeof(cluster->attr),
                                              .workers = workers,
                                              .parameters = CLUSTER_PARAMETERS,
                                              .algorithm = "stsyn",
                                              .wait_for = workers,
                                              .local_steps = 5,
                                              .join_timeout = CLUSTER_PATIENCE,
                                              .log = &cluster->log.log,
                                              .transport = cluster_transport};
    for (uint32_t rank = 0; rank < workers; rank++)
        cluster->workers[rank] =
            (struct cluster_worker){.update_ns = 2 * KOFN_NS_PER_MS, .timeout = CLUSTER_PATIENCE};
}

/* A process that was stopped may find its waits interrupted when it is continued. */
static int pause_for(struct kofn_worker *handle, uint64_t duration)
{
    uint64_t until = kofn_now_ns() + duration, now;
    int rc;

    do {
        now = kofn_now_ns();
        rc = kofn_worker_pause(handle, until > now ? until - now : 0);
    } while (rc == KOFN_INTERRUPTED);
    return rc;
}

/* One local update: the time it takes, and its effect. A gradient of -1 has the same one as
 * adding 1. */
static int update(struct kofn_worker *handle, const struct cluster_worker *worker, uint32_t round,
                  float *model)
{
    size_t parameters = kofn_worker_job(handle)->parameters;
    bool bad = worker->bad_from && round >= worker->bad_from;
    float *gradient = kofn_worker_gradient(handle);
    float *target = gradient ? gradient : model;
    int rc = pause_for(handle, worker->update_ns);

    if (rc)
        return rc;
    for (size_t i = 0; i < parameters; i++)
        target[i] = gradient ? -1 : model[i] + 1;
    if (bad)
        target[parameters / 2] = NAN;
    do
        rc = kofn_worker_report(handle, model, NULL);
    while (rc == KOFN_INTERRUPTED);
    return rc;
}

int cluster_work(const char *address, uint32_t rank, const struct cluster_worker *worker,
                 const struct kofn_log *log)
{
    struct kofn_worker_attr attr = {.size = sizeof(attr),
                                    .address = address,
                                    .rank = rank,
                                    .parameters = worker->parameters ? worker->parameters
                                                                     : CLUSTER_PARAMETERS,
                                    .timeout = worker->timeout,
                                    .log = log};
    float *model = calloc(attr.parameters, sizeof(*model));
    struct kofn_worker *handle;
    uint32_t round;
    int rc = model ? kofn_worker_open(&attr, &handle) : KOFN_NO_MEMORY;

    if (rc) {
        free(model);
        return 1;
    }
    for (int taken = 0; !rc && !(worker->quits && taken == 3); taken++) {
        if (worker->victim && taken == 3)
            kill(worker->victim, worker->signal);
        do
            rc = kofn_worker_take(handle, model, &round);
        while (rc == KOFN_INTERRUPTED);
        while (!rc)
            rc = update(handle, worker, round, model);
        rc = rc == KOFN_ROUND_OVER ? 0 : rc;
    }
    kofn_worker_close(handle);
    free(model);
    return rc == 0 || rc == KOFN_JOB_OVER ? 0 : 1;
}

void cluster_fork(struct cluster *cluster, uint32_t rank)
{
    static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR};
    pid_t pid = fork();

    if (pid == 0) {
        close_range(STDERR_FILENO + 1, ~0u, 0); /* what the server holds, it alone is to hold */
        _exit(cluster_work(kofn_server_address(cluster->server), rank, &cluster->workers[rank],
                           &quiet));
    }
    cluster->pids[rank] = pid;
}

bool cluster_start(struct cluster *cluster)
{
    float *model = calloc(cluster->attr.parameters, sizeof(*model));
    bool good = model && !kofn_server_open(&cluster->attr, &cluster->server);

    for (uint32_t rank = 0; good && rank < cluster->attr.workers; rank++)
        cluster_fork(cluster, rank);
    good = good && !kofn_server_start(cluster->server, model);
    free(model);
    return good;
}

bool cluster_step(struct cluster *cluster, unsigned rounds)
{
    cluster->report.size = sizeof(cluster->report);
    while (rounds--)
        if (kofn_server_step(cluster->server, CLUSTER_PATIENCE, &cluster->report))
            return false;
    return true;
}

bool cluster_step_until(struct cluster *cluster, bool (*reached)(struct cluster *cluster))
{
    uint64_t deadline = kofn_now_ns() + CLUSTER_PATIENCE;

    while (!reached(cluster))
        if (kofn_now_ns() > deadline || !cluster_step(cluster, 1))
            return false;
    return true;
}

struct kofn_member_report cluster_member(const struct cluster *cluster, uint32_t rank)
{
    struct kofn_member_report member = {.size = sizeof(member)};

    CU_ASSERT_EQUAL(kofn_server_member(cluster->server, rank, &member), 0);
    return member;
}

int cluster_wait(pid_t pid)
{
    struct pollfd process = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int ready = poll(&process, 1, (int)(CLUSTER_PATIENCE / KOFN_NS_PER_MS));
    int status = -1;

    if (ready == 1)
        waitpid(pid, &status, 0);
    if (process.fd >= 0)
        close(process.fd);
    return status;
}

void cluster_signal(struct cluster *cluster, uint32_t rank, int signal)
{
    siginfo_t info;
    int state = signal == SIGSTOP ? WSTOPPED : signal == SIGCONT ? WCONTINUED : WEXITED;

    kill(cluster->pids[rank], signal);
    waitid(P_PID, (id_t)cluster->pids[rank], &info, state);
    if (signal == SIGKILL)
        cluster->pids[rank] = 0;
}

bool cluster_said(const struct cluster *cluster, const char *part, const char *other)
{
    const char *line = cluster->log.text;

    while (*line) {
        const char *end = strchrnul(line, '\n'); /* the log may be full in the middle of a line */
        const char *first = strstr(line, part), *second = strstr(line, other);

        if (first && first < end && second && second < end)
            return true;
        line = *end ? end + 1 : end;
    }
    printf("# no message has \"%s\" and \"%s\" in it; all messages:\n# %s\n", part, other,
           cluster->log.text);
    return false;
}

/* Nothing finished may be missing from the account once everybody has left. */
static void check_account(const struct cluster *cluster, uint32_t rank)
{
    struct kofn_member_report member = cluster_member(cluster, rank);

    CU_ASSERT_EQUAL(member.finished, member.merged + member.late + member.refused + member.lost);
}

void cluster_end(struct cluster *cluster)
{
    for (uint32_t rank = 0; rank < cluster->attr.workers; rank++)
        if (cluster->pids[rank])
            kill(cluster->pids[rank], SIGCONT);
    if (!cluster->server)
        return;
    kofn_server_stop(cluster->server, CLUSTER_PATIENCE);
    for (uint32_t rank = 0; rank < cluster->attr.workers; rank++)
        check_account(cluster, rank);
    for (uint32_t rank = 0; rank < cluster->attr.workers; rank++)
        if (cluster->pids[rank])
            CU_ASSERT_EQUAL(cluster_wait(cluster->pids[rank]), 0);
    kofn_server_close(cluster->server);
}
