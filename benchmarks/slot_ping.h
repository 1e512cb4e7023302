/* slot_ping.h: kofn over one of its transports, as a ping: a worker's process tells the server's
 * something, the server's answers with a gate. Both do what a server and a worker do anyway: they
 * look, and sleep, if they have to, in the transport's waits, which spin here, or sleep at once.
 *
 *   beat         one line: a beat goes there, a gate comes back
 *   publication  two lines, payload and stamp: filled, sent, found; a gate comes back
 */
#ifndef KOFN_BENCHMARKS_SLOT_PING_H
#define KOFN_BENCHMARKS_SLOT_PING_H

#include "transports/transport.h"

struct slot_ping;

struct slot_ping_attr {
    const struct kofn_transport_ops *transport;
    const char *options; /* the transport's own, may be NULL */
    unsigned bytes;      /* of payload */
    unsigned block;      /* round trips between two looks at the clock */
    bool sleeps;         /* neither side polls: who waits is woken */
    int here, there;     /* CPUs of server and worker, negative = any */
};

/* Starts the worker's process. Returns KOFN_NO_MEMORY, KOFN_SYSTEM or what the transport says
 * (logged).
 */
int slot_ping_open(const struct slot_ping_attr *attr, struct slot_ping **ping_p);

/* One sample, in ns one way, the median over @blocks blocks of attr.block round trips each. Returns
 * KOFN_GONE if the worker does not answer within seconds (logged).
 *
 * A beat takes half of its round trip. A publication takes what a beat does, and what its round
 * trip is longer than a beat's: the gate's way is the same in both. For that the two take turns,
 * and before each the worker takes its buffer and computes for a microsecond, so that the server
 * is waiting when it comes.
 *
 * @read  also time how it is judged and read; else the gate goes out as soon as it is found, and
 * that is done while the worker computes
 */
int slot_ping_beat(struct slot_ping *ping, unsigned blocks, double *ns);
int slot_ping_publication(struct slot_ping *ping, bool read, unsigned blocks, double *ns);

/* Ends the worker's process. NULL is allowed. */
void slot_ping_close(struct slot_ping *ping);

#endif
