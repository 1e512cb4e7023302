#include "core/server.h"

#include <stdio.h>
#include <string.h>

#include "round/account.h"

#include "core/attr.h"

#define STOP_NS (2 * KOFN_NS_PER_S)
#define SAY_NS (10 * KOFN_NS_PER_S) /* between two words about who is waited for */

const char *kofn_server_address(const struct kofn_server *server)
{
    return server->listener.address;
}

const float *kofn_server_model(const struct kofn_server *server)
{
    return kofn_slot_payload(&server->hub->model, server->hub->models, server->version);
}

static uint32_t joined(const struct kofn_server *server)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        count += kofn_member_connected(&server->round.members[rank]);
    return count;
}

/* "3, 5, 6 and 12 more" */
static void list_missing(const struct kofn_server *server, char *text, size_t room)
{
    const uint32_t most = 16;
    uint32_t listed = 0, missing = server->attr.workers - joined(server);
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t rank = 0; rank < server->attr.workers && listed < most; rank++) {
        if (kofn_member_connected(&server->round.members[rank]))
            continue;
        used += (size_t)snprintf(text + used, room - used, "%s%u", listed ? ", " : "", rank);
        listed++;
    }
    if (missing > listed)
        snprintf(text + used, room - used, " and %u more", missing - listed);
}

/* Says now and then who is waited for. @say_ns: in and out, when the next time is */
static void say_missing(const struct kofn_server *server, uint64_t now, uint64_t *say_ns)
{
    char missing[256];

    if (now < *say_ns)
        return;
    *say_ns = now + SAY_NS;
    list_missing(server, missing, sizeof(missing));
    kofn_log(server->log, KOFN_LOG_WARN, "waiting for rank %s: %u of %u workers have joined",
             missing, joined(server), server->attr.workers);
}

static int wait_for_workers(struct kofn_server *server)
{
    uint64_t began = kofn_now_ns(), deadline = kofn_deadline(began, server->attr.join_timeout),
             now = began, say_ns = began + SAY_NS;
    char missing[256];

    while (joined(server) < server->attr.workers && now < deadline) {
        int rc = kofn__admit_look(server, now, KOFN_MIN(deadline, now + 100 * KOFN_NS_PER_MS));

        if (__atomic_exchange_n(&server->interrupted, false, __ATOMIC_RELAXED))
            return KOFN_INTERRUPTED;
        if (rc && rc != KOFN_INTERRUPTED)
            return rc;
        now = kofn_now_ns();
        say_missing(server, now, &say_ns);
    }
    if (joined(server) == server->attr.workers)
        return 0;
    list_missing(server, missing, sizeof(missing));
    if (joined(server) < server->attr.quorum)
        return kofn_error(server->log, KOFN_TIMEOUT,
                          "after %.1f s only %u of %u workers have joined; missing: rank %s",
                          (double)(now - began) / 1e9, joined(server), server->attr.workers,
                          missing);
    kofn_log(server->log, KOFN_LOG_WARN, "after %.1f s going on without rank %s",
             (double)(now - began) / 1e9, missing);
    return 0;
}

/* Opens the next round for everybody. The model is out by now, and so are the receipts. */
static void open_next(struct kofn_server *server)
{
    server->bytes = server->merged_updates = 0;
    server->loss_sum = 0;
    server->gates_closed = false;
    kofn_round_next(&server->round, kofn_now_ns());
    kofn__serve_gates(server);
}

int kofn_server_start(struct kofn_server *server, const float *model)
{
    struct kofn_hub *hub = server->hub;
    struct kofn_stamp stamp = {.round = 1,
                               .version = 1,
                               .updates = server->attr.local_steps,
                               .length = hub->model.payload_bytes,
                               .sequence = 1};
    int rc;

    if (server->serving)
        return kofn_error(server->log, KOFN_INVALID, "the server has been started already");
    rc = wait_for_workers(server);
    if (rc)
        return rc;
    memcpy(kofn_slot_withdraw(&hub->model, hub->models, 1), model, hub->model.payload_bytes);
    server->version = 1;
    kofn_slot_publish(&hub->model, hub->models, &stamp);
    kofn__merge_remember(server);
    server->serving = true;
    open_next(server);
    return 0;
}

