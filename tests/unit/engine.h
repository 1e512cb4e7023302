/* engine.h: the real server engine and real workers over the self transport, in one thread, for
 * tests.
 *
 * Nothing blocks: whoever would have to wait gets KOFN_INTERRUPTED and is called again later, so
 * every call of a worker is also a test of what it does when it is called again. Messages arrive
 * when the test says so. The clock is the real one, but a test can let any time pass at once.
 *
 * The model tells by itself what was merged: the i-th local update that the worker of rank r
 * finishes adds 1 to parameter r * ENGINE_UPDATES + i, which nothing else ever touches. So a
 * parameter is 0 if its update was not merged, and else the weight with which it was.
 */
#ifndef KOFN_TESTS_ENGINE_H
#define KOFN_TESTS_ENGINE_H

#include "core/server.h"
#include "core/worker.h"
#include "transports/self/self.h"

#define ENGINE_WORKERS 4
#define ENGINE_UPDATES 256 /* of a rank, over all its memberships */
#define ENGINE_PARAMETERS (ENGINE_WORKERS * ENGINE_UPDATES)
#define ENGINE_RECEIPTS 512

/* What the server waits for where nothing is said: far longer than a machine that is busy with
 * other things stands still, so that time passes only where a test lets it.
 */
#define ENGINE_GRACE (250 * KOFN_NS_PER_S)
#define ENGINE_SUSPECT (2000 * KOFN_NS_PER_S)

struct engine_worker {
    struct kofn_worker *handle; /* NULL = there is none */
    float model[ENGINE_PARAMETERS];
    uint32_t round;       /* of the model taken */
    uint32_t base, first; /* updates finished in earlier memberships; before this round */
    uint32_t finished;    /* in all */
    struct kofn_receipt receipts[ENGINE_RECEIPTS];
    uint32_t
        receipt_first[ENGINE_RECEIPTS]; /* index of the first update of the round it is about */
    uint32_t receipt_count;
    uint32_t first_of[ENGINE_UPDATES]; /* by sequence: index of the first update of its round */
};

struct engine {
    struct kofn_log log; /* says nothing */
    struct kofn_fabric *fabric;
    struct kofn_server *server;
    struct engine_worker workers[ENGINE_WORKERS];
    bool falls;      /* the loss of a worker's i-th update, from 0, is 1 / (1 + i); else 1 */
    bool reconnects; /* workers that have lost their connection get another one */
};

/* Attributes of N workers that wait for K with U local updates each. */
struct kofn_server_attr engine_attr(const char *algorithm, uint32_t workers, uint32_t wait_for,
                                    uint32_t local_steps);

/* Opens the server, lets all workers join and starts round 1 on a model of zeros. */
void engine_open(struct engine *engine, const struct kofn_server_attr *attr);
void engine_close(struct engine *engine);

/* From now on a worker whose connection is cut gets another one with its next take. */
void engine_reconnects(struct engine *engine);

/* A membership begins: KOFN_AGAIN while its slot is still in use; it ends in order, or by death. */
int engine_join(struct engine *engine, uint32_t rank);
void engine_leave(struct engine *engine, uint32_t rank);
void engine_die(struct engine *engine, uint32_t rank);

/* All that is under way arrives. */
void engine_deliver(struct engine *engine);

/* The server takes in what has arrived, and its clock ticks; it closes no round. */
void engine_serve(struct engine *engine);

/* The server takes in what has arrived and closes the round if it can: 0, or KOFN_TIMEOUT. */
int engine_step(struct engine *engine, struct kofn_round_report *report);

/* For the server, @ns pass at once. */
void engine_skip(struct engine *engine, uint64_t ns);

/* kofn_worker_take(); and one local update, reported. Receipts are read on the way. A NaN that was
 * put where the update adds its 1 stays one.
 */
int engine_take(struct engine *engine, uint32_t rank);
int engine_update(struct engine *engine, uint32_t rank);

/* Fills in what the update that @rank works at adds to its model, and reports it; again, if a
 * report was interrupted.
 */
int engine_report(struct engine *engine, uint32_t rank);

/* Everything arrives, and every worker that waits takes the next model. Returns how many did. */
uint32_t engine_take_all(struct engine *engine);

/* The parameter of the i-th update of @rank in the model published last. */
float engine_merged(const struct engine *engine, uint32_t rank, uint32_t index);

/* kofn_server_member(); and the last receipt that @rank has read. */
struct kofn_member_report engine_member(const struct engine *engine, uint32_t rank);
struct kofn_receipt engine_receipt(const struct engine *engine, uint32_t rank);

#endif
