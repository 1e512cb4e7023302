/* fake_inside.h: the parts of the fake device: fake_objects.c has what is made and destroyed,
 * fake_queues.c what moves, fake_cm.c the connection manager.
 */
#ifndef KOFN_TESTS_VERBS_FAKE_INSIDE_H
#define KOFN_TESTS_VERBS_FAKE_INSIDE_H

#include <pthread.h>
#include <stddef.h>

#include "tests/verbs/fake.h"

#define FAKE_OBJECTS 8192 /* queue pairs, regions: their numbers are indices */
#define FAKE_EVENTS 64

struct fake_channel {
    struct ibv_comp_channel channel;
    struct ibv_cq *events[FAKE_EVENTS];
    unsigned head, tail;
};

struct fake_cq {
    struct ibv_cq cq;
    struct ibv_wc *ring;
    unsigned size, head, tail;
    enum { FAKE_UNARMED, FAKE_SOLICITED, FAKE_ANY } armed;
    unsigned users, unacked;
    bool overrun;
};

struct fake_receives {
    uint64_t *ring; /* wr_id of each */
    unsigned size, head, tail;
};

struct fake_srq {
    struct ibv_srq srq;
    struct fake_receives receives;
    unsigned users;
};

/* A request that was posted: with a copy of what it carries itself. */
struct fake_send {
    struct ibv_send_wr wr;
    struct ibv_sge piece;
    unsigned char *inlined;
};

struct fake_qp {
    struct ibv_qp qp;
    struct fake_send *ring;
    unsigned size, head, tail, retired; /* retired: those behind a completion that was polled */
    uint32_t inlined, remote, access;
    struct fake_receives receives;
    bool waits; /* has requests that could not be executed yet */
};

struct fake_context {
    struct verbs_context extended; /* its `context` is the one that is handed out */
    struct ibv_async_event events[FAKE_EVENTS];
    unsigned head, tail, unacked;
};

static inline struct fake_context *fake_context(struct ibv_context *base)
{
    return (struct fake_context *)(void *)((char *)base -
                                           offsetof(struct fake_context, extended.context));
}

struct fake_td {
    struct ibv_td td;
    unsigned users;
};

/* A domain; one that is made of another and of a thread domain keeps both in use. */
struct fake_pd {
    struct ibv_pd pd;
    struct fake_pd *below;
    struct fake_td *td;
    unsigned users;
};

struct fake_world {
    pthread_mutex_t lock;
    unsigned live;
    struct fake_qp *pairs[FAKE_OBJECTS];
    struct ibv_mr *regions[FAKE_OBJECTS];
    int access[FAKE_OBJECTS];
    uint32_t next_pair, next_region;
    bool held;
    unsigned waiting; /* queue pairs that do */
    const char *fail;
    unsigned calls, nth;
    int error;
};
extern struct fake_world fake_world;

void fake_lock(void);
void fake_unlock(void);

/* A context of @device, of the fake one if it is NULL, which is there for ever. */
struct ibv_context *fake_context_of(struct ibv_device *device);

/* True, with errno set, if this call is the one that is to fail. Takes the lock itself. */
bool fake_fails(const char *function);

/* fake_queues.c: the calls that go through a context, and what fake_objects.c needs of the rest. */
extern const struct ibv_context_ops fake_ops;
void fake_run(struct fake_qp *qp);
void fake_run_all(void);
void fake_note(struct fake_qp *qp, bool waits);
void fake_forget(struct ibv_cq *queue, uint32_t number);
void fake_break(struct fake_qp *qp, enum ibv_wc_status status);
void fake_raise(struct fake_context *context, enum ibv_event_type type, struct ibv_qp *pair);

#endif
