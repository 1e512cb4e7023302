/* Gates and receipts, on their way to the workers. */
#include <arpa/inet.h>
#include <string.h>

#include "base/barrier.h"
#include "base/log.h"
#include "transports/verbs/hub.h"

#define SPARE 2 /* requests of a lane that words leave free: for a stamp, for a probe */

uint32_t kofn__verbs_words_depth(uint32_t workers)
{
    return workers <= 256 ? 64 : workers <= 1024 ? 32 : 16;
}

void kofn__verbs_words_write(struct kofn__verbs_hub *hub, uint32_t rank, const void *from,
                             uint32_t bytes, struct kofn__verbs_memory to, bool wake, bool signal)
{
    struct kofn__verbs_lane *lane = &hub->members[rank].lanes[KOFN__VERBS_WORDS];
    struct ibv_sge piece = {
        .addr = (uintptr_t)from, .length = bytes, .lkey = hub->shadows_region->lkey};
    struct ibv_send_wr wr = {.opcode = wake ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE,
                             .sg_list = &piece,
                             .num_sge = 1,
                             .send_flags = (wake ? IBV_SEND_SOLICITED : 0) |
                                           (bytes <= lane->inlined ? IBV_SEND_INLINE : 0),
                             .wr.rdma = {.remote_addr = to.address, .rkey = to.key}};

    if (kofn__verbs_lane_post(lane, &wr, &wr, 1, signal))
        kofn__verbs_hub_fail(hub, rank, IBV_WC_GENERAL_ERR, 0);
}

/* The worker's block, from @offset on. */
static struct kofn__verbs_memory block_at(const struct kofn__verbs_member *member, size_t offset)
{
    struct kofn__verbs_memory block = member->theirs[KOFN__VERBS_BLOCK];

    block.address += offset;
    return block;
}

/* Receipts lie side by side in a block, in two arrays; a bit stands for the place of each. */
static uint32_t receipt_bit(const struct kofn_receipt_line *line)
{
    size_t offset = kofn_receipt_offset(line->sequence, line->staleness > 0);

    return 1u << (offset - offsetof(struct kofn_block, receipts)) / sizeof(*line);
}

static void write_receipt(struct kofn__verbs_hub *hub, uint32_t rank, uint32_t bit)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    size_t offset = offsetof(struct kofn_block, receipts) + bit * sizeof(struct kofn_receipt_line);
    const char *from = (const char *)&kofn__verbs_shadow(hub, rank)->block + offset;

    member->receipts_due &= ~(1u << bit);
    kofn__verbs_words_write(hub, rank, from, sizeof(struct kofn_receipt_line),
                            block_at(member, offset), false, false);
}

/* Is there a model that is to come before the round that the gate opens? */
static bool held(const struct kofn__verbs_member *member)
{
    return member->push.promised > member->push.stamped;
}

/* What the worker may read now, of @gate, where @former is what it has been told last: of a gate
 * that a model is to come before, its credits; all of one that needs no model.
 */
static uint64_t ahead_of_model(const struct kofn__verbs_hub *hub, uint64_t former, uint64_t gate)
{
    struct kofn_gate before, now;

    if (!kofn_gate_unpack(gate, &now))
        return former;
    if (now.state == KOFN_GATE_END || now.state == KOFN_GATE_EVICTED)
        return gate;
    if (!kofn_gate_unpack(former, &before))
        return former;
    if (now.round == before.round && now.lag == before.lag)
        return gate;
    if (hub->credits_with_round)
        return former;
    before.released = now.released;
    return kofn_gate_pack(before);
}

static void write_line(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    struct kofn__verbs_line *line = &kofn__verbs_shadow(hub, rank)->line;
    uint64_t newest = kofn__verbs_newest(&hub->hub.model, hub->hub.models);
    bool wake = member->asleep;

    line->gate = held(member) ? ahead_of_model(hub, line->gate, member->gate) : member->gate;
    if (!held(member))
        line->published = kofn_word_seal(newest << 8);
    line->state = kofn__verbs_state(hub->wants, member->count);
    member->line_due = member->asleep = false;
    kofn__verbs_words_write(hub, rank, line, sizeof(*line), block_at(member, 0), wake, false);
}

