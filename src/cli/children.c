#include "cli/children.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/stop.h"

#define REAP_POLL_MS 5

/* A worker's end of the pipe: one write a line, so that lines of several workers do not mix. */
static void send_line(void *arg, enum kofn_log_level level, const char *message)
{
    const int *fd = arg;
    char line[KOFN_LOG_LINE + 4];
    int length = snprintf(line, sizeof(line), "%c%.*s\n", '0' + (int)level, KOFN_LOG_LINE, message);

    if (length >= (int)sizeof(line))
        length = (int)sizeof(line) - 1;
    /* a parent that is gone does not print any more, and then nobody else does it */
    if (write(*fd, line, (size_t)length) < 0)
        fprintf(stderr, "kofn: %s\n", message);
}

/* Waits until the parent says go: false if it ended, or gave up, before that. */
static bool may_go(int gate)
{
    char word;
    ssize_t n;

    while ((n = read(gate, &word, 1)) < 0 && errno == EINTR)
        ;
    return n == 1;
}

static _Noreturn void be_worker(int fd, int gate, uint32_t rank,
                                int (*work)(void *arg, uint32_t rank, const struct kofn_log *log),
                                void *arg, const struct kofn_log *parent)
{
    struct kofn_log log = {.level = parent->level, .write = send_line, .arg = &fd};

    kofn_stop_in_worker();
    if (!may_go(gate))
        _exit(KOFN_EXIT_FAILED);
    close(gate);
    /* no exit handlers and no flushing: they belong to the parent */
    _exit(work(arg, rank, &log));
}

/* Forks the process of @rank. @theirs: their ends of the two pipes. */
static int start_one(struct kofn_children *children, uint32_t rank, const int theirs[2],
                     int (*work)(void *arg, uint32_t rank, const struct kofn_log *log), void *arg)
{
    pid_t pid = fork();

    if (!pid) {
        close(children->messages);
        close(children->gate); /* or it would never see the parent close it */
        be_worker(theirs[0], theirs[1], rank, work, arg, children->log);
    }
    if (pid < 0)
        return kofn_error_errno(children->log, "rank %u: its process could not be started", rank);
    children->list[rank].pid = pid;
    children->running++;
    return 0;
}

int kofn_children_start(struct kofn_children *children, uint32_t count,
                        int (*work)(void *arg, uint32_t rank, const struct kofn_log *log),
                        void *arg, const struct kofn_log *log)
{
    int messages[2], gate[2], theirs[2], rc = 0;

    memset(children, 0, sizeof(*children));
    children->messages = children->gate = -1;
    children->log = log;
    children->list = calloc(count, sizeof(*children->list));
    if (!children->list)
        return kofn_error(log, KOFN_NO_MEMORY, "%u workers: no memory", count);
    children->count = count;
    if (pipe2(messages, O_CLOEXEC)) {
        rc = kofn_error_errno(log, "workers: no pipe for their messages");
        goto end;
    }
    if (pipe2(gate, O_CLOEXEC)) {
        rc = kofn_error_errno(log, "workers: no pipe to start them");
        close(messages[0]);
        close(messages[1]);
        goto end;
    }
    fcntl(messages[0], F_SETFL, O_NONBLOCK);
    children->messages = messages[0];
    children->gate = gate[1];
    theirs[0] = messages[1];
    theirs[1] = gate[0];
    fflush(NULL); /* what is buffered is to be written once */
    for (uint32_t rank = 0; rank < count && !rc; rank++)
        rc = start_one(children, rank, theirs, work, arg);
    close(messages[1]);
    close(gate[0]);
end:
    if (rc)
        kofn_children_end(children, 0);
    return rc;
}

void kofn_children_go(struct kofn_children *children)
{
    static const char go[KOFN_PAGE]; /* a byte for each: a pipe takes so many at a time */

    for (uint32_t left = children->count; left && children->gate >= 0;) {
        ssize_t n = write(children->gate, go, KOFN_MIN(left, sizeof(go)));

        if (n < 0 && errno != EINTR)
            break; /* none is left to read it */
        left -= n > 0 ? (uint32_t)n : 0;
    }
    close(children->gate);
    children->gate = -1;
}

