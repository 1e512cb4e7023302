/* What happens when a message arrives, and in which order messages do. */
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "transports/self/internal.h"

/* The slot at the hub that a message of @rank is for, or NULL if it comes too late. */
static char *slot_for(const struct kofn_fabric *fabric, uint32_t rank,
                      const struct message *message)
{
    const struct link *link = &fabric->links[rank];

    if (!fabric->hub || message->generation != link->generation ||
        (link->place != PLACE_ADMITTED && link->place != PLACE_CONNECTED))
        return NULL;
    return kofn_hub_slot(&fabric->hub->hub, rank);
}

/* A message that writes into the hub's memory. False if there is nothing for it to write to. */
static bool arrive_up(struct kofn_fabric *fabric, uint32_t rank, const struct message *message,
                      size_t bytes)
{
    char *slot = slot_for(fabric, rank, message);
    const struct kofn_geometry *geometry;

    if (!slot)
        return false;
    geometry = &fabric->hub->hub.slot;
    if (message->kind == KOFN_MESSAGE_PAYLOAD)
        memcpy(kofn_slot_payload(geometry, slot, message->sequence), message->content, bytes);
    else if (message->kind == KOFN_MESSAGE_STAMP)
        kofn_slot_publish(geometry, slot, &message->stamp);
    else
        kofn_peer_store64(&fabric->hub->beats[rank], message->word);
    return true;
}

/* A message that writes into an endpoint's memory. */
static bool arrive_down(struct kofn_fabric *fabric, uint32_t rank, const struct message *message,
                        size_t bytes)
{
    struct self_endpoint *endpoint = kofn__link_endpoint(&fabric->links[rank], message->generation);
    const struct kofn_geometry *geometry;

    if (!endpoint)
        return false;
    geometry = &endpoint->endpoint.model;
    if (message->kind == KOFN_MESSAGE_GATE)
        kofn_peer_store64(&endpoint->block.gate, message->word);
    else if (message->kind == KOFN_MESSAGE_RECEIPT)
        kofn_block_put_receipt(&endpoint->block, &message->receipt);
    else if (message->kind == KOFN_MESSAGE_MODEL)
        memcpy(kofn_slot_payload(geometry, endpoint->models, message->sequence), message->content,
               bytes);
    else
        kofn_slot_publish(geometry, endpoint->models, &message->stamp);
    return true;
}

/* The first look at the stamps: the newest snapshot is chosen. Without one the read is over. */
static void read_stamp(struct link *link, const struct kofn_geometry *geometry, void *buffers)
{
    uint64_t newest = kofn_slot_newest(geometry, buffers);

    link->reading = newest > link->read_after;
    if (link->reading)
        link->read_stamp = *kofn_slot_stamp(geometry, buffers, newest);
}

/* The stamp again: what was read in between is the snapshot's, or it is read once more. */
static void read_check(struct kofn_fabric *fabric, uint32_t rank, void *buffers, void *slot)
{
    const struct kofn_geometry *geometry = &fabric->hub->hub.slot;
    struct link *link = &fabric->links[rank];
    uint64_t sequence = link->read_stamp.sequence;

    if (sequence && kofn_slot_stamp(geometry, buffers, sequence)->sequence == sequence) {
        kofn_slot_publish(geometry, slot, &link->read_stamp);
        kofn_inbox_expect(&fabric->hub->inbox, rank, sequence);
        link->reading = false;
    } else {
        link->reading = !kofn__fabric_post_read(fabric, rank);
    }
    link->read_stamp.sequence = 0;
}

