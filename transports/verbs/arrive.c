/* What comes in at the hub: publications, notes of workers, completions of what was sent. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "transports/verbs/errors.h"
#include "transports/verbs/hub.h"

#define BATCH 32
#define PAGE_BITS 12 /* queue pair numbers have 24 bits: a table of tables */
#define PAGE_OWNERS (1u << PAGE_BITS)
#define UPKEEP_POLLS 4096
#define LOOK_POLLS 16 /* how often what has time is looked at: completions of what was sent */
#define OWED_MOST                                                                                  \
    4u /* receive requests that may be owed while more comes in: of NOTES spare ones */
#define UPKEEP_NS (5 * KOFN_NS_PER_MS)

/* ---- whose queue pair is it ---- */

static uint32_t *owner_of(struct kofn__verbs_hub *hub, uint32_t qpn, bool make)
{
    uint32_t page = qpn >> PAGE_BITS & (PAGE_OWNERS - 1);

    if (!hub->owners[page] && make)
        hub->owners[page] = calloc(PAGE_OWNERS, sizeof(uint32_t));
    return hub->owners[page] ? &hub->owners[page][qpn & (PAGE_OWNERS - 1)] : NULL;
}

/* An owner is 1 + rank * 2 + which lane; 0 = nobody. */
int kofn__verbs_hub_own(struct kofn__verbs_hub *hub, uint32_t rank)
{
    for (uint32_t i = 0; i < KOFN__VERBS_PAIRS; i++) {
        uint32_t *owner = owner_of(hub, hub->members[rank].lanes[i].qp->qp_num, true);

        if (!owner)
            return kofn_error(hub->hub.log, KOFN_NO_MEMORY, "verbs: a table of queue pairs");
        *owner = 1 + rank * KOFN__VERBS_PAIRS + i;
    }
    return 0;
}

void kofn__verbs_hub_disown(struct kofn__verbs_hub *hub, uint32_t rank)
{
    for (uint32_t i = 0; i < KOFN__VERBS_PAIRS; i++) {
        const struct ibv_qp *qp = hub->members[rank].lanes[i].qp;
        uint32_t *owner = qp ? owner_of(hub, qp->qp_num, false) : NULL;

        if (owner)
            *owner = 0;
    }
}

/* The member and lane that a completion belongs to; false for those of the past. */
static bool find(struct kofn__verbs_hub *hub, uint32_t qpn, uint32_t *rank, uint32_t *which)
{
    const uint32_t *owner = owner_of(hub, qpn, false);

    if (!owner || !*owner)
        return false;
    *rank = (*owner - 1) / KOFN__VERBS_PAIRS;
    *which = (*owner - 1) % KOFN__VERBS_PAIRS;
    return true;
}

/* ---- failures ---- */

static void fail(struct kofn__verbs_hub *hub, uint32_t rank, const char *why)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    char text[KOFN__VERBS_GID_TEXT];
    union ibv_gid gid;

    if (member->failed)
        return;
    member->failed = true;
    member->line_due = false;
    member->receipts_due = 0;
    kofn__verbs_count_busy(hub, member);
    if (member->place != KOFN__VERBS_CONNECTED)
        return; /* of one that was taken out, nothing else was to be expected */
    hub->failures++;
    memcpy(gid.raw, member->peer.gid, sizeof(gid.raw));
    kofn_log(hub->hub.log, KOFN_LOG_WARN, "verbs: %s: rank %u (%s, QP 0x%x): %s", hub->port.name,
             rank, kofn__verbs_gid_print(&gid, text), member->peer.qpn[0], why);
}

void kofn__verbs_hub_fail(struct kofn__verbs_hub *hub, uint32_t rank, enum ibv_wc_status status,
                          uint32_t vendor)
{
    char why[KOFN__VERBS_FAILURE_TEXT];

    fail(hub, rank, kofn__verbs_failure_text(&hub->port, status, vendor, why));
}

/* Of what came in there is no completion: only the device says that it has ended a queue pair. */
static void broken(void *arg, uint32_t qpn, const char *why)
{
    struct kofn__verbs_hub *hub = arg;
    uint32_t rank, which;

    if (find(hub, qpn, &rank, &which))
        fail(hub, rank, why);
}

