/* Workers come and go: their queue pairs and their memory at the hub.
 *
 * Who is taken out loses its keys first: from then on whatever it still writes is refused by the
 * device and changes nothing. Its queue pairs live until its place is reclaimed, so that it learns
 * of that at once and has got its last gate.
 */
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "transports/verbs/hub.h"

#define DRAIN_NS (200 * KOFN_NS_PER_MS)
#define DATA_SPARE                                                                                 \
    6 /* requests on the data lane besides a model: probes, and reading at workers                 \
       */

static int open_lanes(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_queues queues = {.send = hub->send, .receive = hub->receive};
    int rc = 0;

    for (uint32_t i = 0; !rc && i < KOFN__VERBS_PAIRS; i++) {
        queues.shared = hub->shared[i];
        queues.sends = i == KOFN__VERBS_DATA ? kofn__verbs_push_requests(hub) +
                                                   kofn__verbs_read_requests(hub) + DATA_SPARE
                                             : kofn__verbs_words_depth(hub->hub.workers);
        rc = kofn__verbs_lane_open(&member->lanes[i], &hub->port, &queues,
                                   rank * KOFN__VERBS_PAIRS + i);
    }
    return rc;
}

/* Nothing has been written there: a stamp says what a payload is worth. Payloads stay as they are,
 * of which there may be many GiB, while everybody waits.
 */
static void clear_stamps(struct kofn__verbs_hub *hub, uint32_t rank)
{
    for (uint32_t i = 0; i < hub->hub.slot.depth; i++)
        memset(kofn_slot_stamp(&hub->hub.slot, kofn_hub_slot(&hub->hub, rank), i), 0,
               sizeof(struct kofn_stamp));
}

/* The keys to its slot and to its beat, and to nothing else. */
static int register_memory(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    char *slot = kofn_hub_slot(&hub->hub, rank);
    char *beat = (char *)hub->beats.address + rank * hub->hub.beat_stride;
    unsigned payload = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                       (hub->mode == KOFN__VERBS_ATOMIC ? IBV_ACCESS_REMOTE_ATOMIC : 0) |
                       (hub->port.options.relaxed ? IBV_ACCESS_RELAXED_ORDERING : 0);

    if (hub->pull) /* it is we who write there */
        payload = IBV_ACCESS_LOCAL_WRITE;
    clear_stamps(hub, rank);
    memset(beat, 0, sizeof(uint64_t));
    member->regions[KOFN__VERBS_SLOT] = kofn__verbs_register(&hub->port, "a worker's slot", slot,
                                                             hub->hub.slot.slot_bytes, payload);
    if (!member->regions[KOFN__VERBS_SLOT])
        return KOFN_NO_MEMORY;
    member->regions[KOFN__VERBS_BEAT] =
        kofn__verbs_register(&hub->port, "a worker's beat", beat, sizeof(uint64_t),
                             IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    return member->regions[KOFN__VERBS_BEAT] ? 0 : KOFN_NO_MEMORY;
}

static void take_keys(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];

    for (int i = 0; i < KOFN__VERBS_HUB_MEMORIES; i++)
        if (member->regions[i] && !ibv_dereg_mr(member->regions[i]))
            member->regions[i] = NULL;
}

static void fill_offer(struct kofn__verbs_hub *hub, uint32_t rank, uint32_t epoch)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_offer *offer = &member->offer;

    *offer = (struct kofn__verbs_offer){.rank = rank,
                                        .epoch = epoch,
                                        .workers = hub->hub.workers,
                                        .mode = hub->mode,
                                        .connect = (uint32_t)hub->port.options.connect,
                                        .slot_depth = hub->hub.slot.depth,
                                        .model_depth = hub->hub.model.depth,
                                        .slot_payload = hub->hub.slot.payload_bytes,
                                        .model_payload = hub->hub.model.payload_bytes};
    if (getrandom(&offer->token, sizeof(offer->token), GRND_NONBLOCK) != sizeof(offer->token))
        offer->token = (uint32_t)kofn_now_ns();
    if (getrandom(&offer->nonce, sizeof(offer->nonce), GRND_NONBLOCK) != sizeof(offer->nonce))
        offer->nonce = kofn_now_ns();
    memcpy(offer->address, hub->listener.address, sizeof(offer->address));
    offer->port = hub->listener.port;
    kofn__verbs_end_fill(&offer->end, &hub->port, member->lanes);
    for (int i = 0; i < KOFN__VERBS_HUB_MEMORIES; i++)
        offer->memories[i] = (struct kofn__verbs_memory){
            .address = (uintptr_t)member->regions[i]->addr, .key = member->regions[i]->rkey};
}

