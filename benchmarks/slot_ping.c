#include "benchmarks/slot_ping.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "proto/beats.h"

#define BLOCKS_MAX 10000u
#define PATIENCE (1u << 29) /* turns without an answer: seconds */
#define EPOCH 1u
#define COMPUTE 32  /* pauses before what is timed: the server is waiting again by then */
#define JITTER 128u /* and up to so many turns of nothing: about the time between two looks */

enum kind { BEAT, PUBLICATION_FOUND, PUBLICATION_READ };

/* What the worker is told to do: so many beats, or, before each publication, a beat that is made
 * in the same way.
 */
struct order {
    bool publish;
    uint32_t trips;
};

struct slot_ping {
    struct slot_ping_attr attr;
    struct kofn_hub *hub;
    uint64_t seen;             /* the worker's beat */
    uint32_t round;            /* of the last gate and beat: counts round trips */
    uint64_t sequence;         /* of the newest publication */
    int orders[2], answers[2]; /* pipes to and from the worker */
    pid_t child;
};

/* ---- the worker ---- */

static bool await_gate(struct kofn_endpoint *endpoint, uint32_t round)
{
    struct kofn_gate gate = {0};
    uint64_t word;

    for (uint32_t turns = 0; turns < PATIENCE; turns++) {
        word = kofn_peer_load64(&endpoint->block->gate);
        if (kofn_gate_unpack(word, &gate) && gate.round == round)
            return true;
        endpoint->ops->endpoint_wait(endpoint, word, KOFN_FOREVER);
    }
    return false;
}

static bool beat(struct kofn_endpoint *endpoint, uint32_t round)
{
    endpoint->ops->endpoint_beat(endpoint, kofn_beat_pack((struct kofn_beat){round, 1}));
    return await_gate(endpoint, round);
}

static bool publish(struct kofn_endpoint *endpoint, uint32_t round, uint64_t sequence,
                    uint64_t *buffer)
{
    struct kofn_stamp stamp = {.epoch = EPOCH,
                               .round = round,
                               .version = round,
                               .updates = 1,
                               .total = 1,
                               .length = endpoint->slot.payload_bytes,
                               .sequence = sequence};

    for (uint64_t i = 0; i < endpoint->slot.payload_bytes / sizeof(*buffer); i++)
        buffer[i] = sequence;
    endpoint->ops->endpoint_publish(endpoint, &stamp);
    return await_gate(endpoint, round);
}

/* What a worker does between two publications. Without it one would time how its own next buffer
 * and the server's next look get in each other's way; and were it always equally long, whether the
 * two sides' looks happen to fall into step.
 */
static void compute(struct kofn_random *random)
{
    for (int i = 0; i < COMPUTE; i++)
        kofn_cpu_relax();
    for (uint64_t i = kofn_random_below(random, JITTER); i > 0; i--)
        __asm__ volatile(""); /* a turn that the compiler keeps */
}

/* A beat, then publication @sequence, whose buffer is taken before computing, as a worker does;
 * before the beat it is taken in vain.
 */
static bool beat_and_publish(struct kofn_endpoint *endpoint, uint32_t round, uint64_t sequence,
                             struct kofn_random *random)
{
    uint64_t *buffer;

    endpoint->ops->endpoint_buffer(endpoint, sequence);
    compute(random);
    if (!beat(endpoint, round))
        return false;
    buffer = endpoint->ops->endpoint_buffer(endpoint, sequence);
    compute(random);
    return publish(endpoint, round + 1, sequence, buffer);
}

static bool obey(struct kofn_endpoint *endpoint, const struct order *order, uint32_t *round,
                 uint64_t *sequence, struct kofn_random *random)
{
    bool good = true;

    for (uint32_t i = 0; good && i < order->trips; i++) {
        if (!order->publish) {
            good = beat(endpoint, ++*round);
            continue;
        }
        good = beat_and_publish(endpoint, *round + 1, ++*sequence, random);
        *round += 2;
    }
    return good;
}

static void work(const struct slot_ping *ping, struct kofn_endpoint *endpoint)
{
    struct kofn_random random;
    uint64_t sequence = 0;
    uint32_t round = 0;
    struct order order;

    kofn_random_seed(&random, 1, 0);
    while (read(ping->orders[0], &order, sizeof(order)) == sizeof(order))
        if (!obey(endpoint, &order, &round, &sequence, &random))
            return;
}

