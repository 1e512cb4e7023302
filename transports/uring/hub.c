/* The hub of the transport over TCP: its life, what its owner calls, and the table. */
#include "transports/uring/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/wire.h"
#include "transports/uring/endpoint.h"
#include "transports/uring/options.h"
#include "transports/uring/socket.h"
#include "transports/uring/uring.h"

#define CHECK_NS (50 * KOFN_NS_PER_MS) /* deadlines are looked at so often */
#define DRAIN_NS                                                                                   \
    (250 * KOFN_NS_PER_MS) /* a hub that closes waits at most so long for what it sent */
#define LOOKS 4            /* in a peer's time-out, whether its host is still there */
#define POLLS 64u          /* between two looks at the clock by hub_poll() */
#define STRANGERS_SAID 3u  /* the rest is only counted */
#define COLOUR                                                                                     \
    (2u * KOFN_CACHE_LINE) /* slots begin on different lines of a page: see layout.h of */
#define COLOURS 1024u      /* shm; more workers than this all begin on a page */

/* ---- its life ---- */

static void close_members(struct kofn__tcp_hub *hub)
{
    uint64_t deadline = kofn_deadline(kofn_now_ns(), DRAIN_NS);

    for (uint32_t rank = 0; rank < hub->hub.workers; rank++) {
        struct kofn__member *member = &hub->members[rank];

        for (int link = 0; link < LINKS && member->place != PLACE_FREE; link++) {
            if (member->streams[link].fd >= 0)
                kofn__socket_drain(member->streams[link].fd, deadline);
            kofn__stream_close(&member->streams[link], &hub->driver);
        }
    }
}

static void hub_close(struct kofn_hub *base)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);

    if (hub->driver.guard) {
        kofn__driver_stop(&hub->driver);
        kofn__visitors_close(hub);
        close_members(hub);
        kofn__driver_close(&hub->driver);
    }
    kofn_memory_unmap(&hub->models);
    kofn_memory_unmap(&hub->range);
    for (uint32_t rank = 0; hub->members && rank < base->workers; rank++)
        free(hub->members[rank].small_model);
    free(hub->beats);
    free(hub->arrivals);
    free(hub->members);
    free(hub);
}

static int check(const struct kofn_hub_attr *attr)
{
    if (!attr->workers || attr->workers > KOFN_WORKERS_MAX)
        return kofn_error(attr->log, KOFN_INVALID, "tcp: %u workers: must be 1 to %u",
                          attr->workers, KOFN_WORKERS_MAX);
    return 0;
}

static int allocate(struct kofn__tcp_hub *hub)
{
    uint32_t workers = hub->hub.workers;

    hub->arrival_room = workers * hub->hub.slot.depth;
    hub->members = calloc(workers, sizeof(*hub->members));
    hub->arrivals = calloc(hub->arrival_room, sizeof(*hub->arrivals));
    hub->beats = aligned_alloc(KOFN_CACHE_LINE,
                               kofn_round_up(workers * sizeof(*hub->beats), KOFN_CACHE_LINE));
    if (!hub->members || !hub->arrivals || !hub->beats)
        return kofn_error(hub->hub.log, KOFN_NO_MEMORY, "tcp: a hub of %u workers", workers);
    memset(hub->beats, 0, workers * sizeof(*hub->beats));
    for (uint32_t rank = 0; rank < workers && hub->links == 1; rank++) {
        hub->members[rank].small_model = malloc(hub->hub.model.payload_bytes);
        if (!hub->members[rank].small_model)
            return kofn_error(hub->hub.log, KOFN_NO_MEMORY, "tcp: a hub of %u workers", workers);
    }
    return 0;
}

/* Addresses for slots, and the models. */
static int map_memory(struct kofn__tcp_hub *hub)
{
    const struct kofn_log *log = hub->hub.log;
    uint64_t colour = hub->hub.workers <= COLOURS ? COLOUR : 0;
    int rc;

    hub->worker_bytes =
        kofn_round_up((hub->hub.workers - 1) * colour + hub->hub.slot.slot_bytes, KOFN_PAGE);
    rc = kofn_memory_reserve(&hub->range, hub->hub.workers * hub->worker_bytes, log);
    rc = rc ? rc
            : kofn_memory_map(&hub->models, hub->hub.model.slot_bytes, KOFN_MEMORY_POPULATE, log);
    if (rc)
        return rc;
    hub->hub.models = hub->models.address;
    hub->hub.slots = hub->range.address;
    hub->hub.slot_stride = hub->worker_bytes + colour;
    hub->hub.beats = (const char *)hub->beats;
    hub->hub.beat_stride = sizeof(*hub->beats);
    return 0;
}

