/* rejoin.c: another connection for one that has failed, while the server lives on.
 *
 * A connection is one membership: what was under way in it is lost, and the next one begins with
 * nothing but the newest model. The worker says which membership it continues, so that the server
 * takes that one out before it admits the next, and how much was finished in it: what came of it is
 * counted, and so is what did not.
 */
#include <string.h>
#include <time.h>

#include "core/worker.h"

#define CONNECT_NS KOFN_NS_PER_S /* for one attempt to reach the server */
#define HANDSHAKE_NS                                                                               \
    (22 * KOFN_NS_PER_S) /* more than the server takes for one: 5 s twice, its time-out of         \
                            10 s where the transport has more to exchange than offers */
#define PAUSE_NS (50 * KOFN_NS_PER_MS) /* between the first attempts */
#define PAUSE_MAX_NS KOFN_NS_PER_S

bool kofn__worker_breaks(struct kofn_worker *worker)
{
    uint64_t now = kofn_now_ns();

    if (worker->broken)
        return !worker->server_gone;
    worker->looked_ns = 0; /* what the server has said last may be there, unread */
    kofn__worker_listen(worker, now);
    if (worker->dismissed)
        return true;
    if (!worker->reconnect || worker->server_gone)
        return false;
    worker->broken = true;
    if (worker->version || !worker->broken_ns || now - worker->broken_ns > worker->timeout) {
        worker->broken_ns = now;
        worker->pause_ns = PAUSE_NS;
    } else { /* the connection before gave it no model: the same outage, and no reason to hurry */
        worker->pause_ns = KOFN_MIN(2 * worker->pause_ns, PAUSE_MAX_NS);
    }
    kofn_log(worker->log, KOFN_LOG_WARN,
             "rank %u: its connection to the server (%s) is broken, in round %u%s%s; connecting "
             "again, for up to %.1f s",
             worker->rank, worker->server, worker->round, *worker->why ? ": " : "", worker->why,
             (double)worker->timeout / 1e9);
    return true;
}

int kofn__worker_reconnect(struct kofn_worker *worker, uint64_t deadline, const char **why)
{
    uint64_t now = kofn_now_ns();
    struct kofn_connect_attr connect = {.address = worker->attr.address,
                                        .deadline =
                                            KOFN_MIN(deadline, kofn_deadline(now, CONNECT_NS)),
                                        .silence = worker->timeout,
                                        .log = &worker->named.log};
    struct kofn_channel *control, *former = worker->control;
    int rc = kofn_channel_try(&connect, &control, why);

    if (rc)
        return rc;
    rc = kofn__worker_join(worker, control,
                           KOFN_MIN(deadline, kofn_deadline(kofn_now_ns(), HANDSHAKE_NS)));
    if (!rc) {
        kofn_channel_close(former); /* only now: its end would be taken for the worker's */
        return 0;
    }
    kofn_channel_close(control);
    if (rc == KOFN_REFUSED || rc == KOFN_PROTOCOL || rc == KOFN_INTERRUPTED ||
        rc == KOFN_NO_MEMORY || rc == KOFN_UNSUPPORTED)
        return rc; /* another attempt would end the same way; a port that is down may come up */
    *why = "the server was reached, but could not be joined";
    return KOFN_AGAIN;
}

/* Nothing is left of the former membership. */
static void begin_anew(struct kofn_worker *worker)
{
    worker->broken = false;
    worker->why = "";
    worker->round = worker->version = worker->updates = worker->total = 0;
    worker->compute_ns = 0;
    worker->loss_sum = 0;
    worker->view = NULL;
    worker->reporting = worker->filling = false;
    worker->starved = 0;
    worker->sequence = worker->first = 0;
    worker->published = worker->first_updates = 0;
    worker->late_sent = false;
    worker->late = 0;
    memset(worker->counts, 0, sizeof(worker->counts));
    worker->starved_ns = worker->receipt_after = worker->late_after = 0;
}

/* A little less than @ns, of a length of each rank's own: all may have lost the same server. */
static int rest(const struct kofn_worker *worker, uint64_t ns)
{
    struct timespec pause = {0};

    ns -= ns / 64 * (worker->rank % 16);
    pause.tv_sec = (time_t)(ns / KOFN_NS_PER_S);
    pause.tv_nsec = (long)(ns % KOFN_NS_PER_S);
    return nanosleep(&pause, NULL) ? KOFN_INTERRUPTED : 0;
}

/* There will be no other connection. */
static int give_up(struct kofn_worker *worker, int rc, const char *why)
{
    double waited = (double)(kofn_now_ns() - worker->broken_ns) / 1e9;

    worker->server_gone = true;
    if (rc == KOFN_GONE)
        return kofn_error(worker->log, rc,
                          "rank %u: the server (%s) is gone, in round %u: %s; its job cannot go on",
                          worker->rank, worker->server, worker->round, why);
    if (rc == KOFN_AGAIN)
        return kofn_error(worker->log, KOFN_GONE,
                          "rank %u: the server (%s) could not be joined again for %.1f s, in round "
                          "%u: %s; its job cannot go on",
                          worker->rank, worker->server, waited, worker->round, why);
    return rc; /* said already */
}

int kofn__worker_mend(struct kofn_worker *worker)
{
    uint64_t deadline = kofn_deadline(worker->broken_ns, worker->timeout);
    const char *why = "";
    int rc;

    if (worker->server_gone)
        return KOFN_GONE;
    if (worker->pause_ns > PAUSE_NS && rest(worker, worker->pause_ns))
        return KOFN_INTERRUPTED;
    while ((rc = worker->reconnect(worker, deadline, &why)) == KOFN_AGAIN) {
        uint64_t now = kofn_now_ns();

        if (now >= deadline)
            break;
        if (rest(worker, KOFN_MIN(worker->pause_ns, deadline - now)))
            return KOFN_INTERRUPTED;
        worker->pause_ns = KOFN_MIN(worker->pause_ns + worker->pause_ns / 2, PAUSE_MAX_NS);
    }
    if (rc == KOFN_INTERRUPTED)
        return rc;
    if (rc)
        return give_up(worker, rc, why);
    kofn_log(worker->log, KOFN_LOG_WARN,
             "rank %u: connected to the server (%s) again, after %.1f s, in epoch %u", worker->rank,
             worker->server, (double)(kofn_now_ns() - worker->broken_ns) / 1e9, worker->epoch);
    begin_anew(worker);
    return 0;
}