int kofn__verbs_hub_admit(struct kofn_hub *base, uint32_t rank, uint32_t epoch,
                          struct kofn_offer *offer)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member;
    int rc;

    if (rank >= base->workers || hub->members[rank].place != KOFN__VERBS_FREE)
        return kofn_error(base->log, KOFN_INVALID, "verbs: rank %u of %u cannot be admitted%s",
                          rank, base->workers, rank < base->workers ? ": it has a slot" : "");
    member = &hub->members[rank];
    *member = (struct kofn__verbs_member){.next = 1, .push.snapshot = -1};
    memset(kofn__verbs_shadow(hub, rank), 0, sizeof(struct kofn__verbs_shadow));
    rc = open_lanes(hub, rank);
    rc = rc ? rc : register_memory(hub, rank);
    rc = rc ? rc : kofn__verbs_hub_own(hub, rank);
    if (rc) {
        kofn__verbs_member_close(hub, rank);
        return rc;
    }
    fill_offer(hub, rank, epoch);
    kofn__verbs_offer_put(offer, &member->offer, true);
    member->place = KOFN__VERBS_ADMITTED;
    hub->seen[rank] = 0;
    return 0;
}

/* A write may be polled if the device says so of the queue pair that receives it. */
static int check_poll(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct ibv_qp *qp = hub->members[rank].lanes[KOFN__VERBS_DATA].qp;

    if (hub->mode != KOFN__VERBS_POLL || hub->pull || hub->port.options.unsafe ||
        ibv_query_qp_data_in_order(qp, IBV_WR_RDMA_WRITE, 0))
        return 0;
    return kofn_error(hub->hub.log, KOFN_UNSUPPORTED,
                      "verbs: %s does not promise that a write arrives in order, so it cannot be "
                      "polled: use mode=imm (or unsafe-poll=yes, to measure)",
                      hub->port.name);
}

/* Takes in what a worker that is being admitted has answered. */
static int take_answer(struct kofn__verbs_hub *hub, uint32_t rank, const struct kofn_offer *offer)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_offer answer;
    const char *why = "it is not an answer to its offer";

    if (kofn__verbs_offer_get(offer, false, &answer) ||
        !kofn__verbs_offer_matches(&answer, &member->offer) ||
        !kofn__verbs_end_valid(&answer.end, &hub->port, &why))
        return kofn_error(hub->hub.log, KOFN_PROTOCOL, "verbs: rank %u: %s", rank, why);
    member->peer = answer.end;
    memcpy(member->theirs, answer.memories, sizeof(member->theirs));
    member->connect_ns = kofn_deadline(kofn_now_ns(), hub->port.peer_limit);
    member->answered = true;
    return 0;
}

/* Makes the connection, as far as that is possible now. */
static int make_connection(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    unsigned access =
        IBV_ACCESS_REMOTE_WRITE | (hub->mode == KOFN__VERBS_ATOMIC ? IBV_ACCESS_REMOTE_ATOMIC : 0);
    int rc = hub->listener.channel
                 ? kofn__verbs_accept(hub, rank, access)
                 : kofn__verbs_connect(&hub->port, member->lanes, &member->offer.end, &member->peer,
                                       access, rank);

    rc = rc ? rc : check_poll(hub, rank);
    if (!rc && hub->pull && !KOFN_MIN(member->offer.end.depth, member->peer.depth))
        rc = kofn_error(hub->hub.log, KOFN_UNSUPPORTED,
                        "verbs: rank %u: one of the two devices allows no reads, which pull "
                        "publication needs",
                        rank);
    if (!rc && member->failed)
        rc = kofn_error(hub->hub.log, KOFN_GONE,
                        "verbs: %s: rank %u: its connection has failed while it was made",
                        hub->port.name, rank);
    return rc;
}