/* ---- receive completions ---- */

static void arrived(struct kofn__verbs_hub *hub, uint32_t rank, uint32_t immediate)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_arrived *place;

    if (kofn__verbs_in_inbox(hub) || member->place != KOFN__VERBS_CONNECTED)
        return; /* only to wake; or too late */
    if (immediate != (uint32_t)member->next || hub->ring_head - hub->ring_tail > hub->ring_mask)
        return; /* not what is expected of it: it has no publication now, and none will follow */
    place = &hub->ring[hub->ring_head++ & hub->ring_mask];
    place->arrival = (struct kofn_arrival){rank, member->next++};
    place->epoch = member->offer.epoch;
}

static void noted(struct kofn__verbs_hub *hub, uint32_t rank, uint32_t immediate)
{
    if (hub->members[rank].place != KOFN__VERBS_CONNECTED)
        return;
    switch ((enum kofn__verbs_note)(immediate >> 24)) {
    case KOFN__VERBS_NOTE_ASLEEP:
        kofn__verbs_words_asleep(hub, rank, immediate & KOFN__VERBS_COUNT_MASK);
        break;
    case KOFN__VERBS_NOTE_MODEL:
        kofn__verbs_push_asked(hub, rank);
        break;
    case KOFN__VERBS_NOTE_BEAT:
        break;
    }
}

static void received(struct kofn__verbs_hub *hub, const struct ibv_wc *wc)
{
    uint32_t rank, which;

    hub->owed[wc->wr_id]++;
    if (!find(hub, wc->qp_num, &rank, &which))
        return;
    if (wc->status != IBV_WC_SUCCESS)
        kofn__verbs_hub_fail(hub, rank, wc->status, wc->vendor_err);
    else if (!(wc->wc_flags & IBV_WC_WITH_IMM))
        return;
    else if (which == KOFN__VERBS_DATA)
        arrived(hub, rank, ntohl(wc->imm_data));
    else
        noted(hub, rank, ntohl(wc->imm_data));
}

uint32_t kofn__verbs_hub_replenish(struct kofn__verbs_hub *hub)
{
    struct ibv_recv_wr requests[BATCH], *bad;
    uint32_t left = 0;

    for (uint32_t which = 0; which < KOFN__VERBS_PAIRS; which++) {
        while (hub->owed[which]) {
            uint32_t count = KOFN_MIN(hub->owed[which], BATCH);

            for (uint32_t i = 0; i < count; i++)
                requests[i] = (struct ibv_recv_wr){.wr_id = which,
                                                   .next = i + 1 < count ? &requests[i + 1] : NULL};
            if (ibv_post_srq_recv(hub->shared[which], requests, &bad)) {
                hub->owed[which] -= (uint32_t)(bad - requests);
                break;
            }
            hub->owed[which] -= count;
        }
        left += hub->owed[which];
    }
    return left;
}

/* No more than the queue holds: who sends as fast as it is read does not keep us here. */
static void take_receives(struct kofn__verbs_hub *hub)
{
    struct ibv_wc completions[BATCH];
    int count, left = hub->receive->cqe;

    do {
        count = ibv_poll_cq(hub->receive, BATCH, completions);
        for (int i = 0; i < count; i++)
            received(hub, &completions[i]);
        if (hub->owed[0] + hub->owed[1] > (count > 0 ? OWED_MOST : 0)) /* else there is time */
            kofn__verbs_hub_replenish(hub);
        left -= count;
    } while (count == BATCH && left > 0);
}

/* ---- send completions ---- */

static void sent(struct kofn__verbs_hub *hub, const struct ibv_wc *wc)
{
    uint32_t rank, which;

    if (!find(hub, wc->qp_num, &rank, &which))
        return;
    kofn__verbs_lane_complete(&hub->members[rank].lanes[which], wc->wr_id);
    if (wc->status != IBV_WC_SUCCESS) {
        kofn__verbs_hub_fail(hub, rank, wc->status, wc->vendor_err);
        return;
    }
    if (hub->members[rank].place != KOFN__VERBS_CONNECTED)
        return;
    kofn__verbs_push_progress(hub, rank);
    kofn__verbs_read_progress(hub, rank);
    kofn__verbs_words_flush(hub, rank);
}