static int fill_report(const struct kofn_server *server, struct kofn_round_report *report)
{
    struct kofn_round_report result;

    if (!report)
        return 0;
    kofn_round_describe(&server->round, &result);
    result.bytes = server->bytes;
    result.updates = server->merged_updates;
    if (server->merged_updates)
        result.loss = server->loss_sum / (double)server->merged_updates;
    result.published_ns = server->published_ns;
    return kofn__report_give(&result, sizeof(result), report);
}

/* Serves until the round is READY, or for as long as there is hope of it. */
static int serve_round(struct kofn_server *server, uint64_t deadline)
{
    while (server->round.phase != KOFN_PHASE_READY) {
        int rc = kofn__serve(server, deadline);

        if (rc)
            return rc;
        if (server->round.phase == KOFN_PHASE_READY)
            break;
        if (!server->round.available && !joined(server) && !server->round.reached &&
            !kofn__admit_awaits(server, kofn_now_ns()))
            return kofn_error(server->log, KOFN_GONE, "no worker is left in round %u",
                              server->round.number);
        if (deadline != KOFN_FOREVER && kofn_now_ns() >= deadline)
            return KOFN_TIMEOUT;
    }
    return 0;
}

int kofn_server_step(struct kofn_server *server, uint64_t timeout, struct kofn_round_report *report)
{
    int rc;

    if (!server->serving || server->stopped)
        return kofn_error(server->log, KOFN_INVALID, "a step of a server that is not serving");
    if (report && report->size <= sizeof(report->size))
        return kofn_error(server->log, KOFN_INVALID, "the size of a round's report is not set");
    rc = serve_round(server, kofn_deadline(kofn_now_ns(), timeout));
    if (rc)
        return rc;
    kofn__merge_round(server);
    fill_report(server, report);
    open_next(server);
    kofn__report_states(server);
    return 0;
}

/* Merges what the open round has, so that no finished work is lost to the end of the job. */
static void close_last_round(struct kofn_server *server, uint64_t deadline)
{
    int rc;

    kofn__serve_arrivals(server);
    if (server->round.phase == KOFN_PHASE_OPEN)
        kofn_round_stop(&server->round, kofn_now_ns());
    do { /* an interrupt that has not been seen yet was for a step */
        rc = serve_round(server, deadline);
    } while (rc == KOFN_INTERRUPTED);
    if (rc) /* without those who have not answered by now */
        kofn_round_stop(&server->round, kofn_now_ns());
    kofn__merge_round(server);
    kofn_round_next(&server->round, kofn_now_ns());
    kofn_round_end(&server->round);
}

/* Workers that can be expected to answer to the end of the job. */
static uint32_t answering(const struct kofn_server *server)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        count += kofn_member_available(&server->round.members[rank]);
    return count;
}

/* Whoever has not answered to the end will not be listened to any more: its account is closed. */
static void write_off(struct kofn_server *server)
{
    for (uint32_t rank = 0; rank < server->attr.workers; rank++) {
        if (!kofn_member_connected(&server->round.members[rank]))
            continue;
        kofn__admit_last_beat(server, rank);
        kofn_round_write_off(&server->round, rank);
    }
}

int kofn_server_stop(struct kofn_server *server, uint64_t timeout)
{
    uint64_t now = kofn_now_ns(), deadline = kofn_deadline(now, timeout);

    if (server->stopped)
        return 0;
    if (server->serving)
        close_last_round(server, deadline);
    server->stopped = true;
    kofn__serve_gates(server);
    kofn__admit_dismiss(server);
    while (answering(server) && now < deadline) {
        int rc = kofn__admit_look(server, now, KOFN_MIN(deadline, now + KOFN_TICK_NS));

        if (rc && rc != KOFN_INTERRUPTED)
            return rc;
        kofn__serve_arrivals(server);
        now = kofn_now_ns();
    }
    write_off(server);
    return answering(server) ? KOFN_TIMEOUT : 0;
}

void kofn_server_close(struct kofn_server *server)
{
    if (!server)
        return;
    kofn_server_stop(server, STOP_NS);
    kofn__server_free(server);
}

void kofn_server_interrupt(struct kofn_server *server)
{
    __atomic_store_n(&server->interrupted, true, __ATOMIC_RELAXED);
}