void kofn__verbs_words_flush(struct kofn__verbs_hub *hub, uint32_t rank)
{
    struct kofn__verbs_member *member = &hub->members[rank];
    const struct kofn__verbs_lane *lane = &member->lanes[KOFN__VERBS_WORDS];

    while (member->receipts_due && kofn__verbs_lane_room(lane) > SPARE)
        write_receipt(hub, rank, (uint32_t)__builtin_ctz(member->receipts_due));
    if (member->line_due && !member->receipts_due && kofn__verbs_lane_room(lane) > SPARE)
        write_line(hub, rank);
    kofn__verbs_count_busy(hub, member);
}

/* Completions are looked for where room for words gets short; elsewhere that has time. */
static void make_room(struct kofn__verbs_hub *hub, uint32_t rank)
{
    const struct kofn__verbs_lane *lane = &hub->members[rank].lanes[KOFN__VERBS_WORDS];

    if (KOFN_UNLIKELY(kofn__verbs_lane_room(lane) <= 2 * SPARE))
        kofn__verbs_hub_progress(hub);
}

/* A line is to be written, other than the one before. */
static void renew_line(struct kofn__verbs_hub *hub, uint32_t rank)
{
    hub->members[rank].count++;
    hub->members[rank].line_due = true;
    kofn__verbs_words_flush(hub, rank);
}

void kofn__verbs_words_want(struct kofn__verbs_hub *hub, uint32_t wants)
{
    hub->wants = wants;
    for (uint32_t rank = 0; rank < hub->hub.workers; rank++) {
        struct kofn__verbs_member *member = kofn__verbs_member(hub, rank);

        if (!member || member->failed)
            continue;
        member->line_due = true; /* nothing that a sleeper is to be woken for */
        kofn__verbs_words_flush(hub, rank);
    }
}

/* What it has not seen wakes it now, and the rest when it comes. */
void kofn__verbs_words_asleep(struct kofn__verbs_hub *hub, uint32_t rank, uint32_t count)
{
    struct kofn__verbs_member *member = &hub->members[rank];

    member->asleep = true;
    if (count == (member->count & KOFN__VERBS_COUNT_MASK) || member->failed)
        return;
    member->line_due = true;
    kofn__verbs_words_flush(hub, rank);
}

int kofn__verbs_hub_gate(struct kofn_hub *base, uint32_t rank, uint64_t gate)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member = kofn__verbs_member(hub, rank);
    uint64_t told;

    if (!member)
        return KOFN_INVALID;
    member->gate = gate;
    if (member->failed)
        return KOFN_GONE;
    make_room(hub, rank);
    kofn__verbs_push_progress(hub, rank);
    told = kofn__verbs_shadow(hub, rank)->line.gate;
    if (!held(member) || ahead_of_model(hub, told, gate) != told)
        renew_line(hub, rank);
    return 0;
}

int kofn__verbs_hub_receipt(struct kofn_hub *base, uint32_t rank,
                            const struct kofn_receipt_line *line)
{
    struct kofn__verbs_hub *hub = kofn__verbs_hub(base);
    struct kofn__verbs_member *member = kofn__verbs_member(hub, rank);

    if (!member)
        return KOFN_INVALID;
    if (member->failed)
        return KOFN_GONE;
    kofn_block_put_receipt(&kofn__verbs_shadow(hub, rank)->block, line);
    member->receipts_due |= receipt_bit(line);
    make_room(hub, rank);
    if (base->gates_follow)
        kofn__verbs_words_flush(hub, rank);
    else
        renew_line(hub, rank);
    return 0;
}