/* The same: what completes lets more be sent, which completes. */
static void take_sends(struct kofn__verbs_hub *hub)
{
    struct ibv_wc completions[BATCH];
    int count, left = hub->send->cqe;

    do {
        count = ibv_poll_cq(hub->send, BATCH, completions);
        for (int i = 0; i < count; i++)
            sent(hub, &completions[i]);
        left -= count;
    } while (count == BATCH && left > 0);
}

/* What need not be looked at every time: events of the device, and acknowledgements overdue. */
static void upkeep(struct kofn__verbs_hub *hub, uint64_t now)
{
    hub->polls = 0;
    if (now - hub->upkeep_ns < UPKEEP_NS)
        return;
    hub->upkeep_ns = now;
    kofn__verbs_listen_events(hub);
    if (kofn__verbs_port_events(&hub->port, broken, hub) && !hub->lost) {
        hub->lost = true;
        for (uint32_t rank = 0; rank < hub->hub.workers; rank++)
            if (hub->members[rank].place == KOFN__VERBS_CONNECTED)
                kofn__verbs_hub_fail(hub, rank, IBV_WC_FATAL_ERR, 0);
    }
    for (uint32_t rank = 0; rank < hub->hub.workers; rank++) {
        struct kofn__verbs_member *member = &hub->members[rank];

        if (member->place != KOFN__VERBS_CONNECTED || member->failed)
            continue;
        for (int i = 0; i < KOFN__VERBS_PAIRS; i++)
            kofn__verbs_lane_probe(&member->lanes[i], member->theirs[KOFN__VERBS_BLOCK].address,
                                   member->theirs[KOFN__VERBS_BLOCK].key, now);
    }
}

void kofn__verbs_hub_progress(struct kofn__verbs_hub *hub)
{
    take_receives(hub);
    take_sends(hub);
    upkeep(hub, kofn_now_ns());
}

/* ---- reporting ---- */

bool kofn__verbs_hub_any(struct kofn__verbs_hub *hub)
{
    if (hub->failures)
        return true;
    return kofn__verbs_in_inbox(hub) ? kofn_inbox_any(&hub->inbox)
                                     : hub->ring_head != hub->ring_tail;
}

static int take_ring(struct kofn__verbs_hub *hub, struct kofn_arrival *arrivals, int max)
{
    int count = 0;

    while (count < max && hub->ring_tail != hub->ring_head) {
        const struct kofn__verbs_arrived *arrived = &hub->ring[hub->ring_tail++ & hub->ring_mask];
        const struct kofn__verbs_member *member = &hub->members[arrived->arrival.rank];

        if (member->place == KOFN__VERBS_CONNECTED && member->offer.epoch == arrived->epoch)
            arrivals[count++] = arrived->arrival;
    }
    return count;
}

/* One member whose connection has failed, each once. */
static int report_failure(struct kofn__verbs_hub *hub, struct kofn_arrival *arrival)
{
    for (uint32_t rank = 0; rank < hub->hub.workers; rank++) {
        struct kofn__verbs_member *member = &hub->members[rank];

        if (!member->failed || member->reported || member->place != KOFN__VERBS_CONNECTED)
            continue;
        member->reported = true;
        hub->failures--;
        *arrival = (struct kofn_arrival){.rank = rank};
        return KOFN_GONE;
    }
    return 0;
}

int kofn__verbs_hub_poll(struct kofn_hub *base, struct kofn_arrival *arrivals, int max)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    bool has_time = ++hub->polls % LOOK_POLLS == 0;
    int count;

    if (hub->mode == KOFN__VERBS_IMM || has_time) /* elsewhere memory says what has arrived */
        take_receives(hub);
    if (hub->busy || has_time)
        take_sends(hub);
    if (KOFN_UNLIKELY(hub->polls >= UPKEEP_POLLS))
        upkeep(hub, kofn_now_ns());
    count = kofn__verbs_in_inbox(hub) ? kofn_inbox_take(&hub->inbox, arrivals, max)
                                      : take_ring(hub, arrivals, max);
    if (count || !max || KOFN_LIKELY(!hub->failures))
        return count;
    return report_failure(hub, arrivals);
}