static int open_driver(struct kofn__tcp_hub *hub, const struct kofn_hub_attr *attr,
                       const struct kofn__tcp_options *options)
{
    struct kofn__driver_attr driver = {.sockets = KOFN__KEY_MEMBERS + attr->workers * LINKS,
                                       .spin = attr->spin,
                                       .sink = &kofn__hub_sink,
                                       .arg = hub,
                                       .log = attr->log};

    driver.engine = options->engine;
    return kofn__driver_open(&hub->driver, &driver);
}

static void init(struct kofn__tcp_hub *hub, const struct kofn_hub_attr *attr)
{
    hub->hub = (struct kofn_hub){.ops = &kofn_tcp,
                                 .log = attr->log,
                                 .slot = attr->slot,
                                 .model = attr->model,
                                 .workers = attr->workers};
    hub->links = kofn__links(attr->slot.payload_bytes, attr->model.payload_bytes);
    hub->peer_timeout = attr->peer_timeout ? attr->peer_timeout : KOFN__PEER_NS;
    hub->numa_node = attr->numa_node;
    hub->pull = attr->pull;
    hub->listener = -1;
    hub->report_ns = KOFN_FOREVER;
    for (uint32_t i = 0; i < KOFN__VISITORS; i++)
        hub->visitors[i].fd = -1;
}

/* Where to listen: on the interface that was asked for, or else where the control channel does. */
static int choose_host(struct kofn__tcp_hub *hub, const struct kofn_hub_attr *attr,
                       const struct kofn__tcp_options *options)
{
    hub->own_host = *options->interface;
    if (hub->own_host)
        return kofn_interface_host(options->interface, KOFN_INTERFACE_ANY, hub->host,
                                   sizeof(hub->host), "tcp", attr->log);
    if (attr->bind && strcmp(attr->bind, "0.0.0.0") && strcmp(attr->bind, "::"))
        snprintf(hub->host, sizeof(hub->host), "%s", attr->bind);
    return 0;
}

static int hub_open(const struct kofn_hub_attr *attr, struct kofn_hub **hub_p)
{
    struct kofn__tcp_options options;
    struct kofn__tcp_hub *hub;
    int rc = check(attr);

    rc = rc ? rc : kofn__tcp_options_read(attr->options, &options, attr->log);
    if (rc)
        return rc;
    hub = calloc(1, sizeof(*hub));
    if (!hub)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "tcp: a hub");
    init(hub, attr);
    rc = allocate(hub);
    rc = rc ? rc : map_memory(hub);
    rc = rc ? rc : choose_host(hub, attr, &options);
    rc = rc ? rc : open_driver(hub, attr, &options);
    if (rc)
        goto close_hub;
    kofn__driver_enter(&hub->driver);
    rc = kofn__visitors_open(hub, hub->host, &options);
    kofn__driver_leave(&hub->driver);
    if (rc)
        goto close_hub;
    *hub_p = &hub->hub;
    return 0;

close_hub:
    hub_close(&hub->hub);
    return rc;
}

/* ---- what its owner calls ---- */

/* The member @rank, if it can be written to. */
static struct kofn__member *open_member(struct kofn__tcp_hub *hub, uint32_t rank)
{
    struct kofn__member *member = rank < hub->hub.workers ? &hub->members[rank] : NULL;

    return member && (member->place == PLACE_ADMITTED || member->place == PLACE_CONNECTED) ? member
                                                                                           : NULL;
}

static int hub_gate(struct kofn_hub *base, uint32_t rank, uint64_t gate)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__member *member = open_member(hub, rank);

    if (!member)
        return KOFN_INVALID;
    kofn__driver_enter(&hub->driver);
    member->gate = gate;
    member->gate_after = KOFN_MAX(member->wanted, member->sent);
    member->gate_due = true;
    kofn__member_send(hub, member, LINK_CONTROL);
    kofn__driver_leave(&hub->driver);
    return 0;
}

