/* transport.h: what a transport is: one-sided writes into slots, and a way to sleep until something
 * arrives.
 *
 * A hub is the server's end of all its workers; an endpoint is one worker's end. A transport moves
 * four things: publications (payload, then stamp) and beats to the hub, gates and receipts to the
 * endpoint, and models, which endpoints fetch. It knows nothing of rounds, algorithms or members:
 * those are drawn from what arrives.
 *
 * Set-up is a handshake of two offers, carried by the control channel (core/control.c), never by
 * the transport:
 *
 *   server                                   worker
 *   hub_admit(rank) -> offer S   --------->  endpoint_open(offer S) -> offer W
 *   hub_connect(rank, offer W)   --------->  may post
 *
 * Where more is to be exchanged than two offers, hub_connect() says so and is called again.
 *
 * Threads: a hub is used by one thread, an endpoint by one thread; both may be in one process.
 * Errors: 0 or a negative status; an error of one worker's connection is KOFN_GONE for its rank and
 * leaves the others alone. Every call returns in bounded time; only the two wait calls sleep, and
 * they take a deadline. What a call has begun may go on only when its end is called again: in
 * hub_poll() and hub_wait(), in endpoint_wait(), endpoint_left() and endpoint_fetch(). Memory: what
 * hub_open() allocates lives until hub_close(); what hub_admit() allocates lives until
 * hub_reclaim() says that no late write can land any more.
 */
#ifndef KOFN_TRANSPORT_H
#define KOFN_TRANSPORT_H

#include "base/barrier.h"
#include "base/base.h"
#include "base/parse.h"
#include "proto/slot.h"
#include "proto/word.h"

enum kofn_capability {
    KOFN_CAP_IN_PLACE =
        1 << 0, /* endpoint buffers are the slot itself: filling them is the transfer */
    KOFN_CAP_SHARED_MODEL =
        1 << 1, /* endpoints read the published model where it lies: hub_push() is free */
    KOFN_CAP_SAME_CLOCK = 1 << 2, /* both sides read the same clock */
    KOFN_CAP_READ = 1 << 3,       /* hub_read(): the server can read what endpoints keep */
    KOFN_CAP_REGISTER =
        1 << 4, /* endpoint_register(): memory of the user's own can be published from */
    KOFN_CAP_ONE_HOST = 1 << 5, /* needs both ends on one host, as where offers hold descriptors:
                                   the control channel is "shm:NAME", for others "tcp:HOST:PORT" */
};

enum kofn_memory_type { KOFN_MEMORY_HOST };

/* What one side tells the other so that it can be written to: opaque bytes, and file descriptors
 * where both sides are on one host. Whoever receives an offer owns its descriptors.
 */
#define KOFN_OFFER_BYTES 512
#define KOFN_OFFER_FDS 4
struct kofn_offer {
    uint32_t length;
    uint32_t fd_count;
    int fds[KOFN_OFFER_FDS];
    unsigned char bytes[KOFN_OFFER_BYTES];
};

/* Where a control connection over a network runs: hosts as numbers, as getnameinfo() writes them
 * ("10.0.0.7", "fe80::1%eth0"), of this side and of the other. "" = not known, or no network.
 */
#define KOFN_HOST_BYTES 64
struct kofn_path {
    char local[KOFN_HOST_BYTES], peer[KOFN_HOST_BYTES];
};

struct kofn_hub_attr {
    uint32_t workers;
    struct kofn_geometry slot;  /* of every worker */
    struct kofn_geometry model; /* of the published model; same payload */
    bool pull;                  /* publications are kept and read, not sent (--publish pull) */
    bool credits_with_round;    /* a credit that comes with a new round says that what it is for is
                                   in that round's model, and so is not to be seen before it */
    int numa_node;              /* where slots and models are to be; -1 = anywhere */
    uint64_t spin;              /* ns a wait polls before it sleeps */
    const char *bind;           /* the number of the host the control channel listens on; a
                                   wildcard ("0.0.0.0", "::") or NULL = all addresses of this one */
    uint64_t peer_timeout;      /* ns without a sign of a worker's host after which its connection
                                   has failed; 0 = the transport's own choice */
    const char *options;        /* the transport's own: see kofn_transport_option() */
    void *context;              /* self: the fabric; NULL for the others */
    const struct kofn_log *log;
};