static void child_main(const struct slot_ping *ping, const struct kofn_offer *offer, pid_t parent)
{
    struct kofn_endpoint_attr attr = {.epoch = EPOCH,
                                      .slot = ping->hub->slot,
                                      .model = ping->hub->model,
                                      .spin = ping->attr.sleeps ? 0 : KOFN_NS_PER_S,
                                      .options = ping->attr.options};
    struct kofn_endpoint *endpoint;
    struct kofn_offer answer;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ping->orders[1]);
    if (getppid() == parent && bench_pin(ping->attr.there) == 0 &&
        ping->attr.transport->endpoint_open(&attr, offer, &answer, &endpoint) == 0 &&
        write(ping->answers[1], &answer, sizeof(answer)) == sizeof(answer))
        work(ping, endpoint);
    _exit(0);
}

/* ---- the server ---- */

/* Waits until the beat of this round has been found, whole. */
static bool find_beat(struct slot_ping *ping)
{
    struct kofn_hub *hub = ping->hub;
    struct kofn_beat found;
    uint32_t changed;

    for (uint32_t turns = 0; turns < PATIENCE; turns++) {
        if (kofn_beats_scan(hub->beats, hub->beat_stride, &ping->seen, 1, &changed, 1) &&
            kofn_beat_unpack(ping->seen, &found) && found.round == ping->round)
            return true;
        hub->ops->hub_wait(hub, KOFN_FOREVER);
    }
    return false;
}

/* Waits until the next publication is reported. */
static bool find_publication(struct slot_ping *ping)
{
    struct kofn_hub *hub = ping->hub;
    struct kofn_arrival arrival;
    uint32_t turns = 0;

    ping->sequence++;
    while (hub->ops->hub_poll(hub, &arrival, 1) == 0) {
        if (turns++ == PATIENCE)
            return false;
        hub->ops->hub_wait(hub, KOFN_FOREVER);
    }
    return arrival.sequence == ping->sequence;
}

/* Judges the publication that was found, and reads it. */
static bool read_publication(struct slot_ping *ping)
{
    struct kofn_hub *hub = ping->hub;
    void *slot = kofn_hub_slot(hub, 0);
    struct kofn_stamp stamp;
    const void *payload;
    const char *why;

    return !kofn_slot_begin(&hub->slot, slot, ping->sequence, &payload, &stamp) &&
           kofn_stamp_valid(&stamp, &hub->slot, EPOCH, ping->round, &why) &&
           *(const uint64_t *)payload == ping->sequence &&
           !kofn_slot_end(&hub->slot, slot, ping->sequence);
}

static bool answer(struct slot_ping *ping, uint64_t released)
{
    struct kofn_gate gate = {
        .round = ping->round, .state = KOFN_GATE_OPEN, .released = (uint32_t)released};

    return !ping->hub->ops->hub_gate(ping->hub, 0, kofn_gate_pack(gate));
}

static bool beat_trip(struct slot_ping *ping)
{
    ping->round++;
    return find_beat(ping) && answer(ping, ping->sequence);
}

/* The reading is part of the trip, or happens while the worker computes the next. */
static bool publication_trip(struct slot_ping *ping, bool read)
{
    ping->round++;
    return read ? find_publication(ping) && read_publication(ping) && answer(ping, ping->sequence)
                : find_publication(ping) && answer(ping, ping->sequence - 1);
}

/* The mean time of a round trip of a beat, in ns. */
static bool time_beats(struct slot_ping *ping, double *ns)
{
    uint64_t start = kofn_now_ns();

    for (unsigned i = 0; i < ping->attr.block; i++)
        if (!beat_trip(ping))
            return false;
    *ns = (double)(kofn_now_ns() - start) / ping->attr.block;
    return true;
}

/* By how much a publication's round trip is longer than that of a beat, in ns: the mean over trips
 * that take turns.
 */
static bool time_publications(struct slot_ping *ping, bool read, double *ns)
{
    uint64_t start = kofn_now_ns(), beaten;
    int64_t sum = 0;

    for (unsigned i = 0; i < ping->attr.block; i++) {
        if (!beat_trip(ping))
            return false;
        beaten = kofn_now_ns();
        sum -= (int64_t)(beaten - start);
        if (!publication_trip(ping, read))
            return false;
        start = kofn_now_ns(); /* of the next beat, whatever else is done here meanwhile */
        sum += (int64_t)(start - beaten);
        if (!read && !read_publication(ping))
            return false;
    }
    *ns = (double)sum / ping->attr.block;
    return true;
}

