#include "benchmarks/raw_ping.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"

#define BLOCK 100 /* round trips between two looks at the clock */
#define BLOCKS_MAX 10000u
#define PATIENCE (1u << 30) /* turns without an answer: seconds */

/* What goes one way. The payload is the line before the word, as in a slot. */
struct way {
    KOFN_LINE_ALIGNED uint64_t payload;
    KOFN_LINE_ALIGNED uint64_t word;
};

struct raw_ping {
    struct kofn_memory memory; /* two of struct way: there, and back */
    struct way *ways;
    unsigned lines;
    bool relax;
    int here, there;
    int orders[2]; /* pipe: how many round trips to answer */
    pid_t child;
    uint64_t sequence;
};

static inline void send_line(struct way *way, uint64_t sequence, unsigned lines)
{
    if (lines == 2)
        __atomic_store_n(&way->payload, sequence, __ATOMIC_RELAXED);
    kofn_peer_store64(&way->word, sequence);
}

/* Spins until @sequence is there: true, or false after a long while. */
static inline bool receive_line(const struct way *way, uint64_t sequence,
                                const struct raw_ping *ping)
{
    for (unsigned turns = 0; kofn_peer_load64(&way->word) != sequence; turns++) {
        if (turns == PATIENCE)
            return false;
        if (ping->relax)
            kofn_cpu_relax();
    }
    return ping->lines == 1 || __atomic_load_n(&way->payload, __ATOMIC_RELAXED) == sequence;
}

/* The other process: sleeps in read() until told how many to answer. */
static void answer(const struct raw_ping *ping)
{
    uint64_t trips, sequence = 0;

    while (read(ping->orders[0], &trips, sizeof(trips)) == sizeof(trips))
        for (; trips > 0; trips--) {
            if (!receive_line(&ping->ways[0], ++sequence, ping))
                return;
            send_line(&ping->ways[1], sequence, ping->lines);
        }
}

static void child_main(const struct raw_ping *ping, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ping->orders[1]);
    if (getppid() == parent && bench_pin(ping->there) == 0)
        answer(ping);
    _exit(0);
}

int raw_ping_open(unsigned lines, bool relax, int here, int there, struct raw_ping **ping_p)
{
    struct raw_ping *ping = calloc(1, sizeof(*ping));
    pid_t parent = getpid();
    int rc;

    if (!ping)
        return kofn_error(NULL, KOFN_NO_MEMORY, "ping: out of memory");
    ping->lines = lines;
    ping->relax = relax;
    ping->here = here;
    ping->there = there;
    rc = kofn_memory_map_shared(&ping->memory, "ping", 2 * sizeof(struct way),
                                KOFN_MEMORY_PLAIN | KOFN_MEMORY_POPULATE, NULL);
    if (rc)
        goto free_ping;
    ping->ways = ping->memory.address;
    if (pipe(ping->orders)) {
        rc = kofn_error_errno(NULL, "ping: pipe");
        goto unmap_memory;
    }
    ping->child = fork();
    if (ping->child < 0) {
        rc = kofn_error_errno(NULL, "ping: fork");
        goto close_pipe;
    }
    if (ping->child == 0)
        child_main(ping, parent);
    close(ping->orders[0]);
    *ping_p = ping;
    return 0;

close_pipe:
    close(ping->orders[0]);
    close(ping->orders[1]);
unmap_memory:
    kofn_memory_unmap(&ping->memory);
free_ping:
    free(ping);
    return rc;
}

void raw_ping_close(struct raw_ping *ping)
{
    if (!ping)
        return;
    close(ping->orders[1]);
    kill(ping->child,
         SIGKILL); /* children of later pings hold the pipe open too, so it does not end */
    waitpid(ping->child, NULL, 0);
    kofn_memory_unmap(&ping->memory);
    free(ping);
}

static bool run_block(struct raw_ping *ping)
{
    struct way *out = &ping->ways[0], *back = &ping->ways[1];

    for (int i = 0; i < BLOCK; i++) {
        send_line(out, ++ping->sequence, ping->lines);
        if (!receive_line(back, ping->sequence, ping))
            return false;
    }
    return true;
}

int raw_ping_measure(struct raw_ping *ping, unsigned blocks, double *ns)
{
    uint64_t trips, before, after;
    double times[BLOCKS_MAX];
    int rc;

    blocks = KOFN_MIN(KOFN_MAX(blocks, 1u), BLOCKS_MAX);
    trips = (uint64_t)BLOCK * (blocks + 1);
    rc = bench_pin(ping->here);
    if (rc)
        return rc;
    if (write(ping->orders[1], &trips, sizeof(trips)) != sizeof(trips) || !run_block(ping))
        return kofn_error(NULL, KOFN_GONE, "ping: the other process does not answer");
    before = kofn_now_ns();
    for (unsigned i = 0; i < blocks;
         i++) { /* the block above, which has woken the other, is not counted */
        if (!run_block(ping))
            return kofn_error(NULL, KOFN_GONE, "ping: the other process does not answer");
        after = kofn_now_ns();
        times[i] = (double)(after - before);
        before = after;
    }
    *ns = bench_middle(times, blocks) / BLOCK / 2;
    return 0;
}
