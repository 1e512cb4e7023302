#include "cli/stop.h"

#include <kofn/kofn.h>
#include <signal.h>
#include <stddef.h>

#include "base/clock.h"

/* One request may come as two signals, to the process and to its group: not so far apart. */
#define SAME_NS (250 * KOFN_NS_PER_MS)

static volatile sig_atomic_t asked;
static volatile uint64_t asked_ns; /* of the first; written before `asked`, by one thread alone */
static struct kofn_server *volatile woken;

/* The first request is noted; a second one is for who does not want to wait for the first. */
static void ask(int number)
{
    uint64_t now = kofn_now_ns();

    if (!asked) {
        asked_ns = now;
        asked = number;
    } else if (now - asked_ns > SAME_NS) {
        signal(number, SIG_DFL);
        raise(number); /* comes once this handler has returned */
    }
}

static void note(int number)
{
    if (number != SIGCHLD)
        ask(number);
    if (woken)
        kofn_server_interrupt(woken);
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void kofn_stop_install(void)
{
    handle(SIGINT, note, 0);
    handle(SIGTERM, note, 0);
    handle(SIGHUP, note, 0);
    handle(SIGCHLD, note, SA_NOCLDSTOP);
    handle(SIGPIPE, SIG_IGN, 0); /* a closed standard output is an error of a write */
}

void kofn_stop_wakes(struct kofn_server *server)
{
    woken = server;
    if (server && asked)
        kofn_server_interrupt(server);
}

int kofn_stop_signal(void)
{
    return asked;
}

void kofn_stop_in_worker(void)
{
    woken = NULL;
    handle(SIGINT, SIG_IGN, 0);
    handle(SIGTERM, SIG_IGN, 0);
    handle(SIGHUP, SIG_IGN, 0);
    handle(SIGCHLD, SIG_DFL, 0);
}