int kofn__verbs_hub_connect(struct kofn_hub *base, uint32_t rank, const struct kofn_offer *offer)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member;
    int rc;

    if (offer)
        kofn_offer_close(offer);
    if (rank >= base->workers || hub->members[rank].place != KOFN__VERBS_ADMITTED ||
        hub->members[rank].answered != !offer)
        return kofn_error(base->log, KOFN_INVALID, "verbs: rank %u is not being admitted", rank);
    member = &hub->members[rank];
    rc = offer ? take_answer(hub, rank, offer) : 0;
    rc = rc ? rc : make_connection(hub, rank);
    member->answered = rc == KOFN_AGAIN;
    if (rc)
        return rc;
    member->place = KOFN__VERBS_CONNECTED;
    if (kofn__verbs_in_inbox(hub) && !hub->pull)
        kofn_inbox_watch(&hub->inbox, rank);
    if (hub->wants) {
        member->line_due = true;
        kofn__verbs_words_flush(hub, rank);
    }
    return 0;
}

void kofn__verbs_hub_evict(struct kofn_hub *base, uint32_t rank)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member;

    if (rank >= base->workers || hub->members[rank].place == KOFN__VERBS_FREE ||
        hub->members[rank].place == KOFN__VERBS_EVICTED)
        return;
    member = &hub->members[rank];
    take_keys(hub, rank);
    if (kofn__verbs_in_inbox(hub) && member->place == KOFN__VERBS_CONNECTED)
        kofn_inbox_unwatch(&hub->inbox, rank);
    if (member->place == KOFN__VERBS_CONNECTED && member->failed && !member->reported)
        hub->failures--;
    member->place = KOFN__VERBS_EVICTED;
    member->line_due = false;
    member->receipts_due = 0;
    kofn__verbs_count_busy(hub, member);
    memset((char *)hub->beats.address + rank * base->beat_stride, 0, sizeof(uint64_t));
    hub->seen[rank] = 0;
}

/* Waits, but not for long, until nothing that was sent to @rank is under way any more. */
static void drain(struct kofn__verbs_hub *hub, uint32_t rank)
{
    uint64_t deadline = kofn_now_ns() + DRAIN_NS;

    for (int i = 0; i < KOFN__VERBS_PAIRS; i++) {
        struct kofn__verbs_lane *lane = &hub->members[rank].lanes[i];
        struct ibv_send_wr wr = {.opcode = IBV_WR_RDMA_WRITE};

        if (!lane->qp || lane->posted == lane->done || !kofn__verbs_lane_room(lane))
            continue;
        if (kofn__verbs_lane_post(lane, &wr, &wr, 1, true)) /* the last: it is flushed, too */
            continue;
        while (!kofn__verbs_lane_past(lane, lane->posted) && kofn_now_ns() < deadline)
            kofn__verbs_hub_progress(hub);
    }
}

void kofn__verbs_member_close(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];

    take_keys(hub, rank);
    kofn__verbs_hub_disown(hub, rank);
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++)
        kofn__verbs_lane_close(&member->lanes[i]);
    kofn__verbs_accept_end(member);
    take_keys(hub, rank); /* those that were still in use */
    kofn__verbs_push_end(hub, rank);
    member->place = KOFN__VERBS_FREE;
}

int kofn__verbs_hub_reclaim(struct kofn_hub *base, uint32_t rank, bool gone)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member;

    (void)gone; /* without its keys it can do no harm, alive or not */
    if (rank >= base->workers || hub->members[rank].place == KOFN__VERBS_ADMITTED ||
        hub->members[rank].place == KOFN__VERBS_CONNECTED)
        return kofn_error(base->log, KOFN_INVALID, "verbs: rank %u has not been evicted", rank);
    member = &hub->members[rank];
    if (member->place == KOFN__VERBS_FREE)
        return 0;
    for (int i = 0; i < KOFN__VERBS_PAIRS; i++)
        kofn__verbs_lane_fail(&member->lanes[i]);
    drain(hub, rank);
    kofn__verbs_hub_progress(
        hub); /* what it took from the receive queues, its queue pairs take along */
    kofn__verbs_member_close(hub, rank);
    for (int i = 0; i < KOFN__VERBS_HUB_MEMORIES; i++)
        if (member->regions[i]) {
            member->place = KOFN__VERBS_EVICTED;
            return KOFN_AGAIN; /* the device holds on to it */
        }
    return 0;
}
