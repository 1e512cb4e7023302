/* cluster.h: a server in this process and workers in processes of their own, for tests that stop
 * and kill them.
 *
 * Workers are whole training loops on the public API: every local update adds 1 to each parameter
 * and takes a given time. Time-outs are generous, because sanitizers and other people share the
 * machine; what is tested are orders of events, not their speed.
 */
#ifndef KOFN_TESTS_FAULT_CLUSTER_H
#define KOFN_TESTS_FAULT_CLUSTER_H

#include <CUnit/CUnit.h>
#include <kofn/kofn.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/clock.h"

#define CLUSTER_MAX 32
#define CLUSTER_PARAMETERS 1000
#define CLUSTER_PATIENCE (30 * KOFN_NS_PER_S)

struct cluster_log {
    struct kofn_log log;
    size_t used;
    char text[65536]; /* all messages, a line each */
};

struct cluster_worker {
    uint64_t update_ns; /* what a local update takes */
    uint32_t bad_from;  /* round from which its updates are NaN; 0 = never */
    uint64_t timeout;
    size_t parameters; /* 0 = CLUSTER_PARAMETERS */
    bool quits;        /* leaves in order after three rounds */
    pid_t victim;      /* gets @signal from it after three rounds; 0 = nobody does */
    int signal;
};

struct cluster {
    struct kofn_server_attr attr;
    struct kofn_server *server;
    struct kofn_round_report report; /* of the last step */
    struct cluster_worker workers[CLUSTER_MAX];
    pid_t pids[CLUSTER_MAX]; /* 0 = none */
    struct cluster_log log;
};

/* A log that keeps all messages; @log must not move afterwards. */
void cluster_log_init(struct cluster_log *log);

/* What the running suite is over, "shm" unless its set-up has said otherwise. */
extern const char *cluster_transport;

/* Registers suite @name with @add_tests, over TCP. A worker has a thread there, which TSan cannot
 * follow in a forked process: in a build with it, the suite is one test that is skipped.
 */
void cluster_suite_over_tcp(const char *name, void (*add_tests)(CU_pSuite suite));

/* An address for that transport that is free, to be known before the server is there. */
void cluster_address(char address[64]);

/* Zeroes @cluster and sets what every test wants: N workers of 2 ms a local update, stsyn, K = N.
 */
void cluster_init(struct cluster *cluster, uint32_t workers);

/* Opens the server, forks the workers and starts. Returns true if all went well. */
bool cluster_start(struct cluster *cluster);

/* Forks the worker of @rank. */
void cluster_fork(struct cluster *cluster, uint32_t rank);

/* One round, or more. Returns true if all of them closed. */
bool cluster_step(struct cluster *cluster, unsigned rounds);

/* Steps until @reached says so. Returns false if it has not within CLUSTER_PATIENCE. */
bool cluster_step_until(struct cluster *cluster, bool (*reached)(struct cluster *cluster));

struct kofn_member_report cluster_member(const struct cluster *cluster, uint32_t rank);

/* Ends the job and everything of it; stopped processes are continued first. Checks the account of
 * every worker. */
void cluster_end(struct cluster *cluster);

/* Sends @signal to the worker of @rank; after SIGSTOP returns once it has stopped, after SIGKILL
 * once it has ended. */
void cluster_signal(struct cluster *cluster, uint32_t rank, int signal);

/* Waits for @pid to end, at most CLUSTER_PATIENCE: its wait status, or -1. */
int cluster_wait(pid_t pid);

/* True if some message holds both parts. */
bool cluster_said(const struct cluster *cluster, const char *part, const char *other);

/* The training loop of a worker; returns its exit status: 0 after KOFN_JOB_OVER. */
int cluster_work(const char *address, uint32_t rank, const struct cluster_worker *worker,
                 const struct kofn_log *log);

#endif
