#include "benchmarks/echo.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/log.h"
#include "base/mem.h"
#include "benchmarks/cores.h"

#define PATIENCE (1u << 28) /* turns without an answer: seconds */

/* What both see: the order, and on a line of its own that it is done. */
struct desk {
    KOFN_LINE_ALIGNED uint64_t order; /* number of the order, written last */
    void *address;
    uint64_t word;
    KOFN_LINE_ALIGNED uint64_t done;
};

struct echo {
    struct kofn_memory memory; /* a struct desk */
    uint64_t orders;
    pid_t child; /* 0 = none */
};

static _Noreturn void obey(struct desk *desk, int cpu, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || bench_pin(cpu))
        _exit(1);
    for (uint64_t next = 1;; next++) {
        while (kofn_peer_load64(&desk->order) != next)
            kofn_cpu_relax();
        kofn_peer_store64(desk->address, desk->word);
        kofn_peer_store64(&desk->done, next);
    }
}

int echo_open(int there, struct echo **echo_p)
{
    struct echo *echo = calloc(1, sizeof(*echo));
    pid_t parent = getpid();
    int rc;

    if (!echo)
        return kofn_error(NULL, KOFN_NO_MEMORY, "echo: out of memory");
    rc = kofn_memory_map_shared(&echo->memory, "echo", sizeof(struct desk),
                                KOFN_MEMORY_PLAIN | KOFN_MEMORY_POPULATE, NULL);
    if (rc)
        goto free_echo;
    if (there >= 0)
        echo->child = fork();
    if (echo->child < 0) {
        rc = kofn_error_errno(NULL, "echo: fork");
        goto unmap_memory;
    }
    if (there >= 0 && echo->child == 0)
        obey(echo->memory.address, there, parent);
    *echo_p = echo;
    return 0;

unmap_memory:
    kofn_memory_unmap(&echo->memory);
free_echo:
    free(echo);
    return rc;
}

bool echo_write(struct echo *echo, void *address, uint64_t word)
{
    struct desk *desk = echo->memory.address;

    if (!echo->child) {
        kofn_peer_store64(address, word);
        return true;
    }
    desk->address = address;
    desk->word = word;
    kofn_peer_store64(&desk->order, ++echo->orders);
    for (uint32_t turns = 0; kofn_peer_load64(&desk->done) != echo->orders; turns++) {
        if (turns == PATIENCE)
            return false;
        kofn_cpu_relax();
    }
    return true;
}

void echo_close(struct echo *echo)
{
    if (!echo)
        return;
    if (echo->child) {
        kill(echo->child, SIGKILL);
        waitpid(echo->child, NULL, 0);
    }
    kofn_memory_unmap(&echo->memory);
    free(echo);
}
