#include "benchmarks/raw_tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"

#define TRIPS_MAX 10000u
#define PATIENCE (1u << 26) /* turns without an answer: seconds */

struct raw_tcp {
    int here, there;
    bool sleeps;
    int fd;
    int orders[2]; /* pipe: how many round trips to answer */
    pid_t child;
    uint64_t word;
};

static bool receive(int fd, uint64_t *word, bool sleeps)
{
    for (unsigned turns = 0; turns < PATIENCE; turns++) {
        ssize_t got = recv(fd, word, sizeof(*word), sleeps ? 0 : MSG_DONTWAIT);

        if (got == sizeof(*word))
            return true;
        if (got >= 0 || errno != EAGAIN)
            return false;
    }
    return false;
}

static bool send_word(int fd, uint64_t word)
{
    return send(fd, &word, sizeof(word), MSG_NOSIGNAL) == sizeof(word);
}

/* The other process: sleeps in read() until told how many to answer. */
static void answer(const struct raw_tcp *ping, int fd)
{
    uint64_t trips, word;

    while (read(ping->orders[0], &trips, sizeof(trips)) == sizeof(trips))
        for (; trips > 0; trips--)
            if (!receive(fd, &word, ping->sleeps) || !send_word(fd, word))
                return;
}

static void child_main(const struct raw_tcp *ping, int fd, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ping->orders[1]);
    if (getppid() == parent && bench_pin(ping->there) == 0)
        answer(ping, fd);
    _exit(0);
}

/* Two connected sockets over loopback. */
static int connect_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, rc = 0;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || fds[0] < 0 || bind(listener, (struct sockaddr *)&address, length) ||
        getsockname(listener, (struct sockaddr *)&address, &length) || listen(listener, 1) ||
        connect(fds[0], (struct sockaddr *)&address, length) ||
        (fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        rc = kofn_error_errno(NULL, "ping: a connection");
    for (int i = 0; rc == 0 && i < 2; i++)
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    close(listener);
    return rc;
}

int raw_tcp_open(int here, int there, bool sleeps, struct raw_tcp **ping_p)
{
    struct raw_tcp *ping = calloc(1, sizeof(*ping));
    pid_t parent = getpid();
    int fds[2] = {-1, -1}, rc;

    if (!ping)
        return kofn_error(NULL, KOFN_NO_MEMORY, "ping: out of memory");
    ping->here = here;
    ping->there = there;
    ping->sleeps = sleeps;
    rc = connect_pair(fds);
    if (rc)
        goto free_ping;
    if (pipe(ping->orders)) {
        rc = kofn_error_errno(NULL, "ping: pipe");
        goto close_pair;
    }
    ping->child = fork();
    if (ping->child < 0) {
        rc = kofn_error_errno(NULL, "ping: fork");
        goto close_pipe;
    }
    if (ping->child == 0)
        child_main(ping, fds[1], parent);
    close(fds[1]);
    close(ping->orders[0]);
    ping->fd = fds[0];
    *ping_p = ping;
    return 0;

close_pipe:
    close(ping->orders[0]);
    close(ping->orders[1]);
close_pair:
    close(fds[0]);
    close(fds[1]);
free_ping:
    free(ping);
    return rc;
}

void raw_tcp_close(struct raw_tcp *ping)
{
    if (!ping)
        return;
    kill(ping->child, SIGKILL); /* children of later pings hold the pipe open too */
    waitpid(ping->child, NULL, 0);
    close(ping->orders[1]);
    close(ping->fd);
    free(ping);
}

static bool trip(struct raw_tcp *ping)
{
    return send_word(ping->fd, ping->word) && receive(ping->fd, &ping->word, ping->sleeps);
}

int raw_tcp_measure(struct raw_tcp *ping, unsigned trips, double *ns)
{
    double times[TRIPS_MAX];
    uint64_t ordered, before, after;
    int rc = bench_pin(ping->here);

    if (rc)
        return rc;
    trips = KOFN_MIN(KOFN_MAX(trips, 1u), TRIPS_MAX);
    ordered = trips + 1;
    if (write(ping->orders[1], &ordered, sizeof(ordered)) != sizeof(ordered) || !trip(ping))
        return kofn_error(NULL, KOFN_GONE, "ping: the other process does not answer");
    before = kofn_now_ns();
    for (unsigned i = 0; i < trips; i++) { /* the one above has woken the other */
        if (!trip(ping))
            return kofn_error(NULL, KOFN_GONE, "ping: the other process does not answer");
        after = kofn_now_ns();
        times[i] = (double)(after - before);
        before = after;
    }
    *ns = bench_middle(times, trips) / 2;
    return 0;
}
