/* kofn.h: K-of-N data-parallel training: what a training loop links against.
 *
 * A server publishes a model; N workers take it, do local updates and send what they have. A round
 * closes when the K fastest are in; whoever is slower goes on, and its finished work is merged too.
 * No function here waits for a worker without a deadline.
 *
 * Units: models and updates are arrays of `parameters` f32 in host memory. Durations are
 * nanoseconds. Ownership: a handle owns its slots, sockets and threads and gives them back at
 * close; arrays passed in stay the caller's and are not kept after the call, except where a
 * function says so. Threads: different handles may be used by different threads; one handle by one
 * thread at a time. Errors: 0 (or a positive enum kofn_progress) on success, else a negative enum
 * kofn_status; the cause has been written to the handle's log by then, with the rank it concerns.
 * Outputs are set only on success. Signals: a worker's wait that a signal interrupts returns
 * KOFN_INTERRUPTED, with nothing half done; a server's goes on, until its handler calls
 * kofn_server_interrupt().
 */
#ifndef KOFN_KOFN_H
#define KOFN_KOFN_H

#include <kofn/types.h>
#include <kofn/version.h>

#ifdef __cplusplus
extern "C" {
#endif

/* the library is built with hidden visibility: these are what it exports */
#pragma GCC visibility push(default)

/* ---- status and names ---- */

/* The text, the name ("KOFN_TIMEOUT") and the scope of a status; never NULL. Thread-safe. */
const char *kofn_status_text(int status);
const char *kofn_status_name(int status);
enum kofn_scope kofn_status_scope(int status);

/* Lower-case words for tables and JSON ("ready", "slow", ...; "compute", ...), never NULL.
 * Thread-safe. */
const char *kofn_member_state_name(enum kofn_member_state state);
const char *kofn_cause_name(enum kofn_cause cause);

/* The version of the library that is linked, "0.1.0"; compare with KOFN_VERSION of the headers. */
const char *kofn_version(void);

/* How long a wait may poll on this machine before it sleeps, for a process that shares the CPUs it
 * is allowed with @threads threads in all: 0 where they outnumber the CPUs or a cgroup quota would
 * be burnt, else 50 us.
 */
uint64_t kofn_spin_budget(uint32_t threads);

/* ---- worker ---- */

/* Connects to a server and joins its job with rank @attr->rank.
 * Waits for a server that is not there yet until @attr->timeout.
 * Returns KOFN_TIMEOUT (no server), KOFN_REFUSED (wrong sizes, rank taken or out of range, another
 * transport or workload: the server's reason is logged), KOFN_UNSUPPORTED (this build lacks the
 * server's transport), KOFN_PROTOCOL, KOFN_NO_MEMORY, KOFN_SYSTEM; KOFN_INTERRUPTED by a signal
 * while there was no server yet.
 */
int kofn_worker_open(const struct kofn_worker_attr *attr, struct kofn_worker **worker_p);

/* Leaves the job in order, tells the server how much was finished, and frees everything. NULL is
 * allowed. Bounded in time; an update that was not published yet is not waited for.
 */
void kofn_worker_close(struct kofn_worker *worker);

/* The job that was joined; valid until close. */
const struct kofn_job *kofn_worker_job(const struct kofn_worker *worker);

/* Takes the next model: waits until there is one for this worker and copies it to @model. If the
 * connection has failed, over a network, another one is made first, for up to the worker's timeout:
 * the membership is a new one then (kofn_job.epoch), what the former one had not got merged is
 * lost, and receipts of it that were not read are, too. Finished updates that missed their round
 * are sent first; so @model must still be as it was last reported: an update that is dropped must
 * not have touched it.
 *
 * @model  in and out: kofn_job.parameters f32
 * @round  out, may be NULL: the round that the following local updates belong to
 * Returns 0; KOFN_JOB_OVER; KOFN_TIMEOUT or KOFN_GONE if the server is silent or dead; KOFN_EPOCH
 * if this worker was evicted (open a new handle to rejoin); KOFN_REFUSED if it lost its connection
 * and may not come back (another process has its rank); KOFN_INTERRUPTED.
 */
int kofn_worker_take(struct kofn_worker *worker, float *model, uint32_t *round);

/* Takes the next model as kofn_worker_take() does, but copies nothing: @model is where the server
 * has published it, to be read only, kofn_job.parameters f32, until the next take or view. For jobs
 * whose payload is GRADIENT.
 *
 * The server does not wait for who looks: it writes the second model after this one to the same
 * place. An update that is reported later than that is dropped and not counted, because nobody
 * knows what it was computed on; so a worker that may be more than a round late is better off with
 * a copy.
 *
 * Returns what kofn_worker_take() does; KOFN_UNSUPPORTED if the payload is DELTA, if updates on
 * earlier models count like others (kasync, kbatch-async) or if the transport cannot show models.
 */
int kofn_worker_view(struct kofn_worker *worker, const float **model, uint32_t *round);

/* Registered memory in which the next update is to be filled, kofn_job.parameters f32, for jobs
 * whose payload is GRADIENT; NULL for jobs of DELTA payload, whose updates kofn computes from the
 * model passed to kofn_worker_report(), and when the job is over, the server gone or a signal has
 * interrupted the wait for a free buffer: kofn_worker_report() then counts nothing and says which
 * (KOFN_INTERRUPTED: call this again). Valid until the next report. Contents are undefined. Call it
 * after a successful take, before each local update.
 */
float *kofn_worker_gradient(struct kofn_worker *worker);

/* Reports one finished local update, and publishes if the job's mode says so and a buffer is free.
 *
 * @model   the worker's parameters after the update (DELTA); ignored for GRADIENT
 * @update  may be NULL
 * Returns 0: go on with another local update on the same model; KOFN_ROUND_OVER: take the next
 * model (also where the connection has failed, which the take will see to); KOFN_GONE, KOFN_TIMEOUT
 * as for take; KOFN_INTERRUPTED: the same call again goes on with it.
 */
int kofn_worker_report(struct kofn_worker *worker, const float *model,
                       const struct kofn_update *update);

/* 0 while the round this worker computes in is open, else KOFN_ROUND_OVER. One load: call it as
 * often as you like, for instance between layers, to drop a local update that can no longer be on
 * time.
 */
int kofn_worker_check(const struct kofn_worker *worker);

/* Sleeps for @duration, or until the round is over: returns 0 or KOFN_ROUND_OVER, or an error as
 * take does. */
int kofn_worker_pause(struct kofn_worker *worker, uint64_t duration);

/* The next receipt this worker has not read yet: 0, or KOFN_AGAIN if there is none. Receipts that
 * were not read in time are overwritten, oldest first.
 */
int kofn_worker_receipt(struct kofn_worker *worker, struct kofn_receipt *receipt);

/* ---- server ---- */

/* Opens a server that workers can connect to; they are served from kofn_server_start() on.
 * Whoever forks workers does so before this call, and gives them the address beforehand
 * (attr.address): a process that is forked later holds the server's descriptors, through which it
 * could write what is the server's alone. (Its mappings are not inherited.)
 * Returns KOFN_INVALID (which attribute and why is logged), KOFN_UNSUPPORTED, KOFN_NO_MEMORY,
 * KOFN_SYSTEM.
 */
int kofn_server_open(const struct kofn_server_attr *attr, struct kofn_server **server_p);

/* Ends the job: tells the workers, waits for those that live to leave, but at most 2 s, and frees
 * everything. NULL is allowed.
 */
void kofn_server_close(struct kofn_server *server);

/* What workers pass as their address; valid until close. */
const char *kofn_server_address(const struct kofn_server *server);

/* Publishes the first model as soon as all N workers have joined, or, after attr.join_timeout, if
 * at least the quorum has; else KOFN_TIMEOUT, and the message lists who is missing.
 *
 * @model  kofn_server_attr.parameters f32, copied
 */
int kofn_server_start(struct kofn_server *server, const float *model);

/* Serves the workers until the current round has closed, its members are merged and the next model
 * is out. Workers are served, and hear that the server lives, in here alone: one that does
 * something else for longer than their timeout (kofn_worker_attr, 30 s) is given up by them as
 * hung.
 *
 * @timeout  gives up after this long (KOFN_TIMEOUT; the round stays open and a later call goes on
 * with it)
 * @report   out, may be NULL; its size must be set
 * Returns 0, KOFN_TIMEOUT, KOFN_GONE if no worker is left that could close it (one
 * whose connection has failed may come back, and is waited for during attr.peer_timeout),
 * KOFN_INTERRUPTED, KOFN_SYSTEM.
 */
int kofn_server_step(struct kofn_server *server, uint64_t timeout,
                     struct kofn_round_report *report);

/* The model published last, kofn_server_attr.parameters f32; valid until the next step. */
const float *kofn_server_model(const struct kofn_server *server);

/* What is known of worker @rank. Returns KOFN_INVALID if there is no such rank. @report->size must
 * be set. */
int kofn_server_member(const struct kofn_server *server, uint32_t rank,
                       struct kofn_member_report *report);

/* Ends the job for the workers: they get KOFN_JOB_OVER and leave; waits for them at most @timeout.
 * Afterwards kofn_server_member() gives the final counts. kofn_server_close() calls it where it was
 * not called.
 */
int kofn_server_stop(struct kofn_server *server, uint64_t timeout);

/* Makes a kofn_server_step() that runs in another thread, or the next one, return KOFN_INTERRUPTED.
 * The one function that may be called from another thread or a signal handler.
 */
void kofn_server_interrupt(struct kofn_server *server);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