struct kofn_endpoint_attr {
    uint32_t rank, epoch;
    struct kofn_geometry slot, model;
    uint64_t spin;
    struct kofn_path path; /* of the control connection: path.peer is where the server is */
    const char *server;    /* who that is, for messages; outlives the endpoint */
    uint64_t peer_timeout; /* as in kofn_hub_attr */
    uint64_t deadline;     /* endpoint_open() waits for the server until then; 0 = peer_timeout */
    const char *options;   /* as in kofn_hub_attr; each side has its own */
    void *context;         /* as in kofn_hub_attr */
    const struct kofn_log *log;
};

struct kofn_transport_ops;

/* The part of a hub that every transport has; its own part follows it in memory. */
struct kofn_hub {
    const struct kofn_transport_ops *ops;
    const struct kofn_log *log;
    struct kofn_geometry slot, model;
    uint32_t workers;
    const char *beats; /* rank r's beat is the word at beats + r * beat_stride; 0 until written */
    size_t beat_stride;
    char *slots; /* rank r's slot is at slots + r * slot_stride; unmapped while the rank is not
                    admitted */
    size_t slot_stride;
    void *models; /* a slot of geometry `model`, written by the server, then pushed */

    /* What is worth waking somebody for: hints, set by the hub's user at any time. */
    uint32_t patience; /* of hub_wait(): so many publications, and no beats; 0 = all that comes */
    bool gates_follow; /* a gate follows every receipt, which need not wake its worker */

    struct kofn_path path; /* control connection of the worker that is admitted next */

    const char *counters; /* of the device it uses: a directory with a file each; NULL = none */
};

/* The part of an endpoint that every transport has. */
struct kofn_endpoint {
    const struct kofn_transport_ops *ops;
    const struct kofn_log *log;
    struct kofn_geometry slot, model;
    uint32_t rank, epoch;
    const char *server;             /* who it is, for messages */
    const struct kofn_block *block; /* the gate, read with one load, and again while that is torn;
                                       the receipts */
    void *buffers;        /* geometry `slot`: where payloads are filled before they are published */
    const char *counters; /* as in kofn_hub */
};

/* A line about what a transport finds on this host: "engine", "io_uring". */
typedef void (*kofn_finding)(void *arg, const char *what, const char *text);

struct kofn_transport_ops {
    size_t size; /* of this table: a shorter one comes from an older transport */
    const char *name;
    const char *summary;   /* one line for `kofn info` */
    uint32_t capabilities; /* enum kofn_capability */

    /* Calls @finding for everything that this host has for it. NULL = there is nothing to find.
     * @options  the transport's own, as in kofn_hub_attr: with what a job would be run
     */
    void (*describe)(const char *options, kofn_finding finding, void *arg);

    /* ---- the hub ---- */

    /* Allocates models and what admission needs. hub_close() may be called in any state and cannot
     * fail. */
    int (*hub_open)(const struct kofn_hub_attr *attr, struct kofn_hub **hub_p);
    void (*hub_close)(struct kofn_hub *hub);

    /* Gives @rank a slot of which all stamps are 0, whatever is in its payloads, and a zeroed
     * block. The rank must not be admitted already, and one that was evicted must have been
     * reclaimed.
     * @offer  out: for the worker; its descriptors are the caller's to pass on and close
     */
    int (*hub_admit)(struct kofn_hub *hub, uint32_t rank, uint32_t epoch, struct kofn_offer *offer);

    /* The worker has answered with @offer (descriptors owned by the hub from here on): it may post
     * after this. Returns KOFN_AGAIN while the connection is being made, and is then to be called
     * again, with NULL, until it returns something else: no later than attr.peer_timeout after the
     * first call, and with a message unless that is 0. hub_evict() ends it, too.
     */
    int (*hub_connect)(struct kofn_hub *hub, uint32_t rank, const struct kofn_offer *offer);

    /* Takes @rank out: from here on nothing of it is polled, and nothing it still writes can reach
     * another's memory or memory that will be used again.
     */
    void (*hub_evict)(struct kofn_hub *hub, uint32_t rank);

    /* Frees what @rank had. @gone: its process is known to have ended; always false where the
     * control channel is a network, which cannot know.
     * Returns KOFN_AGAIN while a late write of it could still land; hub_close() then keeps that
     * memory until it ends.
     */
    int (*hub_reclaim)(struct kofn_hub *hub, uint32_t rank, bool gone);

