/* contract.h: what transports/transport.h promises, as tests that run against every transport.
 *
 * A transport has a fixture: how a job of it is set up, and what of the contract depends on what it
 * is. Everything else in the suite knows transport.h alone. A world is a hub and its endpoints in
 * this process; where a fixture says `concurrent`, tests put ends into threads and processes.
 */
#ifndef KOFN_TESTS_CONTRACT_H
#define KOFN_TESTS_CONTRACT_H

#include <CUnit/CUnit.h>

#include "base/random.h"
#include "tests/lib/runner.h"
#include "transports/transport.h"

struct contract_fixture {
    const char *name;
    const struct kofn_transport_ops *ops;

    /* The context of hub and endpoints, for so many workers; both may be NULL. */
    void *(*open)(uint32_t workers);
    void (*close)(void *context);

    /* Everything that has been sent arrives; NULL if it does so by itself. */
    void (*settle)(void *context);

    const char *options; /* of hub and endpoints, as --transport-option has them */
    bool concurrent;     /* ends may be in different threads and processes, and waits sleep */
    bool one_process;    /* but not in different processes */
    bool reclaim_waits;  /* a slot is not free before its worker's process has ended */
};

#define WORLD_MAX 64
#define WORLD_SECONDS 30 /* a wait that is not over by then has failed */

struct world {
    void *context;
    uint32_t workers;
    struct kofn_geometry geometry; /* of slots and models */
    struct kofn_hub *hub;
    struct kofn_endpoint *endpoints[WORLD_MAX]; /* NULL = not joined */
    uint64_t arrived[WORLD_MAX];                /* newest publication taken from each rank */
};

/* The fixture the running suite is for, and its table. */
const struct contract_fixture *contract_fixture(void);
const struct kofn_transport_ops *contract_ops(void);

/* Adds a suite for @fixture, which lives as long as the program. */
void contract_add(const struct contract_fixture *fixture);

/* What tests of a suite that is added otherwise run against. */
void contract_use(const struct contract_fixture *fixture);

/* Logs nothing: most of what the suite does wrong, it does on purpose. */
extern const struct kofn_log contract_quiet;

/* A hub for @workers updates of @bytes; nobody has joined. A failure ends the test. */
void world_open(struct world *world, uint32_t workers, uint64_t bytes, uint32_t depth,
                uint64_t spin);
void world_close(struct world *world);

/* The same, of depth 3, for publications that are kept and read. */
void world_open_pull(struct world *world, uint32_t workers, uint64_t bytes);

/* The attributes an endpoint of @rank is opened with. */
struct kofn_endpoint_attr world_endpoint_attr(const struct world *world, uint32_t rank,
                                              uint32_t epoch, uint64_t spin);

/* Admits @rank, opens its endpoint and connects the two. */
void world_join(struct world *world, uint32_t rank, uint32_t epoch);

/* The same for all, with epoch 1. */
void world_join_all(struct world *world);

void world_settle(struct world *world);

/* Fills and publishes publication @sequence of @rank; its content depends on (rank, epoch,
 * sequence).
 */
void world_publish(struct world *world, uint32_t rank, uint64_t sequence);

/* The same for an endpoint that is no longer, or not yet, in a world. */
void endpoint_fill(struct kofn_endpoint *endpoint, uint64_t sequence);
int endpoint_publish(struct kofn_endpoint *endpoint, uint64_t sequence);

/* Its stamp; fills and keeps it as a snapshot. */
struct kofn_stamp endpoint_stamp(const struct kofn_endpoint *endpoint, uint64_t sequence);
void endpoint_keep(struct kofn_endpoint *endpoint, uint64_t sequence);

/* The gate of @endpoint, or @seen while it is that or torn: a device may copy a word byte by byte,
 * and who counts gates must not take half of one for another.
 */
uint64_t endpoint_gate(const struct kofn_endpoint *endpoint, uint64_t seen);

/* True if all bytes at @payload are those of this publication. */
bool payload_is(const void *payload, uint64_t bytes, uint32_t rank, uint32_t epoch,
                uint64_t sequence);

/* Fills @bytes at @payload so that payload_is(). */
void payload_fill(void *payload, uint64_t bytes, uint32_t rank, uint32_t epoch, uint64_t sequence);

/* Takes arrivals until @count have come; asserts that each is the next of its rank, and whole.
 * Gives up after WORLD_SECONDS. Returns how many came.
 */
int world_take(struct world *world, int count, uint32_t epoch);

/* Takes what is there now, without waiting, and asserts the same. */
int world_take_now(struct world *world, uint32_t epoch);

/* Waits until the beat of @rank is @beat, or the gate of @rank is @gate; false if it never is. */
bool world_await_beat(struct world *world, uint32_t rank, uint64_t beat);
bool world_await_gate(struct world *world, uint32_t rank, uint64_t gate);

/* Waits until @rank has the receipt of @sequence. */
bool world_await_receipt(struct world *world, uint32_t rank, uint64_t sequence,
                         struct kofn_receipt_line *line);

/* Fills and publishes model @sequence in hub->models and pushes it to all who have joined. */
void world_publish_model(struct world *world, uint64_t sequence);

/* WORLD_SECONDS from now. */
uint64_t contract_deadline(void);

/* @full, or a few where a test runs many times slower (KOFN_TEST_ROUNDS sets how many at most). */
uint32_t contract_rounds(uint32_t full);

/* Open descriptors of this process. */
int contract_fds(void);

#define CONTRACT_TEST(suite, function) CU_add_test(suite, &#function[sizeof("test_") - 1], function)

/* Each adds its tests. */
void contract_flow(CU_pSuite suite);     /* test_flow.c: publications, beats, gates, models */
void contract_wait(CU_pSuite suite);     /* test_wait.c: sleeping and waking */
void contract_patience(CU_pSuite suite); /* test_patience.c: what is worth waking for */
void contract_view(CU_pSuite suite);     /* test_view.c: models where they lie */
void contract_read(CU_pSuite suite);     /* test_read.c: snapshots that are kept and read */
void contract_evict(CU_pSuite suite);  /* test_evict.c: leaving, late writes, rejoining, closing */
void contract_offers(CU_pSuite suite); /* test_offers.c: what comes from the other side */
void contract_kill(CU_pSuite suite);   /* test_kill.c: processes that die */

#endif