/* Prints the complete lines there are. */
static void print_lines(struct kofn_children *children)
{
    char *start = children->line, *end;

    while ((end = memchr(start, '\n', children->used - (size_t)(start - children->line)))) {
        *end = '\0';
        if (end > start)
            kofn_log(children->log, (enum kofn_log_level)(*start - '0'), "%s", start + 1);
        start = end + 1;
    }
    children->used -= (size_t)(start - children->line);
    memmove(children->line, start, children->used);
    if (children->used == sizeof(children->line))
        children->used = 0; /* longer than any line of ours */
}

static void read_messages(struct kofn_children *children)
{
    ssize_t n;

    if (children->messages < 0)
        return;
    while ((n = read(children->messages, children->line + children->used,
                     sizeof(children->line) - children->used)) > 0) {
        children->used += (size_t)n;
        print_lines(children);
    }
    if (!n) { /* no worker is left that could say anything */
        close(children->messages);
        children->messages = -1;
    }
}

static void reap(struct kofn_children *children)
{
    char text[KOFN_CHILD_TEXT];

    for (uint32_t rank = 0; rank < children->count && children->running; rank++) {
        struct kofn_child *child = &children->list[rank];

        if (!child->pid || child->ended || waitpid(child->pid, &child->status, WNOHANG) <= 0)
            continue;
        child->ended = true;
        children->running--;
        if (child->status)
            kofn_log(children->log, WIFSIGNALED(child->status) ? KOFN_LOG_WARN : KOFN_LOG_INFO,
                     "rank %u (pid %d): %s", rank, (int)child->pid, kofn_child_end(child, text));
    }
}

void kofn_children_look(struct kofn_children *children)
{
    if (!children->list)
        return;
    reap(children);
    read_messages(children); /* after reaping, so that last words are there */
}

int64_t kofn_children_failed(const struct kofn_children *children)
{
    for (uint32_t rank = 0; rank < children->count; rank++)
        if (children->list[rank].ended && children->list[rank].status)
            return rank;
    return -1;
}

const char *kofn_child_end(const struct kofn_child *child, char text[KOFN_CHILD_TEXT])
{
    if (WIFSIGNALED(child->status))
        snprintf(text, KOFN_CHILD_TEXT, "killed by signal %d (%s)", WTERMSIG(child->status),
                 strsignal(WTERMSIG(child->status)));
    else
        snprintf(text, KOFN_CHILD_TEXT, "ended with status %d", WEXITSTATUS(child->status));
    return text;
}

/* Kills whoever is left; a process that is stopped or hangs ends by this too. */
static void kill_rest(struct kofn_children *children, bool warn)
{
    for (uint32_t rank = 0; rank < children->count; rank++) {
        struct kofn_child *child = &children->list[rank];

        if (!child->pid || child->ended)
            continue;
        if (warn)
            kofn_log(children->log, KOFN_LOG_WARN, "rank %u (pid %d): did not leave; killed", rank,
                     (int)child->pid);
        kill(child->pid, SIGKILL);
        while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
            ;
        child->ended = true;
        children->running--;
    }
}

void kofn_children_end(struct kofn_children *children, uint64_t deadline)
{
    if (!children->list)
        return;
    if (children->gate >= 0) /* those that still wait for it end by themselves */
        close(children->gate);
    children->gate = -1;
    kofn_children_look(children);
    while (children->running && kofn_now_ns() < deadline) {
        poll(NULL, 0, REAP_POLL_MS); /* SIGCHLD ends it early */
        kofn_children_look(children);
    }
    kill_rest(children, deadline != 0);
    read_messages(children);
    if (children->messages >= 0)
        close(children->messages);
    free(children->list);
    memset(children, 0, sizeof(*children));
    children->messages = children->gate = -1;
}
