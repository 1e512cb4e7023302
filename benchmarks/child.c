#include "benchmarks/child.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define WORDS 16 /* of a script's command line */

bool bench_child_there(const char *program)
{
    const char *at = getenv("PATH");
    char path[4096];

    if (strchr(program, '/'))
        return access(program, X_OK) == 0;
    while (at && *at) {
        int length = (int)strcspn(at, ":");

        snprintf(path, sizeof(path), "%.*s/%s", length, at, program);
        if (access(path, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

int bench_child_folder(char *folder, size_t room)
{
    ssize_t length = readlink("/proc/self/exe", folder, room);
    char *slash;

    if (length < 0 || (size_t)length >= room)
        return kofn_error_errno(NULL, "cannot tell where this program is");
    folder[length] = '\0';
    slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    return 0;
}

/* In the child: output to @pipe, a process group of its own so that its children go with it. */
static void become(const char *const *argv, int output)
{
    setpgid(0, 0);
    dup2(output, STDOUT_FILENO);
    execvp(argv[0], (char *const *)argv);
    fprintf(stderr, "%s: cannot be run\n", argv[0]);
    _exit(CHILD_ABSENT);
}

/* Reads until the end of the stream. Returns KOFN_TIMEOUT at @deadline. */
static int collect(int input, uint64_t deadline, char *output, size_t room)
{
    size_t used = 0;
    char spare[256];

    for (;;) {
        struct pollfd ready = {.fd = input, .events = POLLIN};
        uint64_t now = kofn_now_ns();
        bool full = used + 1 >= room;
        ssize_t got;

        if (now >= deadline)
            return KOFN_TIMEOUT;
        if (poll(&ready, 1, (int)((deadline - now) / KOFN_NS_PER_MS) + 1) <= 0)
            continue;
        got =
            full ? read(input, spare, sizeof(spare)) : read(input, output + used, room - used - 1);
        if (got <= 0)
            break;
        used += full ? 0 : (size_t)got;
    }
    output[used] = '\0';
    return 0;
}

int bench_child_run(const char *const *argv, unsigned seconds, char *output, size_t room,
                    int *status)
{
    uint64_t deadline = kofn_deadline(kofn_now_ns(), seconds * KOFN_NS_PER_S);
    int ends[2], rc, how = 0;
    pid_t child;

    if (pipe(ends))
        return kofn_error_errno(NULL, "%s: pipe", argv[0]);
    fflush(NULL);
    child = fork();
    if (child == 0)
        become(argv, ends[1]);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return kofn_error_errno(NULL, "%s: fork", argv[0]);
    }
    rc = collect(ends[0], deadline, output, room);
    close(ends[0]);
    if (rc)
        kill(-child, SIGKILL);
    waitpid(child, &how, 0);
    if (rc)
        return kofn_error(NULL, rc, "%s: no answer in %u s", argv[0], seconds);
    *status = WIFEXITED(how) ? WEXITSTATUS(how) : -1;
    return 0;
}

int bench_child_python(const char *script, const char *const *words, unsigned seconds,
                       double *value, const char **why)
{
    /* a python of the user's own need not be the one that has the system's PyTorch */
    static const char *const pythons[] = {"python3", "/usr/bin/python3"};
    const char *argv[WORDS] = {NULL};
    char path[800], output[256];
    int status = CHILD_ABSENT, rc = 0;

    snprintf(path, sizeof(path), "%s/%s", BENCH_SOURCES, script);
    argv[1] = path;
    for (size_t i = 0; words[i] && i + 3 < WORDS; i++)
        argv[i + 2] = words[i];
    for (size_t i = 0; !rc && status == CHILD_ABSENT && i < KOFN_ARRAY_SIZE(pythons); i++) {
        argv[0] = pythons[i];
        if (bench_child_there(pythons[i]))
            rc = bench_child_run(argv, seconds, output, sizeof(output), &status);
    }
    if (rc)
        return rc;
    if (status == CHILD_ABSENT) {
        *why = "python3 with PyTorch and gloo is not installed";
        return KOFN_UNSUPPORTED;
    }
    if (status || sscanf(output, "%lf", value) != 1)
        return kofn_error(NULL, KOFN_FORMAT, "%s: exit status %d, output '%.80s'", script, status,
                          output);
    return 0;
}