/* The newest that a worker could still find in its block are kept; older ones make place. */
static void keep_receipt(struct kofn__member *member, const struct kofn_receipt_line *line)
{
    uint32_t end = (member->receipt + member->receipt_count) % KOFN__RECEIPTS;

    member->receipts[end] = *line;
    if (member->receipt_count < KOFN__RECEIPTS)
        member->receipt_count++;
    else
        member->receipt = (member->receipt + 1) % KOFN__RECEIPTS;
}

static int hub_receipt(struct kofn_hub *base, uint32_t rank, const struct kofn_receipt_line *line)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__member *member = open_member(hub, rank);

    if (!member)
        return KOFN_INVALID;
    kofn__driver_enter(&hub->driver);
    keep_receipt(member, line);
    if (!base->gates_follow)
        kofn__member_send(hub, member, LINK_CONTROL);
    kofn__driver_leave(&hub->driver);
    return 0;
}

static int hub_push(struct kofn_hub *base, uint32_t rank, uint64_t sequence)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__member *member = open_member(hub, rank);

    if (!member)
        return KOFN_INVALID;
    kofn__driver_enter(&hub->driver);
    member->wanted = KOFN_MAX(member->wanted, sequence);
    kofn__member_send(hub, member, hub->links == 1 ? LINK_CONTROL : LINK_PAYLOAD);
    kofn__driver_leave(&hub->driver);
    return 0;
}

static int hub_read(struct kofn_hub *base, uint32_t rank, uint64_t after)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__member *member = open_member(hub, rank);
    int rc = 0;

    if (!hub->pull || !member || member->place != PLACE_CONNECTED)
        return KOFN_INVALID;
    kofn__driver_enter(&hub->driver);
    if (member->status) {
        rc = KOFN_GONE;
    } else if (member->reading || member->taken + 1 != member->expected) {
        rc = KOFN_AGAIN;
    } else {
        member->reading = member->read_due = true;
        member->read_after = after;
        kofn__member_send(hub, member, LINK_CONTROL);
    }
    kofn__driver_leave(&hub->driver);
    return rc;
}

/* Deadlines of all kinds, now and then. */
static void check_deadlines(struct kofn__tcp_hub *hub, uint64_t now)
{
    if (now >= hub->look_ns) {
        hub->look_ns = now + hub->peer_timeout / LOOKS;
        kofn__member_look(hub);
    }
    if ((!hub->visitor_count && !hub->missing && !hub->paused_ns) || now < hub->check_ns)
        return;
    hub->check_ns = now + CHECK_NS;
    kofn__visitors_expire(hub, now);
    kofn__member_expire(hub, now);
}

static bool failure_due(const struct kofn__tcp_hub *hub)
{
    return KOFN_UNLIKELY(hub->report_ns != KOFN_FOREVER) && kofn_now_ns() >= hub->report_ns;
}

static int collect(struct kofn__tcp_hub *hub, struct kofn_arrival *arrivals, int max)
{
    int count = 0;

    for (; count < max && hub->arrival_count; hub->arrival_count--) {
        arrivals[count] = hub->arrivals[hub->arrival];
        hub->members[arrivals[count].rank].taken = arrivals[count].sequence;
        hub->arrival = hub->arrival + 1 == hub->arrival_room ? 0 : hub->arrival + 1;
        count++;
    }
    return count;
}

/* Logs what happened to a member; called without the lock, of a copy. */
static int say_failed(const struct kofn__tcp_hub *hub, const struct kofn__member *member)
{
    kofn_error(hub->hub.log, member->status, "tcp: rank %u%s%s: %s%s", member->rank,
               *member->name ? " at " : "", member->name, member->why,
               member->status == KOFN_PROTOCOL ? "; it is cut off" : "");
    return KOFN_GONE;
}

static void say_strangers(struct kofn__tcp_hub *hub)
{
    hub->strangers_said++;
    if (hub->strangers_said <= STRANGERS_SAID)
        kofn_log(hub->hub.log, KOFN_LOG_WARN,
                 "tcp: %u connections to port %u have shown no valid token and were dropped%s",
                 hub->strangers, hub->port,
                 hub->strangers_said == STRANGERS_SAID ? " (further ones are only counted)" : "");
    hub->strangers = 0;
}

