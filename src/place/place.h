/* place.h: which CPU polls, which ones compute, which memory node holds the slots, and whether
 * anybody may spin.
 *
 * kofn_place_choose() is pure: the same topology and request give the same map, in every process of
 * a host, so workers that are started apart agree without talking. It starts from the CPUs that are
 * allowed, never from the numbering of the host. The rest (binding, printing) does what the map
 * says. Placing is a help, not a need: where the kernel refuses, there is a warning, and the job
 * goes on.
 *
 * With S server threads (0 or 1), M compute threads, C cores and P CPUs (hyper-threads) that are
 * allowed:
 *
 *   S + M <= C  the server has a core to itself, on the memory node of its network device; every
 * compute thread has a core to itself S + M <= P  every thread has a CPU to itself, and no core
 * gets two compute threads while another has none else        nothing is bound: all compute threads
 * share all allowed CPUs, so that none waits for a CPU while another one idles; the server shares
 * those of its memory node. A static choice would have to stack two threads on one CPU and make
 * stragglers of both
 *
 * Bound threads are spread by hwloc. A worker's threads stay on one memory node as long as all
 * workers can.
 *
 * Who may spin: a spinning thread must not take time from a computing one. Never with fewer CPUs
 * than threads, or with a CPU quota for fewer CPUs than there are threads; and not with fewer cores
 * than threads unless it was asked for, because a hyper-thread that spins slows the other one of
 * its core.
 */
#ifndef KOFN_PLACE_PLACE_H
#define KOFN_PLACE_PLACE_H

#include "place/quota.h"
#include "place/topology.h"

#define KOFN_PLACE_WORKERS_MAX 65536   /* workers of one host */
#define KOFN_PLACE_THREADS_MAX 1048576 /* compute threads of one host, all workers together */
#define KOFN_SPIN_BUDGET_NS                                                                        \
    UINT64_C(50000) /* about what falling asleep and waking up costs: spinning that long           \
                     * at most doubles the cost of any wait */

enum kofn_spin {
    KOFN_SPIN_AUTO, /* for KOFN_SPIN_BUDGET_NS where every thread has a core */
    KOFN_SPIN_YES,  /* without end where every thread has a CPU */
    KOFN_SPIN_NO,
};

/* What is to be placed on this host. Zeroed fields are the defaults. */
struct kofn_place_request {
    unsigned workers;               /* 0 for a server alone */
    unsigned threads;               /* compute threads of each worker; 0 = 1 */
    bool server;                    /* a server's poll thread lives here too */
    const char *nic;                /* the network device the server uses, "mlx5_0"; NULL = none */
    enum kofn_spin spin;            /* what the user wants */
    const struct kofn_cpus *within; /* use these of the allowed CPUs alone; NULL = all */
    struct kofn_cpu_quota quota;    /* of this process, from kofn_cpu_quota_read() */
};

/* Where one thread runs. */
struct kofn_place {
    int cpu;  /* the CPU it has to itself; -1 = not bound, it shares the CPUs of its kind */
    int core; /* kofn_topology_core() of it; -1 = not bound, or not known */
    int node; /* the memory node that is nearest; -1 = several are, or not known */
};

/* Plain data, but for @compute, which kofn_place_free() frees. */
struct kofn_place_map {
    unsigned workers, threads; /* as requested */
    bool server;               /* as requested */
    struct kofn_cpus
        cpus; /* what may be used; shared by the compute threads where they are not bound */
    struct kofn_cpus poll_cpus;                 /* the server's: one CPU, or those of its node */
    unsigned cpu_count, core_count, node_count; /* of cpus */
    struct kofn_place poll;     /* the server's poll thread; its slots should come from poll.node */
    struct kofn_place *compute; /* [workers * threads], a worker's threads side by side */
    bool spin_ok;               /* may a waiting thread keep its CPU? */
    uint64_t
        spin_ns; /* for how long before it sleeps; 0 = not at all, KOFN_FOREVER = without end */
    char spin_why[96]; /* "2 CPUs for 9 threads", "cgroup cpu.max 150% for 2 threads" */
    int refused;       /* atomic; 1 = the kernel refused to bind a thread, and that was said */
};

/* A thread of a map: the server's, one of a worker's, or a worker as a whole. */
struct kofn_place_who {
    int worker; /* -1 = the server */
    int thread; /* -1 = all threads of the worker */
};

static inline struct kofn_place_who kofn_place_server(void)
{
    return (struct kofn_place_who){-1, -1};
}

/* A worker's main thread before it starts others: threads started later inherit all CPUs of the
 * worker. */
static inline struct kofn_place_who kofn_place_worker(unsigned worker)
{
    return (struct kofn_place_who){(int)worker, -1};
}

static inline struct kofn_place_who kofn_place_thread(unsigned worker, unsigned thread)
{
    return (struct kofn_place_who){(int)worker, (int)thread};
}

/* Makes the map. An unknown network device, or one whose node may not be used, is a warning; so is
 * spinning that was asked for and is not possible.
 *
 * Returns 0; KOFN_INVALID for a request without threads, beyond the limits, or of which no CPU is
 * allowed; KOFN_NO_MEMORY (all logged).
 */
int kofn_place_choose(const struct kofn_topology *topology,
                      const struct kofn_place_request *request, const struct kofn_log *log,
                      struct kofn_place_map *map);

/* A zeroed map or one from kofn_place_choose(). */
void kofn_place_free(struct kofn_place_map *map);

/* The CPUs and the memory node (-1: several, or not known) of @who. KOFN_INVALID, not logged, if
 * @who is not in the map.
 */
int kofn_place_cpus(const struct kofn_place_map *map, struct kofn_place_who who,
                    struct kofn_cpus *cpus);
int kofn_place_node(const struct kofn_place_map *map, struct kofn_place_who who, int *node_p);

/* Binds the calling thread. Where the kernel refuses, it warns once a map and returns 0.
 *
 * A process forked from one that was refused does not warn again, so the one that forks can ask
 * first, for all: see kofn_place_probe(). Returns KOFN_INVALID (logged) if @who is not in the map.
 */
int kofn_place_bind_thread(struct kofn_place_map *map, struct kofn_place_who who,
                           const struct kofn_log *log);

/* Finds out whether the kernel lets threads be bound, and warns if not, by binding the calling
 * thread to what it is bound to already. For a process that is about to fork workers.
 */
void kofn_place_probe(struct kofn_place_map *map, const struct kofn_log *log);

/* Calls @line with a few lines of text, without newlines, that show the map to a person:
 *
 *   4 CPUs (0-3) on 4 cores, 1 memory node
 *   poll thread: core 0 (CPU 0), node 0
 *   worker 0: core 1 (CPU 1), node 0
 *   worker 1: core 2 (CPU 2), node 0
 *   spinning: 50 us, then sleep (every thread has a core)
 *
 * More than KOFN_PLACE_LINES workers are one line a memory node.
 */
#define KOFN_PLACE_LINES 8
void kofn_place_print(const struct kofn_place_map *map, void (*line)(void *arg, const char *text),
                      void *arg);

#endif