    /* Collects publications that have become complete since the last call, at most @max, each of
     * them once, those of one rank in order of sequence. No system call, no lock, fair over ranks.
     * Returns how many, or KOFN_GONE with arrivals[0].rank set if the connection of that rank has
     * failed.
     */
    int (*hub_poll)(struct kofn_hub *hub, struct kofn_arrival *arrivals, int max);

    /* Writes the gate, or a receipt, of @rank. Both arrive in the order of the calls. A worker that
     * sleeps wakes; hub->gates_follow says that it may sleep on at a receipt. */
    int (*hub_gate)(struct kofn_hub *hub, uint32_t rank, uint64_t gate);
    int (*hub_receipt)(struct kofn_hub *hub, uint32_t rank, const struct kofn_receipt_line *line);

    /* Model @sequence is complete in hub->models: sends it to @rank, which has acknowledged the one
     * before. Arrives before any round that a gate opens afterwards; credits (but for
     * attr.credits_with_round), and the end of the job or of a membership, need no model and may go
     * ahead of it.
     */
    int (*hub_push)(struct kofn_hub *hub, uint32_t rank, uint64_t sequence);

    /* Starts to read the newest snapshot of @rank behind number @after, as endpoint_keep() left it,
     * into its slot; needs attr.pull, where publications arrive in no other way. No call of the
     * endpoint is needed: its thread may compute, or be stopped. Read are stamp, payload and then
     * the stamp again: what the worker overwrites meanwhile is not seen, and the newest snapshot is
     * read from its beginning. It then arrives through hub_poll(), once, its stamp as the worker
     * wrote it: whoever uses that judges it first. It stays in the slot until the next read of
     * @rank; with KOFN_CAP_IN_PLACE until the worker fills its buffer again, which the stamp shows.
     *
     * Returns 0; KOFN_AGAIN, and nothing is started, while a read of @rank is under way or what it
     * brought has not been collected, or if there is no such snapshot. A transport that cannot know
     * that at once returns 0, and nothing arrives: it can be asked again. KOFN_INVALID if @rank is
     * not connected or the hub is not for reading; KOFN_GONE if the connection has failed.
     * hub_evict() ends a read: nothing of it arrives, or changes memory that is used again.
     */
    int (*hub_read)(struct kofn_hub *hub, uint32_t rank, uint64_t after);

    /* Sleeps until a beat or publication may have arrived (hub->patience publications, if that is
     * set), or @deadline (CLOCK_MONOTONIC); may return early. Polls for attr.spin first. Returns 0,
     * or KOFN_INTERRUPTED after a signal.
     */
    int (*hub_wait)(struct kofn_hub *hub, uint64_t deadline);

    /* ---- the endpoint ---- */

    /* @in: the hub's offer, whose descriptors the endpoint owns from here on, also on failure.
     * @out: for the hub. Waits no longer than until attr.deadline. */
    int (*endpoint_open)(const struct kofn_endpoint_attr *attr, const struct kofn_offer *in,
                         struct kofn_offer *out, struct kofn_endpoint **endpoint_p);
    void (*endpoint_close)(struct kofn_endpoint *endpoint);

    /* Where the payload of publication @sequence is to be filled. The caller has its credit, and
     * the publication that used this buffer before has left; a snapshot that was kept there is no
     * more.
     */
    void *(*endpoint_buffer)(struct kofn_endpoint *endpoint, uint64_t sequence);

    /* The buffer of @stamp->sequence is filled: sends it, then the stamp. Returns without waiting.
     */
    int (*endpoint_publish)(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp);

    /* The buffer of @stamp->sequence is filled: keeps it, with its stamp, for hub_read(); nothing
     * is sent. Snapshots number upwards, and may leave numbers out. One is there to be read until
     * endpoint_buffer() is asked for its buffer again; nothing has to have left before. Not to be
     * mixed with endpoint_publish().
     */
    void (*endpoint_keep)(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp);

    /* 0 if publication @sequence has left: it may be read or computed with locally at any time, and
     * its buffer may be filled again once its credit is there. KOFN_AGAIN if not yet, KOFN_GONE if
     * it never will.
     */
    int (*endpoint_left)(struct kofn_endpoint *endpoint, uint64_t sequence);