static int hub_poll(struct kofn_hub *base, struct kofn_arrival *arrivals, int max)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__member *failed = NULL, copy;
    bool strangers;
    int count;

    kofn__driver_enter(&hub->driver);
    kofn__driver_look(&hub->driver);
    if (!(++hub->polls %
          POLLS)) /* of an owner who never waits, because there is always something */
        check_deadlines(hub, kofn_now_ns());
    count = collect(hub, arrivals, max);
    if (!count && max > 0 && failure_due(hub))
        failed = kofn__member_failed(hub, kofn_now_ns());
    if (failed)
        copy = *failed;
    strangers = hub->strangers && hub->strangers_said < STRANGERS_SAID;
    kofn__driver_leave(&hub->driver);
    if (KOFN_UNLIKELY(strangers))
        say_strangers(hub);
    if (KOFN_LIKELY(!failed))
        return count;
    arrivals[0] = (struct kofn_arrival){.rank = copy.rank};
    return say_failed(hub, &copy);
}

/* What a wait still waits for. Several publications are several events only where each comes on a
 * connection that brings nothing in pieces, and nobody else is expected.
 */
static uint32_t missing(void *arg)
{
    const struct kofn__tcp_hub *hub = arg;
    uint32_t wanted = KOFN_MAX(hub->hub.patience, 1u);

    if (hub->arrival_count >= wanted || failure_due(hub) ||
        (!hub->hub.patience && hub->beats_changed))
        return 0;
    return hub->links == 1 && !hub->missing && !hub->visitor_count ? wanted - hub->arrival_count
                                                                   : 1;
}

/* When a wait has to look at deadlines at the latest. */
static uint64_t next_check(const struct kofn__tcp_hub *hub)
{
    bool strangers = hub->visitor_count || hub->missing || hub->paused_ns;
    uint64_t next = KOFN_MIN(hub->look_ns, hub->report_ns);

    return strangers ? KOFN_MIN(next, hub->check_ns) : next;
}

static int hub_wait(struct kofn_hub *base, uint64_t deadline)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    int rc;

    kofn__driver_enter(&hub->driver);
    check_deadlines(hub, kofn_now_ns());
    rc = kofn__driver_wait(&hub->driver, missing, KOFN_MIN(deadline, next_check(hub)));
    hub->beats_changed = false;
    kofn__driver_leave(&hub->driver);
    return rc;
}

static void describe(const char *options, kofn_finding finding, void *arg)
{
    const char *reason;
    char text[160];

    (void)options; /* what this host allows does not depend on what is asked for */
    if (kofn__engine_uring_allowed(&reason))
        snprintf(text, sizeof(text), "io_uring");
    else
        snprintf(text, sizeof(text), "epoll, because %s", reason);
    finding(arg, "engine", text);
}

const struct kofn_transport_ops kofn_tcp = {
    .size = sizeof(kofn_tcp),
    .name = "tcp",
    .summary = "TCP between hosts, by io_uring where that is allowed",
    .capabilities = KOFN_CAP_READ,
    .describe = describe,
    .hub_open = hub_open,
    .hub_close = hub_close,
    .hub_admit = kofn__tcp_hub_admit,
    .hub_connect = kofn__tcp_hub_connect,
    .hub_evict = kofn__tcp_hub_evict,
    .hub_reclaim = kofn__tcp_hub_reclaim,
    .hub_poll = hub_poll,
    .hub_gate = hub_gate,
    .hub_receipt = hub_receipt,
    .hub_push = hub_push,
    .hub_read = hub_read,
    .hub_wait = hub_wait,
    .endpoint_open = kofn__tcp_endpoint_open,
    .endpoint_close = kofn__tcp_endpoint_close,
    .endpoint_buffer = kofn__tcp_endpoint_buffer,
    .endpoint_publish = kofn__tcp_endpoint_publish,
    .endpoint_keep = kofn_keep_in_buffer,
    .endpoint_left = kofn__tcp_endpoint_left,
    .endpoint_beat = kofn__tcp_endpoint_beat,
    .endpoint_fetch = kofn__tcp_endpoint_fetch,
    .endpoint_register = kofn_nosys_endpoint_register,
    .endpoint_wait = kofn__tcp_endpoint_wait,
};