/* The median over @blocks blocks; one more, which wakes the worker, does not count. */
static int median(struct slot_ping *ping, enum kind kind, unsigned blocks, double *ns)
{
    struct order order = {.publish = kind != BEAT};
    double times[BLOCKS_MAX + 1];
    bool good;
    int rc = bench_pin(ping->attr.here);

    if (rc)
        return rc;
    blocks = KOFN_MIN(KOFN_MAX(blocks, 1u), BLOCKS_MAX);
    order.trips = ping->attr.block * (blocks + 1);
    good = write(ping->orders[1], &order, sizeof(order)) == sizeof(order);
    for (unsigned i = 0; good && i <= blocks; i++)
        good = kind == BEAT ? time_beats(ping, &times[i])
                            : time_publications(ping, kind == PUBLICATION_READ, &times[i]);
    if (!good)
        return kofn_error(NULL, KOFN_GONE, "ping: the worker does not answer");
    *ns = bench_middle(times + 1, blocks);
    return 0;
}

int slot_ping_beat(struct slot_ping *ping, unsigned blocks, double *ns)
{
    int rc = median(ping, BEAT, blocks, ns);

    *ns /= 2;
    return rc;
}

int slot_ping_publication(struct slot_ping *ping, bool read, unsigned blocks, double *ns)
{
    double beat = 0, more = 0;
    int rc = slot_ping_beat(ping, blocks, &beat);

    rc = rc ? rc : median(ping, read ? PUBLICATION_READ : PUBLICATION_FOUND, blocks, &more);
    *ns = beat + more;
    return rc;
}

/* ---- both ---- */

static int open_hub(struct slot_ping *ping)
{
    struct kofn_hub_attr hub = {.workers = 1,
                                .numa_node = -1,
                                .spin = ping->attr.sleeps ? 0 : KOFN_NS_PER_S,
                                .bind = "127.0.0.1",
                                .options = ping->attr.options};
    int rc = kofn_geometry_init(&hub.slot, ping->attr.bytes, KOFN_DEPTH);

    hub.model = hub.slot;
    return rc ? rc : ping->attr.transport->hub_open(&hub, &ping->hub);
}

/* Starts the worker and connects it. */
static int start_worker(struct slot_ping *ping)
{
    struct kofn_offer offer, answer;
    pid_t parent = getpid();
    int rc = ping->attr.transport->hub_admit(ping->hub, 0, EPOCH, &offer);

    if (rc)
        return rc;
    ping->child = fork();
    if (ping->child == 0)
        child_main(ping, &offer, parent);
    kofn_offer_close(&offer);
    if (ping->child < 0)
        return kofn_error_errno(NULL, "ping: fork");
    close(ping->answers[1]);
    ping->answers[1] = -1;
    if (read(ping->answers[0], &answer, sizeof(answer)) != sizeof(answer))
        return kofn_error(NULL, KOFN_GONE, "ping: the worker cannot join");
    return ping->attr.transport->hub_connect(ping->hub, 0, &answer);
}

int slot_ping_open(const struct slot_ping_attr *attr, struct slot_ping **ping_p)
{
    struct slot_ping *ping = calloc(1, sizeof(*ping));
    int rc;

    if (!ping)
        return kofn_error(NULL, KOFN_NO_MEMORY, "ping: out of memory");
    ping->attr = *attr;
    ping->orders[0] = ping->orders[1] = ping->answers[0] = ping->answers[1] = -1;
    rc = open_hub(ping);
    if (!rc && (pipe(ping->orders) || pipe(ping->answers)))
        rc = kofn_error_errno(NULL, "ping: pipe");
    rc = rc ? rc : start_worker(ping);
    if (rc) {
        slot_ping_close(ping);
        return rc;
    }
    *ping_p = ping;
    return 0;
}

static void close_pipe(const int ends[2])
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

void slot_ping_close(struct slot_ping *ping)
{
    if (!ping)
        return;
    if (ping->child > 0) {
        kill(ping->child, SIGKILL); /* later children hold the pipe open too, so it does not end */
        waitpid(ping->child, NULL, 0);
    }
    close_pipe(ping->orders);
    close_pipe(ping->answers);
    if (ping->hub)
        ping->attr.transport->hub_close(ping->hub);
    free(ping);
}
