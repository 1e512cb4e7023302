/* perf.h: kofn perf: what a publication takes, over every transport between processes.
 *
 *   perf.c           the command
 *   perf_options.c   its flags: perftest's letters
 *   perf_order.c     what a client asks a server for, as text
 *   perf_channel.c   the two processes: finding each other, asking, meeting
 *   perf_link.c      the two ends of a transport in them
 *   perf_lat.c       half of a round trip
 *   perf_bw.c        how much goes through
 *   perf_quorum.c    N writers to one server: the first, the K-th and the last; perf_writers.c is
 *                    their side
 *   perf_times.c     times that were measured
 *   perf_counters.c  what the device has counted meanwhile
 *   perf_report.c    what is printed
 *
 * A client says what is to be done, a server does it: for each size the client greets, one side or
 * both open a hub, the other an endpoint, and the test runs. Lat and bw are timed by the client,
 * quorum by the server: every difference is between two readings of one clock.
 *
 * Errors: what fails has been logged. A signal (cli/stop.h) ends any wait with KOFN_INTERRUPTED; so
 * does the other side's end, with KOFN_GONE, and its silence, with KOFN_TIMEOUT.
 * Threads: one a process.
 */
#ifndef KOFN_CLI_PERF_H
#define KOFN_CLI_PERF_H

#include "cli/cli.h"
#include "cli/perf_order.h"
#include "cli/perf_report.h"
#include "core/channel.h"

#define KOFN_PERF_OPTIONS_BYTES 512
#define KOFN_PERF_SIZES 32

struct kofn_perf_conf {
    enum kofn_perf_test test;
    const char *host;                       /* of the server; NULL = this is it */
    const struct kofn_transport_ops *ops;   /* the transport */
    char options[KOFN_PERF_OPTIONS_BYTES];  /* of the transport */
    const char *connect;                    /* how verbs is to connect; NULL = not said */
    uint64_t port;                          /* of the control connection */
    uint64_t sizes[KOFN_PERF_SIZES], count; /* bytes of payload */
    uint64_t iterations;
    uint64_t warm_up;      /* before them, not counted; UINT64_MAX = a tenth */
    uint64_t depth;        /* buffers of a slot; 0 = as the test has it */
    uint64_t writers;      /* quorum: N, of all clients */
    uint64_t wait_for;     /* quorum: K; 0 = half of them */
    uint64_t first;        /* quorum: rank of this client's first writer */
    uint64_t here;         /* quorum: writers of this client; 0 = all from the first on */
    uint64_t wait;         /* ns for the other side to be there */
    uint64_t timeout;      /* ns without an answer after which it has failed */
    bool sleeps;           /* waits sleep instead of spinning */
    bool insecure;         /* listen beyond this host */
    bool json;             /* instead of a table */
    const char *json_file; /* NULL = none */
    bool gbits;            /* bandwidth in Gb/s instead of MiB/s */
    bool any_frequency;    /* a CPU that changes its frequency is not worth a warning */
    const struct kofn_log *log;
};

/* Reads the command line. Returns 0; KOFN_INVALID, logged; KOFN_AGAIN if it asks for help, which
 * has been printed.
 */
int kofn_perf_options(struct kofn_perf_conf *conf, const struct kofn_command *command, int argc,
                      char **argv);

/* What the configuration comes to, of one size. */
struct kofn_perf_order kofn_perf_order_of(const struct kofn_perf_conf *conf, uint64_t bytes);

/* This process's ends, and the connection to the other process. Zeroed parts are not there yet. */
struct kofn_perf_link {
    const struct kofn_perf_conf *conf;
    char who[24]; /* is at the other end: "the client" */
    struct kofn_channel *channel;
    const char *bind; /* without a channel: the host a hub is reached at; "" = any of this one's */
    struct kofn_geometry geometry;
    struct kofn_hub *hub;
    struct kofn_endpoint *endpoint;
    void *source;      /* a payload; NULL where buffers need not be filled to be sent */
    uint32_t released; /* modulo 256: what the newest gate says */
};

