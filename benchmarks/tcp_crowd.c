#include "benchmarks/tcp_crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "benchmarks/cores.h"
#include "benchmarks/harness.h"
#include "benchmarks/tcp_bare.h"
#include "transports/uring/frame.h"
#include "transports/uring/offer.h"
#include "transports/uring/uring.h"

#define EPOCH 1u
#define BYTES 8u
#define ROUNDS_MAX 1000u
#define SILENCE_NS (10 * KOFN_NS_PER_S)

/* What both processes see. */
struct shared {
    uint64_t kth_ns; /* when the K-th publication of this round was sent; 0 = not yet */
};

/* A round that is ordered: what the driver is told. */
struct order {
    uint32_t wait_for;
    uint32_t round; /* also the sequence of its publications */
};

struct tcp_crowd {
    uint32_t workers, round;
    uint16_t port; /* of `bare` */
    int here, there;
    struct kofn_hub *hub; /* one of both */
    struct tcp_bare *bare;
    struct shared *shared;
    struct kofn__tcp_offer *offers;
    int orders[2], answers[2]; /* pipes to and from the driver */
    pid_t child;
};

const char tcp_crowd_bare[] = "bare";

/* ---- the driver ---- */

/* A publication of a round, as it is on the wire. */
struct publication {
    struct kofn__frame write;
    uint64_t payload;
    struct kofn__frame stamp_frame;
    struct kofn_stamp stamp;
};

static struct publication publication_of(uint32_t round)
{
    return (struct publication){.write = kofn__frame_write(REGION_SLOT, EPOCH, round, 0, BYTES),
                                .payload = round,
                                .stamp_frame = kofn__frame_stamp(REGION_SLOT, EPOCH, round),
                                .stamp = {.epoch = EPOCH,
                                          .round = round,
                                          .version = round,
                                          .updates = 1,
                                          .total = round,
                                          .length = BYTES,
                                          .sequence = round}};
}

static int connect_worker(const struct kofn__tcp_offer *offer)
{
    struct kofn__greeting greeting = kofn__greeting_make(offer, LINK_CONTROL);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)offer->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return write(fd, &greeting, sizeof(greeting)) == sizeof(greeting) ? fd : -1;
}

static void shuffle(uint32_t *order, uint32_t count, struct kofn_random *random)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = (uint32_t)kofn_random_below(random, i), kept = order[i - 1];

        order[i - 1] = order[j];
        order[j] = kept;
    }
}

/* All publish; when the K-th begins to, the time is noted. Gates of the round before are thrown
 * away. */
static bool drive_round(const struct tcp_crowd *crowd, const int *fds, const uint32_t *turns,
                        const struct order *order)
{
    struct publication publication = publication_of(order->round);
    char gates[4096];

    for (uint32_t i = 0; i < crowd->workers; i++)
        while (recv(fds[i], gates, sizeof(gates), MSG_DONTWAIT) > 0)
            ;
    for (uint32_t i = 0; i < crowd->workers; i++) {
        if (i + 1 == order->wait_for)
            __atomic_store_n(&crowd->shared->kth_ns, kofn_now_ns(), __ATOMIC_RELEASE);
        if (send(fds[turns[i]], &publication, sizeof(publication), MSG_NOSIGNAL) !=
            sizeof(publication))
            return false;
    }
    return true;
}

static void drive(const struct tcp_crowd *crowd)
{
    uint32_t *turns = calloc(crowd->workers, sizeof(*turns));
    int *fds = calloc(crowd->workers, sizeof(*fds)), ready = 0;
    struct kofn_random random;
    struct order order;

    if (!turns || !fds)
        return;
    kofn_random_seed(&random, 1, 0);
    for (uint32_t i = 0; i < crowd->workers; i++) {
        turns[i] = i;
        fds[i] = connect_worker(&crowd->offers[i]);
        if (fds[i] < 0)
            return;
    }
    if (write(crowd->answers[1], &ready, sizeof(ready)) != sizeof(ready))
        return;
    while (read(crowd->orders[0], &order, sizeof(order)) == sizeof(order)) {
        shuffle(turns, crowd->workers, &random);
        if (!drive_round(crowd, fds, turns, &order))
            return;
    }
}

static void child_main(const struct tcp_crowd *crowd, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(crowd->orders[1]);
    close(crowd->answers[0]);
    if (getppid() == parent && bench_pin(crowd->there) == 0)
        drive(crowd);
    _exit(0);
}