/* A step of a read: of an endpoint's memory, into the hub's. */
static bool arrive_read(struct kofn_fabric *fabric, uint32_t rank, const struct message *message)
{
    struct self_endpoint *endpoint = kofn__link_endpoint(&fabric->links[rank], message->generation);
    struct link *link = &fabric->links[rank];
    char *slot = slot_for(fabric, rank, message);
    const struct kofn_geometry *geometry;
    uint64_t sequence = link->read_stamp.sequence;

    if (!slot || !endpoint || !link->reading)
        return false;
    geometry = &fabric->hub->hub.slot;
    if (message->kind == KOFN_MESSAGE_READ_STAMP)
        read_stamp(link, geometry, endpoint->endpoint.buffers);
    else if (message->kind == KOFN_MESSAGE_READ_CHECK)
        read_check(fabric, rank, endpoint->endpoint.buffers, slot);
    else if (sequence)
        memcpy(kofn_slot_withdraw(geometry, slot, sequence),
               kofn_slot_payload(geometry, endpoint->endpoint.buffers, sequence),
               geometry->payload_bytes);
    return true;
}

/* The first @bytes of the next message arrive. */
static int arrive(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel,
                  size_t bytes)
{
    struct message *message = kofn__fabric_take(fabric, rank, channel);
    bool changed;

    if (!message)
        return KOFN_AGAIN;
    bytes = KOFN_MIN(bytes, message->bytes);
    if (channel == KOFN_CHANNEL_READ)
        changed = arrive_read(fabric, rank, message);
    else
        changed = channel == KOFN_CHANNEL_DOWN ? arrive_down(fabric, rank, message, bytes)
                                               : arrive_up(fabric, rank, message, bytes);
    if (!changed)
        fabric->counts.discarded++;
    else if (bytes < message->bytes)
        fabric->counts.torn++;
    else
        fabric->counts.delivered++;
    free(message);
    return 0;
}

int kofn_fabric_deliver(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel)
{
    return arrive(fabric, rank, channel, SIZE_MAX);
}

int kofn_fabric_tear(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel,
                     size_t bytes, bool with_stamp)
{
    const struct message *message = fabric->links[rank].queues[channel].head;

    if (!message || !message->bytes)
        return KOFN_AGAIN;
    arrive(fabric, rank, channel, bytes);
    if (!with_stamp && kofn__fabric_has_stamp(fabric, rank, channel))
        return kofn_fabric_drop(fabric, rank, channel);
    return 0;
}

static bool due(const struct kofn_fabric *fabric, uint32_t rank, int channel)
{
    const struct message *message = fabric->links[rank].queues[channel].head;

    return message && message->due <= fabric->now;
}

size_t kofn_fabric_deliver_all(struct kofn_fabric *fabric)
{
    size_t count = 0;

    for (uint32_t rank = 0; rank < fabric->attr.workers; rank++)
        for (int channel = 0; channel < KOFN_CHANNELS; channel++)
            for (; due(fabric, rank, channel); count++)
                kofn_fabric_deliver(fabric, rank, (enum kofn_fabric_channel)channel);
    return count;
}

size_t kofn_fabric_scatter(struct kofn_fabric *fabric, size_t count)
{
    uint32_t channels = fabric->attr.workers * KOFN_CHANNELS;

    for (size_t done = 0; done < count; done++) {
        uint32_t ready = 0, drawn;

        for (uint32_t i = 0; i < channels; i++)
            ready += due(fabric, i / KOFN_CHANNELS, i % KOFN_CHANNELS);
        if (!ready)
            return done;
        drawn = (uint32_t)kofn_random_below(&fabric->random, ready);
        for (uint32_t i = 0; i < channels; i++)
            if (due(fabric, i / KOFN_CHANNELS, i % KOFN_CHANNELS) && !drawn--) {
                kofn_fabric_deliver(fabric, i / KOFN_CHANNELS,
                                    (enum kofn_fabric_channel)(i % KOFN_CHANNELS));
                break;
            }
    }
    return count;
}

int kofn__fabric_wait(struct kofn_fabric *fabric, uint32_t rank, uint64_t deadline)
{
    int rc = 0;

    if (fabric->attr.progress)
        rc = fabric->attr.progress(fabric->attr.arg, rank, deadline);
    if (fabric->attr.automatic)
        kofn_fabric_deliver_all(fabric);
    return rc;
}