/* ---- perf_channel.c ---- */

int kofn_perf_listen(const struct kofn_perf_conf *conf, struct kofn_listener *listener);

/* Waits until @deadline for somebody to connect; fills in the link's channel. */
int kofn_perf_accept(struct kofn_perf_link *link, const struct kofn_listener *listener,
                     uint64_t deadline);
int kofn_perf_connect(struct kofn_perf_link *link);

/* The client asks for @order as @rank; or has no more to ask for. The server learns of it: @more is
 * then false. An order that the server cannot do is refused, KOFN_PROTOCOL.
 */
int kofn_perf_ask(const struct kofn_perf_link *link, const struct kofn_perf_order *order,
                  uint32_t rank);
int kofn_perf_bye(const struct kofn_perf_link *link);
int kofn_perf_learn(const struct kofn_perf_link *link, bool *more, struct kofn_perf_order *order,
                    uint32_t *rank);

/* Sends, and receives a message of type @wanted, waiting for it @patience ns. @fds may be NULL. */
int kofn_perf_send(const struct kofn_perf_link *link, const struct kofn_wire *message,
                   const struct kofn_fds *fds);
int kofn_perf_expect(const struct kofn_perf_link *link, enum kofn_wire_type wanted,
                     uint64_t patience, struct kofn_wire *message, struct kofn_fds *fds);

/* The two sides wait for each other; what their ends still have to send goes out meanwhile. */
int kofn_perf_meet(const struct kofn_perf_link *link);

/* The same when all is done; whoever is told that it is over does not complain of connections that
 * end.
 */
int kofn_perf_part(const struct kofn_perf_link *link);

/* A wait for the other side has gone on since @began: 0 if it may go on. To be asked now and then.
 */
int kofn_perf_overdue(const struct kofn_perf_link *link, uint64_t began);

/* ---- perf_link.c ---- */

#define KOFN_PERF_SLICE_NS                                                                         \
    UINT64_C(100000000) /* of a wait, between two looks at the other side                          \
                         */

/* Opens a hub for @workers; hands out an offer of it for @rank and takes the answer. */
int kofn_perf_open_hub(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                       uint32_t workers);
int kofn_perf_admit(const struct kofn_perf_link *link, uint32_t rank);

/* The other side of that: waits @patience ns for an offer, opens its endpoint, and answers. */
int kofn_perf_join(struct kofn_perf_link *link, const struct kofn_perf_order *order, uint32_t rank,
                   uint64_t patience);

/* Closes both ends, not the channel. */
void kofn_perf_unlink(struct kofn_perf_link *link);

/* Waits for publications: how many have come, at most @max, or what has failed. */
int kofn_perf_collect(struct kofn_perf_link *link, struct kofn_arrival *arrivals, int max);

/* The same until @deadline alone: 0 if none has come. */
int kofn_perf_poll(struct kofn_perf_link *link, struct kofn_arrival *arrivals, int max,
                   uint64_t deadline);

/* Waits until the buffer of publication @sequence may be filled. */
int kofn_perf_await_credit(struct kofn_perf_link *link, uint64_t sequence);

/* Publishes number @sequence, whose buffer is free, after the one before it in that buffer has
 * left. Where to fill a buffer is to send it, it is filled.
 */
int kofn_perf_publish(const struct kofn_perf_link *link, uint64_t sequence);

/* Waits until publication @sequence has left. */
int kofn_perf_await_left(const struct kofn_perf_link *link, uint64_t sequence);

/* ---- the tests; the client of lat and bw has a report, their server has none ---- */

int kofn_perf_lat(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                  struct kofn_perf_report *report);
int kofn_perf_bw(struct kofn_perf_link *link, const struct kofn_perf_order *order,
                 struct kofn_perf_report *report);
int kofn_perf_quorum(const struct kofn_perf_conf *conf, const struct kofn_listener *listener,
                     struct kofn_perf_report *report);

/* Starts this client's writers and waits for their end. */
int kofn_perf_writers(const struct kofn_perf_conf *conf);

#endif