/* ---- the server ---- */

/* Collects until @count more have come. KOFN_GONE if they do not. */
static int collect(struct tcp_crowd *crowd, uint32_t count)
{
    uint64_t deadline = kofn_now_ns() + SILENCE_NS;
    struct kofn_hub *hub = crowd->hub;

    if (crowd->bare)
        return tcp_bare_collect(crowd->bare, count, sizeof(struct publication), deadline);
    while (count) {
        struct kofn_arrival found[256];
        int more =
            hub->ops->hub_poll(hub, found, (int)KOFN_MIN(count, (uint32_t)KOFN_ARRAY_SIZE(found)));

        if (more < 0 || (!more && kofn_now_ns() > deadline))
            return KOFN_GONE;
        count -= (uint32_t)more;
        hub->patience = count;
        if (!more)
            hub->ops->hub_wait(hub, deadline);
    }
    return 0;
}

/* Whoever has published may go on: a gate for everyone. */
static void answer(struct tcp_crowd *crowd)
{
    struct kofn_gate gate = {
        .round = crowd->round, .state = KOFN_GATE_OPEN, .released = crowd->round % 256};
    struct kofn__frame frame = kofn__frame_word(REGION_BLOCK, EPOCH, kofn_gate_pack(gate), 0);

    if (crowd->bare)
        tcp_bare_answer(crowd->bare, &frame, sizeof(frame));
    for (uint32_t rank = 0; crowd->hub && rank < crowd->workers; rank++)
        crowd->hub->ops->hub_gate(crowd->hub, rank, kofn_gate_pack(gate));
}

