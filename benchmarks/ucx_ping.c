#include "benchmarks/ucx_ping.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define PROGRAM "ucx_perftest"
#define TRIES 100 /* of the client, until the server listens: 5 s */

/* Is the program in one of the folders of PATH? */
static bool installed(void)
{
    const char *at = getenv("PATH");
    char path[4096];

    while (at && *at) {
        int length = (int)strcspn(at, ":");

        snprintf(path, sizeof(path), "%.*s/" PROGRAM, length, at);
        if (access(path, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* A port nobody has at the moment, or 0. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (fd < 0)
        return 0;
    if (bind(fd, (struct sockaddr *)&address, length) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        port = ntohs(address.sin_port);
    close(fd);
    return port;
}

/* Starts a side; its output goes to @output, or nowhere if that is negative. Returns its process,
 * or -1. */
static pid_t start(const struct ucx_ping *ping, bool client, int port, int output)
{
    char port_text[16], cpu[16], bytes[32], iterations[16];
    const char *argv[20];
    int argc = 0, nowhere;
    pid_t child = fork();

    if (child != 0)
        return child;
    snprintf(port_text, sizeof(port_text), "%d", port);
    snprintf(cpu, sizeof(cpu), "%d", client ? ping->here : ping->there);
    snprintf(bytes, sizeof(bytes), "%zu", ping->bytes);
    snprintf(iterations, sizeof(iterations), "%u", ping->iterations);
    argv[argc++] = PROGRAM;
    argv[argc++] = "-p";
    argv[argc++] = port_text;
    if (client ? ping->here >= 0 : ping->there >= 0) {
        argv[argc++] = "-c";
        argv[argc++] = cpu;
    }
    if (client) {
        const char *more[] = {"-t",       ping->test, "-s", bytes,      "-n",
                              iterations, "-f",       "-v", "127.0.0.1"};

        for (size_t i = 0; i < KOFN_ARRAY_SIZE(more); i++)
            argv[argc++] = more[i];
    }
    argv[argc] = NULL;
    nowhere = open("/dev/null", O_RDWR);
    dup2(nowhere, STDERR_FILENO);
    dup2(output >= 0 ? output : nowhere, STDOUT_FILENO);
    setenv("UCX_TLS", ping->transports, 1);
    setenv("UCX_WARN_UNUSED_ENV_VARS", "n", 1);
    execvp(PROGRAM, (char *const *)argv);
    _exit(127);
}

/* Reads all that @fd gives into @text, and ends it with a zero. */
static void read_all(int fd, char *text, size_t bytes)
{
    size_t used = 0;
    ssize_t got;

    while (used + 1 < bytes && (got = read(fd, text + used, bytes - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = 0;
}

/* Runs the client once: true, and its output, if it succeeded. */
static bool run_client(const struct ucx_ping *ping, int port, char *text, size_t bytes)
{
    int ends[2], status = -1;
    pid_t client;

    if (pipe2(ends, O_CLOEXEC))
        return false;
    client = start(ping, true, port, ends[1]);
    close(ends[1]);
    if (client > 0) {
        read_all(ends[0], text, bytes);
        waitpid(client, &status, 0);
    }
    close(ends[0]);
    return client > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* With -v -f the last line is `iterations,median,...`, in us. */
static int parse(const char *text, double *ns)
{
    const char *line = text;
    double median;

    for (const char *at = text; *at; at++)
        if (*at == '\n' && at[1])
            line = at + 1;
    if (sscanf(line, "%*u,%lf,", &median) != 1 || !(median > 0))
        return kofn_error(NULL, KOFN_FORMAT, PROGRAM ": output not understood: %.100s", line);
    *ns = median * 1000;
    return 0;
}

int ucx_ping_measure(const struct ucx_ping *ping, double *ns, const char **why)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    char text[4096] = "";
    bool ran = false;
    int port;
    pid_t server;

    if (!installed()) {
        *why = PROGRAM " is not installed (Debian: ucx-utils)";
        return KOFN_UNSUPPORTED;
    }
    port = free_port();
    server = start(ping, false, port, -1);
    if (server < 0)
        return kofn_error_errno(NULL, PROGRAM ": fork");
    for (int i = 0; i < TRIES && !ran; i++) {
        ran = run_client(ping, port, text, sizeof(text));
        if (!ran)
            nanosleep(&pause, NULL);
    }
    if (!ran)
        kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    if (!ran)
        return kofn_error(NULL, KOFN_SYSTEM, PROGRAM ": no client of %d could connect or finish",
                          TRIES);
    return parse(text, ns);
}
