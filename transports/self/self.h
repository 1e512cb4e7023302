/* self.h: the reference transport: a network inside one thread, of which a test is the master.
 *
 * Everything that a transport moves becomes a message in a queue of the fabric, and arrives when
 * the test says so: in order or not, late, cut off in the middle, or never. Nothing here reads a
 * clock or runs by itself, so a history that is given again happens again.
 *
 *   fabric   one per job; kofn_hub_attr.context and kofn_endpoint_attr.context
 *   link     a rank's four queues, each in order: DATA and BEAT to the hub, DOWN to the endpoint,
 *            READ for what the hub reads there: stamp, payload, and the stamp again
 *
 * It models one-sided writes as verbs has them: the endpoint's buffers and models are its own
 * memory; nothing announces a payload but its stamp; a payload that is being written does not
 * withdraw the stamp it overwrites. A membership has a generation: what was sent in an older one is
 * thrown away and counted, whenever it arrives.
 *
 * Threads: one for the fabric, its hub and its endpoints together.
 */
#ifndef KOFN_TRANSPORTS_SELF_H
#define KOFN_TRANSPORTS_SELF_H

#include "transports/transport.h"

extern const struct kofn_transport_ops kofn_self;

struct kofn_fabric;

enum kofn_fabric_channel {
    KOFN_CHANNEL_DATA, /* payloads and stamps to the hub; a publication is two messages */
    KOFN_CHANNEL_BEAT, /* beats to the hub */
    KOFN_CHANNEL_DOWN, /* gates, receipts, models and their stamps, in the order of the calls */
    KOFN_CHANNEL_READ, /* a snapshot is three messages; all of them again if it was overwritten */
    KOFN_CHANNELS
};

enum kofn_message_kind {
    KOFN_MESSAGE_PAYLOAD,
    KOFN_MESSAGE_STAMP,
    KOFN_MESSAGE_BEAT,
    KOFN_MESSAGE_GATE,
    KOFN_MESSAGE_RECEIPT,
    KOFN_MESSAGE_MODEL,
    KOFN_MESSAGE_MODEL_STAMP,
    KOFN_MESSAGE_READ_STAMP,
    KOFN_MESSAGE_READ_PAYLOAD,
    KOFN_MESSAGE_READ_CHECK,
};

struct kofn_fabric_attr {
    uint32_t workers;
    uint64_t seed;    /* of kofn_fabric_scatter() */
    bool automatic;   /* a wait delivers everything that is due before it returns */
    bool pushed_only; /* endpoint_fetch() sees pushed models alone; else it may read the hub's, too
                       */

    /* May be NULL. Called in every wait, in place of sleeping, with what was passed to the wait:
     * the scheduler of the test, which may deliver and let others act. @rank is UINT32_MAX for the
     * hub. Its status is the wait's.
     */
    int (*progress)(void *arg, uint32_t rank, uint64_t deadline);
    void *arg;
    const struct kofn_log *log;
};

/* What has happened to messages so far. */
struct kofn_fabric_counts {
    uint64_t posted;
    uint64_t delivered; /* whole, in the generation they were meant for */
    uint64_t torn;      /* of them only a part was */
    uint64_t dropped;   /* by the test, by chance, or with their link */
    uint64_t discarded; /* arrived in a later generation, or after the end: changed nothing */
    uint64_t refilled;  /* payloads whose buffer was changed before they had left: mistakes of the
                           endpoint's user */
};

/* Returns KOFN_INVALID or KOFN_NO_MEMORY. */
int kofn_fabric_open(const struct kofn_fabric_attr *attr, struct kofn_fabric **fabric_p);

/* After its hub and endpoints have been closed. NULL is allowed. */
void kofn_fabric_close(struct kofn_fabric *fabric);

const struct kofn_fabric_counts *kofn_fabric_counts(const struct kofn_fabric *fabric);

/* Messages that are under way on a channel of @rank, due or not. */
size_t kofn_fabric_pending(const struct kofn_fabric *fabric, uint32_t rank,
                           enum kofn_fabric_channel channel);

/* The kind of the next message there. Returns KOFN_AGAIN if there is none. */
int kofn_fabric_peek(const struct kofn_fabric *fabric, uint32_t rank,
                     enum kofn_fabric_channel channel, enum kofn_message_kind *kind);

/* ---- delivery; each returns KOFN_AGAIN if there is no such message ---- */

/* The next message of a channel arrives, even before it is due. */
int kofn_fabric_deliver(struct kofn_fabric *fabric, uint32_t rank,
                        enum kofn_fabric_channel channel);

/* Everything that is due arrives, rank after rank, what is sent meanwhile too. Returns how many. */
size_t kofn_fabric_deliver_all(struct kofn_fabric *fabric);

/* At most @count deliveries, each the next due message of a channel drawn at random. Returns how
 * many there were: fewer if nothing was due any more.
 */
size_t kofn_fabric_scatter(struct kofn_fabric *fabric, size_t count);

/* The next message of a channel is lost; of a publication, its stamp with its payload. */
int kofn_fabric_drop(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel);

/* The next payload or model of a channel arrives with its first @bytes alone. The rest and, unless
 * @with_stamp, its stamp are lost: what a cut connection does. With its stamp it is what no
 * transport may do; only a checksum sees it.
 */
int kofn_fabric_tear(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel,
                     size_t bytes, bool with_stamp);

/* The next two messages of a channel change places: relaxed ordering, between payload and stamp. */
int kofn_fabric_swap(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel);

/* What is and will be sent on a channel becomes due @steps ticks after it was sent, or from now; in
 * its channel, no message is due before those ahead of it.
 */
void kofn_fabric_delay(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel,
                       uint64_t steps);

/* One tick passes. */
void kofn_fabric_tick(struct kofn_fabric *fabric);

/* The connection of @rank breaks: what is under way is lost, both ends learn of it (KOFN_GONE). */
void kofn_fabric_cut(struct kofn_fabric *fabric, uint32_t rank);

#endif