/* One round: how long the K-th took to be known; then the rest is taken, and all is released. */
static int run_round(struct tcp_crowd *crowd, uint32_t wait_for, double *ns)
{
    struct order order = {.wait_for = wait_for, .round = ++crowd->round};
    uint64_t known, kth;
    int rc;

    __atomic_store_n(&crowd->shared->kth_ns, 0, __ATOMIC_RELAXED);
    if (write(crowd->orders[1], &order, sizeof(order)) != sizeof(order))
        return KOFN_GONE;
    rc = collect(crowd, wait_for);
    known = kofn_now_ns();
    rc = rc ? rc : collect(crowd, crowd->workers - wait_for);
    if (rc)
        return rc;
    kth = __atomic_load_n(&crowd->shared->kth_ns, __ATOMIC_ACQUIRE);
    *ns = (double)(known - kth);
    answer(crowd);
    return 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int run_rounds(struct tcp_crowd *crowd, uint32_t wait_for, uint32_t rounds, double *times)
{
    int rc = bench_pin(crowd->here);

    for (uint32_t i = 0; !rc && i < rounds; i++)
        rc = run_round(crowd, wait_for, &times[i]);
    return rc ? kofn_error(NULL, KOFN_GONE, "crowd: the workers do not publish") : 0;
}

int tcp_crowd_run(struct tcp_crowd *crowd, uint32_t wait_for, uint32_t rounds,
                  struct tcp_crowd_sample *sample)
{
    double times[ROUNDS_MAX], before = bench_cpu_ns(false);
    int rc;

    rounds = KOFN_MIN(rounds, ROUNDS_MAX);
    rc = run_rounds(crowd, wait_for, rounds, times);
    if (rc)
        return rc;
    sample->cpu_ns = (bench_cpu_ns(false) - before) / rounds / crowd->workers;
    qsort(times, rounds, sizeof(times[0]), ascending);
    sample->p99_ns = times[(size_t)(0.99 * (rounds - 1))];
    return 0;
}

int tcp_crowd_idle(struct tcp_crowd *crowd, double seconds, double *ns)
{
    uint64_t begun = kofn_now_ns(), end = begun + (uint64_t)(seconds * 1e9), now;
    double before = bench_cpu_ns(false);

    crowd->hub->patience = 0;
    while ((now = kofn_now_ns()) < end)
        crowd->hub->ops->hub_wait(crowd->hub, end);
    *ns = (bench_cpu_ns(false) - before) / ((double)(now - begun) / 1e9);
    return 0;
}

/* ---- both ---- */

static bool room_for(uint32_t workers)
{
    struct rlimit limit;
    rlim_t needed = workers + 200;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return false;
    if (limit.rlim_cur < needed && limit.rlim_max >= needed) {
        limit.rlim_cur = needed;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur >= needed;
}

static int admit_all(struct tcp_crowd *crowd)
{
    for (uint32_t rank = 0; crowd->bare && rank < crowd->workers; rank++)
        crowd->offers[rank].port = crowd->port;
    for (uint32_t rank = 0; crowd->hub && rank < crowd->workers; rank++) {
        struct kofn_offer offer;
        int rc = crowd->hub->ops->hub_admit(crowd->hub, rank, EPOCH, &offer);

        rc = rc ? rc : kofn__offer_get(&offer, &crowd->offers[rank]);
        if (rc)
            return rc;
    }
    return 0;
}

static int connect_one(struct tcp_crowd *crowd, uint32_t rank)
{
    struct kofn_offer answer;

    if (crowd->bare)
        return tcp_bare_accept(crowd->bare, sizeof(struct kofn__greeting));
    kofn__answer_put(&answer, &crowd->offers[rank]);
    return crowd->hub->ops->hub_connect(crowd->hub, rank, &answer);
}

/* Starts the driver, and connects its workers as they come. */
static int start_driver(struct tcp_crowd *crowd)
{
    pid_t parent = getpid();
    int ready, rc = 0;

    if (pipe(crowd->orders) || pipe(crowd->answers))
        return kofn_error_errno(NULL, "crowd: pipe");
    crowd->child = fork();
    if (crowd->child == 0)
        child_main(crowd, parent);
    if (crowd->child < 0)
        return kofn_error_errno(NULL, "crowd: fork");
    close(crowd->answers[1]);
    crowd->answers[1] = -1;
    for (uint32_t rank = 0; !rc && rank < crowd->workers; rank++)
        rc = connect_one(crowd, rank);
    if (!rc && read(crowd->answers[0], &ready, sizeof(ready)) != sizeof(ready))
        rc = kofn_error(NULL, KOFN_GONE, "crowd: the workers cannot join");
    return rc;
}

static int open_server(struct tcp_crowd *crowd, const char *options)
{
    struct kofn_hub_attr attr = {
        .workers = crowd->workers, .numa_node = -1, .bind = "127.0.0.1", .options = options};
    int rc = kofn_geometry_init(&attr.slot, BYTES, KOFN_DEPTH);

    if (options == tcp_crowd_bare)
        return tcp_bare_open(crowd->workers, &crowd->port, &crowd->bare);
    attr.model = attr.slot;
    return rc ? rc : kofn_tcp.hub_open(&attr, &crowd->hub);
}

int tcp_crowd_open(uint32_t workers, const char *options, int here, int there,
                   struct tcp_crowd **crowd_p)
{
    struct tcp_crowd *crowd;
    int rc;

    if (!room_for(workers))
        return KOFN_UNSUPPORTED;
    crowd = calloc(1, sizeof(*crowd));
    if (!crowd)
        return kofn_error(NULL, KOFN_NO_MEMORY, "crowd: out of memory");
    *crowd = (struct tcp_crowd){
        .workers = workers, .here = here, .there = there, .orders = {-1, -1}, .answers = {-1, -1}};
    crowd->shared = mmap(NULL, sizeof(*crowd->shared), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    crowd->offers = calloc(workers, sizeof(*crowd->offers));
    if (crowd->shared == MAP_FAILED || !crowd->offers) {
        rc = kofn_error(NULL, KOFN_NO_MEMORY, "crowd: out of memory");
        crowd->shared = NULL;
    } else {
        rc = open_server(crowd, options);
    }
    rc = rc ? rc : admit_all(crowd);
    rc = rc ? rc : start_driver(crowd);
    if (rc) {
        tcp_crowd_close(crowd);
        return rc;
    }
    *crowd_p = crowd;
    return 0;
}

void tcp_crowd_close(struct tcp_crowd *crowd)
{
    if (!crowd)
        return;
    if (crowd->child > 0) {
        kill(crowd->child, SIGKILL);
        waitpid(crowd->child, NULL, 0);
    }
    for (int i = 0; i < 2; i++) {
        if (crowd->orders[i] >= 0)
            close(crowd->orders[i]);
        if (crowd->answers[i] >= 0)
            close(crowd->answers[i]);
    }
    if (crowd->hub)
        kofn_tcp.hub_close(crowd->hub);
    tcp_bare_close(crowd->bare);
    if (crowd->shared)
        munmap(crowd->shared, sizeof(*crowd->shared));
    free(crowd->offers);
    free(crowd);
}
