/* fake.h: an RDMA device inside this process, for tests on machines that have none.
 *
 * Programs that link these files have libibverbs replaced: the device `fake0` connects queue pairs
 * of this process with each other, checks every key, bound, right, state and depth as a device
 * does, and moves bytes at once, or when it is told to. Every call can be made to fail.
 *
 * Threads: any. What is destroyed too early or not at all is noticed: see fake_live().
 */
#ifndef KOFN_TESTS_VERBS_FAKE_H
#define KOFN_TESTS_VERBS_FAKE_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

/* How the connection manager fails, besides with the event of a step: not at all, without any event
 * from the step after the first on, by leading elsewhere, by swallowing confirmations, by keeping
 * them until it is set to something else (by fake_set_manager()), without any event at all.
 */
enum {
    FAKE_MANAGER_WORKS = -1,
    FAKE_MANAGER_SILENT = -2,
    FAKE_MANAGER_OTHER_DEVICE = -3,
    FAKE_MANAGER_UNCONFIRMED = -4,
    FAKE_MANAGER_SLOW = -5,
    FAKE_MANAGER_MUTE = -6
};

/* What the device is; fake_reset() makes it what it is here. */
struct fake_device {
    bool present, active; /* true */
    bool second;          /* `fake1` is there as well, and both have a global IPv6 address: false */
    bool in_order;        /* says that writes may be polled: false */
    uint32_t vendor;      /* that of no software device */
    uint32_t inlined;     /* bytes: 220; a request for more is refused */
    uint32_t message;     /* longest, in bytes: 1 GiB */
    int completions;      /* of a queue, at most: 32767 */
    enum ibv_atomic_cap atomic;
    enum ibv_transport_type transport;
    uint8_t link_layer; /* Ethernet */
    bool handles;       /* address handles can be made */
    bool domains;       /* there are thread domains: false */
    unsigned chatter;   /* so much more comes in, as fast as it is taken: completions of nobody's
                           queue pairs, events of connections of nobody's */
    int manager;        /* of connections: how it fails, an enum rdma_cm_event_type, or below */
};
extern struct fake_device fake_device;

/* What fake_device.manager is from now on, while other threads look at it. */
void fake_set_manager(int manager);

/* Back to the beginning; everything must have been destroyed. */
void fake_reset(void);

/* What the connection manager was given for its last step, in ms. */
int fake_step_ms(void);

/* Objects that have been made and not destroyed. */
unsigned fake_live(void);

/* The @nth call (from 1; 0 = each) of @function from here on fails with @error; NULL: none does. */
void fake_fail(const char *function, unsigned nth, int error);

/* Calls of it since then; 0 means that it was not reached. */
unsigned fake_failed(void);

/* While held, nothing that is sent arrives; then all of it does, in order. */
void fake_hold(bool held);

/* Something happens to all open devices. */
void fake_event(enum ibv_event_type type);

/* The device ends the queue pair with this number, and says so by an event. */
void fake_pair_event(enum ibv_event_type type, uint32_t number);

/* Every queue pair that is connected loses its connection, as after a link that was down for long.
 */
void fake_cut(void);

/* The same of the one with this number, and of the one it is connected with. */
void fake_cut_pair(uint32_t number);

#endif