    int (*endpoint_beat)(struct kofn_endpoint *endpoint, uint64_t beat);

    /* Copies the newest complete model, to @model and, unless NULL, also to @base, in one pass.
     * @stamp  out: its sequence is the model's version
     * Returns KOFN_AGAIN if there is none yet or it changed under the copy (both arrays are then
     * undefined).
     */
    int (*endpoint_fetch)(struct kofn_endpoint *endpoint, float *model, float *base,
                          struct kofn_stamp *stamp);

    /* The newest complete model where it lies, without a copy, and its stamp. It is whole as long
     * as kofn_model_whole() says so. NULL if this transport cannot show models; errors as above.
     */
    int (*endpoint_view)(struct kofn_endpoint *endpoint, const void **model,
                         struct kofn_stamp *stamp);

    /* Registers memory of the caller's own to publish from; type host now, others later. */
    int (*endpoint_register)(struct kofn_endpoint *endpoint, void *address, size_t bytes,
                             enum kofn_memory_type type);

    /* Sleeps until the gate differs from @seen, or @deadline; may return early. Polls for attr.spin
     * first. Returns 0, KOFN_INTERRUPTED after a signal, or KOFN_GONE if the connection has failed.
     */
    int (*endpoint_wait)(struct kofn_endpoint *endpoint, uint64_t seen, uint64_t deadline);
};

/* The transports of this build, by name ("shm", "self"); NULL if there is none of that name. */
const struct kofn_transport_ops *kofn_transport_find(const char *name);

/* The index-th of them, for lists; NULL behind the last. */
const struct kofn_transport_ops *kofn_transport_at(size_t index);

/* The next of @options, KEY=VALUE with spaces between them (no "=VALUE" = an empty value); they are
 * what was given to --transport-option. Returns false behind the last; NULL has none. A transport
 * refuses a key it does not know (KOFN_INVALID).
 *
 * @rest  in and out: NULL before the first call, then the call's own
 */
bool kofn_transport_option(const char *options, const char **rest, struct kofn_text *key,
                           struct kofn_text *value);

/* hub_connect() to its end, waiting for that: for those who have nothing else to do (nosys.c). */
int kofn_hub_connect(struct kofn_hub *hub, uint32_t rank, const struct kofn_offer *offer);

/* Closes the descriptors of an offer; whoever owns it and is done with it calls this. */
void kofn_offer_close(const struct kofn_offer *offer);

/* endpoint_keep() of a transport whose endpoint_buffer() withdraws stamps (nosys.c). */
void kofn_keep_in_buffer(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp);

/* Copies a model that lies at @from, and may change meanwhile, to @model and, if not NULL, @base
 * (nosys.c).
 */
void kofn_model_copy(const struct kofn_endpoint *endpoint, const void *from, float *model,
                     float *base);

/* endpoint_fetch() of a transport that has endpoint_view() (nosys.c). */
int kofn_fetch_from_view(struct kofn_endpoint *endpoint, float *model, float *base,
                         struct kofn_stamp *stamp);

/* Defaults for what a transport does not have: each returns KOFN_UNSUPPORTED (nosys.c). */
int kofn_nosys_hub_read(struct kofn_hub *hub, uint32_t rank, uint64_t after);
int kofn_nosys_endpoint_register(struct kofn_endpoint *endpoint, void *address, size_t bytes,
                                 enum kofn_memory_type type);

static inline uint64_t kofn_hub_beat_word(const struct kofn_hub *hub, uint32_t rank)
{
    return __atomic_load_n(
        (const uint64_t *)(const void *)(hub->beats + (size_t)rank * hub->beat_stride),
        __ATOMIC_ACQUIRE);
}

/* True if @model, shown by endpoint_view() as model @sequence, has been that until now. */
static inline bool kofn_model_whole(const struct kofn_endpoint *endpoint, const void *model,
                                    uint64_t sequence)
{
    const char *stamp = (const char *)model + endpoint->model.stamp_offset;

    kofn_payload_read_barrier();
    return kofn_peer_load64(stamp + offsetof(struct kofn_stamp, sequence)) == sequence;
}

static inline void *kofn_hub_slot(const struct kofn_hub *hub, uint32_t rank)
{
    return hub->slots + (size_t)rank * hub->slot_stride;
}

#endif
